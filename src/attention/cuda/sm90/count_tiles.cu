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
  for (int32_t i = 0; i < rows; ++i) {
    pairs += Best(min(max(LastKey(params, work, row + i) + 1 - key, 0), keys), n, m);
  }
  return pairs;
}

__device__ void Add(int64_t& count, int64_t n) {
  if (n != 0) {
    atomicAdd(reinterpret_cast<unsigned long long*>(&count), static_cast<unsigned long long>(n));
  }
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
  const uint32_t* listed = nullptr;
  if (tiles.listed) {
    listed = params.lists.bitmap +
             ((int64_t{b} * params.lists.head_rows + head / params.lists.heads_per_row) *
                  params.lists.row_blocks +
              row / params.lists.query_block) *
                 params.lists.row_words;
  }
  DenseTiles dense;
  if (tiles.kept == CountedTiles::Kept::kSelected) {
    work.first_query = row / tiles.kernel_rows * tiles.kernel_rows;
    dense.Find<true>(params, work, tiles.kernel_rows, tiles.keys);
  }
  AttentionCounts mine;
  const int32_t last = LastKey(params, work, row + rows - 1);
  for (auto tile = static_cast<int32_t>(threadIdx.x); tile <= last / tiles.keys && last >= 0;
       tile += kThreads) {
    const int32_t keys = min(tiles.keys, work.keys - tile * tiles.keys);
    const int32_t pairs = Pairs(params, work, row, rows, tile * tiles.keys, keys, 1, 1);
    mine.allowed_pairs += pairs;
    if (tiles.listed && (listed[tile / 32] >> tile % 32 & 1) == 0) continue;
    mine.visited_pairs += pairs;
    ++mine.visited_tiles;
    if ((dropped[tile / 32] >> tile % 32 & 1) != 0) {
      ++mine.skipped_tiles;
    } else if (tiles.kept == CountedTiles::Kept::kAllowed) {
      mine.kept_pairs += pairs;
    } else if (tiles.kept == CountedTiles::Kept::kSelected && dense.From(tile) != tile) {
      mine.kept_pairs +=
          Pairs(params, work, row, rows, tile * tiles.keys, keys, params.thin.n, params.thin.m);
    }
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
