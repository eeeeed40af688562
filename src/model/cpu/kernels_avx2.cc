// kernels.h for AVX2, FMA and F16C.
#include "model/cpu/kernels_impl.h"
#include "model/cpu/kernels_isa.h"

namespace tamis {

const Kernels& KernelsAvx2() { return kKernels; }

}  // namespace tamis
