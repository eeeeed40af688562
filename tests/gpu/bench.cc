#include "gpu/bench.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <numeric>
#include <optional>
#include <random>

#include "attention/cuda/device_buffer.cuh"
#include "attention/cuda/error.cuh"
#include "gpu/bench_index.h"
#include "gpu/clock.h"
#include "gpu/device_index.h"
#include "gpu/fill_normal.h"

namespace tamis::gpu_testing {
namespace {

using cuda::CheckCuda;
using cuda::DeviceBuffer;

/// Pairs that the mask of `call` allows; a causal triangle counts as half a square.
double Pairs(const BenchCall& call) {
  const AttentionMask& mask = call.mask;
  double pairs = 0.0;
  for (const int64_t n : call.lengths) {
    if (mask.window_left < 0) {
      const double square = static_cast<double>(n) * static_cast<double>(n);
      pairs += mask.causality == Causality::kCausal ? 0.5 * square : square;
      continue;
    }
    for (int64_t i = 0; i < n; ++i) {
      const int64_t begin = std::max<int64_t>(i - mask.window_left, 0);
      pairs += static_cast<double>(i + 1 - begin + std::min<int64_t>(begin, mask.sink_tokens));
    }
  }
  return pairs * call.q_heads;
}

/// A call with its memory.
class Runner {
 public:
  explicit Runner(const BenchCall& call) : call_(call) {
    const auto batch = static_cast<int32_t>(call.lengths.size());
    const bool ragged = batch > 1;
    const int32_t longest = *std::max_element(call.lengths.begin(), call.lengths.end());
    const int64_t rows = std::accumulate(call.lengths.begin(), call.lengths.end(), int64_t{0});
    AttentionArguments& a = arguments_;
    a.batch = batch;
    a.q_heads = call.q_heads;
    a.kv_heads = call.kv_heads;
    a.head_dim = call.head_dim;
    a.dtype = a.kv_dtype = call.dtype;
    a.query_tokens = a.key_tokens = longest;
    a.mask = call.mask;
    a.softcap = call.softcap;
    a.q = {Values(rows * call.q_heads), Stride(rows, call.q_heads)};
    a.o = {Values(rows * call.q_heads), Stride(rows, call.q_heads)};
    std::vector<int32_t> offsets(1, 0);
    for (const int32_t length : call.lengths) offsets.push_back(offsets.back() + length);
    if (ragged) {
      a.query_offsets = Copy(offsets);
      a.packed_query_rows = rows;
    }
    if (call.page_size > 0) {
      MakePages(ragged);
    } else {
      a.k = {Values(rows * call.kv_heads), Stride(rows, call.kv_heads)};
      a.v = {Values(rows * call.kv_heads), Stride(rows, call.kv_heads)};
      if (ragged) {
        a.key_offsets = Copy(offsets);
        a.packed_key_rows = rows;
      }
    }
    if (call.sink_logits) {
      a.sink_logits = Copy(std::vector<float>(static_cast<size_t>(call.q_heads), 0.5f));
    }
    if (call.bias) {
      std::vector<float> bias(static_cast<size_t>(longest) * static_cast<size_t>(longest));
      for (size_t i = 0; i < bias.size(); ++i) bias[i] = static_cast<float>(i % 7) * 0.25f;
      a.bias = {Copy(bias), 0, 0, longest};
    }
    context_.device = Device::kCuda;
    pairs_ = Pairs(call);
    if (call.density || call.slash) {
      const BenchIndex made = MakeBenchIndex(call);
      index_.emplace(made.index);
      pairs_ = made.pairs;
    }
    plan_ = PlanAttention(a, index_ ? &index_->view().shape : nullptr, call_.rule, context_);
    workspace_ = Allocate(plan_.workspace_bytes);
  }

  void Run() const {
    RunAttention(plan_, arguments_, index_ ? &index_->view() : nullptr, call_.rule, workspace_,
                 context_);
  }
  double pairs() const { return pairs_; }
  const BenchCall& call() const { return call_; }

