// Which tile a block computes next.
#ifndef TAMIS_ATTENTION_CUDA_SM90_SCHEDULER_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_SCHEDULER_CUH_

#include <cstdint>

#include "attention/cuda/sm90/work.cuh"

namespace tamis::cuda::sm90 {

/// Orders tiles by sections of KV heads whose K and V fit into L2, inside a section from the last
/// query block (under a causal mask the longest) to the first, the heads of a section side by side.
/// Hands them out from a counter in global memory, or, where the order alone balances the blocks,
/// in rounds that alternate direction. Used by one thread.
class Scheduler {
 public:
  __device__ explicit Scheduler(const ForwardParams& params)
      : params_(params), tile_(static_cast<int32_t>(blockIdx.x)) {}

  /// The tile in hand; false where there is none. A tile without queries has work.queries <=
  /// work.first_query.
  __device__ bool Get(int32_t tile_rows, TileWork& work) {
    if (tile_ >= params_.tiles) return false;
    const auto blocks = static_cast<int32_t>(gridDim.x);
    if (params_.next_tile != nullptr) {
      // Asked for now, used when this tile has been loaded: the latency is hidden.
      next_ = blocks + atomicAdd(params_.next_tile, 1);
    } else {
      const auto block = static_cast<int32_t>(blockIdx.x);
      ++round_;
      next_ = round_ * blocks + ((round_ & 1) == 0 ? block : blocks - 1 - block);
    }
    const int32_t row_tiles = params_.group * params_.query_blocks;  // of one KV head
    const int32_t section = tile_ / (params_.section_units * row_tiles);
    const int32_t rank = tile_ - section * params_.section_units * row_tiles;
    const int32_t units = min(params_.section_units,
                              params_.batch * params_.kv_heads - section * params_.section_units);
    const int32_t heads = units * params_.group;
    const int32_t query_block = params_.query_blocks - 1 - rank / heads;
    const int32_t head = rank % heads;
    const int32_t unit = section * params_.section_units + head / params_.group;
    const int32_t b = unit / params_.kv_heads;
    work.sequence = b;
    work.q_head = (unit - b * params_.kv_heads) * params_.group + head % params_.group;
    work.first_query = query_block * tile_rows;
    FillSequence(b, work);
    return true;
  }

  __device__ void Advance() { tile_ = next_; }

 private:
  __device__ void FillSequence(int32_t b, TileWork& work) const {
    int32_t row = 0;
    work.queries = params_.query_tokens;
    if (params_.query_offsets != nullptr) {
      row = params_.query_offsets[b];
      work.queries = params_.query_offsets[b + 1] - row;
    }
    work.query_row = row + work.first_query;
    work.keys = params_.key_tokens;
    if (params_.key_offsets != nullptr) {
      work.keys = params_.key_offsets[b + 1] - params_.key_offsets[b];
    } else if (params_.key_lengths != nullptr) {
      work.keys = params_.key_lengths[b];
    }
    work.start =
        params_.query_starts != nullptr ? params_.query_starts[b] : work.keys - work.queries;
  }

  const ForwardParams& params_;
  int32_t tile_;
  int32_t next_ = 0;
  int32_t round_ = 0;
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_SCHEDULER_CUH_
