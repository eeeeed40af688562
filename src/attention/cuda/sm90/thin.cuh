// Which pairs of an N:M call are kept whatever the selection says, and which tiles hold some.
#ifndef TAMIS_ATTENTION_CUDA_SM90_THIN_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_THIN_CUH_

#include <cstdint>

#include "attention/cuda/sm90/work.cuh"

namespace tamis::cuda::sm90 {

/// Queries and keys of the blocks that NOfMRule::skip_diagonal_blocks speaks of where neither an
/// index nor skip-softmax says others.
constexpr int32_t kDiagonalBlock = 128;
template <class Traits>
constexpr bool kOtherBlocks = Traits::kLists || Traits::kSkips;

struct Interval {
  int32_t begin, end;
  __device__ bool Holds(int32_t x) const { return begin <= x && x < end; }
  __device__ bool Meets(int32_t first, int32_t count) const {
    return begin < end && first < end && begin < first + count;
  }
};

/// Keys of the diagonal blocks of rows [first, last] of one query block or more: of key blocks that
/// hold a key at the position of one of their rows. The last block may end past the last key.
/// kOther: see kOtherBlocks.
template <bool kOther>
__device__ inline Interval DiagonalKeys(const ForwardParams& params, const TileWork& work,
                                        int32_t first, int32_t last) {
  const int32_t queries = kOther ? 1 << params.thin.query_block_shift : kDiagonalBlock;
  const int32_t keys = kOther ? 1 << params.thin.key_block_shift : kDiagonalBlock;
  first = first & -queries;
  last = min((last & -queries) + queries, work.queries) - 1;
  const int32_t top = work.start + last;
  if (top < 0 || work.start + first >= work.keys) return {0, 0};
  return {max(work.start + first, 0) & -keys, (top & -keys) + keys};
}

/// Keys that row `row` keeps, besides the sinks.
template <bool kOther>
struct RowKeeps {
  Interval recent, diagonal;
  __device__ RowKeeps(const ForwardParams& params, const TileWork& work, int32_t row)
      : recent{work.start + row - params.thin.recent_tokens + 1, work.start + row + 1},
        diagonal{0, 0} {
    if (params.thin.dense_diagonal) diagonal = DiagonalKeys<kOther>(params, work, row, row);
  }
  __device__ bool Holds(int32_t key) const { return recent.Holds(key) || diagonal.Holds(key); }
};

/// Whether a rule keeps any.
__device__ inline bool HoldsTokens(const ThinParams& thin) {
  return thin.sink_tokens > 0 || thin.recent_tokens > 0 || thin.dense_diagonal;
}

/// Keys that some of a warp's rows keep, without lists.
struct WarpKeeps {
  static constexpr int32_t kRows = 16;
  Interval recent, diagonal;
  int32_t sinks;

  __device__ WarpKeeps(const ForwardParams& params, const TileWork& work, int32_t row)
      : recent{work.start + row - params.thin.recent_tokens + 1, work.start + row + kRows},
        diagonal{0, 0},
        sinks(params.thin.sink_tokens) {
    if (params.thin.recent_tokens == 0) recent.end = recent.begin;
    if (params.thin.dense_diagonal) {
      diagonal = DiagonalKeys<false>(params, work, row, row + kRows - 1);
    }
  }
  __device__ bool Meet(int32_t first, int32_t count) const {
    return first < sinks || recent.Meets(first, count) || diagonal.Meets(first, count);
  }
};

/// The tiles of one row of tiles that take the dense product.
struct DenseTiles {
  int32_t sinks = 0;  ///< tiles below it hold sinks
  Interval band;      ///< recent keys and diagonal blocks

  /// `rows` rows from work.first_query on. kOther: see kOtherBlocks.
  template <bool kOther>
  __device__ void Find(const ForwardParams& params, const TileWork& work, int32_t rows,
                       int32_t tile_keys) {
    sinks = (params.thin.sink_tokens + tile_keys - 1) / tile_keys;
    band = {0, 0};
    const int32_t last = min(work.first_query + rows, work.queries) - 1;
    if (params.thin.recent_tokens > 0 && work.start + last >= 0) {
      band = {max(work.start + work.first_query - params.thin.recent_tokens + 1, 0) / tile_keys,
              (work.start + last) / tile_keys + 1};
    }
    if (params.thin.dense_diagonal) {
      const Interval keys = DiagonalKeys<kOther>(params, work, work.first_query, last);
      if (keys.begin < keys.end) {
        const Interval tiles{keys.begin / tile_keys, (keys.end - 1) / tile_keys + 1};
        band = band.begin < band.end
                   ? Interval{min(band.begin, tiles.begin), max(band.end, tiles.end)}
                   : tiles;
      }
    }
  }

  /// The first dense tile at or below `tile`; -1: none.
  __device__ int32_t From(int32_t tile) const {
    if (band.begin < band.end && tile >= band.begin) return min(tile, band.end - 1);
    return min(tile, sinks - 1);
  }
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_THIN_CUH_
