// A consumer warpgroup of the 2:4 kernel that drops the tiles its rows can do without
// (SkipSoftmaxRule).
//
// The best score of a row is always kept, so that N:M changes neither a vote nor a limit. While
// nothing has been dropped lately, tiles are expected to be kept: they are voted on after selection
// and exponentials, by half as many, and only a warp that does not want one waits for the others.
// After a dropped tile the vote goes first for a while, on all scores, and saves the selection.
#ifndef TAMIS_ATTENTION_CUDA_SM90_SPARSE_SKIP_CONSUMER_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_SPARSE_SKIP_CONSUMER_CUH_

#include <cstdint>

#include "attention/cuda/sm90/count_thinned.cuh"
#include "attention/cuda/sm90/skip_voter.cuh"
#include "attention/cuda/sm90/sparse_consumer.cuh"

namespace tamis::cuda::sm90 {

template <class Traits>
class SparseSkipConsumer : SkipVoter<Traits, SparseConsumer<Traits>> {
  using Base = SkipVoter<Traits, SparseConsumer<Traits>>;
  using Walk = typename Base::Walk;
  using Base::full_;
  using Base::group_;
  using Base::params_;
  using Base::plan_;
  using Base::tile_;
  using Base::work_;

 public:
  using Base::Base;

  __device__ __forceinline__ void Run() {
    Registers x;
    if (!Base::Open()) return;
    if (Traits::kPingPong && group_ + 1 == Traits::kConsumers) Base::PassTurn();  // 0 begins
    Base::StartScores(x.s);
    for (;;) {
      Base::WaitScores(x.s);
      Base::Clear(x.o);
      x.state.Reset();
      x.patience = 0;
      Base::OpenLimits();
      WalkTiles(x);
      const uint32_t done = work_.slot();
      work_.Advance();
      if (!Base::Open()) {
        WriteOutput<Traits>(params_, Walk::Output(plan_, done, group_), x.o, x.state);
        return;
      }
      if constexpr (Traits::kDeferOutput) Base::StartScores(x.s);
      WriteOutput<Traits>(params_, Walk::Output(plan_, done, group_), x.o, x.state);
      if constexpr (!Traits::kDeferOutput) Base::StartScores(x.s);
    }
  }

 private:
  /// Tiles for which votes go first after one was dropped.
  static constexpr int32_t kPatience = 8;

  struct Registers {
    float o[Traits::kOutputs];
    float s[Traits::kScores];
    uint32_t packed[Traits::kPacked];
    uint32_t metadata[Traits::kMetadata];
    RowState state;
    /// This thread's largest probabilities of the tile voted on, put into the limits when the warp
    /// has nothing else to do. (Those of a dropped tile change nothing there.)
    float largest[2];
    int32_t patience;  ///< tiles still to vote on first
  };

  /// The tiles of a walk, the first of which has its scores.
  __device__ __forceinline__ void WalkTiles(Registers& x) {
    // Here the scores of tile_ are there, and nothing is in flight.
    for (bool first = true;; first = false) {
      if (tile_ > full_) Base::Mask(x.s);
      int32_t tile = Base::TileAtHand();
      bool kept = Base::Vote(x.s, x.state.reference, x.largest);
      ReleaseScored();
      if (kept) {
        if (first) Base::ClearTail();  // the end of the sequence is in the first tile
        if (TakesDense()) {
          DenseTile(x);
        } else {
          kept = SparseTiles(x, tile);
        }
      }
      if (!kept) {
        Base::MarkDropped(tile);
        x.patience = kPatience;
        --tile_;
      }
      if (tile_ < 0) {
        if (!kept) SettleValues();
        return;
      }
      Base::StartScores(x.s);
      Base::RaiseLimits(x.largest);
      if (!kept) SettleValues();
      Base::WaitScores(x.s);
    }
  }

  /// Gives back V of a dropped tile. Not before it has been filled: parity tells a filling from the
  /// next only.
  __device__ __forceinline__ void SettleValues() {
    Base::WaitValues();
    Base::ReleaseValues();
  }

  /// Whether the tile at hand takes the dense product.
  __device__ bool TakesDense() const { return Traits::kTokens && tile_ == Base::DenseFrom(tile_); }

  /// Whether its scores go without values of the tile before beside them. Under a mask too: those
  /// are few, and the mask needs registers.
  __device__ bool StandsAlone() const { return tile_ > full_ || TakesDense(); }

