// An index row's windows and columns, read by a whole warp.
#ifndef TAMIS_ATTENTION_CUDA_SM90_GATHER_ROW_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_GATHER_ROW_CUH_

#include <cuda_runtime.h>

#include <cstdint>

#include "attention/cuda/sm90/gather_work.cuh"
#include "attention/cuda/sm90/shared.cuh"

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
  WindowWalk() = default;
  __device__ explicit WindowWalk(const GatherRow& row)
      : windows_(row.windows), left_(row.window_count) {}

  /// A bit for each key of the unit that begins at `first`.
  __device__ uint2 Visited(int32_t first) {
    int32_t begin, end;  // of this lane's window, from `first`
    for (;;) {
      const int32_t i = left_ - 1 - static_cast<int32_t>(threadIdx.x & 31);
      begin = (i >= 0 ? __ldg(&windows_[i].begin) : 0) - first;
      end = (i >= 0 ? __ldg(&windows_[i].end) : 0) - first;
      const uint32_t passed = __ballot_sync(0xffffffffu, begin >= kUnitKeys);
      if (passed == 0) break;
      left_ -= __popc(passed);
    }
    if (__any_sync(0xffffffffu, begin <= 0 && end >= kUnitKeys)) return {~0u, ~0u};
    // Windows begin at multiples of 8: no more than 8 of them meet a unit.
    return {__reduce_or_sync(0xffffffffu, BitsOf(begin, end)),
            __reduce_or_sync(0xffffffffu, BitsOf(begin - 32, end - 32))};
  }

 private:
  const KeyWindow* windows_ = nullptr;
  int32_t left_ = 0;  ///< windows not yet passed
};

/// Columns of a row that has some, kEach to a lane: lane i holds those at i, i + 32, and so on.
/// Without branches: a warp alone has nobody to hide behind.
template <int kEach>
class ColumnBatch {
 public:
  /// Those from `position` of the row's list on. The row must see some key.
  __device__ ColumnBatch(const GatherRow& row, int32_t position, int32_t block_shift) {
    const int32_t at = position + static_cast<int32_t>(threadIdx.x & 31);
    const int32_t* columns = row.columns + at;
    const int32_t left = row.column_count - at;
    const int32_t last_key = row.last_key;
    bool gathered[kEach];
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      column_[j] = 32 * j < left ? __ldg(columns + 32 * j) : INT32_MAX;
      gathered[j] = column_[j] <= last_key;
    }
    past_ = __any_sync(0xffffffffu, !gathered[kEach - 1]);
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const int32_t block = min(column_[j], last_key) >> block_shift;
      gathered[j] &= (__ldg(row.blocks + (block >> 5)) >> (block & 31) & 1) == 0;
    }
    const int32_t windows = row.window_count;
    if (windows != 0) {
      // How many begin at or before each column, all searches in step.
      int32_t before[kEach] = {};
#pragma unroll 1
      for (int32_t step = 1 << (31 - __clz(windows)); step != 0; step >>= 1) {
#pragma unroll
        for (int j = 0; j < kEach; ++j) {
          const int32_t next = before[j] + step;
          const int32_t begin = __ldg(&row.windows[min(next, windows) - 1].begin);
          if (next <= windows && begin <= column_[j]) before[j] = next;
        }
      }
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        const int32_t end = __ldg(&row.windows[max(before[j], 1) - 1].end);
        gathered[j] &= before[j] == 0 || column_[j] >= end;
      }
    }
#pragma unroll
    for (int j = 0; j < kEach; ++j) lanes_[j] = __ballot_sync(0xffffffffu, gathered[j]);
  }

  /// This lane's column j.
  __device__ int32_t column(int j) const { return column_[j]; }
  /// Lanes whose column j is seen and lies in neither block nor window.
  __device__ uint32_t lanes(int j) const { return lanes_[j]; }
  /// No column after the batch is seen.
  __device__ bool IsLast() const { return past_; }

 private:
  int32_t column_[kEach];
  uint32_t lanes_[kEach];
  bool past_;
};

/// Fills `list` with the last `count` gathered columns among the first `end` of a row, in ascending
/// order, and with the last of them to its end. `end`: afterwards, where those before them end.
__device__ inline void FillList(const GatherRow& row, int32_t block_shift, int32_t count,
                                int32_t& end, int32_t (&list)[kGatheredKeys]) {
  const auto lane = static_cast<int32_t>(threadIdx.x & 31);
  int32_t left = count;
#pragma unroll 1
  while (left > 0) {
    constexpr int kEach = kGatheredKeys / 32;
    const int32_t first = max(end - kGatheredKeys, 0);
    const ColumnBatch<kEach> batch(row, first, block_shift);
    const int32_t batch_end = end;
    end = first;
#pragma unroll
    for (int j = kEach - 1; j >= 0; --j) {
      const int32_t position = first + 32 * j;
      const uint32_t lanes = batch.lanes(j) & BitsTo(batch_end - position - 1);
      const int32_t place = left - 1 - __popc(lanes >> lane >> 1);
      const bool gathered = (lanes >> lane & 1) != 0;
      left -= __popc(lanes);
      if (gathered && place >= 0) list[place] = batch.column(j);
      if (left < 0) {
        // The last that finds no room ends the list before.
        const uint32_t over = __ballot_sync(0xffffffffu, gathered && place == -1);
        end = position + __ffs(static_cast<int32_t>(over));
        break;
      }
    }
  }
  if (count == kGatheredKeys) return;
  __syncwarp();  // the last column is written before it is repeated
  for (int32_t i = count + lane; i < kGatheredKeys; i += 32) list[i] = list[count - 1];
}

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

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_GATHER_ROW_CUH_
