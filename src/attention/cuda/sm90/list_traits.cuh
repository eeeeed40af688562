// Tile shapes and budgets of the kernels that walk lists.
#ifndef TAMIS_ATTENTION_CUDA_SM90_LIST_TRAITS_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_LIST_TRAITS_CUH_

#include <cstdint>

#include "attention/cuda/sm90/list_work.cuh"
#include "attention/cuda/sm90/traits.cuh"

namespace tamis::cuda::sm90 {

// A tile is one query block of an index.
template <typename Element, int kHeadDim_, int kThins_ = 0>
struct ListTraits : TileShape<Element, kHeadDim_, 2, kUnits * kUnitKeys> {
  using Shape = TileShape<Element, kHeadDim_, 2, kUnits * kUnitKeys>;
  using Shape::kHeadDim;
  static_assert(kHeadDim == 64 || kHeadDim == 128);
  static constexpr bool kTokens = false;
  static constexpr int kThins = kThins_;
  static constexpr bool kLists = true;
  static constexpr bool kGroups = false;
  static constexpr bool kGeneral = false;
  static constexpr bool kSkips = false;

  // As in Traits; planner and loader need more than a dense producer, and N:M has none to lend.
  static constexpr int kProducerRegisters = kHeadDim == 64 || kThins != 0 ? 72 : 56;
  static constexpr int kConsumerRegisters = kHeadDim == 64 || kThins != 0 ? 216 : 224;

  static constexpr int kQueryStages = 2;
  static constexpr int kKeyStages = kHeadDim == 64 ? 4 : 3;
  static constexpr int kValueStages = kHeadDim == 64 ? 4 : 2;
  static constexpr int kWorkStages = 2 * kQueryStages;

  static constexpr bool kPingPong = kHeadDim == 128;
  static constexpr bool kSkipsTiles = false;
  // Output through shared memory and the copy engine; at 64 it lost a little against direct writes.
  // N:M would spill.
  static constexpr bool kStoresOutput = kHeadDim == 128 && kThins == 0;

  using ListState = ListShared<kKeyStages, kWorkStages>;
  using SkipState = NoVotes;
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_LIST_TRAITS_CUH_
