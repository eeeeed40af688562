// Stored weights into lanes: every format hands out 32 values at a time.
//
// Included only by sources compiled per instruction set; see lanes.h.
#ifndef TAMIS_MODEL_CPU_WEIGHT_LANES_H_
#define TAMIS_MODEL_CPU_WEIGHT_LANES_H_

#include <cstdint>
#include <cstring>

#include "model/cpu/kernels.h"
#include "model/cpu/lanes.h"

namespace tamis {
namespace {

// Offset(column) is where in a row's bytes column's block begins. Expand(row, column, a, b) sets a
// and b to values [column, column + 16) and the 16 after them; column is a multiple of 32.
// kElementBytes: of plain formats, whose rows may end anywhere; 0 for formats in blocks, whose rows
// are whole blocks.

struct PlainF32 {
  static constexpr int kElementBytes = 4;
  static int64_t Offset(int64_t column) { return 4 * column; }
  static void Expand(const uint8_t* row, int64_t column, Lanes& a, Lanes& b) {
    const auto* values = reinterpret_cast<const float*>(row + Offset(column));
    a = Load(values);
    b = Load(values + 16);
  }
};

struct PlainF16 {
  static constexpr int kElementBytes = 2;
  static int64_t Offset(int64_t column) { return 2 * column; }
  static void Expand(const uint8_t* row, int64_t column, Lanes& a, Lanes& b) {
    a = FromHalf(row + Offset(column));
    b = FromHalf(row + Offset(column) + 32);
  }
};

struct PlainBF16 {
  static constexpr int kElementBytes = 2;
  static int64_t Offset(int64_t column) { return 2 * column; }
  static void Expand(const uint8_t* row, int64_t column, Lanes& a, Lanes& b) {
    a = FromBFloat16(row + Offset(column));
    b = FromBFloat16(row + Offset(column) + 32);
  }
};

// Scale, then 32 signed bytes.
struct BlockQ8_0 {
  static constexpr int kElementBytes = 0;
  static int64_t Offset(int64_t column) { return column / 32 * 34; }
  static void Expand(const uint8_t* row, int64_t column, Lanes& a, Lanes& b) {
    const uint8_t* block = row + Offset(column);
    const Lanes scale = Broadcast(HeaderHalf(block));
    a = Mul(FromSigned(LoadBytes(block + 2)), scale);
    b = Mul(FromSigned(LoadBytes(block + 18)), scale);
  }
};

// Scale, then 16 bytes: low nibbles first, then the high ones; d (q - 8).
struct BlockQ4_0 {
  static constexpr int kElementBytes = 0;
  static int64_t Offset(int64_t column) { return column / 32 * 18; }
  static void Expand(const uint8_t* row, int64_t column, Lanes& a, Lanes& b) {
    const uint8_t* block = row + Offset(column);
    const float scale = HeaderHalf(block);
    LookUpNibbles(LinearTable(scale, -8.0f * scale), LoadBytes(block + 2), a, b);
  }
};

// Scale and minimum, then nibbles as Q4_0; d q + m.
struct BlockQ4_1 {
  static constexpr int kElementBytes = 0;
  static int64_t Offset(int64_t column) { return column / 32 * 20; }
  static void Expand(const uint8_t* row, int64_t column, Lanes& a, Lanes& b) {
    const uint8_t* block = row + Offset(column);
    LookUpNibbles(LinearTable(HeaderHalf(block), HeaderHalf(block + 2)), LoadBytes(block + 4), a,
                  b);
  }
};

// 256 values: 128 bytes of low nibbles, 64 of upper bit pairs, 16 signed scales (one for 16
// values) and one scale for all. Each half of the block keeps four runs of 32 values: nibbles of
// runs 0 and 2 share bytes, as do 1 and 3; the pairs of all four share bytes.
struct BlockQ6_K {
  static constexpr int kElementBytes = 0;
  static int64_t Offset(int64_t column) { return column / 256 * 210; }
  static void Expand(const uint8_t* row, int64_t column, Lanes& a, Lanes& b) {
    const uint8_t* block = row + Offset(column);
    const int64_t half = column / 128 % 2;
    const int64_t run = column / 32 % 4;
    const uint8_t* nibbles = block + 64 * half + 32 * (run % 2);
    const uint8_t* pairs = block + 128 + 32 * half;
    const uint8_t* scales = block + 192 + 8 * half + 2 * run;
    const float scale = HeaderHalf(block + 208);
    a = Sixteen(nibbles, pairs, run, scale * static_cast<float>(static_cast<int8_t>(scales[0])));
    b = Sixteen(nibbles + 16, pairs + 16, run,
                scale * static_cast<float>(static_cast<int8_t>(scales[1])));
  }

 private:
  static Lanes Sixteen(const uint8_t* nibbles, const uint8_t* pairs, int64_t run, float scale) {
    const Bytes16 low = (LoadBytes(nibbles) >> static_cast<uint8_t>(run < 2 ? 0 : 4)) & 15;
    const Bytes16 high = (LoadBytes(pairs) >> static_cast<uint8_t>(2 * run)) & 3;
    const Lanes q = FromUnsigned(low | (high << 4));
    return Mul(Add(q, Broadcast(-32.0f)), Broadcast(scale));
  }
};

/// Expand for the last columns of a plain row: zeros after them.
template <typename Format>
inline void ExpandTail(const uint8_t* row, int64_t column, int64_t columns, Lanes& a, Lanes& b) {
  uint8_t padded[kColumnStep * 4] = {};
  std::memcpy(padded, row + column * Format::kElementBytes,
              static_cast<size_t>((columns - column) * Format::kElementBytes));
  Format::Expand(padded, 0, a, b);
}

}  // namespace
}  // namespace tamis

#endif  // TAMIS_MODEL_CPU_WEIGHT_LANES_H_
