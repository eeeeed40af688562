// Writes O through shared memory: the copy engine stores whole rows while the warp goes on.
#ifndef TAMIS_ATTENTION_CUDA_SM90_STORE_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_STORE_CUH_

#include <cuda.h>

#include <cstdint>

#include "attention/cuda/ptx/mma_sync.cuh"
#include "attention/cuda/ptx/tma.cuh"
#include "attention/cuda/sm90/epilogue.cuh"

namespace tamis::cuda::sm90 {

/// As WriteOutput. `shared`: this warp's 16 rows of a stage of Q that only this warp still uses; it
/// must not be filled again before ptx::WaitStoresRead.
template <class Traits>
__device__ inline void StoreOutput(const ForwardParams& params, const CUtensorMap& map,
                                   const OutputRows& target, float (&o)[Traits::kOutputs],
                                   const RowState& state, uint32_t shared) {
  constexpr int32_t kWarpRows = 16;
  constexpr uint32_t kUnitBytes = 16;
  constexpr int kRowUnits = ptx::kSwizzleRowBytes / kUnitBytes;
  const int32_t lane = static_cast<int32_t>(threadIdx.x) & 31;
  const int32_t warp_row = static_cast<int32_t>(threadIdx.x) % kWarpgroup / 32 * kWarpRows;
  const float2 inverse = WriteLse<Traits>(params, target, state);
  const uint32_t row = lane & 15;
#pragma unroll
  for (int j = 0; j < Traits::kOutputs / 8; ++j) {
    const uint32_t m[4] = {
        ptx::Pack<typename Traits::Element>(o[8 * j] * inverse.x, o[8 * j + 1] * inverse.x),
        ptx::Pack<typename Traits::Element>(o[8 * j + 2] * inverse.y, o[8 * j + 3] * inverse.y),
        ptx::Pack<typename Traits::Element>(o[8 * j + 4] * inverse.x, o[8 * j + 5] * inverse.x),
        ptx::Pack<typename Traits::Element>(o[8 * j + 6] * inverse.y, o[8 * j + 7] * inverse.y)};
    const uint32_t unit = 2 * j + (lane >> 4);
    ptx::StoreMatrices(shared + unit / kRowUnits * Traits::kQueryBlockBytes +
                           row * ptx::kSwizzleRowBytes +
                           ((unit % kRowUnits) ^ (row & 7)) * kUnitBytes,
                       m);
  }
  ptx::FenceAsyncProxy();
  __syncwarp();  // the whole warp's part before any of it is copied
  const int64_t batch = params.query_offsets != nullptr ? 0 : target.sequence;
  const int32_t rows = target.rows - warp_row;
  if (rows >= kWarpRows) {
    if (lane == 0) {
      for (int i = 0; i < Traits::kDimBlocks; ++i) {
        ptx::StoreBox(&map, shared + i * Traits::kQueryBlockBytes, i * kBlockDim,
                      target.row + warp_row, target.q_head, static_cast<int32_t>(batch));
      }
      ptx::CommitStores();
    }
  } else {
    // A box cannot stop at the end of a sequence.
    auto* out = static_cast<uint16_t*>(params.o) + batch * params.o_stride.batch +
                int64_t{target.row + warp_row} * params.o_stride.row +
                target.q_head * params.o_stride.head;
    constexpr int32_t kUnits = Traits::kHeadDim / 8;
#pragma unroll 1
    for (int32_t i = lane; i < kWarpRows * kUnits; i += 32) {
      const int32_t r = i / kUnits;
      const int32_t u = i % kUnits;
      if (r < rows && u * 8 < params.value_dim) {
        *reinterpret_cast<uint4*>(out + r * params.o_stride.row + u * 8) =
            ptx::LoadShared(shared + u / kRowUnits * Traits::kQueryBlockBytes +
                            r * ptx::kSwizzleRowBytes + ((u % kRowUnits) ^ (r & 7)) * kUnitBytes);
      }
    }
    __syncwarp();  // every lane has read its part before lane 0 releases the stage
  }
}

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_STORE_CUH_
