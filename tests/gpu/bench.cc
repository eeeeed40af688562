#include "gpu/bench.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <random>
#include <vector>

#include "attention/cuda/error.cuh"
#include "gpu/clock.h"
#include "gpu/fill_normal.h"

namespace tamis::gpu_testing {
namespace {

using cuda::CheckCuda;

class DeviceBuffer {
 public:
  explicit DeviceBuffer(size_t bytes) { CheckCuda(cudaMalloc(&data_, bytes), "allocating"); }
  ~DeviceBuffer() { cudaFree(data_); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
};

}  // namespace

BenchResult Measure(const BenchOptions& options) {
  const auto elements = [&](int32_t heads) {
    return int64_t{options.batch} * options.length * heads * options.head_dim;
  };
  const DeviceBuffer q(2 * elements(options.q_heads)), k(2 * elements(options.kv_heads)),
      v(2 * elements(options.kv_heads)), o(2 * elements(options.q_heads));
  std::random_device seed;
  FillNormal(options.dtype, q.data(), elements(options.q_heads), seed());
  FillNormal(options.dtype, k.data(), elements(options.kv_heads), seed());
  FillNormal(options.dtype, v.data(), elements(options.kv_heads), seed());
  const auto stride = [&](int32_t heads) {
    const int64_t row = int64_t{heads} * options.head_dim;
    return Strides{options.length * row, row, options.head_dim};
  };
  AttentionArguments a;
  a.batch = options.batch;
  a.q_heads = options.q_heads;
  a.kv_heads = options.kv_heads;
  a.head_dim = options.head_dim;
  a.dtype = a.kv_dtype = options.dtype;
  a.query_tokens = a.key_tokens = options.length;
  a.mask.causality = options.causal ? Causality::kCausal : Causality::kBidirectional;
  a.q = {q.data(), stride(options.q_heads)};
  a.k = {k.data(), stride(options.kv_heads)};
  a.v = {v.data(), stride(options.kv_heads)};
  a.o = {o.data(), stride(options.q_heads)};
  ExecutionContext context;
  context.device = Device::kCuda;
  const AttentionPlan plan = PlanAttention(a, nullptr, {}, context);
  const DeviceBuffer workspace(plan.workspace_bytes);
  cudaEvent_t begin, end;
  CheckCuda(cudaEventCreate(&begin), "creating an event");
  CheckCuda(cudaEventCreate(&end), "creating an event");
  const auto burst = [&](int calls) {
    CheckCuda(cudaEventRecord(begin, nullptr), "recording an event");
    for (int i = 0; i < calls; ++i) {
      RunAttention(plan, a, nullptr, {}, workspace.data(), context);
    }
    CheckCuda(cudaEventRecord(end, nullptr), "recording an event");
    CheckCuda(cudaEventSynchronize(end), "running attention");
    float milliseconds = 0.0f;
    CheckCuda(cudaEventElapsedTime(&milliseconds, begin, end), "reading events");
    return static_cast<double>(milliseconds) / calls;
  };
  burst(1);
  if (options.warm_up_ms > 0.0) burst(static_cast<int>(options.warm_up_ms / burst(1)) + 1);
  const int calls = std::max(static_cast<int>(options.burst_ms / std::max(burst(1), 1e-3)), 1);
  if (options.burst_ms > 100.0) burst(calls);
  std::vector<double> samples, clocks;
  for (int i = 0; i < options.repeats; ++i) {
    samples.push_back(burst(calls));
    clocks.push_back(MeasureClock());
  }
  std::sort(samples.begin(), samples.end());
  std::sort(clocks.begin(), clocks.end());
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  int multiprocessors = 0;
  CheckCuda(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, 0),
            "reading the device");
  BenchResult result{};
  result.milliseconds = samples[samples.size() / 2];
  result.mhz = clocks[clocks.size() / 2];
  const double pairs = static_cast<double>(options.length) * options.length *
                       (options.causal ? 0.5 : 1.0) * options.q_heads * options.batch;
  result.teraflops = 4.0 * options.head_dim * pairs / result.milliseconds / 1e9;
  result.cycles = result.milliseconds * result.mhz * 1e3 * multiprocessors / (pairs / 4096);
  return result;
}

}  // namespace tamis::gpu_testing
