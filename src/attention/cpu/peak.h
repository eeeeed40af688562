// The rate that a CPU's attention is held to.
#ifndef TAMIS_ATTENTION_CPU_PEAK_H_
#define TAMIS_ATTENTION_CPU_PEAK_H_

#include "tamis/cpu_isa.h"
#include "tamis/dtype.h"
#include "tamis/thread_pool.h"

namespace tamis {

/// Floating-point operations per second of a register-only loop of the instruction that prefill
/// with Q and KV of `dtype` uses on `isa` (multiply-add, or bfloat16 dot products), all threads of
/// the pool together: the best of several runs of about 20 ms. The machine must have `isa`.
double MeasurePeakFlops(CpuIsa isa, DType dtype, ThreadPool& pool);

}  // namespace tamis

#endif  // TAMIS_ATTENTION_CPU_PEAK_H_
