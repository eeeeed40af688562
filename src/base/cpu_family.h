// Processors whose memory is worth treating differently.
#ifndef TAMIS_BASE_CPU_FAMILY_H_
#define TAMIS_BASE_CPU_FAMILY_H_

#include <cstdint>

namespace tamis {

enum class CpuFamily : uint8_t {
  kOther,
  kZen4,  ///< AMD family 19h (Zen 3 and 4)
  kZen5,  ///< AMD family 1Ah
};

/// This machine's, by CPUID.
CpuFamily DetectCpuFamily();

}  // namespace tamis

#endif  // TAMIS_BASE_CPU_FAMILY_H_
