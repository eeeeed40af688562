// An explicit block mask as a selector.
#ifndef TAMIS_BLOCK_MASK_H_
#define TAMIS_BLOCK_MASK_H_

#include <cstdint>
#include <memory>
#include <span>

#include "tamis/selector.h"

namespace tamis {

/// Which tiles to visit: keep[((b * q_heads + h) * query_blocks + t) * key_blocks + j] is true
/// where query block t of sequence b and query head h visits key block j.
struct BlockMask {
  int32_t batch = 1;    ///< the call's, or 1 for every sequence
  int32_t q_heads = 1;  ///< the call's, or 1 for every head
  int32_t query_blocks = 0;
  int32_t key_blocks = 0;
  int32_t query_block = 128;  ///< queries of a block: 64 or 128
  int32_t key_block = 128;    ///< keys of a block: 64 or 128
  std::span<const bool> keep;
};

/// A selector that visits what `mask` says; `mask.keep` is copied. The call's own mask applies
/// inside, and blocks past the end of a shorter sequence of the batch are left out. Throws Error
/// for block sizes other than 64 and 128 and for a `keep` of another size; Select throws Error,
/// naming both shapes, for a call whose batch, heads or numbers of blocks differ.
std::unique_ptr<Selector> MakeBlockMaskSelector(const BlockMask& mask);

}  // namespace tamis

#endif  // TAMIS_BLOCK_MASK_H_
