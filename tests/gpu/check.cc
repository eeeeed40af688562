#include "gpu/check.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <future>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "attention/compare.h"
#include "attention/cuda/error.cuh"
#include "attention/problem.h"
#include "attention/sequence_view.h"
#include "gpu/device_problem.h"
#include "tamis/attention.h"
#include "tamis/error.h"

namespace tamis::gpu_testing {
namespace {

using namespace attention_testing;
using enum Causality;

struct Case {
  std::string name;
  ProblemOptions options;
};

/// One call of every kind, at sizes that leave partial tiles everywhere.
std::vector<Case> Kinds() {
  std::vector<Case> cases = {
      {"one tile", {.query_tokens = 128, .key_tokens = 128}},
      {"causal", {.query_tokens = 300, .key_tokens = 300}},
      {"long causal", {.q_heads = 2, .kv_heads = 1, .query_tokens = 1500, .key_tokens = 1500}},
      {"many tiles",
       {.batch = 3, .q_heads = 16, .kv_heads = 4, .query_tokens = 640, .key_tokens = 640}},
      {"bidirectional",
       {.query_tokens = 257, .key_tokens = 640, .mask = {.causality = kBidirectional}}},
      {"bidirectional tail",
       {.query_tokens = 150, .key_tokens = 333, .mask = {.causality = kBidirectional}}},
      {"chunk", {.query_tokens = 70, .key_tokens = 533}},
      {"more queries than keys", {.query_tokens = 450, .key_tokens = 40}},
      {"one of each", {.query_tokens = 1, .key_tokens = 1}},
      {"no keys", {.query_tokens = 3, .key_tokens = 0}},
      {"no queries", {.query_tokens = 0, .key_tokens = 3}},
      {"heads first",
       {.batch = 2, .query_tokens = 130, .key_tokens = 150, .layout = Layout::kHeadsTokens}},
      {"group of 1", {.q_heads = 3, .kv_heads = 3, .query_tokens = 20, .key_tokens = 150}},
      {"group of 6", {.q_heads = 6, .kv_heads = 1, .query_tokens = 20, .key_tokens = 150}},
      {"ragged",
       {.batch = 5,
        .query_lengths = {5, 0, 370, 1, 200},
        .key_lengths = {350, 9, 370, 1, 0},
        .packed_keys = true}},
      {"key lengths", {.batch = 3, .query_tokens = 170, .key_lengths = {600, 0, 33}}},
      {"query starts",
       {.batch = 3,
        .query_tokens = 340,
        .key_lengths = {500, 460, 10},
        .query_starts = {12, 200, -30}}},
      {"block causal",
       {.query_tokens = 350,
        .key_tokens = 500,
        .mask = {.causality = kBlockCausal, .causal_block = 32}}},
      {"block causal before zero",
       {.query_tokens = 190,
        .key_tokens = 50,
        .mask = {.causality = kBlockCausal, .causal_block = 12}}},
      {"scale", {.query_tokens = 300, .key_tokens = 300, .softmax_scale = 0.37f}},
      {"structured", {.query_tokens = 900, .key_tokens = 900, .values = Values::kStructured}},
      {"integers", {.query_tokens = 300, .key_tokens = 300, .values = Values::kIntegers}},
      // Scores hundreds of octaves apart: references go stale and probabilities overflow.
      {"jumps", {.query_tokens = 900, .key_tokens = 900, .softmax_scale = 3.0f}},
      {"jumps, bidirectional",
       {.query_tokens = 300,
        .key_tokens = 1900,
        .mask = {.causality = kBidirectional},
        .softmax_scale = 20.0f}},
  };
  return cases;
}

/// What only the general kernels run, and paged K and V under both kinds of kernel.
std::vector<Case> GeneralKinds() {
  std::vector<Case> cases = {
      {"window", {.query_tokens = 700, .key_tokens = 700, .mask = {.window_left = 150}}},
      {"window of 0", {.query_tokens = 300, .key_tokens = 300, .mask = {.window_left = 0}}},
      {"window, sinks, softcap",
       {.query_tokens = 900,
        .key_tokens = 900,
        .mask = {.window_left = 200, .sink_tokens = 5},
        .softcap = 3.0f}},
      {"window to the right, sinks",
       {.query_tokens = 600,
        .key_tokens = 700,
        .mask = {.causality = kBidirectional,
                 .window_left = 100,
                 .window_right = 60,
                 .sink_tokens = 140}}},
      {"window past the keys",
       {.batch = 2,
        .query_tokens = 400,
        .key_lengths = {300, 250},
        .query_starts = {200, -50},
        .mask = {.window_left = 90, .window_right = 3, .sink_tokens = 2}}},
      {"window, ragged",
       {.batch = 4,
        .query_lengths = {5, 570, 1, 200},
        .key_lengths = {350, 570, 1, 0},
        .packed_keys = true,
        .mask = {.window_left = 128, .sink_tokens = 4}}},
      {"softcap", {.query_tokens = 300, .key_tokens = 300, .softcap = 30.0f}},
      {"softcap, bidirectional tail",
       {.query_tokens = 150,
        .key_tokens = 333,
        .mask = {.causality = kBidirectional},
        .softcap = 1.5f}},
      {"keep mask", {.query_tokens = 257, .key_tokens = 300, .keep_probability = 0.5}},
      {"sparse keep mask", {.query_tokens = 257, .key_tokens = 600, .keep_probability = 0.004}},
      {"bias", {.query_tokens = 257, .key_tokens = 300, .bias = true}},
      {"mask, bias, group of 4",
       {.batch = 2,
        .q_heads = 8,
        .kv_heads = 2,
        .query_tokens = 200,
        .key_lengths = {333, 210},
        .keep_probability = 0.7,
        .bias = true}},
      {"sink logits", {.query_tokens = 300, .key_tokens = 300, .sink_logits = true}},
      {"sink logits, rows that see nothing",
       {.query_tokens = 450, .key_tokens = 40, .sink_logits = true}},
      {"positions",
       {.batch = 3, .query_tokens = 330, .key_lengths = {500, 330, 410}, .key_positions = true}},
      {"positions, window, sinks",
       {.batch = 2,
        .query_tokens = 500,
        .key_tokens = 500,
        .key_positions = true,
        .mask = {.window_left = 170, .sink_tokens = 9}}},
      {"positions, packed, block causal",
       {.batch = 2,
        .query_lengths = {200, 150},
        .key_lengths = {350, 150},
        .packed_keys = true,
        .key_positions = true,
        .mask = {.causality = kBlockCausal, .causal_block = 24}}},
      {"everything",
       {.batch = 3,
        .q_heads = 6,
        .kv_heads = 2,
        .query_lengths = {370, 0, 130},
        .key_lengths = {470, 30, 200},
        .page_size = 24,
        .key_positions = true,
        .mask = {.window_left = 190, .sink_tokens = 20},
        .keep_probability = 0.9,
        .bias = true,
        .sink_logits = true,
        .softmax_scale = 0.2f,
        .softcap = 4.0f}},
      {"jumps, window",
       {.query_tokens = 900,
        .key_tokens = 900,
        .mask = {.window_left = 500, .sink_tokens = 130},
        .softmax_scale = 3.0f}},
      {"jumps, softcap",
       {.query_tokens = 900, .key_tokens = 900, .softmax_scale = 20.0f, .softcap = 300.0f}},
      {"jumps, sink logits",
       {.query_tokens = 300,
        .key_tokens = 1900,
        .mask = {.causality = kBidirectional},
        .sink_logits = true,
        .softmax_scale = 20.0f}},
      {"pages, heads first",
       {.query_tokens = 300, .key_tokens = 420, .layout = Layout::kHeadsTokens, .page_size = 64}},
      {"pages, jumps",
       {.query_tokens = 300, .key_tokens = 900, .page_size = 32, .softmax_scale = 3.0f}},
      {"pages, no keys", {.query_tokens = 3, .key_tokens = 0, .page_size = 16}},
  };
  for (const int32_t page_size : {8, 16, 24, 32, 64, 96, 128, 256, 1024}) {
    cases.push_back({fmt::format("pages of {}, ragged", page_size),
                     {.batch = 5,
                      .query_lengths = {5, 0, 370, 1, 200},
                      .key_lengths = {350, 9, 400, 1, 0},
                      .page_size = page_size}});
    cases.push_back({fmt::format("pages of {}, window", page_size),
                     {.batch = 2,
                      .query_tokens = 300,
                      .key_lengths = {350, 333},
                      .page_size = page_size,
                      .mask = {.window_left = 77, .sink_tokens = 3}}});
  }
  return cases;
}

std::vector<Case> Cases(uint64_t seed, bool quick) {
  std::vector<Case> cases;
  std::vector<Case> kinds = Kinds();
  for (const Case& c : GeneralKinds()) kinds.push_back(c);
  const auto add = [&](DType dtype, int32_t head_dim, int32_t value_head_dim, Case kind) {
    kind.options.dtype = kind.options.kv_dtype = dtype;
    kind.options.head_dim = head_dim;
    kind.options.value_head_dim = value_head_dim;
    cases.push_back(std::move(kind));
  };
  const std::set<std::string> quick_kinds = {
      "causal", "ragged", "jumps", "pages of 24, ragged", "everything", "window, sinks, softcap"};
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    for (const int32_t head_dim : {128, 64, 256}) {
      for (const Case& kind : kinds) {
        if (!quick || quick_kinds.contains(kind.name)) add(dtype, head_dim, 0, kind);
      }
    }
  }
  if (!quick) {
    for (const auto& [d, v] : {std::pair{8, 8},
                               {40, 40},
                               {96, 96},
                               {72, 128},
                               {64, 24},
                               {192, 128},
                               {136, 256},
                               {256, 40},
                               {160, 160}}) {
      for (const Case& kind : kinds) {
        const bool taken = kind.name == "ragged" || kind.name == "everything" ||
                           kind.name == "mask, bias, group of 4" || kind.name == "window" ||
                           kind.name == "pages of 16, ragged";
        if (taken) add(DType::kBF16, d, v, kind);
      }
    }
  }
  for (size_t i = 0; i < cases.size(); ++i) {
    Case& c = cases[i];
    c.options.seed = seed + i;
    const int32_t v = c.options.value_head_dim;
    c.name = fmt::format("{} d{}{} {}", tamis::Name(c.options.dtype), c.options.head_dim,
                         v != 0 ? fmt::format("/{}", v) : "", c.name);
  }
  return cases;
}

double Norm(DType dtype, const void* data, int64_t offset, int32_t dim, bool largest) {
  std::vector<float> row(dim);
  ConvertToFloat(dtype, static_cast<const char*>(data) + offset * 2, row.data(), row.size());
  double norm = 0.0;
  for (const float x : row) norm = largest ? std::max<double>(norm, std::abs(x)) : norm + x * x;
  return largest ? norm : std::sqrt(norm);
}

struct Bounds {
  double o, lse;
};

/// Probabilities and outputs are rounded to the dtype, half an ulp each, relative to values of at
/// most max|v|; scores are off by the rounding of their fp32 sums, of the scaled reference, of the
/// softcap's exponential and reciprocal, and of the sum with a bias (normal: below 8).
Bounds BoundsOf(const Problem& problem) {
  const AttentionArguments& a = problem.arguments;
  double q = 0.0, k = 0.0, v = 0.0;
  const bool paged = a.paged.page_size != 0;
  const ConstTensor& keys = paged ? a.paged.k : a.k;
  const ConstTensor& values = paged ? a.paged.v : a.v;
  for (int32_t b = 0; b < a.batch; ++b) {
    const SequenceView sequence(a, b);
    for (int32_t i = 0; i < sequence.queries(); ++i) {
      for (int32_t h = 0; h < a.q_heads; ++h) {
        q = std::max(
            q, Norm(a.dtype, a.q.data, sequence.QueryOffset(a.q.stride, i, h), a.head_dim, false));
      }
    }
    for (int32_t j = 0; j < sequence.keys(); ++j) {
      for (int32_t h = 0; h < a.kv_heads; ++h) {
        k = std::max(k, Norm(a.kv_dtype, keys.data, sequence.KeyOffset(keys.stride, j, h),
                             a.head_dim, false));
        v = std::max(v, Norm(a.kv_dtype, values.data, sequence.KeyOffset(values.stride, j, h),
                             a.dim_v(), true));
      }
    }
  }
  const double scale = a.softmax_scale != 0.0f ? a.softmax_scale : 1.0 / std::sqrt(a.head_dim);
  const double score = 0x1p-22 * scale * q * k + 0x1p-21 + 0x1p-20 * a.softcap +
                       (a.bias.data != nullptr ? 0x1p-20 * 8 : 0.0);
  const double ulp = a.dtype == DType::kBF16 ? 0x1p-7 : 0x1p-10;
  return {(2 * score + ulp) * v + 1e-30, 2 * score + 0x1p-20};
}

/// Two runs on fresh poison; the outputs are left in the problem. Returns what is wrong.
std::string RunOnDevice(Problem& problem) {
  DeviceProblem device(problem);
  ExecutionContext context;
  context.device = Device::kCuda;
  const AttentionArguments arguments = device.arguments();
  const AttentionPlan plan = PlanAttention(arguments, nullptr, {}, context);
  void* workspace = nullptr;
  cuda::CheckCuda(cudaMalloc(&workspace, plan.workspace_bytes), "allocating the workspace");
  std::vector<char> first;
  for (int run = 0; run < 2; ++run) {
    device.Poison();
    RunAttention(plan, arguments, nullptr, {}, workspace, context);
    device.Fetch();
    if (run == 0) first = device.OutputBytes();
  }
  cudaFree(workspace);
  return first == device.OutputBytes() ? "" : "runs differ";
}

std::string Judge(const Problem& problem, const ReferenceResult& reference, std::string& detail) {
  const ErrorMetrics errors = CompareOutputs(problem, reference);
  const Bounds bounds = BoundsOf(problem);
  detail = fmt::format("o {:.2e} ({:.0f}% of bound), lse {:.1e} ({:.0f}%), rms {:.1e}",
                       errors.max_abs, 100 * errors.max_abs / bounds.o, errors.max_lse,
                       100 * errors.max_lse / bounds.lse, errors.rms);
  if (errors.wrong_kind != 0) return fmt::format("{} not finite", errors.wrong_kind);
  if (!(errors.max_abs <= bounds.o)) return "o out of bounds";
  if (!(errors.max_lse <= bounds.lse)) return "lse out of bounds";
  if (!problem.GapsUntouched()) return "wrote between rows";
  return "";
}

/// What is not supported must be refused by name.
int CheckRefusals() {
  const std::vector<std::pair<const char*, std::function<void(ProblemOptions&)>>> refused = {
      {"f32", [](ProblemOptions& o) { o.dtype = o.kv_dtype = DType::kF32; }},
      {"two dtypes", [](ProblemOptions& o) { o.kv_dtype = DType::kF16; }},
      {"unaligned rows", [](ProblemOptions& o) { o.layout = Layout::kPadded; }},
      {"pages of 12", [](ProblemOptions& o) { o.page_size = 12; }},
      {"phases", [](ProblemOptions& o) { o.phases = {Phase::kPrefill}; }},
  };
  int failures = 0;
  for (const auto& [name, change] : refused) {
    ProblemOptions options{.dtype = DType::kBF16, .kv_dtype = DType::kBF16};
    change(options);
    Problem problem(options);
    problem.arguments.counts = nullptr;
    problem.arguments.executed = nullptr;
    ExecutionContext context;
    context.device = Device::kCuda;
    try {
      PlanAttention(problem.arguments, nullptr, {}, context);
      fmt::print("FAIL {} was not refused\n", name);
      ++failures;
    } catch (const Error& error) {
    }
  }
  return failures;
}

}  // namespace

