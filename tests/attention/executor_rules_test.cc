// TileIndex and TileRule on every build of the executor: which pairs stay is held to the reference
// exactly where scores are exact, and to within 4 ulp of a decision elsewhere.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>

#include "attention/executor_testing.h"
#include "attention/random_index.h"
#include "tamis/error.h"

namespace tamis::attention_testing {
namespace {

ThreadPool& Pool() {
  static ThreadPool pool(2);
  return pool;
}

/// Exact on integers; within 4 ulp of a decision on Gaussians.
double UlpsOf(Values values) { return values == Values::kIntegers ? 0.0 : 4.0; }

TEST(ExecutorRules, NOfM) {
  struct Case {
    NOfMRule rule;
    ProblemOptions options;
  };
  const ProblemOptions square{.head_dim = 32, .query_tokens = 200, .key_tokens = 200};
  const ProblemOptions chunk{.head_dim = 32, .query_tokens = 70, .key_tokens = 330};
  const ProblemOptions positions{
      .head_dim = 32, .query_tokens = 100, .key_tokens = 200, .key_positions = true};
  const ProblemOptions masked{.head_dim = 32,
                              .query_tokens = 140,
                              .key_tokens = 170,
                              .keep_probability = 0.7,
                              .bias = true};
  const std::vector<Case> cases = {
      {{.n = 1, .m = 2}, square},
      {{.n = 1, .m = 4}, square},
      {{.n = 2, .m = 4}, chunk},
      {{.n = 3, .m = 4}, masked},
      {{.n = 1, .m = 8}, masked},
      {{.n = 4, .m = 8}, chunk},
      {{.n = 7, .m = 8}, square},
      {{.n = 2, .m = 4}, positions},
      {{.n = 3, .m = 8, .sink_tokens = 5, .recent_tokens = 30}, positions},
      {{.n = 2, .m = 4, .sink_tokens = 6, .recent_tokens = 65}, square},
      {{.n = 2, .m = 4, .recent_tokens = 3, .skip_diagonal_blocks = true}, chunk},
      {{.n = 2, .m = 4, .skip_diagonal_blocks = true, .in_decode = true}, square},
      {{.n = 2, .m = 4, .sink_tokens = 6, .recent_tokens = 9, .in_decode = true}, chunk},
  };
  int number = 0;
  for (const Case& c : cases) {
    for (const Values values : {Values::kIntegers, Values::kGaussian}) {
      for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
        SCOPED_TRACE(testing::Message() << "case " << number << (phase == Phase::kDecode));
        ProblemOptions options = c.options;
        options.values = values;
        options.phase = phase;
        options.seed = 10 + number;
        Problem problem(options);
        ExpectAllMatch(problem, nullptr, {.n_of_m = c.rule}, UlpsOf(values), Pool());
      }
    }
    ++number;
  }
}

TEST(ExecutorRules, SkipSoftmax) {
  for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    for (const TileGeometry& geometry : PublishedGeometries(Device::kCpu, phase)) {
      for (const Values values : {Values::kIntegers, Values::kStructured}) {
        for (const float lambda : {0.9f, 0.1f, 0.003f, 3e-38f}) {
          SCOPED_TRACE(testing::Message() << geometry.tile_rows << "x" << geometry.tile_columns
                                          << " lambda " << lambda);
          Problem problem({.batch = 2,
                           .head_dim = 32,
                           .query_lengths = {phase == Phase::kDecode ? 3 : 300, 5},
                           .key_lengths = {500, 333},
                           .phase = phase,
                           .values = values,
                           .seed = 3});
          const std::vector<float> lambdas = {lambda, lambda / 2};
          const TileRule rule{.skip_softmax = {.lambda = lambdas.data(), .geometry = geometry}};
          ExpectAllMatch(problem, nullptr, rule, UlpsOf(values), Pool());
        }
      }
    }
  }
}

/// Makes scores of a step of 128 keys all alike, where the softmax scale is 1.
void SetStepScores(Problem& problem, std::span<const float> scores) {
  const AttentionArguments& a = problem.arguments;
  const auto fill = [&](const ConstTensor& tensor, DType dtype, int32_t heads, int32_t rows,
                        auto first_value) {
    for (int32_t head = 0; head < heads; ++head) {
      for (int32_t row = 0; row < rows; ++row) {
        for (int32_t d = 0; d < a.head_dim; ++d) {
          const int64_t at = head * tensor.stride.head + row * tensor.stride.row + d;
          const float value = d == 0 ? first_value(row) : 0.0f;
          void* data = const_cast<void*>(tensor.data);
          if (dtype == DType::kF32) {
            static_cast<float*>(data)[at] = value;
          } else {
            static_cast<BFloat16*>(data)[at] = ToBFloat16(value);
          }
        }
      }
    }
  };
  fill(a.q, a.dtype, a.q_heads, a.query_tokens, [](int32_t) { return 1.0f; });
  fill(a.k, a.kv_dtype, a.kv_heads, a.key_tokens,
       [&](int32_t row) { return scores[static_cast<size_t>(row / 128)]; });
}

