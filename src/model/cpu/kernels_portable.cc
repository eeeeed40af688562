// kernels.h for plain C++.
#include "model/cpu/kernels_impl.h"
#include "model/cpu/kernels_isa.h"

namespace tamis {

const Kernels& KernelsPortable() { return kKernels; }

}  // namespace tamis
