#include "gpu/check.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "attention/compare.h"
#include "attention/cuda/device_buffer.cuh"
#include "attention/problem.h"
#include "attention/sequence_view.h"
#include "gpu/cases.h"
#include "gpu/device_index.h"
#include "gpu/device_problem.h"
#include "gpu/graph_check.h"
#include "tamis/attention.h"
#include "tamis/error.h"

namespace tamis::gpu_testing {
namespace {

using namespace attention_testing;

std::vector<Case> Cases(uint64_t seed, bool quick) {
  std::vector<Case> cases = DenseCases(quick);
  for (Case& c : ListCases(quick)) cases.push_back(std::move(c));
  for (Case& c : SparseCases(quick)) cases.push_back(std::move(c));
  for (Case& c : GatherCases(quick)) cases.push_back(std::move(c));
  for (Case& c : SkipCases(quick)) cases.push_back(std::move(c));
  for (Case& c : GatherRuleCases(quick)) cases.push_back(std::move(c));
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

/// The lambda of each sequence; empty without a rule.
std::vector<float> LambdasOf(const Case& c, int32_t batch) {
  std::vector<float> lambdas;
  if (c.lambda.empty()) return lambdas;
  for (int32_t b = 0; b < batch; ++b) {
    lambdas.push_back(c.lambda[static_cast<size_t>(b) % c.lambda.size()]);
  }
  return lambdas;
}

/// The rule of a case with its lambdas at `lambda`.
TileRule RuleOf(const Case& c, const float* lambda) {
  TileRule rule = c.rule;
  if (c.lambda.empty()) return rule;
  const bool wide = std::max(c.options.head_dim, c.options.value_head_dim) > 64;
  const int32_t columns = c.index ? c.index->key_block : wide || rule.n_of_m.n != 0 ? 128 : 96;
  for (const TileGeometry& g : PublishedGeometries(Device::kCuda, Phase::kPrefill)) {
    if (g.tile_columns == columns) rule.skip_softmax = {lambda, g};
  }
  return rule;
}

/// Runs on fresh poison; leaves the outputs in the problem and returns their bytes.
std::vector<char> RunOnce(DeviceProblem& device, const TileIndex* index,
                          const TileRule& rule = {}) {
  ExecutionContext context;
  context.device = Device::kCuda;
  const AttentionArguments arguments = device.arguments(rule.skip_softmax.lambda != nullptr);
  const AttentionPlan plan =
      PlanAttention(arguments, index == nullptr ? nullptr : &index->shape, rule, context);
  const cuda::DeviceBuffer workspace(plan.workspace_bytes);
  device.Poison();
  RunAttention(plan, arguments, index, rule, workspace.data(), context);
  device.Fetch();
  return device.OutputBytes();
}

/// A full index promises the bits of the dense call where the two share tiles of 128x128.
bool PromisesDenseBits(const Case& c) {
  return c.index && c.rule.IsDense() &&
         (c.index->kind == IndexOptions::Kind::kFull ||
          (c.index->kind == IndexOptions::Kind::kFullWindows && c.index->empty_rows == 0.0)) &&
         c.index->query_block == 128 && c.options.head_dim > 64;
}

/// Whether every sequence has a rule that drops nothing.
bool RunsDense(const std::vector<float>& lambdas) {
  return !lambdas.empty() && std::all_of(lambdas.begin(), lambdas.end(), [](float lambda) {
    return lambda == 0.0f || lambda >= 1.0f;
  });
}

/// Bytes of O and LSE.
std::vector<char> OutputOf(Problem& problem) {
  std::vector<char> bytes;
  for (const Problem::Array& array : problem.Arrays()) {
    const void* counts = problem.counts().data();
    if (!array.written || array.data == counts) continue;
    const char* data = static_cast<const char*>(array.data);
    bytes.insert(bytes.end(), data, data + array.bytes);
  }
  return bytes;
}

/// Returns what is wrong.
std::string RunOnDevice(const Case& c, Problem& problem, const TileIndexStorage* storage) {
  DeviceProblem device(problem);
  std::optional<DeviceIndex> index;
  if (storage != nullptr) index.emplace(*storage);
  const TileIndex* view = index ? &index->view() : nullptr;
  const bool dense_bits = PromisesDenseBits(c);
  const std::vector<char> dense = dense_bits ? RunOnce(device, nullptr) : std::vector<char>();
  const std::vector<float> lambdas = LambdasOf(c, c.options.batch);
  const cuda::DeviceBuffer lambda(lambdas.size() * sizeof(float));
  cuda::CheckCuda(cudaMemcpy(lambda.data(), lambdas.data(), lambdas.size() * sizeof(float),
                             cudaMemcpyHostToDevice),
                  "copying lambda");
  const TileRule rule = RuleOf(c, static_cast<const float*>(lambda.data()));
  std::vector<char> without_rule;
  // With N:M other kernels run, in tiles of their own.
  const bool promises_bits = RunsDense(lambdas) && rule.n_of_m.n == 0;
  if (promises_bits) {
    RunOnce(device, view);
    without_rule = OutputOf(problem);
  }
  const std::vector<char> first = RunOnce(device, view, rule);
  if (promises_bits && OutputOf(problem) != without_rule) return "lambda 0 changes bits";
  if (first != RunOnce(device, view, rule)) return "runs differ";
  return dense_bits && first != dense ? "a full index differs from dense" : "";
}

/// Ulps of a score's magnitude within which a decision may differ from the reference's.
constexpr double kDecisionUlps = 16.0;

bool Ambiguous(const ReferenceResult& reference) {
  return std::any_of(reference.skip.begin(), reference.skip.end(), [](const SkipDecision& d) {
    return d.gap <= kDecisionUlps * 0x1p-23 * d.magnitude;
  });
}

/// Ulps of a score's magnitude within which N:M may choose otherwise.
constexpr double kSelectionUlps = 4.0;

/// Takes the executor's rows for the reference's where a selection of the row was within rounding;
/// returns how many those are.
int64_t ExcuseSelections(const Problem& problem, ReferenceResult& reference) {
  const AttentionArguments& a = problem.arguments;
  int64_t rows = 0, last = -1;
  for (const NOfMDecision& d : reference.n_of_m) {
    // Equal scores have an order.
    if (d.gap == 0.0 || d.gap > kSelectionUlps * 0x1p-23 * d.magnitude) continue;
    const int64_t row = (int64_t{d.sequence} * a.q_heads + d.head) * a.query_tokens + d.query;
    for (int32_t i = 0; i < a.dim_v(); ++i) {
      reference.o[row * a.dim_v() + i] = problem.Output(d.sequence, d.head, d.query, i);
    }
    if (a.lse != nullptr) reference.lse[row] = problem.Lse(d.sequence, d.head, d.query);
    rows += row != last ? 1 : 0;
    last = row;
  }
  return rows;
}

std::string JudgeCounts(const Problem& problem, const ReferenceResult& reference,
                        std::string& detail) {
  AttentionCounts sum;
  for (size_t i = 0; i < reference.counts.size(); ++i) {
    const AttentionCounts& want = reference.counts[i];
    const AttentionCounts& got = problem.counts()[i];
    sum += want;
    if (got == want) continue;
    return fmt::format("counts of head {}: {}/{}/{} pairs, {}/{} tiles, not {}/{}/{}, {}/{}", i,
                       got.allowed_pairs, got.visited_pairs, got.kept_pairs, got.skipped_tiles,
                       got.visited_tiles, want.allowed_pairs, want.visited_pairs, want.kept_pairs,
                       want.skipped_tiles, want.visited_tiles);
  }
  detail += fmt::format(", skipped {} of {} tiles", sum.skipped_tiles, sum.visited_tiles);
  return "";
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

struct Refusal {
  const char* name;
  void (*change)(ProblemOptions&);
};

/// What is not supported must be refused by name; returns the number that was not.
int CountAccepted(const std::vector<Refusal>& refusals, bool lists) {
  int accepted = 0;
  for (const Refusal& refusal : refusals) {
    ProblemOptions options{.dtype = DType::kBF16, .kv_dtype = DType::kBF16};
    refusal.change(options);
    Problem problem(options);
    problem.arguments.counts = nullptr;
    problem.arguments.executed = nullptr;
    std::optional<TileIndexStorage> full;
    if (lists) full = TileIndexStorage::Full(problem.arguments);
    ExecutionContext context;
    context.device = Device::kCuda;
    try {
      PlanAttention(problem.arguments, lists ? &full->shape() : nullptr, {}, context);
      fmt::print("FAIL {}{} was not refused\n", lists ? "an index with " : "", refusal.name);
      ++accepted;
    } catch (const Error& error) {
    }
  }
  return accepted;
}

int CheckRefusals() {
  return CountAccepted({{"f32", [](ProblemOptions& o) { o.dtype = o.kv_dtype = DType::kF32; }},
                        {"two dtypes", [](ProblemOptions& o) { o.kv_dtype = DType::kF16; }},
                        {"unaligned rows", [](ProblemOptions& o) { o.layout = Layout::kPadded; }},
                        {"pages of 12", [](ProblemOptions& o) { o.page_size = 12; }},
                        {"phases", [](ProblemOptions& o) { o.phases = {Phase::kPrefill}; }}},
                       false);
}

/// What dense calls run and lists do not, and what only a call with columns reveals.
int CheckIndexRefusals() {
  int failures = CountAccepted({{"head dim 256", [](ProblemOptions& o) { o.head_dim = 256; }},
                                {"pages", [](ProblemOptions& o) { o.page_size = 16; }},
                                {"window", [](ProblemOptions& o) { o.mask.window_left = 5; }},
                                {"softcap", [](ProblemOptions& o) { o.softcap = 5.0f; }},
                                {"keep mask", [](ProblemOptions& o) { o.keep_probability = 0.5; }},
                                {"bias", [](ProblemOptions& o) { o.bias = true; }},
                                {"sink logits", [](ProblemOptions& o) { o.sink_logits = true; }},
                                {"positions", [](ProblemOptions& o) { o.key_positions = true; }}},
                               true);
  Problem problem({.dtype = DType::kBF16, .kv_dtype = DType::kBF16});
  TileIndexStorage storage = TileIndexStorage::Full(problem.arguments);
  storage.SetColumns(std::vector<std::vector<int32_t>>(storage.shape().rows()));
  problem.arguments.k.stride.row = int64_t{1} << 33;
  try {
    DeviceProblem device(problem);
    const DeviceIndex index(storage);
    RunOnce(device, &index.view());
    fmt::print("FAIL columns of rows 2^34 bytes apart were not refused\n");
    ++failures;
  } catch (const Error& error) {
  }
  return failures;
}

}  // namespace

CheckSummary RunChecks(const std::string& filter, uint64_t seed, bool quick) {
  const auto wanted = [&](const std::string& name) {
    return name.find(filter) != std::string::npos;
  };
  struct Pending {
    Case c;
    std::unique_ptr<Problem> problem;
    std::unique_ptr<TileIndexStorage> index;
    std::future<ReferenceResult> reference;
  };
  std::vector<Pending> pending;
  for (const Case& c : Cases(seed, quick)) {
    if (!wanted(c.name)) continue;
    Pending& p = pending.emplace_back();
    p.c = c;
    p.problem = std::make_unique<Problem>(c.options);
    if (!c.index) continue;
    p.index = std::make_unique<TileIndexStorage>(
        MakeIndex(p.problem->arguments, *c.index, c.options.seed));
    const TileIndex view = p.index->view();
    ValidateAttention(p.problem->arguments, &view, {});
  }
  for (Pending& p : pending) {
    p.reference = std::async(std::launch::async, [&p] {
      const TileIndex view = p.index ? p.index->view() : TileIndex{};
      const std::vector<float> lambdas = LambdasOf(p.c, p.c.options.batch);
      // A copy of the arguments: the outputs change meanwhile.
      return ReferenceAttention(WithoutOutputs(p.problem->arguments), p.index ? &view : nullptr,
                                RuleOf(p.c, lambdas.data()));
    });
  }
  CheckSummary summary;
  int ambiguous = 0;
  for (Pending& p : pending) {
    std::string fault, detail;
    try {
      fault = RunOnDevice(p.c, *p.problem, p.index.get());
      ReferenceResult reference = p.reference.get();
      std::string wrong = Judge(*p.problem, reference, detail);
      if (!wrong.empty() && !reference.n_of_m.empty()) {
        const int64_t excused = ExcuseSelections(*p.problem, reference);
        wrong = Judge(*p.problem, reference, detail);
        detail += fmt::format(", without {} of {} rows, a selection within rounding", excused,
                              reference.lse.size());
      }
      if (wrong.empty() && !p.c.lambda.empty()) wrong = JudgeCounts(*p.problem, reference, detail);
      if (!wrong.empty() && Ambiguous(reference)) {
        ++ambiguous;
        detail += ", a decision within rounding: " + wrong;
        wrong.clear();
      }
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
  fmt::print("{} cases differed by a skip decision within {} ulp\n", ambiguous, kDecisionUlps);
  for (const GraphCheck& graph : CheckGraphs(seed, wanted)) {
    ++summary.cases;
    summary.failures += graph.fault.empty() ? 0 : 1;
    fmt::print("{} {}: {}\n", graph.fault.empty() ? "ok  " : "FAIL", graph.name, graph.fault);
  }
  summary.failures += CheckRefusals() + CheckIndexRefusals();
  return summary;
}

}  // namespace tamis::gpu_testing
