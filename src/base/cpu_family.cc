#include "base/cpu_family.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace tamis {
namespace {

CpuFamily Detect() {
#if defined(__x86_64__)
  unsigned int eax = 0;
  unsigned int ebx = 0;
  unsigned int ecx = 0;
  unsigned int edx = 0;
  if (__get_cpuid(0, &eax, &ebx, &ecx, &edx) == 0) return CpuFamily::kOther;
  if (ebx != signature_AMD_ebx || ecx != signature_AMD_ecx || edx != signature_AMD_edx) {
    return CpuFamily::kOther;
  }
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0) return CpuFamily::kOther;
  const unsigned int family = ((eax >> 8) & 0xf) + ((eax >> 20) & 0xff);
  if (family == 0x19) return CpuFamily::kZen4;
  if (family == 0x1a) return CpuFamily::kZen5;
#endif
  return CpuFamily::kOther;
}

}  // namespace

CpuFamily DetectCpuFamily() {
  // Once: in a virtual machine every CPUID costs microseconds.
  static const CpuFamily family = Detect();
  return family;
}

}  // namespace tamis
