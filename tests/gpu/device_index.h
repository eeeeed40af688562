// A test index with its arrays on the GPU.
#ifndef TAMIS_TESTS_GPU_DEVICE_INDEX_H_
#define TAMIS_TESTS_GPU_DEVICE_INDEX_H_

#include <optional>

#include "attention/cuda/device_buffer.cuh"
#include "attention/tile_index_storage.h"

namespace tamis::gpu_testing {

class DeviceIndex {
 public:
  explicit DeviceIndex(const TileIndexStorage& index);

  /// Replaces the contents by those of an index of the same shape, with windows and columns where
  /// the first one had them and at most twice as many.
  void Upload(const TileIndexStorage& index);
  /// With device pointers.
  const TileIndex& view() const { return view_; }

 private:
  /// Windows or columns.
  struct RowLists {
    RowLists(size_t offset_bytes, size_t bytes)
        : offsets(offset_bytes), values(bytes), value_bytes(bytes) {}
    cuda::DeviceBuffer offsets, values;
    size_t value_bytes;
  };
  template <typename T>
  void Allocate(const int64_t* offsets, std::optional<RowLists>& lists,
                const int64_t*& device_offsets, const T*& device_values);
  template <typename T>
  void Copy(const std::optional<RowLists>& lists, const int64_t* offsets, const T* values) const;

  cuda::DeviceBuffer bitmap_, counts_;
  std::optional<RowLists> windows_, columns_;
  TileIndex view_;
};

}  // namespace tamis::gpu_testing

#endif  // TAMIS_TESTS_GPU_DEVICE_INDEX_H_
