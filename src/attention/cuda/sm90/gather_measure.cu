// About how many key blocks each row of an index with windows and columns visits, for the order in
// which tiles are handed out.
#include <cstdint>

#include "attention/cuda/sm90/launch.cuh"

namespace tamis::cuda::sm90 {
namespace {

constexpr int kThreads = 256;

/// A warp measures a row. What windows, columns and blocks share counts twice.
__global__ void __launch_bounds__(kThreads)
    MeasureRows(const __grid_constant__ ForwardParams params) {
  const GatherParams& gather = params.lists.gather;
  const int64_t row = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / 32;
  if (row >= gather.rows) return;
  const auto lane = static_cast<int32_t>(threadIdx.x & 31);
  int32_t keys = 0;
  if (gather.window_offsets != nullptr) {
    const int64_t end = gather.window_offsets[row + 1];
    for (int64_t i = gather.window_offsets[row] + lane; i < end; i += 32) {
      keys += gather.windows[i].end - gather.windows[i].begin;
    }
  }
  keys = __reduce_add_sync(0xffffffffu, keys);
  if (lane != 0) return;
  if (gather.column_offsets != nullptr) {
    keys += static_cast<int32_t>(gather.column_offsets[row + 1] - gather.column_offsets[row]);
  }
  gather.lengths[row] =
      params.lists.counts[row] + (keys + params.lists.key_block - 1) / params.lists.key_block;
}

}  // namespace

cudaError_t LaunchMeasureRows(const ForwardParams& params, cudaStream_t stream) {
  const int64_t blocks = (params.lists.gather.rows * 32 + kThreads - 1) / kThreads;
  MeasureRows<<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(params);
  return cudaGetLastError();
}

}  // namespace tamis::cuda::sm90
