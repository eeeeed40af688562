// Sparse warpgroup products: the left operand keeps two of every four entries along K.
//
// Kept entries are packed like the left operand of a dense product of half the depth: a thread of
// lane l holds, of a slab of 32 deep, group l%4 in registers 0 (row l/4) and 1 (8 below), group 4 +
// l%4 in registers 2 and 3, the entry named first in the low half. Metadata names the two positions
// of a group in four bits, first | second << 2. One register serves two slabs: lanes 0 and 1 of a
// quad supply the first (Supplier<0>), lanes 2 and 3 the second; the even lane of the pair has
// groups 0-3, the odd one 4-7; the low half of its word is row l/4, the high half 8 below. (PTX
// ISA, wgmma.mma_async.sp.)
#ifndef TAMIS_ATTENTION_CUDA_PTX_WGMMA_SPARSE_CUH_
#define TAMIS_ATTENTION_CUDA_PTX_WGMMA_SPARSE_CUH_

#include <cstdint>

#include "attention/cuda/ptx/wgmma.cuh"

namespace tamis::cuda::ptx {

template <int kLanes>
struct Supplier {};

#define TAMIS_SP_8(C, d, i) \
  C(d[i]), C(d[i + 1]), C(d[i + 2]), C(d[i + 3]), C(d[i + 4]), C(d[i + 5]), C(d[i + 6]), C(d[i + 7])
#define TAMIS_SP_32(C, d, i) \
  TAMIS_SP_8(C, d, i), TAMIS_SP_8(C, d, i + 8), TAMIS_SP_8(C, d, i + 16), TAMIS_SP_8(C, d, i + 24)
#define TAMIS_SP_64(C, d) TAMIS_SP_32(C, d, 0), TAMIS_SP_32(C, d, 32)
#define TAMIS_SP_96(C, d) TAMIS_SP_64(C, d), TAMIS_SP_32(C, d, 64)

__device__ inline void Pin(float (&d)[96]) { asm volatile("" : TAMIS_SP_96("+f", d)::"memory"); }
/// For sizes that wgmma.cuh does not name.
template <int kCount>
__device__ inline void Pin(uint32_t (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+r"(d[i])::"memory");
}

/// d += a * b, a 64x32 of which half is kept, in registers; b 32 x N in shared memory with rows
/// along N.
template <typename T>
__device__ void SparseProduct(float (&d)[64], const uint32_t* a, uint64_t b, uint32_t metadata,
                              Supplier<0>);
template <typename T>
__device__ void SparseProduct(float (&d)[64], const uint32_t* a, uint64_t b, uint32_t metadata,
                              Supplier<1>);
template <typename T>
__device__ void SparseProduct(float (&d)[32], const uint32_t* a, uint64_t b, uint32_t metadata,
                              Supplier<0>);
template <typename T>
__device__ void SparseProduct(float (&d)[32], const uint32_t* a, uint64_t b, uint32_t metadata,
                              Supplier<1>);
template <typename T>
__device__ void ProductFirst(float (&d)[96], uint64_t a, uint64_t b);
template <typename T>
__device__ void Product(float (&d)[96], uint64_t a, uint64_t b);

#define TAMIS_WGMMA_SPARSE(T, TYPE)                                                         \
  template <>                                                                               \
  __device__ inline void ProductFirst<T>(float(&d)[96], uint64_t a, uint64_t b) {           \
    asm volatile(                                                                           \
        "{.reg .pred p; .reg .b32 c; mov.b32 c, 0; setp.ne.b32 p, c, 0; "                   \
        "wgmma.mma_async.sync.aligned.m64n192k16.f32." TYPE "." TYPE                        \
        " "                                                                                 \
        "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "           \
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "  \
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "  \
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "  \
        "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "  \
        "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95}, " \
        "%96, %97, p, 1, 1, 0, 0;}"                                                         \
        : TAMIS_SP_96("=f", d)                                                              \
        : "l"(a), "l"(b));                                                                  \
  }                                                                                         \
  template <>                                                                               \
  __device__ inline void Product<T>(float(&d)[96], uint64_t a, uint64_t b) {                \
    asm volatile(                                                                           \
        "{.reg .pred p; .reg .b32 c; mov.b32 c, 1; setp.ne.b32 p, c, 0; "                   \
        "wgmma.mma_async.sync.aligned.m64n192k16.f32." TYPE "." TYPE                        \
        " "                                                                                 \
        "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "           \
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "  \
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "  \
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "  \
        "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "  \
        "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95}, " \
        "%96, %97, p, 1, 1, 0, 0;}"                                                         \
        : TAMIS_SP_96("+f", d)                                                              \
        : "l"(a), "l"(b));                                                                  \
  }                                                                                         \
  template <>                                                                               \
  __device__ inline void SparseProduct<T>(float(&d)[64], const uint32_t* a, uint64_t b,     \
                                          uint32_t metadata, Supplier<0>) {                 \
    asm volatile(                                                                           \
        "{.reg .pred p; .reg .b32 c; mov.b32 c, 1; setp.ne.b32 p, c, 0; "                   \
        "wgmma.mma_async.sp.sync.aligned.m64n128k32.f32." TYPE "." TYPE                     \
        " "                                                                                 \
        "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "           \
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "  \
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "  \
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, " \
        "{%64, %65, %66, %67}, %68, %69, 0, p, 1, 1, 1;}"                                   \
        : TAMIS_SP_64("+f", d)                                                              \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(metadata));               \
  }                                                                                         \
  template <>                                                                               \
  __device__ inline void SparseProduct<T>(float(&d)[64], const uint32_t* a, uint64_t b,     \
                                          uint32_t metadata, Supplier<1>) {                 \
    asm volatile(                                                                           \
        "{.reg .pred p; .reg .b32 c; mov.b32 c, 1; setp.ne.b32 p, c, 0; "                   \
        "wgmma.mma_async.sp.sync.aligned.m64n128k32.f32." TYPE "." TYPE                     \
        " "                                                                                 \
        "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "           \
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "  \
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "  \
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, " \
        "{%64, %65, %66, %67}, %68, %69, 1, p, 1, 1, 1;}"                                   \
        : TAMIS_SP_64("+f", d)                                                              \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(metadata));               \
  }                                                                                         \
  template <>                                                                               \
  __device__ inline void SparseProduct<T>(float(&d)[32], const uint32_t* a, uint64_t b,     \
                                          uint32_t metadata, Supplier<0>) {                 \
    asm volatile(                                                                           \
        "{.reg .pred p; .reg .b32 c; mov.b32 c, 1; setp.ne.b32 p, c, 0; "                   \
        "wgmma.mma_async.sp.sync.aligned.m64n64k32.f32." TYPE "." TYPE                      \
        " "                                                                                 \
        "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "           \
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, " \
        "{%32, %33, %34, %35}, %36, %37, 0, p, 1, 1, 1;}"                                   \
        : TAMIS_SP_32("+f", d, 0)                                                           \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(metadata));               \
  }                                                                                         \
  template <>                                                                               \
  __device__ inline void SparseProduct<T>(float(&d)[32], const uint32_t* a, uint64_t b,     \
                                          uint32_t metadata, Supplier<1>) {                 \
    asm volatile(                                                                           \
        "{.reg .pred p; .reg .b32 c; mov.b32 c, 1; setp.ne.b32 p, c, 0; "                   \
        "wgmma.mma_async.sp.sync.aligned.m64n64k32.f32." TYPE "." TYPE                      \
        " "                                                                                 \
        "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "           \
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, " \
        "{%32, %33, %34, %35}, %36, %37, 1, p, 1, 1, 1;}"                                   \
        : TAMIS_SP_32("+f", d, 0)                                                           \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(metadata));               \
  }

TAMIS_WGMMA_SPARSE(BF16, "bf16")
TAMIS_WGMMA_SPARSE(F16, "f16")

#undef TAMIS_WGMMA_SPARSE
#undef TAMIS_SP_96
#undef TAMIS_SP_64
#undef TAMIS_SP_32
#undef TAMIS_SP_8

}  // namespace tamis::cuda::ptx

#endif  // TAMIS_ATTENTION_CUDA_PTX_WGMMA_SPARSE_CUH_
