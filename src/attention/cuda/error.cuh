// CUDA return codes as tamis::Error.
#ifndef TAMIS_ATTENTION_CUDA_ERROR_CUH_
#define TAMIS_ATTENTION_CUDA_ERROR_CUH_

#include <cuda_runtime_api.h>

#include <string>

#include "tamis/error.h"

namespace tamis::cuda {

/// Written without fmt, which nvcc cannot parse.
inline void CheckCuda(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  throw Error(std::string(what) + " failed: " + cudaGetErrorString(error));
}

}  // namespace tamis::cuda

#endif  // TAMIS_ATTENTION_CUDA_ERROR_CUH_
