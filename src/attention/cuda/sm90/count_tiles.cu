// Exact AttentionCounts of a call with skip-softmax, from the map of the tiles it dropped.
#include <cuda_runtime.h>

#include <cstdint>

#include "attention/cuda/sm90/launch.cuh"
#include "attention/cuda/sm90/thin.cuh"
#include "attention/cuda/sm90/work.cuh"

namespace tamis::cuda::sm90 {
namespace {

constexpr int kThreads = 128;

/// Of the first `keys` keys of a group of `m` after the other, how many the best `n` of each are.
__device__ int32_t Best(int32_t keys, int32_t n, int32_t m) {
  return keys / m * n + min(keys % m, n);
}

/// Pairs of rows [row, row + rows) with keys [key, key + keys) that the mask allows, the best `n`
/// of every `m` keys of them; n = m: all.
__device__ int32_t Pairs(const ForwardParams& params, const TileWork& work, int32_t row,
                         int32_t rows, int32_t key, int32_t keys, int32_t n, int32_t m) {
  if (LastKey(params, work, row) >= key + keys - 1) return rows * Best(keys, n, m);
  int32_t pairs = 0;
#pragma unroll 1
  for (int32_t i = 0; i < rows; ++i) {
    pairs += Best(min(max(LastKey(params, work, row + i) + 1 - key, 0), keys), n, m);
  }
  return pairs;
}

/// Those of them whose keys lie in windows.
__device__ int32_t WindowPairs(const ForwardParams& params, const TileWork& work, int32_t row,
                               int32_t rows, int32_t key, int32_t keys, const KeyWindow* windows,
                               int32_t count) {
  int32_t low = 0, high = count;  // to the first window that ends after `key`
  while (low < high) {
    const int32_t middle = (low + high) / 2;
    if (windows[middle].end <= key) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  int32_t pairs = 0;
  for (; low < count && windows[low].begin < key + keys; ++low) {
    const int32_t begin = max(windows[low].begin, key);
    pairs += Pairs(params, work, row, rows, begin, min(windows[low].end, key + keys) - begin, 1, 1);
  }
  return pairs;
}

__device__ bool IsSet(const uint32_t* bits, int32_t bit) {
  return (bits[bit / 32] >> bit % 32 & 1) != 0;
}

/// The part of an index row that a block counts.
struct IndexRow {
  const uint32_t* blocks = nullptr;
  const KeyWindow* windows = nullptr;
  const int32_t* columns = nullptr;
  int32_t window_count = 0, column_count = 0;

  IndexRow() = default;
  __device__ IndexRow(const ListParams& lists, int64_t row)
      : blocks(lists.bitmap + row * lists.row_words) {
    const GatherParams& gather = lists.gather;
    if (gather.window_offsets != nullptr) {
      windows = gather.windows + gather.window_offsets[row];
      window_count =
          static_cast<int32_t>(gather.window_offsets[row + 1] - gather.window_offsets[row]);
    }
    if (gather.column_offsets != nullptr) {
      columns = gather.columns + gather.column_offsets[row];
      column_count =
          static_cast<int32_t>(gather.column_offsets[row + 1] - gather.column_offsets[row]);
    }
  }
};

__device__ void Add(int64_t& count, int64_t n) {
  if (n != 0) {
    atomicAdd(reinterpret_cast<unsigned long long*>(&count), static_cast<unsigned long long>(n));
  }
}

/// `before`, and how many threads before this one have `value`; adds all that have to `before`. By
/// the whole block.
__device__ int32_t RankInBlock(bool value, int32_t& before) {
  __shared__ int32_t warps[kThreads / 32];
  const uint32_t lanes = __ballot_sync(0xffffffffu, value);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = __popc(lanes);
  __syncthreads();  // all warps have counted
  int32_t rank = before + __popc(lanes & ((1u << threadIdx.x % 32) - 1));
  for (int32_t w = 0; w < kThreads / 32; ++w) {
    if (w < static_cast<int32_t>(threadIdx.x / 32)) rank += warps[w];
    before += warps[w];
  }
  __syncthreads();  // all have read before the next round counts
  return rank;
}

/// A block for kVoteRows rows of a head; its threads share the tiles.
__global__ void __launch_bounds__(kThreads)
    Count(const ForwardParams params, const CountedTiles tiles) {
  const auto row_block = static_cast<int32_t>(blockIdx.x);
  const auto head = static_cast<int32_t>(blockIdx.y);
  const auto b = static_cast<int32_t>(blockIdx.z);
  TileWork work;
  OpenSequence(params, b, work);
  AttentionCounts& counts = params.skip.counts[int64_t{b} * params.q_heads + head];
  if (row_block == 0 && threadIdx.x == 0 && params.skip.lambda[b] >= 1.0f) {
    counts.lambda_saturated = 1;
  }
  const int32_t row = row_block * kVoteRows;
  const int32_t rows = min(work.queries - row, kVoteRows);
  if (rows <= 0) return;
  const uint32_t* dropped =
      params.skip.dropped +
      ((int64_t{b} * params.q_heads + head) * params.skip.row_blocks + row_block) *
          params.skip.row_words;
  IndexRow index;
  if (tiles.listed) {
    index = IndexRow(params.lists,
                     (int64_t{b} * params.lists.head_rows + head / params.lists.heads_per_row) *
                             params.lists.row_blocks +
                         row / params.lists.query_block);
  }
  DenseTiles dense;
  using Kept = CountedTiles::Kept;
  if (tiles.kept == Kept::kSelected) {
    work.first_query = row / tiles.kernel_rows * tiles.kernel_rows;
    dense.Find<true>(params, work, tiles.kernel_rows, tiles.keys);
  }
  AttentionCounts mine;
  const int32_t last = LastKey(params, work, row + rows - 1);
  for (auto tile = static_cast<int32_t>(threadIdx.x); tile <= last / tiles.keys && last >= 0;
       tile += kThreads) {
    const int32_t key = tile * tiles.keys;
    const int32_t keys = min(tiles.keys, work.keys - key);
    const int32_t pairs = Pairs(params, work, row, rows, key, keys, 1, 1);
    mine.allowed_pairs += pairs;
    int32_t visited = pairs;
    if (tiles.listed && !IsSet(index.blocks, tile)) {
      visited = WindowPairs(params, work, row, rows, key, keys, index.windows, index.window_count);
    }
    if (visited == 0) continue;
    mine.visited_pairs += visited;
    ++mine.visited_tiles;
    if (IsSet(dropped, tile)) {
      ++mine.skipped_tiles;
    } else if (tiles.kept == Kept::kAllowed) {
      mine.kept_pairs += visited;
    } else if (tiles.kept == Kept::kSelected && dense.From(tile) != tile) {
      mine.kept_pairs += Pairs(params, work, row, rows, key, keys, params.thin.n, params.thin.m);
    }
  }
  int32_t gathered = 0;  // columns before the thread's
  for (int32_t first = 0; first < index.column_count && index.columns[first] <= last;
       first += kThreads) {
    const int32_t at = first + static_cast<int32_t>(threadIdx.x);
    const int32_t column = at < index.column_count ? index.columns[at] : INT32_MAX;
    const bool counts_here =
        column <= last && !IsSet(index.blocks, column / tiles.keys) &&
        WindowPairs(params, work, row, rows, column, 1, index.windows, index.window_count) == 0;
    const int32_t rank = RankInBlock(counts_here, gathered);
    if (!counts_here) continue;
    const int32_t pairs = Pairs(params, work, row, rows, column, 1, 1, 1);
    const bool skipped = IsSet(dropped, params.skip.first_gathered + rank / tiles.keys);
    mine.visited_pairs += pairs;
    if (!skipped && tiles.kept == Kept::kAllowed) mine.kept_pairs += pairs;
    if (rank % tiles.keys != 0) continue;
    // The first of a tile: the rows that see any of its columns see this one.
    ++mine.visited_tiles;
    mine.skipped_tiles += skipped ? 1 : 0;
  }
  Add(counts.allowed_pairs, mine.allowed_pairs);
  Add(counts.visited_pairs, mine.visited_pairs);
  Add(counts.kept_pairs, mine.kept_pairs);
  Add(counts.visited_tiles, mine.visited_tiles);
  Add(counts.skipped_tiles, mine.skipped_tiles);
}

}  // namespace

cudaError_t CountTiles(const ForwardParams& params, const CountedTiles& tiles,
                       cudaStream_t stream) {
  const dim3 grid(params.skip.row_blocks, params.q_heads, params.batch);
  Count<<<grid, kThreads, 0, stream>>>(params, tiles);
  return cudaGetLastError();
}

}  // namespace tamis::cuda::sm90