/// Only the second step's maximum drops the third.
TEST(ExecutorRules, SkipSoftmaxHoldsLaterStepsToEveryMaximum) {
  constexpr float kScores[] = {0.0f, 10.0f, 5.0f, 9.0f, 10.0f};
  const float lambda = 0.05f;  // 3 below
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    Problem problem({.head_dim = 64,
                     .query_tokens = 128,
                     .key_tokens = 5 * 128,
                     .dtype = dtype,
                     .kv_dtype = dtype,
                     .softmax_scale = 1.0f});
    SetStepScores(problem, kScores);
    const TileRule rule{.skip_softmax = {.lambda = &lambda, .geometry = {128, 128}}};
    ExpectAllMatch(problem, nullptr, rule, 0, Pool());
    EXPECT_EQ(problem.counts()[0].skipped_tiles, 1);
  }
}

/// The second step raises maxima too little for bases to move, the third moves them: not those of
/// the first half of the rows, which do not see it.
TEST(ExecutorRules, BasesOfRowsOutsideAStepStay) {
  constexpr float kScores[] = {0.0f, 5.0f, 60.0f};
  const float lambda = 1e-38f;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    Problem problem({.head_dim = 64,
                     .query_tokens = 128,
                     .key_tokens = 320,
                     .dtype = dtype,
                     .kv_dtype = dtype,
                     .softmax_scale = 1.0f});
    SetStepScores(problem, kScores);
    ExpectAllMatch(problem, nullptr, {}, 0, Pool());
    const TileRule rule{.skip_softmax = {.lambda = &lambda, .geometry = {64, 64}}};
    ExpectAllMatch(problem, nullptr, rule, 0, Pool());
  }
}

/// Weights held to a base of 0, or to that of another step, would be 0 or infinite: for all rows or
/// for those that see little, in steps that all see whole or in part.
TEST(ExecutorRules, ScoresFarFromZero) {
  constexpr std::array<std::array<float, 4>, 6> kScores = {{{-100.0f, -95.0f, -90.0f, -97.0f},
                                                            {3.0f, -100.0f, -90.0f, -95.0f},
                                                            {-100.0f, 3.0f, -100.0f, 2.0f},
                                                            {-13.0f, -15.0f, -12.0f, -90.0f},
                                                            {100.0f, -100.0f, 60.0f, 99.0f},
                                                            {-100.0f, 30.0f, 60.0f, 100.0f}}};
  const ProblemOptions plain{
      .head_dim = 64, .query_tokens = 300, .key_tokens = 500, .softmax_scale = 1.0f};
  ProblemOptions windows = plain;
  windows.mask = {.window_left = 70, .sink_tokens = 3};
  ProblemOptions sinks = plain;
  sinks.sink_logits = true;
  uint64_t seed = 0;
  for (ProblemOptions options : {plain, windows, sinks}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      for (const auto& scores : kScores) {
        SCOPED_TRACE(testing::Message() << scores[0] << ' ' << scores[1] << ' ' << Name(dtype));
        options.dtype = options.kv_dtype = dtype;
        Problem problem(options);
        SetStepScores(problem, scores);
        ExpectAllMatch(problem, nullptr, {}, 0, Pool());
        ExpectAllMatch(problem, nullptr, {.n_of_m = {.n = 2, .m = 4}}, 0, Pool());
        const TileIndexStorage index = RandomIndex(problem.arguments, {.query_block = 64,
                                                                       .key_block = 64,
                                                                       .density = 0.4,
                                                                       .empty_rows = 0.2,
                                                                       .columns = 20,
                                                                       .seed = ++seed});
        const TileIndex view = index.view();
        ExpectAllMatch(problem, &view, {}, 0, Pool());
      }
    }
  }
}

/// A sink that takes all the mass leaves the keys a weight of e^-300, which fp32 calls 0: what they
/// add is nothing, but for a NaN, which stays one.
TEST(ExecutorRules, HugeSinksHideNoNan) {
  for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    Problem problem({.head_dim = 32,
                     .query_tokens = phase == Phase::kDecode ? 2 : 200,
                     .key_tokens = 400,
                     .sink_logits = true,
                     .phase = phase});
    AttentionArguments& a = problem.arguments;
    const std::vector<float> sinks(static_cast<size_t>(a.q_heads), 300.0f);
    a.sink_logits = sinks.data();
    constexpr int32_t kColumn = 3;
    auto* values = static_cast<float*>(const_cast<void*>(a.v.data));
    values[kColumn] = std::nanf("");  // key 0 of KV head 0, which every query sees
    for (const cpu::Variant variant : Variants()) {
      RunVariant(variant, problem, nullptr, {}, Pool());
      for (int32_t query = 0; query < a.query_tokens; ++query) {
        EXPECT_TRUE(std::isnan(problem.Output(0, 0, query, kColumn)))
            << VariantName(variant) << ' ' << query;
        EXPECT_NEAR(problem.Output(0, 0, query, kColumn + 1), 0.0, 1e-30)
            << VariantName(variant) << ' ' << query;
      }
    }
  }
}

