#include "tamis/block_mask.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>

#include "select/selector_inputs.h"
#include "tamis/error.h"

namespace tamis {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

AttentionArguments Call(int32_t batch, int32_t heads, int32_t queries, int32_t keys) {
  AttentionArguments arguments;
  arguments.batch = batch;
  arguments.q_heads = heads;
  arguments.kv_heads = 1;
  arguments.head_dim = 8;
  arguments.query_tokens = queries;
  arguments.key_tokens = keys;
  return arguments;
}

std::string ErrorOf(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(BlockMask, VisitsWhatItSaysPerSequenceAndHead) {
  // [2 sequences, 2 heads, 2 x 3 blocks]: the binary digits of a counter.
  std::array<bool, 24> keep;
  for (size_t i = 0; i < keep.size(); ++i) keep[i] = ((i / 3 + 1) >> (i % 3) & 1) != 0;
  auto selector = MakeBlockMaskSelector({.batch = 2,
                                         .q_heads = 2,
                                         .query_blocks = 2,
                                         .key_blocks = 3,
                                         .query_block = 128,
                                         .key_block = 64,
                                         .keep = keep});
  keep.fill(false);  // copied in
  const TileIndexStorage index = Select(*selector, Call(2, 2, 200, 192), 1);
  EXPECT_EQ(index.shape().query_block, 128);
  EXPECT_EQ(index.shape().key_block, 64);
  EXPECT_THAT(BlocksOf(index, 0, 0, 0), ElementsAre(0));
  EXPECT_THAT(BlocksOf(index, 0, 0, 1), ElementsAre(1));
  EXPECT_THAT(BlocksOf(index, 0, 1, 0), ElementsAre(0, 1));
  EXPECT_THAT(BlocksOf(index, 0, 1, 1), ElementsAre(2));
  EXPECT_THAT(BlocksOf(index, 1, 0, 0), ElementsAre(0, 2));
  EXPECT_THAT(BlocksOf(index, 1, 1, 0), ElementsAre(0, 1, 2));
  EXPECT_THAT(BlocksOf(index, 1, 1, 1), ElementsAre());
}

TEST(BlockMask, BroadcastsAndLeavesOutWhatASequenceLacks) {
  const std::array<bool, 6> keep = {true, false, true, false, true, true};
  auto selector = MakeBlockMaskSelector({.query_blocks = 2, .key_blocks = 3, .keep = keep});
  AttentionArguments arguments = Call(2, 4, 130, 384);
  const int32_t lengths[] = {384, 256};
  arguments.key_lengths = lengths;
  const TileIndexStorage index = Select(*selector, arguments, 1);
  for (int32_t head = 0; head < 4; ++head) {
    EXPECT_THAT(BlocksOf(index, 0, head, 0), ElementsAre(0, 2));
    EXPECT_THAT(BlocksOf(index, 0, head, 1), ElementsAre(1, 2));
    EXPECT_THAT(BlocksOf(index, 1, head, 0), ElementsAre(0));
    EXPECT_THAT(BlocksOf(index, 1, head, 1), ElementsAre(1));
  }
}

TEST(BlockMask, RefusesMismatchedShapesNamingBoth) {
  const std::array<bool, 6> keep{};
  EXPECT_THAT(
      ErrorOf([&] { MakeBlockMaskSelector({.query_blocks = 2, .key_blocks = 4, .keep = keep}); }),
      AllOf(HasSubstr("[1, 1, 2, 4]"), HasSubstr("6 entries")));
  EXPECT_THAT(ErrorOf([&] {
                MakeBlockMaskSelector({.batch = 1 << 30,
                                       .q_heads = 1 << 30,
                                       .query_blocks = 1 << 30,
                                       .key_blocks = 1 << 30,
                                       .keep = keep});
              }),
              HasSubstr("6 entries"));
  EXPECT_THAT(ErrorOf([&] {
                MakeBlockMaskSelector(
                    {.query_blocks = 2, .key_blocks = 3, .query_block = 96, .keep = keep});
              }),
              HasSubstr("96"));
  EXPECT_THAT(ErrorOf([&] { MakeBlockMaskSelector({.batch = 0}); }), HasSubstr("[0, 1, 0, 0]"));
  auto selector = MakeBlockMaskSelector({.query_blocks = 2, .key_blocks = 3, .keep = keep});
  EXPECT_THAT(ErrorOf([&] { Select(*selector, Call(1, 2, 257, 384), 1); }),
              AllOf(HasSubstr("[1, 1, 2, 3]"), HasSubstr("3 query blocks of 128, 3 key blocks")));
}

}  // namespace
}  // namespace tamis
