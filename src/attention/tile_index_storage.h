// A TileIndex that owns its memory.
#ifndef TAMIS_ATTENTION_TILE_INDEX_STORAGE_H_
#define TAMIS_ATTENTION_TILE_INDEX_STORAGE_H_

#include <cstdint>
#include <vector>

#include "tamis/attention.h"
#include "tamis/tile_index.h"

namespace tamis {

/// Bitmap, counts and optional windows and columns of one index. Rows are TileIndexShape::Row.
class TileIndexStorage {
 public:
  TileIndexStorage() = default;
  /// An index that visits nothing.
  explicit TileIndexStorage(const TileIndexShape& shape) { Reset(shape); }

  /// Every key block that each sequence of `arguments` has.
  static TileIndexStorage Full(const AttentionArguments& arguments, int32_t query_block = 128,
                               int32_t key_block = 128, int32_t heads_per_row = 1);

  /// Takes a new shape and visits nothing. Memory is kept for reuse.
  void Reset(const TileIndexShape& shape);
  /// Visits nothing; windows and columns go too.
  void Clear();

  void SetBlock(int64_t row, int32_t key_block);
  bool HasBlock(int64_t row, int32_t key_block) const {
    return (bitmap_[row * shape_.row_words() + key_block / 32] >> (key_block % 32) & 1u) != 0;
  }
  /// One list per row, as TileIndex::windows and TileIndex::columns. Throws Error for another
  /// number of lists; ValidateAttention checks what they hold.
  void SetWindows(const std::vector<std::vector<KeyWindow>>& rows);
  void SetColumns(const std::vector<std::vector<int32_t>>& rows);

  const TileIndexShape& shape() const { return shape_; }
  /// For writers of whole rows: [rows()][row_words()] and [rows()].
  uint32_t* bitmap() { return bitmap_.data(); }
  int32_t* counts() { return counts_.data(); }

  /// Valid until this object is changed or moved from.
  TileIndex view() const;

 private:
  TileIndexShape shape_;
  std::vector<uint32_t> bitmap_;
  std::vector<int32_t> counts_;
  std::vector<int64_t> window_offsets_;
  std::vector<KeyWindow> windows_;
  std::vector<int64_t> column_offsets_;
  std::vector<int32_t> columns_;
};

}  // namespace tamis

#endif  // TAMIS_ATTENTION_TILE_INDEX_STORAGE_H_
