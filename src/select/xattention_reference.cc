#include "select/xattention_reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "attention/reference.h"
#include "attention/sequence_view.h"

namespace tamis {
namespace {

/// Reads Q and K of one sequence, pair by pair.
class Scores {
 public:
  Scores(const AttentionArguments& arguments, int32_t b)
      : sequence(arguments, b), arguments_(arguments), b_(b) {}

  const SequenceView sequence;

  double Dot(int32_t q_head, int32_t query, int32_t key) const {
    const ConstTensor& k = arguments_.paged.page_size != 0 ? arguments_.paged.k : arguments_.k;
    const int64_t q_row = sequence.QueryOffset(arguments_.q.stride, query, q_head);
    const int64_t k_row = sequence.KeyOffset(k.stride, key, q_head / arguments_.group());
    double sum = 0.0;
    for (int32_t c = 0; c < arguments_.head_dim; ++c) {
      sum += Element(arguments_.dtype, arguments_.q.data, q_row + c) *
             Element(arguments_.kv_dtype, k.data, k_row + c);
    }
    return sum;
  }

  bool Sees(int32_t query, int32_t key) const { return MaskAllows(arguments_, b_, 0, query, key); }

 private:
  static double Element(DType dtype, const void* data, int64_t index) {
    float value = 0.0f;
    const auto* bytes = static_cast<const unsigned char*>(data);
    ConvertToFloat(dtype, bytes + index * int64_t(SizeOf(dtype)), &value, 1);
    return value;
  }

  const AttentionArguments& arguments_;
  int32_t b_;
};

int32_t KeyBlocks(const SequenceView& sequence) {
  return (sequence.keys() + kXAttentionBlock - 1) / kXAttentionBlock;
}

/// L(i,j), or -infinity where no pair of the two groups is allowed.
double GroupLogit(const Scores& scores, double scale, int32_t stride, int32_t q_head, int32_t i,
                  int32_t j) {
  bool allowed = false;
  for (int32_t a = 0; a < stride && stride * i + a < scores.sequence.queries(); ++a) {
    for (int32_t c = 0; c < stride && stride * j + c < scores.sequence.keys(); ++c) {
      allowed = allowed || scores.Sees(stride * i + a, stride * j + c);
    }
  }
  if (!allowed) return -std::numeric_limits<double>::infinity();
  double sum = 0.0;
  int32_t terms = 0;
  for (int32_t t = 0; t < stride; ++t) {
    const int32_t query = stride * i + stride - 1 - t;
    const int32_t key = stride * j + t;
    if (query >= scores.sequence.queries() || key >= scores.sequence.keys()) continue;
    sum += scores.Dot(q_head, query, key);
    ++terms;
  }
  return terms == 0 ? 0.0 : scale * sum / terms;
}

}  // namespace

std::vector<double> XAttentionReferenceMass(const AttentionArguments& arguments, int32_t stride,
                                            int32_t sequence, int32_t q_head, int32_t query_block) {
  const Scores scores(arguments, sequence);
  const double scale = arguments.softmax_scale != 0.0f ? double{arguments.softmax_scale}
                                                       : 1.0 / std::sqrt(arguments.head_dim);
  const int32_t block_groups = kXAttentionBlock / stride;
  const int32_t key_groups = (scores.sequence.keys() + stride - 1) / stride;
  std::vector<double> mass(KeyBlocks(scores.sequence), 0.0);
  for (int32_t i = query_block * block_groups; i < (query_block + 1) * block_groups; ++i) {
    if (i * stride >= scores.sequence.queries()) break;
    std::vector<double> logits(key_groups);
    double maximum = -std::numeric_limits<double>::infinity();
    for (int32_t j = 0; j < key_groups; ++j) {
      logits[j] = GroupLogit(scores, scale, stride, q_head, i, j);
      maximum = std::max(maximum, logits[j]);
    }
    if (std::isinf(maximum)) continue;
    double total = 0.0;
    for (double logit : logits) total += std::exp(logit - maximum);
    for (int32_t j = 0; j < key_groups; ++j) {
      mass[j / block_groups] += std::exp(logits[j] - maximum) / total;
    }
  }
  return mass;
}

std::vector<bool> XAttentionForcedBlocks(const AttentionArguments& arguments,
                                         const XAttentionParameters& parameters, int32_t sequence,
                                         int32_t query_block) {
  const Scores scores(arguments, sequence);
  std::vector<bool> forced(KeyBlocks(scores.sequence), false);
  const int32_t first = query_block * kXAttentionBlock;
  const int32_t last = std::min(first + kXAttentionBlock, scores.sequence.queries());
  for (int32_t query = first; query < last; ++query) {
    if (parameters.keep_sink && scores.sequence.keys() > 0 && scores.Sees(query, 0)) {
      forced[0] = true;
    }
    const int64_t position = scores.sequence.QueryPosition(query);
    const bool recent =
        parameters.keep_recent || arguments.mask.causality != Causality::kBidirectional;
    if (recent && position >= 0 && position < scores.sequence.keys()) {
      forced[position / kXAttentionBlock] = true;
    }
  }
  return forced;
}

std::vector<bool> XAttentionReferenceBlocks(const AttentionArguments& arguments,
                                            const XAttentionParameters& parameters,
                                            int32_t sequence, int32_t q_head, int32_t query_block,
                                            const std::vector<double>& mass) {
  const double threshold = parameters.threshold[parameters.threshold.size() == 1 ? 0 : q_head];
  std::vector<bool> taken = XAttentionForcedBlocks(arguments, parameters, sequence, query_block);
  std::vector<int32_t> order(mass.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](int32_t a, int32_t b) { return mass[a] > mass[b]; });
  const double total = std::accumulate(mass.begin(), mass.end(), 0.0);
  double kept = 0.0;
  for (size_t j = 0; j < mass.size(); ++j) kept += taken[j] ? mass[j] : 0.0;
  for (int32_t block : order) {
    if (threshold < 1.0 && kept >= threshold * total) break;
    if (taken[block] || mass[block] == 0.0) continue;
    taken[block] = true;
    kept += mass[block];
  }
  return taken;
}

}  // namespace tamis
