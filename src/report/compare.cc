#include "report/compare.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "base/check.h"
#include "report/quality_pass.h"

namespace tamis {
namespace {

/// A decoded token costs a forward pass of its own: about so many tokens of a long prefill.
constexpr double kDecodeWeight = 8.0;

class Comparison {
 public:
  Comparison(Model& model, const Tokenizer& tokenizer, const ExecutionContext& context,
             std::span<const int32_t> prompt, std::span<const NamedPolicy> policies,
             const CompareOptions& options, const CompareProgress& progress)
      : model_(model),
        tokenizer_(tokenizer),
        context_(context),
        prompt_(prompt),
        options_(options),
        progress_(progress) {
    Require(options.rounds >= 1, "{} rounds asked for; give 1 or more", options.rounds);
    policies_.push_back({"dense", Policy::Dense()});
    policies_.insert(policies_.end(), policies.begin(), policies.end());
    const auto count = static_cast<double>(policies_.size());
    total_work_ = count * (Work(WarmUpTokens(), kWarmUpSteps) +
                           (options.rounds + 1) * Work(prompt.size(), options.max_tokens));
  }

  CompareResult Run() {
    for (const NamedPolicy& policy : policies_) {
      attentions_.push_back(
          std::make_unique<PolicyAttention>(policy.policy, model_.policy_target(), context_,
                                            PolicyAttentionOptions{.collect_counts = false}));
      CompareRow row;
      row.label = policy.label;
      row.document = policy.policy.ToJson();
      result_.rows.push_back(std::move(row));
    }
    WarmUp();
    for (int32_t round = 0; round < options_.rounds; ++round) Round(round);
    Quality();
    return std::move(result_);
  }

 private:
  static constexpr size_t kWarmUpTokens = 256;
  static constexpr int32_t kWarmUpSteps = 2;

  static double Work(size_t prompt_tokens, int32_t steps) {
    return static_cast<double>(prompt_tokens) + kDecodeWeight * steps;
  }
  size_t WarmUpTokens() const { return std::min(prompt_.size(), kWarmUpTokens); }

  void Report(const std::string& stage, double done_in_step) const {
    if (progress_) progress_(stage, std::min(work_ + done_in_step, total_work_), total_work_);
  }

  /// Greedy generation with the policy's timed attention.
  GenerateResult Generation(size_t policy, std::span<const int32_t> prompt, int32_t max_tokens,
                            const std::string& stage) {
    const std::unique_ptr<KvCache> cache =
        model_.NewCache({.capacity = static_cast<int32_t>(prompt.size()) + max_tokens,
                         .dtype = options_.cache_dtype,
                         .page_size = options_.page_size});
    GenerateOptions generate;
    generate.max_tokens = max_tokens;
    generate.chunk = options_.chunk;
    generate.stop = options_.stop;
    GenerateCallbacks callbacks;
    size_t read = 0;
    int32_t steps = 0;
    callbacks.on_prefill = [&](int32_t done, int32_t) { read = done; };
    callbacks.interrupted = [&] {  // asked before every chunk and token
      Report(stage, Work(read, read < prompt.size() ? 0 : steps++));
      return false;
    };
    GenerateResult generated =
        Generate(model_, tokenizer_, *cache, *attentions_[policy], prompt, generate, callbacks);
    result_.rows[policy].kv_bytes = cache->bytes();
    work_ += Work(prompt.size(), max_tokens);
    return generated;
  }

  void WarmUp() {
    const auto chunk = prompt_.first(WarmUpTokens());
    for (size_t p = 0; p < policies_.size(); ++p) {
      Generation(p, chunk, kWarmUpSteps, "warm-up: " + policies_[p].label);
    }
  }

  void Round(int32_t round) {
    for (size_t i = 0; i < policies_.size(); ++i) {
      const size_t p = round % 2 == 0 ? i : policies_.size() - 1 - i;
      const std::string stage =
          fmt::format("round {}/{}: {}", round + 1, options_.rounds, policies_[p].label);
      GenerateResult generated = Generation(p, prompt_, options_.max_tokens, stage);
      CompareRow& row = result_.rows[p];
      row.first_token.push_back(generated.time_to_first_token);
      row.prefill_per_second.push_back(generated.prefill_tokens_per_second());
      if (generated.decode_tokens_per_second() > 0.0) {
        row.decode_per_second.push_back(generated.decode_tokens_per_second());
      }
      row.workspace_bytes = attentions_[p]->workspace_bytes();
      row.path = attentions_[p]->path();
      if (round == 0) row.generation = std::move(generated);
    }
  }

  void Quality() {
    attentions_.clear();
    const std::vector<int32_t>& dense = result_.rows[0].generation.tokens;
    result_.prompt_tokens = static_cast<int32_t>(prompt_.size());
    result_.continuation_tokens = static_cast<int32_t>(dense.size());
    QualityPass pass(model_, context_, prompt_, dense,
                     {.chunk = options_.chunk,
                      .cache_dtype = options_.cache_dtype,
                      .page_size = options_.page_size});
    for (size_t p = 0; p < policies_.size(); ++p) {
      const std::string stage = "quality: " + policies_[p].label;
      const auto prompt_tokens = static_cast<int32_t>(prompt_.size());
      const PolicyStatistics statistics = pass.Read(policies_[p].policy, [&](int32_t done) {
        Report(stage, Work(std::min(done, prompt_tokens), std::max(done - prompt_tokens, 0)));
      });
      CompareRow& row = result_.rows[p];
      row.prefill = statistics.Total(Phase::kPrefill);
      row.decode = statistics.Total(Phase::kDecode);
      const std::vector<int32_t>& own = row.generation.tokens;
      row.same_tokens = static_cast<int32_t>(
          std::mismatch(own.begin(), own.end(), dense.begin(), dense.end()).first - own.begin());
      work_ += Work(prompt_.size(), options_.max_tokens);
    }
    const std::vector<QualityRow> quality =
        pass.Compare([&](int32_t) { Report("quality: logits", 0.0); });
    for (size_t p = 0; p < policies_.size(); ++p) {
      result_.rows[p].prompt = quality[p].prompt;
      result_.rows[p].continuation = quality[p].continuation;
    }
  }

  Model& model_;
  const Tokenizer& tokenizer_;
  const ExecutionContext& context_;
  const std::span<const int32_t> prompt_;
  const CompareOptions& options_;
  const CompareProgress& progress_;
  std::vector<NamedPolicy> policies_;
  std::vector<std::unique_ptr<PolicyAttention>> attentions_;
  CompareResult result_;
  double work_ = 0.0;
  double total_work_ = 0.0;
};

}  // namespace

CompareResult Compare(Model& model, const Tokenizer& tokenizer, const ExecutionContext& context,
                      std::span<const int32_t> prompt, std::span<const NamedPolicy> policies,
                      const CompareOptions& options, const CompareProgress& progress) {
  return Comparison(model, tokenizer, context, prompt, policies, options, progress).Run();
}

}  // namespace tamis
