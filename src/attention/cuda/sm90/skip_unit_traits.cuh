// What a kernel that votes on units of a tile has beside the one without skip-softmax.
#ifndef TAMIS_ATTENTION_CUDA_SM90_SKIP_UNIT_TRAITS_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_SKIP_UNIT_TRAITS_CUH_

namespace tamis::cuda::sm90 {

/// Small: kernels that gather at head_dim 128 leave next to nothing of the shared memory.
template <int kWorkStages>
struct SkipUnitShared {
  /// Beside SharedPlan::work, of the sequence; 0 where it runs dense.
  float lambdas[kWorkStages];
  __device__ void InitBarriers() {}
};

/// `Base`: ListTraits or GatherTraits.
template <class Base>
struct SkipUnitTraits : Base {
  static constexpr bool kSkips = true;
  static constexpr bool kSkipsUnits = true;
  using SkipState = SkipUnitShared<Base::kWorkStages>;
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_SKIP_UNIT_TRAITS_CUH_
