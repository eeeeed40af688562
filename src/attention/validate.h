// The parts of ValidateAttention; PlanAttention uses those that read no arrays.
#ifndef TAMIS_ATTENTION_VALIDATE_H_
#define TAMIS_ATTENTION_VALIDATE_H_

#include "tamis/attention.h"

namespace tamis {

/// Each throws Error with the first offending value and the fix. Later ones rely on earlier ones.
/// Head counts, dims, dtypes, numbers. Reads no arrays.
void ValidateShape(const AttentionArguments& arguments);
/// Geometry and N:M. Reads no arrays.
void ValidateRuleShape(const TileRule& rule);
/// The index's shape and how it fits the rule's geometry. Reads no arrays.
void ValidateIndexShape(const AttentionArguments& arguments, const TileIndexShape& shape,
                        const TileRule& rule);
void ValidateSequences(const AttentionArguments& arguments);  // offsets, lengths, positions, pages
void ValidateTensors(const AttentionArguments& arguments);    // pointers and strides
void ValidateRule(const AttentionArguments& arguments, const TileRule& rule);
void ValidateIndex(const AttentionArguments& arguments, const TileIndex& index,
                   const TileRule& rule);

}  // namespace tamis

#endif  // TAMIS_ATTENTION_VALIDATE_H_
