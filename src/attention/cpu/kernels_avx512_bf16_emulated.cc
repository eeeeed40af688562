// The AVX512_BF16 kernels with vdpbf16ps computed in fp32, for tests on processors without it.
#define TAMIS_EMULATE_BF16_DOT
#include <immintrin.h>

#include <type_traits>

#include "attention/cpu/kernels.h"

namespace tamis::cpu {
namespace {
// Each file uses the ones before it.
// clang-format off
#include "attention/cpu/vector_avx512.inc"
#include "attention/cpu/dot_bf16.inc"
#include "attention/cpu/panels.inc"
#include "attention/cpu/n_of_m.inc"
#include "attention/cpu/softmax.inc"
#include "attention/cpu/pack.inc"
#include "attention/cpu/gemm.inc"
#include "attention/cpu/decode.inc"
#include "attention/cpu/decode_values_bf16.inc"
#include "attention/cpu/table.inc"
// clang-format on
}  // namespace

const Kernels kAvx512Bf16EmulatedKernels = kTable;

}  // namespace tamis::cpu
