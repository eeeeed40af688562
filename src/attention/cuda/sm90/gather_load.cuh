// The loaders of kernels that gather: a warp for K and one for V, each along the whole walk.
//
// A gathered tile takes 4096 copies of 16 bytes at head_dim 128, and whatever a warp issues, the
// consumers on its scheduler wait for: two warps sit on two schedulers, and neither ring has to
// wait for the other.
#ifndef TAMIS_ATTENTION_CUDA_SM90_GATHER_LOAD_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_GATHER_LOAD_CUH_

#include <cstdint>

#include "attention/cuda/sm90/gather_row.cuh"
#include "attention/cuda/sm90/gather_stage.cuh"
#include "attention/cuda/sm90/gather_work.cuh"
#include "attention/cuda/sm90/list_boxes.cuh"
#include "attention/cuda/sm90/list_queries.cuh"
#include "attention/cuda/sm90/list_steps.cuh"
#include "attention/cuda/sm90/shared.cuh"
#include "attention/cuda/sm90/traits.cuh"

namespace tamis::cuda::sm90 {

/// Calls `load(planned, rows)` for each planned tile; returns the one that ends the work.
template <class ListState, class Stages, class Load>
__device__ inline const PlannedTile& FollowPlan(ListState& lists, Stages& stages, Load load) {
  Ring<ListState::kPlanned> ring;
  for (;;) {
    const uint32_t slot = ring.slot();
    stages.Await(ptx::SharedAddress(&lists.planned_full[slot]), ring.phase());
    const PlannedTile& planned = lists.planned[slot];
    if (planned.work.sequence < 0) return planned;
    load(planned, lists.rows[slot]);
    __syncwarp();  // every lane has read the plan
    if ((threadIdx.x & 31) == 0) ptx::Arrive(ptx::SharedAddress(&lists.planned_empty[slot]));
    ring.Advance();
  }
}

/// Calls `blocks(keys)` for each tile of blocks of a planned tile, then `columns(row, tile)` for
/// each gathered tile.
template <class Blocks, class Columns>
__device__ inline void FollowTile(const PlannedTile& planned, const GatherRow (&rows)[2],
                                  int32_t key_block, Blocks blocks, Columns columns) {
  if (planned.blocks > 0) {
    StepWalk walk(planned, key_block);
    const int32_t steps = planned.extent.steps - rows[0].GatheredTiles() - rows[1].GatheredTiles();
#pragma unroll 1
    for (int32_t step = 0; step < steps; ++step) blocks(walk.Next());
  }
#pragma unroll 1
  for (int32_t r = 0; r < 2; ++r) {
    const int32_t tiles = rows[r].GatheredTiles();
#pragma unroll 1
    for (int32_t tile = 0; tile < tiles; ++tile) columns(r, tile);
  }
}

__device__ inline Boxes BoxesOf(const ForwardParams& params, const PlannedTile& planned) {
  Boxes boxes;
  boxes.head = planned.work.q_head / params.group;
  boxes.batch = params.key_offsets != nullptr ? 0 : planned.work.sequence;
  return boxes;
}

/// Loads K, Q with the first K of each tile of work, and says what the consumers must hide.
template <class Traits>
class KeyLoader {
  using ListState = typename Traits::ListState;

 public:
  __device__ KeyLoader(const ForwardParams& params, const CUtensorMap& q, const CUtensorMap& k,
                       SharedPlan<Traits>& plan)
      : params_(params),
        lists_(plan.lists),
        stages_(k, plan.k[0], plan.key_full, plan.key_empty),
        queries_(params, q, plan) {}

  /// By a whole warp.
  __device__ void Run() {
    const PlannedTile& end = FollowPlan(
        lists_, stages_,
        [&](const PlannedTile& planned, const GatherRow(&rows)[2]) { LoadTile(planned, rows); });
    stages_.Flush();
    if (Leads()) queries_.End(end);
  }

 private:
  __device__ static bool Leads() { return (threadIdx.x & 31) == 0; }

  __device__ void LoadTile(const PlannedTile& planned, const GatherRow (&rows)[2]) {
    const TileWork& work = planned.work;
    Boxes boxes = BoxesOf(params_, planned);
    source_ = stages_.Source(params_.lists.gather.k, params_.lists.gather.k_stride, boxes.batch,
                             boxes.head, planned.key_row, params_.lists.gather.head_dim);
    two_rows_ = planned.bits[1] != nullptr;
    for (int g = 0; g < 2; ++g) {
      full_key_[g] = LastKey(params_, work, work.first_query + g * planned.extent.group_rows);
      windows_[g] = WindowWalk(rows[g]);
    }
    bool first = true;
    int32_t position = 0;
    FollowTile(
        planned, rows, params_.lists.key_block,
        [&](const UnitKeys& keys) {
          const StageKeys described = DescribeBlocks(rows, keys);
          stages_.Acquire();
          if (Leads()) lists_.keys[stages_.slot()] = described;
          for (int u = 0; u < kUnits; ++u) boxes.row[u] = planned.key_row + keys.first[u];
          stages_.CopyBoxes(boxes);
          if (first && Leads()) queries_.Load(planned, keys.first);
          first = false;
        },
        [&](int32_t r, int32_t tile) {
          if (tile == 0) position = 0;
          LoadColumns(rows, r, tile, position);
          if (!first) return;
          first = false;
          stages_.Flush();  // the Q that this waits for may be in use until K has arrived
          // As of a tile that ends with the keys: there is no tail to clear.
          const int32_t last_unit[kUnits] = {work.keys - kUnitKeys, work.keys - kUnitKeys};
          if (Leads()) queries_.Load(planned, last_unit);
        });
  }

