// Copies of K and V whose groups of keys are to lie in one thread: for sparse kernels K, and V of
// tiles that take the dense product, with the halves of each group of four apart (see select.cuh);
// for those that thin groups of eight, both with the quarters apart.
#ifndef TAMIS_ATTENTION_CUDA_SM90_GROUPS_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_GROUPS_CUH_

#include <cuda.h>

#include <cstdint>

#include "attention/cuda/ptx/barrier.cuh"
#include "attention/cuda/ptx/tma.cuh"
#include "attention/cuda/sm90/thin.cuh"
#include "attention/cuda/sm90/thin_groups.cuh"
#include "attention/cuda/sm90/traits.cuh"

namespace tamis::cuda::sm90 {

/// Copies a tile in groups of kGroup keys: pairs of their members one after the other.
template <class Traits, int kGroup>
__device__ inline void CopyMembers(const CUtensorMap& map, uint32_t target, uint32_t barrier,
                                   int32_t tile, int32_t head, int32_t batch) {
  constexpr int kPairs = kGroup / 2;
  for (int i = 0; i < Traits::kDimBlocks; ++i) {
    for (int pair = 0; pair < kPairs; ++pair) {
      ptx::CopyBox(target + i * Traits::kKeyBlockBytes + pair * (Traits::kKeyBlockBytes / kPairs),
                   &map, barrier, i * kBlockDim, 2 * pair, tile * (Traits::kTileKeys / kGroup),
                   head, batch);
    }
  }
}

/// As ContiguousRows (pages.cuh), with K and V in groups of eight keys (see thin_groups.cuh).
template <class Traits>
class ThinGroupRows {
 public:
  __device__ static bool Produces() { return ptx::ElectLane(); }
  __device__ static bool Leads() { return true; }
  __device__ static void Converge() {}

  __device__ void Open(const ForwardParams& params, const TileWork& work) {
    head_ = work.q_head / params.group;
    batch_ = work.sequence;
  }

  using Place = int32_t;  ///< the tile
  __device__ Place Locate(int32_t tile) const { return tile; }

  template <bool kValues>
  __device__ void Copy(const CUtensorMap& map, uint32_t target, uint32_t barrier,
                       Place tile) const {
    ptx::ArriveExpectBytes(barrier, Traits::kKeyBytes);
    CopyMembers<Traits, kThinGroup>(map, target, barrier, tile, head_, batch_);
  }

 private:
  int32_t head_ = 0, batch_ = 0;
};

/// As ContiguousRows. `v_groups` maps V in groups.
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
      dense_.Find<kOtherBlocks<Traits>>(params, work, Traits::kTileRows, Traits::kTileKeys);
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
    CopyMembers<Traits, 4>(map, target, barrier, tile, head_, batch_);
  }

  const CUtensorMap& v_groups_;
  DenseTiles dense_;
  int32_t head_ = 0, batch_ = 0;
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_GROUPS_CUH_
