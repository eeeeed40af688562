// A consumer warpgroup that drops the tiles its rows can do without (SkipSoftmaxRule).
//
// A walk is in one of three loops. While nothing has been dropped lately, tiles are expected to be
// kept: their exponentials do not wait for the vote, which goes beside them (RunKept). After a
// dropped tile the vote comes first for a while, and saves them (RunVoted). And from a dropped tile
// to the next that is kept there are no values to add: one product after the other, and what can
// be done besides is done under it (FindKept).
#ifndef TAMIS_ATTENTION_CUDA_SM90_SKIP_CONSUMER_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_SKIP_CONSUMER_CUH_

#include <cstdint>

#include "attention/cuda/sm90/consumer.cuh"
#include "attention/cuda/sm90/skip_softmax.cuh"
#include "attention/cuda/sm90/skip_traits.cuh"
#include "attention/cuda/sm90/skip_voter.cuh"

namespace tamis::cuda::sm90 {

template <class Traits>
class SkipConsumer : SkipVoter<Traits, Consumer<Traits>> {
  using Base = SkipVoter<Traits, Consumer<Traits>>;
  using Walk = typename Base::Walk;
  using Done = typename Base::Done;
  using Base::base_;
  using Base::Cast;
  using Base::full_;
  using Base::group_;
  using Base::keys_;
  using Base::Least;
  using Base::MarkDropped;
  using Base::OpenLimits;
  using Base::Outcome;
  using Base::params_;
  using Base::plan_;
  using Base::queries_;
  using Base::RaiseLimits;
  using Base::tile_;
  using Base::values_;
  using Base::Vote;
  using Base::work_;

 public:
  using Base::Base;

  __device__ __forceinline__ void Run() {
    Registers x;
    x.largest[0] = x.largest[1] = 0.0f;
    OpenLimits(0);
    if (!Base::Open()) return;
    if (Traits::kPingPong && group_ + 1 == Traits::kConsumers) Base::PassTurn();  // 0 begins
    const int32_t passed = Base::SkipKeys();
    StartScores(x);
    FirstTile(x);
    Base::SkipValues(passed);
    Base::ClearTail();
    PackScores<Traits>(x.s, x.packed);
    Base::Clear(x.o);
    for (;;) {
      const bool pending = WalkTiles(x);
      if constexpr (!Traits::kStoresOutput)
        Base::Release(Base::Barrier(Base::kQueryEmpty, queries_.slot()));
      const Done done = {work_.slot(), queries_.slot()};
      queries_.Advance();
      work_.Advance();
      if (!Base::Open()) {
        if (pending) AddValues(x);
        Base::Write(done, x.o, x.state);
        if constexpr (Traits::kStoresOutput) ptx::WaitStoresRead();  // before the block may end
        return;
      }
      if (pending) {
        Seam<true>(done, x);
      } else {
        Seam<false>(done, x);
      }
    }
  }

 private:
  /// Tiles for which votes go first after one was dropped.
  static constexpr int32_t kPatience = 8;

  struct Registers {
    float o[Traits::kOutputs];
    float s[Traits::kScores];
    uint32_t packed[Traits::kPacked];
    RowState state;
    /// What the tile before holds, not yet in the limits: that waits for a moment when the warp
    /// has nothing else to do.
    float largest[2];
  };

  /// The tiles of a walk after its first, whose values are still to come. Returns whether those of
  /// its last are.
  __device__ __forceinline__ bool WalkTiles(Registers& x) {
    bool pending = true;
    --tile_;
    while (tile_ > full_) pending = MaskedTile(x, pending);
    while (tile_ >= 0) {
      if (pending) pending = RunKept(x);
      if (tile_ >= 0) pending = RunVoted(x, pending);
    }
    if (!pending) SettleValues();
    return pending;
  }

  /// Tiles while all are kept. False where the last was dropped.
  __device__ __forceinline__ bool RunKept(Registers& x) {
    for (; tile_ >= 0; --tile_) {
      StartStep(x);
      const float2 sum = Exponentials(x.s, Base::Scale(), x.state.reference);
      const float largest[2] = {LargestProbability(x.s, 0), LargestProbability(x.s, 1)};
      // First, or the sums are left until everything else is done.
      const bool rebased = __any_sync(0xffffffffu, fmaxf(sum.x, sum.y) > Traits::kRescueSum);
      const bool wanted = __any_sync(0xffffffffu, __float_as_uint(largest[0]) >= Least(0) ||
                                                      __float_as_uint(largest[1]) >= Least(1));
      Cast(wanted);
      if (!wanted && !Outcome()) {
        DropPending(x);
        return false;
      }
      Keep(x, rebased, sum, largest);
    }
    return true;
  }

