#include "gpu/device_index.h"

#include <cuda_runtime_api.h>

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

DeviceIndex::DeviceIndex(const TileIndexStorage& index)
    : bitmap_(BitmapBytes(index.shape())), counts_(CountBytes(index.shape())) {
  view_.shape = index.shape();
  view_.bitmap = static_cast<const uint32_t*>(bitmap_.data());
  view_.counts = static_cast<const int32_t*>(counts_.data());
  Upload(index);
}

void DeviceIndex::Upload(const TileIndexStorage& index) {
  const TileIndex host = index.view();
  CheckCuda(
      cudaMemcpy(bitmap_.data(), host.bitmap, BitmapBytes(view_.shape), cudaMemcpyHostToDevice),
      "copying to the device");
  CheckCuda(
      cudaMemcpy(counts_.data(), host.counts, CountBytes(view_.shape), cudaMemcpyHostToDevice),
      "copying to the device");
}

}  // namespace tamis::gpu_testing
