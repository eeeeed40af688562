#include "gpu/graph_check.h"

#include <cuda_runtime_api.h>

#include <optional>
#include <utility>

#include "attention/compare.h"
#include "attention/cuda/device_buffer.cuh"
#include "attention/cuda/error.cuh"
#include "gpu/cases.h"
#include "gpu/device_index.h"
#include "gpu/device_problem.h"
#include "tamis/attention.h"

namespace tamis::gpu_testing {
namespace {

using namespace attention_testing;
using cuda::CheckCuda;

/// A captured call.
class Graph {
 public:
  Graph(const AttentionArguments& arguments, const TileIndex* index) {
    CheckCuda(cudaStreamCreate(&stream_), "creating a stream");
    ExecutionContext context;
    context.device = Device::kCuda;
    context.stream = stream_;
    const AttentionPlan plan =
        PlanAttention(arguments, index == nullptr ? nullptr : &index->shape, {}, context);
    workspace_.emplace(plan.workspace_bytes);
    CheckCuda(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeGlobal), "capturing");
    RunAttention(plan, arguments, index, {}, workspace_->data(), context);
    CheckCuda(cudaStreamEndCapture(stream_, &graph_), "capturing");
    CheckCuda(cudaGraphInstantiate(&executable_, graph_, 0), "making a graph");
  }
  ~Graph() {
    cudaGraphExecDestroy(executable_);
    cudaGraphDestroy(graph_);
    cudaStreamDestroy(stream_);
  }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void Launch() { CheckCuda(cudaGraphLaunch(executable_, stream_), "launching a graph"); }

 private:
  cudaStream_t stream_ = nullptr;
  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t executable_ = nullptr;
  std::optional<cuda::DeviceBuffer> workspace_;
};

enum class Keys : uint8_t { kDense, kLists, kGathered };

std::string CheckOne(uint64_t seed, Keys keys, int32_t head_dim) {
  const bool lists = keys != Keys::kDense;
  Problem problem({.batch = 2,
                   .head_dim = head_dim,
                   .query_tokens = 400,
                   .dtype = DType::kBF16,
                   .kv_dtype = DType::kBF16,
                   .key_lengths = {700, 512},
                   .seed = seed});
  DeviceProblem device(problem);
  IndexOptions options{.key_block = 64, .density = 0.5};
  if (keys == Keys::kGathered) {
    options.density = 0.2;
    options.windows = 3;
    options.columns = 150;
  }
  std::optional<DeviceIndex> index;
  if (lists) index.emplace(MakeIndex(problem.arguments, options, seed));
  Graph graph(device.arguments(), lists ? &index->view() : nullptr);
  // Replays read what lies on the device then: other lengths, and other lists.
  auto* lengths = const_cast<int32_t*>(problem.arguments.key_lengths);
  for (const int32_t length : {700, 333, 512}) {
    lengths[0] = length;
    const TileIndexStorage lists_now = MakeIndex(problem.arguments, options, seed + length);
    if (lists) index->Upload(lists_now);
    device.Poison();
    graph.Launch();
    device.Fetch();
    const TileIndex view = lists_now.view();
    const ReferenceResult reference =
        ReferenceAttention(WithoutOutputs(problem.arguments), lists ? &view : nullptr, {});
    const ErrorMetrics errors = CompareOutputs(problem, reference);
    if (errors.wrong_kind != 0 || errors.max_abs > 0.05) {
      return "keys " + std::to_string(length) + ": o is off by " + std::to_string(errors.max_abs);
    }
  }
  return "";
}

}  // namespace

std::vector<GraphCheck> CheckGraphs(uint64_t seed,
                                    const std::function<bool(const std::string&)>& wanted) {
  std::vector<GraphCheck> checks;
  const std::pair<Keys, const char*> kinds[] = {
      {Keys::kDense, "dense"}, {Keys::kLists, "lists"}, {Keys::kGathered, "gather"}};
  for (const auto& [keys, name] : kinds) {
    for (const int32_t head_dim : {128, 64}) {
      const std::string title = std::string(name) + " as a graph, d" + std::to_string(head_dim);
      if (wanted(title)) checks.push_back({title, CheckOne(seed, keys, head_dim)});
    }
  }
  return checks;
}

}  // namespace tamis::gpu_testing
