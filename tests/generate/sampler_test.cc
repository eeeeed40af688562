#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/portable_exp.h"
#include "tamis/error.h"
#include "tamis/generate.h"

namespace tamis {
namespace {

std::vector<int> Histogram(const SamplingOptions& options, const std::vector<float>& logits,
                           int draws) {
  Sampler sampler(options);
  std::vector<int> counts(logits.size());
  for (int i = 0; i < draws; ++i) ++counts[sampler.Sample(logits)];
  return counts;
}

/// Pearson's statistic of counts against probabilities; cells of probability 0 must be empty.
double ChiSquared(const std::vector<int>& counts, const std::vector<double>& p, int draws) {
  double sum = 0.0;
  for (size_t i = 0; i < p.size(); ++i) {
    if (p[i] == 0.0) {
      EXPECT_EQ(counts[i], 0) << "token " << i;
      continue;
    }
    const double expected = p[i] * draws;
    sum += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  return sum;
}

const std::vector<float> kLogits = {0.0f, std::log(4.0f), std::log(2.0f), std::log(3.0f)};

TEST(Sampler, GreedyTakesTheLowestOfEqualIds) {
  Sampler sampler({});
  EXPECT_EQ(sampler.Sample(std::vector<float>{1, 3, 2, 3}), 1);
  EXPECT_EQ(sampler.Sample(std::vector<float>{-INFINITY, -5, -5}), 1);
}

TEST(Sampler, DrawsTheSoftmax) {
  const int draws = 40000;
  const auto counts = Histogram({.temperature = 1.0, .seed = 1}, kLogits, draws);
  // 3 degrees of freedom: 21.1 is exceeded once in 10^4 seeds.
  EXPECT_LT(ChiSquared(counts, {0.1, 0.4, 0.2, 0.3}, draws), 21.1);
}

TEST(Sampler, TemperatureHalvesTheLogits) {
  const int draws = 40000;
  const auto counts = Histogram({.temperature = 0.5, .seed = 2}, kLogits, draws);
  EXPECT_LT(ChiSquared(counts, {1. / 30, 16. / 30, 4. / 30, 9. / 30}, draws), 21.1);
}

TEST(Sampler, TopKKeepsTheBestAndBreaksTiesByLowestId) {
  const int draws = 20000;
  const auto counts = Histogram({.temperature = 1.0, .top_k = 2, .seed = 3}, kLogits, draws);
  EXPECT_LT(ChiSquared(counts, {0, 4. / 7, 0, 3. / 7}, draws), 15.2);
  const auto tied = Histogram({.temperature = 1.0, .top_k = 2, .seed = 3}, {1, 1, 1, 1}, 1000);
  EXPECT_THAT(tied, testing::ElementsAre(testing::Gt(0), testing::Gt(0), 0, 0));
}

TEST(Sampler, TopPKeepsTheFewestThatHoldTheMass) {
  const int draws = 20000;
  // 0.4 + 0.3 reaches 0.65; the token that crosses belongs to the set.
  const auto counts = Histogram({.temperature = 1.0, .top_p = 0.65, .seed = 4}, kLogits, draws);
  EXPECT_LT(ChiSquared(counts, {0, 4. / 7, 0, 3. / 7}, draws), 15.2);
  const auto one = Histogram({.temperature = 1.0, .top_p = 1e-9, .seed = 4}, kLogits, 100);
  EXPECT_EQ(one[1], 100);
}

TEST(Sampler, TopPOfManyTokensSortsOnlyWhatItNeeds) {
  // 1000 equal tokens: top_p 0.3 keeps the 300 lowest ids.
  const std::vector<float> logits(1000, 0.5f);
  const auto counts = Histogram({.temperature = 1.0, .top_p = 0.2995, .seed = 5}, logits, 20000);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(counts[i] > 0, i < 300) << i;
}

TEST(Sampler, TopPCountsWhatTopKLeft) {
  // After top-k 2 the best holds 4/7 = 0.571.
  const auto counts =
      Histogram({.temperature = 1.0, .top_k = 2, .top_p = 0.57, .seed = 6}, kLogits, 500);
  EXPECT_EQ(counts[1], 500);
}

TEST(Sampler, SeedsGiveTheSameDrawsEverywhere) {
  std::vector<float> logits(64);
  for (int i = 0; i < 64; ++i) logits[i] = 0.05f * static_cast<float>(i % 17);
  Sampler sampler({.temperature = 0.8, .top_k = 40, .top_p = 0.95, .seed = 42});
  std::vector<int32_t> drawn;
  for (int i = 0; i < 12; ++i) drawn.push_back(sampler.Sample(logits));
  EXPECT_THAT(drawn, testing::ElementsAre(43, 27, 43, 15, 24, 50, 45, 47, 48, 12, 16, 11));
}

TEST(Sampler, MasksAreNeverDrawn) {
  const auto counts =
      Histogram({.temperature = 5.0, .seed = 7}, {0.0f, -INFINITY, 0.0f, -INFINITY}, 1000);
  EXPECT_EQ(counts[1] + counts[3], 0);
}

TEST(Sampler, TinyTemperatureIsGreedy) {
  const double tiny = std::numeric_limits<double>::denorm_min();
  EXPECT_EQ(Histogram({.temperature = tiny, .seed = 8}, kLogits, 50)[1], 50);
}

TEST(Sampler, RefusesOptionsOutOfRange) {
  EXPECT_THROW(Sampler({.temperature = -0.1}), Error);
  EXPECT_THROW(Sampler({.temperature = NAN}), Error);
  EXPECT_THROW(Sampler({.temperature = INFINITY}), Error);
  EXPECT_THROW(Sampler({.top_k = -1}), Error);
  EXPECT_THROW(Sampler({.top_p = 0.0}), Error);
  EXPECT_THROW(Sampler({.top_p = 1.5}), Error);
  EXPECT_THROW(Sampler({.top_p = NAN}), Error);
}

TEST(Sampler, RefusesLogitsThatAreNoNumbers) {
  Sampler sampler({});
  EXPECT_THROW(sampler.Sample(std::vector<float>{0, NAN}), Error);
  EXPECT_THROW(sampler.Sample(std::vector<float>{INFINITY, 0}), Error);
  EXPECT_THROW(sampler.Sample(std::vector<float>{-INFINITY, -INFINITY}), Error);
  EXPECT_THROW(sampler.Sample({}), Error);
}

TEST(PortableExp, IsWithinTwoUlp) {
  double worst = 0.0;
  for (double x = 0.0; x > -708.0; x -= 0.003917) {
    const double exact = static_cast<double>(std::exp(static_cast<long double>(x)));
    worst = std::max(worst, std::abs(PortableExp(x) - exact) / (exact * 0x1p-52));
  }
  EXPECT_LE(worst, 2.0);
  EXPECT_EQ(PortableExp(0.0), 1.0);
  EXPECT_EQ(PortableExp(-709.0), 0.0);
  EXPECT_EQ(PortableExp(-INFINITY), 0.0);
}

}  // namespace
}  // namespace tamis
