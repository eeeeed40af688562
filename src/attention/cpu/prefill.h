// Prefill on the CPU: packs K and V once per KV head, then runs tile rows longest first.
#ifndef TAMIS_ATTENTION_CPU_PREFILL_H_
#define TAMIS_ATTENTION_CPU_PREFILL_H_

#include "attention/cpu/call.h"
#include "attention/cpu/carver.h"

namespace tamis::cpu {

/// Runs every sequence in Phase::kPrefill with memory from `carver`; where that only adds up, runs
/// nothing. KV heads are packed in waves of as many as fit a fixed budget, at least one; a wave's
/// tile rows all use its packed K and V.
void RunPrefill(const Call& call, Carver& carver, int32_t workers, bool run);

}  // namespace tamis::cpu

#endif  // TAMIS_ATTENTION_CPU_PREFILL_H_
