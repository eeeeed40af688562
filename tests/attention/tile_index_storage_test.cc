#include "attention/tile_index_storage.h"

#include <gtest/gtest.h>

#include "attention/problem.h"
#include "tamis/error.h"

namespace tamis {
namespace {

TileIndexShape Shape() {
  return {.batch = 2,
          .q_heads = 4,
          .heads_per_row = 2,
          .query_block = 64,
          .key_block = 64,
          .max_query_tokens = 130,
          .max_key_tokens = 64 * 33 + 1};
}

TEST(TileIndexShape, CountsRowsAndWords) {
  const TileIndexShape shape = Shape();
  EXPECT_EQ(shape.query_blocks(), 3);
  EXPECT_EQ(shape.key_blocks(), 34);
  EXPECT_EQ(shape.row_words(), 2);
  EXPECT_EQ(shape.rows(), 2 * 2 * 3);
  EXPECT_EQ(shape.Row(1, 3, 2), (1 * 2 + 1) * 3 + 2);
}

TEST(TileIndexStorage, StartsEmptyAndCountsEachBlockOnce) {
  TileIndexStorage storage(Shape());
  storage.SetBlock(5, 33);
  storage.SetBlock(5, 33);
  storage.SetBlock(5, 0);
  const TileIndex index = storage.view();
  EXPECT_EQ(index.shape, Shape());
  EXPECT_EQ(index.counts[5], 2);
  EXPECT_EQ(index.bitmap[5 * 2], 1u);
  EXPECT_EQ(index.bitmap[5 * 2 + 1], 2u);
  EXPECT_EQ(index.counts[4], 0);
  EXPECT_TRUE(storage.HasBlock(5, 33));
  EXPECT_FALSE(storage.HasBlock(5, 32));
  EXPECT_EQ(index.window_offsets, nullptr);
  EXPECT_EQ(index.column_offsets, nullptr);
}

TEST(TileIndexStorage, KeepsWindowsAndColumnsByRow) {
  TileIndexStorage storage(Shape());
  std::vector<std::vector<KeyWindow>> windows(12);
  std::vector<std::vector<int32_t>> columns(12);
  windows[1] = {{8, 20}, {24, 25}};
  columns[11] = {3, 2000};
  storage.SetWindows(windows);
  storage.SetColumns(columns);
  const TileIndex index = storage.view();
  EXPECT_EQ(index.window_offsets[1], 0);
  EXPECT_EQ(index.window_offsets[2], 2);
  EXPECT_EQ(index.window_offsets[12], 2);
  EXPECT_EQ(index.windows[1].begin, 24);
  EXPECT_EQ(index.column_offsets[11], 0);
  EXPECT_EQ(index.column_offsets[12], 2);
  EXPECT_EQ(index.columns[1], 2000);
  windows.pop_back();
  EXPECT_THROW(storage.SetWindows(windows), Error);
  columns.pop_back();
  EXPECT_THROW(storage.SetColumns(columns), Error);

  storage.SetBlock(0, 1);
  storage.Clear();
  EXPECT_EQ(storage.view().window_offsets, nullptr);
  EXPECT_EQ(storage.view().column_offsets, nullptr);
  EXPECT_EQ(storage.view().counts[0], 0);
  EXPECT_EQ(storage.view().bitmap[0], 0u);
}

TEST(TileIndexStorage, ResetTakesANewShapeAndForgets) {
  TileIndexStorage storage(Shape());
  storage.SetBlock(0, 0);
  TileIndexShape smaller = Shape();
  smaller.max_key_tokens = 64;
  storage.Reset(smaller);
  EXPECT_EQ(storage.shape(), smaller);
  for (int64_t row = 0; row < smaller.rows(); ++row) EXPECT_EQ(storage.counts()[row], 0);
  TileIndexStorage empty;
  EXPECT_EQ(empty.view().shape.rows(), 0);
}

TEST(TileIndexStorage, FullCoversEachSequenceAndNoMore) {
  const attention_testing::Problem problem(
      {.batch = 3, .query_tokens = 70, .key_lengths = {200, 64, 0}});
  const TileIndexStorage full = TileIndexStorage::Full(problem.arguments, 64, 64, 2);
  const TileIndex index = full.view();
  ValidateAttention(problem.arguments, &index, {});
  for (int32_t head = 0; head < 4; ++head) {
    for (int32_t block = 0; block < 2; ++block) {
      EXPECT_EQ(index.counts[index.shape.Row(0, head, block)], 4);
      EXPECT_EQ(index.counts[index.shape.Row(1, head, block)], 1);
      EXPECT_EQ(index.counts[index.shape.Row(2, head, block)], 0);
    }
  }
  EXPECT_EQ(index.bitmap[0], 0xfu);
}

}  // namespace
}  // namespace tamis
