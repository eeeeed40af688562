// Starts a kernel of persistent blocks.
#ifndef TAMIS_ATTENTION_CUDA_SM90_START_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_START_CUH_

#include <cuda_runtime_api.h>

#include <cstdint>

#include "attention/cuda/sm90/shared.cuh"

namespace tamis::cuda::sm90 {

template <class Traits, class... Parameters, class... Arguments>
cudaError_t Start(void (*kernel)(Parameters...), int32_t blocks, cudaStream_t stream,
                  const Arguments&... arguments) {
  constexpr int kBytes = sizeof(SharedPlan<Traits>);
  static_assert(kBytes <= 227 * 1024);
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error != cudaSuccess) return error;
  cudaLaunchAttribute overlap{};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(blocks);
  config.blockDim = dim3(Traits::kThreads);
  config.dynamicSmemBytes = kBytes;
  config.stream = stream;
  // Lists start under the kernel that orders them; other calls wait for whatever comes before.
  config.attrs = &overlap;
  config.numAttrs = Traits::kLists ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_START_CUH_
