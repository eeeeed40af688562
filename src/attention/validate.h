// The parts of ValidateAttention.
#ifndef TAMIS_ATTENTION_VALIDATE_H_
#define TAMIS_ATTENTION_VALIDATE_H_

#include "tamis/attention.h"

namespace tamis {

/// Each throws Error with the first offending value and the fix. Later ones rely on earlier ones.
void ValidateShape(const AttentionArguments& arguments);      // head counts, dims, dtypes, numbers
void ValidateSequences(const AttentionArguments& arguments);  // offsets, lengths, positions, pages
void ValidateTensors(const AttentionArguments& arguments);    // pointers and strides
void ValidateRule(const AttentionArguments& arguments, const TileRule& rule);
void ValidateIndex(const AttentionArguments& arguments, const TileIndex& index,
                   const TileRule& rule);

}  // namespace tamis

#endif  // TAMIS_ATTENTION_VALIDATE_H_
