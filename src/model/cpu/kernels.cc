#include "model/cpu/kernels.h"

#include "model/checkpoint/checkpoint.h"
#include "model/cpu/kernels_isa.h"

namespace tamis {

// The order of the tables in kernels_impl.h.
static_assert(static_cast<int>(WeightType::kF32) == 0 && static_cast<int>(WeightType::kF16) == 1 &&
              static_cast<int>(WeightType::kBF16) == 2 &&
              static_cast<int>(WeightType::kQ8_0) == 3 &&
              static_cast<int>(WeightType::kQ4_0) == 4 &&
              static_cast<int>(WeightType::kQ4_1) == 5 &&
              static_cast<int>(WeightType::kQ6_K) == kWeightTypes - 1);

const Kernels& KernelsFor(CpuIsa isa) {
#if defined(__x86_64__)
  switch (isa) {
    case CpuIsa::kPortable:
      return KernelsPortable();
    case CpuIsa::kAvx2:
      return KernelsAvx2();
    case CpuIsa::kAvx512:
      return KernelsAvx512();
    case CpuIsa::kAvx512Bf16:
    case CpuIsa::kAmxBf16:  // tiles are for the products, which oneDNN computes
      return KernelsAvx512Bf16();
  }
#else
  static_cast<void>(isa);
#endif
  return KernelsPortable();
}

}  // namespace tamis
