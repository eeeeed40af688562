#include <algorithm>
#include <bit>

#include "attention/sequence_view.h"
#include "attention/validate.h"
#include "base/check.h"

namespace tamis {
namespace {

/// The sequence, head row and query block of an index row, as messages name it.
struct RowName {
  RowName(const TileIndexShape& shape, int64_t row)
      : sequence(static_cast<int32_t>(row / shape.query_blocks() / shape.head_rows())),
        head_row(static_cast<int32_t>(row / shape.query_blocks() % shape.head_rows())),
        block(static_cast<int32_t>(row % shape.query_blocks())) {}
  std::string Text() const {
    return fmt::format("index row (sequence {}, head row {}, query block {})", sequence, head_row,
                       block);
  }
  int32_t sequence;
  int32_t head_row;
  int32_t block;
};

void ValidateBitmap(const TileIndex& index, const RowName& name, int64_t row, int32_t keys) {
  const TileIndexShape& shape = index.shape;
  const int32_t blocks = (keys + shape.key_block - 1) / shape.key_block;
  int32_t set = 0;
  for (int32_t w = 0; w < shape.row_words(); ++w) {
    const uint32_t word = index.bitmap[row * shape.row_words() + w];
    set += std::popcount(word);
    if (word == 0) continue;
    const int32_t last = w * 32 + 31 - std::countl_zero(word);
    if (last >= blocks) {
      Fail("{} visits key block {}; the sequence has {} blocks of {} keys: clear it", name.Text(),
           last, blocks, shape.key_block);
    }
  }
  if (index.counts[row] != set) {
    Fail("{} has count {}; its bitmap has {} bits: set the count to that", name.Text(),
         index.counts[row], set);
  }
}

/// Offsets [rows + 1] of windows or columns.
void ValidateListOffsets(const char* what, const int64_t* offsets, const void* values,
                         int64_t rows) {
  Require(offsets[0] >= 0, "the first {} offset of the index is {}; offsets start at 0 or later",
          what, offsets[0]);
  for (int64_t row = 0; row < rows; ++row) {
    Require(offsets[row + 1] >= offsets[row],
            "{} offset {} of the index is {} after {}; offsets must not descend", what, row + 1,
            offsets[row + 1], offsets[row]);
  }
  Require(values != nullptr || offsets[rows] == offsets[0],
          "the index has {0} offsets for {1} {0}s but no {0}s; set them", what,
          offsets[rows] - offsets[0]);
}

void ValidateWindows(const TileIndex& index, const RowName& name, int64_t row, int32_t keys) {
  int32_t previous_end = 0;
  for (int64_t i = index.window_offsets[row]; i < index.window_offsets[row + 1]; ++i) {
    const KeyWindow window = index.windows[i];
    if (window.begin < 0 || window.begin >= window.end || window.end > keys) {
      Fail("{} has window [{}, {}); windows hold at least one key and lie in [0, {})", name.Text(),
           window.begin, window.end, keys);
    }
    if (window.begin % 8 != 0) {
      Fail("{} has window [{}, {}); windows begin at multiples of 8", name.Text(), window.begin,
           window.end);
    }
    if (window.begin < previous_end) {
      Fail("{} has window [{}, {}) after one that ends at {}; windows ascend and are disjoint",
           name.Text(), window.begin, window.end, previous_end);
    }
    previous_end = window.end;
  }
}

void ValidateColumns(const TileIndex& index, const RowName& name, int64_t row, int32_t keys) {
  int32_t previous = -1;
  for (int64_t i = index.column_offsets[row]; i < index.column_offsets[row + 1]; ++i) {
    const int32_t column = index.columns[i];
    if (column < 0 || column >= keys) {
      Fail("{} has column {}; columns lie in [0, {})", name.Text(), column, keys);
    }
    if (column <= previous) {
      Fail("{} has column {} after {}; columns ascend, each named once", name.Text(), column,
           previous);
    }
    previous = column;
  }
}

void ValidateGeometry(const TileGeometry& geometry) {
  Require(geometry.tile_rows >= 1, "skip-softmax tile_rows is {}; use 1 or more",
          geometry.tile_rows);
  Require(geometry.tile_columns >= 8 && geometry.tile_columns % 8 == 0,
          "skip-softmax tile_columns is {}; use a multiple of 8", geometry.tile_columns);
  Require(geometry.vote <= SkipVote::kGqaGroup,
          "skip-softmax vote {} is unknown; use kQueryHead or kGqaGroup",
          static_cast<int>(geometry.vote));
  Require(geometry.order <= KeyOrder::kDescending,
          "skip-softmax order {} is unknown; use kAscending or kDescending",
          static_cast<int>(geometry.order));
  Require(geometry.splits >= 1, "skip-softmax splits is {}; use 1 or more", geometry.splits);
}

void ValidateNOfM(const NOfMRule& rule) {
  Require(rule.n >= 0, "N:M keeps n = {} keys; use 1 or more, or 0 for off", rule.n);
  if (rule.n == 0) return;
  Require(rule.m == 2 || rule.m == 4 || rule.m == 8,
          "N:M {}:{} has groups of {}; use groups of 2, 4 or 8", rule.n, rule.m, rule.m);
  Require(rule.n < rule.m, "N:M {}:{} drops nothing; use n from 1 to {}", rule.n, rule.m,
          rule.m - 1);
  Require(rule.sink_tokens >= 0 && rule.recent_tokens >= 0,
          "N:M keeps {} sink and {} recent tokens; use 0 or more", rule.sink_tokens,
          rule.recent_tokens);
}

}  // namespace

void ValidateRuleShape(const TileRule& rule) {
  if (rule.skip_softmax.lambda != nullptr) ValidateGeometry(rule.skip_softmax.geometry);
  ValidateNOfM(rule.n_of_m);
}

void ValidateRule(const AttentionArguments& a, const TileRule& rule) {
  if (const float* lambda = rule.skip_softmax.lambda; lambda != nullptr) {
    for (int32_t b = 0; b < a.batch; ++b) {
      Require(lambda[b] >= 0,
              "skip-softmax lambda[{}] is {}; use 0 (off) or a number above 0, below 1 to skip", b,
              lambda[b]);
    }
  }
  ValidateRuleShape(rule);
}

void ValidateIndexShape(const AttentionArguments& a, const TileIndexShape& shape,
                        const TileRule& rule) {
  Require(shape.batch == a.batch, "the index covers {} sequences; the batch has {}", shape.batch,
          a.batch);
  Require(shape.q_heads == a.q_heads, "the index covers {} query heads; the call has {}",
          shape.q_heads, a.q_heads);
  Require(shape.heads_per_row == 1 || shape.heads_per_row == a.group(),
          "heads_per_row of the index is {}; use 1 or the whole GQA group, {}", shape.heads_per_row,
          a.group());
  Require(shape.query_block == 64 || shape.query_block == 128,
          "query_block of the index is {}; use 64 or 128", shape.query_block);
  Require(shape.key_block == 64 || shape.key_block == 128,
          "key_block of the index is {}; use 64 or 128", shape.key_block);
  Require(shape.max_query_tokens >= a.query_tokens && shape.max_query_tokens <= 1 << 30,
          "the index is made for {} queries, the call has up to {}; make it for at least as many "
          "and at most 2^30",
          shape.max_query_tokens, a.query_tokens);
  Require(shape.max_key_tokens >= a.key_tokens && shape.max_key_tokens <= 1 << 30,
          "the index is made for {} keys, the call has up to {}; make it for at least as many and "
          "at most 2^30",
          shape.max_key_tokens, a.key_tokens);
  if (rule.skip_softmax.lambda != nullptr) {
    const TileGeometry& geometry = rule.skip_softmax.geometry;
    Require(shape.query_block % geometry.tile_rows == 0,
            "skip-softmax tiles have {} rows, query blocks of the index {}; use tile_rows that "
            "divide query_block",
            geometry.tile_rows, shape.query_block);
    Require(geometry.tile_columns == shape.key_block,
            "skip-softmax tiles have {} columns, key blocks of the index {}; make them equal",
            geometry.tile_columns, shape.key_block);
    Require(geometry.vote == SkipVote::kQueryHead || shape.heads_per_row == a.group(),
            "skip-softmax votes over GQA groups of {} but the index has {} head per row; use "
            "heads_per_row = {} or the vote kQueryHead",
            a.group(), shape.heads_per_row, a.group());
  }
}

void ValidateIndex(const AttentionArguments& a, const TileIndex& index, const TileRule& rule) {
  const TileIndexShape& shape = index.shape;
  ValidateIndexShape(a, shape, rule);
  const int64_t rows = shape.rows();
  if (rows == 0) return;
  Require(index.bitmap != nullptr || shape.row_words() == 0,
          "the index has no bitmap; give [{}][{}] words", rows, shape.row_words());
  Require(index.counts != nullptr, "the index has no counts; give [{}]", rows);
  Require(index.windows == nullptr || index.window_offsets != nullptr,
          "the index has windows but no window_offsets; give [{}]", rows + 1);
  Require(index.columns == nullptr || index.column_offsets != nullptr,
          "the index has columns but no column_offsets; give [{}]", rows + 1);
  if (index.window_offsets != nullptr) {
    ValidateListOffsets("window", index.window_offsets, index.windows, rows);
  }
  if (index.column_offsets != nullptr) {
    ValidateListOffsets("column", index.column_offsets, index.columns, rows);
  }
  for (int64_t row = 0; row < rows; ++row) {
    const RowName name(shape, row);
    const int32_t keys = SequenceView(a, name.sequence).keys();
    ValidateBitmap(index, name, row, keys);
    if (index.window_offsets != nullptr) ValidateWindows(index, name, row, keys);
    if (index.column_offsets != nullptr) ValidateColumns(index, name, row, keys);
  }
}

}  // namespace tamis
