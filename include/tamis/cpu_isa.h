// Instruction sets the CPU kernels are compiled for.
#ifndef TAMIS_CPU_ISA_H_
#define TAMIS_CPU_ISA_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tamis {

/// Ordered: a machine that runs one runs all before it.
enum class CpuIsa : uint8_t {
  kPortable,    ///< plain C++
  kAvx2,        ///< AVX2 + FMA + F16C
  kAvx512,      ///< AVX-512 F, BW, DQ, VL
  kAvx512Bf16,  ///< kAvx512 + AVX512_BF16 (vdpbf16ps)
  kAmxBf16,     ///< kAvx512Bf16 + AMX_TILE and AMX_BF16 (tdpbf16ps)
};

/// "portable", "avx2", "avx512", "avx512-bf16", "amx-bf16".
std::string_view Name(CpuIsa isa);
/// The inverse of Name. Throws Error that lists the valid words.
CpuIsa ParseCpuIsa(std::string_view name);
/// The best one this machine runs.
CpuIsa DetectCpuIsa();
/// All that this machine runs, in ascending order.
std::vector<CpuIsa> AvailableCpuIsas();
/// The processor's name as it reports itself, for tables.
std::string CpuModelName();

}  // namespace tamis

#endif  // TAMIS_CPU_ISA_H_