  /// Tiles with votes first, until kPatience have been kept. `pending`: the values of the tile
  /// before are to come. Returns whether those of the last are.
  __device__ __forceinline__ bool RunVoted(Registers& x, bool pending) {
    int32_t patience = kPatience;
    while (tile_ >= 0) {
      float largest[2];
      bool kept = false;
      if (pending) {
        StartStep(x);
        kept = Vote(x.s, x.state.reference, largest);
        if (!kept) DropPending(x);
      }
      if (!kept) {
        if (!FindKept(x, largest)) return false;
        patience = kPatience;
      }
      const float2 sum = Exponentials(x.s, Base::Scale(), x.state.reference);
      const bool rebased = __any_sync(0xffffffffu, fmaxf(sum.x, sum.y) > Traits::kRescueSum);
      Keep(x, rebased, sum, largest);
      pending = true;
      --tile_;
      if (--patience == 0) break;
    }
    return true;
  }

  /// Goes on after a dropped tile to the next that is kept and leaves its scores; false where none
  /// is left. V of the tile before is still to be given back, then and now.
  __device__ __forceinline__ bool FindKept(Registers& x, float (&largest)[2]) {
    if (tile_ < 0) return false;
    Base::WaitKeys();
    RaiseLimits(x.largest);
    for (;;) {
      Base::TakeTurn();
      IssueScores<Traits>(x.s, QueryTile(), KeyTile());
      Base::PassTurn();
      Base::WaitValues();
      if (tile_ > 0) WaitNextKeys();
      ptx::WaitBatches<0>();
      ptx::Pin(x.s);
      if (Vote(x.s, x.state.reference, largest)) return true;
      Base::ReleaseValues();
      DropScored();
      if (tile_ < 0) return false;
    }
  }

  /// The rest of a kept tile whose exponentials exist. Values of the tile before may be under way.
  __device__ __forceinline__ void Keep(Registers& x, bool rebased, float2 sum,
                                       const float (&largest)[2]) {
    float2 factor;
    if (rebased) {
      Rescore(x);
      factor = Rebase(x);
    } else {
      x.state.sum[0] += sum.x;
      x.state.sum[1] += sum.y;
      x.largest[0] = largest[0];
      x.largest[1] = largest[1];
    }
    Base::ReleaseKeys();
    Base::FinishValues(x.o, x.packed);
    if (rebased) ScaleRows(x.o, factor);
    PackScores<Traits>(x.s, x.packed);
  }

  /// Drops the tile at hand, whose scores have arrived, and goes on to the next.
  __device__ __forceinline__ void DropScored() {
    MarkDropped(Base::TileAtHand());
    Base::ReleaseKeys();
    --tile_;
  }

  /// The same beside the values of the tile before.
  __device__ __forceinline__ void DropPending(Registers& x) {
    DropScored();
    Base::FinishValues(x.o, x.packed);
  }

  /// A tile under the mask, alone on the matrix units.
  __device__ __forceinline__ bool MaskedTile(Registers& x, bool pending) {
    if (pending) {
      AddValues(x);
    } else {
      SettleValues();
    }
    StartScores(x);
    Base::Mask(x.s);
    float largest[2];
    if (!Vote(x.s, x.state.reference, largest)) {
      DropScored();
      return false;
    }
    ScaleRows(x.o, Rebase(x));
    PackScores<Traits>(x.s, x.packed);
    Base::ReleaseKeys();
    --tile_;
    return true;
  }

  /// The softmax of the first tile of a walk, which is kept.
  __device__ __forceinline__ void FirstTile(Registers& x) {
    OpenLimits();
    Base::Mask(x.s);
    x.state.Reset();
    Rebase(x);
    Base::ReleaseKeys();
  }

