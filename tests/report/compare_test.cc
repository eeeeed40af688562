#include "report/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "generate/fakes.h"
#include "report/compare_report.h"
#include "report/one_layer_model.h"
#include "tamis/error.h"

namespace tamis {
namespace {

using testing::kDim;
using testing::kVocab;
using testing::OneLayerModel;
using testing::PieceTokenizer;

/// Log-probabilities of the next token after each token of `tokens`, in double precision. The first
/// `thinned` queries keep the best two of every four keys, ties to the lowest position.
struct Worked {
  std::vector<std::vector<double>> log_p;
  double retained_sum = 0.0;  ///< of the thinned queries
  int64_t kept = 0;
};

Worked WorkOut(const std::vector<int32_t>& tokens, int32_t thinned) {
  Worked out;
  const auto count = static_cast<int32_t>(tokens.size());
  for (int32_t i = 0; i < count; ++i) {
    std::vector<double> scores;
    for (int32_t j = 0; j <= i; ++j) {
      double score = 0.0;
      for (int32_t d = 0; d < kDim; ++d) {
        score += double{testing::Query(tokens[i], i, d)} * testing::Key(tokens[j], j, d);
      }
      scores.push_back(score / std::sqrt(double{kDim}));
    }
    double all = 0.0;
    for (const double score : scores) all += std::exp(score);
    std::vector<bool> keep(scores.size(), true);
    for (int32_t group = 0; i < thinned && group <= i; group += 4) {
      std::vector<int32_t> order(std::min(4, i + 1 - group));
      std::iota(order.begin(), order.end(), group);
      std::stable_sort(order.begin(), order.end(),
                       [&](int32_t a, int32_t b) { return scores[a] > scores[b]; });
      for (size_t k = 2; k < order.size(); ++k) keep[order[k]] = false;
    }
    double sum = 0.0;
    std::vector<double> hidden(kDim);
    for (int32_t j = 0; j <= i; ++j) {
      if (!keep[j]) continue;
      sum += std::exp(scores[j]);
      for (int32_t d = 0; d < kDim; ++d) {
        hidden[d] += std::exp(scores[j]) * testing::Value(tokens[j], j, d);
      }
      if (i < thinned) ++out.kept;
    }
    if (i < thinned) out.retained_sum += sum / all;
    std::vector<double> logits(kVocab);
    double total = 0.0;
    for (int32_t token = 0; token < kVocab; ++token) {
      for (int32_t d = 0; d < kDim; ++d) logits[token] += hidden[d] / sum * testing::Head(token, d);
      total += std::exp(logits[token]);
    }
    for (double& logit : logits) logit -= std::log(total);
    out.log_p.push_back(std::move(logits));
  }
  return out;
}

int32_t Best(const std::vector<double>& log_p) {
  return static_cast<int32_t>(std::max_element(log_p.begin(), log_p.end()) - log_p.begin());
}

double Kl(const std::vector<double>& p, const std::vector<double>& q) {
  double sum = 0.0;
  for (size_t i = 0; i < p.size(); ++i) sum += std::exp(p[i]) * (p[i] - q[i]);
  return sum;
}

PieceTokenizer Letters() {
  return PieceTokenizer({"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"});
}

std::vector<int32_t> PromptTokens(int32_t count) {
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < count; ++i) tokens.push_back((i * i + 3 * i) % kVocab);
  return tokens;
}

constexpr int32_t kPrompt = 45;
constexpr int32_t kGenerated = 6;

class Compare45 : public ::testing::Test {
 protected:
  Compare45() {
    context_.pool = &pool_;
    const std::vector<NamedPolicy> policies = {
        {"2:4", Policy::Parse(R"({"default": {"prefill": {"n_of_m": {"n": 2, "m": 4}}}})")},
        {"same", Policy::Parse("{\"name\": \"same\"}")}};
    CompareOptions options;
    options.max_tokens = kGenerated;
    options.rounds = 3;
    options.chunk = 16;
    result_ = Compare(model_, tokenizer_, context_, prompt_, policies, options,
                      [&](std::string_view stage, double done, double total) {
                        stages_.emplace_back(stage);
                        EXPECT_GE(done, last_done_);
                        EXPECT_LE(done, total);
                        last_done_ = done;
                      });
    text_ = prompt_;
    const auto& dense = result_.rows[0].generation.tokens;
    text_.insert(text_.end(), dense.begin(), dense.end());
  }

