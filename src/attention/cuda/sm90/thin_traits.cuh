// Shape and budgets of the kernel that drops scores by N:M on groups of eight keys.
#ifndef TAMIS_ATTENTION_CUDA_SM90_THIN_TRAITS_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_THIN_TRAITS_CUH_

#include "attention/cuda/sm90/traits.cuh"

namespace tamis::cuda::sm90 {

// The selection binds: a third warpgroup keeps its pipes busy while the others wait for products.
// At 128 more than 96 keys would spill.
template <typename Element, int kHeadDim>
using ThinGroupShape = TileShape<Element, kHeadDim, 3, kHeadDim == 64 ? 128 : 96>;

template <typename Element, int kHeadDim_>
struct ThinGroupTraits : ThinGroupShape<Element, kHeadDim_> {
  using Shape = ThinGroupShape<Element, kHeadDim_>;
  using Shape::kHeadDim;
  static constexpr bool kThinGroups = true;
  static constexpr bool kGeneral = false;
  static constexpr bool kTokens = false;
  static constexpr int kThins = 0;
  static constexpr bool kLists = false;
  static constexpr bool kSkips = false;
  using ListState = NoLists;
  using SkipState = NoVotes;
  static_assert(kHeadDim == 64 || kHeadDim == 128);

  static constexpr int kProducerRegisters = 32;
  static constexpr int kConsumerRegisters = 160;

  static constexpr int kQueryStages = 2;
  static constexpr int kKeyStages = kHeadDim == 64 ? 4 : 2;
  static constexpr int kValueStages = kHeadDim == 64 ? 4 : 2;
  static constexpr int kWorkStages = 2 + kQueryStages;

  static constexpr bool kPingPong = false;
  static constexpr bool kSkipsTiles = true;
  // Output through shared memory takes registers that are not there.
  static constexpr bool kStoresOutput = false;
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_THIN_TRAITS_CUH_
