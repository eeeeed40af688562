// What the host hands to the Hopper forward kernel.
#ifndef TAMIS_ATTENTION_CUDA_SM90_PARAMS_H_
#define TAMIS_ATTENTION_CUDA_SM90_PARAMS_H_

#include <cstdint>

#include "tamis/attention.h"

namespace tamis::cuda::sm90 {

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
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_PARAMS_H_
