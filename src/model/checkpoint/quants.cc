// Storage formats of weights: sizes and expansion to f32, as ggml defines them.
#include <bit>
#include <cassert>
#include <cstring>

#include "model/checkpoint/checkpoint.h"

namespace tamis {
namespace {

constexpr int kBlock = 32;        // values of a Q8_0, Q4_0 or Q4_1 block
constexpr int kSuperBlock = 256;  // values of a Q6_K block

struct Layout {
  std::string_view name;
  int64_t block_values;
  size_t block_bytes;
};

Layout LayoutOf(WeightType type) {
  switch (type) {
    case WeightType::kF32:
      return {"F32", 1, 4};
    case WeightType::kF16:
      return {"F16", 1, 2};
    case WeightType::kBF16:
      return {"BF16", 1, 2};
    case WeightType::kQ8_0:
      return {"Q8_0", kBlock, 34};
    case WeightType::kQ4_0:
      return {"Q4_0", kBlock, 18};
    case WeightType::kQ4_1:
      return {"Q4_1", kBlock, 20};
    case WeightType::kQ6_K:
      return {"Q6_K", kSuperBlock, 210};
  }
  return {"?", 1, 0};
}

// ToFloat(Float16) without branches, so that loops over it become vector code: the bits moved to
// a binary32's place make a value 2^112 too small, subnormals included; infinities and NaN come
// out at 65536 or more and get their exponent restored.
inline float HalfToFloat(uint16_t half) {
  const float magnitude = std::bit_cast<float>(uint32_t{half & 0x7fffu} << 13) * 0x1p112f;
  uint32_t bits = std::bit_cast<uint32_t>(magnitude);
  bits |= magnitude >= 65536.0f ? 0x7f800000u : 0u;
  return std::bit_cast<float>(bits | (uint32_t{half & 0x8000u} << 16));
}

inline uint16_t LoadU16(const uint8_t* source) {
  uint16_t value;
  std::memcpy(&value, source, sizeof(value));
  return value;
}

// 2 bytes scale d, 32 signed bytes q: d q.
void ExpandQ8_0(const uint8_t* block, float* target) {
  const float d = HalfToFloat(LoadU16(block));
  const uint8_t* q = block + 2;
  for (int i = 0; i < kBlock; ++i) target[i] = d * static_cast<float>(static_cast<int8_t>(q[i]));
}

// 2 bytes scale d, 16 bytes of which the low nibbles are values 0..15 and the high ones 16..31:
// d (q - 8).
void ExpandQ4_0(const uint8_t* block, float* target) {
  const float d = HalfToFloat(LoadU16(block));
  const uint8_t* q = block + 2;
  for (int i = 0; i < kBlock / 2; ++i) target[i] = d * static_cast<float>((q[i] & 15) - 8);
  for (int i = 0; i < kBlock / 2; ++i) target[16 + i] = d * static_cast<float>((q[i] >> 4) - 8);
}

// As Q4_0 with a minimum m after the scale: d q + m.
void ExpandQ4_1(const uint8_t* block, float* target) {
  const float d = HalfToFloat(LoadU16(block));
  const float m = HalfToFloat(LoadU16(block + 2));
  const uint8_t* q = block + 4;
  for (int i = 0; i < kBlock / 2; ++i) target[i] = d * static_cast<float>(q[i] & 15) + m;
  for (int i = 0; i < kBlock / 2; ++i) target[16 + i] = d * static_cast<float>(q[i] >> 4) + m;
}

// Two halves of 128 values; each has 64 bytes of low nibbles, 32 bytes of four upper bit pairs and
// 8 signed scales, one for 16 values. Then one scale d for all: (d scale) (q - 32).
void ExpandQ6_K(const uint8_t* block, float* target) {
  const uint8_t* low = block;
  const uint8_t* high = block + 128;
  const uint8_t* scales = block + 192;
  const float d = HalfToFloat(LoadU16(block + 208));
  for (int half = 0; half < 2; ++half) {
    for (int quarter = 0; quarter < 4; ++quarter) {
      const uint8_t* nibbles = low + 32 * (quarter & 1);
      const int nibble_shift = quarter < 2 ? 0 : 4;
      const int pair_shift = 2 * quarter;
      for (int group = 0; group < 2; ++group) {
        const float scale =
            d * static_cast<float>(static_cast<int8_t>(scales[2 * quarter + group]));
        for (int i = 16 * group; i < 16 * group + 16; ++i) {
          const int q = ((nibbles[i] >> nibble_shift) & 15) | (((high[i] >> pair_shift) & 3) << 4);
          target[32 * quarter + i] = scale * static_cast<float>(q - 32);
        }
      }
    }
    low += 64;
    high += 32;
    scales += 8;
    target += 128;
  }
}

template <int kValues, int kBytes, void (*kExpand)(const uint8_t*, float*)>
void ExpandBlocks(const uint8_t* row, int64_t columns, float* target) {
  for (int64_t i = 0; i < columns; i += kValues, row += kBytes) kExpand(row, target + i);
}

}  // namespace

std::string_view Name(WeightType type) { return LayoutOf(type).name; }

int64_t BlockValues(WeightType type) { return LayoutOf(type).block_values; }

size_t RowBytes(WeightType type, int64_t columns) {
  const Layout layout = LayoutOf(type);
  assert(columns % layout.block_values == 0);
  return static_cast<size_t>(columns / layout.block_values) * layout.block_bytes;
}

void DequantizeRow(WeightType type, const uint8_t* row, int64_t columns, float* target) {
  assert(columns % BlockValues(type) == 0);
  switch (type) {
    case WeightType::kF32:
      std::memcpy(target, row, static_cast<size_t>(columns) * sizeof(float));
      return;
    case WeightType::kF16:
      for (int64_t i = 0; i < columns; ++i) target[i] = HalfToFloat(LoadU16(row + 2 * i));
      return;
    case WeightType::kBF16:
      for (int64_t i = 0; i < columns; ++i) {
        target[i] = std::bit_cast<float>(uint32_t{LoadU16(row + 2 * i)} << 16);
      }
      return;
    case WeightType::kQ8_0:
      return ExpandBlocks<kBlock, 34, ExpandQ8_0>(row, columns, target);
    case WeightType::kQ4_0:
      return ExpandBlocks<kBlock, 18, ExpandQ4_0>(row, columns, target);
    case WeightType::kQ4_1:
      return ExpandBlocks<kBlock, 20, ExpandQ4_1>(row, columns, target);
    case WeightType::kQ6_K:
      return ExpandBlocks<kSuperBlock, 210, ExpandQ6_K>(row, columns, target);
  }
}

}  // namespace tamis
