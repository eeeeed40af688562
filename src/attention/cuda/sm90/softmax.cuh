// Softmax over the rows of a score accumulator, against a reference instead of the running maximum.
//
// p = exp2(score * scale - reference). The reference of a row is the largest score of the first
// tiles it visits and then stays: later scores may exceed it as long as probabilities and sums stay
// in range, which costs no accuracy, and saves the maximum over every tile and the scaling of the
// output after it. One sum a tile tells when a row has left the range (see rescue.cuh).
#ifndef TAMIS_ATTENTION_CUDA_SM90_SOFTMAX_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_SOFTMAX_CUH_

#include <cuda_runtime.h>

#include <cstdint>

#include "attention/cuda/ptx/registers.cuh"

namespace tamis::cuda::sm90 {

/// Of a thread's two rows; index 1 is 8 rows below.
struct RowState {
  float reference[2];  ///< in log2 units; -inf while a row has seen no key
  float sum[2];        ///< of this thread's columns; added over the quad at the end

  __device__ void Reset() {
    reference[0] = reference[1] = -INFINITY;
    sum[0] = sum[1] = 0.0f;
  }
};

/// The largest of a value over the four lanes that share rows.
__device__ inline float QuadMax(float x) {
  x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
  return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

__device__ inline float QuadSum(float x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

/// Turns scores into probabilities against `reference`; returns their sums. kStep 2: the odd ones
/// are known to weigh nothing.
template <int kStep = 1, int kScores>
__device__ inline float2 Exponentials(float (&s)[kScores], float scale,
                                      const float (&reference)[2]) {
  // Four chains an instruction apart: additions follow exponentials without waiting.
  float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
  for (int i = 0; i < kScores; ++i) {
    if (i % kStep != 0) {
      s[i] = 0.0f;
      continue;
    }
    s[i] = ptx::Exp2(fmaf(s[i], scale, -reference[(i >> 1) & 1]));
    sum[i & 3] += s[i];
  }
  return {sum[0] + sum[1], sum[2] + sum[3]};
}

/// Raises the references to the largest score of this tile where that is larger; `reference` are
/// those to measure it against. Returns what earlier sums and outputs must be multiplied by.
template <int kScores>
__device__ inline float2 Raise(const float (&s)[kScores], float scale, RowState& state,
                               float (&reference)[2]) {
  float factor[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float largest = s[2 * r];
#pragma unroll
    for (int i = 0; i < kScores; i += 4) {
      largest = fmaxf(largest, fmaxf(s[i + 2 * r], s[i + 2 * r + 1]));
    }
    const float old = state.reference[r];
    state.reference[r] = fmaxf(old, QuadMax(largest) * scale);
    // A row that has seen nothing keeps zero probabilities, whatever it is measured against.
    reference[r] = state.reference[r] == -INFINITY ? 0.0f : state.reference[r];
    factor[r] = ptx::Exp2(old - reference[r]);
  }
  return {factor[0], factor[1]};
}

/// The same, and turns scores into probabilities and adds them. The sums are multiplied already.
template <int kStep = 1, int kScores>
__device__ inline float2 Rebase(float (&s)[kScores], float scale, RowState& state) {
  float reference[2];
  const float2 factor = Raise(s, scale, state, reference);
  const float2 sum = Exponentials<kStep>(s, scale, reference);
  state.sum[0] = state.sum[0] * factor.x + sum.x;
  state.sum[1] = state.sum[1] * factor.y + sum.y;
  return factor;
}

template <int kOutputs>
__device__ inline void ScaleRows(float (&o)[kOutputs], float2 factor) {
#pragma unroll
  for (int i = 0; i < kOutputs; ++i) o[i] *= (i & 2) == 0 ? factor.x : factor.y;
}

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_SOFTMAX_CUH_
