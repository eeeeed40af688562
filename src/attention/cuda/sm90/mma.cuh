// The two products of a tile, issued for a warpgroup of 64 rows.
#ifndef TAMIS_ATTENTION_CUDA_SM90_MMA_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_MMA_CUH_

#include <cstdint>

#include "attention/cuda/ptx/wgmma.cuh"
#include "attention/cuda/sm90/traits.cuh"

namespace tamis::cuda::sm90 {

constexpr int kProductDepth = 16;

/// Starts scores = Q K^T. `q` and `k`: lower descriptor words of the warpgroup's rows and the tile.
template <class Traits>
__device__ inline void IssueScores(float (&scores)[Traits::kScores], uint32_t q, uint32_t k) {
  constexpr int kStepsPerBlock = kBlockDim / kProductDepth;
  // Else the descriptors of Q are kept across steps, in two registers each.
  q = ptx::Fresh(q);
  ptx::FenceOperands();
#pragma unroll
  for (int i = 0; i < Traits::kHeadDim / kProductDepth; ++i) {
    const int block = i / kStepsPerBlock;
    const uint32_t step = (i % kStepsPerBlock) * kProductDepth * 2;
    const uint64_t a = ptx::Descriptor(q + ((block * Traits::kQueryBlockBytes + step) >> 4));
    const uint64_t b = ptx::Descriptor(k + ((block * Traits::kKeyBlockBytes + step) >> 4));
    if (i == 0) {
      ptx::ProductFirst<typename Traits::Element>(scores, a, b);
    } else {
      ptx::Product<typename Traits::Element>(scores, a, b);
    }
  }
  ptx::CommitBatch();
}

/// Starts output += P V, P packed in registers.
template <class Traits>
__device__ inline void IssueValues(float (&output)[Traits::kOutputs],
                                   uint32_t (&packed)[Traits::kPacked], uint32_t v) {
  ptx::Pin(packed);
  ptx::Pin(output);
  ptx::FenceOperands();
#pragma unroll
  for (int i = 0; i < Traits::kTileKeys / kProductDepth; ++i) {
    const uint32_t step = i * kProductDepth * ptx::kSwizzleRowBytes;
    ptx::ProductRegisters<typename Traits::Element>(output, packed + 4 * i,
                                                    ptx::Descriptor(v + (step >> 4)));
  }
  ptx::CommitBatch();
}

/// Starts output += P V with two of every four entries of P.
template <class Traits>
__device__ inline void IssueSparseValues(float (&output)[Traits::kOutputs],
                                         uint32_t (&packed)[Traits::kPacked],
                                         uint32_t (&metadata)[Traits::kMetadata], uint32_t v) {
  using T = typename Traits::Element;
  constexpr uint32_t kSlabBytes = 2 * kProductDepth * ptx::kSwizzleRowBytes;
  ptx::Pin(packed);
  ptx::Pin(metadata);
  ptx::Pin(output);
  ptx::FenceOperands();
#pragma unroll
  for (int i = 0; i < Traits::kMetadata; ++i) {
    ptx::SparseProduct<T>(output, packed + 8 * i, ptx::Descriptor(v + ((2 * i * kSlabBytes) >> 4)),
                          metadata[i], ptx::Supplier<0>());
    ptx::SparseProduct<T>(output, packed + 8 * i + 4,
                          ptx::Descriptor(v + (((2 * i + 1) * kSlabBytes) >> 4)), metadata[i],
                          ptx::Supplier<1>());
  }
  ptx::CommitBatch();
}

/// output += P V, all of P, for tiles whose V lies in the order of the scores' columns. Packs as it
/// goes, and is done when it returns.
template <class Traits>
__device__ inline void AddDenseValues(float (&output)[Traits::kOutputs],
                                      const float (&scores)[Traits::kScores], uint32_t v) {
  uint32_t packed[Traits::kScores / 2];
#pragma unroll
  for (int i = 0; i < Traits::kScores / 2; ++i) {
    packed[i] = ptx::Pack<typename Traits::Element>(scores[2 * i], scores[2 * i + 1]);
  }
  ptx::Pin(packed);
  ptx::Pin(output);
  ptx::FenceOperands();
#pragma unroll
  for (int i = 0; i < Traits::kTileKeys / kProductDepth; ++i) {
    const uint32_t step = i * kProductDepth * ptx::kSwizzleRowBytes;
    ptx::ProductRegisters<typename Traits::Element>(output, packed + 4 * i,
                                                    ptx::Descriptor(v + (step >> 4)));
  }
  ptx::CommitBatch();
  ptx::WaitBatches<0>();
  ptx::Pin(output);
  ptx::Pin(packed);
}

/// The accumulator of the scores is, pair by pair, the operand that the second product reads.
template <class Traits>
__device__ inline void PackScores(const float (&scores)[Traits::kScores],
                                  uint32_t (&packed)[Traits::kPacked]) {
#pragma unroll
  for (int i = 0; i < Traits::kPacked; ++i) {
    packed[i] = ptx::Pack<typename Traits::Element>(scores[2 * i], scores[2 * i + 1]);
  }
}

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_MMA_CUH_
