// The cold path of the softmax: scores of a tile again, for one warp.
#ifndef TAMIS_ATTENTION_CUDA_SM90_RESCUE_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_RESCUE_CUH_

#include <cstdint>

#include "attention/cuda/ptx/mma_sync.cuh"
#include "attention/cuda/sm90/traits.cuh"

namespace tamis::cuda::sm90 {

/// Probabilities have overwritten the scores and some may be infinite, so the warp that noticed
/// computes its 16 rows of Q K^T once more while K is still in its stage. `q`: address of the
/// warp's first row in the tile of Q; `k`: of the tile of K.
template <class Traits>
__device__ inline void RecomputeScores(float (&scores)[Traits::kScores], uint32_t q, uint32_t k) {
  constexpr int kBlockUnits = ptx::kSwizzleRowBytes / 16;
  const uint32_t lane = threadIdx.x & 31;
#pragma unroll
  for (int i = 0; i < Traits::kScores; ++i) scores[i] = 0.0f;
  const uint32_t q_row = lane & 15;
  const uint32_t k_row = (lane & 7) + ((lane >> 4) << 3);
#pragma unroll 1
  for (int i = 0; i < Traits::kHeadDim / 16; ++i) {
    const uint32_t q_unit = 2 * i + (lane >> 4);
    uint32_t a[4];
    ptx::LoadMatrices(a, q + q_unit / kBlockUnits * Traits::kQueryBlockBytes +
                             q_row * ptx::kSwizzleRowBytes +
                             (((q_unit % kBlockUnits) ^ (q_row & 7)) << 4));
    const uint32_t k_unit = 2 * i + ((lane >> 3) & 1);
    const uint32_t k_address = k + k_unit / kBlockUnits * Traits::kKeyBlockBytes +
                               k_row * ptx::kSwizzleRowBytes +
                               (((k_unit % kBlockUnits) ^ (k_row & 7)) << 4);
#pragma unroll
    for (int n = 0; n < Traits::kTileKeys / 16; ++n) {
      uint32_t b[4];
      ptx::LoadMatrices(b, k_address + n * 16 * ptx::kSwizzleRowBytes);
      ptx::MmaSync<typename Traits::Element>(&scores[8 * n], a, b[0], b[1]);
      ptx::MmaSync<typename Traits::Element>(&scores[8 * n + 4], a, b[2], b[3]);
    }
  }
}

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_RESCUE_CUH_
