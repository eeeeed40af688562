// Orders the sequences of a ragged batch for the scheduler, before every call: lengths live on the
// device.
#include <cstdint>

#include "attention/cuda/sm90/launch.cuh"
#include "attention/cuda/sm90/work.cuh"

namespace tamis::cuda::sm90 {
namespace {

constexpr int32_t kThreads = 512;
/// Four to an octave of lengths: order within a bucket is worth less than a fifth of a tile.
constexpr int32_t kBuckets = 4 * 32;

/// Of the longest walk of a sequence, descending.
__device__ int32_t Bucket(const ForwardParams& params, const TileWork& work) {
  const int32_t last = LastKey(params, work, work.queries - 1);
  const int32_t octaves = static_cast<int32_t>(4.0f * log2f(static_cast<float>(max(last, 0) + 1)));
  return kBuckets - 1 - octaves;
}

/// Replaces values by the sums of those of lower threads; returns the sum of all.
__device__ int32_t ExclusiveSum(int32_t& value) {
  __shared__ int32_t warps[kThreads / 32 + 1];
  const auto lane = static_cast<int32_t>(threadIdx.x & 31);
  int32_t sum = value;
  for (int32_t step = 1; step < 32; step *= 2) {
    const int32_t other = __shfl_up_sync(0xffffffffu, sum, step);
    if (lane >= step) sum += other;
  }
  if (lane == 31) warps[threadIdx.x / 32] = sum;
  __syncthreads();  // warp sums are complete
  if (threadIdx.x == 0) {
    int32_t before = 0;
    for (int32_t warp = 0; warp <= kThreads / 32; ++warp) {
      const int32_t own = warp < kThreads / 32 ? warps[warp] : 0;
      warps[warp] = before;
      before += own;
    }
  }
  __syncthreads();  // warp sums are replaced by what precedes them
  value = warps[threadIdx.x / 32] + sum - value;
  return warps[kThreads / 32];
}

__global__ void __launch_bounds__(kThreads)
    Order(const __grid_constant__ ForwardParams params, int32_t tile_rows) {
  __shared__ int32_t places[kBuckets];
  const auto thread = static_cast<int32_t>(threadIdx.x);
  if (thread == 0) *params.next_tile = 0;
  if (thread < kBuckets) places[thread] = 0;
  __syncthreads();  // cleared before anyone counts
  TileWork work;
  for (int32_t b = thread; b < params.batch; b += kThreads) {
    OpenSequence(params, b, work);
    atomicAdd(&places[Bucket(params, work)], 1);
  }
  __syncthreads();  // counted
  int32_t place = thread < kBuckets ? places[thread] : 0;
  ExclusiveSum(place);
  if (thread < kBuckets) places[thread] = place;
  __syncthreads();  // every bucket has its first place
  for (int32_t b = thread; b < params.batch; b += kThreads) {
    OpenSequence(params, b, work);
    params.sequence_order[atomicAdd(&places[Bucket(params, work)], 1)] = b;
  }
  __syncthreads();  // the order is complete
  const int32_t share = (params.batch + kThreads - 1) / kThreads;
  const int32_t first = min(thread * share, params.batch);
  const int32_t end = min(first + share, params.batch);
  int32_t tiles = 0;
  for (int32_t rank = first; rank < end; ++rank) {
    OpenSequence(params, params.sequence_order[rank], work);
    tiles += (work.queries + tile_rows - 1) / tile_rows * params.q_heads;
  }
  const int32_t all = ExclusiveSum(tiles);
  for (int32_t rank = first; rank < end; ++rank) {
    params.first_tiles[rank] = tiles;
    OpenSequence(params, params.sequence_order[rank], work);
    tiles += (work.queries + tile_rows - 1) / tile_rows * params.q_heads;
  }
  if (thread == 0) params.first_tiles[params.batch] = all;
}

}  // namespace

cudaError_t OrderSequences(const ForwardParams& params, int32_t tile_rows, cudaStream_t stream) {
  Order<<<1, kThreads, 0, stream>>>(params, tile_rows);
  return cudaGetLastError();
}

}  // namespace tamis::cuda::sm90
