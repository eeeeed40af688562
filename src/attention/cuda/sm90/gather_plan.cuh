// What the planner finds out about the windows and columns of a tile of work.
#ifndef TAMIS_ATTENTION_CUDA_SM90_GATHER_PLAN_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_GATHER_PLAN_CUH_

#include <cstdint>

#include "attention/cuda/sm90/gather_row.cuh"
#include "attention/cuda/sm90/gather_work.cuh"

namespace tamis::cuda::sm90 {

/// Row `row` of the index, of which a tile sees the keys up to `last_key`. `gathered` is left open.
__device__ inline GatherRow OpenRow(const GatherParams& gather, const uint32_t* blocks, int64_t row,
                                    int32_t last_key) {
  GatherRow open{};
  open.blocks = blocks;
  open.last_key = last_key;
  if (gather.window_offsets != nullptr) {
    const int64_t first = gather.window_offsets[row];
    open.windows = gather.windows + first;
    open.window_count = static_cast<int32_t>(gather.window_offsets[row + 1] - first);
  }
  if (gather.column_offsets != nullptr && last_key >= 0) {
    const int64_t first = gather.column_offsets[row];
    open.columns = gather.columns + first;
    open.column_count = static_cast<int32_t>(gather.column_offsets[row + 1] - first);
  }
  return open;
}

/// Returns how many columns of a row are gathered, and in `end` where the last of those lies that
/// are seen at all, to within a batch.
__device__ inline int32_t CountGathered(const GatherRow& row, int32_t block_shift, int32_t& end) {
  constexpr int kEach = 2;  // more would not fit the planner's registers
  int32_t gathered = 0;
  end = 0;
#pragma unroll 1
  while (end < row.column_count) {
    const ColumnBatch<kEach> batch(row, end, block_shift);
    for (int j = 0; j < kEach; ++j) gathered += __popc(batch.lanes(j));
    end += 32 * kEach;
    if (batch.IsLast()) break;
  }
  end = min(end, row.column_count);
  return gathered;
}

/// Writes the rows of a planned tile to `rows`, adds the blocks that windows touch to the bitmaps
/// that the tile will be walked by, and returns the number of its gathered tiles. By a whole warp.
template <class ListState>
__device__ inline int32_t PlanRows(const ForwardParams& params, int64_t first_row, uint32_t slot,
                                   GatherRow (&rows)[2], PlannedTile& planned) {
  const ListParams& lists = params.lists;
  const TileWork& work = planned.work;
  const int32_t block_shift = lists.key_block == kUnitKeys ? 6 : 7;
  const auto lane = static_cast<int32_t>(threadIdx.x & 31);
  const bool two = planned.bits[1] != nullptr;
  const int32_t end = work.first_query + planned.extent.group_rows + kGroupRows;
  const int32_t last_word = (LastKey(params, work, min(end, work.queries) - 1) >> block_shift) / 32;
  int32_t tiles = 0;
#pragma unroll 1
  for (int r = 0; r < 2; ++r) {
    // In shared memory rather than in registers, of which the plan leaves few.
    GatherRow& row = rows[r];
    const bool exists = r == 0 || two;
    if (lane == 0) {
      row = {};
      if (exists) {
        const int32_t row_end = two && r == 0 ? work.first_query + kGroupRows : end;
        row = OpenRow(lists.gather, r == 0 ? planned.bits[0] : planned.bits[1], first_row + r,
                      LastKey(params, work, min(row_end, work.queries) - 1));
      }
    }
    __syncwarp();  // the row is there for every lane
    if (!exists) continue;
    int32_t end;
    const int32_t gathered = CountGathered(row, block_shift, end);
    __syncwarp();  // every lane has read the row
    if (lane == 0) {
      row.gathered = gathered;
      row.column_count = end;
    }
    tiles += (gathered + kGatheredKeys - 1) / kGatheredKeys;
    if (row.window_count == 0) continue;
    uint32_t* touched = lists.gather.touched +
                        (int64_t{blockIdx.x} * kTouchedRows + slot * 2 + r) * lists.row_words;
#pragma unroll 1
    for (int32_t word = lane; word <= last_word; word += 32) {
      touched[word] = row.blocks[word] | TouchedBlocks(row, word, block_shift);
    }
    // By name: an index would put the plan into local memory.
    if (r == 0) {
      planned.bits[0] = touched;
    } else {
      planned.bits[1] = touched;
    }
  }
  __syncwarp();  // all words are written before any lane reads them
  return tiles;
}

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_GATHER_PLAN_CUH_
