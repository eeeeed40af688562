// GPU memory that frees itself.
#ifndef TAMIS_ATTENTION_CUDA_DEVICE_BUFFER_CUH_
#define TAMIS_ATTENTION_CUDA_DEVICE_BUFFER_CUH_

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "attention/cuda/error.cuh"

namespace tamis::cuda {

/// For benches and tests; the executor itself never allocates. Null only when moved from.
class DeviceBuffer {
 public:
  explicit DeviceBuffer(size_t bytes) {
    CheckCuda(cudaMalloc(&data_, std::max<size_t>(bytes, 1)), "allocating GPU memory");
  }
  ~DeviceBuffer() { cudaFree(data_); }
  DeviceBuffer(DeviceBuffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
};

}  // namespace tamis::cuda

#endif  // TAMIS_ATTENTION_CUDA_DEVICE_BUFFER_CUH_
