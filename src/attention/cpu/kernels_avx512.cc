// Kernels for AVX-512 (F, BW, DQ, VL), in fp32.
#include <immintrin.h>

#include <type_traits>

#include "attention/cpu/kernels.h"

namespace tamis::cpu {
namespace {
// Each file uses the ones before it.
// clang-format off
#include "attention/cpu/vector_avx512.inc"
#include "attention/cpu/dot_f32.inc"
#include "attention/cpu/panels.inc"
#include "attention/cpu/n_of_m.inc"
#include "attention/cpu/softmax.inc"
#include "attention/cpu/pack.inc"
#include "attention/cpu/gemm.inc"
#include "attention/cpu/decode.inc"
#include "attention/cpu/decode_values_f32.inc"
#include "attention/cpu/table.inc"
// clang-format on
}  // namespace

const Kernels kAvx512Kernels = kTable;

}  // namespace tamis::cpu
