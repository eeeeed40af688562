#include "attention/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "attention/sequence_view.h"

namespace tamis::attention_testing {

ErrorMetrics CompareOutputs(const Problem& problem, const ReferenceResult& reference) {
  const AttentionArguments& a = problem.arguments;
  ErrorMetrics metrics;
  double squares = 0.0, reference_squares = 0.0;
  int64_t elements = 0;
  for (int32_t b = 0; b < a.batch; ++b) {
    const SequenceView sequence(a, b);
    for (int32_t head = 0; head < a.q_heads; ++head) {
      for (int32_t query = 0; query < sequence.queries(); ++query) {
        const int64_t row = (int64_t{b} * a.q_heads + head) * a.query_tokens + query;
        for (int32_t d = 0; d < a.dim_v(); ++d) {
          const double expected = reference.o[row * a.dim_v() + d];
          const double actual = problem.Output(b, head, query, d);
          if (!std::isfinite(actual)) {
            ++metrics.wrong_kind;
            continue;
          }
          const double error = std::abs(actual - expected);
          metrics.max_abs = std::max(metrics.max_abs, error);
          squares += error * error;
          reference_squares += expected * expected;
          ++elements;
        }
        if (a.lse == nullptr) continue;
        const double expected = reference.lse[row];
        const double actual = problem.Lse(b, head, query);
        if (std::isfinite(expected) && std::isfinite(actual)) {
          metrics.max_lse = std::max(metrics.max_lse, std::abs(actual - expected));
        } else if (!(actual == expected)) {
          ++metrics.wrong_kind;
        }
      }
    }
  }
  if (elements > 0) {
    metrics.rms = std::sqrt(squares / static_cast<double>(elements));
    metrics.reference_rms = std::sqrt(reference_squares / static_cast<double>(elements));
  }
  return metrics;
}

KeptComparison CompareExecuted(const Problem& problem, const ReferenceResult& reference,
                               double ulps) {
  const AttentionArguments& a = problem.arguments;
  const int64_t words = (a.key_tokens + 31) / 32;
  const double relative = ulps * 0x1p-23;
  // Pairs that a decision too close to call covers, as an executed mask.
  std::vector<uint32_t> close(reference.executed.size(), 0u);
  const auto cover = [&](int32_t b, int32_t head, int32_t query, int32_t first, int32_t last) {
    uint32_t* row =
        close.data() + ((int64_t{b} * a.q_heads + head) * a.query_tokens + query) * words;
    for (int32_t key = first; key <= last; ++key) row[key / 32] |= 1u << (key % 32);
  };
  for (const NOfMDecision& d : reference.n_of_m) {
    if (d.gap <= relative * d.magnitude) {
      cover(d.sequence, d.head, d.query, d.first_key, d.last_key);
    }
  }
  for (const SkipDecision& d : reference.skip) {
    if (d.gap > relative * d.magnitude) continue;
    for (int32_t head = d.first_head; head < d.first_head + d.heads; ++head) {
      for (int32_t query = d.first_query; query < d.first_query + d.queries; ++query) {
        cover(d.sequence, head, query, d.first_key, d.last_key);
      }
    }
  }
  KeptComparison result;
  for (size_t word = 0; word < reference.executed.size(); ++word) {
    const uint32_t expected = reference.executed[word], actual = problem.executed()[word];
    result.pairs += __builtin_popcount(expected);
    const uint32_t differing = expected ^ actual;
    result.differing += __builtin_popcount(differing);
    const uint32_t unexplained = ulps > 0 ? differing & ~close[word] : differing;
    if (unexplained == 0) continue;
    if (result.unexplained == 0) {
      const int64_t row = static_cast<int64_t>(word) / words;
      const int bit = __builtin_ctz(unexplained);
      result.first_unexplained =
          fmt::format("sequence {}, head {}, query {}, key {}: {} by the reference",
                      row / a.query_tokens / a.q_heads, row / a.query_tokens % a.q_heads,
                      row % a.query_tokens, static_cast<int64_t>(word) % words * 32 + bit,
                      (expected >> bit & 1u) != 0 ? "kept" : "dropped");
    }
    result.unexplained += __builtin_popcount(unexplained);
  }
  return result;
}

}  // namespace tamis::attention_testing
