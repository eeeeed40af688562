// The cold path of the softmax of sparse kernels: scores of a tile again, for one warp.
#ifndef TAMIS_ATTENTION_CUDA_SM90_RESCUE_GROUPS_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_RESCUE_GROUPS_CUH_

#include <cstdint>

#include "attention/cuda/ptx/mma_sync.cuh"
#include "attention/cuda/sm90/select.cuh"
#include "attention/cuda/sm90/traits.cuh"
#include "attention/cuda/sm90/work.cuh"

namespace tamis::cuda::sm90 {

/// RecomputeScores with K from global memory: two stages of wide tiles are too few to hold one
/// until the softmax has accepted its scores, and the rest of shared memory is full. The columns
/// are those of select.cuh. All keys from `first_key` on exist.
template <class Traits>
__device__ inline void RecomputeGroups(float (&scores)[Traits::kScores], uint32_t q,
                                       const ForwardParams& params, const TileWork& work,
                                       int32_t first_key) {
  constexpr int kBlockUnits = ptx::kSwizzleRowBytes / 16;
  const uint32_t lane = threadIdx.x & 31;
  const int64_t stride = params.thin.k_stride.row;
  const uint32_t k_row = lane >> 2;
  const auto* k = static_cast<const uint16_t*>(params.thin.k) +
                  work.sequence * params.thin.k_stride.batch +
                  work.q_head / params.group * params.thin.k_stride.head +
                  (first_key + GroupKey<Traits::kTileKeys>(static_cast<int32_t>(k_row))) * stride +
                  2 * (lane & 3);
#pragma unroll
  for (int i = 0; i < Traits::kScores; ++i) scores[i] = 0.0f;
  const uint32_t q_row = lane & 15;
#pragma unroll 1
  for (int i = 0; i < Traits::kHeadDim / 16; ++i) {
    const uint32_t q_unit = 2 * i + (lane >> 4);
    uint32_t a[4];
    ptx::LoadMatrices(a, q + q_unit / kBlockUnits * Traits::kQueryBlockBytes +
                             q_row * ptx::kSwizzleRowBytes +
                             (((q_unit % kBlockUnits) ^ (q_row & 7)) << 4));
    // Head dims are multiples of 8.
    const bool low = 16 * i < params.thin.head_dim, high = 16 * i + 8 < params.thin.head_dim;
    const uint16_t* row = k + 16 * i;
#pragma unroll
    for (int n = 0; n < Traits::kTileKeys / 8; ++n) {
      // Eight columns further on are four groups, but for the second half of the tile.
      if (n == Traits::kTileKeys / 16) row = k + 16 * i + 2 * stride;
      row = ptx::Fresh(row);  // else all rows' addresses are kept through the loop
      const auto* pairs = reinterpret_cast<const uint32_t*>(row);
      ptx::MmaSync<typename Traits::Element>(&scores[4 * n], a, low ? __ldg(pairs) : 0,
                                             high ? __ldg(pairs + 4) : 0);
      row += 16 * stride;
    }
  }
}

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_RESCUE_GROUPS_CUH_