CheckSummary RunChecks(const std::string& filter, uint64_t seed, bool quick) {
  struct Pending {
    Case c;
    std::unique_ptr<Problem> problem;
    std::future<ReferenceResult> reference;
  };
  std::vector<Pending> pending;
  for (const Case& c : Cases(seed, quick)) {
    if (c.name.find(filter) == std::string::npos) continue;
    pending.push_back({c, std::make_unique<Problem>(c.options), {}});
  }
  for (Pending& p : pending) {
    p.reference = std::async(std::launch::async, [problem = p.problem.get()] {
      // A copy of the arguments: the outputs change meanwhile.
      return ReferenceAttention(WithoutOutputs(problem->arguments), nullptr, {});
    });
  }
  CheckSummary summary;
  for (Pending& p : pending) {
    std::string fault, detail;
    try {
      fault = RunOnDevice(*p.problem);
      const ReferenceResult reference = p.reference.get();
      const std::string wrong = Judge(*p.problem, reference, detail);
      if (fault.empty()) fault = wrong;
    } catch (const Error& error) {
      fault = error.what();
    }
    ++summary.cases;
    summary.failures += fault.empty() ? 0 : 1;
    fmt::print("{} {}: {}{}{}\n", fault.empty() ? "ok  " : "FAIL", p.c.name, fault,
               fault.empty() ? "" : "; ", detail);
    std::fflush(stdout);
  }
  summary.failures += CheckRefusals();
  return summary;
}

}  // namespace tamis::gpu_testing
