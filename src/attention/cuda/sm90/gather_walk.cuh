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

/// How many keys of a list, which does not descend, are at most `last_key`.
__device__ inline int32_t KeysUpTo(const int32_t (&list)[kGatheredKeys], int32_t last_key) {
  if (list[kGatheredKeys - 1] <= last_key) return kGatheredKeys;
  int32_t keys = 0;
#pragma unroll 1
  for (int32_t step = kGatheredKeys / 2; step != 0; step /= 2) {
    if (list[keys + step - 1] <= last_key) keys += step;
  }
  return keys;
}

template <class Traits>
struct GatherWalk : ListWalk<Traits> {
  /// K of the tile must have arrived.
  __device__ static bool MustMask(const SharedPlan<Traits>& plan, uint32_t key_slot,
                                  int32_t group) {
    return (plan.lists.keys[key_slot].masked >> group & 1) != 0;
  }

  /// Hides the keys after last_key of the thread's two rows and those that the warpgroup does not
  /// visit. K of the tile must not have been released.
  __device__ static void Mask(float (&s)[Traits::kScores], const SharedPlan<Traits>& plan,
                              uint32_t key_slot, int32_t group, int32_t,
                              const int32_t (&last_key)[2]) {
    constexpr int kWordScores = 32 / 2;
    const StageKeys& keys = plan.lists.keys[key_slot];
    const int32_t column = 2 * (static_cast<int32_t>(threadIdx.x) & 3);
    int32_t seen[2] = {0, 0};  // of a gathered tile's keys
    if (keys.list >= 0) {
      for (int r = 0; r < 2; ++r) seen[r] = KeysUpTo(plan.lists.lists[keys.list], last_key[r]);
    }
#pragma unroll
    for (int w = 0; w < kKeyWords; ++w) {
      const int32_t first = w * 32 % kUnitKeys;
      const uint32_t visited = keys.visited[group][w];
      uint32_t open[2];  // from the thread's first column
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int32_t last = keys.list >= 0 ? seen[r] - 1 - 32 * w
                                            : last_key[r] - keys.first[w * 32 / kUnitKeys] - first;
        open[r] = (visited & BitsTo(last)) >> column;
      }
#pragma unroll
      for (int i = 0; i < kWordScores; ++i) {
        if ((open[(i >> 1) & 1] >> ColumnOf(i) & 1) == 0) s[w * kWordScores + i] = -INFINITY;
      }
    }
    __syncwarp();  // every lane has read the keys before lane 0 releases their stage
  }
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_GATHER_WALK_CUH_
