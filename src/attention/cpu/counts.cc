#include "attention/cpu/counts.h"

#include <algorithm>
#include <atomic>

#include "attention/cpu/index_row.h"
#include "attention/cpu/visible.h"

namespace tamis::cpu {
namespace {

/// Counts one tile row (the queries [first, last) of one head).
class TileRowCounter {
 public:
  TileRowCounter(const Call& call, const SequenceView& sequence, int32_t b, int32_t head,
                 int32_t first, int32_t last)
      : call_(call),
        sequence_(sequence),
        visibility_(call, sequence, b),
        index_row_(call.index, b, head, first, sequence.keys()),
        head_(head),
        first_(first),
        last_(last) {}

  AttentionCounts Count() {
    const Span top = visibility_.SpanOf(first_);
    const Span bottom = visibility_.SpanOf(last_ - 1);
    for (int32_t query = first_; query < last_; ++query) CountAllowed(query);
    const int32_t steps = (sequence_.keys() + kStepKeys - 1) / kStepKeys;
    const int32_t end = std::max(bottom.end, bottom.sink_end);
    for (int32_t s = 0; s < steps && s * kStepKeys < end; ++s) {
      StepKeys step{.first = s * kStepKeys,
                    .count = std::min(kStepKeys, sequence_.keys() - s * kStepKeys),
                    .visited = index_row_.Visited(s)};
      if (!Any(step.visited)) continue;
      CountStep(step, top, bottom);
    }
    CountColumns(top, bottom);
    return counts_;
  }

 private:
  void CountAllowed(int32_t query) {
    const Span span = visibility_.SpanOf(query);
    if (!call_.has_pair_mask) {
      counts_.allowed_pairs += span.size();
      return;
    }
    for (int32_t first = 0; first < sequence_.keys(); first += kStepKeys) {
      const int32_t count = std::min(kStepKeys, sequence_.keys() - first);
      const StepKeys step{.first = first, .count = count, .visited = BitRange(0, count)};
      counts_.allowed_pairs += cpu::Count(visibility_.Bits(span, step, query, head_));
    }
  }

  void CountStep(const StepKeys& step, const Span& top, const Span& bottom) {
    const int32_t width = call_.tiles.columns;
    const int32_t last_key = step.Key(step.count - 1) + 1;
    if (!call_.has_pair_mask && top.Covers(step.Key(0), last_key) &&
        bottom.Covers(step.Key(0), last_key)) {
      counts_.visited_pairs += int64_t{last_ - first_} * cpu::Count(step.visited);
      for (int32_t begin = 0; begin < step.count; begin += width) {
        counts_.visited_tiles += Any(step.visited & BitRange(begin, begin + width));
      }
      return;
    }
    RowMask any = {};
    for (int32_t query = first_; query < last_; ++query) {
      const RowMask bits = visibility_.Bits(visibility_.SpanOf(query), step, query, head_);
      counts_.visited_pairs += cpu::Count(bits);
      any = any | bits;
    }
    for (int32_t begin = 0; begin < step.count; begin += width) {
      counts_.visited_tiles += Any(any & BitRange(begin, begin + width));
    }
  }

  void CountColumns(const Span& top, const Span& bottom) {
    int32_t keys[kStepKeys];
    while (index_row_.has_columns()) {
      const int32_t count = index_row_.NextColumns(keys, kStepKeys);
      if (count == 0) return;
      CountStep({.count = count, .gathered = keys, .visited = BitRange(0, count)}, top, bottom);
    }
  }

  const Call& call_;
  const SequenceView& sequence_;
  Visibility visibility_;
  IndexRow index_row_;
  int32_t head_, first_, last_;
  AttentionCounts counts_;
};

/// Heads that share every count: all of them without an index and pair masks, else the heads of an
/// index row, else one.
int32_t HeadsAlike(const Call& call) {
  if (call.has_pair_mask) return 1;
  return call.index == nullptr ? call.arguments.q_heads : call.index->shape.heads_per_row;
}

void Add(int64_t& total, int64_t value) {
  std::atomic_ref<int64_t>(total).fetch_add(value, std::memory_order_relaxed);
}

}  // namespace

void CountVisited(const Call& call) {
  const AttentionArguments& a = call.arguments;
  if (a.counts == nullptr) return;
  std::fill_n(a.counts, int64_t{a.batch} * a.q_heads, AttentionCounts{});
  const int32_t heads = HeadsAlike(call);
  const int64_t head_sets = a.q_heads / heads;
  const int64_t tile_rows = (a.query_tokens + call.tiles.rows - 1) / call.tiles.rows;
  struct Job {
    const Call& call;
    int32_t heads;
    int64_t head_sets, tile_rows;
  } job{call, heads, head_sets, tile_rows};
  call.pool->ParallelFor(a.batch * head_sets * tile_rows, [&job](int64_t item, int) {
    const AttentionArguments& a = job.call.arguments;
    const auto b = static_cast<int32_t>(item / (job.head_sets * job.tile_rows));
    const auto head = static_cast<int32_t>(item / job.tile_rows % job.head_sets) * job.heads;
    const SequenceView sequence(a, b);
    const auto first = static_cast<int32_t>(item % job.tile_rows) * job.call.tiles.rows;
    if (first >= sequence.queries()) return;
    const int32_t last = std::min(first + job.call.tiles.rows, sequence.queries());
    const AttentionCounts counts = TileRowCounter(job.call, sequence, b, head, first, last).Count();
    for (int32_t h = head; h < head + job.heads; ++h) {
      AttentionCounts& total = a.counts[int64_t{b} * a.q_heads + h];
      Add(total.allowed_pairs, counts.allowed_pairs);
      Add(total.visited_pairs, counts.visited_pairs);
      Add(total.kept_pairs, counts.visited_pairs);
      Add(total.visited_tiles, counts.visited_tiles);
    }
  });
  const float* lambda = call.rule.skip_softmax.lambda;
  if (lambda == nullptr) return;
  for (int32_t b = 0; b < a.batch; ++b) {
    for (int32_t h = 0; h < a.q_heads; ++h) {
      a.counts[int64_t{b} * a.q_heads + h].lambda_saturated = lambda[b] >= 1.0f ? 1 : 0;
    }
  }
}

}  // namespace tamis::cpu
