// N:M on a score accumulator whose columns are keys in order: drops scores, so that the dense
// product does the rest. Slower than the sparse product, but runs every N:M wherever a dense kernel
// runs.
//
// A thread has pairs of neighbouring keys of a row. The other pairs of a group lie in the other
// lanes of its quad: those of four keys in lane ^ 1, those of eight in all of them.
#ifndef TAMIS_ATTENTION_CUDA_SM90_THIN_SCORES_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_THIN_SCORES_CUH_

#include <cuda_runtime.h>

#include <cstdint>

namespace tamis::cuda::sm90 {

/// True where the score `other` of lane ^ kDistance goes before `mine`: equal ones by position.
template <int kDistance>
__device__ inline bool GoesBefore(float other, float mine) {
  const bool earlier = (threadIdx.x & (kDistance == 1 ? 1 : 2)) != 0;
  return earlier ? other >= mine : other > mine;
}

template <int kDistance>
__device__ inline float FromLane(float x) {
  return __shfl_xor_sync(0xffffffffu, x, kDistance);
}

/// How many scores of the pair of lane ^ kDistance go before this thread's.
template <int kDistance>
__device__ inline void CountBefore(float high, float low, int32_t& before_high,
                                   int32_t& before_low) {
  const float other_high = FromLane<kDistance>(high), other_low = FromLane<kDistance>(low);
  before_high += GoesBefore<kDistance>(other_high, high);
  before_high += GoesBefore<kDistance>(other_low, high);
  before_low += GoesBefore<kDistance>(other_high, low);
  before_low += GoesBefore<kDistance>(other_low, low);
}

/// Keeps kN of every kM scores; kN 0: `n`. Scores whose bit is set in `held` stay in any case.
template <int kM, int kN, int kScores>
__device__ inline void ThinPairs(float (&s)[kScores], const uint32_t (&held)[(kScores + 31) / 32],
                                 int32_t n) {
#pragma unroll
  for (int i = 0; i < kScores; i += 2) {
    const float high = fmaxf(s[i], s[i + 1]), low = fminf(s[i], s[i + 1]);
    bool drop_high = false, drop_low = true;
    if constexpr (kM == 4) {
      if constexpr (kN == 1) drop_high = GoesBefore<1>(FromLane<1>(high), high);
      if constexpr (kN == 2) {
        drop_high = GoesBefore<1>(FromLane<1>(low), high);
        drop_low = GoesBefore<1>(FromLane<1>(high), low);
      }
      if constexpr (kN == 3) drop_low = GoesBefore<1>(FromLane<1>(low), low);
    } else if constexpr (kM == 8) {
      int32_t before_high = 0, before_low = 1;
      CountBefore<1>(high, low, before_high, before_low);
      CountBefore<2>(high, low, before_high, before_low);
      CountBefore<3>(high, low, before_high, before_low);
      drop_high = before_high >= n;
      drop_low = before_low >= n;
    }
    const bool second_high = s[i + 1] > s[i];
    const uint32_t stay = held[i / 32] >> (i % 32);
    if ((second_high ? drop_low : drop_high) && (stay & 1) == 0) s[i] = -INFINITY;
    if ((second_high ? drop_high : drop_low) && (stay & 2) == 0) s[i + 1] = -INFINITY;
  }
}

/// Keeps `n` of every 8 scores as ThinPairs does, one half after the other: all of them at once,
/// the compiler asks other lanes for more than the registers hold.
template <int kScores>
__device__ inline void ThinHalves(float (&s)[kScores], const uint32_t (&held)[(kScores + 31) / 32],
                                  int32_t n) {
  constexpr int kHalf = kScores / 2;
  static_assert(kHalf == 32);
#pragma unroll 1
  for (int half = 0; half < 2; ++half) {
    const uint32_t half_held[1] = {half == 0 ? held[0] : held[1]};
    float part[kHalf];
#pragma unroll
    for (int i = 0; i < kHalf; ++i) part[i] = s[i];
    ThinPairs<8, 0>(part, half_held, n);
#pragma unroll
    for (int i = 0; i < kHalf; ++i) {
      s[i] = s[i + kHalf];
      s[i + kHalf] = part[i];
    }
  }
}

/// What a kernel selects among: groups of up to four keys, of eight, or of as many as a call says.
constexpr int kThinsFour = 4, kThinsEight = 8, kThinsAny = kThinsFour + kThinsEight;

/// kThins: one of these.
template <int kThins, int kScores>
__device__ inline void ThinScores(float (&s)[kScores], const uint32_t (&held)[(kScores + 31) / 32],
                                  int32_t n, int32_t m) {
  if (kThins == kThinsAny && m == 8) {
    ThinHalves(s, held, n);
  } else if (kThins == kThinsEight) {
    ThinPairs<8, 0>(s, held, n);
  } else if (m == 2) {
    ThinPairs<2, 1>(s, held, n);
  } else if (n == 1) {
    ThinPairs<4, 1>(s, held, n);
  } else if (n == 2) {
    ThinPairs<4, 2>(s, held, n);
  } else {
    ThinPairs<4, 3>(s, held, n);
  }
}

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_THIN_SCORES_CUH_
