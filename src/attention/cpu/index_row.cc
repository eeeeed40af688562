#include "attention/cpu/index_row.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace tamis::cpu {

IndexRow::IndexRow(const TileIndex* index, int32_t b, int32_t head, int32_t query, int32_t keys)
    : index_(index), keys_(keys) {
  if (index == nullptr) return;
  row_ = index->shape.Row(b, head, query / index->shape.query_block);
  bitmap_ = index->bitmap + row_ * index->shape.row_words();
  if (index->window_offsets != nullptr) {
    window_begin_ = index->windows + index->window_offsets[row_];
    window_end_ = index->windows + index->window_offsets[row_ + 1];
    window_ = window_begin_;
  }
  if (index->column_offsets != nullptr) {
    column_ = index->columns + index->column_offsets[row_];
    column_end_ = index->columns + index->column_offsets[row_ + 1];
  }
}

RowMask IndexRow::Visited(int32_t s) {
  const int32_t first = s * kStepKeys;
  const int32_t count = std::min(kStepKeys, keys_ - first);
  const RowMask valid = BitRange(0, count);
  if (index_ == nullptr) return valid;
  RowMask mask = {};
  if (index_->shape.key_block == kStepKeys) {
    if ((bitmap_[s / 32] >> (s % 32) & 1u) != 0) return valid;
  } else {
    const uint32_t pair = bitmap_[s / 16] >> (s % 16 * 2);
    mask = {{0 - uint64_t{pair & 1u}, 0 - uint64_t{pair >> 1 & 1u}}};
  }
  if (window_ != window_end_ || window_begin_ != window_) {
    while (window_ != window_begin_ && (window_ - 1)->end > first) --window_;
    while (window_ != window_end_ && window_->end <= first) ++window_;
    for (const KeyWindow* w = window_; w != window_end_ && w->begin < first + count; ++w) {
      mask = mask | BitRange(std::max(0, w->begin - first), std::min(count, w->end - first));
    }
  }
  return mask & valid;
}

int32_t IndexRow::NextVisited(int32_t s) const {
  if (index_ == nullptr || window_begin_ != window_end_) return s;
  const int32_t blocks = kStepKeys / index_->shape.key_block;  // a step's
  const auto words = static_cast<int32_t>(index_->shape.row_words());
  for (int32_t block = s * blocks, word = block / 32; word < words; block = ++word * 32) {
    const uint32_t bits = bitmap_[word] >> (block % 32);
    if (bits != 0) return (block + std::countr_zero(bits)) / blocks;
  }
  return std::numeric_limits<int32_t>::max() / kStepKeys;
}

int32_t IndexRow::NextColumns(int32_t* keys, int32_t limit) {
  int32_t found = 0;
  for (; column_ != column_end_ && found < limit; ++column_) {
    const int32_t key = *column_;
    const int32_t bit = key % kStepKeys;
    if ((Visited(key / kStepKeys).bits[bit / 64] >> (bit % 64) & 1u) == 0) keys[found++] = key;
  }
  return found;
}

}  // namespace tamis::cpu
