// Decode on the CPU: few query rows against many keys, split over keys so that one sequence uses
// every core.
#ifndef TAMIS_ATTENTION_CPU_DECODE_H_
#define TAMIS_ATTENTION_CPU_DECODE_H_

#include "attention/cpu/call.h"
#include "attention/cpu/carver.h"

namespace tamis::cpu {

/// Runs every sequence in Phase::kDecode with memory from `carver`; where that only adds up, runs
/// nothing. Scores of all visited keys come first, so that skip-softmax sees the exact running
/// maximum whatever the split, and exponentials need no rescaling. `workers` bounds the threads.
void RunDecode(const Call& call, Carver& carver, int32_t workers, bool run);

}  // namespace tamis::cpu

#endif  // TAMIS_ATTENTION_CPU_DECODE_H_
