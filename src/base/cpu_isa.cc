#include "tamis/cpu_isa.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <fstream>

#include "base/check.h"

namespace tamis {
namespace {

#if defined(__x86_64__)
/// clang 16's __builtin_cpu_supports does not know F16C.
bool HasF16C() {
  unsigned int eax = 0;
  unsigned int ebx = 0;
  unsigned int ecx = 0;
  unsigned int edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

/// Tiles are in the processor, and the system lets this process keep state in them: Linux hands
/// that out on request (arch_prctl, ARCH_REQ_XCOMP_PERM), for all threads started later and now.
bool HasAmxBf16() {
#if defined(__linux__)
  constexpr unsigned int kAmxBf16Bit = 1u << 22, kAmxTileBit = 1u << 24;  // leaf 7, edx
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  unsigned int eax = 0;
  unsigned int ebx = 0;
  unsigned int ecx = 0;
  unsigned int edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  if ((edx & kAmxBf16Bit) == 0 || (edx & kAmxTileBit) == 0) return false;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#endif

CpuIsa Detect() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !HasF16C()) {
    return CpuIsa::kPortable;
  }
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl")) {
    return CpuIsa::kAvx2;
  }
  if (!__builtin_cpu_supports("avx512bf16")) return CpuIsa::kAvx512;
  return HasAmxBf16() ? CpuIsa::kAmxBf16 : CpuIsa::kAvx512Bf16;
#else
  return CpuIsa::kPortable;
#endif
}

}  // namespace

std::string_view Name(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kPortable:
      return "portable";
    case CpuIsa::kAvx2:
      return "avx2";
    case CpuIsa::kAvx512:
      return "avx512";
    case CpuIsa::kAvx512Bf16:
      return "avx512-bf16";
    case CpuIsa::kAmxBf16:
      return "amx-bf16";
  }
  return "?";
}

CpuIsa ParseCpuIsa(std::string_view name) {
  for (CpuIsa isa :
       {CpuIsa::kPortable, CpuIsa::kAvx2, CpuIsa::kAvx512, CpuIsa::kAvx512Bf16, CpuIsa::kAmxBf16}) {
    if (name == Name(isa)) return isa;
  }
  Fail("unknown instruction set '{}'; use portable, avx2, avx512, avx512-bf16 or amx-bf16", name);
}

CpuIsa DetectCpuIsa() {
  // Once: in a virtual machine every CPUID costs microseconds.
  static const CpuIsa best = Detect();
  return best;
}

std::vector<CpuIsa> AvailableCpuIsas() {
  std::vector<CpuIsa> isas;
  for (int isa = 0; isa <= static_cast<int>(DetectCpuIsa()); ++isa) {
    isas.push_back(static_cast<CpuIsa>(isa));
  }
  return isas;
}

std::string CpuModelName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown CPU";
}

}  // namespace tamis
