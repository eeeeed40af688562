// The keys that a row sees under windows, sinks and key positions, and the tiles that hold them.
#ifndef TAMIS_ATTENTION_CUDA_SM90_BAND_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_BAND_CUH_

#include <cstdint>

#include "attention/cuda/sm90/work.cuh"

namespace tamis::cuda::sm90 {

/// Keys [0, sinks) and [begin, end), in storage order; the ranges may overlap or be empty. No
/// member descends from one query to the next: positions ascend, so every limit cuts the keys once.
struct VisibleKeys {
  int32_t sinks, begin, end;

  /// The same, counted from key `first`.
  __device__ VisibleKeys From(int32_t first) const {
    return {sinks - first, begin - first, end - first};
  }
};

__device__ inline int32_t AddSaturating(int32_t a, int32_t positive) {
  return a > INT32_MAX - positive ? INT32_MAX : a + positive;
}

/// Tiles [begin, end).
struct TileRange {
  int32_t begin, end;
};

/// Keys of the sequence at positions up to `last`.
__device__ inline int32_t KeysUpTo(const ForwardParams& params, const TileWork& work,
                                   int32_t last) {
  if (last < 0) return 0;
  const int32_t* positions = params.scores.key_positions;
  if (positions == nullptr) return last < work.keys ? last + 1 : work.keys;
  positions += params.key_offsets != nullptr ? params.key_offsets[work.sequence]
                                             : int64_t{work.sequence} * params.key_tokens;
  int32_t low = 0, high = work.keys;
#pragma unroll 1
  while (low < high) {
    const int32_t middle = static_cast<int32_t>(static_cast<uint32_t>(low + high) / 2);
    if (positions[middle] <= last) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/// Of a query of the sequence; queries past its last one see what the last one sees.
__device__ inline VisibleKeys VisibleTo(const ForwardParams& params, const TileWork& work,
                                        int32_t query) {
  const ScoreParams& scores = params.scores;
  const int32_t position = work.start + min(query, work.queries - 1);
  int32_t last = INT32_MAX;
  if (params.causality == Causality::kCausal) {
    last = position;
  } else if (params.causality == Causality::kBlockCausal) {
    // Before position 0 there are no keys to see, whatever the block.
    const int32_t rest = position % params.causal_block;
    last = position < 0 ? position : AddSaturating(position - rest, params.causal_block - 1);
  }
  VisibleKeys keys{0, 0, 0};
  if (scores.window_left >= 0 || scores.window_right >= 0) {
    keys.sinks = KeysUpTo(params, work, min(last, scores.sink_tokens - 1));
  }
  if (scores.window_left >= 0 && position > scores.window_left) {
    keys.begin = KeysUpTo(params, work, position - scores.window_left - 1);
  }
  if (scores.window_right >= 0) last = min(last, AddSaturating(position, scores.window_right));
  keys.end = KeysUpTo(params, work, last);
  return keys;
}

/// Tiles of keys from `first` down to `low`, then from `resume` down to 0.
struct BandWalk {
  int32_t first, low;
  int32_t resume;  ///< -1: the walk ends at `low`

  /// Negative where the walk ends.
  __device__ int32_t After(int32_t tile) const { return tile == low ? resume : tile - 1; }
};

/// The tiles that any of rows [first_query, first_query + tile_rows) sees; at least one, so that
/// every row takes the same path.
__device__ inline BandWalk WalkBand(const ForwardParams& params, const TileWork& work,
                                    int32_t tile_rows, int32_t tile_keys) {
  const int32_t low = VisibleTo(params, work, work.first_query).begin / tile_keys;
  const VisibleKeys last = VisibleTo(params, work, work.first_query + tile_rows - 1);
  const int32_t end = (last.end + tile_keys - 1) / tile_keys;
  const int32_t sinks = (last.sinks + tile_keys - 1) / tile_keys;
  if (end <= low) return {max(sinks, 1) - 1, 0, -1};
  if (sinks >= low) return {max(sinks, end) - 1, 0, -1};
  return {end - 1, low, sinks - 1};
}

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_BAND_CUH_
