// Counts of what N:M keeps, where they do not follow from lengths.
#ifndef TAMIS_ATTENTION_CUDA_SM90_COUNT_THINNED_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_COUNT_THINNED_CUH_

#include <cstdint>

#include "attention/cuda/ptx/registers.cuh"
#include "attention/cuda/sm90/epilogue.cuh"
#include "attention/cuda/sm90/params.h"
#include "attention/cuda/sm90/traits.cuh"

namespace tamis::cuda::sm90 {

/// Adds the pairs of a tile that a warpgroup keeps, those of `s` that are not -inf, to the counts
/// of a call that wants any. `rows`: the warpgroup's.
template <int kScores>
__device__ __forceinline__ void CountThinned(const ForwardParams& params, const OutputRows& rows,
                                             const float (&s)[kScores]) {
  if (params.skip.counts == nullptr) return;
  const auto row =
      static_cast<int32_t>(ptx::ThreadIndex() % kWarpgroup / 32 * 16 + ptx::ThreadIndex() % 32 / 4);
  int32_t pairs[2] = {0, 0};
#pragma unroll
  for (int i = 0; i < kScores; ++i) pairs[(i >> 1) & 1] += s[i] != -INFINITY ? 1 : 0;
  const int32_t mine = (row < rows.rows ? pairs[0] : 0) + (row + 8 < rows.rows ? pairs[1] : 0);
  const int32_t all = __reduce_add_sync(0xffffffffu, mine);
  if (all == 0 || (ptx::ThreadIndex() & 31) != 0) return;
  int64_t& kept =
      params.skip.counts[int64_t{rows.sequence} * params.q_heads + rows.q_head].kept_pairs;
  atomicAdd(reinterpret_cast<unsigned long long*>(&kept), static_cast<unsigned long long>(all));
}

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_COUNT_THINNED_CUH_
