// N:M on a score accumulator whose columns are permuted so that each group of eight consecutive
// keys lies in one thread: drops scores, so that the dense product does the rest.
//
// Rows of K and V in shared memory: row (N/4) h + 2 g + i holds key 8 g + 2 h + i of the tile. A
// thread of lane q of its quad then has keys 8 g .. 8 g + 7, g = 4 j + q, of row r in scores
// h N/8 + 4 j + 2 r + i.
#ifndef TAMIS_ATTENTION_CUDA_SM90_THIN_GROUPS_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_THIN_GROUPS_CUH_

#include <cuda_runtime.h>

#include <cstdint>

#include "attention/cuda/ptx/registers.cuh"

namespace tamis::cuda::sm90 {

/// Keys that lie in one thread.
constexpr int kThinGroup = 8;

/// The key of the tile in row `row` of shared memory.
template <int kTileKeys>
__device__ inline int32_t ThinGroupKey(int32_t row) {
  constexpr int32_t kPart = kTileKeys / 4;
  return kThinGroup * (row % kPart / 2) + row / kPart * 2 + row % 2;
}

/// A thread's column of register i, from its first.
template <int kScores>
__host__ __device__ constexpr int32_t ThinGroupColumn(int i) {
  constexpr int kPart = kScores / 4;
  return 4 * kThinGroup * (i % kPart >> 2) + i / kPart * 2 + (i & 1);
}

/// The register of member k of the thread's group j in row r.
template <int kScores>
__host__ __device__ constexpr int ThinGroupRegister(int j, int r, int k) {
  return k / 2 * (kScores / 4) + 4 * j + 2 * r + k % 2;
}

/// MaskScores for the permuted columns.
template <int kScores>
__device__ inline void MaskThinGroups(float (&s)[kScores], int32_t first_key,
                                      const int32_t (&last_key)[2]) {
  const int32_t first = first_key + kThinGroup * static_cast<int32_t>(threadIdx.x & 3);
#pragma unroll
  for (int i = 0; i < kScores; ++i) {
    if (ThinGroupColumn<kScores>(i) > last_key[(i >> 1) & 1] - first) s[i] = -INFINITY;
  }
}

/// Keeps the best `n` of every `m` scores of row r, 4 or 8, ties to the lowest position, and those
/// whose bit is set in `held`, bit 8 j + k for member k of group j; the rest become -inf.
template <int kScores>
__device__ inline void ThinExactly(float (&s)[kScores], int r, int32_t n, int32_t m,
                                   uint32_t held) {
  const float wide = m == kThinGroup ? 1.0f : 0.0f;
#pragma unroll
  for (int j = 0; j < kScores / 2 / kThinGroup; ++j) {
    const auto at = [&](int k) { return ThinGroupRegister<kScores>(j, r, k); };
    // How many scores go before each; additions have a pipe of their own.
    float before[kThinGroup];
#pragma unroll
    for (int k = 0; k < kThinGroup; ++k) {
      before[k] = static_cast<float>(k % 4) + (k < 4 ? 0.0f : 4.0f * wide);
    }
#pragma unroll
    for (int k = 1; k < kThinGroup; ++k) {
#pragma unroll
      for (int i = 0; i < k; ++i) {
        const float later = s[at(k)] > s[at(i)] ? (i / 4 == k / 4 ? 1.0f : wide) : 0.0f;
        before[i] += later;
        before[k] -= later;
      }
    }
#pragma unroll
    for (int k = 0; k < kThinGroup; ++k) {
      const bool stays = before[k] < static_cast<float>(n) | (held >> (8 * j + k) & 1) != 0;
      if (!stays) s[at(k)] = -INFINITY;
    }
  }
}

/// Four scores, the largest first.
struct Descending {
  float at[4];

  __device__ Descending(float a, float b, float c, float d) {
    const float high[2] = {fmaxf(a, b), fmaxf(c, d)}, low[2] = {fminf(a, b), fminf(c, d)};
    const float middle[2] = {fminf(high[0], high[1]), fmaxf(low[0], low[1])};
    at[0] = fmaxf(high[0], high[1]);
    at[1] = fmaxf(middle[0], middle[1]);
    at[2] = fminf(middle[0], middle[1]);
    at[3] = fminf(low[0], low[1]);
  }
};

/// The kN-th largest of eight: the best of all ways to take the first of either four.
template <int kN>
__device__ inline float Nth(const Descending& a, const Descending& b) {
  float best = -INFINITY;
#pragma unroll
  for (int i = kN > 4 ? kN - 4 : 0; i <= (kN < 4 ? kN : 4); ++i) {
    const int j = kN - i;
    const float last = i == 0   ? b.at[j - 1]
                       : j == 0 ? a.at[i - 1]
                                : fminf(a.at[i - 1], b.at[j - 1]);
    best = fmaxf(best, last);
  }
  return best;
}

/// Exponentials (softmax.cuh) of the best kN of every kM scores, 0 for the rest. Scores are dropped
/// by comparing them with the kN-th best, by arithmetic on the multiply-add pipe, which has room.
/// `exact` becomes false where that is not the selection: a score equal to its threshold is to be
/// dropped, or a difference is too small or a score too large for the arithmetic. kHidden: some
/// scores may be -inf.
template <int kN, int kM, bool kHidden, int kScores>
__device__ inline float2 ThinExponentials(float (&s)[kScores], float scale,
                                          const float (&reference)[2], bool& exact) {
  // Saturates every difference of 2^-64 or more.
  constexpr float kSteep = 0x1p64f;
  // Below all scores but hidden ones, so that a group of which less than kN are visible drops
  // those.
  constexpr float kLeast = -0x1p62f;
  constexpr float kFar = 0x1p100f;
  float sum[4] = {}, dropped[2] = {}, fewest = kM;
#pragma unroll
  for (int j = 0; j < kScores / 2 / kThinGroup; ++j) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const auto at = [&](int k) { return ThinGroupRegister<kScores>(j, r, k); };
      const Descending a(s[at(0)], s[at(1)], s[at(2)], s[at(3)]);
      const Descending b(s[at(4)], s[at(5)], s[at(6)], s[at(7)]);
      float threshold[8 / kM];
      if constexpr (kM == 8) {
        threshold[0] = Nth<kN>(a, b);
      } else {
        threshold[0] = a.at[kN - 1];
        threshold[1] = b.at[kN - 1];
      }
#pragma unroll
      for (int g = 0; g < 8 / kM; ++g) {
        const float steep = (kHidden ? fmaxf(threshold[g], kLeast) : threshold[g]) * kSteep;
        float drops = 0.0f;
#pragma unroll
        for (int k = g * kM; k < (g + 1) * kM; ++k) {
          float& x = s[at(k)];
          const float drop = __saturatef(fmaf(x, -kSteep, steep));
          (kHidden ? drops : dropped[k & 1]) += drop;
          x = ptx::Exp2(fmaf(drop, -kFar, fmaf(x, scale, -reference[r])));
          sum[2 * r + (k & 1)] += x;
        }
        fewest = fminf(fewest, drops);
      }
    }
  }
  // Each group drops kM - kN or fewer, but for those with hidden scores, which drop all of those.
  exact = kHidden ? fewest >= kM - kN : dropped[0] + dropped[1] == kScores / kM * (kM - kN);
  return {sum[0] + sum[1], sum[2] + sum[3]};
}

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_THIN_GROUPS_CUH_
