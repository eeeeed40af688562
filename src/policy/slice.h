// Parts of an attention call.
#ifndef TAMIS_POLICY_SLICE_H_
#define TAMIS_POLICY_SLICE_H_

#include <cstdint>

#include "tamis/attention.h"

namespace tamis::policy {

/// Keys and query rows of one sequence, read from the call's offsets and lengths.
int64_t SequenceKeys(const AttentionArguments& arguments, int32_t sequence);
int64_t SequenceQueries(const AttentionArguments& arguments, int32_t sequence);

/// The call restricted to sequences [first_sequence, last_sequence) and query heads [first_head,
/// last_head), as views of the same memory. The head range starts and ends at GQA groups, or lies
/// within one. Maxima shrink to the sequences that remain; counts and executed are left unset.
AttentionArguments Slice(const AttentionArguments& arguments, int32_t first_sequence,
                         int32_t last_sequence, int32_t first_head, int32_t last_head);

}  // namespace tamis::policy

#endif  // TAMIS_POLICY_SLICE_H_
