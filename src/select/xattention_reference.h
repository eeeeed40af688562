// XAttention in double precision, straight from its definition in xattention.h. For tests.
#ifndef TAMIS_SELECT_XATTENTION_REFERENCE_H_
#define TAMIS_SELECT_XATTENTION_REFERENCE_H_

#include <cstdint>
#include <vector>

#include "select/xattention.h"

namespace tamis {

/// Masses of one (sequence, query head, query block), one per key block of the sequence.
std::vector<double> XAttentionReferenceMass(const AttentionArguments& arguments, int32_t stride,
                                            int32_t sequence, int32_t q_head, int32_t query_block);

/// The blocks that row takes, given its masses: [key blocks of the sequence].
std::vector<bool> XAttentionReferenceBlocks(const AttentionArguments& arguments,
                                            const XAttentionParameters& parameters,
                                            int32_t sequence, int32_t q_head, int32_t query_block,
                                            const std::vector<double>& mass);

/// The blocks that row must take whatever its masses: [key blocks of the sequence].
std::vector<bool> XAttentionForcedBlocks(const AttentionArguments& arguments,
                                         const XAttentionParameters& parameters, int32_t sequence,
                                         int32_t query_block);

}  // namespace tamis

#endif  // TAMIS_SELECT_XATTENTION_REFERENCE_H_
