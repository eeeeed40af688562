// What windows and columns add to the tiles of lists on their way from the planner to the
// consumers.
//
// A tile of work visits its keys in TileIndex order reversed: first its columns, those that lie in
// neither block nor window, gathered in ascending order into tiles of which the last goes first;
// then its blocks, those of the bitmap and those that windows touch, from the last to the first.
#ifndef TAMIS_ATTENTION_CUDA_SM90_GATHER_WORK_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_GATHER_WORK_CUH_

#include <cstdint>

#include "attention/cuda/sm90/list_work.cuh"
#include "attention/cuda/sm90/traits.cuh"

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
  int32_t window_count;
  int32_t column_count;  ///< up to last_key
  int32_t last_key;      ///< the last that any query of the tile sees in this row
  int32_t gathered;      ///< columns up to there that lie in neither block nor window

  __device__ int32_t GatheredTiles() const {
    return (gathered + kGatheredKeys - 1) / kGatheredKeys;
  }
};

/// The keys of a tile.
struct TileKeys {
  int32_t first[kUnits];           ///< of each unit: its key, or its rank among gathered columns
  uint32_t visited[2][kKeyWords];  ///< for each warpgroup, a bit for every key that it visits
  uint32_t masked;                 ///< bit g: some score of warpgroup g must be hidden
  enum Kind : int32_t {
    kBlocks,
    /// Blocks of which one ends past the sequence, where V may hold anything: copied key by key.
    kTail,
    kGathered,  ///< columns
    kLimited,   ///< columns, of which some query does not see the last
  };
  int32_t kind;

  __device__ bool AreColumns() const { return kind == kGathered || kind == kLimited; }
};

/// A tile of keys on its way from the describer to the loaders.
struct GatherStep {
  TileKeys keys;
  int32_t columns[kGatheredKeys];  ///< of tiles that are copied key by key
};

/// The part of shared memory that lists with windows and columns need.
template <int kKeyStages, int kWorkStages>
struct GatherShared {
  static constexpr int kPlanned = 2;
  static_assert(2 * kPlanned == kTouchedRows);
  /// As many as the stages of K: so far the describer must be ahead to keep out of the way.
  static constexpr int kSteps = kKeyStages;

  alignas(16) GatherStep steps[kSteps];
  TileKeys keys[kKeyStages];  ///< written before key_full completes
  /// Of tiles that are kLimited, how many columns each row of the tile of work sees; beside `keys`.
  alignas(16) uint8_t limits[kKeyStages][2 * kGroupRows];
  ListExtent extents[kWorkStages];  ///< beside SharedPlan::work
  PlannedTile planned[kPlanned];
  GatherRow rows[kPlanned][2];  ///< beside `planned`, as PlannedTile::bits

  uint64_t planned_full[kPlanned];   ///< planner to describer and loaders
  uint64_t planned_empty[kPlanned];  ///< and back: they have taken all of the tile's steps
  uint64_t step_full[kSteps];        ///< describer to loaders
  uint64_t step_empty[kSteps];       ///< and back: they have read the step

  /// Whatever a lane has read or written, it says so itself: no barrier of the warp comes between.
  __device__ void InitBarriers() {
    constexpr uint32_t kWarp = 32, kLoaders = 2;
    for (int i = 0; i < kPlanned; ++i) {
      ptx::InitBarrier(ptx::SharedAddress(&planned_full[i]), 1);
      ptx::InitBarrier(ptx::SharedAddress(&planned_empty[i]), (1 + kLoaders) * kWarp);
    }
    for (int i = 0; i < kSteps; ++i) {
      ptx::InitBarrier(ptx::SharedAddress(&step_full[i]), kWarp);
      ptx::InitBarrier(ptx::SharedAddress(&step_empty[i]), kLoaders * kWarp);
    }
  }
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_GATHER_WORK_CUH_
