// Products of bf16 activations with weights as stored, by bf16 dot products. Nibbles are exact in
// bf16, so a block's sum of q x is exact up to fp32 rounding; scale and minimum come after it.
//
// Empty without AVX512_BF16; see lanes.h.
#ifndef TAMIS_MODEL_CPU_DOT_BF16_H_
#define TAMIS_MODEL_CPU_DOT_BF16_H_

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "model/cpu/kernels.h"
#include "model/cpu/lanes.h"

#if defined(__AVX512BF16__)

namespace tamis {
namespace {

inline __m512bh LoadEntries(const uint16_t* x) {
  return reinterpret_cast<__m512bh>(_mm512_loadu_si512(x));
}

/// Blocks of 32 nibbles: d (q - 8), or d q + m where kMinimum.
template <bool kMinimum>
struct NibbleDot {
  static constexpr int64_t kBlockBytes = kMinimum ? 20 : 18;

  /// What each nibble stands for, twice, in bf16: whole numbers below 16 are exact.
  static __m512i Table() {
    alignas(64) static constexpr auto kTable = [] {
      std::array<uint16_t, 32> table{};
      for (int i = 0; i < 32; ++i) {
        const float value = static_cast<float>(i % 16) - (kMinimum ? 0.0f : 8.0f);
        table[i] = static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16);
      }
      return table;
    }();
    return _mm512_load_si512(kTable.data());
  }

  /// kRows weight rows times kM rows of x.
  template <int kRows, int kM>
  static void Block(const uint8_t* const* rows, int64_t columns, const BF16Rows& x, float* y,
                    int64_t y_stride, __m512i table) {
    __m512 sums[kRows][kM];
    __m128 minima[kRows][kM];  // lane 1 adds up m times the block's sum of x
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int i = 0; i < kM; ++i) {
        sums[r][i] = _mm512_setzero_ps();
        minima[r][i] = _mm_setzero_ps();
      }
    }
    for (int64_t b = 0; b < columns / kColumnStep; ++b) {
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        const uint8_t* block = rows[r] + b * kBlockBytes;
        FetchWeights(block);
        uint32_t halves = 0;
        std::memcpy(&halves, block, kMinimum ? 4 : 2);
        const __m128 header = _mm_cvtph_ps(_mm_cvtsi32_si128(static_cast<int>(halves)));
        const __m128i bytes =
            _mm_loadu_si128(reinterpret_cast<const __m128i*>(block + kBlockBytes - 16));
        const __m256i low = _mm256_cvtepu8_epi16(bytes);
        // The permutation reads five bits of an index; the table's halves are equal.
        const __m512i index =
            _mm512_inserti64x4(_mm512_castsi256_si512(low), _mm256_srli_epi16(low, 4), 1);
        const auto entries = reinterpret_cast<__m512bh>(_mm512_permutexvar_epi16(index, table));
        const __m512 scale = _mm512_broadcastss_ps(header);
#pragma GCC unroll 4
        for (int i = 0; i < kM; ++i) {
          const __m512 dot = _mm512_dpbf16_ps(
              _mm512_setzero_ps(), entries, LoadEntries(x.values + i * x.stride + b * kColumnStep));
          sums[r][i] = _mm512_fmadd_ps(dot, scale, sums[r][i]);
          if constexpr (kMinimum) {
            const float sum = x.sums[i * (x.stride / kColumnStep) + b];
            minima[r][i] = _mm_fmadd_ps(header, _mm_set1_ps(sum), minima[r][i]);
          }
        }
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int i = 0; i < kM; ++i) {
        y[i * y_stride + r] =
            _mm512_reduce_add_ps(sums[r][i]) + _mm_cvtss_f32(_mm_movehdup_ps(minima[r][i]));
      }
    }
  }

  template <int kM>
  static void Rows(const uint8_t* const* rows, int64_t count, int64_t columns, const BF16Rows& x,
                   float* y, int64_t y_stride) {
    constexpr int kRows = kM == 1 ? 4 : 2;
    const __m512i table = Table();
    int64_t r = 0;
    for (; r + kRows <= count; r += kRows) {
      Block<kRows, kM>(rows + r, columns, x, y + r, y_stride, table);
    }
    for (; r < count; ++r) Block<1, kM>(rows + r, columns, x, y + r, y_stride, table);
  }
};

/// Rows of bf16 weights.
struct PlainBF16Dot {
  template <int kM>
  static void Rows(const uint8_t* const* rows, int64_t count, int64_t columns, const BF16Rows& x,
                   float* y, int64_t y_stride) {
    const int64_t whole = columns / kColumnStep * kColumnStep;
    const __mmask32 tail = (__mmask32{1} << (columns - whole)) - 1;
    for (int64_t r = 0; r < count; ++r) {
      const auto* row = reinterpret_cast<const uint16_t*>(rows[r]);
      __m512 sums[kM][2];
      for (int i = 0; i < kM; ++i) sums[i][0] = sums[i][1] = _mm512_setzero_ps();
      for (int64_t c = 0; c < whole; c += kColumnStep) {
        FetchWeights(rows[r] + 2 * c);
        const __m512bh entries = LoadEntries(row + c);
        for (int i = 0; i < kM; ++i) {
          // Two sums in turn hide the latency of the addition.
          const __m512 next =
              _mm512_dpbf16_ps(sums[i][0], entries, LoadEntries(x.values + i * x.stride + c));
          sums[i][0] = sums[i][1];
          sums[i][1] = next;
        }
      }
      for (int i = 0; i < kM; ++i) {
        if (tail != 0) {
          const auto entries =
              reinterpret_cast<__m512bh>(_mm512_maskz_loadu_epi16(tail, row + whole));
          sums[i][0] =
              _mm512_dpbf16_ps(sums[i][0], entries, LoadEntries(x.values + i * x.stride + whole));
        }
        y[i * y_stride + r] = _mm512_reduce_add_ps(_mm512_add_ps(sums[i][0], sums[i][1]));
      }
    }
  }
};

template <typename Format>
void DotRowsBF16(const uint8_t* const* rows, int64_t count, int64_t columns, const BF16Rows& x,
                 int m, float* y, int64_t y_stride) {
  switch (m) {
    case 1:
      return Format::template Rows<1>(rows, count, columns, x, y, y_stride);
    case 2:
      return Format::template Rows<2>(rows, count, columns, x, y, y_stride);
    case 3:
      return Format::template Rows<3>(rows, count, columns, x, y, y_stride);
    default:
      return Format::template Rows<4>(rows, count, columns, x, y, y_stride);
  }
}

}  // namespace
}  // namespace tamis

#endif  // __AVX512BF16__

#endif  // TAMIS_MODEL_CPU_DOT_BF16_H_
