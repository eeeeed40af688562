// The walk over a tile's listed blocks, from the last to the first.
#ifndef TAMIS_ATTENTION_CUDA_SM90_LIST_STEPS_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_LIST_STEPS_CUH_

#include <cstdint>

#include "attention/cuda/sm90/list_work.cuh"

namespace tamis::cuda::sm90 {

/// Reads one word at a time, which the planner has brought into L1.
class BlockWalk {
 public:
  __device__ BlockWalk(const PlannedTile& planned, int32_t last_block)
      : rows_{planned.bits[0], planned.bits[1]}, word_(last_block / 32) {
    Read(~0u >> (31 - last_block % 32));
  }

  /// There must be one left. Sets bit g of `present` where warpgroup g visits it.
  __device__ int32_t Next(uint32_t& present) {
    while ((words_[0] | words_[1]) == 0) {
      --word_;
      Read(~0u);
    }
    const int32_t bit = 31 - __clz(static_cast<int32_t>(words_[0] | words_[1]));
    present = (words_[0] >> bit & 1) | (words_[1] >> bit & 1) << 1;
    words_[0] &= ~(1u << bit);
    words_[1] &= ~(1u << bit);
    return word_ * 32 + bit;
  }

 private:
  __device__ void Read(uint32_t mask) {
    words_[0] = rows_[0][word_] & mask;
    // One row is both warpgroups'.
    words_[1] = rows_[1] == nullptr ? words_[0] : rows_[1][word_] & mask;
  }

  const uint32_t* rows_[2];
  uint32_t words_[2];
  int32_t word_;
};

/// Bits of `present` where a warpgroup's unit is bit group * 2 + unit.
__device__ inline uint32_t UpperOf(uint32_t present) {
  return (present & 1) << 1 | (present & 2) << 2;
}
__device__ inline uint32_t LowerOf(uint32_t present) { return (present & 1) | (present & 2) << 1; }

/// Joins blocks of 64 keys to tiles of two.
class StepWalk {
 public:
  __device__ StepWalk(const PlannedTile& planned, int32_t key_block)
      : pairs_(key_block == kUnitKeys),
        alone_(pairs_ && (planned.blocks & 1) != 0),
        blocks_(planned, planned.last_unit >> (pairs_ ? 0 : 1)) {}

  __device__ UnitKeys Next() {
    UnitKeys keys;
    uint32_t present;
    const int32_t block = blocks_.Next(present);
    if (!pairs_) {
      keys.first[0] = block * 2 * kUnitKeys;
      keys.first[1] = keys.first[0] + kUnitKeys;
      keys.present = LowerOf(present) | UpperOf(present);
      return keys;
    }
    keys.first[0] = keys.first[1] = block * kUnitKeys;
    if (alone_) {
      // Keys of the block again stand in for the missing half, so that V holds what may be read.
      alone_ = false;
      keys.present = LowerOf(present);
      return keys;
    }
    uint32_t lower_present;
    keys.first[0] = blocks_.Next(lower_present) * kUnitKeys;
    keys.present = LowerOf(lower_present) | UpperOf(present);
    return keys;
  }

 private:
  bool pairs_;  ///< a block is one unit
  bool alone_;  ///< the next block shares its tile with none
  BlockWalk blocks_;
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_LIST_STEPS_CUH_
