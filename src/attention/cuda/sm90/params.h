// What the host hands to the Hopper forward kernel.
#ifndef TAMIS_ATTENTION_CUDA_SM90_PARAMS_H_
#define TAMIS_ATTENTION_CUDA_SM90_PARAMS_H_

#include <cstdint>

#include "tamis/attention.h"

namespace tamis::cuda::sm90 {

/// What only the general kernels read (Traits::kGeneral).
struct ScoreParams {
  int32_t window_left, window_right;  ///< -1: no limit
  int32_t sink_tokens;
  const int32_t* key_positions;  ///< null: the index
  const uint8_t* keep;           ///< null: every pair
  int64_t keep_batch_stride, keep_head_stride, keep_query_stride;
  const float* bias;  ///< null: none
  int64_t bias_batch_stride, bias_head_stride, bias_query_stride;
  const float* sink_logits;  ///< null: none
  float softcap_log2;        ///< softcap * log2(e); 0: none
  float softcap_scale;       ///< 2 * softmax_scale / softcap * log2(e)
  /// To log2 units: what a bias is added to, and what the softmax still multiplies scores by. 1
  /// where the steps before have done it.
  float bias_scale, softmax_scale;
};

/// Bitmap rows that each thread block of a kernel that gathers writes: two for each tile of work
/// that it plans ahead.
constexpr int32_t kTouchedRows = 4;

/// Windows and columns of a TileIndex, as the kernels that gather read them.
struct GatherParams {
  const int64_t* window_offsets;  ///< null: no windows
  const KeyWindow* windows;
  const int64_t* column_offsets;  ///< null: no columns
  const int32_t* columns;
  const void *k, *v;  ///< 16-bit elements
  Strides k_stride, v_stride;
  int32_t head_dim;  ///< columns of K that exist; ForwardParams::value_dim are those of V
  int64_t rows;      ///< of the index
  int32_t* lengths;  ///< [rows] in key blocks, about
  /// [thread blocks][kTouchedRows] rows of the bitmap with the blocks that windows touch.
  uint32_t* touched;
};

/// A TileIndex as the kernel reads it, and how its rows become tiles of work.
struct ListParams {
  const uint32_t* bitmap;
  const int32_t* counts;
  int32_t head_rows, row_blocks, row_words;  ///< of the index: rows of a sequence, of a head; words
  int32_t query_block, key_block, heads_per_row;

  /// What a tile's second warpgroup takes: the next 64 queries of the same index row, or where
  /// query blocks have 64 queries the next head of a shared row, else the next row.
  enum class Second : uint8_t { kSameRow, kNextHead, kNextRow } second;
  int32_t head_tiles;  ///< tiles of a KV head beside each other: its query heads, or pairs of them
  int32_t unit_tiles;  ///< tiles of a KV head
  /// [tiles] in sections as in ForwardParams, inside a section the longest first.
  int32_t* order;
  GatherParams gather;  ///< read by kernels that gather
};

/// What an N:M call keeps on top of its selection (see NOfMRule), and K.
struct ThinParams {
  int32_t n, m;
  int32_t sink_tokens;
  int32_t recent_tokens;
  bool dense_diagonal;
  int32_t query_block_shift, key_block_shift;  ///< of the blocks that dense_diagonal speaks of
  const void* k;  ///< as the map of K, for the cold path of the softmax
  Strides k_stride;
  int32_t head_dim;
};

/// Rows that vote on a tile together: a warpgroup's.
constexpr int32_t kVoteRows = 64;

/// What only the kernels with skip-softmax read (Traits::kSkips).
struct SkipParams {
  const float* lambda;  ///< [batch]
  /// [batch][q_heads][row_blocks][row_words], a bit for each tile of kVoteRows queries that was
  /// dropped: those of key blocks, then those of gathered columns; 0 at launch. Null: not wanted.
  uint32_t* dropped;
  int32_t row_blocks, row_words;
  int32_t first_gathered;  ///< bit of a row
  /// [batch][q_heads], 0 at launch: where kernels with N:M add pairs that they keep of tiles with
  /// tokens that are kept besides. Null: not wanted.
  AttentionCounts* counts;
};

/// Everything but the tensor maps. Arrays lie in device memory.
struct ForwardParams {
  void* o;
  Strides o_stride;
  float* lse;  ///< may be null
  Strides lse_stride;
  const int32_t* query_offsets;
  const int32_t* key_offsets;
  const int32_t* key_lengths;
  const int32_t* query_starts;
  int32_t batch, q_heads, kv_heads, group;
  int32_t query_tokens, key_tokens;
  int32_t value_dim;  ///< columns of O to write
  Causality causality;
  int32_t causal_block;
  float scale_log2;  ///< softmax_scale * log2(e)
  /// Sequences may end where the tensor goes on: rows of V past the end must not reach a product.
  bool foreign_tail;

  int32_t query_blocks;   ///< tiles of the longest sequence
  int32_t tiles;          ///< of all heads and sequences
  int32_t section_units;  ///< KV heads whose K and V stay in L2 together
  /// Tiles handed out beyond the first of each block; 0 at launch. Null: blocks share out evenly.
  int32_t* next_tile;
  /// Ragged batches: sequences from the longest walk to the shortest, and the number of tiles
  /// before each of them and after the last. Null: uniform batches.
  int32_t* sequence_order;  // [batch]
  int32_t* first_tiles;     // [batch + 1]
  int32_t section_keys;     ///< of one head, whose K and V fit into L2's share

  const int32_t* page_table;  ///< null: K and V are not paged
  int64_t table_stride;
  int32_t page_size;
  /// key / page_size = (key * page_multiplier >> 32) >> page_shift for keys below 2^31.
  uint32_t page_multiplier;
  int32_t page_shift;
  int32_t box_rows;  ///< rows of K and V that one copy brings: part of a page and of a tile

  ScoreParams scores;
  ThinParams thin;   ///< read by sparse kernels
  ListParams lists;  ///< read by kernels that walk lists
  SkipParams skip;
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_PARAMS_H_