/// Where the first 64 keys hold all the mass, every other tile goes.
TEST(ExecutorRules, SkipSoftmaxDropsEveryTileBelowTheFirst) {
  Problem problem({.query_tokens = 300, .key_tokens = 300});
  std::vector<float> bias(300, -50.0f);
  std::fill_n(bias.begin(), 64, 0.0f);
  problem.arguments.bias = {.data = bias.data()};
  const float lambda = 0.5f;
  RunVariant(cpu::Variant::kPortable, problem, nullptr,
             {.skip_softmax = {.lambda = &lambda, .geometry = {64, 64}}}, Pool());
  for (const AttentionCounts& counts : problem.counts()) {
    EXPECT_EQ(counts.visited_tiles, 1 + 2 + 3 + 4 + 5);
    EXPECT_EQ(counts.skipped_tiles, 0 + 1 + 2 + 3 + 4);
    EXPECT_EQ(counts.kept_pairs, 64 * 65 / 2 + (300 - 64) * 64);
  }
}

TEST(ExecutorRules, SaturatedLambdaRunsDense) {
  Problem problem({.batch = 2, .query_tokens = 130, .key_tokens = 300});
  const float lambda[2] = {1.0f, std::numeric_limits<float>::infinity()};
  ExpectAllMatch(problem, nullptr, {.skip_softmax = {.lambda = lambda}}, 0, Pool());
  EXPECT_EQ(problem.counts()[7].lambda_saturated, 1);
}

TEST(ExecutorRules, Index) {
  struct Case {
    RandomIndexOptions index;
    ProblemOptions options;
  };
  const ProblemOptions square{.head_dim = 32, .query_tokens = 300, .key_tokens = 300};
  const ProblemOptions ragged{.batch = 3,
                              .head_dim = 32,
                              .query_lengths = {70, 1, 200},
                              .key_lengths = {400, 65, 200},
                              .page_size = 16,
                              .mask = {.window_left = 150, .sink_tokens = 70}};
  const ProblemOptions masked{.head_dim = 32,
                              .query_tokens = 70,
                              .key_tokens = 700,
                              .mask = {.causality = Causality::kBidirectional},
                              .keep_probability = 0.5,
                              .bias = true};
  const ProblemOptions positions{.head_dim = 32,
                                 .query_tokens = 150,
                                 .key_tokens = 300,
                                 .key_positions = true,
                                 .mask = {.window_left = 200}};
  const std::vector<Case> cases = {
      {{.query_block = 64, .key_block = 64}, square},
      {{.query_block = 64, .key_block = 128, .heads_per_row = 2, .empty_rows = 0.3}, square},
      {{.query_block = 128, .key_block = 64, .density = 0.2, .windows = 3}, square},
      {{.density = 0.3, .windows = 2, .columns = 40}, ragged},
      {{.query_block = 64, .key_block = 64, .heads_per_row = 2, .density = 0.2, .columns = 150},
       ragged},
      {{.density = 0.0, .columns = 300}, masked},
      {{.key_block = 64, .density = 0.1, .windows = 4, .columns = 200}, masked},
      {{.key_block = 64, .heads_per_row = 2, .density = 0.3, .windows = 1, .columns = 90},
       positions},
  };
  int number = 0;
  for (const Case& c : cases) {
    for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
      SCOPED_TRACE(testing::Message() << "case " << number << (phase == Phase::kDecode));
      ProblemOptions options = c.options;
      options.phase = phase;
      options.values = Values::kIntegers;
      options.seed = 20 + number;
      Problem problem(options);
      RandomIndexOptions index_options = c.index;
      index_options.seed = number;
      const TileIndexStorage index = RandomIndex(problem.arguments, index_options);
      const TileIndex view = index.view();
      ExpectAllMatch(problem, &view, {}, 0, Pool());
      ExpectAllMatch(problem, &view, {.n_of_m = {.n = 2, .m = 4, .in_decode = true}}, 0, Pool());
      if (phase == Phase::kDecode && c.index.heads_per_row == 1) continue;
      const std::vector<float> lambda(options.batch, 0.2f);
      TileRule rule{.skip_softmax = {.lambda = lambda.data()}};
      rule.skip_softmax.geometry = {c.index.query_block, c.index.key_block};
      if (phase == Phase::kDecode) {
        rule.skip_softmax.geometry = {1, c.index.key_block, SkipVote::kGqaGroup};
      }
      rule.n_of_m = {.n = 3, .m = 8, .sink_tokens = 9, .recent_tokens = 17, .in_decode = true};
      ExpectAllMatch(problem, &view, rule, 0, Pool());
    }
    ++number;
  }
}

