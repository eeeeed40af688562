// Kernels for AVX-512 (F, BW, DQ, VL), in fp32.
#include <immintrin.h>

#include <type_traits>

#include "attention/cpu/kernels.h"

namespace tamis::cpu {
namespace {
#include "attention/cpu/vector_avx512.inc"
// Order matters: each file uses the ones before it.
#include "attention/cpu/dot_f32.inc"
#include "attention/cpu/gemm.inc"
#include "attention/cpu/pack.inc"
#include "attention/cpu/softmax.inc"
#include "attention/cpu/decode.inc"
#include "attention/cpu/table.inc"
}  // namespace

const Kernels kAvx512Kernels = kTable;

}  // namespace tamis::cpu
