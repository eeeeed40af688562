// Every refusal of a tile index, by its message.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "attention/problem.h"
#include "attention/tile_index_storage.h"
#include "tamis/error.h"

namespace tamis {
namespace {

using attention_testing::Problem;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

/// Two sequences of 200 and 70 keys, 128 queries, GQA 4/2, and their full index of 64 x 64.
class ValidateIndexTest : public ::testing::Test {
 protected:
  ValidateIndexTest()
      : problem_({.batch = 2, .key_lengths = {200, 70}}),
        storage_(TileIndexStorage::Full(problem_.arguments, 64, 64, 1)) {}

  std::string Message(const TileIndex& index, const TileRule& rule = {}) const {
    try {
      ValidateAttention(problem_.arguments, &index, rule);
    } catch (const Error& error) {
      return error.what();
    }
    return "valid";
  }
  std::string Message() const { return Message(storage_.view()); }
  std::string MessageOfShape(const std::function<void(TileIndexShape&)>& change) const {
    TileIndex index = storage_.view();
    change(index.shape);
    return Message(index);
  }

  Problem problem_;
  TileIndexStorage storage_;
};

TEST_F(ValidateIndexTest, Shapes) {
  using S = TileIndexShape;
  EXPECT_EQ(Message(), "valid");
  EXPECT_THAT(MessageOfShape([](S& s) { s.batch = 1; }),
              HasSubstr("the index covers 1 sequences; the batch has 2"));
  EXPECT_THAT(MessageOfShape([](S& s) { s.q_heads = 8; }), HasSubstr("8 query heads"));
  EXPECT_THAT(MessageOfShape([](S& s) { s.heads_per_row = 4; }),
              HasSubstr("heads_per_row of the index is 4; use 1 or the whole GQA group, 2"));
  EXPECT_THAT(MessageOfShape([](S& s) { s.heads_per_row = 0; }), HasSubstr("is 0"));
  EXPECT_THAT(MessageOfShape([](S& s) { s.query_block = 32; }),
              HasSubstr("query_block of the index is 32; use 64 or 128"));
  EXPECT_THAT(MessageOfShape([](S& s) { s.key_block = 0; }),
              HasSubstr("key_block of the index is 0"));
  EXPECT_THAT(MessageOfShape([](S& s) { s.max_query_tokens = 127; }),
              HasSubstr("made for 127 queries, the call has up to 128"));
  EXPECT_THAT(MessageOfShape([](S& s) { s.max_key_tokens = 199; }),
              HasSubstr("made for 199 keys, the call has up to 200"));
  EXPECT_THAT(MessageOfShape([](S& s) { s.max_key_tokens = (1 << 30) + 1; }),
              HasSubstr("made for 1073741825 keys"));
}

TEST_F(ValidateIndexTest, MayBeMadeForLongerCalls) {
  TileIndexShape larger = storage_.shape();
  larger.max_query_tokens = 500;
  larger.max_key_tokens = 5000;
  storage_.Reset(larger);
  storage_.SetBlock(larger.Row(1, 3, 1), 1);
  EXPECT_EQ(Message(), "valid");
}

TEST_F(ValidateIndexTest, MissingArrays) {
  TileIndex index = storage_.view();
  index.bitmap = nullptr;
  EXPECT_THAT(Message(index), HasSubstr("the index has no bitmap; give [16][1] words"));
  index = storage_.view();
  index.counts = nullptr;
  EXPECT_THAT(Message(index), HasSubstr("the index has no counts; give [16]"));
  index = storage_.view();
  const KeyWindow window{0, 8};
  index.windows = &window;
  EXPECT_THAT(Message(index), HasSubstr("windows but no window_offsets; give [17]"));
  index = storage_.view();
  const int32_t column = 0;
  index.columns = &column;
  EXPECT_THAT(Message(index), HasSubstr("columns but no column_offsets"));
  index = storage_.view();
  std::vector<int64_t> offsets(17, 0);
  offsets[16] = 3;
  index.window_offsets = offsets.data();
  EXPECT_THAT(Message(index), HasSubstr("the index has window offsets for 3 windows but no"));
}

TEST_F(ValidateIndexTest, Bitmaps) {
  const int64_t row = storage_.shape().Row(1, 2, 1);
  storage_.SetBlock(row, 2);  // sequence 1 has 70 keys: blocks 0 and 1
  EXPECT_THAT(Message(), HasSubstr("index row (sequence 1, head row 2, query block 1) visits key "
                                   "block 2; the sequence has 2 blocks of 64 keys"));
  storage_ = TileIndexStorage::Full(problem_.arguments, 64, 64, 1);
  storage_.bitmap()[row] |= 1u << 31;  // beyond the index's own blocks
  EXPECT_THAT(Message(), HasSubstr("visits key block 31"));
  storage_ = TileIndexStorage::Full(problem_.arguments, 64, 64, 1);
  storage_.counts()[row] = 1;
  EXPECT_THAT(Message(), HasSubstr("query block 1) has count 1; its bitmap has 2 bits"));
}

TEST_F(ValidateIndexTest, Windows) {
  std::vector<std::vector<KeyWindow>> rows(16);
  std::vector<KeyWindow>& windows = rows[storage_.shape().Row(1, 0, 0)];
  const auto message = [&] {
    storage_.SetWindows(rows);
    return Message();
  };
  windows = {{0, 9}, {16, 17}, {24, 70}};
  EXPECT_EQ(message(), "valid");
  windows = {{8, 16}, {16, 24}};
  EXPECT_EQ(message(), "valid");
  windows = {{0, 71}};
  EXPECT_THAT(message(), HasSubstr("has window [0, 71); windows hold at least one key and lie in "
                                   "[0, 70)"));
  windows = {{-8, 3}};
  EXPECT_THAT(message(), HasSubstr("window [-8, 3)"));
  windows = {{8, 8}};
  EXPECT_THAT(message(), HasSubstr("window [8, 8)"));
  windows = {{4, 8}};
  EXPECT_THAT(message(), HasSubstr("window [4, 8); windows begin at multiples of 8"));
  windows = {{0, 9}, {8, 16}};
  EXPECT_THAT(message(), HasSubstr("window [8, 16) after one that ends at 9"));
  windows = {{32, 40}, {8, 16}};
  EXPECT_THAT(message(), HasSubstr("window [8, 16) after one that ends at 40"));
}

TEST_F(ValidateIndexTest, Columns) {
  std::vector<std::vector<int32_t>> rows(16);
  std::vector<int32_t>& columns = rows[storage_.shape().Row(1, 3, 1)];
  const auto message = [&] {
    storage_.SetColumns(rows);
    return Message();
  };
  columns = {0, 1, 69};
  EXPECT_EQ(message(), "valid");
  columns = {70};
  EXPECT_THAT(message(), HasSubstr("has column 70; columns lie in [0, 70)"));
  columns = {-1};
  EXPECT_THAT(message(), HasSubstr("has column -1"));
  columns = {5, 5};
  EXPECT_THAT(message(), HasSubstr("has column 5 after 5"));
  columns = {7, 5};
  EXPECT_THAT(message(), HasSubstr("has column 5 after 7"));
}

TEST_F(ValidateIndexTest, ListOffsets) {
  const std::vector<int32_t> columns = {1, 2, 3};
  std::vector<int64_t> offsets(17, 0);
  TileIndex index = storage_.view();
  index.columns = columns.data();
  index.column_offsets = offsets.data();
  EXPECT_EQ(Message(index), "valid");
  offsets[0] = -1;
  EXPECT_THAT(Message(index), HasSubstr("the first column offset of the index is -1"));
  offsets[0] = 0;
  offsets[3] = 2;
  EXPECT_THAT(Message(index), HasSubstr("column offset 4 of the index is 0 after 2"));
}

TEST_F(ValidateIndexTest, Geometry) {
  const float lambda[] = {0.1f, 0.1f};
  const auto message = [&](const TileGeometry& geometry) {
    return Message(storage_.view(), {.skip_softmax = {.lambda = lambda, .geometry = geometry}});
  };
  EXPECT_EQ(message({64, 64}), "valid");
  EXPECT_EQ(message({16, 64}), "valid");
  EXPECT_EQ(message({1, 64}), "valid");
  EXPECT_THAT(message({128, 64}), HasSubstr("skip-softmax tiles have 128 rows, query blocks of "
                                            "the index 64"));
  EXPECT_THAT(message({48, 64}), HasSubstr("48 rows"));
  EXPECT_THAT(message({64, 128}), HasSubstr("tiles have 128 columns, key blocks of the index 64"));
  EXPECT_THAT(message({64, 64, SkipVote::kGqaGroup}),
              HasSubstr("votes over GQA groups of 2 but the index has 1 head per row"));
  storage_ = TileIndexStorage::Full(problem_.arguments, 64, 64, 2);
  EXPECT_EQ(message({64, 64, SkipVote::kGqaGroup}), "valid");
  EXPECT_EQ(message({64, 64, SkipVote::kQueryHead}), "valid");
  // Without lambda the geometry takes no part.
  EXPECT_EQ(Message(storage_.view(), {.skip_softmax = {.geometry = {128, 128}}}), "valid");
}

}  // namespace
}  // namespace tamis
