// A test index with its arrays on the GPU.
#ifndef TAMIS_TESTS_GPU_DEVICE_INDEX_H_
#define TAMIS_TESTS_GPU_DEVICE_INDEX_H_

#include "attention/cuda/device_buffer.cuh"
#include "attention/tile_index_storage.h"

namespace tamis::gpu_testing {

class DeviceIndex {
 public:
  explicit DeviceIndex(const TileIndexStorage& index);

  /// Replaces the contents by those of an index of the same shape.
  void Upload(const TileIndexStorage& index);
  /// With device pointers.
  const TileIndex& view() const { return view_; }

 private:
  cuda::DeviceBuffer bitmap_, counts_;
  TileIndex view_;
};

}  // namespace tamis::gpu_testing

#endif  // TAMIS_TESTS_GPU_DEVICE_INDEX_H_
