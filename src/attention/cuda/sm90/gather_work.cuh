// What windows and columns add to the tiles of lists on their way from the planner to the
// consumers.
//
// A tile of work visits first its blocks, those of the bitmap and those that windows touch, from
// the last to the first, then its columns, those that lie in neither, gathered in ascending order
// into tiles of keys.
#ifndef TAMIS_ATTENTION_CUDA_SM90_GATHER_WORK_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_GATHER_WORK_CUH_

#include <cstdint>

#include "attention/cuda/sm90/list_work.cuh"

namespace tamis::cuda::sm90 {

/// Of a tile of keys, and of a list of columns.
constexpr int kGatheredKeys = kUnits * kUnitKeys;
/// Words of a tile that have a bit for each key.
constexpr int kKeyWords = kGatheredKeys / 32;

/// An index row, as far as a tile of work sees it.
struct GatherRow {
  const uint32_t* blocks;  ///< bitmap of the index
  const KeyWindow* windows;
  const int32_t* columns;
  int32_t window_count, column_count;
  int32_t last_key;  ///< the last that any query of the tile sees in this row
  int32_t gathered;  ///< columns up to there that lie in neither block nor window

  __device__ int32_t GatheredTiles() const {
    return (gathered + kGatheredKeys - 1) / kGatheredKeys;
  }
};

/// The keys of one stage of K.
struct StageKeys {
  int32_t first[kUnits];           ///< key of each unit, of tiles of blocks
  uint32_t visited[2][kKeyWords];  ///< for each warpgroup, a bit for every key that it visits
  uint32_t masked;                 ///< bit g: some score of warpgroup g must be hidden
  int32_t list;                    ///< the list of columns of a gathered tile; -1: blocks
};

/// The part of shared memory that lists with windows and columns need.
template <int kKeyStages, int kWorkStages>
struct GatherShared {
  /// A tile's slot is in use until its last copies have begun; the planner works ahead meanwhile.
  static constexpr int kPlanned = 3;
  static_assert(2 * kPlanned == kTouchedRows);
  /// Consumers read a list until they release the stage of K that it describes. A list is written
  /// again kLists gathered tiles later, when at least as many stages of K have been taken: that
  /// stage has then been released.
  static constexpr int kLists = kKeyStages;

  StageKeys keys[kKeyStages];       ///< written before key_full completes
  ListExtent extents[kWorkStages];  ///< beside SharedPlan::work
  PlannedTile planned[kPlanned];
  GatherRow rows[kPlanned][2];                       ///< beside `planned`, as PlannedTile::bits
  alignas(16) int32_t lists[kLists][kGatheredKeys];  ///< keys of gathered tiles
  uint64_t planned_full[kPlanned];                   ///< planner to both loaders
  uint64_t planned_empty[kPlanned];                  ///< both loaders to planner
  uint64_t list_full[kLists];                        ///< loader of K to loader of V
  uint64_t list_empty[kLists];                       ///< and back: it has read the list

  __device__ void InitBarriers() {
    for (int i = 0; i < kPlanned; ++i) {
      ptx::InitBarrier(ptx::SharedAddress(&planned_full[i]), 1);
      ptx::InitBarrier(ptx::SharedAddress(&planned_empty[i]), 2);
    }
    for (int i = 0; i < kLists; ++i) {
      ptx::InitBarrier(ptx::SharedAddress(&list_full[i]), 1);
      ptx::InitBarrier(ptx::SharedAddress(&list_empty[i]), 1);
    }
  }
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_GATHER_WORK_CUH_
