#include "gpu/device_index.h"

#include <cuda_runtime_api.h>

#include "attention/cuda/error.cuh"
#include "base/check.h"

namespace tamis::gpu_testing {
namespace {

using cuda::CheckCuda;
using cuda::DeviceBuffer;

void CopyBytes(const DeviceBuffer& buffer, const void* host, size_t bytes) {
  CheckCuda(cudaMemcpy(buffer.data(), host, bytes, cudaMemcpyHostToDevice),
            "copying to the device");
}

size_t BitmapBytes(const TileIndexShape& shape) {
  return sizeof(uint32_t) * static_cast<size_t>(shape.rows()) * shape.row_words();
}
size_t CountBytes(const TileIndexShape& shape) {
  return sizeof(int32_t) * static_cast<size_t>(shape.rows());
}
size_t OffsetBytes(const TileIndexShape& shape) {
  return sizeof(int64_t) * static_cast<size_t>(shape.rows() + 1);
}

}  // namespace

DeviceIndex::DeviceIndex(const TileIndexStorage& index)
    : bitmap_(BitmapBytes(index.shape())), counts_(CountBytes(index.shape())) {
  view_.shape = index.shape();
  view_.bitmap = static_cast<const uint32_t*>(bitmap_.data());
  view_.counts = static_cast<const int32_t*>(counts_.data());
  const TileIndex host = index.view();
  Allocate(host.window_offsets, windows_, view_.window_offsets, view_.windows);
  Allocate(host.column_offsets, columns_, view_.column_offsets, view_.columns);
  Upload(index);
}

void DeviceIndex::Upload(const TileIndexStorage& index) {
  const TileIndex host = index.view();
  CopyBytes(bitmap_, host.bitmap, BitmapBytes(view_.shape));
  CopyBytes(counts_, host.counts, CountBytes(view_.shape));
  Copy(windows_, host.window_offsets, host.windows);
  Copy(columns_, host.column_offsets, host.columns);
}

template <typename T>
void DeviceIndex::Allocate(const int64_t* offsets, std::optional<RowLists>& lists,
                           const int64_t*& device_offsets, const T*& device_values) {
  if (offsets == nullptr) return;
  // Room for other contents of about the same size.
  const auto values = static_cast<size_t>(offsets[view_.shape.rows()]) * 2 + 1024;
  lists.emplace(OffsetBytes(view_.shape), values * sizeof(T));
  device_offsets = static_cast<const int64_t*>(lists->offsets.data());
  device_values = static_cast<const T*>(lists->values.data());
}

template <typename T>
void DeviceIndex::Copy(const std::optional<RowLists>& lists, const int64_t* offsets,
                       const T* values) const {
  Require(lists.has_value() == (offsets != nullptr),
          "an index was replaced by one with other kinds of keys");
  if (offsets == nullptr) return;
  const size_t bytes = static_cast<size_t>(offsets[view_.shape.rows()]) * sizeof(T);
  Require(bytes <= lists->value_bytes, "an index was replaced by one of more than twice its size");
  CopyBytes(lists->offsets, offsets, OffsetBytes(view_.shape));
  CopyBytes(lists->values, values, bytes);
}

}  // namespace tamis::gpu_testing
