#include "gpu/bench.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <string>

#include "attention/cuda/device_buffer.cuh"
#include "attention/cuda/error.cuh"
#include "gpu/bench_index.h"
#include "gpu/clock.h"
#include "gpu/device_index.h"
#include "gpu/fill_inputs.h"
#include "tamis/error.h"

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

/// The published geometry that runs `a`.
TileGeometry GeometryOf(const AttentionArguments& a, const BenchCall& call) {
  const bool lists = call.density || call.slash;
  const int32_t columns = lists                                        ? call.key_block
                          : a.head_dim > 64 || call.rule.n_of_m.n != 0 ? 128
                                                                       : 96;
  for (const TileGeometry& g : PublishedGeometries(Device::kCuda, Phase::kPrefill)) {
    if (g.tile_columns == columns) return g;
  }
  throw Error("no CUDA geometry has " + std::to_string(columns) + " columns");
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
    a.q = {Values(rows * call.q_heads, kQuerySeed), Stride(rows, call.q_heads)};
    a.o = {Values(rows * call.q_heads, kOutputSeed), Stride(rows, call.q_heads)};
    std::vector<int32_t> offsets(1, 0);
    for (const int32_t length : call.lengths) offsets.push_back(offsets.back() + length);
    if (ragged) {
      a.query_offsets = Copy(offsets);
      a.packed_query_rows = rows;
    }
    if (call.page_size > 0) {
      MakePages(ragged);
    } else {
      a.k = {Values(rows * call.kv_heads, kKeySeed), Stride(rows, call.kv_heads)};
      a.v = {Values(rows * call.kv_heads, kValueSeed), Stride(rows, call.kv_heads)};
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
    rule_ = call.rule;
    if (call.inputs.kind != Inputs::Kind::kNormal) FillStructured(call.inputs, a, kQuerySeed);
    if (call.lambda) {
      rule_.skip_softmax.lambda =
          Copy(std::vector<float>(static_cast<size_t>(batch), *call.lambda));
      rule_.skip_softmax.geometry = GeometryOf(a, call);
    }
    if (call.density || call.slash) {
      const BenchIndex made = MakeBenchIndex(call);
      index_.emplace(made.index);
      pairs_ = made.pairs;
    }
    plan_ = PlanAttention(a, index_ ? &index_->view().shape : nullptr, rule_, context_);
    workspace_ = Allocate(plan_.workspace_bytes);
  }

  void Run() const {
    RunAttention(plan_, arguments_, index_ ? &index_->view() : nullptr, rule_, workspace_,
                 context_);
  }

  /// The share of visited tiles that the rule dropped.
  double Skipped() {
    AttentionArguments a = arguments_;
    const auto heads = static_cast<size_t>(a.batch) * static_cast<size_t>(a.q_heads);
    const DeviceBuffer counts(heads * sizeof(AttentionCounts));
    a.counts = static_cast<AttentionCounts*>(counts.data());
    const TileIndex* index = index_ ? &index_->view() : nullptr;
    const AttentionPlan plan = PlanAttention(a, index_ ? &index->shape : nullptr, rule_, context_);
    const DeviceBuffer workspace(plan.workspace_bytes);
    RunAttention(plan, a, index, rule_, workspace.data(), context_);
    std::vector<AttentionCounts> of_heads(heads);
    CheckCuda(cudaMemcpy(of_heads.data(), counts.data(), heads * sizeof(AttentionCounts),
                         cudaMemcpyDeviceToHost),
              "reading counts");
    AttentionCounts sum;
    for (const AttentionCounts& c : of_heads) sum += c;
    return sum.skipped_share();
  }

  /// ||O - other's|| / ||other's||.
  double Error(const Runner& other) const {
    const int64_t elements = int64_t{arguments_.query_tokens} * arguments_.q_heads * call_.head_dim;
    return RelativeError(call_.dtype, arguments_.o.data, other.arguments_.o.data, elements);
  }
  double pairs() const { return pairs_; }
  const BenchCall& call() const { return call_; }

 private:
  Strides Stride(int64_t rows, int32_t heads) const {
    const int64_t row = int64_t{heads} * call_.head_dim;
    return {rows * row, row, call_.head_dim};
  }
  void* Allocate(size_t bytes) { return buffers_.emplace_back(bytes).data(); }
  void* Values(int64_t rows, uint64_t seed) {
    void* data = Allocate(2 * static_cast<size_t>(rows * call_.head_dim));
    FillNormal(call_.dtype, data, rows * call_.head_dim, seed);
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
    a.paged.k = {Values(rows * a.kv_heads, kKeySeed), Stride(call_.page_size, a.kv_heads)};
    a.paged.v = {Values(rows * a.kv_heads, kValueSeed), Stride(call_.page_size, a.kv_heads)};
    if (ragged) a.key_lengths = Copy(call_.lengths);
  }

  // Calls of one table compare on the same inputs.
  static constexpr uint64_t kQuerySeed = 1, kKeySeed = 2, kValueSeed = 3, kOutputSeed = 4;

  const BenchCall call_;
  std::deque<DeviceBuffer> buffers_;
  AttentionArguments arguments_;
  ExecutionContext context_;
  std::optional<DeviceIndex> index_;
  double pairs_ = 0.0;  ///< visited
  TileRule rule_;       ///< the call's, with lambda
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
  size_t without = 0;  // the last call without skip-softmax
  for (size_t i = 0; i < runners.size(); ++i) {
    const double pairs = runners[i]->pairs();
    BenchResult result{};
    result.milliseconds = Median(samples[i]);
    result.mhz = Median(clocks[i]);
    result.teraflops = 4.0 * calls[i].head_dim * pairs / result.milliseconds / 1e9;
    result.cycles = result.milliseconds * result.mhz * 1e3 * multiprocessors / (pairs / 4096);
    if (!calls[i].lambda) {
      without = i;
    } else {
      result.skipped = runners[i]->Skipped();
      result.speedup = results[without].milliseconds / result.milliseconds;
      result.error = runners[i]->Error(*runners[without]);
    }
    results.push_back(result);
  }
  return results;
}

}  // namespace tamis::gpu_testing
