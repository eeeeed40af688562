// Which tile a block computes next.
#ifndef TAMIS_ATTENTION_CUDA_SM90_SCHEDULER_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_SCHEDULER_CUH_

#include <cstdint>

#include "attention/cuda/sm90/work.cuh"

namespace tamis::cuda::sm90 {

/// Orders tiles by sections of KV heads whose K and V fit into L2, inside a section from the last
/// query block (under a causal mask the longest) to the first, the heads of a section side by side.
/// Sections of a ragged batch end with the sequence, and sequences follow params.sequence_order.
/// Hands tiles out from a counter in global memory, or, where the order alone balances the blocks,
/// in rounds that alternate direction. Used by one thread.
class Scheduler {
 public:
  __device__ explicit Scheduler(const ForwardParams& params)
      : params_(params), tile_(static_cast<int32_t>(blockIdx.x)) {}

  /// The tile in hand; false where there is none. A tile without queries has work.queries <=
  /// work.first_query.
  __device__ bool Get(int32_t tile_rows, TileWork& work) {
    if (params_.first_tiles != nullptr) {
      // Tiles ascend: the sequence is this one or a later one.
#pragma unroll 1
      while (rank_ < params_.batch && tile_ >= params_.first_tiles[rank_ + 1]) ++rank_;
      if (rank_ == params_.batch) return false;
    } else if (tile_ >= params_.tiles) {
      return false;
    }
    const auto blocks = static_cast<int32_t>(gridDim.x);
    if (params_.next_tile != nullptr) {
      // Asked for now, used when this tile has been loaded: the latency is hidden.
      next_ = blocks + atomicAdd(params_.next_tile, 1);
    } else {
      const auto block = static_cast<int32_t>(blockIdx.x);
      ++round_;
      next_ = round_ * blocks + ((round_ & 1) == 0 ? block : blocks - 1 - block);
    }
    if (params_.first_tiles != nullptr) {
      OpenSequence(params_, params_.sequence_order[rank_], work);
      const int32_t units = max(min(params_.section_keys / max(work.keys, 1), params_.kv_heads), 1);
      work.q_head = Place(params_, tile_ - params_.first_tiles[rank_], units, params_.kv_heads,
                          (work.queries + tile_rows - 1) / tile_rows, tile_rows, work);
    } else {
      const int32_t head =
          Place(params_, tile_, params_.section_units, params_.batch * params_.kv_heads,
                params_.query_blocks, tile_rows, work);
      const int32_t b = head / params_.q_heads;
      OpenSequence(params_, b, work);
      work.q_head = head - b * params_.q_heads;
    }
    work.query_row += work.first_query;
    return true;
  }

  __device__ void Advance() { tile_ = next_; }

 private:
  /// Finds the tile of rank `tile` among those of `units` KV heads; returns its query head, counted
  /// over all of them.
  __device__ static int32_t Place(const ForwardParams& params, int32_t tile, int32_t section_units,
                                  int32_t units, int32_t query_blocks, int32_t tile_rows,
                                  TileWork& work) {
    const int32_t section_tiles = section_units * params.group * query_blocks;
    const int32_t section = tile / section_tiles;
    const int32_t rank = tile - section * section_tiles;
    const int32_t first_unit = section * section_units;
    const int32_t heads = min(section_units, units - first_unit) * params.group;
    work.first_query = (query_blocks - 1 - rank / heads) * tile_rows;
    return first_unit * params.group + rank % heads;
  }

  const ForwardParams& params_;
  int32_t tile_;
  int32_t next_ = 0;
  int32_t round_ = 0;
  int32_t rank_ = 0;  ///< in params.sequence_order
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_SCHEDULER_CUH_
