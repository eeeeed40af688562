#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "attention/cuda/error.cuh"
#include "attention/cuda/peak.h"
#include "attention/cuda/ptx/barrier.cuh"
#include "attention/cuda/ptx/wgmma.cuh"

namespace tamis::cuda {
namespace {

constexpr int kWarpgroups = 2;
constexpr int kThreads = kWarpgroups * 128;
constexpr int kColumns = 256;
constexpr int kDepth = 64;  ///< rows of the operand in shared memory
constexpr int kBatch = kDepth / 16;
constexpr int kRuns = 5;

/// The assembler drops products that nobody reads.
__device__ float sink;

/// Two elements of either format: signs and mantissas are random, exponents those of .5 to 2.
__device__ uint32_t RandomPair(uint32_t seed, bool bf16) {
  uint32_t x = seed * 2654435761u;
  x = (x ^ (x >> 15)) * 2246822519u;
  x ^= x >> 13;
  return bf16 ? (x & 0x80ff80ffu) | 0x3f003f00u : (x & 0x87ff87ffu) | 0x38003800u;
}

template <typename T>
__global__ void __launch_bounds__(kThreads, 1) Products(int32_t batches, bool bf16) {
  __shared__ __align__(1024) uint32_t operand[kColumns * kDepth / 2];
  for (uint32_t i = threadIdx.x; i < kColumns * kDepth / 2; i += kThreads) {
    operand[i] = RandomPair(i, bf16);
  }
  ptx::FenceAsyncProxy();  // the products read what ordinary stores wrote
  __syncthreads();         // all of it
  uint32_t a[4];
  for (int i = 0; i < 4; ++i) a[i] = RandomPair(threadIdx.x * 4 + i + 1000003, bf16);
  float d[kColumns / 2];
  for (float& x : d) x = 0.0f;
  const uint32_t low =
      ptx::DescriptorLow(ptx::SharedAddress(operand), kDepth * ptx::kSwizzleRowBytes);
  for (int32_t batch = 0; batch < batches; ++batch) {
    ptx::Pin(d);
    ptx::FenceOperands();
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      ptx::ProductRegisters<T>(
          d, a, ptx::Descriptor(ptx::Fresh(low) + (i * 16 * ptx::kSwizzleRowBytes >> 4)));
    }
    ptx::CommitBatch();
    ptx::WaitBatches<0>();
    ptx::Pin(d);
  }
  float sum = 0.0f;
  for (const float x : d) sum += x;
  if (sum == 0.5f) sink = sum;
}

/// Seconds of one launch.
double Time(DType dtype, int32_t blocks, int32_t batches, cudaEvent_t begin, cudaEvent_t end) {
  CheckCuda(cudaEventRecord(begin, nullptr), "recording an event");
  if (dtype == DType::kBF16) {
    Products<ptx::BF16><<<blocks, kThreads>>>(batches, true);
  } else {
    Products<ptx::F16><<<blocks, kThreads>>>(batches, false);
  }
  CheckCuda(cudaGetLastError(), "launching products");
  CheckCuda(cudaEventRecord(end, nullptr), "recording an event");
  CheckCuda(cudaEventSynchronize(end), "running products");
  float milliseconds = 0.0f;
  CheckCuda(cudaEventElapsedTime(&milliseconds, begin, end), "reading events");
  return milliseconds * 1e-3;
}

}  // namespace

double MeasurePeakFlops(DType dtype) {
  int device = 0, blocks = 0;
  CheckCuda(cudaGetDevice(&device), "finding the CUDA device");
  CheckCuda(cudaDeviceGetAttribute(&blocks, cudaDevAttrMultiProcessorCount, device),
            "reading the device");
  cudaEvent_t begin, end;
  CheckCuda(cudaEventCreate(&begin), "creating an event");
  CheckCuda(cudaEventCreate(&end), "creating an event");
  constexpr int32_t kBatches = 30000;  // about 20 ms
  double best = Time(dtype, blocks, kBatches, begin, end);
  for (int run = 1; run < kRuns; ++run) {
    best = std::min(best, Time(dtype, blocks, kBatches, begin, end));
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  return 2.0 * 64 * kColumns * kDepth * kWarpgroups * blocks * kBatches / best;
}

}  // namespace tamis::cuda
