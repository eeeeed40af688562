// What a kernel with skip-softmax has beside the one without.
#ifndef TAMIS_ATTENTION_CUDA_SM90_SKIP_TRAITS_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_SKIP_TRAITS_CUH_

#include <cstdint>

#include "attention/cuda/ptx/barrier.cuh"
#include "attention/cuda/sm90/params.h"
#include "attention/cuda/sm90/shared.cuh"

namespace tamis::cuda::sm90 {

/// The part of shared memory that only skip-softmax needs.
template <int kConsumers, int kWorkStages>
struct SkipShared {
  /// Votes that warps leave without waiting: warps are at most the stages of K apart.
  static constexpr uint32_t kBallots = 8;
  struct Ballot {
    uint32_t votes[kConsumers];  ///< of a warpgroup, a byte a warp: whether it wants the tile
    uint64_t cast[kConsumers];   ///< all four have voted
  };
  Ballot ballots[kBallots];
  // Beside SharedPlan::work.
  float lambdas[kWorkStages];  ///< of the sequence; 0 where it runs dense

  __device__ void InitBarriers() {
    for (Ballot& ballot : ballots) {
      for (uint64_t& cast : ballot.cast) ptx::InitBarrier(ptx::SharedAddress(&cast), 4);
    }
  }
};

/// `Base`: of the kernel without.
template <class Base>
struct SkipTraits : Base {
  static constexpr bool kSkips = true;
  using SkipState = SkipShared<Base::kConsumers, Base::kWorkStages>;
};

/// What the producer notes for a tile of work of sequence `b`, `slot` that of the work.
template <class Plan>
__device__ inline void OpenSkips(const ForwardParams& params, int32_t b, uint32_t slot,
                                 Plan& plan) {
  const float lambda = params.skip.lambda[b];
  // From 1 on nothing would be left: such a sequence runs dense.
  plan.skip.lambdas[slot] = lambda < 1.0f ? lambda : 0.0f;
}

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_SKIP_TRAITS_CUH_
