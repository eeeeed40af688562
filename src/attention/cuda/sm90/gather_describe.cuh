// The describer: a warp that finds out ahead of the loaders which keys each tile holds.
#ifndef TAMIS_ATTENTION_CUDA_SM90_GATHER_DESCRIBE_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_GATHER_DESCRIBE_CUH_

#include <cstdint>

#include "attention/cuda/sm90/gather_row.cuh"
#include "attention/cuda/sm90/gather_work.cuh"
#include "attention/cuda/sm90/list_steps.cuh"
#include "attention/cuda/sm90/shared.cuh"

namespace tamis::cuda::sm90 {

/// Calls `load(planned, rows)` for each planned tile, having waited by `await(barrier, parity)`;
/// returns the one that ends the work. By a whole warp.
template <class ListState, class Await, class Load>
__device__ inline const PlannedTile& FollowPlan(ListState& lists, Await await, Load load) {
  Ring<ListState::kPlanned> ring;
  for (;;) {
    const uint32_t slot = ring.slot();
    await(ptx::SharedAddress(&lists.planned_full[slot]), ring.phase());
    const PlannedTile& planned = lists.planned[slot];
    if (planned.work.sequence < 0) return planned;
    load(planned, lists.rows[slot]);
    ptx::Arrive(ptx::SharedAddress(&lists.planned_empty[slot]));
    ring.Advance();
  }
}

/// Describes the gathered tiles of a tile of work, then its tiles of blocks.
template <class ListState>
class Describer {
 public:
  __device__ Describer(const ForwardParams& params, ListState& lists)
      : params_(params), lists_(lists), block_shift_(params.lists.key_block == kUnitKeys ? 6 : 7) {}

  /// By a whole warp.
  __device__ void Run() {
    FollowPlan(
        lists_, [](uint32_t barrier, uint32_t parity) { ptx::Wait(barrier, parity); },
        [&](const PlannedTile& planned, const GatherRow(&rows)[2]) { Describe(planned, rows); });
  }

 private:
  __device__ static bool Leads() { return (threadIdx.x & 31) == 0; }

  __device__ void Describe(const PlannedTile& planned, const GatherRow (&rows)[2]) {
    const TileWork& work = planned.work;
    two_rows_ = planned.bits[1] != nullptr;
    for (int g = 0; g < 2; ++g) {
      full_key_[g] = LastKey(params_, work, work.first_query + g * planned.extent.group_rows);
      windows_[g] = WindowWalk(rows[g]);
    }
#pragma unroll 1
    for (int r = 0; r < 2; ++r) {
      int32_t end = rows[r].column_count;
#pragma unroll 1
      for (int32_t tile = rows[r].GatheredTiles() - 1; tile >= 0; --tile) {
        DescribeColumns(rows[r], r, tile * kGatheredKeys, end);
      }
    }
    if (planned.blocks > 0) {
      StepWalk walk(planned, params_.lists.key_block);
      const int32_t steps =
          planned.extent.steps - rows[0].GatheredTiles() - rows[1].GatheredTiles();
#pragma unroll 1
      for (int32_t step = 0; step < steps; ++step) DescribeBlocks(rows, walk.Next(), work.keys);
    }
  }

  /// `end`: of the sequence's keys.
  __device__ void DescribeBlocks(const GatherRow (&rows)[2], const UnitKeys& units, int32_t end) {
    TileKeys keys;
    keys.kind = TileKeys::kBlocks;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
#pragma unroll
      for (int u = kUnits - 1; u >= 0; --u) {  // as WindowWalk goes
        keys.first[u] = units.first[u];
        uint2 visited = {0, 0};
        if (r == 1 && !two_rows_) {
          visited = {keys.visited[0][2 * u], keys.visited[0][2 * u + 1]};
        } else if ((units.present >> (r * kUnits + u) & 1) != 0) {
          visited = IsBlock(rows[r], units.first[u]) ? uint2{~0u, ~0u}
                                                     : windows_[r].Visited(units.first[u]);
        }
        keys.visited[r][2 * u] = visited.x;
        keys.visited[r][2 * u + 1] = visited.y;
      }
    }
    GatherStep& step = Acquire();
    const int32_t last_key = units.first[kUnits - 1] + kUnitKeys - 1;
    if (params_.foreign_tail && last_key >= end) {
      keys.kind = TileKeys::kTail;
      for (int32_t i = threadIdx.x & 31; i < kGatheredKeys; i += 32) {
        const int32_t first = i < kUnitKeys ? units.first[0] : units.first[1] - kUnitKeys;
        step.columns[i] = min(first + i, end - 1);
      }
    }
    Publish(step, keys, last_key);
  }

  /// Those gathered columns of row r that no earlier call took, from rank `first` on. `end`: as
  /// FillList wants it.
  __device__ void DescribeColumns(const GatherRow& row, int32_t r, int32_t first, int32_t& end) {
    GatherStep& step = Acquire();
    const int32_t count = min(row.gathered - first, kGatheredKeys);
    FillList(row, block_shift_, count, end, step.columns);
    __syncwarp();  // the list is complete
    TileKeys keys;
    for (int u = 0; u < kUnits; ++u) keys.first[u] = first + u * kUnitKeys;
#pragma unroll
    for (int g = 0; g < 2; ++g) {
      const int32_t visited = two_rows_ && g != r ? 0 : count;
      for (int w = 0; w < kKeyWords; ++w) keys.visited[g][w] = BitsTo(visited - 1 - 32 * w);
    }
    const int32_t last_key = step.columns[kGatheredKeys - 1];
    keys.kind =
        last_key > min(full_key_[0], full_key_[1]) ? TileKeys::kLimited : TileKeys::kGathered;
    Publish(step, keys, last_key);
  }

  __device__ bool IsBlock(const GatherRow& row, int32_t key) const {
    const int32_t block = key >> block_shift_;
    return (__ldg(row.blocks + (block >> 5)) >> (block & 31) & 1) != 0;
  }

  /// Waits for a free step.
  __device__ GatherStep& Acquire() const {
    ptx::Wait(ptx::SharedAddress(&lists_.step_empty[ring_.slot()]), ring_.phase() ^ 1);
    __syncwarp();  // a wait may end at different times in different lanes
    return lists_.steps[ring_.slot()];
  }

  /// Hands the step of a tile whose last key is `last_key` to the loaders.
  __device__ void Publish(GatherStep& step, TileKeys& keys, int32_t last_key) {
    keys.masked = 0;
#pragma unroll
    for (int g = 0; g < 2; ++g) {
      uint32_t all = ~0u;
#pragma unroll
      for (int w = 0; w < kKeyWords; ++w) all &= keys.visited[g][w];
      if (all != ~0u || last_key > full_key_[g]) keys.masked |= 1u << g;
    }
    if (Leads()) step.keys = keys;
    ptx::Arrive(ptx::SharedAddress(&lists_.step_full[ring_.slot()]));
    ring_.Advance();
  }

  const ForwardParams& params_;
  ListState& lists_;
  const int32_t block_shift_;
  Ring<ListState::kSteps> ring_;

  // Of the tile of work at hand.
  WindowWalk windows_[2];
  int32_t full_key_[2];  ///< up to which every row of a warpgroup sees the keys
  bool two_rows_;        ///< of the index, one for each warpgroup
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_GATHER_DESCRIBE_CUH_
