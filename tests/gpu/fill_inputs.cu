#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>

#include "attention/cuda/device_buffer.cuh"
#include "attention/cuda/error.cuh"
#include "gpu/fill_inputs.h"

namespace tamis::gpu_testing {
namespace {

__device__ uint64_t Mix(uint64_t x) {  // splitmix64
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

__device__ float Normal(uint64_t seed, uint64_t i) {
  const uint64_t bits = Mix(seed * 0x100000001b3ull + i);
  const float u = (static_cast<float>(bits >> 40) + 0.5f) * 0x1p-24f;
  const float angle = static_cast<float>(bits & 0xffffff) * (6.2831853f * 0x1p-24f);
  return sqrtf(-2.0f * logf(u)) * cosf(angle);
}

__device__ uint16_t Round(float x, bool bf16) {
  return bf16 ? __bfloat16_as_ushort(__float2bfloat16(x)) : __half_as_ushort(__float2half(x));
}

__device__ float Value(uint16_t x, bool bf16) {
  return bf16 ? __bfloat162float(__ushort_as_bfloat16(x)) : __half2float(__ushort_as_half(x));
}

__global__ void Fill(uint16_t* data, int64_t elements, uint64_t seed, bool bf16) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < elements; i += step) {
    data[i] = Round(Normal(seed, static_cast<uint64_t>(i)), bf16);
  }
}

/// Q or K of Inputs::Kind::kScattered. Scores in units of sqrt(dim): a query meets its own tile's
/// direction at 3.5, others' at N(0, 3.5^2 + 3.5^2) over sqrt(dim).
__device__ float Scattered(bool query, int64_t token, int32_t head, int32_t d, int32_t dim,
                           int32_t tile_keys, uint64_t seed) {
  const auto tile = static_cast<uint64_t>(token / tile_keys);
  const float direction = Normal(seed + 10, tile * 1024 + static_cast<uint64_t>(d));
  const float noise =
      0.3f * Normal(seed + (query ? 11 : 12),
                    (static_cast<uint64_t>(token) * 256 + static_cast<uint64_t>(head)) * 1024 +
                        static_cast<uint64_t>(d));
  if (!query) return direction + noise;
  const float own = Normal(
      seed + 13, (static_cast<uint64_t>(token / 64) * 256 + static_cast<uint64_t>(head)) * 1024 +
                     static_cast<uint64_t>(d));
  return 3.5f * (direction + own) + noise;
}

/// Q or K of Inputs::Kind::kStructured: rotating pairs make the band, one pair the sink.
__device__ float Structured(bool query, int64_t token, int32_t head, int32_t group, int32_t d,
                            int32_t dim, uint64_t seed) {
  const float noise =
      Normal(seed + (query ? 21 : 22),
             (static_cast<uint64_t>(token) * 256 + static_cast<uint64_t>(head)) * 1024 +
                 static_cast<uint64_t>(d));
  const int32_t q_head = query ? head : head * group;
  constexpr int32_t kBand = 32;
  const float root = sqrtf(static_cast<float>(dim));
  if (d < kBand) {
    // Periods from 64 to 64k tokens; at distance 0 the pairs add up to 4 to 11.
    const float strength = query ? 4.0f + static_cast<float>(q_head % 8) : 1.0f;
    const float period = 64.0f * exp2f(10.0f * static_cast<float>(d / 2) / (kBand / 2 - 1));
    const float angle = 6.2831853f * (static_cast<float>(token % 65536) / period);
    const float share = query ? strength * root / (kBand / 2) : 1.0f;
    return share * (d % 2 == 0 ? cosf(angle) : sinf(angle));
  }
  if (d < kBand + 2) {
    // 0 to 9 for the first four tokens.
    if (query) return 1.5f * root * static_cast<float>(q_head % 7) / 2.0f;
    return token < 4 ? 1.0f : 0.0f;
  }
  return noise;
}

__global__ void FillTokens(uint16_t* data, int64_t tokens, int32_t heads, int32_t group,
                           int32_t dim, Inputs inputs, bool query, uint64_t seed, bool bf16) {
  const int64_t elements = tokens * heads * dim;
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < elements; i += step) {
    const auto d = static_cast<int32_t>(i % dim);
    const auto head = static_cast<int32_t>(i / dim % heads);
    const int64_t token = i / dim / heads;
    const float x = inputs.kind == Inputs::Kind::kScattered
                        ? Scattered(query, token, head, d, dim, inputs.tile_keys, seed)
                        : Structured(query, token, head, group, d, dim, seed);
    data[i] = Round(x, bf16);
  }
}

__global__ void SquareSums(const uint16_t* a, const uint16_t* b, int64_t elements, bool bf16,
                           double* sums) {
  double difference = 0.0, size = 0.0;
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < elements; i += step) {
    const double x = Value(a[i], bf16), y = Value(b[i], bf16);
    difference += (x - y) * (x - y);
    size += y * y;
  }
  atomicAdd(sums, difference);
  atomicAdd(sums + 1, size);
}

}  // namespace

void FillNormal(DType dtype, void* data, int64_t elements, uint64_t seed) {
  Fill<<<1024, 256>>>(static_cast<uint16_t*>(data), elements, seed, dtype == DType::kBF16);
  cuda::CheckCuda(cudaGetLastError(), "filling inputs");
}

void FillStructured(const Inputs& inputs, const AttentionArguments& a, uint64_t seed) {
  for (const bool query : {true, false}) {
    FillTokens<<<1024, 256>>>(
        static_cast<uint16_t*>(const_cast<void*>(query ? a.q.data : a.k.data)),
        query ? a.query_tokens : a.key_tokens, query ? a.q_heads : a.kv_heads, a.group(),
        a.head_dim, inputs, query, seed, a.dtype == DType::kBF16);
  }
  cuda::CheckCuda(cudaGetLastError(), "filling inputs");
}

double RelativeError(DType dtype, const void* a, const void* b, int64_t elements) {
  const cuda::DeviceBuffer sums(2 * sizeof(double));
  cuda::CheckCuda(cudaMemset(sums.data(), 0, 2 * sizeof(double)), "clearing sums");
  SquareSums<<<256, 256>>>(static_cast<const uint16_t*>(a), static_cast<const uint16_t*>(b),
                           elements, dtype == DType::kBF16, static_cast<double*>(sums.data()));
  double host[2];
  cuda::CheckCuda(cudaMemcpy(host, sums.data(), sizeof(host), cudaMemcpyDeviceToHost),
                  "reading sums");
  return std::sqrt(host[0] / host[1]);
}

}  // namespace tamis::gpu_testing