 private:
  Strides Stride(int64_t rows, int32_t heads) const {
    const int64_t row = int64_t{heads} * call_.head_dim;
    return {rows * row, row, call_.head_dim};
  }
  void* Allocate(size_t bytes) { return buffers_.emplace_back(bytes).data(); }
  void* Values(int64_t rows) {
    void* data = Allocate(2 * static_cast<size_t>(rows * call_.head_dim));
    FillNormal(call_.dtype, data, rows * call_.head_dim, std::random_device()());
    return data;
  }
  template <typename T>
  const T* Copy(const std::vector<T>& values) {
    void* data = Allocate(values.size() * sizeof(T));
    CheckCuda(cudaMemcpy(data, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice),
              "copying to the device");
    return static_cast<const T*>(data);
  }
  void MakePages(bool ragged) {
    AttentionArguments& a = arguments_;
    const int32_t most = (a.key_tokens + call_.page_size - 1) / call_.page_size;
    a.paged.page_size = call_.page_size;
    a.paged.page_count = a.batch * most;
    a.paged.table_stride = most;
    std::vector<int32_t> pages(static_cast<size_t>(a.paged.page_count));
    std::iota(pages.begin(), pages.end(), 0);
    std::shuffle(pages.begin(), pages.end(), std::mt19937(1));
    a.paged.page_table = Copy(pages);
    const int64_t rows = int64_t{a.paged.page_count} * call_.page_size;
    a.paged.k = {Values(rows * a.kv_heads), Stride(call_.page_size, a.kv_heads)};
    a.paged.v = {Values(rows * a.kv_heads), Stride(call_.page_size, a.kv_heads)};
    if (ragged) a.key_lengths = Copy(call_.lengths);
  }

  const BenchCall call_;
  std::deque<DeviceBuffer> buffers_;
  AttentionArguments arguments_;
  ExecutionContext context_;
  std::optional<DeviceIndex> index_;
  double pairs_ = 0.0;  ///< visited
  AttentionPlan plan_;
  void* workspace_ = nullptr;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

std::vector<BenchResult> Measure(const std::vector<BenchCall>& calls, const BenchOptions& options) {
  std::vector<std::unique_ptr<Runner>> runners;
  for (const BenchCall& call : calls) runners.push_back(std::make_unique<Runner>(call));
  cudaEvent_t begin, end;
  CheckCuda(cudaEventCreate(&begin), "creating an event");
  CheckCuda(cudaEventCreate(&end), "creating an event");
  const auto burst = [&](const Runner& runner, int times) {
    CheckCuda(cudaEventRecord(begin, nullptr), "recording an event");
    for (int i = 0; i < times; ++i) runner.Run();
    CheckCuda(cudaEventRecord(end, nullptr), "recording an event");
    CheckCuda(cudaEventSynchronize(end), "running attention");
    float milliseconds = 0.0f;
    CheckCuda(cudaEventElapsedTime(&milliseconds, begin, end), "reading events");
    return static_cast<double>(milliseconds) / times;
  };
  std::vector<int> times;
  for (const auto& runner : runners) {
    burst(*runner, 1);
    if (options.warm_up_ms > 0.0) {
      burst(*runner, static_cast<int>(options.warm_up_ms / burst(*runner, 1)) + 1);
    }
    const double once = std::max(burst(*runner, 1), 1e-3);
    times.push_back(std::max(static_cast<int>(options.burst_ms / once), 1));
    if (options.burst_ms > 100.0) burst(*runner, times.back());
  }
  std::vector<std::vector<double>> samples(runners.size()), clocks(runners.size());
  for (int repeat = 0; repeat < options.repeats; ++repeat) {
    for (size_t i = 0; i < runners.size(); ++i) {
      const size_t at = (i + static_cast<size_t>(repeat)) % runners.size();
      samples[at].push_back(burst(*runners[at], times[at]));
      clocks[at].push_back(MeasureClock());
    }
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  int multiprocessors = 0;
  CheckCuda(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, 0),
            "reading the device");
  std::vector<BenchResult> results;
  for (size_t i = 0; i < runners.size(); ++i) {
    const double pairs = runners[i]->pairs();
    BenchResult result{};
    result.milliseconds = Median(samples[i]);
    result.mhz = Median(clocks[i]);
    result.teraflops = 4.0 * calls[i].head_dim * pairs / result.milliseconds / 1e9;
    result.cycles = result.milliseconds * result.mhz * 1e3 * multiprocessors / (pairs / 4096);
    results.push_back(result);
  }
  return results;
}

}  // namespace tamis::gpu_testing
