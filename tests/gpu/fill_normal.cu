#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "attention/cuda/error.cuh"
#include "gpu/fill_normal.h"

namespace tamis::gpu_testing {
namespace {

__device__ uint64_t Mix(uint64_t x) {  // splitmix64
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

__global__ void Fill(uint16_t* data, int64_t elements, uint64_t seed, bool bf16) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < elements; i += step) {
    const uint64_t bits = Mix(seed * 0x100000001b3ull + static_cast<uint64_t>(i));
    const float u = (static_cast<float>(bits >> 40) + 0.5f) * 0x1p-24f;
    const float angle = static_cast<float>(bits & 0xffffff) * (6.2831853f * 0x1p-24f);
    const float x = sqrtf(-2.0f * logf(u)) * cosf(angle);
    data[i] = bf16 ? __bfloat16_as_ushort(__float2bfloat16(x)) : __half_as_ushort(__float2half(x));
  }
}

}  // namespace

void FillNormal(DType dtype, void* data, int64_t elements, uint64_t seed) {
  Fill<<<1024, 256>>>(static_cast<uint16_t*>(data), elements, seed, dtype == DType::kBF16);
  cuda::CheckCuda(cudaGetLastError(), "filling inputs");
}

}  // namespace tamis::gpu_testing
