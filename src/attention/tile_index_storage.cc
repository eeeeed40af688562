#include "attention/tile_index_storage.h"

#include <cassert>

#include "attention/sequence_view.h"
#include "base/check.h"

namespace tamis {
namespace {

/// Concatenates one list per row.
template <typename T>
void Flatten(const std::vector<std::vector<T>>& rows, std::vector<int64_t>& offsets,
             std::vector<T>& values) {
  offsets.assign(1, 0);
  values.clear();
  for (const std::vector<T>& row : rows) {
    values.insert(values.end(), row.begin(), row.end());
    offsets.push_back(static_cast<int64_t>(values.size()));
  }
}

}  // namespace

TileIndexStorage TileIndexStorage::Full(const AttentionArguments& arguments, int32_t query_block,
                                        int32_t key_block, int32_t heads_per_row) {
  TileIndexStorage full({.batch = arguments.batch,
                         .q_heads = arguments.q_heads,
                         .heads_per_row = heads_per_row,
                         .query_block = query_block,
                         .key_block = key_block,
                         .max_query_tokens = arguments.query_tokens,
                         .max_key_tokens = arguments.key_tokens});
  const int64_t rows_per_sequence = full.shape_.rows() / arguments.batch;
  for (int64_t row = 0; row < full.shape_.rows(); ++row) {
    const SequenceView sequence(arguments, static_cast<int32_t>(row / rows_per_sequence));
    const int32_t blocks = (sequence.keys() + key_block - 1) / key_block;
    for (int32_t block = 0; block < blocks; ++block) full.SetBlock(row, block);
  }
  return full;
}

void TileIndexStorage::Reset(const TileIndexShape& shape) {
  shape_ = shape;
  Clear();
}

void TileIndexStorage::Clear() {
  bitmap_.assign(shape_.rows() * shape_.row_words(), 0u);
  counts_.assign(shape_.rows(), 0);
  window_offsets_.clear();
  windows_.clear();
  column_offsets_.clear();
  columns_.clear();
}

void TileIndexStorage::SetBlock(int64_t row, int32_t key_block) {
  assert(row >= 0 && row < shape_.rows() && key_block >= 0 && key_block < shape_.key_blocks());
  uint32_t& word = bitmap_[row * shape_.row_words() + key_block / 32];
  const uint32_t bit = 1u << (key_block % 32);
  if ((word & bit) == 0) ++counts_[row];
  word |= bit;
}

void TileIndexStorage::SetWindows(const std::vector<std::vector<KeyWindow>>& rows) {
  Require(static_cast<int64_t>(rows.size()) == shape_.rows(),
          "windows for {} rows; the index has {}", rows.size(), shape_.rows());
  Flatten(rows, window_offsets_, windows_);
}

void TileIndexStorage::SetColumns(const std::vector<std::vector<int32_t>>& rows) {
  Require(static_cast<int64_t>(rows.size()) == shape_.rows(),
          "columns for {} rows; the index has {}", rows.size(), shape_.rows());
  Flatten(rows, column_offsets_, columns_);
}

TileIndex TileIndexStorage::view() const {
  TileIndex index{.shape = shape_, .bitmap = bitmap_.data(), .counts = counts_.data()};
  if (!window_offsets_.empty()) {
    index.window_offsets = window_offsets_.data();
    index.windows = windows_.data();
  }
  if (!column_offsets_.empty()) {
    index.column_offsets = column_offsets_.data();
    index.columns = columns_.data();
  }
  return index;
}

}  // namespace tamis