  __device__ bool IsBlock(const GatherRow& row, int32_t key) const {
    const int32_t block = key / params_.lists.key_block;
    return (row.blocks[block / 32] >> (block % 32) & 1) != 0;
  }

  __device__ StageKeys DescribeBlocks(const GatherRow (&rows)[2], const UnitKeys& keys) {
    StageKeys described;
    described.list = -1;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
#pragma unroll
      for (int u = kUnits - 1; u >= 0; --u) {  // as WindowWalk goes
        described.first[u] = keys.first[u];
        uint2 visited = {0, 0};
        if (r == 1 && !two_rows_) {
          visited = {described.visited[0][2 * u], described.visited[0][2 * u + 1]};
        } else if ((keys.present >> (r * kUnits + u) & 1) != 0) {
          visited = IsBlock(rows[r], keys.first[u]) ? uint2{~0u, ~0u}
                                                    : windows_[r].Visited(keys.first[u]);
        }
        described.visited[r][2 * u] = visited.x;
        described.visited[r][2 * u + 1] = visited.y;
      }
    }
    described.masked = Masked(described, keys.first[kUnits - 1] + kUnitKeys - 1);
    return described;
  }

  /// Warpgroups that must hide scores of a tile whose last key is `last_key`.
  __device__ uint32_t Masked(const StageKeys& keys, int32_t last_key) const {
    uint32_t masked = 0;
#pragma unroll
    for (int g = 0; g < 2; ++g) {
      uint32_t all = ~0u;
#pragma unroll
      for (int w = 0; w < kKeyWords; ++w) all &= keys.visited[g][w];
      if (all != ~0u || last_key > full_key_[g]) masked |= 1u << g;
    }
    return masked;
  }

  /// Gathered tile `tile` of row r, whose columns begin at `position` of the row's list.
  __device__ void LoadColumns(const GatherRow (&rows)[2], int32_t r, int32_t tile,
                              int32_t& position) {
    const int32_t count = min(rows[r].gathered - tile * kGatheredKeys, kGatheredKeys);
    stages_.Acquire();
    stages_.Await(ptx::SharedAddress(&lists_.list_empty[ring_.slot()]), ring_.phase() ^ 1);
    int32_t(&list)[kGatheredKeys] = lists_.lists[ring_.slot()];
    FillList(rows[r], params_.lists.key_block == kUnitKeys ? 6 : 7, count, position, list);
    if (Leads()) {
      ptx::Arrive(ptx::SharedAddress(&lists_.list_full[ring_.slot()]));
      StageKeys described{};
      described.list = static_cast<int32_t>(ring_.slot());
      for (int g = 0; g < 2; ++g) {
        if (two_rows_ && g != r) continue;
        for (int w = 0; w < kKeyWords; ++w) described.visited[g][w] = BitsTo(count - 1 - 32 * w);
      }
      described.masked = Masked(described, list[count - 1]);
      lists_.keys[stages_.slot()] = described;
    }
    stages_.CopyRows(source_, list);
    ring_.Advance();
  }

  const ForwardParams& params_;
  ListState& lists_;
  StageRing<Traits, Traits::kKeyStages> stages_;
  QueryLoader<Traits> queries_;
  Ring<ListState::kLists> ring_;

  // Of the tile of work at hand.
  RowSource source_;
  WindowWalk windows_[2];
  int32_t full_key_[2];  ///< up to which every row of a warpgroup sees the keys
  bool two_rows_;        ///< of the index, one for each warpgroup
};

/// Loads V.
template <class Traits>
class ValueLoader {
  using ListState = typename Traits::ListState;

 public:
  __device__ ValueLoader(const ForwardParams& params, const CUtensorMap& v,
                         SharedPlan<Traits>& plan)
      : params_(params),
        lists_(plan.lists),
        stages_(v, plan.v[0], plan.value_full, plan.value_empty) {}

  /// By a whole warp.
  __device__ void Run() {
    FollowPlan(lists_, stages_, [&](const PlannedTile& planned, const GatherRow(&rows)[2]) {
      LoadTile(planned, rows);
    });
    stages_.Flush();
  }

 private:
  __device__ void LoadTile(const PlannedTile& planned, const GatherRow (&rows)[2]) {
    Boxes boxes = BoxesOf(params_, planned);
    const GatherParams& gather = params_.lists.gather;
    const RowSource source = stages_.Source(gather.v, gather.v_stride, boxes.batch, boxes.head,
                                            planned.key_row, params_.value_dim);
    FollowTile(
        planned, rows, params_.lists.key_block,
        [&](const UnitKeys& keys) {
          stages_.Acquire();
          for (int u = 0; u < kUnits; ++u) boxes.row[u] = planned.key_row + keys.first[u];
          stages_.CopyBoxes(boxes);
        },
        [&](int32_t, int32_t) {
          stages_.Acquire();
          stages_.Await(ptx::SharedAddress(&lists_.list_full[ring_.slot()]), ring_.phase());
          stages_.CopyRows(source, lists_.lists[ring_.slot()]);
          __syncwarp();  // every lane has read the list
          if ((threadIdx.x & 31) == 0) {
            ptx::Arrive(ptx::SharedAddress(&lists_.list_empty[ring_.slot()]));
          }
          ring_.Advance();
        });
  }

  const ForwardParams& params_;
  ListState& lists_;
  StageRing<Traits, Traits::kValueStages> stages_;
  Ring<ListState::kLists> ring_;
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_GATHER_LOAD_CUH_
