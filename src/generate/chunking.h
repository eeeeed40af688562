// Cutting a prompt into prefill steps.
#ifndef TAMIS_GENERATE_CHUNKING_H_
#define TAMIS_GENERATE_CHUNKING_H_

#include <cstdint>

namespace tamis {

/// The fewest tokens a chunk may be asked to have.
inline constexpr int32_t kSmallestChunk = 2;

/// Tokens of the next step where `left` remain: `chunk`, or all of at most chunk + 1. A model takes
/// a single token for a step of generation, so no prompt may end in a chunk of one.
inline int32_t NextChunk(int32_t left, int32_t chunk) { return left <= chunk + 1 ? left : chunk; }

}  // namespace tamis

#endif  // TAMIS_GENERATE_CHUNKING_H_
