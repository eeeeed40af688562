#include "gpu/device_index.h"

#include <cuda_runtime_api.h>

#include <algorithm>

#include "attention/cuda/error.cuh"

namespace tamis::gpu_testing {
namespace {

using cuda::CheckCuda;

size_t BitmapBytes(const TileIndexShape& shape) {
  return sizeof(uint32_t) * static_cast<size_t>(shape.rows()) * shape.row_words();
}
size_t CountBytes(const TileIndexShape& shape) {
  return sizeof(int32_t) * static_cast<size_t>(shape.rows());
}

}  // namespace

DeviceIndex::DeviceIndex(const TileIndexStorage& index) {
  view_.shape = index.shape();
  CheckCuda(cudaMalloc(&bitmap_, std::max<size_t>(BitmapBytes(view_.shape), 1)), "allocating");
  CheckCuda(cudaMalloc(&counts_, std::max<size_t>(CountBytes(view_.shape), 1)), "allocating");
  view_.bitmap = static_cast<const uint32_t*>(bitmap_);
  view_.counts = static_cast<const int32_t*>(counts_);
  Upload(index);
}

DeviceIndex::~DeviceIndex() {
  cudaFree(bitmap_);
  cudaFree(counts_);
}

void DeviceIndex::Upload(const TileIndexStorage& index) {
  const TileIndex host = index.view();
  CheckCuda(cudaMemcpy(bitmap_, host.bitmap, BitmapBytes(view_.shape), cudaMemcpyHostToDevice),
            "copying to the device");
  CheckCuda(cudaMemcpy(counts_, host.counts, CountBytes(view_.shape), cudaMemcpyHostToDevice),
            "copying to the device");
}

}  // namespace tamis::gpu_testing
