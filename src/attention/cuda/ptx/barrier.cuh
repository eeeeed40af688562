// mbarriers, named barriers and the fences between the proxies of shared memory.
#ifndef TAMIS_ATTENTION_CUDA_PTX_BARRIER_CUH_
#define TAMIS_ATTENTION_CUDA_PTX_BARRIER_CUH_

#include <cstdint>

namespace tamis::cuda::ptx {

__device__ inline uint32_t SharedAddress(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

__device__ inline void InitBarrier(uint32_t barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals));
}

/// Makes initialised barriers visible to the copy engine.
__device__ inline void FenceBarrierInit() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ inline void Arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

/// Arrives once and adds the bytes that the copy engine will write.
__device__ inline void ArriveExpectBytes(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}

/// Waits until the phase of parity `parity` has completed.
__device__ inline void Wait(uint32_t barrier, uint32_t parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again_%=:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra ready_%=;\n"
      "bra again_%=;\n"
      "ready_%=:\n"
      "}\n" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

/// True if the phase of parity `parity` has completed.
__device__ inline bool HasCompleted(uint32_t barrier, uint32_t parity) {
  uint32_t done;
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "mbarrier.test_wait.parity.shared::cta.b64 done, [%1], %2;\n"
      "selp.u32 %0, 1, 0, done;\n"
      "}\n"
      : "=r"(done)
      : "r"(barrier), "r"(parity)
      : "memory");
  return done != 0;
}

/// Waits until `threads` threads have met at named barrier `id`.
__device__ inline void SyncNamed(uint32_t id, uint32_t threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/// Joins those that meet at named barrier `id` without waiting for them.
__device__ inline void ArriveNamed(uint32_t id, uint32_t threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/// SyncNamed that returns whether any thread holds `value`.
__device__ inline bool AnyNamed(uint32_t id, uint32_t threads, bool value) {
  uint32_t any;
  asm volatile(
      "{\n"
      ".reg .pred mine, any;\n"
      "setp.ne.u32 mine, %3, 0;\n"
      "bar.red.or.pred any, %1, %2, mine;\n"
      "selp.u32 %0, 1, 0, any;\n"
      "}\n"
      : "=r"(any)
      : "r"(id), "r"(threads), "r"(static_cast<uint32_t>(value))
      : "memory");
  return any != 0;
}

/// SyncNamed that returns how many threads hold `value`.
__device__ inline uint32_t CountNamed(uint32_t id, uint32_t threads, bool value) {
  uint32_t count;
  asm volatile(
      "{\n"
      ".reg .pred mine;\n"
      "setp.ne.u32 mine, %3, 0;\n"
      "bar.red.popc.u32 %0, %1, %2, mine;\n"
      "}\n"
      : "=r"(count)
      : "r"(id), "r"(threads), "r"(static_cast<uint32_t>(value))
      : "memory");
  return count;
}

/// A word of shared memory, read here and now: the compiler neither keeps the value nor derives
/// another address of it.
__device__ inline uint32_t LoadWord(uint32_t address) {
  uint32_t value;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(value) : "r"(address) : "memory");
  return value;
}

/// Where `leads`, writes a byte of shared memory and arrives at a barrier: without a branch, whose
/// end lanes would wait for.
__device__ inline void PostByte(bool leads, uint32_t address, uint32_t value, uint32_t barrier) {
  asm volatile(
      "{\n"
      ".reg .pred leads;\n"
      "setp.ne.u32 leads, %0, 0;\n"
      "@leads st.shared.u8 [%1], %2;\n"
      "@leads mbarrier.arrive.shared::cta.b64 _, [%3];\n"
      "}\n" ::"r"(static_cast<uint32_t>(leads)),
      "r"(address), "r"(value), "r"(barrier)
      : "memory");
}

/// Orders this thread's ordinary writes to shared memory before reads by wgmma and the copy engine.
__device__ inline void FenceAsyncProxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/// Lets a kernel that was launched to overlap with this one start.
__device__ inline void LaunchDependents() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

/// In such a kernel: waits until the one before it has finished and its writes can be read.
__device__ inline void WaitForLaunchedBefore() {
  asm volatile("griddepcontrol.wait;" ::: "memory");
}

}  // namespace tamis::cuda::ptx

#endif  // TAMIS_ATTENTION_CUDA_PTX_BARRIER_CUH_
