// Normalises a tile's rows and writes O and LSE straight from registers.
#ifndef TAMIS_ATTENTION_CUDA_SM90_EPILOGUE_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_EPILOGUE_CUH_

#include <cstdint>

#include "attention/cuda/ptx/registers.cuh"
#include "attention/cuda/sm90/softmax.cuh"
#include "attention/cuda/sm90/traits.cuh"
#include "attention/cuda/sm90/work.cuh"

namespace tamis::cuda::sm90 {

/// Where a warpgroup's rows of a tile go.
struct OutputRows {
  int32_t sequence, q_head;
  int32_t row;   ///< of the tensors, of the warpgroup's first query
  int32_t rows;  ///< of the warpgroup that exist; may be negative

  OutputRows() = default;
  __device__ OutputRows(const TileWork& work, int32_t group_row)
      : sequence(work.sequence),
        q_head(work.q_head),
        row(work.query_row + group_row),
        rows(work.queries - work.first_query - group_row) {}
};

/// Transposes a 4x4 matrix over a quad: lane i of the quad gets element i of every lane, in order.
__device__ inline void TransposeQuad(uint32_t (&x)[4]) {
  const bool odd = (threadIdx.x & 1) != 0, upper = (threadIdx.x & 2) != 0;
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    const uint32_t got = __shfl_xor_sync(0xffffffffu, odd ? x[i] : x[i + 1], 1);
    x[i] = odd ? got : x[i];
    x[i + 1] = odd ? x[i + 1] : got;
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const uint32_t got = __shfl_xor_sync(0xffffffffu, upper ? x[i] : x[i + 2], 2);
    x[i] = upper ? got : x[i];
    x[i + 2] = upper ? x[i + 2] : got;
  }
}

/// Rows that kept nothing get zeros and -inf.
template <class Traits>
__device__ inline void WriteOutput(const ForwardParams& params, const OutputRows& target,
                                   float (&o)[Traits::kOutputs], const RowState& state) {
  constexpr float kLn2 = 0.693147180559945309f;
  const int32_t lane = static_cast<int32_t>(threadIdx.x) & 31;
  const int32_t first = (static_cast<int32_t>(threadIdx.x) % kWarpgroup) / 32 * 16 + lane / 4;
  const int64_t o_batch = params.query_offsets != nullptr ? 0 : target.sequence;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const float sum = QuadSum(state.sum[r]);
    const float inverse = sum == 0.0f ? 0.0f : 1.0f / sum;
    const int32_t row = first + 8 * r;
    const bool exists = row < target.rows;
    if (exists && params.lse != nullptr && (lane & 3) == 0) {
      params.lse[o_batch * params.lse_stride.batch +
                 int64_t{target.row + row} * params.lse_stride.row +
                 target.q_head * params.lse_stride.head] =
          sum == 0.0f ? -INFINITY : (state.reference[r] + log2f(sum)) * kLn2;
    }
    auto* out = static_cast<uint16_t*>(params.o) + o_batch * params.o_stride.batch +
                int64_t{target.row + row} * params.o_stride.row +
                target.q_head * params.o_stride.head;
#pragma unroll
    for (int j = 0; j < Traits::kOutputs / 16; ++j) {
      // A quad holds 32 columns of a row in four pieces; each lane writes 8 of them as 16 bytes.
      uint32_t x[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int at = 16 * j + 4 * i + 2 * r;
        x[i] = ptx::Pack<typename Traits::Element>(o[at] * inverse, o[at + 1] * inverse);
      }
      TransposeQuad(x);
      const int32_t column = 32 * j + 8 * (lane & 3);
      if (exists && column < params.value_dim) {
        *reinterpret_cast<uint4*>(out + column) = {x[0], x[1], x[2], x[3]};
      }
    }
  }
}

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_EPILOGUE_CUH_
