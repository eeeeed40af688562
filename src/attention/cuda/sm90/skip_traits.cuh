// What a kernel with skip-softmax has beside the one without, and how its warps vote.
#ifndef TAMIS_ATTENTION_CUDA_SM90_SKIP_TRAITS_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_SKIP_TRAITS_CUH_

#include <cstdint>

#include "attention/cuda/ptx/barrier.cuh"
#include "attention/cuda/sm90/list_work.cuh"
#include "attention/cuda/sm90/shared.cuh"

namespace tamis::cuda::sm90 {

/// A vote: bit u keeps unit u of the step's tile.
constexpr uint32_t kKeepAll = (1u << kUnits) - 1;
/// Set in the votes for a tile whose V will be read whatever is kept.
constexpr uint32_t kReadsValues = 1u << kUnits;

/// The part of shared memory that only skip-softmax needs.
template <int kConsumers, int kWorkStages, int kBallots_, int kLimits_>
struct SkipShared {
  /// Tiles of keys whose votes are kept apart. Warps are at most the stages of K apart, the
  /// producer reads votes up to the stages of V behind the first of them.
  static constexpr int kBallots = kBallots_;
  struct Ballot {
    uint32_t votes[kConsumers];  ///< of a warpgroup, a byte a warp
    uint64_t cast[kConsumers];   ///< all four have voted
  };
  Ballot ballots[kBallots];
  // Beside SharedPlan::work.
  float lambdas[kWorkStages];  ///< of the sequence; 0 where it runs dense
  int32_t patience;            ///< of the producer; see ValueGate
  static constexpr int kLimits = kLimits_;
  uint32_t limits[kLimits];  ///< see SkipConsumer::Least

  __device__ void InitBarriers() {
    patience = 0;
    for (Ballot& ballot : ballots) {
      for (uint64_t& cast : ballot.cast) ptx::InitBarrier(ptx::SharedAddress(&cast), 4);
    }
  }
};

/// `Base`: of the kernel without.
template <class Base>
struct SkipTraits : Base {
  static constexpr bool kSkips = true;
  // The producer reads votes; that of lists has the registers.
  static constexpr bool kDense128 = Base::kHeadDim == 128 && !Base::kLists;
  static constexpr int kProducerRegisters = kDense128 ? 40 : Base::kProducerRegisters;
  static constexpr int kConsumerRegisters = kDense128 ? 232 : Base::kConsumerRegisters;
  using SkipState =
      SkipShared<Base::kConsumers, Base::kWorkStages, Ring<Base::kKeyStages, true>::kLongStages,
                 Base::kLists && Base::kHeadDim == 128 ? 2 * Base::kConsumers * kWarpgroup : 1>;
};

/// What the producer notes for a tile of work of sequence `b`, `slot` that of the work.
template <class Plan>
__device__ inline void OpenSkips(const ForwardParams& params, int32_t b, uint32_t slot,
                                 Plan& plan) {
  const float lambda = params.skip.lambda[b];
  // From 1 on nothing would be left: such a sequence runs dense.
  plan.skip.lambdas[slot] = lambda < 1.0f ? lambda : 0.0f;
}

/// The votes of a warpgroup's four warps together.
__device__ inline uint32_t JoinVotes(uint32_t votes) {
  votes |= votes >> 16;
  return (votes | votes >> 8) & 0xff;
}

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_SKIP_TRAITS_CUH_
