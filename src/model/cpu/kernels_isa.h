// One table of kernels per instruction set; kernels.cc chooses.
#ifndef TAMIS_MODEL_CPU_KERNELS_ISA_H_
#define TAMIS_MODEL_CPU_KERNELS_ISA_H_

#include "model/cpu/kernels.h"

namespace tamis {

const Kernels& KernelsPortable();
#if defined(__x86_64__)
const Kernels& KernelsAvx2();
const Kernels& KernelsAvx512();
const Kernels& KernelsAvx512Bf16();
#endif

}  // namespace tamis

#endif  // TAMIS_MODEL_CPU_KERNELS_ISA_H_
