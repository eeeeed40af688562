#include <fmt/format.h>

#include <algorithm>

#include "attention/cpu/executor.h"
#ifdef TAMIS_WITH_CUDA
#include "attention/cuda/executor.h"
#endif
#include "attention/validate.h"
#include "base/aligned_buffer.h"
#include "base/check.h"
#include "tamis/attention.h"

namespace tamis {
namespace {

std::string_view VoteName(SkipVote vote) {
  return vote == SkipVote::kQueryHead ? "query head" : "GQA group";
}

std::string Describe(const TileGeometry& g) {
  return fmt::format("{}x{} by {} in {} split{}, {} keys", g.tile_rows, g.tile_columns,
                     VoteName(g.vote), g.splits, g.splits == 1 ? "" : "s",
                     g.order == KeyOrder::kAscending ? "ascending" : "descending");
}

void RequirePublished(const AttentionArguments& maxima, const TileRule& rule, Device device) {
  if (rule.skip_softmax.lambda == nullptr) return;
  std::vector<TileGeometry> published;
  for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    if (maxima.phases == nullptr && maxima.phase != phase) continue;
    for (const TileGeometry& g : PublishedGeometries(device, phase)) published.push_back(g);
  }
  const TileGeometry& geometry = rule.skip_softmax.geometry;
  if (std::find(published.begin(), published.end(), geometry) != published.end()) return;
  std::string choices;
  for (const TileGeometry& g : published) {
    choices += choices.empty() ? "" : "; ";
    choices += Describe(g);
  }
  Fail("skip-softmax geometry {} is not one the {} executor runs here; use {}", Describe(geometry),
       Name(device), choices);
}

AttentionPlan PlanCuda(const AttentionArguments& maxima, const TileIndexShape* index,
                       const TileRule& rule) {
#ifdef TAMIS_WITH_CUDA
  ValidateShape(maxima);
  ValidateRuleShape(rule);
  RequirePublished(maxima, rule, Device::kCuda);
  if (index != nullptr) ValidateIndexShape(maxima, *index, rule);
  cuda::RequireSupported(maxima, index, rule);
  AttentionPlan plan;
  plan.device = Device::kCuda;
  plan.workspace_bytes = cuda::WorkspaceBytes(maxima, index, rule);
  plan.path = cuda::PathName(maxima, index, rule);
  return plan;
#else
  (void)maxima, (void)index, (void)rule;
  Fail("device cuda asked for, but this build has no CUDA executor; use cpu");
#endif
}

void RunCuda([[maybe_unused]] const AttentionArguments& arguments,
             [[maybe_unused]] const TileIndex* index, [[maybe_unused]] const TileRule& rule,
             [[maybe_unused]] void* workspace, [[maybe_unused]] void* stream) {
#ifdef TAMIS_WITH_CUDA
  cuda::Run(arguments, index, rule, workspace, stream);
#endif
}

ThreadPool& PoolOf(const ExecutionContext& context) {
  Require(context.pool != nullptr, "no thread pool given; set ExecutionContext::pool");
  return *context.pool;
}

}  // namespace

std::vector<TileGeometry> PublishedGeometries(Device device, Phase phase) {
#ifdef TAMIS_WITH_CUDA
  if (device == Device::kCuda) return cuda::Geometries();  // one kernel for both phases
#endif
  if (device != Device::kCpu) return {};
  return cpu::Geometries(phase);
}

AttentionPlan PlanAttention(const AttentionArguments& maxima, const TileIndexShape* index,
                            const TileRule& rule, const ExecutionContext& context) {
  if (context.device == Device::kCuda) return PlanCuda(maxima, index, rule);
  const CpuIsa best = DetectCpuIsa();
  const CpuIsa isa = context.isa.value_or(best);
  Require(isa <= best, "instruction set {} asked for, but this machine runs {} at most", Name(isa),
          Name(best));
  ValidateShape(maxima);
  ValidateRuleShape(rule);
  RequirePublished(maxima, rule, Device::kCpu);
  if (index != nullptr) ValidateIndexShape(maxima, *index, rule);
  AttentionPlan plan;
  plan.device = Device::kCpu;
  plan.isa = isa;
  plan.workers = PoolOf(context).size();
  plan.workspace_bytes =
      cpu::WorkspaceBytes(cpu::VariantOf(isa), maxima, index, rule, plan.workers);
  plan.path = fmt::format("cpu/{}", Name(isa));
  return plan;
}

void RunAttention(const AttentionPlan& plan, const AttentionArguments& arguments,
                  const TileIndex* index, const TileRule& rule, void* workspace,
                  const ExecutionContext& context) {
  if (plan.device == Device::kCuda) {
    return RunCuda(arguments, index, rule, workspace, context.stream);
  }
  ThreadPool& pool = PoolOf(context);
  Require(pool.size() <= plan.workers, "planned for {} threads, run on {}; plan again",
          plan.workers, pool.size());
  cpu::Run(cpu::VariantOf(plan.isa), arguments, index, rule, workspace, pool);
}

AttentionPlan Attend(const AttentionArguments& arguments, const TileIndex* index,
                     const TileRule& rule, const ExecutionContext& context) {
  Require(context.device == Device::kCpu,
          "Attend reads arrays on the CPU; on {} use PlanAttention and RunAttention",
          Name(context.device));
  AttentionPlan plan =
      PlanAttention(arguments, index == nullptr ? nullptr : &index->shape, rule, context);
  ValidateAttention(arguments, index, rule);
  const AlignedBuffer workspace(std::max<size_t>(plan.workspace_bytes, 1));
  RunAttention(plan, arguments, index, rule, workspace.data(), context);
  return plan;
}

}  // namespace tamis
