// The rate that a GPU's attention is held to.
#ifndef TAMIS_ATTENTION_CUDA_PEAK_H_
#define TAMIS_ATTENTION_CUDA_PEAK_H_

#include "tamis/dtype.h"

namespace tamis::cuda {

/// Floating-point operations per second of a loop of the matrix product that prefill uses, on
/// random operands in registers and shared memory, on every multiprocessor of the current device
/// (compute capability 9.0): the best of several runs of about 20 ms.
double MeasurePeakFlops(DType dtype);

}  // namespace tamis::cuda

#endif  // TAMIS_ATTENTION_CUDA_PEAK_H_
