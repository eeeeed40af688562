// Problems whose scores a test writes down.
#ifndef TAMIS_TESTS_ATTENTION_SCORE_PROBLEM_H_
#define TAMIS_TESTS_ATTENTION_SCORE_PROBLEM_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "attention/reference.h"
#include "tamis/attention.h"

namespace tamis::attention_testing {

/// One sequence in f32 whose score (head, query, key) is exactly `score` of it: queries are zero
/// and the scores come in as bias. Every key is visible until a test changes `arguments.mask`;
/// value row j is (1, j, 0, ...), so output 0 is the sum of probabilities and output 1 the mean
/// key.
class ScoreProblem {
 public:
  using Score = std::function<float(int32_t head, int32_t query, int32_t key)>;

  ScoreProblem(int32_t q_heads, int32_t kv_heads, int32_t queries, int32_t keys, const Score& score)
      : q_(static_cast<size_t>(q_heads) * queries * kDim, 0.0f),
        k_(static_cast<size_t>(kv_heads) * keys * kDim, 1.0f),
        v_(k_.size(), 0.0f),
        o_(q_.size()) {
    AttentionArguments& a = arguments;
    a.q_heads = q_heads;
    a.kv_heads = kv_heads;
    a.head_dim = kDim;
    a.query_tokens = queries;
    a.key_tokens = keys;
    a.mask.causality = Causality::kBidirectional;
    for (int32_t head = 0; head < q_heads; ++head) {
      for (int32_t i = 0; i < queries; ++i) {
        for (int32_t j = 0; j < keys; ++j) bias_.push_back(score(head, i, j));
      }
    }
    for (int32_t j = 0; j < keys * kv_heads; ++j) {
      v_[j * kDim] = 1.0f;
      v_[j * kDim + 1] = static_cast<float>(j / kv_heads);
    }
    a.q = {q_.data(), {.row = q_heads * kDim, .head = kDim}};
    a.k = {k_.data(), {.row = kv_heads * kDim, .head = kDim}};
    a.v = {v_.data(), {.row = kv_heads * kDim, .head = kDim}};
    a.o = {o_.data(), {.row = q_heads * kDim, .head = kDim}};
    a.bias = {bias_.data(), 0, int64_t{queries} * keys, keys};
  }

  /// Validates and runs the reference.
  ReferenceResult Run(const TileIndex* index, const TileRule& rule) const {
    ValidateAttention(arguments, index, rule);
    return ReferenceAttention(arguments, index, rule);
  }

  /// The keys that (head, query) kept.
  std::vector<int32_t> Kept(const ReferenceResult& result, int32_t head, int32_t query) const {
    const AttentionArguments& a = arguments;
    const int64_t words = (a.key_tokens + 31) / 32;
    const uint32_t* row = result.executed.data() + (int64_t{head} * a.query_tokens + query) * words;
    std::vector<int32_t> keys;
    for (int32_t j = 0; j < a.key_tokens; ++j) {
      if ((row[j / 32] >> (j % 32) & 1u) != 0) keys.push_back(j);
    }
    return keys;
  }

  AttentionArguments arguments;

 private:
  static constexpr int32_t kDim = 8;
  std::vector<float> q_, k_, v_, o_, bias_;
};

}  // namespace tamis::attention_testing

#endif  // TAMIS_TESTS_ATTENTION_SCORE_PROBLEM_H_
