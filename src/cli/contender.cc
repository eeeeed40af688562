#include "cli/contender.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <random>

#include "base/aligned_buffer.h"
#include "report/compare_report.h"

namespace tamis::cli {
namespace {

/// Samples shorter than this are mostly clock and scheduling noise.
constexpr double kShortestSample = 0.01;
constexpr int32_t kBlock = 128;

double SecondsOf(const Contender& contender, int64_t calls) {
  const auto start = std::chrono::steady_clock::now();
  for (int64_t i = 0; i < calls; ++i) contender.call();
  if (contender.wait) contender.wait();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return seconds.count() / static_cast<double>(calls);
}

}  // namespace

Contender PolicyContender(const NamedPolicy& policy, const AttentionArguments& arguments,
                          const ExecutionContext& context) {
  const PolicyTarget target{
      {"model.layers.0.self_attn"}, arguments.q_heads, arguments.kv_heads, arguments.head_dim};
  PolicyAttention counted(policy.policy, target, context);
  counted.Attend(0, arguments);
  const PhaseStatistics statistics = counted.statistics().Total(arguments.phase);

  Contender contender;
  contender.label = policy.label;
  contender.counts = statistics.counts;
  contender.path = counted.path();
  const auto timed = std::make_shared<PolicyAttention>(
      policy.policy, target, context, PolicyAttentionOptions{.collect_counts = false});
  contender.call = [timed, arguments] { timed->Attend(0, arguments); };
  contender.call();
  timed->ResetStatistics();
  contender.call();  // warm: what selecting costs, beside attending
  contender.select_share = SelectShare(timed->statistics().Total(arguments.phase));
  return contender;
}

RandomLists::RandomLists(double density, const AttentionArguments& arguments)
    : label(fmt::format("random blocks {}", density)), counts(DenseCounts(arguments)) {
  TileIndexShape shape;
  shape.q_heads = arguments.q_heads;
  shape.query_block = shape.key_block = kBlock;
  shape.max_query_tokens = arguments.query_tokens;
  shape.max_key_tokens = arguments.key_tokens;
  index.Reset(shape);
  counts.visited_pairs = 0;
  std::mt19937_64 random(1);
  double wanted_pairs = 0.0;  // of the rows so far
  const int32_t first_position = arguments.key_tokens - arguments.query_tokens;
  for (int32_t head = 0; head < shape.q_heads; ++head) {
    for (int32_t block = 0; block < shape.query_blocks(); ++block) {
      const int32_t first = block * kBlock + first_position;
      const int32_t end = std::min(first + kBlock, arguments.key_tokens);
      const int32_t diagonal = (end - 1) / kBlock;
      const int64_t row = shape.Row(0, head, block);
      int64_t allowed = 0;
      const auto visit = [&](int32_t key_block) {
        index.SetBlock(row, key_block);
        for (int32_t query = first; query < end; ++query) {
          counts.visited_pairs += std::clamp(query + 1 - key_block * kBlock, 0, kBlock);
        }
      };
      for (int32_t query = first; query < end; ++query) allowed += query + 1;
      wanted_pairs += density * static_cast<double>(allowed);
      visit(diagonal);
      // A shuffle's first places; modulo keeps it the same with every standard library.
      std::vector<int32_t> earlier(static_cast<size_t>(diagonal));
      std::iota(earlier.begin(), earlier.end(), 0);
      const double block_pairs = static_cast<double>(end - first) * kBlock;
      for (int32_t i = 0; i < diagonal; ++i) {
        const double missing = wanted_pairs - static_cast<double>(counts.visited_pairs);
        if (missing < block_pairs / 2) break;
        const auto other = i + static_cast<int32_t>(random() % static_cast<uint64_t>(diagonal - i));
        std::swap(earlier[i], earlier[other]);
        visit(earlier[i]);
      }
    }
  }
  counts.kept_pairs = counts.visited_pairs;
}

Contender BlockListContender(double density, const AttentionArguments& arguments,
                             const ExecutionContext& context) {
  const auto lists = std::make_shared<RandomLists>(density, arguments);
  const TileIndexShape& shape = lists->index.shape();
  const AttentionPlan plan = PlanAttention(arguments, &shape, {}, context);
  Contender contender;
  contender.label = lists->label;
  contender.counts = lists->counts;
  contender.path = plan.path;
  const auto workspace = std::make_shared<AlignedBuffer>(plan.workspace_bytes);
  contender.call = [lists, workspace, plan, arguments, context] {
    const TileIndex blocks = lists->index.view();
    RunAttention(plan, arguments, &blocks, {}, workspace->data(), context);
  };
  contender.call();
  return contender;
}

AttentionCounts DenseCounts(const AttentionArguments& arguments) {
  const int64_t queries = arguments.query_tokens, keys = arguments.key_tokens;
  AttentionCounts counts;
  counts.allowed_pairs = (queries * (keys - queries) + queries * (queries + 1) / 2) *
                         int64_t{arguments.batch} * arguments.q_heads;
  counts.visited_pairs = counts.kept_pairs = counts.allowed_pairs;
  return counts;
}

void TimeContenders(std::vector<Contender>& contenders, int repeats,
                    const std::function<void()>& on_sample) {
  std::vector<int64_t> calls;
  for (const Contender& contender : contenders) {
    const double once = SecondsOf(contender, 1);
    calls.push_back(std::max<int64_t>(1, std::llround(kShortestSample / std::max(once, 1e-7))));
  }
  for (int repeat = 0; repeat < repeats; ++repeat) {
    for (size_t i = 0; i < contenders.size(); ++i) {
      const size_t c = repeat % 2 == 0 ? i : contenders.size() - 1 - i;
      contenders[c].seconds.push_back(SecondsOf(contenders[c], calls[c]));
      on_sample();
    }
  }
}

}  // namespace tamis::cli
