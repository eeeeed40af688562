// Tiles of work whose keys come from a TileIndex, and how they travel from the planner through the
// loader to the consumers.
#ifndef TAMIS_ATTENTION_CUDA_SM90_LIST_WORK_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_LIST_WORK_CUH_

#include <cstdint>

#include "attention/cuda/ptx/barrier.cuh"
#include "attention/cuda/sm90/work.cuh"

namespace tamis::cuda::sm90 {

/// Keys come in units of 64: the smaller key block of an index.
constexpr int kUnitKeys = 64;
/// Of a tile of keys.
constexpr int kUnits = 2;

/// Which rows a tile of work covers.
struct ListTile {
  int32_t sequence, q_head;  ///< of warpgroup 0
  int32_t block;             ///< query block of the index, of warpgroup 0
  int64_t row;               ///< of the index
  bool second_head;          ///< the next head exists, where warpgroup 1 takes that
};

__device__ inline ListTile FindTile(const ForwardParams& params, int32_t tile) {
  const ListParams& lists = params.lists;
  const int32_t unit = tile / lists.unit_tiles;
  const int32_t rank = tile - unit * lists.unit_tiles;
  const int32_t query_tile = rank / lists.head_tiles;
  const int32_t head = rank - query_tile * lists.head_tiles;
  const bool head_pairs = lists.second == ListParams::Second::kNextHead;
  const int32_t head_of_group = head_pairs ? 2 * head : head;
  ListTile found;
  found.sequence = unit / params.kv_heads;
  found.q_head = (unit - found.sequence * params.kv_heads) * params.group + head_of_group;
  found.block = lists.second == ListParams::Second::kNextRow ? 2 * query_tile : query_tile;
  found.row = (int64_t{found.sequence} * lists.head_rows + found.q_head / lists.heads_per_row) *
                  lists.row_blocks +
              found.block;
  found.second_head = head_of_group + 1 < params.group;
  return found;
}

/// What a tile of work has beside TileWork.
struct ListExtent {
  int32_t steps;                    ///< tiles of keys
  int32_t masked[2];                ///< of those, the first ones of which a warpgroup hides scores
  int32_t rows[2];                  ///< of each warpgroup that exist; may be negative
  int32_t group_rows, group_heads;  ///< from warpgroup 0 to warpgroup 1
  int32_t first_keys[kUnits];       ///< of the first tile's units
};

/// The keys of one stage of K.
struct UnitKeys {
  int32_t first[kUnits];  ///< key of each unit
  uint32_t present;       ///< bit group * kUnits + unit: that warpgroup visits the unit
};

/// What the planner hands to the loader.
struct PlannedTile {
  TileWork work;
  ListExtent extent;
  const uint32_t* bits[2];  ///< bitmap rows; the second may be null
  int32_t last_unit;        ///< the last that the mask lets any row see
  int32_t blocks;           ///< listed up to there
  int32_t key_row;          ///< row of the sequence's first key in the tensors
};

/// The part of shared memory that only lists need.
template <int kKeyStages, int kWorkStages>
struct ListShared {
  static constexpr int kPlanned = 2;
  UnitKeys keys[kKeyStages];        ///< written before key_full completes
  ListExtent extents[kWorkStages];  ///< beside SharedPlan::work
  PlannedTile planned[kPlanned];
  uint64_t planned_full[kPlanned];   ///< planner to loader
  uint64_t planned_empty[kPlanned];  ///< loader to planner: it has copied the tile

  __device__ void InitBarriers() {
    for (int i = 0; i < kPlanned; ++i) {
      ptx::InitBarrier(ptx::SharedAddress(&planned_full[i]), 1);
      ptx::InitBarrier(ptx::SharedAddress(&planned_empty[i]), 1);
    }
  }
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_LIST_WORK_CUH_
