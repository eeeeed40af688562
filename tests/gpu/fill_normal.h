// Random inputs made on the device.
#ifndef TAMIS_TESTS_GPU_FILL_NORMAL_H_
#define TAMIS_TESTS_GPU_FILL_NORMAL_H_

#include <cstdint>

#include "tamis/dtype.h"

namespace tamis::gpu_testing {

/// Standard normal values of bf16 or f16.
void FillNormal(DType dtype, void* data, int64_t elements, uint64_t seed);

}  // namespace tamis::gpu_testing

#endif  // TAMIS_TESTS_GPU_FILL_NORMAL_H_
