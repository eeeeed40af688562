// Shapes and budgets of the 2:4 kernel.
#ifndef TAMIS_ATTENTION_CUDA_SM90_SPARSE_TRAITS_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_SPARSE_TRAITS_CUH_

#include <cstdint>

#include "attention/cuda/sm90/list_traits.cuh"
#include "attention/cuda/sm90/select.cuh"
#include "attention/cuda/sm90/skip_traits.cuh"
#include "attention/cuda/sm90/traits.cuh"

namespace tamis::cuda::sm90 {

// Probabilities take half the registers of a dense tile, which is room for wider tiles: the sparse
// product reads V at the whole rate of shared memory, so that Q K^T must read as little. Tiles with
// tokens that are kept besides need the registers of a dense tile after all.
template <typename Element, int kHeadDim, bool kTokens>
using SparseShape =
    TileShape<Element, kHeadDim, kHeadDim == 64 ? 3 : 2, kHeadDim == 64 || kTokens ? 128 : 192>;

/// What follows from what is kept. kScores: a thread's.
template <int kHeadDim, int kScores, Keep kKeep_>
struct Selection {
  static constexpr Keep kKeep = kKeep_;
  /// Metadata from the signs of differences, on the multiply-add pipe, instead of compares and
  /// selects: at head_dim 128 it slowed 2:4 by 9 % of a step, elsewhere it gained 3 %.
  static constexpr bool kSigns = kHeadDim == 64 || kKeep != Keep::kTwoOfFour;
  static constexpr int kKept = kScores / 2;  ///< of a thread's scores
  /// The exponentials' step over what is kept: see softmax.cuh.
  static constexpr int kStep = kKeep == Keep::kOneOfFour ? 2 : 1;
  static constexpr int kPacked = kKept / 2;     ///< registers of packed probabilities
  static constexpr int kMetadata = kKept / 16;  ///< registers of metadata
};

/// The members of Traits for a kernel that keeps at most two of every four keys.
template <typename Element_, int kHeadDim_, Keep kKeep_, bool kTokens_>
struct SparseTraits
    : SparseShape<Element_, kHeadDim_, kTokens_>,
      Selection<kHeadDim_, SparseShape<Element_, kHeadDim_, kTokens_>::kScores, kKeep_> {
  using Shape = SparseShape<Element_, kHeadDim_, kTokens_>;
  using Selected = Selection<kHeadDim_, Shape::kScores, kKeep_>;
  using Selected::kPacked;
  using Shape::kConsumers, Shape::kHeadDim;
  /// What the cold path of the softmax needs while K is not held for it: the kept scores beside
  /// their probabilities, or K again from global memory. Faster where registers allow it; for 2:4
  /// ptxas would put all exponentials behind the whole selection, which costs 8 %.
  static constexpr bool kHoldsScores = kHeadDim == 64 || kTokens_ || kKeep_ != Keep::kTwoOfFour;
  /// Runs sinks, recent tokens and dense diagonal blocks too.
  static constexpr bool kTokens = kTokens_;
  static constexpr bool kGeneral = false;
  static constexpr bool kLists = false;
  using ListState = NoLists;
  static constexpr bool kSkips = false;
  using SkipState = NoVotes;
  static_assert(kHeadDim == 64 || kHeadDim == 128);

  static constexpr int kProducerRegisters = kConsumers == 3 ? 32 : 24;
  static constexpr int kConsumerRegisters = kConsumers == 3 ? 160 : 240;

  static constexpr int kQueryStages = 1;
  static constexpr int kKeyStages = kHeadDim == 64 ? 4 : 2;
  static constexpr int kValueStages = kHeadDim == 64 ? 4 : 2;
  static constexpr int kWorkStages = 4;
  /// Write a tile's output under the next tile's first scores, where registers allow it.
  static constexpr bool kDeferOutput = kHeadDim == 128;
  /// Turns at the matrix units are worth 7 to 15 % at 64, but for tiles that take the dense
  /// product.
  static constexpr bool kPingPong = kHeadDim == 128 || !kTokens;
};

/// The same for a kernel that walks lists.
template <typename Element, int kHeadDim_, Keep kKeep>
struct SparseListTraits : ListTraits<Element, kHeadDim_>,
                          Selection<kHeadDim_, ListTraits<Element, kHeadDim_>::kScores, kKeep> {
  using Selected = Selection<kHeadDim_, ListTraits<Element, kHeadDim_>::kScores, kKeep>;
  using Selected::kPacked;
  static constexpr bool kGroups = true;
  // Groups take the loader more than plain boxes do.
  static constexpr int kProducerRegisters = 72;
  static constexpr int kConsumerRegisters = 216;
  static constexpr bool kHoldsScores = true;
  static constexpr bool kDeferOutput = true;
  static constexpr bool kPingPong = true;
};

/// With skip-softmax: one kernel for rules with and without tokens that are kept besides. Votes and
/// limits take registers: two warpgroups at either head dim.
template <typename Element, int kHeadDim_, Keep kKeep_>
struct SparseSkipTraits : TileShape<Element, kHeadDim_, 2, 128>,
                          Selection<kHeadDim_, 128 / 2, kKeep_> {
  using Selected = Selection<kHeadDim_, 128 / 2, kKeep_>;
  using Shape = TileShape<Element, kHeadDim_, 2, 128>;
  using Selected::kPacked;
  using Shape::kConsumers;
  static constexpr bool kTokens = true;
  static constexpr bool kGeneral = false;
  static constexpr bool kLists = false;
  using ListState = NoLists;
  // The producer notes a sequence's lambda and finds dense tiles.
  static constexpr int kProducerRegisters = 40;
  static constexpr int kConsumerRegisters = 232;
  static constexpr int kQueryStages = 1;
  static constexpr int kKeyStages = kHeadDim_ == 64 ? 4 : 2;
  static constexpr int kValueStages = kHeadDim_ == 64 ? 4 : 2;
  static constexpr int kWorkStages = 4;
  static constexpr bool kDeferOutput = true;
  static constexpr bool kPingPong = true;
  static constexpr bool kSkips = true;
  using SkipState = SkipShared<kConsumers, kWorkStages>;
};

/// The same for a kernel that walks lists.
template <typename Element, int kHeadDim, Keep kKeep>
struct SparseListSkipTraits : SkipTraits<SparseListTraits<Element, kHeadDim, kKeep>> {
  static constexpr bool kDeferOutput = false;  // takes registers that are not there
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_SPARSE_TRAITS_CUH_