/// Counts, executed masks and LSE are asked for or not: O has the same bits, where tiles do not run
/// whole steps together. Blocks of 64 keys, which all rows of later tile rows see.
TEST(ExecutorRules, OutputsDoNotDependOnWhatElseIsAsked) {
  Problem problem({.head_dim = 64, .query_tokens = 300, .key_tokens = 500});
  const TileIndexStorage index = RandomIndex(
      problem.arguments, {.query_block = 64, .key_block = 64, .density = 0.5, .columns = 70});
  const TileIndex view = index.view();
  const AttentionArguments all = problem.arguments;
  for (const cpu::Variant variant : Variants()) {
    if (variant == cpu::Variant::kAmxBf16 || variant == cpu::Variant::kAmxBf16Emulated) continue;
    RunVariant(variant, problem, &view, {}, Pool());
    const std::vector<double> expected = Outputs(problem);
    problem.arguments.lse = nullptr;
    problem.arguments.counts = nullptr;
    problem.arguments.executed = nullptr;
    RunVariant(variant, problem, &view, {}, Pool());
    EXPECT_EQ(Outputs(problem), expected) << VariantName(variant);
    problem.arguments = all;
  }
}

/// Long sequences: a worker takes four splits at a time where each has many, and one at the end.
TEST(ExecutorRules, SplitsAtOnce) {
  Problem problem({.batch = 2,
                   .q_heads = 64,
                   .kv_heads = 32,
                   .head_dim = 32,
                   .query_tokens = 1,
                   .key_lengths = {8400, 300},
                   .phase = Phase::kDecode,
                   .values = Values::kStructured});
  const TileIndexStorage storage =
      RandomIndex(problem.arguments, {.key_block = 64, .density = 0.5, .columns = 300});
  const TileIndex index = storage.view();
  const float lambda[2] = {0.1f, 0.1f};
  const TileRule skips{
      .skip_softmax = {.lambda = lambda, .geometry = {1, 128, SkipVote::kGqaGroup}}};
  ExpectAllMatch(problem, &index, {}, UlpsOf(Values::kStructured), Pool());
  ExpectAllMatch(problem, nullptr, skips, UlpsOf(Values::kStructured), Pool());
  ThreadPool many(16);  // for which these splits are few
  const auto bytes = [&](cpu::Variant variant, const TileIndex* blocks, const TileRule& rule,
                         ThreadPool& pool) {
    RunVariant(variant, problem, blocks, rule, pool);
    return OutputBytes(problem);
  };
  for (const cpu::Variant variant : Variants()) {
    EXPECT_TRUE(bytes(variant, &index, {}, many) == bytes(variant, &index, {}, Pool()));
    EXPECT_TRUE(bytes(variant, nullptr, skips, many) == bytes(variant, nullptr, skips, Pool()));
  }
}

TEST(ExecutorRules, MixedPhases) {
  Problem problem({.batch = 4,
                   .query_lengths = {130, 1, 4, 200},
                   .key_lengths = {300, 1500, 64, 200},
                   .phases = {Phase::kPrefill, Phase::kDecode, Phase::kDecode, Phase::kPrefill}});
  const NOfMRule n_of_m{.n = 2, .m = 4};
  ExpectAllMatch(problem, nullptr, {}, 0, Pool());
  ExpectAllMatch(problem, nullptr, {.n_of_m = n_of_m}, 4, Pool());
  const float lambda[4] = {0.3f, 0.0f, 1.0f, 0.1f};
  ExpectAllMatch(problem, nullptr, {{.lambda = lambda, .geometry = {64, 128}}, n_of_m}, 4, Pool());
  const float decode_lambda[4] = {0.0f, 0.3f, 0.2f, 2.0f};
  const TileGeometry decode{1, 64, SkipVote::kGqaGroup};
  ExpectAllMatch(problem, nullptr, {{.lambda = decode_lambda, .geometry = decode}, {}}, 4, Pool());
  EXPECT_THROW(RunVariant(cpu::Variant::kPortable, problem, nullptr,
                          {.skip_softmax = {.lambda = lambda, .geometry = decode}}, Pool()),
               Error);
}

}  // namespace
}  // namespace tamis::attention_testing
