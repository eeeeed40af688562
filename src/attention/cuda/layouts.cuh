// How the tensors of a call lie in memory.
#ifndef TAMIS_ATTENTION_CUDA_LAYOUTS_CUH_
#define TAMIS_ATTENTION_CUDA_LAYOUTS_CUH_

#include <cstdint>

#include "attention/cuda/tensor_map.cuh"
#include "tamis/attention.h"

namespace tamis::cuda {

/// Rows behind k and v.
int64_t KeyRows(const AttentionArguments& a);

struct Layouts {
  explicit Layouts(const AttentionArguments& a);
  TensorLayout q, o, k, v;
};

/// K or V of a call without keys: any readable memory will do, since the mask hides all of it.
void StandIn(const TensorLayout& readable, TensorLayout& layout);

}  // namespace tamis::cuda

#endif  // TAMIS_ATTENTION_CUDA_LAYOUTS_CUH_
