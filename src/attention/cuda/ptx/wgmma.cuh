// Warpgroup matrix products (wgmma), 64 rows each, accumulating in fp32.
//
// Accumulator of 64 x N: lane l of warp w holds rows 16w + l/4 (elements 4j, 4j+1) and 8 below it
// (4j+2, 4j+3), columns 8j + 2(l%4) + {0, 1}. Products run behind the issuing warps: operands in
// registers must not be touched between FenceOperands and the wait that covers the product.
//
// Sparse products take a left operand that keeps two of every four entries along K, packed like
// that of a dense product of half the depth: a thread of lane l holds, of a slab of 32 deep, group
// l%4 in registers 0 (row l/4) and 1 (8 below), group 4 + l%4 in registers 2 and 3, the entry named
// first in the low half. Metadata names the two positions of a group in four bits, first | second
// << 2. One register serves two slabs: lanes 0 and 1 of a quad supply the first (Supplier<0>),
// lanes 2 and 3 the second; the even lane of the pair has groups 0-3, the odd one 4-7; the low half
// of its word is row l/4, the high half 8 below. (PTX ISA, wgmma.mma_async.sp.)
#ifndef TAMIS_ATTENTION_CUDA_PTX_WGMMA_CUH_
#define TAMIS_ATTENTION_CUDA_PTX_WGMMA_CUH_

#include <cstdint>

#include "attention/cuda/ptx/registers.cuh"

