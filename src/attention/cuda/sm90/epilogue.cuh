// Normalises a tile's rows and writes O and LSE straight from registers.
#ifndef TAMIS_ATTENTION_CUDA_SM90_EPILOGUE_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_EPILOGUE_CUH_

#include <cstdint>
#include <numbers>

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

/// Lanes 2i and 2i + 1 hold the same two registers of two blocks of 8 columns; afterwards the even
/// lane holds both lanes' part of block 0 and the odd lane that of block 1.
__device__ inline uint2 SwapPairs(uint32_t block0, uint32_t block1) {
  const bool odd = (threadIdx.x & 1) != 0;
  const uint32_t got = __shfl_xor_sync(0xffffffffu, odd ? block0 : block1, 1);
  return odd ? make_uint2(got, block1) : make_uint2(block0, got);
}

/// A logit that joins the denominator of the rows that kept something. It may exceed every score.
__device__ inline void JoinSink(float logit_log2, float& reference, float& sum) {
  if (sum == 0.0f) return;
  const float larger = fmaxf(reference, logit_log2);
  sum = sum * ptx::Exp2(reference - larger) + ptx::Exp2(logit_log2 - larger);
  reference = larger;
}

/// Writes the LSE of a thread's two rows, where wanted; returns what their outputs must be
/// multiplied by. Rows that kept nothing get zeros and -inf.
template <class Traits>
__device__ inline float2 WriteLse(const ForwardParams& params, const OutputRows& target,
                                  const RowState& state) {
  constexpr float kLn2 = 0.693147180559945309f;
  const int32_t lane = static_cast<int32_t>(threadIdx.x) & 31;
  const int32_t first = (static_cast<int32_t>(threadIdx.x) % kWarpgroup) / 32 * 16 + lane / 4;
  float inverse[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float sum = QuadSum(state.sum[r]);
    float reference = state.reference[r];
    if constexpr (Traits::kGeneral) {
      if (params.scores.sink_logits != nullptr) {
        JoinSink(params.scores.sink_logits[target.q_head] * std::numbers::log2e_v<float>, reference,
                 sum);
      }
    }
    // Outputs are measured against the reference of the scores.
    inverse[r] = sum == 0.0f
                     ? 0.0f
                     : (Traits::kGeneral ? ptx::Exp2(state.reference[r] - reference) : 1.0f) / sum;
    const int32_t row = first + 8 * r;
    if (row < target.rows && params.lse != nullptr && (lane & 3) == 0) {
      const int64_t batch = params.query_offsets != nullptr ? 0 : target.sequence;
      params
          .lse[batch * params.lse_stride.batch + int64_t{target.row + row} * params.lse_stride.row +
               target.q_head * params.lse_stride.head] =
          sum == 0.0f ? -INFINITY : (reference + log2f(sum)) * kLn2;
    }
  }
  return {inverse[0], inverse[1]};
}

/// Writes O and LSE.
template <class Traits>
__device__ inline void WriteOutput(const ForwardParams& params, const OutputRows& target,
                                   float (&o)[Traits::kOutputs], const RowState& state) {
  const int32_t lane = static_cast<int32_t>(threadIdx.x) & 31;
  const int32_t first = (static_cast<int32_t>(threadIdx.x) % kWarpgroup) / 32 * 16 + lane / 4;
  const int64_t o_batch = params.query_offsets != nullptr ? 0 : target.sequence;
  const float2 inverses = WriteLse<Traits>(params, target, state);
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const float inverse = r == 0 ? inverses.x : inverses.y;
    const int32_t row = first + 8 * r;
    const bool exists = row < target.rows;
    auto* out = static_cast<uint16_t*>(params.o) + o_batch * params.o_stride.batch +
                int64_t{target.row + row} * params.o_stride.row +
                target.q_head * params.o_stride.head;
#pragma unroll
    for (int j = 0; j < Traits::kOutputs / 8; ++j) {
      // A quad writes 32 bytes of its row, a whole sector, 8 a lane.
      uint32_t x[2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int at = 8 * j + 4 * i + 2 * r;
        x[i] = ptx::Pack<typename Traits::Element>(o[at] * inverse, o[at + 1] * inverse);
      }
      const uint2 part = SwapPairs(x[0], x[1]);
      const int32_t column = 16 * j + 8 * (lane & 1) + 2 * (lane & 2);
      if (exists && column < params.value_dim) *reinterpret_cast<uint2*>(out + column) = part;
    }
  }
}

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_EPILOGUE_CUH_
