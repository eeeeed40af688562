// What happens inside a visited tile.
#ifndef TAMIS_TILE_RULE_H_
#define TAMIS_TILE_RULE_H_

#include <cstdint>

namespace tamis {

/// Who must agree before skip-softmax drops a tile.
enum class SkipVote : uint8_t {
  kQueryHead,  ///< the tile's query rows of one query head
  kGqaGroup,   ///< the tile's query rows of every query head that shares the KV head
};

/// In which order skip-softmax meets a row's tiles.
enum class KeyOrder : uint8_t {
  kAscending,   ///< TileIndex order
  kDescending,  ///< its reverse: the last key first
};

/// Everything skip-softmax decisions depend on besides the scores. Executors publish the
/// geometries they run; a rule names one; reference, counters and calibration take it as input.
/// Tiles count from row 0 and key 0 of each sequence. Under a TileIndex, tile_columns equals its
/// key_block and tile_rows divides its query_block; kGqaGroup needs heads_per_row = group.
struct TileGeometry {
  int32_t tile_rows = 128;     ///< queries of a tile
  int32_t tile_columns = 128;  ///< keys of a tile: a multiple of 8
  SkipVote vote = SkipVote::kQueryHead;
  /// Key ranges with a running maximum of their own. 1: one pass over all keys. Of a sequence
  /// with T = ceil(keys / tile_columns) key tiles, range s holds tiles
  /// [s * T / splits, (s + 1) * T / splits), rounded down; gathered columns end the last range.
  int32_t splits = 1;
  KeyOrder order = KeyOrder::kAscending;
  bool operator==(const TileGeometry&) const = default;
};

/// Skip-softmax (BLASST, arXiv 2512.12087). Walking a row's tiles in the geometry's order, a
/// tile is dropped when for every voting valid row
///     max over the tile of score < (running maximum over all earlier visited tiles) + ln(lambda)
/// (strict; scores after scale, softcap, bias and mask, in natural-log units; the running maximum
/// starts at -inf, so that the first tile holding any visible score is never dropped). Dropped
/// tiles leave numerator and denominator alike. Rows past the sequence's end and rows without a
/// visible score in the tile do not vote. Sink logits take no part in the running maximum.
struct SkipSoftmaxRule {
  /// [batch] lambda per sequence; null: off. 0 is bit-identical to the call without this rule
  /// (beside N:M on CUDA, but for rounding: tiles differ). A value >= 1 runs without it too and is
  /// reported in AttentionCounts::lambda_saturated. Negative or NaN: refused by Validate.
  const float* lambda = nullptr;
  TileGeometry geometry;
};

/// N:M sparse softmax: of each group of M consecutive key positions (groups start at multiples of
/// M of the key position) a query keeps the N best visible scores, compared in fp32 as computed,
/// ties to the lowest position. Keys at positions < sink_tokens and keys with
/// 0 <= query position - key position < recent_tokens are kept on top of those, and do compete.
/// Keys the index does not visit by block or window are not visible here. A group compares within
/// one tile; only key_positions can make a tile cut one, and each part then keeps N.
///
/// Tiles are those of the TileIndex; without one those of the skip-softmax geometry in use; without
/// either 128 x 128.
struct NOfMRule {
  int32_t n = 0;  ///< 0: off
  int32_t m = 0;  ///< 2 (n 1), 4 (n 1-3) or 8 (n 1-7)
  int32_t sink_tokens = 0;
  int32_t recent_tokens = 0;
  /// Keep dense every tile (query_block x key_block) that touches the diagonal: the range of its
  /// query positions meets the range of its key positions, counting rows and keys that exist.
  bool skip_diagonal_blocks = false;
  /// Off: sequences in Phase::kDecode run without N:M.
  bool in_decode = false;
};

/// Order inside a tile: mask, N:M, skip test, softmax.
struct TileRule {
  SkipSoftmaxRule skip_softmax;
  NOfMRule n_of_m;
  bool IsDense() const { return skip_softmax.lambda == nullptr && n_of_m.n == 0; }
};

}  // namespace tamis

#endif  // TAMIS_TILE_RULE_H_
