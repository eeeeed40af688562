// kernels.h for AVX-512 with bf16 dot products.
#include "model/cpu/kernels_impl.h"
#include "model/cpu/kernels_isa.h"

namespace tamis {

const Kernels& KernelsAvx512Bf16() { return kKernels; }

}  // namespace tamis
