// A model of one attention layer whose outputs a test can work out in double precision.
#ifndef TAMIS_TESTS_REPORT_ONE_LAYER_MODEL_H_
#define TAMIS_TESTS_REPORT_ONE_LAYER_MODEL_H_

#include <array>
#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "tamis/error.h"
#include "tamis/model.h"

namespace tamis::testing {

inline constexpr int32_t kDim = 8;
inline constexpr int32_t kVocab = 11;

/// A small number that depends on everything given, in [-1, 1].
inline float Wave(int32_t a, int32_t b, int32_t c) {
  return static_cast<float>(std::sin(1.0 + 7.3 * a + 3.1 * b + 1.7 * c));
}
/// Query, key and value of a token at a position.
inline float Query(int32_t token, int32_t position, int32_t i) {
  return 3.0f * Wave(token, position % 5, i);
}
inline float Key(int32_t token, int32_t position, int32_t i) {
  return 2.0f * Wave(token + 20, position % 7, i);
}
inline float Value(int32_t token, int32_t position, int32_t i) {
  return 2.0f * Wave(token + 40, position % 3, i);
}
/// Weight of hidden state i in the logit of a token.
inline float Head(int32_t token, int32_t i) { return 3.0f * Wave(token + 60, 0, i); }

class OneLayerCache : public KvCache {
 public:
  explicit OneLayerCache(int32_t capacity) : capacity_(capacity) {}
  int32_t rows(int32_t) const override { return positions_; }
  int32_t positions() const override { return positions_; }
  int32_t capacity() const override { return capacity_; }
  DType dtype() const override { return DType::kF32; }
  size_t bytes() const override { return (k_.capacity() + v_.capacity()) * sizeof(float); }
  void Reserve(int32_t tokens) override {
    if (positions_ + tokens > capacity_) throw Error("past the capacity");
    k_.resize(static_cast<size_t>(positions_ + tokens) * kDim);
    v_.resize(static_cast<size_t>(positions_ + tokens) * kDim);
  }
  void Append(int32_t, int32_t tokens, const void* k, const void* v) override {
    const auto* keys = static_cast<const float*>(k);
    const auto* values = static_cast<const float*>(v);
    std::copy(keys, keys + tokens * kDim, k_.begin() + positions_ * kDim);
    std::copy(values, values + tokens * kDim, v_.begin() + positions_ * kDim);
  }
  void Advance(int32_t tokens) override { positions_ += tokens; }
  void Truncate(int32_t positions) override { positions_ = positions; }
  void Describe(int32_t, AttentionArguments& arguments) const override {
    const auto tokens = static_cast<int32_t>(k_.size()) / kDim;
    arguments.kv_heads = 1;
    arguments.key_tokens = tokens;
    arguments.k = {k_.data(), {int64_t{tokens} * kDim, kDim, kDim}};
    arguments.v = {v_.data(), {int64_t{tokens} * kDim, kDim, kDim}};
  }
  void Retain(int32_t, const KeepSet&) override { throw Error("nothing to retain"); }

 private:
  int32_t capacity_;
  int32_t positions_ = 0;
  std::vector<float> k_, v_;
};

class OneLayerModel : public Model {
 public:
  OneLayerModel() {
    config_.name = "one layer";
    config_.hidden = kDim;
    config_.vocab = kVocab;
    config_.layers = 1;
    config_.q_heads = config_.kv_heads = 1;
    config_.head_dim = kDim;
    config_.max_positions = 4096;
  }
  const ModelConfig& config() const override { return config_; }
  PolicyTarget policy_target() const override { return {{"model.layers.0.self_attn"}, 1, 1, kDim}; }
  std::unique_ptr<KvCache> NewCache(const KvCacheOptions& options) const override {
    return std::make_unique<OneLayerCache>(options.capacity);
  }
  void Forward(std::span<const SequenceStep> steps, PolicyAttention& attention,
               float* hidden) override {
    for (const SequenceStep& step : steps) {
      const auto tokens = static_cast<int32_t>(step.tokens.size());
      std::vector<float> q, k, v;
      for (int32_t t = 0; t < tokens; ++t) {
        const int32_t position = step.cache->positions() + t;
        for (int32_t i = 0; i < kDim; ++i) {
          q.push_back(Query(step.tokens[t], position, i));
          k.push_back(Key(step.tokens[t], position, i));
          v.push_back(Value(step.tokens[t], position, i));
        }
      }
      step.cache->Reserve(tokens);
      step.cache->Append(0, tokens, k.data(), v.data());
      AttentionArguments arguments;
      arguments.q_heads = 1;
      arguments.head_dim = kDim;
      arguments.query_tokens = tokens;
      arguments.phase =
          tokens == 1 && step.cache->positions() > 0 ? Phase::kDecode : Phase::kPrefill;
      const Strides strides{int64_t{tokens} * kDim, kDim, kDim};
      arguments.q = {q.data(), strides};
      arguments.o = {hidden, strides};
      step.cache->Describe(0, arguments);
      attention.Attend(0, arguments);
      step.cache->Advance(tokens);
      hidden += tokens * kDim;
    }
  }
  void Logits(const float* hidden, int32_t rows, float* logits) override {
    for (int32_t row = 0; row < rows; ++row) {
      for (int32_t token = 0; token < kVocab; ++token) {
        float sum = 0.0f;
        for (int32_t i = 0; i < kDim; ++i) sum += hidden[row * kDim + i] * Head(token, i);
        logits[row * kVocab + token] = sum;
      }
    }
  }
  const ForwardTimes& times() const override { return times_; }
  void ResetTimes() override {}
  size_t weight_bytes() const override { return 0; }
  size_t scratch_bytes() const override { return 0; }

 private:
  ModelConfig config_;
  ForwardTimes times_;
};

}  // namespace tamis::testing

#endif  // TAMIS_TESTS_REPORT_ONE_LAYER_MODEL_H_