  /// The first tile of keys of a new tile of work, beside the last values of `done` where those
  /// are still to come, whose output is written before the next step.
  template <bool kPending>
  __device__ __forceinline__ void Seam(const Done& done, Registers& x) {
    const int32_t passed = Base::SkipKeys();
    if constexpr (kPending) {
      StartStep(x);
    } else {
      StartScores(x);
    }
    const RowState done_state = x.state;
    FirstTile(x);
    if constexpr (kPending) Base::FinishValues(x.o, x.packed);
    Base::Write(done, x.o, done_state);
    // Before ClearTail: the only values of this tile may come after the Q that waits for this.
    Base::ReleaseStored(done);
    Base::SkipValues(passed);
    Base::ClearTail();
    PackScores<Traits>(x.s, x.packed);
    Base::Clear(x.o);
  }

  /// Scores again, after exponentials have overwritten them.
  __device__ __forceinline__ void Rescore(Registers& x) {
    RecomputeScores<Traits>(
        x.s, Base::WarpQuery(queries_.slot()),
        base_ + offsetof(typename Base::Plan, k) + keys_.slot() * Traits::kKeyBytes);
    __syncwarp();  // every lane has read K before lane 0 releases its stage
  }

  /// As SkipVoter's, of the tile at hand, whose largest probabilities it puts into the limits.
  __device__ __forceinline__ float2 Rebase(Registers& x) {
    x.largest[0] = x.largest[1] = 0.0f;
    return Base::Rebase(x.s, x.state);
  }

  /// Gives back V of a dropped tile. Not before it has been filled: parity tells a filling from
  /// the next only.
  __device__ __forceinline__ void SettleValues() {
    Base::WaitValues();
    Base::ReleaseValues();
  }

  /// Adds the values of the tile before, with nothing beside them.
  __device__ __forceinline__ void AddValues(Registers& x) {
    Base::WaitValues();
    IssueValues<Traits>(x.o, x.packed, ValueTile());
    Base::FinishValues(x.o, x.packed);
  }

  /// Waits for K of the tile after the one at hand.
  __device__ __forceinline__ void WaitNextKeys() const {
    auto next = keys_;
    next.Advance();
    ptx::Wait(Base::Barrier(Base::kKeyFull, next.slot()), next.phase());
  }

  /// Issues both products of a step and waits for the scores.
  __device__ __forceinline__ void StartStep(Registers& x) {
    Base::WaitKeys();
    Base::TakeTurn();
    IssueScores<Traits>(x.s, QueryTile(), KeyTile());
    Base::WaitValues();
    IssueValues<Traits>(x.o, x.packed, ValueTile());
    Base::PassTurn();
    RaiseLimits(x.largest);
    ptx::WaitBatches<1>();
    ptx::Pin(x.s);
  }

  /// As StartStep where the tile before has no values to come.
  __device__ __forceinline__ void StartScores(Registers& x) {
    Base::WaitKeys();
    Base::TakeTurn();
    IssueScores<Traits>(x.s, QueryTile(), KeyTile());
    Base::PassTurn();
    RaiseLimits(x.largest);
    ptx::WaitBatches<0>();
    ptx::Pin(x.s);
  }

  /// As Consumer's, but where the compiler would move each address that it makes of a uniform slot,
  /// or spill, uniform as a whole.
  static constexpr bool kUniformTiles = Traits::kHeadDim == 64 || Traits::kLists;
  __device__ uint32_t QueryTile() const {
    if constexpr (!kUniformTiles) return Base::QueryTile();
    return ptx::Uniform(ptx::DescriptorLow(base_ + offsetof(typename Base::Plan, q) +
                                               queries_.slot() * Traits::kQueryBytes +
                                               group_ * kGroupRows * ptx::kSwizzleRowBytes,
                                           16));
  }
  __device__ uint32_t KeyTile() const {
    if constexpr (!kUniformTiles) return Base::KeyTile();
    return ptx::Uniform(ptx::DescriptorLow(
        base_ + offsetof(typename Base::Plan, k) + keys_.slot() * Traits::kKeyBytes, 16));
  }
  __device__ uint32_t ValueTile() const {
    if constexpr (!kUniformTiles) return Base::ValueTile();
    return ptx::Uniform(ptx::DescriptorLow(
        base_ + offsetof(typename Base::Plan, v) + values_.slot() * Traits::kKeyBytes,
        Traits::kKeyBlockBytes));
  }
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_SKIP_CONSUMER_CUH_
