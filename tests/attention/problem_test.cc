#include "attention/problem.h"

#include <gtest/gtest.h>

#include <cmath>

#include "attention/compare.h"
#include "attention/random_index.h"

namespace tamis::attention_testing {
namespace {

/// One problem of every option the generator has.
std::vector<ProblemOptions> AllKinds() {
  std::vector<ProblemOptions> kinds(11);
  kinds[1] = {.dtype = DType::kBF16, .kv_dtype = DType::kF16, .layout = Layout::kPadded};
  kinds[2] = {.batch = 3,
              .layout = Layout::kHeadsTokens,
              .query_lengths = {5, 0, 70},
              .key_lengths = {150, 9, 70},
              .packed_keys = true};
  kinds[3] = {.batch = 3,
              .query_tokens = 7,
              .layout = Layout::kPadded,
              .key_lengths = {64, 0, 33},
              .page_size = 16,
              .key_positions = true};
  kinds[4] = {.batch = 2, .key_lengths = {100, 40}, .query_starts = {12, -3}};
  kinds[5] = {.mask = {.causality = Causality::kBlockCausal,
                       .causal_block = 32,
                       .window_left = 20,
                       .sink_tokens = 4},
              .keep_probability = 0.7};
  kinds[6] = {.bias = true, .sink_logits = true, .softcap = 20.0f};
  kinds[7] = {.values = Values::kIntegers};
  kinds[8] = {.values = Values::kStructured};
  kinds[9] = {.batch = 2, .phases = {Phase::kDecode, Phase::kPrefill}};
  kinds[10] = {.head_dim = 8, .value_head_dim = 24, .query_tokens = 130, .key_tokens = 40};
  return kinds;
}

TEST(Problem, EveryKindIsValidAndReferenceWritesEveryOutput) {
  int kind = 0;
  for (const ProblemOptions& options : AllKinds()) {
    SCOPED_TRACE(kind++);
    Problem problem(options);
    ValidateAttention(problem.arguments, nullptr, {});
    const ReferenceResult result = problem.Reference(nullptr, {});
    EXPECT_EQ(problem.counts()[0].allowed_pairs, -1);  // outputs stay poisoned
    ReferenceAttention(problem.arguments, nullptr, {});
    const ErrorMetrics metrics = CompareOutputs(problem, result);
    EXPECT_EQ(metrics.wrong_kind, 0);
    const double ulp = problem.arguments.dtype == DType::kF32 ? 0x1p-24 : 0x1p-9;
    EXPECT_LE(metrics.max_abs, ulp * 8);
    EXPECT_LE(metrics.max_lse, 0x1p-24 * 64);
    EXPECT_TRUE(problem.GapsUntouched());
    EXPECT_EQ(problem.counts(), result.counts);
    EXPECT_EQ(problem.executed(), result.executed);
  }
}

TEST(Problem, SeedDecidesEverything) {
  const Problem a({.seed = 7}), same({.seed = 7}), other({.seed = 8});
  const auto first = [](const Problem& p) {
    return static_cast<const float*>(p.arguments.q.data)[0];
  };
  EXPECT_EQ(first(a), first(same));
  EXPECT_NE(first(a), first(other));
  // The generator is the same on every platform: pinned values of mt19937_64 and Box-Muller.
  Rng rng(1);
  EXPECT_EQ(rng.Next(), 2469588189546311528u);
  EXPECT_NEAR(rng.Normal(), -0.51633441868505, 1e-12);
}

// Peaks are where the generator says: sinks and the band hold most of the mass.
TEST(Problem, StructuredInputsHaveSinksAndABand) {
  const Problem problem({.q_heads = 1,
                         .kv_heads = 1,
                         .query_tokens = 512,
                         .key_tokens = 512,
                         .values = Values::kStructured});
  AttentionArguments band = WithoutOutputs(problem.arguments);
  band.mask.window_left = 64;
  band.mask.sink_tokens = 4;
  const ReferenceResult dense = problem.Reference(nullptr, {});
  const ReferenceResult local = ReferenceAttention(band, nullptr, {});
  double mass = 0.0;
  for (int32_t i = 256; i < 512; ++i) mass += std::exp(local.lse[i] - dense.lse[i]) / 256;
  EXPECT_GT(mass, 0.5);
  EXPECT_LT(mass, 0.999);
}

TEST(RandomIndex, IsValidOnEveryKind) {
  int kind = 0;
  for (const ProblemOptions& options : AllKinds()) {
    SCOPED_TRACE(kind++);
    const Problem problem(options);
    for (const int32_t block : {64, 128}) {
      const TileIndexStorage storage = RandomIndex(
          problem.arguments, {.query_block = block,
                              .key_block = 192 - block,
                              .heads_per_row = block == 64 ? 1 : problem.arguments.group(),
                              .empty_rows = 0.2,
                              .windows = 3,
                              .columns = 9});
      const TileIndex index = storage.view();
      ValidateAttention(problem.arguments, &index, {});
    }
  }
}

TEST(CompareExecuted, TellsCloseDecisionsFromWrongOnes) {
  Problem problem({.q_heads = 1, .kv_heads = 1, .values = Values::kIntegers});
  const TileRule rule{.n_of_m = {.n = 1, .m = 2}};
  const ReferenceResult result = problem.Reference(nullptr, rule);
  ReferenceAttention(problem.arguments, nullptr, rule);
  EXPECT_EQ(CompareExecuted(problem, result, 0).differing, 0);
  const NOfMDecision* tie = nullptr;
  const NOfMDecision* clear = nullptr;
  for (const NOfMDecision& d : result.n_of_m) (d.gap == 0 ? tie : clear) = &d;
  ASSERT_TRUE(tie != nullptr && clear != nullptr);
  const auto flip = [&](const NOfMDecision& d) {
    for (int32_t key = d.first_key; key <= d.last_key; ++key) {
      problem.arguments.executed[d.query * 4 + key / 32] ^= 1u << (key % 32);
    }
  };
  flip(*tie);
  EXPECT_EQ(CompareExecuted(problem, result, 4).differing, 2);
  EXPECT_EQ(CompareExecuted(problem, result, 4).unexplained, 0);
  EXPECT_EQ(CompareExecuted(problem, result, 0).unexplained, 2);  // exact scores: no excuse
  flip(*clear);
  EXPECT_EQ(CompareExecuted(problem, result, 4).unexplained, 2);
}

}  // namespace
}  // namespace tamis::attention_testing
