// The order in which the tiles of lists are handed out: the longest first, so that blocks finish
// together. A stable counting sort of each section by one thread block.
#include <cstdint>

#include "attention/cuda/sm90/launch.cuh"
#include "attention/cuda/sm90/list_work.cuh"

namespace tamis::cuda::sm90 {
namespace {

constexpr int kWarps = 32;
constexpr int kBuckets = 256;  // of lengths

/// Longer tiles get smaller numbers.
__device__ int32_t Bucket(const ListParams& lists, const ListTile& tile) {
  int64_t blocks = lists.counts[tile.row];
  int64_t most = int64_t{lists.row_words} * 32;
  if (lists.second == ListParams::Second::kNextRow) {
    most *= 2;
    if (tile.block + 1 < lists.row_blocks) blocks += lists.counts[tile.row + 1];
  }
  const int64_t length = blocks * kBuckets / (most + 1);
  return kBuckets - 1 - static_cast<int32_t>(min(max(length, int64_t{0}), int64_t{kBuckets - 1}));
}

/// The tile of this lane in round `i` of its warp, and its lanes of the same bucket.
struct Lane {
  __device__ Lane(const ForwardParams& params, int32_t tile_, int32_t end)
      : tile(tile_), exists(tile < end) {
    bucket = exists ? Bucket(params.lists, FindTile(params, tile)) : kBuckets;
    const uint32_t peers = __match_any_sync(0xffffffffu, bucket);
    const uint32_t lane = threadIdx.x & 31;
    rank = __popc(peers & ((1u << lane) - 1));
    // The last of its kind adds them up.
    adds = exists && peers >> lane == 1 ? __popc(peers) : 0;
  }
  int32_t tile;
  bool exists;
  int32_t bucket, rank, adds;
};

__global__ void __launch_bounds__(32 * kWarps)
    OrderTiles(const __grid_constant__ ForwardParams params) {
  ptx::LaunchDependents();  // its blocks set themselves up meanwhile
  __shared__ int32_t starts[kWarps][kBuckets];
  __shared__ int32_t totals[kBuckets];
  const auto thread = static_cast<int32_t>(threadIdx.x);
  const int32_t warp = thread / 32;
  const auto section = static_cast<int32_t>(blockIdx.x);
  if (section == 0 && thread == 0) *params.next_tile = 0;
  const int32_t section_tiles = params.section_units * params.lists.unit_tiles;
  const int32_t begin = section * section_tiles;
  const int32_t end = min(begin + section_tiles, params.tiles);
  const int32_t share = (end - begin + 32 * kWarps - 1) / (32 * kWarps) * 32;
  const int32_t warp_begin = begin + warp * share;
  const int32_t warp_end = min(warp_begin + share, end);

  for (int32_t i = thread; i < kWarps * kBuckets; i += 32 * kWarps) starts[0][i] = 0;
  __syncthreads();  // before any warp counts
  for (int32_t tile = warp_begin; tile < warp_end; tile += 32) {
    const Lane lane(params, tile + thread % 32, warp_end);
    if (lane.adds != 0) starts[warp][lane.bucket] += lane.adds;
    __syncwarp();  // the next round adds to the same numbers
  }
  __syncthreads();  // all are counted
  if (thread < kBuckets) {
    int32_t total = 0;
    for (int32_t w = 0; w < kWarps; ++w) total += starts[w][thread];
    totals[thread] = total;
  }
  __syncthreads();  // totals before anybody adds them up
  if (thread < kBuckets) {
    int32_t start = begin;
    for (int32_t bucket = 0; bucket < thread; ++bucket) start += totals[bucket];
    for (int32_t w = 0; w < kWarps; ++w) {
      const int32_t count = starts[w][thread];
      starts[w][thread] = start;
      start += count;
    }
  }
  __syncthreads();  // starts before they are used
  for (int32_t tile = warp_begin; tile < warp_end; tile += 32) {
    const Lane lane(params, tile + thread % 32, warp_end);
    if (lane.exists) params.lists.order[starts[warp][lane.bucket] + lane.rank] = lane.tile;
    __syncwarp();  // all have read the start that is now moved
    if (lane.adds != 0) starts[warp][lane.bucket] += lane.adds;
    __syncwarp();  // before the next round reads it
  }
}

}  // namespace

cudaError_t LaunchListOrder(const ForwardParams& params, cudaStream_t stream) {
  const int32_t section_tiles = params.section_units * params.lists.unit_tiles;
  const int32_t sections = (params.tiles + section_tiles - 1) / section_tiles;
  OrderTiles<<<sections, 32 * kWarps, 0, stream>>>(params);
  return cudaGetLastError();
}

}  // namespace tamis::cuda::sm90
