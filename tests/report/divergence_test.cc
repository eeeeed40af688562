#include "report/divergence.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace tamis {
namespace {

const float kLog2 = std::log(2.0f);

TEST(Divergence, OfDistributionsWrittenDown) {
  ThreadPool pool(1);
  // p = (1/2, 1/4, 1/4), q = (1/4, 1/4, 1/2), each up to a constant.
  const std::vector<float> p = {kLog2 + 3, 3, 3};
  const std::vector<float> q = {-1, -1, kLog2 - 1};
  const auto p_rows = SummariseLogits(p.data(), 1, 3, pool);
  const auto q_rows = SummariseLogits(q.data(), 1, 3, pool);
  EXPECT_EQ(p_rows[0].top1, 0);
  EXPECT_EQ(q_rows[0].top1, 2);
  EXPECT_NEAR(p_rows[0].log_sum, std::log(4.0) + 3, 1e-7);
  const auto kl = RowDivergence(p.data(), p_rows, q.data(), q_rows, 3, pool);
  // 1/2 ln 2 + 0 - 1/4 ln 2. Logits in fp32: ln 2 is off by 2^-25 or so.
  EXPECT_NEAR(kl[0], 0.25 * std::log(2.0), 1e-7);
}

TEST(Divergence, RowsAgreeWithASlowSumWhateverTheVocabulary) {
  ThreadPool pool(2);
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0.0f, 4.0f);
  for (const int32_t vocab : {1, 15, 16, 17, 100, 1000}) {
    const int32_t rows = 5;
    std::vector<float> p(rows * vocab), q(rows * vocab);
    for (float& x : p) x = normal(random);
    for (float& x : q) x = normal(random);
    const auto p_rows = SummariseLogits(p.data(), rows, vocab, pool);
    const auto q_rows = SummariseLogits(q.data(), rows, vocab, pool);
    const auto kl = RowDivergence(p.data(), p_rows, q.data(), q_rows, vocab, pool);
    for (int32_t row = 0; row < rows; ++row) {
      long double p_sum = 0, q_sum = 0, expected = 0;
      for (int32_t i = row * vocab; i < (row + 1) * vocab; ++i) {
        p_sum += std::exp(static_cast<long double>(p[i]));
        q_sum += std::exp(static_cast<long double>(q[i]));
      }
      for (int32_t i = row * vocab; i < (row + 1) * vocab; ++i) {
        expected += std::exp(static_cast<long double>(p[i])) / p_sum *
                    ((p[i] - std::log(p_sum)) - (q[i] - std::log(q_sum)));
      }
      EXPECT_NEAR(kl[row], static_cast<double>(expected), 1e-12 * (1 + vocab));
    }
  }
}

TEST(Divergence, EqualRowsGiveExactlyNothing) {
  ThreadPool pool(1);
  const std::vector<float> p = {0.1f, 7.0f, -3.0f, 7.0f};
  const auto rows = SummariseLogits(p.data(), 1, 4, pool);
  EXPECT_EQ(rows[0].top1, 1) << "ties to the lowest id";
  EXPECT_EQ(RowDivergence(p.data(), rows, p.data(), rows, 4, pool)[0], 0.0);
}

TEST(Divergence, ImpossibleTokensCountNothingUnlessTheReferenceHasThem) {
  ThreadPool pool(1);
  const float none = -std::numeric_limits<float>::infinity();
  const std::vector<float> p = {0, 0, none}, q = {0, 0, 0};
  const auto p_rows = SummariseLogits(p.data(), 1, 3, pool);
  const auto q_rows = SummariseLogits(q.data(), 1, 3, pool);
  EXPECT_NEAR(RowDivergence(p.data(), p_rows, q.data(), q_rows, 3, pool)[0], std::log(1.5), 1e-15);
  EXPECT_TRUE(std::isinf(RowDivergence(q.data(), q_rows, p.data(), p_rows, 3, pool)[0]));
}

TEST(Divergence, SumsGiveMeansAndPerplexity) {
  const Divergence sum{.positions = 4,
                       .same_top1 = 3,
                       .kl_sum = 2.0,
                       .kl_max = 1.5,
                       .predicted = 2,
                       .negative_log_likelihood = std::log(16.0)};
  EXPECT_EQ(sum.top1_agreement(), 0.75);
  EXPECT_EQ(sum.kl_mean(), 0.5);
  EXPECT_NEAR(sum.perplexity(), 4.0, 1e-12);
  EXPECT_TRUE(std::isnan(Divergence{}.perplexity()));
}

}  // namespace
}  // namespace tamis
