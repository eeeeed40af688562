// Where the rows of one sequence of a call lie, and at which positions.
#ifndef TAMIS_ATTENTION_SEQUENCE_VIEW_H_
#define TAMIS_ATTENTION_SEQUENCE_VIEW_H_

#include <cstdint>

#include "tamis/attention.h"

namespace tamis {

/// Reads the layout (uniform, ragged, paged) of sequence `b` once; contents are trusted. Positions
/// are 64-bit so that their differences cannot overflow.
class SequenceView {
 public:
  SequenceView(const AttentionArguments& arguments, int32_t b) : arguments_(arguments), b_(b) {
    if (arguments.query_offsets != nullptr) {
      first_query_ = arguments.query_offsets[b];
      queries_ = arguments.query_offsets[b + 1] - arguments.query_offsets[b];
    } else {
      queries_ = arguments.query_tokens;
    }
    if (arguments.key_offsets != nullptr) {
      first_key_ = arguments.key_offsets[b];
      keys_ = arguments.key_offsets[b + 1] - arguments.key_offsets[b];
    } else {
      keys_ = arguments.key_lengths != nullptr ? arguments.key_lengths[b] : arguments.key_tokens;
    }
    query_start_ = arguments.query_starts != nullptr ? arguments.query_starts[b] : keys_ - queries_;
    if (arguments.key_positions != nullptr) {
      key_positions_ =
          arguments.key_positions +
          (arguments.key_offsets != nullptr ? first_key_ : int64_t{b} * arguments.key_tokens);
    }
  }

  int32_t queries() const { return queries_; }
  int32_t keys() const { return keys_; }
  Phase phase() const {
    return arguments_.phases != nullptr ? arguments_.phases[b_] : arguments_.phase;
  }

  int64_t QueryPosition(int32_t query) const { return int64_t{query_start_} + query; }
  int64_t KeyPosition(int32_t key) const {
    return key_positions_ != nullptr ? key_positions_[key] : key;
  }

  /// Offset, in elements, of a row of Q, O or LSE.
  int64_t QueryOffset(const Strides& stride, int32_t query, int32_t q_head) const {
    const int64_t batch = arguments_.query_offsets != nullptr ? 0 : b_ * stride.batch;
    return batch + (first_query_ + query) * stride.row + q_head * stride.head;
  }

  /// Offset, in elements, of a row of K or V (of paged.k or paged.v where the cache is paged).
  int64_t KeyOffset(const Strides& stride, int32_t key, int32_t kv_head) const {
    const PagedKv& paged = arguments_.paged;
    if (paged.page_size != 0) {
      const int64_t page = paged.page_table[b_ * paged.table_stride + key / paged.page_size];
      return page * stride.batch + (key % paged.page_size) * stride.row + kv_head * stride.head;
    }
    const int64_t batch = arguments_.key_offsets != nullptr ? 0 : b_ * stride.batch;
    return batch + (first_key_ + key) * stride.row + kv_head * stride.head;
  }

 private:
  const AttentionArguments& arguments_;
  int32_t b_;
  int32_t queries_ = 0;
  int32_t keys_ = 0;
  int64_t first_query_ = 0;
  int64_t first_key_ = 0;
  int32_t query_start_ = 0;
  const int32_t* key_positions_ = nullptr;
};

/// Tiles as TileRule defines them: those of the index, else of the skip-softmax geometry in use,
/// else 128 x 128.
struct TileSizes {
  int32_t rows;           ///< queries of a tile
  int32_t columns;        ///< keys of a tile
  int32_t diagonal_rows;  ///< queries of a block of skip_diagonal_blocks
};

inline TileSizes TileSizesOf(const TileIndex* index, const TileRule& rule) {
  const bool skips = rule.skip_softmax.lambda != nullptr;
  const TileGeometry& geometry = rule.skip_softmax.geometry;
  if (index != nullptr) {
    const int32_t rows = skips ? geometry.tile_rows : index->shape.query_block;
    return {rows, index->shape.key_block, index->shape.query_block};
  }
  if (skips) return {geometry.tile_rows, geometry.tile_columns, geometry.tile_rows};
  return {128, 128, 128};
}

}  // namespace tamis

#endif  // TAMIS_ATTENTION_SEQUENCE_VIEW_H_
