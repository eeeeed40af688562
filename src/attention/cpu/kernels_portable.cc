// Kernels in plain C++, for any processor.
#include <type_traits>

#include "attention/cpu/kernels.h"

namespace tamis::cpu {
namespace {
#include "attention/cpu/vector_portable.inc"
// Order matters: each file uses the ones before it.
#include "attention/cpu/dot_f32.inc"
#include "attention/cpu/gemm.inc"
#include "attention/cpu/pack.inc"
#include "attention/cpu/softmax.inc"
#include "attention/cpu/decode.inc"
#include "attention/cpu/table.inc"
}  // namespace

const Kernels kPortableKernels = kTable;

}  // namespace tamis::cpu
