// Skip-softmax in the reference, on tiles written down by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "attention/problem.h"
#include "attention/score_problem.h"
#include "attention/tile_index_storage.h"

namespace tamis {
namespace {

using attention_testing::Problem;
using attention_testing::Rng;
using attention_testing::ScoreProblem;
using attention_testing::Values;
using ::testing::ElementsAre;

constexpr float kHidden = -std::numeric_limits<float>::infinity();
constexpr float kHalf = 0.5f;  // ln = -0.693

/// Rows of tiles of 8 keys, by the largest score of each tile; the other keys score 1 less.
ScoreProblem Tiles(const std::vector<std::vector<float>>& rows, int32_t q_heads = 1) {
  const auto queries = static_cast<int32_t>(rows.size()) / q_heads;
  return ScoreProblem(q_heads, 1, queries, static_cast<int32_t>(rows[0].size()) * 8,
                      [&](int h, int i, int j) {
                        return rows[h * queries + i][j / 8] - (j % 8 == 3 ? 0.0f : 1.0f);
                      });
}

TileRule Skip(const float& lambda, const TileGeometry& geometry) {
  return {.skip_softmax = {.lambda = &lambda, .geometry = geometry}};
}

/// The tiles of 8 keys that (head, query) kept.
std::vector<int32_t> KeptTiles(const ScoreProblem& problem, const ReferenceResult& result,
                               int32_t head, int32_t query) {
  std::vector<int32_t> tiles;
  for (const int32_t j : problem.Kept(result, head, query)) {
    if (tiles.empty() || tiles.back() != j / 8) tiles.push_back(j / 8);
  }
  return tiles;
}

TEST(SkipSoftmax, ComparesWithTheMaximumSoFar) {
  const ScoreProblem problem = Tiles({{0, -0.69f, -0.7f, 0.5f, -0.19f, -0.2f, 9}});
  const ReferenceResult result = problem.Run(nullptr, Skip(kHalf, {1, 8}));
  EXPECT_THAT(KeptTiles(problem, result, 0, 0), ElementsAre(0, 1, 3, 4, 6));
  EXPECT_EQ(result.counts[0], (AttentionCounts{56, 56, 40, 7, 2, 0}));
  // Dropped tiles leave the denominator too.
  double sum = 0.0;
  for (const double max : {0.0, -0.69, 0.5, -0.19, 9.0}) {
    sum += std::exp(max) * (1 + 7 * std::exp(-1.0));
  }
  EXPECT_NEAR(result.lse[0], std::log(sum), 1e-6);
  EXPECT_NEAR(result.o[0], 1.0, 1e-12);
  ASSERT_EQ(result.skip.size(), 7u);
  EXPECT_EQ(result.skip[0].gap, std::numeric_limits<double>::infinity());
  EXPECT_NEAR(result.skip[1].gap, std::log(2.0) - 0.69, 1e-6);
  EXPECT_NEAR(result.skip[2].gap, 0.7 - std::log(2.0), 1e-6);
  EXPECT_TRUE(result.skip[2].skipped && !result.skip[1].skipped);
}

TEST(SkipSoftmax, OneRowVetoes) {
  const ScoreProblem problem = Tiles({{0, -5, -5}, {0, -5, -0.5f}, {0, -5, -5}});
  const ReferenceResult together = problem.Run(nullptr, Skip(kHalf, {4, 8}));  // row 3: padding
  for (int i = 0; i < 3; ++i) EXPECT_THAT(KeptTiles(problem, together, 0, i), ElementsAre(0, 2));
  const ReferenceResult apart = problem.Run(nullptr, Skip(kHalf, {1, 8}));
  EXPECT_THAT(KeptTiles(problem, apart, 0, 0), ElementsAre(0));
  EXPECT_THAT(KeptTiles(problem, apart, 0, 1), ElementsAre(0, 2));
  EXPECT_EQ(apart.counts[0].visited_tiles, 9);
  EXPECT_EQ(apart.counts[0].skipped_tiles, 5);
}

TEST(SkipSoftmax, RowsThatSeeNothingInATileDoNotVote) {
  // Row 1 sees only tile 2: it must not veto tile 1, and must keep tile 2 as its first.
  const ScoreProblem problem = Tiles({{0, -5, -5}, {kHidden, kHidden, -50}});
  const ReferenceResult result = problem.Run(nullptr, Skip(kHalf, {2, 8}));
  EXPECT_THAT(KeptTiles(problem, result, 0, 0), ElementsAre(0, 2));
  EXPECT_THAT(KeptTiles(problem, result, 0, 1), ElementsAre(2));
  EXPECT_EQ(result.counts[0].visited_tiles, 3);
  // A tile that no row sees is neither visited nor skipped.
  const ScoreProblem hole = Tiles({{0, kHidden, 0}});
  const ReferenceResult around = hole.Run(nullptr, Skip(kHalf, {1, 8}));
  EXPECT_EQ(around.counts[0], (AttentionCounts{16, 16, 16, 2, 0, 0}));
  EXPECT_EQ(around.skip.size(), 2u);
}

TEST(SkipSoftmax, LambdaOffAndSaturated) {
  const ScoreProblem problem = Tiles({{0, -50, -0.1f}});
  const ReferenceResult dense = problem.Run(nullptr, {});
  for (const float lambda : {0.0f, 1.0f, 1.5f, std::numeric_limits<float>::infinity()}) {
    SCOPED_TRACE(lambda);
    const ReferenceResult result = problem.Run(nullptr, Skip(lambda, {1, 8}));
    EXPECT_EQ(result.o, dense.o);
    EXPECT_EQ(result.lse, dense.lse);
    EXPECT_EQ(result.counts[0], (AttentionCounts{24, 24, 24, 3, 0, lambda >= 1}));
    EXPECT_TRUE(result.skip.empty());
  }
  EXPECT_EQ(problem.Run(nullptr, Skip(0.999f, {1, 8})).counts[0].skipped_tiles, 2);
}

TEST(SkipSoftmax, LambdaIsPerSequence) {
  const Problem problem(
      {.batch = 3, .query_tokens = 64, .key_tokens = 512, .values = Values::kStructured});
  const float lambda[] = {0.0f, 0.3f, 2.0f};
  const TileRule rule = Skip(lambda[0], {64, 64});
  const ReferenceResult result = problem.Reference(nullptr, rule);
  EXPECT_EQ(result.counts[0].skipped_tiles, 0);
  EXPECT_GT(result.counts[4].skipped_tiles, 0);
  EXPECT_EQ(result.counts[4].lambda_saturated, 0);
  EXPECT_EQ(result.counts[8].skipped_tiles, 0);
  EXPECT_EQ(result.counts[8].lambda_saturated, 1);
}

TEST(SkipSoftmax, GroupsVoteTogether) {
  // Two heads of one KV head, two queries each.
  const ScoreProblem problem =
      Tiles({{0, -5, -5}, {0, -5, -5}, {0, -5, -5}, {0, -5, -0.5f}}, /*q_heads=*/2);
  const ReferenceResult group = problem.Run(nullptr, Skip(kHalf, {2, 8, SkipVote::kGqaGroup}));
  for (int head = 0; head < 2; ++head) {
    for (int i = 0; i < 2; ++i) EXPECT_THAT(KeptTiles(problem, group, head, i), ElementsAre(0, 2));
    EXPECT_EQ(group.counts[head], (AttentionCounts{48, 48, 32, 3, 1, 0}));
  }
  const ReferenceResult head = problem.Run(nullptr, Skip(kHalf, {2, 8, SkipVote::kQueryHead}));
  EXPECT_THAT(KeptTiles(problem, head, 0, 1), ElementsAre(0));
  EXPECT_THAT(KeptTiles(problem, head, 1, 0), ElementsAre(0, 2));
  // Tiles of one row, as in decode: the same row of every head votes.
  const ReferenceResult rows = problem.Run(nullptr, Skip(kHalf, {1, 8, SkipVote::kGqaGroup}));
  EXPECT_THAT(KeptTiles(problem, rows, 1, 0), ElementsAre(0));
  EXPECT_THAT(KeptTiles(problem, rows, 0, 1), ElementsAre(0, 2));
  ASSERT_EQ(rows.skip.size(), 6u);
  EXPECT_EQ(rows.skip[0].heads, 2);
  EXPECT_EQ(rows.skip[3].first_query, 1);
  EXPECT_EQ(rows.skip[3].queries, 1);
}

TEST(SkipSoftmax, HeadsThatSeeNothingInATileDoNotCountIt) {
  const ScoreProblem problem = Tiles({{0, -5, -5}, {0, kHidden, -5}}, /*q_heads=*/2);
  const ReferenceResult result = problem.Run(nullptr, Skip(kHalf, {1, 8, SkipVote::kGqaGroup}));
  EXPECT_EQ(result.counts[0], (AttentionCounts{24, 24, 8, 3, 2, 0}));
  EXPECT_EQ(result.counts[1], (AttentionCounts{16, 16, 8, 2, 1, 0}));
}

TEST(SkipSoftmax, SplitsHaveTheirOwnMaximum) {
  const ScoreProblem problem = Tiles({{9, 0, 0, -5, 0}});
  const auto kept = [&](int32_t splits) {
    return KeptTiles(problem,
                     problem.Run(nullptr, Skip(kHalf, {1, 8, SkipVote::kQueryHead, splits})), 0, 0);
  };
  EXPECT_THAT(kept(1), ElementsAre(0));
  EXPECT_THAT(kept(2), ElementsAre(0, 2, 4));        // tiles 0-1, 2-4
  EXPECT_THAT(kept(3), ElementsAre(0, 1, 2, 3, 4));  // 0, 1-2, 3-4
  EXPECT_THAT(kept(5), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(kept(64), ElementsAre(0, 1, 2, 3, 4));
}

TEST(SkipSoftmax, RunsAfterNOfM) {
  // Tile 1 is dropped, so of 3 tiles 2 remain, each with one of two keys.
  const ScoreProblem problem = Tiles({{0, -5, 1}});
  TileRule rule = Skip(kHalf, {1, 8});
  rule.n_of_m = {.n = 1, .m = 2};
  const ReferenceResult result = problem.Run(nullptr, rule);
  EXPECT_EQ(result.counts[0], (AttentionCounts{24, 24, 8, 3, 1, 0}));
  EXPECT_THAT(problem.Kept(result, 0, 0), ElementsAre(0, 3, 4, 6, 16, 19, 20, 22));
}

TEST(SkipSoftmax, SinkLogitsTakeNoPart) {
  ScoreProblem problem = Tiles({{0, -0.5f}});
  const float sink = 20.0f;
  problem.arguments.sink_logits = &sink;
  const ReferenceResult result = problem.Run(nullptr, Skip(kHalf, {1, 8}));
  EXPECT_EQ(result.counts[0].skipped_tiles, 0);
}

// The definition by whole-matrix maxima: gap(r, J) = max of tile J - max of all earlier tiles.
TEST(SkipSoftmax, EqualsTheMatrixDefinition) {
  for (const TileGeometry geometry :
       {TileGeometry{16, 8}, TileGeometry{1, 16}, TileGeometry{5, 24}, TileGeometry{64, 64}}) {
    SCOPED_TRACE(::testing::Message() << geometry.tile_rows << "x" << geometry.tile_columns);
    constexpr int kQueries = 50, kKeys = 90;
    Rng rng(geometry.tile_rows);
    std::vector<float> scores(kQueries * kKeys);
    for (float& score : scores) score = static_cast<float>(2 * rng.Normal());
    // Columns of differing weight, so that whole tiles can fall.
    for (int j = 0; j < kKeys; ++j) {
      for (int i = 0; i < kQueries; ++i) scores[i * kKeys + j] -= static_cast<float>(j / 8 % 4 * 6);
    }
    ScoreProblem problem(1, 1, kQueries, kKeys,
                         [&](int, int i, int j) { return scores[i * kKeys + j]; });
    problem.arguments.mask.causality = Causality::kCausal;
    const float lambda = 0.2f;
    const ReferenceResult result = problem.Run(nullptr, Skip(lambda, geometry));
    const auto tile_max = [&](int i, int tile) {
      double max = -INFINITY;
      for (int j = tile * geometry.tile_columns;
           j < std::min(kKeys, (tile + 1) * geometry.tile_columns); ++j) {
        if (j <= i + kKeys - kQueries) max = std::max<double>(max, scores[i * kKeys + j]);
      }
      return max;
    };
    int skipped_tiles = 0;
    for (int i = 0; i < kQueries; ++i) {
      const int first = i / geometry.tile_rows * geometry.tile_rows;
      const int end = std::min(kQueries, first + geometry.tile_rows);
      std::vector<int32_t> expected;
      for (int tile = 0; tile * geometry.tile_columns < kKeys; ++tile) {
        bool skip = true, seen = false;
        for (int r = first; r < end; ++r) {
          if (tile_max(r, tile) == -INFINITY) continue;
          seen = true;
          double before = -INFINITY;
          for (int t = 0; t < tile; ++t) before = std::max(before, tile_max(r, t));
          if (tile_max(r, tile) - before >= std::log(lambda)) skip = false;
        }
        if (i == first && seen && skip) ++skipped_tiles;
        for (int j = tile * geometry.tile_columns;
             !skip && j < std::min(kKeys, (tile + 1) * geometry.tile_columns); ++j) {
          if (j <= i + kKeys - kQueries) expected.push_back(j);
        }
      }
      ASSERT_EQ(problem.Kept(result, 0, i), expected) << "query " << i;
    }
    EXPECT_EQ(result.counts[0].skipped_tiles, skipped_tiles);
    if (geometry.tile_columns <= 16) {
      EXPECT_GT(skipped_tiles, 0);
    }
  }
}

// Each dropped tile of c keys holds at most c * lambda of a row's probability, so a row loses at
// most lambda * L of it and its output moves by at most twice that times the largest value.
TEST(SkipSoftmax, ErrorIsBounded) {
  for (const Values values : {Values::kGaussian, Values::kStructured}) {
    const Problem problem({.query_tokens = 128, .key_tokens = 1024, .values = values});
    const ReferenceResult dense = problem.Reference(nullptr, {});
    double largest = 0.0;
    const auto* v = static_cast<const float*>(problem.arguments.v.data);
    for (int64_t i = 0; i < 1024 * 2 * 64; ++i) largest = std::max<double>(largest, std::abs(v[i]));
    for (const float lambda : {1e-5f, 1e-4f, 1e-2f}) {
      const ReferenceResult result = problem.Reference(nullptr, Skip(lambda, {1, 16}));
      if (values == Values::kStructured) {
        EXPECT_GT(result.counts[0].skipped_tiles, 0);
      }
      double error = 0.0;
      for (size_t i = 0; i < dense.o.size(); ++i) {
        error = std::max(error, std::abs(result.o[i] - dense.o[i]));
      }
      EXPECT_LE(error, 2 * lambda * 1024 * largest);
    }
  }
}

}  // namespace
}  // namespace tamis