namespace tamis::cuda::ptx {

/// Rows of 128 bytes, swizzled by the copy engine in units of 16 bytes with a period of 8 rows.
constexpr uint32_t kSwizzleRowBytes = 128;
constexpr uint32_t kSwizzlePeriodBytes = 1024;

/// The upper word of every descriptor here: 128-byte swizzle, periods back to back.
constexpr uint32_t kDescriptorHigh = (1u << 30) | (kSwizzlePeriodBytes >> 4);

/// The lower word: where the operand starts, and for operands whose rows run along K the distance
/// between blocks of 64 columns. Advance an operand by adding bytes >> 4.
__device__ inline uint32_t DescriptorLow(uint32_t address, uint32_t block_bytes) {
  return (address >> 4) | ((block_bytes >> 4) << 16);
}

__device__ inline uint64_t Descriptor(uint32_t low) {
  uint64_t descriptor;
  asm("mov.b64 %0, {%1, %2};" : "=l"(descriptor) : "r"(low), "r"(kDescriptorHigh));
  return descriptor;
}

#define TAMIS_8(C, d, i) \
  C(d[i]), C(d[i + 1]), C(d[i + 2]), C(d[i + 3]), C(d[i + 4]), C(d[i + 5]), C(d[i + 6]), C(d[i + 7])
#define TAMIS_32(C, d, i) \
  TAMIS_8(C, d, i), TAMIS_8(C, d, i + 8), TAMIS_8(C, d, i + 16), TAMIS_8(C, d, i + 24)
#define TAMIS_24(C, d, i) TAMIS_8(C, d, i), TAMIS_8(C, d, i + 8), TAMIS_8(C, d, i + 16)
#define TAMIS_48(C, d, i) TAMIS_24(C, d, i), TAMIS_24(C, d, i + 24)
#define TAMIS_64(C, d, i) TAMIS_32(C, d, i), TAMIS_32(C, d, i + 32)
#define TAMIS_96(C, d, i) TAMIS_64(C, d, i), TAMIS_32(C, d, i + 64)
#define TAMIS_128(C, d, i) TAMIS_64(C, d, i), TAMIS_64(C, d, i + 64)
#define TAMIS_16(C, d, i) TAMIS_8(C, d, i), TAMIS_8(C, d, i + 8)

/// Empty, but the compiler must have the operands in their registers here.
__device__ inline void Pin(float (&d)[32]) { asm volatile("" : TAMIS_32("+f", d, 0)::"memory"); }
__device__ inline void Pin(float (&d)[48]) { asm volatile("" : TAMIS_48("+f", d, 0)::"memory"); }
__device__ inline void Pin(float (&d)[64]) { asm volatile("" : TAMIS_64("+f", d, 0)::"memory"); }
__device__ inline void Pin(float (&d)[96]) { asm volatile("" : TAMIS_96("+f", d, 0)::"memory"); }
__device__ inline void Pin(float (&d)[128]) { asm volatile("" : TAMIS_128("+f", d, 0)::"memory"); }
__device__ inline void Pin(uint32_t (&d)[16]) { asm volatile("" : TAMIS_16("+r", d, 0)::"memory"); }
__device__ inline void Pin(uint32_t (&d)[24]) { asm volatile("" : TAMIS_24("+r", d, 0)::"memory"); }
__device__ inline void Pin(uint32_t (&d)[32]) { asm volatile("" : TAMIS_32("+r", d, 0)::"memory"); }
template <int kCount>
__device__ inline void Pin(uint32_t (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+r"(d[i])::"memory");
}

/// Before every batch of products: orders the registers' earlier uses before them.
__device__ inline void FenceOperands() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void CommitBatch() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Waits until at most kPending batches run.
template <int kPending>
__device__ inline void WaitBatches() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

/// d = a * b^T, 64x16 by N x 16, both in shared memory with rows along K. N is twice the registers.
template <typename T>
__device__ void ProductFirst(float (&d)[96], uint64_t a, uint64_t b);
template <typename T>
__device__ void ProductFirst(float (&d)[64], uint64_t a, uint64_t b);
template <typename T>
__device__ void ProductFirst(float (&d)[48], uint64_t a, uint64_t b);
template <typename T>
__device__ void ProductFirst(float (&d)[32], uint64_t a, uint64_t b);
/// d += a * b^T.
template <typename T>
__device__ void Product(float (&d)[96], uint64_t a, uint64_t b);
template <typename T>
__device__ void Product(float (&d)[64], uint64_t a, uint64_t b);
template <typename T>
__device__ void Product(float (&d)[48], uint64_t a, uint64_t b);
template <typename T>
__device__ void Product(float (&d)[32], uint64_t a, uint64_t b);
/// d += a * b, a 64x16 in registers, b 16 x N in shared memory with rows along N.
template <typename T>
__device__ void ProductRegisters(float (&d)[128], const uint32_t* a, uint64_t b);
template <typename T>
__device__ void ProductRegisters(float (&d)[64], const uint32_t* a, uint64_t b);
template <typename T>
__device__ void ProductRegisters(float (&d)[32], const uint32_t* a, uint64_t b);
/// d += a * b, a 64x32 of which half is kept, in registers; b as above, 32 x N.
template <int kLanes>
struct Supplier {};
template <typename T, int kLanes>
__device__ void SparseProduct(float (&d)[64], const uint32_t* a, uint64_t b, uint32_t metadata,
                              Supplier<kLanes>);
template <typename T, int kLanes>
__device__ void SparseProduct(float (&d)[32], const uint32_t* a, uint64_t b, uint32_t metadata,
                              Supplier<kLanes>);

// Register operands of the accumulator, by number.
#define TAMIS_ASM_32                                                     \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15" \
  ", "                                                                   \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define TAMIS_ASM_48 \
  TAMIS_ASM_32       \
  ", "               \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define TAMIS_ASM_64 \
  TAMIS_ASM_48       \
  ", "               \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define TAMIS_ASM_96                                                               \
  TAMIS_ASM_64                                                                     \
  ", "                                                                             \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79" \
  ", "                                                                             \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define TAMIS_ASM_128                                                                          \
  TAMIS_ASM_96                                                                                 \
  ", "                                                                                         \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111" \
  ", "                                                                                         \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, " \
  "%127"

// One product of TYPE and KIND, DEPTH deep: SCALE 0 overwrites the accumulator, 1 adds to it; N
// columns in REGISTERS registers, whose constraint is OUT; then the other operands, numbered from
// REGISTERS on.
#define TAMIS_PRODUCT(KIND, TYPE, SCALE, N, DEPTH, REGISTERS, OUT, OPERANDS, ...)     \
  asm volatile("{.reg .pred p; .reg .b32 c; mov.b32 c, " SCALE                        \
               "; setp.ne.b32 p, c, 0; "                                              \
               "wgmma." KIND ".sync.aligned.m64n" #N "k" #DEPTH ".f32." TYPE "." TYPE \
               " {" TAMIS_ASM_##REGISTERS "}, " OPERANDS "}"                          \
               : TAMIS_##REGISTERS(OUT, d, 0)                                         \
               : __VA_ARGS__)

// Both operands in shared memory; A and B are their numbers.
#define TAMIS_SHARED_PRODUCTS(T, TYPE, N, REGISTERS, A, B)                               \
  template <>                                                                            \
  __device__ inline void ProductFirst<T>(float(&d)[REGISTERS], uint64_t a, uint64_t b) { \
    TAMIS_PRODUCT("mma_async", TYPE, "0", N, 16, REGISTERS, "=f",                        \
                  "%" #A ", %" #B ", p, 1, 1, 0, 0;", "l"(a), "l"(b));                   \
  }                                                                                      \
  template <>                                                                            \
  __device__ inline void Product<T>(float(&d)[REGISTERS], uint64_t a, uint64_t b) {      \
    TAMIS_PRODUCT("mma_async", TYPE, "1", N, 16, REGISTERS, "+f",                        \
                  "%" #A ", %" #B ", p, 1, 1, 0, 0;", "l"(a), "l"(b));                   \
  }

// The left operand in four registers, numbered A0 to A3.
#define TAMIS_REGISTER_PRODUCT(T, TYPE, N, REGISTERS, A0, A1, A2, A3, B)                       \
  template <>                                                                                  \
  __device__ inline void ProductRegisters<T>(float(&d)[REGISTERS], const uint32_t* a,          \
                                             uint64_t b) {                                     \
    TAMIS_PRODUCT("mma_async", TYPE, "1", N, 16, REGISTERS, "+f",                              \
                  "{%" #A0 ", %" #A1 ", %" #A2 ", %" #A3 "}, %" #B ", p, 1, 1, 1;", "r"(a[0]), \
                  "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                                    \
  }

// The same, half of it kept, with the metadata in E.
#define TAMIS_SPARSE_PRODUCT(T, TYPE, LANES, N, REGISTERS, A0, A1, A2, A3, B, E)                   \
  template <>                                                                                      \
  __device__ inline void SparseProduct<T, LANES>(float(&d)[REGISTERS], const uint32_t* a,          \
                                                 uint64_t b, uint32_t metadata, Supplier<LANES>) { \
    TAMIS_PRODUCT("mma_async.sp", TYPE, "1", N, 32, REGISTERS, "+f",                               \
                  "{%" #A0 ", %" #A1 ", %" #A2 ", %" #A3 "}, %" #B ", %" #E ", " #LANES            \
                  ", p, 1, 1, 1;",                                                                 \
                  "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(metadata));              \
  }
#define TAMIS_SPARSE_PRODUCTS(T, TYPE, LANES)                          \
  TAMIS_SPARSE_PRODUCT(T, TYPE, LANES, 64, 32, 32, 33, 34, 35, 36, 37) \
  TAMIS_SPARSE_PRODUCT(T, TYPE, LANES, 128, 64, 64, 65, 66, 67, 68, 69)

#define TAMIS_WGMMA(T, TYPE)                                         \
  TAMIS_SHARED_PRODUCTS(T, TYPE, 64, 32, 32, 33)                     \
  TAMIS_SHARED_PRODUCTS(T, TYPE, 96, 48, 48, 49)                     \
  TAMIS_SHARED_PRODUCTS(T, TYPE, 128, 64, 64, 65)                    \
  TAMIS_SHARED_PRODUCTS(T, TYPE, 192, 96, 96, 97)                    \
  TAMIS_REGISTER_PRODUCT(T, TYPE, 64, 32, 32, 33, 34, 35, 36)        \
  TAMIS_REGISTER_PRODUCT(T, TYPE, 128, 64, 64, 65, 66, 67, 68)       \
  TAMIS_REGISTER_PRODUCT(T, TYPE, 256, 128, 128, 129, 130, 131, 132) \
  TAMIS_SPARSE_PRODUCTS(T, TYPE, 0)                                  \
  TAMIS_SPARSE_PRODUCTS(T, TYPE, 1)

TAMIS_WGMMA(BF16, "bf16")
TAMIS_WGMMA(F16, "f16")

#undef TAMIS_SPARSE_PRODUCTS
#undef TAMIS_SPARSE_PRODUCT
#undef TAMIS_REGISTER_PRODUCT
#undef TAMIS_SHARED_PRODUCTS
#undef TAMIS_PRODUCT
#undef TAMIS_ASM_128
#undef TAMIS_ASM_96
#undef TAMIS_ASM_64
#undef TAMIS_ASM_48
#undef TAMIS_ASM_32
#undef TAMIS_WGMMA
#undef TAMIS_16
#undef TAMIS_128
#undef TAMIS_96
#undef TAMIS_64
#undef TAMIS_48
#undef TAMIS_24
#undef TAMIS_32
#undef TAMIS_8

}  // namespace tamis::cuda::ptx

#endif  // TAMIS_ATTENTION_CUDA_PTX_WGMMA_CUH_
