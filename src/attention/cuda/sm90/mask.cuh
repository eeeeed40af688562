// Hides scores that a row may not see.
#ifndef TAMIS_ATTENTION_CUDA_SM90_MASK_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_MASK_CUH_

#include <cuda_runtime.h>

#include <cstdint>

namespace tamis::cuda::sm90 {

/// A thread's column of register i, from its first.
__host__ __device__ constexpr int32_t ColumnOf(int i) { return 8 * (i >> 2) + (i & 1); }

/// A thread's two rows see the keys of the sequence up to last_key[0] and last_key[1]. Selects
/// rather than adds: rows past the end of K may hold NaN.
template <int kScores>
__device__ inline void MaskScores(float (&s)[kScores], int32_t first_key,
                                  const int32_t (&last_key)[2]) {
  const int32_t column = 2 * (static_cast<int32_t>(threadIdx.x) & 3);
  const int32_t last[2] = {last_key[0] - first_key - column, last_key[1] - first_key - column};
#pragma unroll
  for (int i = 0; i < kScores; ++i) {
    if (ColumnOf(i) > last[(i >> 1) & 1]) s[i] = -INFINITY;
  }
}

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_MASK_CUH_
