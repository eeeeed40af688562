// A tokenizer, a cache and a model small enough to work out by hand.
#ifndef TAMIS_TESTS_GENERATE_FAKES_H_
#define TAMIS_TESTS_GENERATE_FAKES_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tamis/error.h"
#include "tamis/model.h"
#include "tamis/tokenizer.h"

namespace tamis::testing {

/// Ids 0..n-1 are the pieces given; `stop` ids end a generation. Encode is greedy, longest first.
class PieceTokenizer : public Tokenizer {
 public:
  explicit PieceTokenizer(std::vector<std::string> pieces, std::vector<int32_t> stop = {})
      : pieces_(std::move(pieces)), stop_(std::move(stop)) {}

  std::vector<int32_t> Encode(std::string_view text, bool, bool) const override {
    std::vector<int32_t> ids;
    while (!text.empty()) {
      int32_t best = -1;
      for (int32_t id = 0; id < vocab_size(); ++id) {
        const std::string& piece = pieces_[id];
        if (!piece.empty() && text.starts_with(piece) &&
            (best < 0 || piece.size() > pieces_[best].size())) {
          best = id;
        }
      }
      if (best < 0) throw Error("no piece for: " + std::string(text));
      ids.push_back(best);
      text.remove_prefix(pieces_[best].size());
    }
    return ids;
  }
  std::string Decode(std::span<const int32_t> ids, bool) const override {
    std::string text;
    for (int32_t id : ids) text += pieces_.at(id);
    return text;
  }
  int32_t vocab_size() const override { return static_cast<int32_t>(pieces_.size()); }
  std::string_view TokenText(int32_t id) const override { return pieces_.at(id); }
  int32_t bos_id() const override { return -1; }
  std::span<const int32_t> stop_ids() const override { return stop_; }
  std::string Summary() const override { return "pieces"; }
  bool has_chat_template() const override { return false; }
  std::string RenderChat(std::span<const ChatMessage>) const override {
    throw Error("no chat template");
  }

 private:
  std::vector<std::string> pieces_;
  std::vector<int32_t> stop_;
};

/// Counts tokens; holds nothing.
class CountingCache : public KvCache {
 public:
  explicit CountingCache(int32_t capacity) : capacity_(capacity) {}
  int32_t rows(int32_t) const override { return positions_; }
  int32_t positions() const override { return positions_; }
  int32_t capacity() const override { return capacity_; }
  DType dtype() const override { return DType::kF32; }
  size_t bytes() const override { return 0; }
  void Reserve(int32_t tokens) override {
    if (positions_ + tokens > capacity_) throw Error("past the capacity");
  }
  void Append(int32_t, int32_t, const void*, const void*) override {}
  void Advance(int32_t tokens) override { positions_ += tokens; }
  void Truncate(int32_t positions) override { positions_ = positions; }
  void Describe(int32_t, AttentionArguments&) const override {}
  void Retain(int32_t, const KeepSet&) override { throw Error("nothing to retain"); }

 private:
  int32_t capacity_;
  int32_t positions_ = 0;
};

/// Says `script` whatever it reads: the token after position prompt_tokens - 1 + i is script[i].
/// Hidden states are positions. Keeps the sizes of the steps it was given.
class ScriptedModel : public Model {
 public:
  ScriptedModel(int32_t vocab, int32_t prompt_tokens, std::vector<int32_t> script)
      : prompt_tokens_(prompt_tokens), script_(std::move(script)) {
    config_.hidden = 1;
    config_.vocab = vocab;
    config_.layers = 1;
    config_.q_heads = config_.kv_heads = 1;
    config_.head_dim = 8;
  }

  const ModelConfig& config() const override { return config_; }
  PolicyTarget policy_target() const override { return {{"model.layers.0.self_attn"}, 1, 1, 8}; }
  std::unique_ptr<KvCache> NewCache(const KvCacheOptions& options) const override {
    return std::make_unique<CountingCache>(options.capacity);
  }
  void Forward(std::span<const SequenceStep> steps, PolicyAttention&, float* hidden) override {
    for (const SequenceStep& step : steps) {
      const auto tokens = static_cast<int32_t>(step.tokens.size());
      step.cache->Reserve(tokens);
      for (int32_t i = 0; i < tokens; ++i) {
        *hidden++ = static_cast<float>(step.cache->positions() + i);
      }
      step.cache->Advance(tokens);
      steps_.push_back(tokens);
      seen_.insert(seen_.end(), step.tokens.begin(), step.tokens.end());
    }
  }
  void Logits(const float* hidden, int32_t rows, float* logits) override {
    for (int32_t row = 0; row < rows; ++row) {
      for (int32_t id = 0; id < config_.vocab; ++id) logits[row * config_.vocab + id] = 0.0f;
      const auto at = static_cast<size_t>(hidden[row]) - (prompt_tokens_ - 1);
      logits[row * config_.vocab + script_.at(at)] = 50.0f;
    }
  }
  const ForwardTimes& times() const override { return times_; }
  void ResetTimes() override {}
  size_t weight_bytes() const override { return 0; }
  size_t scratch_bytes() const override { return 0; }

  const std::vector<int32_t>& steps() const { return steps_; }
  const std::vector<int32_t>& seen() const { return seen_; }

 private:
  ModelConfig config_;
  int32_t prompt_tokens_;
  std::vector<int32_t> script_;
  std::vector<int32_t> steps_;
  std::vector<int32_t> seen_;
  ForwardTimes times_;
};

}  // namespace tamis::testing

#endif  // TAMIS_TESTS_GENERATE_FAKES_H_
