// The skip test: which tiles a warpgroup's rows can do without.
//
// A row compares probabilities, not scores: both its running maximum and a tile's largest score
// are measured against the row's stale reference (see softmax.cuh), so that
//     score < maximum + ln(lambda)   becomes   p(score) < lambda * p(maximum)
// and a tile whose probabilities exist already needs no scores again. Probabilities are not
// negative, so that their bits compare as integers do, three at a time.
#ifndef TAMIS_ATTENTION_CUDA_SM90_SKIP_SOFTMAX_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_SKIP_SOFTMAX_CUH_

#include <cuda_runtime.h>

#include <cstdint>

#include "attention/cuda/ptx/registers.cuh"

namespace tamis::cuda::sm90 {

/// The largest of `kCount` scores of a row from register `first` on.
template <int kCount, int kScores>
__device__ __forceinline__ float LargestScore(const float (&s)[kScores], int first) {
  float largest[2] = {s[first], s[first + 1]};
#pragma unroll
  for (int i = 4; i < kCount * 2; i += 4) {
    largest[0] = fmaxf(largest[0], s[first + i]);
    largest[1] = fmaxf(largest[1], s[first + i + 1]);
  }
  return fmaxf(largest[0], largest[1]);
}

/// The largest probability of a row.
template <int kScores>
__device__ __forceinline__ float LargestProbability(const float (&p)[kScores], int row) {
  uint32_t largest[2] = {__float_as_uint(p[2 * row]), __float_as_uint(p[2 * row + 1])};
#pragma unroll
  for (int i = 4; i < kScores; i += 8) {
    const int next = i + 2 * row;
    if (i + 4 < kScores) {
      largest[0] = __vimax3_u32(largest[0], __float_as_uint(p[next]), __float_as_uint(p[next + 4]));
      largest[1] =
          __vimax3_u32(largest[1], __float_as_uint(p[next + 1]), __float_as_uint(p[next + 5]));
    } else {
      largest[0] = __vimax3_u32(largest[0], __float_as_uint(p[next]), __float_as_uint(p[next + 1]));
    }
  }
  return __uint_as_float(max(largest[0], largest[1]));
}

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_SKIP_SOFTMAX_CUH_
