// Copies of K and V for sparse kernels: K, and V of tiles that take the dense product, with the
// halves of each group of four keys apart (see select.cuh).
#ifndef TAMIS_ATTENTION_CUDA_SM90_GROUPS_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_GROUPS_CUH_

#include <cuda.h>

#include <cstdint>

#include "attention/cuda/ptx/barrier.cuh"
#include "attention/cuda/ptx/tma.cuh"
#include "attention/cuda/sm90/thin.cuh"
#include "attention/cuda/sm90/traits.cuh"

namespace tamis::cuda::sm90 {

/// As ContiguousRows (pages.cuh). `v_groups` maps V in groups.
template <class Traits>
class GroupRows {
 public:
  __device__ explicit GroupRows(const CUtensorMap& v_groups) : v_groups_(v_groups) {}

  __device__ static bool Produces() { return ptx::ElectLane(); }
  __device__ static bool Leads() { return true; }
  __device__ static void Converge() {}

  __device__ void Open(const ForwardParams& params, const TileWork& work) {
    head_ = work.q_head / params.group;
    batch_ = work.sequence;
    if constexpr (Traits::kTokens) {
      dense_.Find(params, work, Traits::kTileRows, Traits::kTileKeys);
    }
  }
  __device__ const DenseTiles& dense() const { return dense_; }

  using Place = int32_t;  ///< the tile
  __device__ Place Locate(int32_t tile) const { return tile; }

  template <bool kValues>
  __device__ void Copy(const CUtensorMap& map, uint32_t target, uint32_t barrier,
                       Place tile) const {
    ptx::ArriveExpectBytes(barrier, Traits::kKeyBytes);
    if constexpr (kValues) {
      if (!Traits::kTokens || dense_.From(tile) != tile) {
        for (int i = 0; i < Traits::kDimBlocks; ++i) {
          ptx::CopyBox(target + i * Traits::kKeyBlockBytes, &map, barrier, i * kBlockDim,
                       tile * Traits::kTileKeys, head_, batch_);
        }
      } else {
        CopyGroups(v_groups_, target, barrier, tile);
      }
    } else {
      CopyGroups(map, target, barrier, tile);
    }
  }

 private:
  __device__ void CopyGroups(const CUtensorMap& map, uint32_t target, uint32_t barrier,
                             int32_t tile) const {
    for (int i = 0; i < Traits::kDimBlocks; ++i) {
      for (int half = 0; half < 2; ++half) {
        ptx::CopyBox(target + i * Traits::kKeyBlockBytes + half * (Traits::kKeyBlockBytes / 2),
                     &map, barrier, i * kBlockDim, 2 * half, tile * (Traits::kTileKeys / 4), head_,
                     batch_);
      }
    }
  }

  const CUtensorMap& v_groups_;
  DenseTiles dense_;
  int32_t head_ = 0, batch_ = 0;
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_GROUPS_CUH_
