// Register budgets of warpgroups, conversions and warp-level helpers.
#ifndef TAMIS_ATTENTION_CUDA_PTX_REGISTERS_CUH_
#define TAMIS_ATTENTION_CUDA_PTX_REGISTERS_CUH_

#include <cstdint>

namespace tamis::cuda::ptx {

template <int kRegisters>
__device__ inline void LowerRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

template <int kRegisters>
__device__ inline void RaiseRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

/// True in one lane of a converged warp.
__device__ inline bool ElectLane() {
  uint32_t elected;
  asm volatile("{\n.reg .pred p;\nelect.sync _|p, 0xffffffff;\nselp.u32 %0, 1, 0, p;\n}\n"
               : "=r"(elected));
  return elected != 0;
}

/// The same value, about which the compiler knows nothing from before.
__device__ inline uint32_t Fresh(uint32_t value) {
  asm volatile("" : "+r"(value));
  return value;
}
template <typename T>
__device__ inline const T* Fresh(const T* value) {
  asm volatile("" : "+l"(value));
  return value;
}

/// A value that is the same in all lanes, so that the compiler knows it: what a loop carries it
/// may keep in registers of the lanes, and then moves to uniform ones each address made of it.
__device__ inline uint32_t Uniform(uint32_t value) { return __shfl_sync(0xffffffffu, value, 0); }

/// threadIdx.x read here and now, so that nothing derived from it is kept.
__device__ inline uint32_t ThreadIndex() {
  uint32_t index;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(index));
  return index;
}

/// A value that the compiler cannot derive again, so that it keeps it in a register.
__device__ inline uint32_t Opaque(uint32_t value) { return Uniform(Fresh(value)); }

__device__ inline float Exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ inline float Reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

struct BF16;
struct F16;

/// Two floats as one register of bf16 or f16, `low` in the lower half. Volatile: packing must stay
/// behind the wait for the wgmma that reads the register's previous value.
template <typename T>
__device__ uint32_t Pack(float low, float high);

template <>
__device__ inline uint32_t Pack<BF16>(float low, float high) {
  uint32_t packed;
  asm volatile("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

template <>
__device__ inline uint32_t Pack<F16>(float low, float high) {
  uint32_t packed;
  asm volatile("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

}  // namespace tamis::cuda::ptx

#endif  // TAMIS_ATTENTION_CUDA_PTX_REGISTERS_CUH_
