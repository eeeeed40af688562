// The shared-memory plan of the Hopper forward kernel and its barriers.
#ifndef TAMIS_ATTENTION_CUDA_SM90_SHARED_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_SHARED_CUH_

#include <cstdint>

#include "attention/cuda/ptx/barrier.cuh"
#include "attention/cuda/sm90/band.cuh"
#include "attention/cuda/sm90/thin.cuh"

namespace tamis::cuda::sm90 {

/// Tiles lie in blocks of 64 columns, each row 128 bytes, swizzled; 1024-byte alignment makes the
/// swizzle a function of the row alone.
template <class Traits>
struct SharedPlan {
  alignas(1024) unsigned char q[Traits::kQueryStages][Traits::kQueryBytes];
  alignas(1024) unsigned char k[Traits::kKeyStages][Traits::kKeyBytes];
  alignas(1024) unsigned char v[Traits::kValueStages][Traits::kKeyBytes];
  TileWork work[Traits::kWorkStages];

  // Producer to consumers: the copy engine has written the stage. A tile's work travels with its Q.
  uint64_t query_full[Traits::kQueryStages];
  uint64_t key_full[Traits::kKeyStages];
  uint64_t value_full[Traits::kValueStages];
  // Consumers to producer, one arrival a warp (K and V with kLanesRelease: a lane): nobody reads
  // the stage any more. K and V have rings of their own because V is released one step later than
  // the K beside it.
  uint64_t query_empty[Traits::kQueryStages];
  uint64_t key_empty[Traits::kKeyStages];
  uint64_t value_empty[Traits::kValueStages];

  // General kernels only.
  BandWalk walk[Traits::kGeneral ? Traits::kWorkStages : 1];  ///< beside `work`
  /// Of the rows of the tile at hand. A warp writes and reads those of its own rows alone.
  VisibleKeys visible[Traits::kGeneral ? Traits::kTileRows : 1];
  TileRange open[Traits::kGeneral ? 4 * Traits::kConsumers : 1];  ///< by warp; no mask needed

  typename Traits::ListState lists;
  DenseTiles dense[Traits::kTokens ? Traits::kWorkStages : 1];  ///< beside `work`
  typename Traits::SkipState skip;
};

/// Named barriers. 0 is __syncthreads.
enum NamedBarrier : uint32_t {
  /// + warpgroup: all of a warpgroup has cleared the tail of V before one of its products reads it.
  kTailCleared = 1,
  /// + warpgroup: it may issue its products; the warpgroup before it has issued its own.
  kTurn = 4,
  /// + warpgroup: its warps have voted on a tile (see SkipVoter).
  kVote = 7,
};

/// A position in a ring of barriers: a count of steps where the ring's size divides it cheaply.
template <int kStages>
class Ring {
  static constexpr bool kPowerOfTwo = (kStages & (kStages - 1)) == 0;

 public:
  __device__ uint32_t slot() const { return kPowerOfTwo ? step_ % kStages : step_; }
  __device__ uint32_t phase() const {
    if constexpr (kPowerOfTwo) return step_ / kStages & 1;
    return phase_;
  }
  __device__ void Advance() {
    ++step_;
    if (!kPowerOfTwo && step_ == kStages) {
      step_ = 0;
      phase_ ^= 1;
    }
  }

 private:
  uint32_t step_ = 0;
  uint32_t phase_ = 0;
};

template <class Traits>
__device__ void InitBarriers(SharedPlan<Traits>& plan) {
  constexpr uint32_t kConsumerWarps = 4 * Traits::kConsumers;
  const auto init = [](uint64_t* barriers, int count, uint32_t arrivals) {
    for (int i = 0; i < count; ++i) ptx::InitBarrier(ptx::SharedAddress(&barriers[i]), arrivals);
  };
  init(plan.query_full, Traits::kQueryStages, 1);
  init(plan.key_full, Traits::kKeyStages, Traits::kStageArrivals);
  init(plan.value_full, Traits::kValueStages, Traits::kStageArrivals);
  init(plan.query_empty, Traits::kQueryStages, kConsumerWarps);
  constexpr uint32_t kReleases = kConsumerWarps * (Traits::kLanesRelease ? 32 : 1);
  init(plan.key_empty, Traits::kKeyStages, kReleases);
  init(plan.value_empty, Traits::kValueStages, kReleases);
  plan.lists.InitBarriers();
  plan.skip.InitBarriers();
  ptx::FenceBarrierInit();
}

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_SHARED_CUH_
