// Budgets of the kernels that walk lists with windows and columns.
#ifndef TAMIS_ATTENTION_CUDA_SM90_GATHER_TRAITS_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_GATHER_TRAITS_CUH_

#include "attention/cuda/sm90/gather_work.cuh"
#include "attention/cuda/sm90/list_traits.cuh"

namespace tamis::cuda::sm90 {

template <typename Element, int kHeadDim_, int kThins_ = 0>
struct GatherTraits : ListTraits<Element, kHeadDim_, kThins_> {
  using Lists = ListTraits<Element, kHeadDim_, kThins_>;
  static constexpr bool kGathers = true;
  static constexpr uint32_t kStageArrivals = 32;  ///< each lane of the loader
  /// What a lane reads and clears of a stage, and reads beside it, is then ordered against the
  /// copies of the loader's lanes by an arrival of its own.
  static constexpr bool kLanesRelease = true;

  // A lane that gathers holds the addresses of a swizzle period, the planner a row's windows and
  // columns.
  static constexpr int kProducerRegisters = 72;
  static constexpr int kConsumerRegisters = 216;

  /// As GatherThinConsumer wants it.
  static constexpr bool kPingPong = Lists::kPingPong && kThins_ == 0;

  using ListState = GatherShared<Lists::kKeyStages, Lists::kWorkStages>;
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_GATHER_TRAITS_CUH_
