#include "attention/cpu/call.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <numbers>

namespace tamis::cpu {
namespace {

/// About as much as the last-level cache of a processor with eight cores.
constexpr int64_t kStreamedBytes = int64_t{32} << 20;

}  // namespace

Call::Call(Variant variant, const AttentionArguments& arguments, const TileIndex* index,
           const TileRule& rule, ThreadPool* pool)
    : arguments(arguments),
      index(index),
      rule(rule),
      pool(pool),
      kernels(SelectKernels(variant, arguments.dtype, arguments.kv_dtype)),
      tiles(TileSizesOf(index, rule)),
      decode_fetches(DecodeFetchesOf(DetectCpuFamily())) {
  const double exact_scale = arguments.softmax_scale != 0.0f
                                 ? double{arguments.softmax_scale}
                                 : 1.0 / std::sqrt(static_cast<double>(arguments.head_dim));
  scale = static_cast<float>(exact_scale);
  adjusts_scores = arguments.softcap > 0.0f || arguments.bias.data != nullptr;
  factor = static_cast<float>((adjusts_scores ? 1.0 : exact_scale) * std::numbers::log2e_v<double>);
  natural_score = adjusts_scores ? 1.0f : scale;
  counts_drops = arguments.counts != nullptr || arguments.executed != nullptr;
  streams_output = int64_t{arguments.batch} * arguments.query_tokens * arguments.q_heads *
                       arguments.dim_v() * static_cast<int64_t>(SizeOf(arguments.dtype)) >=
                   kStreamedBytes;
  has_pair_mask =
      arguments.mask.keep != nullptr || (arguments.bias.data != nullptr && counts_drops);
}

void AddDrops(const Call& call, int32_t b, int32_t head, const Drops& drops) {
  if (call.arguments.counts == nullptr) return;
  AttentionCounts& counts = call.arguments.counts[int64_t{b} * call.arguments.q_heads + head];
  std::atomic_ref<int64_t>(counts.kept_pairs).fetch_sub(drops.pairs, std::memory_order_relaxed);
  std::atomic_ref<int64_t>(counts.skipped_tiles).fetch_add(drops.tiles, std::memory_order_relaxed);
}

bool SkipThreshold(const Call& call, int32_t b, float* threshold) {
  const float* lambda = call.rule.skip_softmax.lambda;
  if (lambda == nullptr || !(lambda[b] > 0.0f && lambda[b] < 1.0f)) return false;
  *threshold = static_cast<float>(std::log(double{lambda[b]}) / double{call.natural_score});
  return true;
}

float FinishSum(const Call& call, const SequenceView& sequence, int32_t query, int32_t head,
                float base, float sum) {
  const AttentionArguments& a = call.arguments;
  // Never 0 for a sum that is not, which would hide a NaN among the values.
  constexpr float kSmallest = std::numeric_limits<float>::denorm_min();
  if (a.sink_logits == nullptr && a.lse == nullptr) {
    return sum != 0.0f ? std::max(1.0f / sum, kSmallest) : 0.0f;
  }
  float scale = 0.0f;
  float lse = -std::numeric_limits<float>::infinity();
  if (sum != 0.0f) {
    double total = double{sum};
    double top = double{base};
    double shrink = 1.0;
    if (a.sink_logits != nullptr) {
      const double sink = double{a.sink_logits[head]} * std::numbers::log2e_v<double>;
      top = std::max(top, sink);
      shrink = std::exp2(double{base} - top);
      total = total * shrink + std::exp2(sink - top);
    }
    scale = std::max(static_cast<float>(shrink / total), kSmallest);
    if (a.lse != nullptr) {
      lse = static_cast<float>((top + std::log2(total)) * std::numbers::ln2_v<double>);
    }
  }
  if (a.lse != nullptr) a.lse[sequence.QueryOffset(a.lse_stride, query, head)] = lse;
  return scale;
}

QueryRows QueryRowsOf(const Call& call, const SequenceView& sequence, int32_t query, int32_t count,
                      int32_t head) {
  const AttentionArguments& a = call.arguments;
  const auto element = static_cast<int64_t>(SizeOf(a.dtype));
  return {.dtype = a.dtype,
          .rows = static_cast<const char*>(a.q.data) +
                  sequence.QueryOffset(a.q.stride, query, head) * element,
          .stride = a.q.stride.row * element,
          .count = count,
          .dim = a.head_dim};
}

OutputRows OutputRowsOf(const Call& call, const SequenceView& sequence, int32_t query,
                        int32_t count, int32_t head, const float* scales) {
  const AttentionArguments& a = call.arguments;
  const auto element = static_cast<int64_t>(SizeOf(a.dtype));
  return {.dtype = a.dtype,
          .rows = static_cast<char*>(a.o.data) +
                  sequence.QueryOffset(a.o.stride, query, head) * element,
          .stride = a.o.stride.row * element,
          .count = count,
          .dim = a.dim_v(),
          .scales = scales,
          .stream = false};
}

}  // namespace tamis::cpu
