// Copies from global to shared memory by threads, 16 bytes each.
#ifndef TAMIS_ATTENTION_CUDA_PTX_COPY_CUH_
#define TAMIS_ATTENTION_CUDA_PTX_COPY_CUH_

#include <cstdint>

namespace tamis::cuda::ptx {

/// Writes 16 bytes, of which the first `bytes` are copied and the others are zero.
__device__ inline void CopyUnit(uint32_t target, const void* source, uint32_t bytes) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(target), "l"(source),
               "r"(bytes)
               : "memory");
}

/// Closes a group of this thread's copies.
__device__ inline void CommitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits until at most kPending groups of this thread's copies are under way.
template <int kPending>
__device__ inline void WaitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace tamis::cuda::ptx

#endif  // TAMIS_ATTENTION_CUDA_PTX_COPY_CUH_
