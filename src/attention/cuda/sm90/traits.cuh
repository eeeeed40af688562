// Tile shapes and budgets of the Hopper forward kernel.
#ifndef TAMIS_ATTENTION_CUDA_SM90_TRAITS_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_TRAITS_CUH_

#include <cstdint>
#include <type_traits>

#include "attention/cuda/ptx/registers.cuh"
#include "attention/cuda/ptx/wgmma.cuh"

namespace tamis::cuda::sm90 {

constexpr int kWarpgroup = 128;
/// Rows of the accumulator of one warpgroup.
constexpr int kGroupRows = 64;
/// Columns of one swizzled block of a tile: 128 bytes.
constexpr int kBlockDim = 64;

/// What kernels without lists keep beside the tiles for them.
struct NoLists {
  __device__ void InitBarriers() {}
};

/// What kernels without skip-softmax keep for its votes.
struct NoVotes {
  __device__ void InitBarriers() {}
};

/// What follows from a kernel's tile: `kConsumers` warpgroups of 64 rows by `kTileKeys` keys.
template <typename Element_, int kHeadDim_, int kConsumers_, int kTileKeys_>
struct TileShape {
  using Element = Element_;
  /// Runs windows and columns of an index beside its blocks.
  static constexpr bool kGathers = false;
  /// With skip-softmax, votes on units of a tile (see skip_unit_consumer.cuh).
  static constexpr bool kSkipsUnits = false;
  /// K and V lie in groups of eight keys (see thin_groups.cuh).
  static constexpr bool kThinGroups = false;
  static constexpr int kHeadDim = kHeadDim_;
  static constexpr int kConsumers = kConsumers_;
  static constexpr int kTileKeys = kTileKeys_;
  static constexpr int kThreads = (1 + kConsumers) * kWarpgroup;
  static constexpr int kTileRows = kConsumers * kGroupRows;

  static constexpr int kDimBlocks = kHeadDim / kBlockDim;
  static constexpr uint32_t kQueryBlockBytes = kTileRows * ptx::kSwizzleRowBytes;
  static constexpr uint32_t kKeyBlockBytes = kTileKeys * ptx::kSwizzleRowBytes;
  static constexpr uint32_t kQueryBytes = kDimBlocks * kQueryBlockBytes;
  static constexpr uint32_t kKeyBytes = kDimBlocks * kKeyBlockBytes;

  static constexpr uint32_t kStageArrivals = 1;  ///< that announce a stage of K or V
  static constexpr bool kLanesRelease =
      false;  ///< each lane gives a stage of K or V back, not a warp

  static constexpr int kScores = kTileKeys / 2;  ///< scores a thread holds
  static constexpr int kOutputs = kHeadDim / 2;  ///< outputs a thread holds
  static constexpr int kPacked = kTileKeys / 4;  ///< registers of packed probabilities

  /// A thread's row sum of one tile above which the tile is computed again on a new reference.
  /// Every probability is below it: f16 must hold them, and bf16 reaches far, but sums and outputs
  /// grow with them.
  static constexpr float kRescueSum =
      std::is_same_v<Element, ptx::F16> ? 16384.0f : 1099511627776.0f;
};

// At 64 the scores of 96 keys, their packed copy and the output fit 160 registers, so that a third
// warpgroup keeps the exponentials busy, which bound that shape. (128 keys spill.) At 256 outputs
// take 128 registers and a tile of Q 64 KiB: 64 keys are what both leave room for.
template <typename Element, int kHeadDim>
using DenseShape = TileShape<Element, kHeadDim, kHeadDim == 64 ? 3 : 2,
                             kHeadDim == 64    ? 96
                             : kHeadDim == 128 ? 128
                                               : 64>;

/// Groups of N:M that a kernel drops scores by (see thin_scores.cuh): of up to four keys, of eight,
/// both. 0: none.
constexpr int kThinsFours = 1, kThinsEights = 2, kThinsAny = kThinsFours | kThinsEights;

// Thinning takes more registers than 160.
template <typename Element, int kHeadDim, int kThins>
using WalkShape =
    std::conditional_t<kHeadDim == 64 && kThins != 0, TileShape<Element, kHeadDim, 2, 128>,
                       DenseShape<Element, kHeadDim>>;

/// kHeadDim: padded head dim of Q, K and V, 64, 128 or 256. kGeneral: runs everything that changes
/// or hides scores (see ScoreParams); the others, only causality and lengths.
template <typename Element_, int kHeadDim_, bool kGeneral_, int kThins_ = 0>
struct Traits : WalkShape<Element_, kHeadDim_, kThins_> {
  using Shape = WalkShape<Element_, kHeadDim_, kThins_>;
  using Shape::kConsumers, Shape::kHeadDim;
  static constexpr bool kGeneral = kGeneral_;
  static constexpr bool kTokens = false;
  static constexpr int kThins = kThins_;
  static constexpr bool kLists = false;
  static constexpr bool kSkips = false;
  using ListState = NoLists;
  using SkipState = NoVotes;
  static_assert(kHeadDim == 64 || kHeadDim == 128 || kHeadDim == 256);

  // Must sum to no more than the registers of the launch: kThreads * 168 (or 128).
  static constexpr int kProducerRegisters = kConsumers == 3 ? 32 : 24;
  static constexpr int kConsumerRegisters = kConsumers == 3 ? 160 : 240;

  // Two tiles of Q: the next one arrives under the last products of this one. Three stages of K:
  // a stage is held until the softmax has accepted its scores (see rescue.cuh).
  static constexpr int kQueryStages = kHeadDim == 256 ? 1 : 2;
  static constexpr int kKeyStages = kHeadDim == 64 ? 4 : kHeadDim == 128 ? 3 : 2;
  static constexpr int kValueStages = kHeadDim == 64 ? 4 : 2;

  // The producer writes work n before it waits for a free tile of Q. It has then seen tile n - 1 -
  // kQueryStages released, which the consumers do after the epilogue of the tile before that.
  static constexpr int kWorkStages = 2 + kQueryStages;

  // Turns at the matrix units were worth 2 to 5 % at 128. At 64 warpgroups skip tiles of their own,
  // which turns would forbid.
  static constexpr bool kPingPong = kHeadDim != 64;

  /// Warpgroups leave out tiles that they do not see. A band has gaps: there all visit the same.
  static constexpr bool kSkipsTiles = !kPingPong && !kGeneral;

  // Output through shared memory and the copy engine; at 64 it lost a little against direct writes.
  static constexpr bool kStoresOutput = kHeadDim == 128 && !kGeneral;
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_TRAITS_CUH_
