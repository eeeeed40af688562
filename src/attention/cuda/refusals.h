// What the executor does not run, by name. RequireSupported is declared in executor.h.
#ifndef TAMIS_ATTENTION_CUDA_REFUSALS_H_
#define TAMIS_ATTENTION_CUDA_REFUSALS_H_

#include "tamis/attention.h"

namespace tamis::cuda {

/// Throws Error where `set`; `what` names the feature.
void RequireAbsent(bool set, const char* what);

/// Threads that copy single keys reckon with 32 bits from one to the next.
void RequireGatherable(const AttentionArguments& a);

}  // namespace tamis::cuda

#endif  // TAMIS_ATTENTION_CUDA_REFUSALS_H_
