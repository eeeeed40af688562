// Copies of the tiles of K and V that lists name.
#ifndef TAMIS_ATTENTION_CUDA_SM90_LIST_BOXES_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_LIST_BOXES_CUH_

#include <cstdint>

#include "attention/cuda/ptx/barrier.cuh"
#include "attention/cuda/ptx/tma.cuh"
#include "attention/cuda/sm90/list_work.cuh"
#include "attention/cuda/sm90/traits.cuh"

namespace tamis::cuda::sm90 {

/// Where in the tensors one step's keys lie.
struct Boxes {
  int32_t row[kUnits];
  int32_t head, batch;
};

/// Fills a stage; by one thread.
template <class Traits>
__device__ inline void LoadBoxes(const CUtensorMap& map, uint32_t target, uint32_t full,
                                 const Boxes& boxes) {
  constexpr uint32_t kUnitBytes = kUnitKeys * ptx::kSwizzleRowBytes;
  ptx::ArriveExpectBytes(full, Traits::kKeyBytes);
  for (int i = 0; i < Traits::kDimBlocks; ++i) {
    for (int u = 0; u < kUnits; ++u) {
      ptx::CopyBox(target + i * Traits::kKeyBlockBytes + u * kUnitBytes, &map, full, i * kBlockDim,
                   boxes.row[u], boxes.head, boxes.batch);
    }
  }
}

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_LIST_BOXES_CUH_
