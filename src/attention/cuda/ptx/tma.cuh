// Bulk tensor copies from global to shared memory.
#ifndef TAMIS_ATTENTION_CUDA_PTX_TMA_CUH_
#define TAMIS_ATTENTION_CUDA_PTX_TMA_CUH_

#include <cuda.h>

#include <cstdint>

namespace tamis::cuda::ptx {

__device__ inline void PrefetchTensorMap(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

/// Copies the box of a rank-4 map at (dim, row, head, batch) and reports its bytes to `barrier`.
__device__ inline void CopyBox(uint32_t target, const CUtensorMap* map, uint32_t barrier,
                               int32_t dim, int32_t row, int32_t head, int32_t batch) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(target),
      "l"(map), "r"(barrier), "r"(dim), "r"(row), "r"(head), "r"(batch)
      : "memory");
}

/// The same of a rank-5 map at (dim, member, group, head, batch).
__device__ inline void CopyBox(uint32_t target, const CUtensorMap* map, uint32_t barrier,
                               int32_t dim, int32_t member, int32_t group, int32_t head,
                               int32_t batch) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5, %6, %7}], [%2];" ::"r"(target),
      "l"(map), "r"(barrier), "r"(dim), "r"(member), "r"(group), "r"(head), "r"(batch)
      : "memory");
}

/// Copies a box back, of which only what lies inside the tensor is written.
__device__ inline void StoreBox(const CUtensorMap* map, uint32_t source, int32_t dim, int32_t row,
                                int32_t head, int32_t batch) {
  asm volatile(
      "cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::
          "l"(map),
      "r"(source), "r"(dim), "r"(row), "r"(head), "r"(batch)
      : "memory");
}

__device__ inline void CommitStores() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }

/// Waits until the committed stores of this thread have read shared memory.
__device__ inline void WaitStoresRead() {
  asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
}

}  // namespace tamis::cuda::ptx

#endif  // TAMIS_ATTENTION_CUDA_PTX_TMA_CUH_
