// One row of a TileIndex, read step by step.
#ifndef TAMIS_ATTENTION_CPU_INDEX_ROW_H_
#define TAMIS_ATTENTION_CPU_INDEX_ROW_H_

#include <cstdint>

#include "attention/cpu/visible.h"

namespace tamis::cpu {

/// What one index row visits of one sequence. A null index visits every key.
class IndexRow {
 public:
  IndexRow(const TileIndex* index, int32_t b, int32_t head, int32_t query, int32_t keys);

  /// The number of the row; -1 without an index. Rows of equal number visit the same keys.
  int64_t row() const { return row_; }
  /// Columns of step `s` in visited blocks or windows. Cheap where steps are asked for in ascending
  /// order.
  RowMask Visited(int32_t s);
  /// The first step from `s` on of which Visited may hold something; a large number where there is
  /// none.
  int32_t NextVisited(int32_t s) const;
  bool has_columns() const { return column_ != column_end_; }

  /// Writes up to `limit` of the columns that lie in no visited block or window to `keys`,
  /// ascending from where the last call stopped; returns how many.
  int32_t NextColumns(int32_t* keys, int32_t limit);
  /// A bound on the number of columns, counting those that lie in blocks.
  int64_t columns_bound() const { return column_end_ - column_; }

 private:
  const TileIndex* index_;
  int64_t row_ = -1;
  int32_t keys_;
  const uint32_t* bitmap_ = nullptr;
  const KeyWindow* window_ = nullptr;
  const KeyWindow* window_begin_ = nullptr;
  const KeyWindow* window_end_ = nullptr;
  const int32_t* column_ = nullptr;
  const int32_t* column_end_ = nullptr;
};

}  // namespace tamis::cpu

#endif  // TAMIS_ATTENTION_CPU_INDEX_ROW_H_
