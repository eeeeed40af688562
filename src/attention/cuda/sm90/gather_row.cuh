// An index row's windows and columns, read by a whole warp.
#ifndef TAMIS_ATTENTION_CUDA_SM90_GATHER_ROW_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_GATHER_ROW_CUH_

#include <cuda_runtime.h>

#include <cstdint>

#include "attention/cuda/sm90/gather_work.cuh"

namespace tamis::cuda::sm90 {

/// Bits 0 to `last` of a word; none below 0.
__device__ inline uint32_t BitsTo(int32_t last) { return last < 0 ? 0 : (2u << min(last, 31)) - 1; }
/// Bits [begin, end), as far as a word has them.
__device__ inline uint32_t BitsOf(int32_t begin, int32_t end) {
  return BitsTo(end - 1) & ~BitsTo(begin - 1);
}

/// Blocks of word `word` of a bitmap that the row's windows touch.
__device__ inline uint32_t TouchedBlocks(const GatherRow& row, int32_t word, int32_t block_shift) {
  const int32_t first = word * 32 << block_shift;
  const int32_t end = first + (32 << block_shift);
  int32_t low = 0, high = row.window_count;  // to the first window that ends after `first`
  while (low < high) {
    const int32_t middle = (low + high) / 2;
    if (row.windows[middle].end <= first) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  uint32_t bits = 0;
  for (; low < row.window_count; ++low) {
    const KeyWindow window = row.windows[low];
    if (window.begin >= end) break;
    bits |= BitsOf(max(window.begin - first, 0) >> block_shift,
                   ((min(window.end, end) - 1 - first) >> block_shift) + 1);
  }
  return bits;
}

/// Finds which keys of a row's units lie in its windows, from the last unit to the first.
class WindowWalk {
 public:
  __device__ WindowWalk() = default;
  __device__ explicit WindowWalk(const GatherRow& row)
      : windows_(row.windows), left_(row.window_count) {}

  /// A bit for each key of the unit that begins at `first`.
  __device__ uint2 Visited(int32_t first) {
    KeyWindow window;
    for (;;) {
      const int32_t i = left_ - 1 - static_cast<int32_t>(threadIdx.x & 31);
      window = i >= 0 ? windows_[i] : KeyWindow{0, 0};
      const uint32_t passed = __ballot_sync(0xffffffffu, window.begin >= first + kUnitKeys);
      if (passed == 0) break;
      left_ -= __popc(passed);
    }
    // Windows begin at multiples of 8: no more than 8 of them meet a unit.
    const int32_t begin = window.begin - first;
    const int32_t end = window.end - first;
    return {__reduce_or_sync(0xffffffffu, BitsOf(begin, end)),
            __reduce_or_sync(0xffffffffu, BitsOf(begin - 32, end - 32))};
  }

 private:
  const KeyWindow* windows_ = nullptr;
  int32_t left_ = 0;  ///< windows not yet passed
};

/// Columns of a row, a gathered tile's worth at a time: lane i holds those at i, i + 32, and so on.
class ColumnBatch {
 public:
  static constexpr int kEach = kGatheredKeys / 32;

  /// Those from `position` of the row's list on.
  __device__ ColumnBatch(const GatherRow& row, int32_t position, int32_t block_shift) {
    const int32_t lane = static_cast<int32_t>(threadIdx.x & 31);
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const int32_t at = position + 32 * j + lane;
      column_[j] = at < row.column_count ? row.columns[at] : INT32_MAX;
    }
    // Windows that begin at or before each column, all searches in step.
    int32_t before[kEach] = {};
    if (row.window_count != 0) {
#pragma unroll 1
      for (int32_t step = 1 << (31 - __clz(row.window_count)); step != 0; step /= 2) {
#pragma unroll
        for (int j = 0; j < kEach; ++j) {
          const int32_t at = before[j] + step;
          if (at <= row.window_count && row.windows[at - 1].begin <= column_[j]) before[j] = at;
        }
      }
    }
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      bool gathered = column_[j] <= row.last_key;
      if (gathered) {
        const int32_t block = column_[j] >> block_shift;
        gathered = (row.blocks[block / 32] >> (block % 32) & 1) == 0;
      }
      if (gathered && before[j] != 0) gathered = column_[j] >= row.windows[before[j] - 1].end;
      lanes_[j] = __ballot_sync(0xffffffffu, gathered);
    }
    past_ = __any_sync(0xffffffffu, column_[kEach - 1] > row.last_key);
  }

  /// This lane's column j.
  __device__ int32_t column(int j) const { return column_[j]; }
  /// Lanes whose column j lies in neither block nor window and is seen.
  __device__ uint32_t lanes(int j) const { return lanes_[j]; }
  /// No column after the batch is seen.
  __device__ bool IsLast() const { return past_; }

 private:
  int32_t column_[kEach];
  uint32_t lanes_[kEach];
  bool past_;
};

/// Fills `list` with the next `count` gathered columns of a row, in ascending order, and with the
/// last of them to its end. `position`: where in the row's columns to look on.
__device__ inline void FillList(const GatherRow& row, int32_t block_shift, int32_t count,
                                int32_t& position, int32_t (&list)[kGatheredKeys]) {
  const auto lane = static_cast<int32_t>(threadIdx.x & 31);
  int32_t filled = 0;
#pragma unroll 1
  while (filled < count) {
    const ColumnBatch batch(row, position, block_shift);
    int32_t next = position + kGatheredKeys;
#pragma unroll
    for (int j = 0; j < ColumnBatch::kEach; ++j) {
      const uint32_t lanes = batch.lanes(j);
      const bool gathered = (lanes >> lane & 1) != 0;
      const int32_t rank = filled + __popc(lanes & ((1u << lane) - 1));
      if (gathered && rank < kGatheredKeys) list[rank] = batch.column(j);
      // The first that finds no room begins the next list.
      const uint32_t over = __ballot_sync(0xffffffffu, gathered && rank == kGatheredKeys);
      if (over != 0) next = position + 32 * j + __ffs(static_cast<int32_t>(over)) - 1;
      filled += __popc(lanes);
    }
    position = next;
  }
  __syncwarp();  // the last column is written before it is repeated
  for (int32_t i = count + lane; i < kGatheredKeys; i += 32) list[i] = list[count - 1];
  __syncwarp();  // the list is complete before any lane reads it
}

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_GATHER_ROW_CUH_
