// Tile shapes and budgets of the kernels that walk lists.
#ifndef TAMIS_ATTENTION_CUDA_SM90_LIST_TRAITS_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_LIST_TRAITS_CUH_

#include <cstdint>

#include "attention/cuda/sm90/list_work.cuh"
#include "attention/cuda/sm90/traits.cuh"

namespace tamis::cuda::sm90 {

template <typename Element_, int kHeadDim_>
struct ListTraits {
  using Element = Element_;
  static constexpr int kHeadDim = kHeadDim_;
  static_assert(kHeadDim == 64 || kHeadDim == 128);
  static constexpr bool kLists = true;
  static constexpr bool kGeneral = false;

  // A tile is one query block of an index.
  static constexpr int kConsumers = 2;
  static constexpr int kTileKeys = kUnits * kUnitKeys;
  static constexpr int kThreads = (1 + kConsumers) * kWarpgroup;
  static constexpr int kTileRows = kConsumers * kGroupRows;
  // As in Traits; planner and loader need more than a dense producer.
  static constexpr int kProducerRegisters = kHeadDim == 64 ? 72 : 56;
  static constexpr int kConsumerRegisters = kHeadDim == 64 ? 216 : 224;

  static constexpr int kQueryStages = 2;
  static constexpr int kKeyStages = kHeadDim == 64 ? 4 : 3;
  static constexpr int kValueStages = kHeadDim == 64 ? 4 : 2;
  static constexpr int kWorkStages = 2 * kQueryStages;

  static constexpr bool kPingPong = kHeadDim == 128;
  static constexpr bool kSkipsTiles = false;
  // Output through shared memory and the copy engine; at 64 it lost a little against direct writes.
  static constexpr bool kStoresOutput = kHeadDim == 128;

  static constexpr int kDimBlocks = kHeadDim / kBlockDim;
  static constexpr uint32_t kQueryBlockBytes = kTileRows * ptx::kSwizzleRowBytes;
  static constexpr uint32_t kKeyBlockBytes = kTileKeys * ptx::kSwizzleRowBytes;
  static constexpr uint32_t kQueryBytes = kDimBlocks * kQueryBlockBytes;
  static constexpr uint32_t kKeyBytes = kDimBlocks * kKeyBlockBytes;

  static constexpr int kScores = kTileKeys / 2;
  static constexpr int kOutputs = kHeadDim / 2;
  static constexpr int kPacked = kTileKeys / 4;

  static constexpr float kRescueSum = Traits<Element, kHeadDim, false>::kRescueSum;

  using ListState = ListShared<kKeyStages, kWorkStages>;
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_LIST_TRAITS_CUH_
