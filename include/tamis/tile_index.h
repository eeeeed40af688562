// Which keys each block of queries visits.
#ifndef TAMIS_TILE_INDEX_H_
#define TAMIS_TILE_INDEX_H_

#include <cstdint>

namespace tamis {

/// Host-known shape of a TileIndex. Query block t of a sequence covers its query rows
/// [t*query_block, (t+1)*query_block); key block j covers its keys, in storage order,
/// [j*key_block, (j+1)*key_block). The last block of either may be partial.
struct TileIndexShape {
  int32_t batch = 1;
  int32_t q_heads = 0;
  /// Query heads that share one index row: 1, or the whole GQA group (q_heads / kv_heads).
  int32_t heads_per_row = 1;
  int32_t query_block = 128;
  int32_t key_block = 128;
  /// The largest number of queries and keys of any sequence of the batch.
  int32_t max_query_tokens = 0;
  int32_t max_key_tokens = 0;

  int32_t head_rows() const { return q_heads / heads_per_row; }
  int32_t query_blocks() const { return (max_query_tokens + query_block - 1) / query_block; }
  int32_t key_blocks() const { return (max_key_tokens + key_block - 1) / key_block; }
  /// 32-bit words of one bitmap row.
  int32_t row_words() const { return (key_blocks() + 31) / 32; }
  int64_t rows() const { return int64_t{batch} * head_rows() * query_blocks(); }
  /// The row of (sequence, query head, query block).
  int64_t Row(int64_t sequence, int64_t q_head, int64_t block) const {
    return (sequence * head_rows() + q_head / heads_per_row) * query_blocks() + block;
  }
  bool operator==(const TileIndexShape&) const = default;
};

/// A range of keys [begin, end) in storage order.
struct KeyWindow {
  int32_t begin;
  int32_t end;
};

/// A non-owning index: the union, per row, of blocks, windows and columns; the mask of the call
/// applies inside it. A pair named twice counts once. A row that names nothing gives zeros and
/// LSE = -inf. Bits at or past a sequence's last key block must be zero.
///
/// Executors visit the blocks of a row in ascending order (a block touched only by windows is
/// visited in its place, as a tile restricted to those windows), and after them the columns that
/// lie in neither, gathered in ascending order into tiles of key_block keys. Gathered columns are
/// never thinned by N:M. See TileRule for what that order means to skip-softmax.
struct TileIndex {
  TileIndexShape shape;
  /// [rows()][row_words()], bit j % 32 of word j / 32 set: key block j is visited.
  const uint32_t* bitmap = nullptr;
  /// [rows()]: set bits of each row.
  const int32_t* counts = nullptr;

  /// Windows of row r: windows[window_offsets[r] .. window_offsets[r+1]), ascending, disjoint,
  /// begins at multiples of 8. Null: none.
  const int64_t* window_offsets = nullptr;
  const KeyWindow* windows = nullptr;
  /// Columns of row r: columns[column_offsets[r] .. column_offsets[r+1]), strictly ascending key
  /// indices. Null: none.
  const int64_t* column_offsets = nullptr;
  const int32_t* columns = nullptr;
};

}  // namespace tamis

#endif  // TAMIS_TILE_INDEX_H_
