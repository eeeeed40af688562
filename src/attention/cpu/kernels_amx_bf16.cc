// Kernels for AMX_BF16: bfloat16 products of whole tiles.
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
#include "attention/cpu/gemm_amx.inc"
#include "attention/cpu/steps_amx.inc"
#include "attention/cpu/decode.inc"
#include "attention/cpu/decode_values_bf16.inc"
#include "attention/cpu/table.inc"
// clang-format on
}  // namespace

const Kernels kAmxBf16Kernels = kTable;

}  // namespace tamis::cpu
