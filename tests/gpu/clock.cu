#include <cstdint>

#include "attention/cuda/error.cuh"
#include "gpu/clock.h"

namespace tamis::gpu_testing {
namespace {

__device__ uint64_t Nanoseconds() {
  uint64_t time;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(time));
  return time;
}

__global__ void Spin(double* mhz) {
  const uint64_t begin = Nanoseconds();
  const int64_t cycles = clock64();
  uint64_t end = begin;
  while (end < begin + 100000) end = Nanoseconds();
  *mhz = static_cast<double>(clock64() - cycles) * 1e3 / static_cast<double>(end - begin);
}

}  // namespace

double MeasureClock() {
  double* device = nullptr;
  cuda::CheckCuda(cudaMalloc(&device, sizeof(double)), "allocating");
  Spin<<<1, 1>>>(device);
  double mhz = 0.0;
  cuda::CheckCuda(cudaMemcpy(&mhz, device, sizeof(mhz), cudaMemcpyDeviceToHost),
                  "reading the clock");
  cudaFree(device);
  return mhz;
}

}  // namespace tamis::gpu_testing
