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

/// Fills a stage; by one thread. kGroups: with the halves of each group of four keys apart (see
/// select.cuh), each half of the tile unit by unit.
template <class Traits, bool kGroups = false>
__device__ inline void LoadBoxes(const CUtensorMap& map, uint32_t target, uint32_t full,
                                 const Boxes& boxes) {
  constexpr uint32_t kUnitBytes = kUnitKeys * ptx::kSwizzleRowBytes;
  ptx::ArriveExpectBytes(full, Traits::kKeyBytes);
  for (int i = 0; i < Traits::kDimBlocks; ++i) {
    const uint32_t block = target + i * Traits::kKeyBlockBytes;
    for (int u = 0; u < kUnits; ++u) {
      if constexpr (kGroups) {
        for (int half = 0; half < 2; ++half) {
          ptx::CopyBox(block + half * (Traits::kKeyBlockBytes / 2) + u * (kUnitBytes / 2), &map,
                       full, i * kBlockDim, 2 * half, boxes.row[u] / 4, boxes.head, boxes.batch);
        }
      } else {
        ptx::CopyBox(block + u * kUnitBytes, &map, full, i * kBlockDim, boxes.row[u], boxes.head,
                     boxes.batch);
      }
    }
  }
}

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_LIST_BOXES_CUH_
