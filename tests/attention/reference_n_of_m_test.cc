// N:M in the reference, on scores written down by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "attention/problem.h"
#include "attention/score_problem.h"
#include "attention/tile_index_storage.h"

namespace tamis {
namespace {

using attention_testing::Rng;
using attention_testing::ScoreProblem;
using ::testing::ElementsAre;

/// One query with these scores.
ScoreProblem OneRow(const std::vector<float>& scores) {
  return ScoreProblem(1, 1, 1, static_cast<int32_t>(scores.size()),
                      [&](int, int, int j) { return scores[j]; });
}

std::vector<int32_t> KeptOf(const ScoreProblem& problem, const NOfMRule& rule) {
  return problem.Kept(problem.Run(nullptr, {.n_of_m = rule}), 0, 0);
}

TEST(NOfM, KeepsExactlyTheBestNOfEachGroup) {
  for (const auto& [n, m] : std::vector<std::pair<int, int>>{
           {1, 2}, {1, 4}, {2, 4}, {3, 4}, {1, 8}, {2, 8}, {4, 8}, {7, 8}}) {
    SCOPED_TRACE(::testing::Message() << n << ":" << m);
    Rng rng(n * 10 + m);
    std::vector<float> scores(3 * 200);
    for (float& score : scores) score = static_cast<float>(rng.Normal());
    const ScoreProblem problem(1, 1, 3, 200,
                               [&](int, int i, int j) { return scores[i * 200 + j]; });
    const ReferenceResult result = problem.Run(nullptr, {.n_of_m = {.n = n, .m = m}});
    EXPECT_EQ(result.counts[0].visited_pairs, 600);
    EXPECT_EQ(result.counts[0].kept_pairs, 600 * n / m);
    EXPECT_EQ(result.n_of_m.size(), 3u * 200 / m);
    for (int i = 0; i < 3; ++i) {
      std::vector<bool> kept(200, false);
      for (const int32_t j : problem.Kept(result, 0, i)) kept[j] = true;
      for (int group = 0; group < 200; group += m) {
        float worst_kept = INFINITY, best_dropped = -INFINITY;
        int count = 0;
        for (int j = group; j < group + m; ++j) {
          count += kept[j];
          float& side = kept[j] ? worst_kept : best_dropped;
          side =
              kept[j] ? std::min(side, scores[i * 200 + j]) : std::max(side, scores[i * 200 + j]);
        }
        EXPECT_EQ(count, n);
        EXPECT_GT(worst_kept, best_dropped);
      }
    }
  }
}

TEST(NOfM, LowestPositionWinsTies) {
  EXPECT_THAT(KeptOf(OneRow({1, 1, 1, 1, 1, 1, 1, 1}), {.n = 1, .m = 2}), ElementsAre(0, 2, 4, 6));
  EXPECT_THAT(KeptOf(OneRow({1, 1, 1, 1, 1, 1, 1, 1}), {.n = 3, .m = 8}), ElementsAre(0, 1, 2));
  EXPECT_THAT(KeptOf(OneRow({1, 2, 2, 2, 2, 1, 3, 1}), {.n = 2, .m = 4}), ElementsAre(1, 2, 4, 6));
  EXPECT_THAT(KeptOf(OneRow({-0.0f, 0.0f}), {.n = 1, .m = 2}), ElementsAre(0));
}

TEST(NOfM, ScoresCompareInFp32) {
  // 1 and 1 + 2^-30 are one number in fp32: a tie, though not in fp64.
  const std::vector<float> q = {1, 1, 0, 0, 0, 0, 0, 0};
  const std::vector<float> k = {1, 0, 0, 0, 0, 0, 0, 0, 1, 0x1p-30f, 0, 0, 0, 0, 0, 0};
  std::vector<float> o(8);
  AttentionArguments a{.q_heads = 1, .kv_heads = 1, .head_dim = 8};
  a.query_tokens = 1;
  a.key_tokens = 2;
  a.softmax_scale = 1.0f;
  a.q = {q.data(), {.row = 8}};
  a.k = a.v = {k.data(), {.row = 8}};
  a.o = {o.data(), {.row = 8}};
  const ReferenceResult result = ReferenceAttention(a, nullptr, {.n_of_m = {.n = 1, .m = 2}});
  EXPECT_EQ(result.executed[0], 1u);
  ASSERT_EQ(result.n_of_m.size(), 1u);
  EXPECT_EQ(result.n_of_m[0].gap, 0x1p-30);
  EXPECT_EQ(result.n_of_m[0].magnitude, 1 + 0x1p-30);
}

TEST(NOfM, OnlyVisibleKeysCompete) {
  ScoreProblem problem(1, 1, 8, 8, [](int, int, int j) { return static_cast<float>(j); });
  problem.arguments.mask.causality = Causality::kCausal;
  const ReferenceResult result = problem.Run(nullptr, {.n_of_m = {.n = 2, .m = 4}});
  EXPECT_THAT(problem.Kept(result, 0, 0), ElementsAre(0));
  EXPECT_THAT(problem.Kept(result, 0, 1), ElementsAre(0, 1));
  EXPECT_THAT(problem.Kept(result, 0, 2), ElementsAre(1, 2));
  EXPECT_THAT(problem.Kept(result, 0, 4), ElementsAre(2, 3, 4));
  EXPECT_THAT(problem.Kept(result, 0, 7), ElementsAre(2, 3, 6, 7));
}

TEST(NOfM, SinkAndRecentAreKeptOnTopAndCompete) {
  // Sink 0 is the best of its group and takes its only place; sink 1 stays on top.
  EXPECT_THAT(KeptOf(OneRow({5, 1, 2, 3, 9, 8}), {.n = 1, .m = 2, .sink_tokens = 2}),
              ElementsAre(0, 1, 3, 4));
  EXPECT_THAT(KeptOf(OneRow({5, 1, 2, 3}), {.n = 1, .m = 2, .sink_tokens = 1}), ElementsAre(0, 3));
  EXPECT_THAT(KeptOf(OneRow({1, 5, 2, 3}), {.n = 1, .m = 2, .sink_tokens = 1}),
              ElementsAre(0, 1, 3));
  // The query is at position 2 of 6: 1 and 2 are recent, later keys never are.
  ScoreProblem problem = OneRow({9, 0, 0, 9, 0, 9});
  const int32_t start = 2;
  problem.arguments.query_starts = &start;
  EXPECT_THAT(KeptOf(problem, {.n = 1, .m = 2, .recent_tokens = 2}), ElementsAre(0, 1, 2, 3, 5));
  EXPECT_THAT(KeptOf(problem, {.n = 1, .m = 2, .recent_tokens = 1}), ElementsAre(0, 2, 3, 5));
}

TEST(NOfM, RunsInDecodeOnlyWhenAsked) {
  ScoreProblem problem = OneRow({1, 2, 3, 4});
  EXPECT_THAT(KeptOf(problem, {.n = 1, .m = 2}), ElementsAre(1, 3));
  problem.arguments.phase = Phase::kDecode;
  EXPECT_THAT(KeptOf(problem, {.n = 1, .m = 2}), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(KeptOf(problem, {.n = 1, .m = 2, .in_decode = true}), ElementsAre(1, 3));
  const Phase phases[] = {Phase::kPrefill};  // wins over `phase`
  problem.arguments.phases = phases;
  EXPECT_THAT(KeptOf(problem, {.n = 1, .m = 2}), ElementsAre(1, 3));
}

TEST(NOfM, DiagonalBlocksStayDense) {
  const NOfMRule rule{.n = 1, .m = 4, .skip_diagonal_blocks = true};
  // (query, key) blocks of 64 that must stay dense, by the position of query 0.
  struct Case {
    int32_t queries;
    int32_t start;
    std::vector<std::pair<int, int>> dense;
  };
  const std::vector<Case> cases = {
      {192, 0, {{0, 0}, {1, 1}, {2, 2}}},
      {128, 64, {{0, 1}, {1, 2}}},
      {128, 32, {{0, 0}, {0, 1}, {1, 1}, {1, 2}}},
      {70, 58, {{0, 0}, {0, 1}, {1, 1}}},  // rows 64..69 end at position 127: not in block 2
      {70, 59, {{0, 0}, {0, 1}, {1, 1}, {1, 2}}},
      {64, -64, {}},
      {64, 192, {}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(::testing::Message() << c.queries << " queries from " << c.start);
    ScoreProblem problem(1, 1, c.queries, 192, [](int, int, int) { return 0.0f; });
    problem.arguments.query_starts = &c.start;
    const TileIndexStorage storage = TileIndexStorage::Full(problem.arguments, 64, 64);
    const TileIndex index = storage.view();
    const ReferenceResult result = problem.Run(&index, {.n_of_m = rule});
    for (int i = 0; i < c.queries; ++i) {
      std::vector<int32_t> expected;
      for (int j = 0; j < 192; ++j) {
        const bool dense = std::count(c.dense.begin(), c.dense.end(), std::pair(i / 64, j / 64));
        if (dense || j % 4 == 0) expected.push_back(j);
      }
      ASSERT_EQ(problem.Kept(result, 0, i), expected) << "query " << i;
    }
  }
}

TEST(NOfM, DiagonalBlocksWithoutAnIndexAre128) {
  const ScoreProblem problem(1, 1, 200, 200, [](int, int, int) { return 0.0f; });
  const NOfMRule rule{.n = 1, .m = 2, .skip_diagonal_blocks = true};
  const ReferenceResult result = problem.Run(nullptr, {.n_of_m = rule});
  EXPECT_EQ(problem.Kept(result, 0, 127).size(), 128u + 36);
  EXPECT_EQ(problem.Kept(result, 0, 128).size(), 64u + 72);
}

TEST(NOfM, GroupsFollowPositions) {
  ScoreProblem problem = OneRow({1, 2, 4, 3, 2, 1, 0});
  const std::vector<int32_t> positions = {0, 1, 4, 5, 6, 7, 12};
  const int32_t start = 12;
  problem.arguments.key_positions = positions.data();
  problem.arguments.query_starts = &start;
  EXPECT_THAT(KeptOf(problem, {.n = 1, .m = 4}), ElementsAre(1, 2, 6));
  EXPECT_THAT(KeptOf(problem, {.n = 1, .m = 2}), ElementsAre(1, 2, 4, 6));
}

TEST(NOfM, GroupsCompareWithinATile) {
  // Keys 0..15 at positions 2..17 in tiles of 8 keys: the group of positions 8..11 is keys 6, 7 of
  // the first tile and 8, 9 of the second, and each half keeps one.
  ScoreProblem problem(1, 1, 1, 16, [](int, int, int) { return 0.0f; });
  std::vector<int32_t> positions(16);
  std::iota(positions.begin(), positions.end(), 2);
  problem.arguments.key_positions = positions.data();
  const float lambda = 0.0f;
  const TileRule rule{.skip_softmax = {.lambda = &lambda, .geometry = {.tile_columns = 8}},
                      .n_of_m = {.n = 1, .m = 4}};
  EXPECT_THAT(problem.Kept(problem.Run(nullptr, rule), 0, 0), ElementsAre(0, 2, 6, 8, 10, 14));
}

TEST(NOfM, WindowsCutGroupsAndColumnsStayDense) {
  // 1:8 over the window [8, 14), with columns 12 (inside), 14 and 15 (gathered).
  ScoreProblem problem(1, 1, 1, 100, [](int, int, int j) { return static_cast<float>(j); });
  TileIndexStorage storage(TileIndexStorage::Full(problem.arguments, 64, 64).shape());
  storage.SetWindows({{{8, 14}}});
  storage.SetColumns({{12, 14, 15}});
  const TileIndex index = storage.view();
  const ReferenceResult result = problem.Run(&index, {.n_of_m = {.n = 1, .m = 8}});
  EXPECT_THAT(problem.Kept(result, 0, 0), ElementsAre(13, 14, 15));
  EXPECT_EQ(result.counts[0], (AttentionCounts{100, 8, 3, 2, 0, 0}));
}

}  // namespace
}  // namespace tamis
