// What a general call does to scores before the softmax: softcap, bias, and hiding by window, sinks
// and boolean mask. A thread's scores lie as in wgmma.cuh: two rows, pairs of columns.
#ifndef TAMIS_ATTENTION_CUDA_SM90_SCORES_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_SCORES_CUH_

#include <cuda_runtime.h>

#include <cstdint>
#include <numbers>

#include "attention/cuda/ptx/registers.cuh"
#include "attention/cuda/sm90/band.cuh"
#include "attention/cuda/sm90/mask.cuh"

namespace tamis::cuda::sm90 {

/// Scores become softcap * tanh(scale * score / softcap), in log2 units. By exponential and
/// reciprocal, each good to an ulp: the hardware's tanh is off by 2^-11.
template <int kScores>
__device__ inline void CapScores(float (&s)[kScores], const ScoreParams& params) {
#pragma unroll
  for (int i = 0; i < kScores; ++i) {
    const float e = ptx::Exp2(s[i] * params.softcap_scale);
    s[i] = fmaf(-2.0f * params.softcap_log2, ptx::Reciprocal(1.0f + e), params.softcap_log2);
  }
}

/// `row[r]`: the bias of the thread's row r against its first column. `columns`: those from its
/// first that exist.
template <int kScores>
__device__ inline void AddBias(float (&s)[kScores], const float* const (&row)[2], int32_t columns,
                               float scale) {
#pragma unroll
  for (int i = 0; i < kScores; ++i) {
    const float bias = ColumnOf(i) < columns ? __ldg(row[(i >> 1) & 1] + ColumnOf(i)) : 0.0f;
    s[i] = fmaf(bias, std::numbers::log2e_v<float>, s[i] * scale);
  }
}

/// As AddBias: a zero byte hides.
template <int kScores>
__device__ inline void HideUnkept(float (&s)[kScores], const uint8_t* const (&row)[2],
                                  int32_t columns) {
#pragma unroll
  for (int i = 0; i < kScores; ++i) {
    const bool exists = ColumnOf(i) < columns;
    if (exists && __ldg(row[(i >> 1) & 1] + ColumnOf(i)) == 0) s[i] = -INFINITY;
  }
}

/// `rows`: what the thread's rows see, counted from its first column. Selects rather than adds:
/// rows past the end of K may hold NaN.
template <int kScores>
__device__ inline void HideOutside(float (&s)[kScores], const VisibleKeys (&rows)[2]) {
#pragma unroll
  for (int i = 0; i < kScores; ++i) {
    const VisibleKeys& row = rows[(i >> 1) & 1];
    const int32_t column = ColumnOf(i);
    const bool visible = column < row.sinks || (column >= row.begin && column < row.end);
    if (!visible) s[i] = -INFINITY;
  }
}

/// Bias, boolean mask and what is visible, for a thread whose first row is `row` of the tile of
/// work. `visible`: of all rows of that tile.
template <int kScores>
__device__ inline void ApplyMasks(float (&s)[kScores], const ForwardParams& params,
                                  const TileWork& work, int32_t row, int32_t first_key,
                                  const VisibleKeys* visible) {
  const ScoreParams& scores = params.scores;
  const int32_t first = first_key + 2 * static_cast<int32_t>(threadIdx.x & 3);
  // Rows that do not exist read those of the last one that does.
  const int32_t query[2] = {min(work.first_query + row, work.queries - 1),
                            min(work.first_query + row + 8, work.queries - 1)};
  if (scores.bias != nullptr) {
    const float* bias = scores.bias + work.sequence * scores.bias_batch_stride +
                        work.q_head * scores.bias_head_stride + first;
    const float* const rows[2] = {bias + query[0] * scores.bias_query_stride,
                                  bias + query[1] * scores.bias_query_stride};
    AddBias(s, rows, work.keys - first, scores.bias_scale);
  }
  if (scores.keep != nullptr) {
    const uint8_t* keep = scores.keep + work.sequence * scores.keep_batch_stride +
                          work.q_head * scores.keep_head_stride + first;
    const uint8_t* const rows[2] = {keep + query[0] * scores.keep_query_stride,
                                    keep + query[1] * scores.keep_query_stride};
    HideUnkept(s, rows, work.keys - first);
  }
  const VisibleKeys rows[2] = {visible[row].From(first), visible[row + 8].From(first)};
  HideOutside(s, rows);
}

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_SCORES_CUH_
