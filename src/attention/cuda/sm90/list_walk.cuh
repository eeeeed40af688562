// How a consumer walks the tiles of keys that the loader sends it, counting down to 0.
#ifndef TAMIS_ATTENTION_CUDA_SM90_LIST_WALK_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_LIST_WALK_CUH_

#include <cuda_runtime.h>

#include <cstdint>

#include "attention/cuda/sm90/epilogue.cuh"
#include "attention/cuda/sm90/list_work.cuh"
#include "attention/cuda/sm90/mask.cuh"
#include "attention/cuda/sm90/shared.cuh"
#include "attention/cuda/sm90/traits.cuh"

namespace tamis::cuda::sm90 {

template <class Traits>
struct ListWalk {
  static constexpr int kBoxes = kUnits;

  /// Sets the number of the first tile, of which the last is 0, and the tiles that need no mask.
  __device__ static void Open(const ForwardParams&, const SharedPlan<Traits>& plan, uint32_t slot,
                              int32_t group, int32_t& tile, int32_t& full) {
    const ListExtent& extent = plan.lists.extents[slot];
    tile = extent.steps - 1;
    full = tile - extent.masked[group];
  }

  __device__ static int32_t FirstRow(const SharedPlan<Traits>& plan, uint32_t slot, int32_t group) {
    return plan.work[slot].first_query + group * plan.lists.extents[slot].group_rows;
  }

  __device__ static OutputRows Output(const SharedPlan<Traits>& plan, uint32_t slot,
                                      int32_t group) {
    const TileWork& work = plan.work[slot];
    const ListExtent& extent = plan.lists.extents[slot];
    OutputRows rows;
    rows.sequence = work.sequence;
    rows.q_head = work.q_head + group * extent.group_heads;
    rows.row = work.query_row + group * extent.group_rows;
    rows.rows = extent.rows[group];
    return rows;
  }

  /// Hides the keys after last_key of the thread's two rows and the units that the warpgroup does
  /// not visit. K of the tile must not have been released.
  __device__ static void Mask(float (&s)[Traits::kScores], const SharedPlan<Traits>& plan,
                              uint32_t key_slot, int32_t group, int32_t,
                              const int32_t (&last_key)[2]) {
    constexpr int kUnitScores = kUnitKeys / 2;
    int32_t last[kUnits][2];
    LastColumns(plan, key_slot, group, last_key, 2, last);
#pragma unroll
    for (int u = 0; u < kUnits; ++u) {
#pragma unroll
      for (int i = 0; i < kUnitScores; ++i) {
        if (ColumnOf(i) > last[u][(i >> 1) & 1]) s[u * kUnitScores + i] = -INFINITY;
      }
    }
  }

  /// The first key of a unit of the tile at hand, whose K must not have been released.
  __device__ static int32_t UnitKey(const SharedPlan<Traits>& plan, uint32_t key_slot, int32_t,
                                    int unit) {
    const bool reads = (threadIdx.x & 31) == 0;  // as in LastColumns
    return __shfl_sync(0xffffffffu, reads ? plan.lists.keys[key_slot].first[unit] : 0, 0);
  }

  /// Whether the warpgroup visits a unit, and that unit's bit of SkipParams::dropped. By the lane
  /// that will release the stage.
  __device__ static bool Visits(const SharedPlan<Traits>& plan, uint32_t key_slot, int32_t group,
                                int unit) {
    return (plan.lists.keys[key_slot].present >> (group * kUnits + unit) & 1) != 0;
  }
  __device__ static int32_t DropBit(const ForwardParams& params, const SharedPlan<Traits>& plan,
                                    uint32_t key_slot, int unit) {
    return plan.lists.keys[key_slot].first[unit] / params.lists.key_block;
  }

  /// `last[u][r]`: last_key[r], counted from the thread's first key of unit u; -1 in units that the
  /// warpgroup does not visit. Lanes of a quad begin `lane_keys` keys apart. K of the tile must not
  /// have been released.
  __device__ static void LastColumns(const SharedPlan<Traits>& plan, uint32_t key_slot,
                                     int32_t group, const int32_t (&last_key)[2], int32_t lane_keys,
                                     int32_t (&last)[kUnits][2]) {
    // By the lane that will release the stage, so that its reads come before that by program order.
    const UnitKeys& keys = plan.lists.keys[key_slot];
    const bool reads = (threadIdx.x & 31) == 0;
    const auto read = [&](const auto& value) {
      return __shfl_sync(0xffffffffu, reads ? static_cast<int32_t>(value) : 0, 0);
    };
    const int32_t present_units = read(keys.present);
    const int32_t column = lane_keys * (static_cast<int32_t>(threadIdx.x) & 3);
#pragma unroll
    for (int u = 0; u < kUnits; ++u) {
      const bool present = (present_units >> (group * kUnits + u) & 1) != 0;
      const int32_t first = read(keys.first[u]);
      for (int r = 0; r < 2; ++r) last[u][r] = present ? last_key[r] - first - column : -1;
    }
  }

  /// The first key of a box of tile `tile`, the first of its walk.
  __device__ static int32_t BoxKey(const SharedPlan<Traits>& plan, uint32_t slot, int32_t,
                                   int box) {
    return plan.lists.extents[slot].first_keys[box];
  }
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_LIST_WALK_CUH_
