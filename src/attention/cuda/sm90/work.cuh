// One tile of work - some rows of one query head - and the keys it visits.
#ifndef TAMIS_ATTENTION_CUDA_SM90_WORK_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_WORK_CUH_

#include <cstdint>

#include "attention/cuda/sm90/params.h"

namespace tamis::cuda::sm90 {

struct TileWork {
  int32_t sequence;  ///< -1: no more work
  int32_t q_head;
  int32_t first_query;  ///< first row of the tile, within the sequence
  int32_t queries;      ///< rows of the sequence
  int32_t query_row;    ///< row of the tile's first query in the tensors
  int32_t keys;         ///< keys of the sequence
  int32_t start;        ///< position of query 0 of the sequence
};

/// Fills what is the same for all tiles of sequence `b`; `query_row` is that of query 0.
__device__ inline void OpenSequence(const ForwardParams& params, int32_t b, TileWork& work) {
  work.sequence = b;
  work.query_row = 0;
  work.queries = params.query_tokens;
  if (params.query_offsets != nullptr) {
    work.query_row = params.query_offsets[b];
    work.queries = params.query_offsets[b + 1] - work.query_row;
  }
  work.keys = params.key_tokens;
  if (params.key_offsets != nullptr) {
    work.keys = params.key_offsets[b + 1] - params.key_offsets[b];
  } else if (params.key_lengths != nullptr) {
    work.keys = params.key_lengths[b];
  }
  work.start = params.query_starts != nullptr ? params.query_starts[b] : work.keys - work.queries;
}

/// The last key that query `query` sees; may be negative. Does not descend with `query`.
__device__ inline int32_t LastKey(const ForwardParams& params, const TileWork& work,
                                  int32_t query) {
  const int32_t last = work.keys - 1;
  if (params.causality == Causality::kBidirectional) return last;
  int32_t position = work.start + query;
  if (params.causality == Causality::kBlockCausal && position >= 0) {
    const int32_t block = position / params.causal_block;
    const int64_t end = (int64_t{block} + 1) * params.causal_block - 1;
    return end < last ? static_cast<int32_t>(end) : last;
  }
  return min(position, last);
}

/// The tile of keys at which rows [first, end) of a sequence begin their walk towards key 0. Rows
/// that see nothing visit one tile, hidden by the mask, so that every row takes the same path.
__device__ inline int32_t FirstKeyTile(const ForwardParams& params, const TileWork& work,
                                       int32_t end_query, int32_t tile_keys) {
  return max(LastKey(params, work, min(end_query, work.queries) - 1), 0) / tile_keys;
}

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_WORK_CUH_