  ThreadPool pool_{2};
  ExecutionContext context_;
  OneLayerModel model_;
  PieceTokenizer tokenizer_ = Letters();
  std::vector<int32_t> prompt_ = PromptTokens(kPrompt);
  CompareResult result_;
  std::vector<int32_t> text_;  ///< the prompt and dense's continuation
  std::vector<std::string> stages_;
  double last_done_ = 0.0;
};

TEST_F(Compare45, DenseContinuationIsTheGreedyOne) {
  ASSERT_EQ(result_.rows.size(), 3u);
  EXPECT_EQ(result_.rows[0].label, "dense");
  EXPECT_EQ(result_.prompt_tokens, kPrompt);
  EXPECT_EQ(result_.continuation_tokens, kGenerated);
  const Worked dense = WorkOut(text_, 0);
  for (int32_t i = 0; i < kGenerated; ++i) {
    EXPECT_EQ(text_[kPrompt + i], Best(dense.log_p[kPrompt + i - 1]));
  }
}

TEST_F(Compare45, PromptQualityIsThatWorkedOutByHand) {
  const Worked dense = WorkOut(text_, 0);
  const Worked thinned = WorkOut(text_, kPrompt);
  double sum = 0.0, largest = 0.0, nll = 0.0;
  int64_t same = 0;
  for (int32_t t = 0; t < kPrompt; ++t) {
    const double kl = Kl(dense.log_p[t], thinned.log_p[t]);
    sum += kl;
    largest = std::max(largest, kl);
    same += Best(dense.log_p[t]) == Best(thinned.log_p[t]);
    nll -= thinned.log_p[t][text_[t + 1]];
  }
  ASSERT_GT(sum / kPrompt, 0.01) << "the policy must cost something for this to test anything";
  ASSERT_LT(same, kPrompt);
  const Divergence& prompt = result_.rows[1].prompt;
  EXPECT_EQ(prompt.positions, kPrompt);
  EXPECT_EQ(prompt.same_top1, same);
  EXPECT_NEAR(prompt.kl_mean(), sum / kPrompt, 1e-5);
  EXPECT_NEAR(prompt.kl_max, largest, 1e-4);
  EXPECT_NEAR(prompt.perplexity() / std::exp(nll / kPrompt), 1.0, 1e-5);
}

TEST_F(Compare45, ContinuationIsForcedOnDensesText) {
  // One layer: keys and values do not depend on the policy, and its decode phase is dense.
  const Divergence& continuation = result_.rows[1].continuation;
  EXPECT_EQ(continuation.positions, kGenerated);
  EXPECT_EQ(continuation.same_top1, kGenerated);
  EXPECT_LT(continuation.kl_max, 1e-9);
  EXPECT_EQ(continuation.predicted, kGenerated - 1);
}

TEST_F(Compare45, CountsAndRetainedMassAreOfTheQualityPass) {
  const Worked thinned = WorkOut(text_, kPrompt);
  const PhaseStatistics& prefill = result_.rows[1].prefill;
  EXPECT_EQ(prefill.counts.allowed_pairs, kPrompt * (kPrompt + 1) / 2);
  EXPECT_EQ(prefill.counts.visited_pairs, kPrompt * (kPrompt + 1) / 2);
  EXPECT_EQ(prefill.counts.kept_pairs, thinned.kept);
  EXPECT_NEAR(prefill.retained_mass(), thinned.retained_sum / kPrompt, 1e-5);
  int64_t pairs = 0;
  for (int32_t i = 0; i < kGenerated; ++i) pairs += kPrompt + i + 1;
  EXPECT_EQ(result_.rows[1].decode.counts.allowed_pairs, pairs);
}

TEST_F(Compare45, DenseAndWhatIsDenseDoNotDiffer) {
  for (const size_t row : {0, 2}) {
    EXPECT_EQ(result_.rows[row].prompt.kl_max, 0.0);
    EXPECT_EQ(result_.rows[row].prompt.top1_agreement(), 1.0);
    EXPECT_EQ(result_.rows[row].prompt.perplexity(), result_.rows[0].prompt.perplexity());
    EXPECT_EQ(result_.rows[row].same_tokens, kGenerated);
  }
}

TEST_F(Compare45, TimesEveryRoundInAlternatingOrder) {
  for (const CompareRow& row : result_.rows) EXPECT_EQ(row.first_token.size(), 3u);
  std::vector<std::string> rounds;
  for (const std::string& stage : stages_) {
    if (stage.starts_with("round") && (rounds.empty() || rounds.back() != stage)) {
      rounds.push_back(stage);
    }
  }
  EXPECT_THAT(rounds,
              ::testing::ElementsAre("round 1/3: dense", "round 1/3: 2:4", "round 1/3: same",
                                     "round 2/3: same", "round 2/3: 2:4", "round 2/3: dense",
                                     "round 3/3: dense", "round 3/3: 2:4", "round 3/3: same"));
}

TEST_F(Compare45, ReportsNameEveryPolicy) {
  Terminal terminal;
  terminal.columns = 80;
  const std::string text = CompareTexts(result_, terminal) + CompareTables(result_, terminal);
  EXPECT_THAT(text, ::testing::HasSubstr("The same text: "));
  EXPECT_THAT(text, ::testing::HasSubstr("2:4"));
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  const nlohmann::ordered_json json = CompareJson(result_);
  EXPECT_EQ(json["rows"].size(), 3u);
  EXPECT_EQ(json["rows"][1]["policy"], "2:4");
  EXPECT_EQ(json["rows"][1]["prompt_quality"]["positions"], kPrompt);
  EXPECT_EQ(json["rows"][0]["prefill"]["density"], 1.0);
}

TEST(Compare, EmptyContinuationLeavesNothingToJudge) {
  ThreadPool pool(1);
  ExecutionContext context;
  context.pool = &pool;
  OneLayerModel model;
  const PieceTokenizer tokenizer = Letters();
  CompareOptions options;
  options.max_tokens = 0;
  const auto prompt = PromptTokens(20);
  const CompareResult result = Compare(model, tokenizer, context, prompt, {}, options);
  ASSERT_EQ(result.rows.size(), 1u);
  EXPECT_EQ(result.rows[0].continuation.positions, 0);
  EXPECT_EQ(result.rows[0].prompt.predicted, 19);
  EXPECT_NO_THROW(CompareTables(result, {}));
  EXPECT_EQ(CompareJson(result)["rows"][0]["continuation_quality"]["perplexity"], nullptr);
  options.rounds = 0;
  EXPECT_THROW(Compare(model, tokenizer, context, prompt, {}, options), Error);
}

}  // namespace
}  // namespace tamis
