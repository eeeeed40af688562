// Element types of attention tensors and conversions between them.
#ifndef TAMIS_DTYPE_H_
#define TAMIS_DTYPE_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tamis {

enum class DType : uint8_t { kF32, kBF16, kF16 };

/// Storage of one bfloat16: the upper half of an IEEE binary32.
struct BFloat16 {
  uint16_t bits;
};

/// Storage of one IEEE binary16.
struct Float16 {
  uint16_t bits;
};

/// Bytes of one element.
constexpr size_t SizeOf(DType dtype) { return dtype == DType::kF32 ? 4 : 2; }

/// "f32", "bf16" or "f16".
std::string_view Name(DType dtype);

/// The inverse of Name. Throws Error on any other word.
DType ParseDType(std::string_view name);

/// Conversions round to nearest, ties to even; NaN stays NaN (quiet), infinities are kept.
float ToFloat(BFloat16 value);
float ToFloat(Float16 value);
BFloat16 ToBFloat16(float value);
Float16 ToFloat16(float value);

/// Converts `count` contiguous elements. `source` and `target` must not overlap.
void ConvertToFloat(DType from, const void* source, float* target, size_t count);
void ConvertFromFloat(DType to, const float* source, void* target, size_t count);

}  // namespace tamis

#endif  // TAMIS_DTYPE_H_
