// Descriptors that tell the copy engine how a tensor lies in memory.
#ifndef TAMIS_ATTENTION_CUDA_TENSOR_MAP_CUH_
#define TAMIS_ATTENTION_CUDA_TENSOR_MAP_CUH_

#include <cuda.h>

#include <cstdint>

#include "tamis/attention.h"

namespace tamis::cuda {

/// A [batch, rows, heads, dim] tensor of 16-bit elements.
struct TensorLayout {
  const char* name;  ///< for errors
  const void* data;
  Strides stride;
  DType dtype;
  int32_t dim, heads, batch;
  int64_t rows;
};

/// Throws Error unless the copy engine can read the tensor: everything a multiple of 16 bytes.
void RequireCopyable(const TensorLayout& layout);

/// A rank-4 map (dim, row, head, batch) whose boxes are `box_rows` rows of 64 elements, swizzled by
/// 128 bytes; what lies outside the tensor reads as zero.
CUtensorMap EncodeTensorMap(const TensorLayout& layout, int32_t box_rows);

/// A rank-5 map (dim, member, group of `group` rows, head, batch) whose boxes are two members of
/// `box_groups` groups of 64 elements. Rows past the last whole group are out of its reach.
CUtensorMap EncodeGroupMap(const TensorLayout& layout, int32_t group, int32_t box_groups);

}  // namespace tamis::cuda

#endif  // TAMIS_ATTENTION_CUDA_TENSOR_MAP_CUH_
