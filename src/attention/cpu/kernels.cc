#include "attention/cpu/kernels.h"

namespace tamis::cpu {

const Kernels& SelectKernels(Variant variant, DType dtype, DType kv_dtype) {
#if defined(__x86_64__)
  const bool bf16 = dtype == DType::kBF16 && kv_dtype == DType::kBF16;
  switch (variant) {
    case Variant::kPortable:
      break;
    case Variant::kAvx2:
      return kAvx2Kernels;
    case Variant::kAvx512:
      return kAvx512Kernels;
    case Variant::kAvx512Bf16:
      return bf16 ? kAvx512Bf16Kernels : kAvx512Kernels;
    case Variant::kAmxBf16:
      return bf16 ? kAmxBf16Kernels : kAvx512Kernels;
    case Variant::kAmxBf16Emulated:
      return bf16 ? kAmxBf16EmulatedKernels : kAvx512Kernels;
    case Variant::kAvx512Bf16Emulated:
      return bf16 ? kAvx512Bf16EmulatedKernels : kAvx512Kernels;
  }
#else
  (void)variant, (void)dtype, (void)kv_dtype;
#endif
  return kPortableKernels;
}

}  // namespace tamis::cpu
