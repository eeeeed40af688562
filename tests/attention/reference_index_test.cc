// TileIndex semantics in the reference: unions, order of visit, gathered columns.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <numeric>
#include <set>

#include "attention/problem.h"
#include "attention/random_index.h"
#include "attention/score_problem.h"
#include "attention/tile_index_storage.h"

namespace tamis {
namespace {

using attention_testing::Problem;
using attention_testing::RandomIndex;
using attention_testing::RandomIndexOptions;
using attention_testing::ScoreProblem;
using ::testing::ElementsAre;

constexpr float kHalf = 0.5f;

/// An empty index of blocks of 64 for one sequence of `problem`.
TileIndexStorage Empty(const ScoreProblem& problem, int32_t heads_per_row = 1) {
  const AttentionArguments& a = problem.arguments;
  return TileIndexStorage({.q_heads = a.q_heads,
                           .heads_per_row = heads_per_row,
                           .query_block = 64,
                           .key_block = 64,
                           .max_query_tokens = a.query_tokens,
                           .max_key_tokens = a.key_tokens});
}

TEST(Index, FullEqualsNone) {
  const Problem problem({.batch = 2,
                         .query_tokens = 100,
                         .key_lengths = {250, 70},
                         .keep_probability = 0.9,
                         .sink_logits = true});
  const ReferenceResult none = problem.Reference(nullptr, {});
  for (const int32_t block : {64, 128}) {
    for (const int32_t heads_per_row : {1, 2}) {
      const TileIndexStorage full =
          TileIndexStorage::Full(problem.arguments, block, 192 - block, heads_per_row);
      const TileIndex index = full.view();
      const ReferenceResult result = problem.Reference(&index, {});
      EXPECT_EQ(result.o, none.o);
      EXPECT_EQ(result.lse, none.lse);
      EXPECT_EQ(result.executed, none.executed);
    }
  }
}

TEST(Index, EmptyRowsGiveZeros) {
  const ScoreProblem problem(2, 1, 70, 100, [](int, int, int) { return 1.0f; });
  TileIndexStorage storage = Empty(problem);
  storage.SetBlock(storage.shape().Row(0, 0, 1), 1);
  const TileIndex index = storage.view();
  const ReferenceResult result = problem.Run(&index, {});
  EXPECT_EQ(result.lse[0], -std::numeric_limits<double>::infinity());
  EXPECT_EQ(result.o[0], 0.0);
  EXPECT_EQ(problem.Kept(result, 0, 64).size(), 36u);
  EXPECT_EQ(result.counts[0], (AttentionCounts{7000, 6 * 36, 6 * 36, 1, 0, 0}));
  EXPECT_EQ(result.counts[1], (AttentionCounts{7000, 0, 0, 0, 0, 0}));
  EXPECT_NEAR(result.counts[0].density(), 6 * 36 / 7000.0, 1e-15);
  EXPECT_EQ(result.counts[1].skipped_share(), 0.0);
}

TEST(Index, UnionCountsEachPairOnce) {
  const ScoreProblem problem(1, 1, 1, 200, [](int, int, int) { return 1.0f; });
  TileIndexStorage storage = Empty(problem);
  storage.SetBlock(0, 0);
  storage.SetWindows({{{56, 70}, {128, 130}}});  // half inside block 0
  storage.SetColumns({{3, 65, 128, 131, 199}});  // in the block, in windows, two outside
  const TileIndex index = storage.view();
  const ReferenceResult result = problem.Run(&index, {});
  std::vector<int32_t> expected(70);
  std::iota(expected.begin(), expected.end(), 0);
  for (const int32_t j : {128, 129, 131, 199}) expected.push_back(j);
  EXPECT_EQ(problem.Kept(result, 0, 0), expected);
  // Tiles: block 0, blocks 1 and 2 through their windows, one of gathered columns.
  EXPECT_EQ(result.counts[0], (AttentionCounts{200, 74, 74, 4, 0, 0}));
}

TEST(Index, ColumnsGatherIntoTilesOfABlock) {
  const ScoreProblem problem(1, 1, 1, 300, [](int, int, int) { return 1.0f; });
  TileIndexStorage storage = Empty(problem);
  std::vector<int32_t> columns;
  for (int32_t j = 0; j < 130; ++j) columns.push_back(2 * j);
  storage.SetColumns({columns});
  const TileIndex index = storage.view();
  EXPECT_EQ(problem.Run(&index, {}).counts[0], (AttentionCounts{300, 130, 130, 3, 0, 0}));
}

TEST(Index, ColumnsComeAfterBlocksAndWindowsInTheirPlace) {
  const TileRule rule{.skip_softmax = {.lambda = &kHalf, .geometry = {64, 64}}};
  // By blocks of 64: the column (block 0) outweighs all, but comes last and drops nothing.
  const std::vector<float> high_first = {9, 1, 0, 0.5f};
  const ScoreProblem problem(1, 1, 1, 256, [&](int, int, int j) { return high_first[j / 64]; });
  TileIndexStorage storage = Empty(problem);
  storage.SetBlock(0, 1);
  storage.SetBlock(0, 3);
  storage.SetWindows({{{128, 130}}});
  storage.SetColumns({{5}});
  TileIndex index = storage.view();
  const ReferenceResult result = problem.Run(&index, rule);
  // Block 1 (max 1) drops the window's tile (0), not block 3 (0.5); the column is kept.
  ASSERT_EQ(result.skip.size(), 4u);
  EXPECT_EQ(result.skip[0].first_key, 64);
  EXPECT_EQ(result.skip[1].first_key, 128);
  EXPECT_EQ(result.skip[1].last_key, 129);
  EXPECT_EQ(result.skip[2].first_key, 192);
  EXPECT_TRUE(result.skip[3].gathered);
  EXPECT_EQ(result.counts[0], (AttentionCounts{256, 131, 129, 4, 1, 0}));

  // A low column is dropped against the blocks before it.
  const ScoreProblem low(1, 1, 1, 256, [](int, int, int j) { return j < 64 ? 0.0f : 1.0f; });
  EXPECT_EQ(low.Run(&index, rule).counts[0], (AttentionCounts{256, 131, 130, 4, 1, 0}));

  // With two splits the column ends the second: tiles 2 and 3 are its maximum, not tile 1.
  const ScoreProblem split(1, 1, 1, 256, [](int, int, int j) { return j / 64 == 1 ? 9.0f : 0.0f; });
  TileRule two = rule;
  two.skip_softmax.geometry.splits = 2;
  EXPECT_EQ(split.Run(&index, rule).counts[0].skipped_tiles, 3);
  EXPECT_EQ(split.Run(&index, two).counts[0].skipped_tiles, 0);
  const ScoreProblem end(1, 1, 1, 256, [](int, int, int j) { return j < 192 ? 0.0f : 9.0f; });
  EXPECT_EQ(end.Run(&index, two).counts[0].skipped_tiles, 1);
}

TEST(Index, TilesMayDivideQueryBlocks) {
  // Tiles of 32 rows under query blocks of 64: rows 32.. veto only their own tile.
  const ScoreProblem problem(1, 1, 64, 128, [](int, int i, int j) {
    return j < 64 ? 0.0f : i < 32 ? -5.0f : 0.0f;
  });
  TileIndexStorage storage = TileIndexStorage::Full(problem.arguments, 64, 64);
  const TileIndex index = storage.view();
  const auto counts = [&](int32_t tile_rows) {
    return problem.Run(&index, {.skip_softmax = {.lambda = &kHalf, .geometry = {tile_rows, 64}}})
        .counts[0];
  };
  EXPECT_EQ(counts(64), (AttentionCounts{8192, 8192, 8192, 2, 0, 0}));
  EXPECT_EQ(counts(32), (AttentionCounts{8192, 8192, 6144, 4, 1, 0}));
  EXPECT_EQ(counts(1), (AttentionCounts{8192, 8192, 6144, 128, 32, 0}));
}

// The executed mask of random indices, pair by pair, against membership written once more.
TEST(Index, RandomIndicesKeepExactlyTheirPairs) {
  for (const int32_t heads_per_row : {1, 2}) {
    for (const bool ragged : {false, true}) {
      const Problem problem(
          {.batch = 2,
           .query_lengths = ragged ? std::vector<int32_t>{150, 3} : std::vector<int32_t>{},
           .key_lengths = {300, 90},
           .packed_keys = ragged});
      const AttentionArguments& a = problem.arguments;
      const TileIndexStorage storage = RandomIndex(a, {.query_block = 64,
                                                       .key_block = 128,
                                                       .heads_per_row = heads_per_row,
                                                       .density = 0.3,
                                                       .empty_rows = 0.1,
                                                       .windows = 3,
                                                       .columns = 20,
                                                       .seed = 11});
      const TileIndex index = storage.view();
      ValidateAttention(a, &index, {});
      const ReferenceResult result = problem.Reference(&index, {});
      const std::vector<int32_t> queries =
          ragged ? std::vector<int32_t>{150, 3} : std::vector<int32_t>{128, 128};
      const std::vector<int32_t> keys = {300, 90};
      const int64_t words = (a.key_tokens + 31) / 32;
      for (int32_t b = 0; b < 2; ++b) {
        for (int32_t h = 0; h < 4; ++h) {
          AttentionCounts expected;
          for (int32_t i = 0; i < a.query_tokens; ++i) {
            const int64_t row = index.shape.Row(b, h, i / 64);
            std::set<int32_t> members;
            if (i < queries[b]) {
              for (int32_t j = 0; j < keys[b]; ++j) {
                if (storage.HasBlock(row, j / 128)) members.insert(j);
              }
              for (int64_t w = index.window_offsets[row]; w < index.window_offsets[row + 1]; ++w) {
                for (int32_t j = index.windows[w].begin; j < index.windows[w].end; ++j) {
                  members.insert(j);
                }
              }
              members.insert(index.columns + index.column_offsets[row],
                             index.columns + index.column_offsets[row + 1]);
            }
            for (int32_t j = 0; j < a.key_tokens; ++j) {
              const bool allowed = i < queries[b] && j < keys[b] && j <= i + keys[b] - queries[b];
              const bool kept = allowed && members.count(j) == 1;
              expected.allowed_pairs += allowed;
              expected.visited_pairs += kept;
              const int64_t r = (int64_t{b} * 4 + h) * a.query_tokens + i;
              ASSERT_EQ(result.executed[r * words + j / 32] >> (j % 32) & 1u, kept)
                  << b << " " << h << " " << i << " " << j;
            }
          }
          EXPECT_EQ(result.counts[b * 4 + h].allowed_pairs, expected.allowed_pairs);
          EXPECT_EQ(result.counts[b * 4 + h].visited_pairs, expected.visited_pairs);
          EXPECT_EQ(result.counts[b * 4 + h].kept_pairs, expected.visited_pairs);
        }
      }
    }
  }
}

}  // namespace
}  // namespace tamis