  /// A run of tiles from a kept one on, until one is dropped (false; then `tile`), stands alone, or
  /// none is left.
  __device__ __forceinline__ bool SparseTiles(Registers& x, int32_t& tile) {
    Selected selected;
    Select(x, selected);
    Keep(x, selected, false);
    for (; Goes() && x.patience > 0; --x.patience) {
      StartStep(x);
      tile = Base::TileAtHand();
      const bool kept = Base::Vote(x.s, x.state.reference, x.largest);
      ReleaseScored();
      if (!kept) {
        FinishValues(x);
        return false;
      }
      Select(x, selected);
      Keep(x, selected, true);
    }
    while (Goes()) {
      StartStep(x);
      tile = Base::TileAtHand();
      ReleaseScored();
      Select(x, selected);
      float scores[Traits::kKept];
      Base::Copy(selected.kept, scores);
      const float2 sum =
          Exponentials<Traits::kStep>(selected.kept, Base::Scale(), x.state.reference);
      const float largest[2] = {LargestProbability(selected.kept, 0),
                                LargestProbability(selected.kept, 1)};
      const bool rebased = __any_sync(0xffffffffu, fmaxf(sum.x, sum.y) > Traits::kRescueSum);
      const bool wanted =
          __any_sync(0xffffffffu, __float_as_uint(largest[0]) >= Base::Least(0) ||
                                      __float_as_uint(largest[1]) >= Base::Least(1));
      Base::Cast(wanted);
      if (!wanted && !Base::Outcome()) {
        FinishValues(x);
        return false;
      }
      float2 factor;
      if (rebased) {
        Base::Copy(scores, selected.kept);
        factor = Rebase(x, selected);
      } else {
        x.state.sum[0] += sum.x;
        x.state.sum[1] += sum.y;
        x.largest[0] = largest[0];
        x.largest[1] = largest[1];
      }
      Add(x, selected, rebased, factor, true);
    }
    Base::WaitValues();
    IssueSparseValues<Traits>(x.o, x.packed, x.metadata, Base::ValueTile());
    FinishValues(x);
    return true;
  }

  /// Whether the tile at hand continues a run.
  __device__ bool Goes() const { return tile_ >= 0 && !StandsAlone(); }

  /// Issues both products of a step and waits for the scores.
  __device__ __forceinline__ void StartStep(Registers& x) {
    Base::WaitKeys();
    Base::TakeTurn();
    IssueScores<Traits>(x.s, Base::QueryTile(), Base::KeyTile());
    Base::WaitValues();
    IssueSparseValues<Traits>(x.o, x.packed, x.metadata, Base::ValueTile());
    Base::PassTurn();
    Base::RaiseLimits(x.largest);
    ptx::WaitBatches<1>();
    ptx::Pin(x.s);
  }

  /// Waits for the values of the tile before.
  __device__ __forceinline__ void FinishValues(Registers& x) {
    WaitProducts(x);
    Base::ReleaseValues();
  }
  __device__ __forceinline__ static void WaitProducts(Registers& x) {
    ptx::WaitBatches<0>();
    ptx::Pin(x.o);
    ptx::Pin(x.packed);
    ptx::Pin(x.metadata);
  }

  struct Selected {
    float kept[Traits::kKept];
    uint32_t nibbles[Traits::kMetadata];
  };

  __device__ __forceinline__ static void Select(const Registers& x, Selected& selected) {
    KeepBest<Traits::kKeep, Traits::kSigns>(x.s, selected.kept, selected.nibbles);
  }

  /// The softmax of a tile that the vote on its scores has kept. `pending`: beside the values of
  /// the tile before.
  __device__ __forceinline__ void Keep(Registers& x, Selected& selected, bool pending) {
    // The vote has found what sums can come to. A row that has seen no key has found infinity, or
    // hides some of the tile.
    constexpr float kMost = Traits::kRescueSum / Traits::kKept;
    const bool rebased =
        tile_ > full_ || __any_sync(0xffffffffu, fmaxf(x.largest[0], x.largest[1]) > kMost);
    float2 factor;
    if (rebased) {
      factor = Rebase(x, selected);
    } else {
      const float2 sum =
          Exponentials<Traits::kStep>(selected.kept, Base::Scale(), x.state.reference);
      x.state.sum[0] += sum.x;
      x.state.sum[1] += sum.y;
    }
    Add(x, selected, rebased, factor, pending);
  }

  /// As SkipVoter's, of what a tile keeps, whose largest probabilities it puts into the limits.
  __device__ __forceinline__ float2 Rebase(Registers& x, Selected& selected) {
    x.largest[0] = x.largest[1] = 0.0f;
    return Base::template Rebase<Traits::kStep>(selected.kept, x.state);
  }

  /// Makes the operands of the sparse product of a tile's probabilities, once those of the tile
  /// before are free. `factor`: where `rebased`, of earlier outputs.
  __device__ __forceinline__ void Add(Registers& x, const Selected& selected, bool rebased,
                                      float2 factor, bool pending) {
    GatheredMetadata gathered[Traits::kMetadata];
#pragma unroll
    for (int t = 0; t < Traits::kMetadata; ++t) gathered[t] = GatherMetadata(selected.nibbles[t]);
    WaitProducts(x);
    if (pending) Base::ReleaseValues();
    if (rebased) ScaleRows(x.o, factor);
    Base::PackKept(selected.kept, x.packed);
#pragma unroll
    for (int t = 0; t < Traits::kMetadata; ++t) x.metadata[t] = gathered[t].Join();
    --tile_;
  }

  /// A kept tile with pairs that are kept on top of the selection: see SparseConsumer's.
  __device__ __forceinline__ void DenseTile(Registers& x) {
    Base::Thin(x.s);
    CountThinned(params_, Walk::Output(plan_, work_.slot(), group_), x.s);
    x.largest[0] = x.largest[1] = 0.0f;
    ScaleRows(x.o, Base::Rebase(x.s, x.state));
    Base::WaitValues();
    AddDenseValues<Traits>(x.o, x.s, Base::ValueTile());
    Base::ReleaseValues();
    --tile_;
  }

  /// Gives back what the scores of the tile at hand were made of, when no other tile needs it.
  __device__ __forceinline__ void ReleaseScored() {
    Base::ReleaseKeys();
    if (tile_ == 0) Base::ReleaseQuery();
  }
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_SPARSE_SKIP_CONSUMER_CUH_
