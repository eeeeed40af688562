// How a consumer walks tiles of blocks and gathered tiles.
#ifndef TAMIS_ATTENTION_CUDA_SM90_GATHER_WALK_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_GATHER_WALK_CUH_

#include <cuda_runtime.h>

#include <cstdint>

#include "attention/cuda/sm90/gather_row.cuh"
#include "attention/cuda/sm90/gather_work.cuh"
#include "attention/cuda/sm90/list_walk.cuh"
#include "attention/cuda/sm90/mask.cuh"
#include "attention/cuda/sm90/shared.cuh"
#include "attention/cuda/sm90/traits.cuh"

namespace tamis::cuda::sm90 {

template <class Traits>
struct GatherWalk : ListWalk<Traits> {
  /// K of the tile must have arrived.
  __device__ static bool MustMask(const SharedPlan<Traits>& plan, uint32_t key_slot,
                                  int32_t group) {
    return (plan.lists.keys[key_slot].masked >> group & 1) != 0;
  }

  /// As ListWalk's. By one lane.
  __device__ static bool Visits(const SharedPlan<Traits>& plan, uint32_t key_slot, int32_t group,
                                int unit) {
    constexpr int kUnitWords = kKeyWords / kUnits;
    uint32_t any = 0;
    for (int w = 0; w < kUnitWords; ++w) {
      any |= plan.lists.keys[key_slot].visited[group][unit * kUnitWords + w];
    }
    return any != 0;
  }
  __device__ static int32_t DropBit(const ForwardParams& params, const SharedPlan<Traits>& plan,
                                    uint32_t key_slot, int unit) {
    const TileKeys& keys = plan.lists.keys[key_slot];
    return (keys.AreColumns() ? params.skip.first_gathered : 0) +
           keys.first[unit] / params.lists.key_block;
  }

  /// Hides the keys after last_key of the thread's two rows and those that the warpgroup does not
  /// visit. K of the tile must not have been released.
  __device__ static void Mask(float (&s)[Traits::kScores], const SharedPlan<Traits>& plan,
                              uint32_t key_slot, int32_t group, int32_t,
                              const int32_t (&last_key)[2]) {
    constexpr int kWordScores = 32 / 2;
    const TileKeys& keys = plan.lists.keys[key_slot];
    // Else what follows from the thread is kept in registers from one tile to the next.
    const uint32_t thread = ptx::Fresh(threadIdx.x);
    const int32_t column = 2 * (static_cast<int32_t>(thread) & 3);
    int32_t last[2] = {last_key[0], last_key[1]};
    const int32_t kind = keys.kind;
    if (kind == TileKeys::kGathered) last[0] = last[1] = INT32_MAX;
    if (kind == TileKeys::kLimited) {
      const uint8_t* limits =
          &plan.lists.limits[key_slot]
                            [group * kGroupRows + thread % kWarpgroup / 32 * 16 + thread % 32 / 4];
      for (int r = 0; r < 2; ++r) last[r] = keys.first[0] + limits[8 * r] - 1;
    }
#pragma unroll
    for (int w = 0; w < kKeyWords; ++w) {
      const int32_t first = keys.first[w * 32 / kUnitKeys] + w * 32 % kUnitKeys;
      const uint32_t visited = keys.visited[group][w];
      uint32_t open[2];  // from the thread's first column
#pragma unroll
      for (int r = 0; r < 2; ++r) open[r] = (visited & BitsTo(last[r] - first)) >> column;
#pragma unroll
      for (int i = 0; i < kWordScores; ++i) {
        if ((open[(i >> 1) & 1] >> ColumnOf(i) & 1) == 0) s[w * kWordScores + i] = -INFINITY;
      }
    }
  }
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_GATHER_WALK_CUH_
