// kernels.h for AVX-512 F, BW, DQ and VL.
#include "model/cpu/kernels_impl.h"
#include "model/cpu/kernels_isa.h"

namespace tamis {

const Kernels& KernelsAvx512() { return kKernels; }

}  // namespace tamis
