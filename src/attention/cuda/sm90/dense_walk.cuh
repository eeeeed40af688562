// How a consumer walks the tiles of keys of a dense call: all of them, down to key 0.
#ifndef TAMIS_ATTENTION_CUDA_SM90_DENSE_WALK_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_DENSE_WALK_CUH_

#include <cstdint>

#include "attention/cuda/sm90/epilogue.cuh"
#include "attention/cuda/sm90/mask.cuh"
#include "attention/cuda/sm90/shared.cuh"
#include "attention/cuda/sm90/thin_groups.cuh"
#include "attention/cuda/sm90/traits.cuh"
#include "attention/cuda/sm90/work.cuh"

namespace tamis::cuda::sm90 {

template <class Traits>
struct DenseWalk {
  /// Boxes of the copy engine that make up a tile of V.
  static constexpr int kBoxes = 1;

  /// Sets where the walk of warpgroup `group` begins, and the tiles that need no mask. `slot`: of
  /// the work.
  __device__ static void Open(const ForwardParams& params, const SharedPlan<Traits>& plan,
                              uint32_t slot, int32_t group, int32_t& tile, int32_t& full) {
    const TileWork& work = plan.work[slot];
    const int32_t row = FirstRow(plan, slot, group);
    tile = FirstKeyTile(params, work,
                        Traits::kPingPong ? work.first_query + Traits::kTileRows : row + kGroupRows,
                        Traits::kTileKeys);
    full = (max(LastKey(params, work, row), -1) + 1) / Traits::kTileKeys - 1;
  }

  __device__ static int32_t FirstRow(const SharedPlan<Traits>& plan, uint32_t slot, int32_t group) {
    return plan.work[slot].first_query + group * kGroupRows;
  }

  __device__ static OutputRows Output(const SharedPlan<Traits>& plan, uint32_t slot,
                                      int32_t group) {
    return OutputRows(plan.work[slot], group * kGroupRows);
  }

  __device__ static void Mask(float (&s)[Traits::kScores], const SharedPlan<Traits>&, uint32_t,
                              int32_t, int32_t tile, const int32_t (&last_key)[2]) {
    if constexpr (Traits::kThinGroups) {
      MaskThinGroups(s, tile * Traits::kTileKeys, last_key);
    } else {
      MaskScores(s, tile * Traits::kTileKeys, last_key);
    }
  }

  __device__ static int32_t UnitKey(const SharedPlan<Traits>&, uint32_t, int32_t tile, int) {
    return tile * Traits::kTileKeys;
  }

  /// The first key of a box of tile `tile`, the first of its walk.
  __device__ static int32_t BoxKey(const SharedPlan<Traits>&, uint32_t, int32_t tile, int) {
    return tile * Traits::kTileKeys;
  }
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_DENSE_WALK_CUH_
