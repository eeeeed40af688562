// Warp-level matrix products: the slow path that a single warp can take on its own.
#ifndef TAMIS_ATTENTION_CUDA_PTX_MMA_SYNC_CUH_
#define TAMIS_ATTENTION_CUDA_PTX_MMA_SYNC_CUH_

#include <cstdint>

#include "attention/cuda/ptx/registers.cuh"

namespace tamis::cuda::ptx {

/// Four 8x8 matrices of 16-bit elements; lane i gives the address of row i % 8 of matrix i / 8.
__device__ inline void LoadMatrices(uint32_t (&m)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(address)
               : "memory");
}

/// The reverse: each lane holds two elements of row lane / 4 of every matrix.
__device__ inline void StoreMatrices(uint32_t address, const uint32_t (&m)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address),
               "r"(m[0]), "r"(m[1]), "r"(m[2]), "r"(m[3])
               : "memory");
}

__device__ inline uint4 LoadShared(uint32_t address) {
  uint4 x;
  asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
               : "r"(address)
               : "memory");
  return x;
}

/// d (m16n8) += a (m16k16) * b (k16n8). The layout of d is that of a warp's share of wgmma's.
template <typename T>
__device__ void MmaSync(float* d, const uint32_t (&a)[4], uint32_t b0, uint32_t b1);

#define TAMIS_MMA_SYNC(T, TYPE)                                                                  \
  template <>                                                                                    \
  __device__ inline void MmaSync<T>(float* d, const uint32_t(&a)[4], uint32_t b0, uint32_t b1) { \
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." TYPE "." TYPE                          \
                 ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"          \
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));                \
  }
TAMIS_MMA_SYNC(BF16, "bf16")
TAMIS_MMA_SYNC(F16, "f16")
#undef TAMIS_MMA_SYNC

}  // namespace tamis::cuda::ptx

#endif  // TAMIS_ATTENTION_CUDA_PTX_MMA_SYNC_CUH_
