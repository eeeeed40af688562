#include "attention/cuda/tensor_map.cuh"

#include <cuda_runtime_api.h>

#include <algorithm>

#include "attention/cuda/error.cuh"
#include "base/check.h"

namespace tamis::cuda {
namespace {

constexpr int64_t kUnit = 16;  // bytes
constexpr int32_t kBoxDim = 64;

/// The driver's encoder, found through the runtime so that nothing links the driver.
decltype(&cuTensorMapEncodeTiled) Encoder() {
  static const auto encoder = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult result{};
    CheckCuda(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000,
                                               cudaEnableDefault, &result),
              "finding cuTensorMapEncodeTiled");
    Require(result == cudaDriverEntryPointSuccess && function != nullptr,
            "the CUDA driver has no cuTensorMapEncodeTiled; install a driver of CUDA 12 or later");
    return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function);
  }();
  return encoder;
}

struct Dimension {
  const char* name;
  int64_t extent;
  int64_t stride;  // elements
};

}  // namespace

void RequireCopyable(const TensorLayout& layout) {
  Require(reinterpret_cast<uintptr_t>(layout.data) % kUnit == 0,
          "{} is not aligned to 16 bytes, as the CUDA executor needs; align it", layout.name);
  const Dimension dimensions[] = {{"row", layout.rows, layout.stride.row},
                                  {"head", layout.heads, layout.stride.head},
                                  {"batch", layout.batch, layout.stride.batch}};
  const int64_t element = static_cast<int64_t>(SizeOf(layout.dtype));
  for (const Dimension& d : dimensions) {
    if (d.extent <= 1) continue;
    Require(d.stride > 0 && d.stride * element % kUnit == 0,
            "{} stride of {} is {} elements; the CUDA executor needs a positive multiple of {}",
            d.name, layout.name, d.stride, kUnit / element);
    Require(d.stride * element < int64_t{1} << 40,
            "{} stride of {} is {} elements; the CUDA executor reaches 2^40 bytes", d.name,
            layout.name, d.stride);
  }
  Require(layout.rows < int64_t{1} << 31, "{} has {} rows; the CUDA executor takes fewer than 2^31",
          layout.name, layout.rows);
}

namespace {

CUtensorMap Encode(const TensorLayout& layout, int rank, const cuuint64_t* extents,
                   const cuuint64_t* strides, const cuuint32_t* box) {
  const cuuint32_t steps[] = {1, 1, 1, 1, 1};
  CUtensorMap map;
  const CUresult result =
      Encoder()(&map,
                layout.dtype == DType::kBF16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                             : CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
                static_cast<cuuint32_t>(rank), const_cast<void*>(layout.data), extents, strides,
                box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  Require(
      result == CUDA_SUCCESS,
      "the CUDA driver refused a tensor map of {} ([{}, {}, {}, {}], strides {} {} {}): error {}",
      layout.name, layout.batch, layout.rows, layout.heads, layout.dim, layout.stride.batch,
      layout.stride.row, layout.stride.head, static_cast<int>(result));
  return map;
}

cuuint64_t Extent(int64_t n) { return static_cast<cuuint64_t>(std::max<int64_t>(n, 1)); }

/// A dimension of one element is never stepped over, so any valid stride will do.
cuuint64_t StrideBytes(const TensorLayout& layout, int64_t extent, int64_t stride) {
  return static_cast<cuuint64_t>(extent <= 1 ? kUnit
                                             : stride * static_cast<int64_t>(SizeOf(layout.dtype)));
}

}  // namespace

CUtensorMap EncodeTensorMap(const TensorLayout& layout, int32_t box_rows) {
  const cuuint64_t extents[] = {Extent(layout.dim), Extent(layout.rows), Extent(layout.heads),
                                Extent(layout.batch)};
  const cuuint64_t strides[] = {StrideBytes(layout, layout.rows, layout.stride.row),
                                StrideBytes(layout, layout.heads, layout.stride.head),
                                StrideBytes(layout, layout.batch, layout.stride.batch)};
  const cuuint32_t box[] = {kBoxDim, static_cast<cuuint32_t>(box_rows), 1, 1};
  return Encode(layout, 4, extents, strides, box);
}

CUtensorMap EncodeGroupMap(const TensorLayout& layout, int32_t group, int32_t box_groups) {
  const cuuint64_t extents[] = {Extent(layout.dim), static_cast<cuuint64_t>(group),
                                Extent(layout.rows / group), Extent(layout.heads),
                                Extent(layout.batch)};
  const cuuint64_t strides[] = {StrideBytes(layout, group, layout.stride.row),
                                StrideBytes(layout, layout.rows / group, group * layout.stride.row),
                                StrideBytes(layout, layout.heads, layout.stride.head),
                                StrideBytes(layout, layout.batch, layout.stride.batch)};
  const cuuint32_t box[] = {kBoxDim, 2, static_cast<cuuint32_t>(box_groups), 1, 1};
  return Encode(layout, 5, extents, strides, box);
}

}  // namespace tamis::cuda
