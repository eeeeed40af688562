#include "tamis/dtype.h"

#include <bit>
#include <cstring>

#include "base/check.h"

namespace tamis {

std::string_view Name(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kBF16:
      return "bf16";
    case DType::kF16:
      return "f16";
  }
  return "?";
}

DType ParseDType(std::string_view name) {
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    if (name == Name(dtype)) return dtype;
  }
  Fail("unknown dtype '{}'; use f32, bf16 or f16", name);
}

float ToFloat(BFloat16 value) { return std::bit_cast<float>(uint32_t{value.bits} << 16); }

BFloat16 ToBFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return {static_cast<uint16_t>((bits >> 16) | 0x40u)};  // quiet the NaN
  }
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

float ToFloat(Float16 value) {
  const uint32_t sign = uint32_t{value.bits & 0x8000u} << 16;
  const uint32_t exponent = (value.bits >> 10) & 0x1fu;
  const uint32_t fraction = value.bits & 0x3ffu;
  if (exponent == 0x1f) {
    return std::bit_cast<float>(sign | 0x7f800000u | (fraction << 13) |
                                (fraction != 0 ? 0x400000u : 0u));
  }
  if (exponent == 0) {
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (fraction << 13));
}

Float16 ToFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {
    return {static_cast<uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu))};
  }
  if (magnitude >= 0x477ff000u) return {static_cast<uint16_t>(sign | 0x7c00u)};  // >= 65520
  if (magnitude < 0x38800000u) {
    // Subnormal: adding 0.5 leaves the value, in units of 2^-24, rounded in the low bits.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return {static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u))};
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u) - (112u << 23);
  return {static_cast<uint16_t>(sign | (rounded >> 13))};
}

void ConvertToFloat(DType from, const void* source, float* target, size_t count) {
  switch (from) {
    case DType::kF32:
      std::memcpy(target, source, count * sizeof(float));
      return;
    case DType::kBF16: {
      const auto* values = static_cast<const BFloat16*>(source);
      for (size_t i = 0; i < count; ++i) target[i] = ToFloat(values[i]);
      return;
    }
    case DType::kF16: {
      const auto* values = static_cast<const Float16*>(source);
      for (size_t i = 0; i < count; ++i) target[i] = ToFloat(values[i]);
      return;
    }
  }
}

void ConvertFromFloat(DType to, const float* source, void* target, size_t count) {
  switch (to) {
    case DType::kF32:
      std::memcpy(target, source, count * sizeof(float));
      return;
    case DType::kBF16: {
      auto* values = static_cast<BFloat16*>(target);
      for (size_t i = 0; i < count; ++i) values[i] = ToBFloat16(source[i]);
      return;
    }
    case DType::kF16: {
      auto* values = static_cast<Float16*>(target);
      for (size_t i = 0; i < count; ++i) values[i] = ToFloat16(source[i]);
      return;
    }
  }
}

}  // namespace tamis
