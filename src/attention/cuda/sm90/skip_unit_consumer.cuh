// A consumer warpgroup that drops, tile by tile, the units of 64 keys that its rows can do without
// (see SkipUnitVoter). Votes always come before exponentials, so that any tile may be masked.
#ifndef TAMIS_ATTENTION_CUDA_SM90_SKIP_UNIT_CONSUMER_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_SKIP_UNIT_CONSUMER_CUH_

#include <cstddef>
#include <cstdint>

#include "attention/cuda/sm90/skip_unit_voter.cuh"

namespace tamis::cuda::sm90 {

template <class Traits>
class SkipUnitConsumer : SkipUnitVoter<Traits> {
  using Base = SkipUnitVoter<Traits>;
  using Done = typename Base::Done;
  using Base::Drop;
  using Base::group_;
  using Base::kAllUnits;
  using Base::keys_;
  using Base::queries_;
  using Base::Select;
  using Base::tile_;
  using Base::work_;

 public:
  using Base::Base;

  __device__ __forceinline__ void Run() {
    Registers x;
    if (Traits::kPingPong && group_ + 1 == Traits::kConsumers) Base::PassTurn();  // group 0 begins
    // Nothing is in flight from one tile of work to the next: there are no registers to vote
    // beside.
    while (Base::Open()) {
      StartScores<false>(x);
      FirstTile(x);
      Base::ClearTail();
      PackScores<Traits>(x.s, x.packed);
      Base::Clear(x.o);
      if (WalkTiles(x)) {
        Base::WaitValues();
        IssueValues<Traits>(x.o, x.packed, Base::ValueTile());
        Base::FinishValues(x.o, x.packed);
      }
      const Done done = {work_.slot(), queries_.slot()};
      if constexpr (!Traits::kStoresOutput) {
        Base::Release(Base::Barrier(Base::kQueryEmpty, done.query));
      }
      Base::Write(done, x.o, x.state);
      Base::ReleaseStored(done);
      queries_.Advance();
      work_.Advance();
    }
  }

 private:
  struct Registers {
    float o[Traits::kOutputs];
    float s[Traits::kScores];
    uint32_t packed[Traits::kPacked];
    RowState state;
  };

  /// The tiles of a walk after its first, whose values are still to come. Returns whether those of
  /// its last are.
  __device__ __forceinline__ bool WalkTiles(Registers& x) {
    for (--tile_; tile_ >= 0; --tile_) {
      Base::StartStep(x.o, x.s, x.packed);
      uint32_t kept = Select(x.s);
      if (kept == 0) {
        Base::ReleaseKeys();
        Base::FinishValues(x.o, x.packed);
        kept = FindKept(x);
        if (kept == 0) {
          // Not before it has been filled: parity tells a filling from the next only.
          Base::WaitValues();
          Base::ReleaseValues();
          return false;
        }
      }
      Keep(x, kept);
    }
    return true;
  }

  /// Goes on after a dropped tile to the next of which units are kept and returns those, 0 where
  /// none is left. V of the tile before is still to be given back, then and now.
  __device__ __forceinline__ uint32_t FindKept(Registers& x) {
    while (--tile_ >= 0) {
      StartScores<true>(x);
      const uint32_t kept = Select(x.s);
      if (kept != 0) return kept;
      Base::ReleaseValues();
      Base::ReleaseKeys();
    }
    return 0;
  }

  /// Softmax and values of a tile with units that are kept. Values of the tile before may be under
  /// way.
  __device__ __forceinline__ void Keep(Registers& x, uint32_t kept) {
    float2 factor;
    bool rebased = Base::MustMask();
    if (rebased) {
      factor = Rebase(x.s, Base::Scale(), x.state);
    } else {
      const float2 sum = Exponentials(x.s, Base::Scale(), x.state.reference);
      // A dropped score of a row that has seen no key yet is -inf against -inf: NaN, not infinite.
      const bool nan = kept != kAllUnits && sum.x + sum.y != sum.x + sum.y;
      rebased = __any_sync(0xffffffffu, fmaxf(sum.x, sum.y) > Traits::kRescueSum || nan);
      if (rebased) {
        RecomputeScores<Traits>(
            x.s, Base::WarpQuery(queries_.slot()),
            Base::base_ + offsetof(typename Base::Plan, k) + keys_.slot() * Traits::kKeyBytes);
        Drop(x.s, kept);
        factor = Rebase(x.s, Base::Scale(), x.state);
        __syncwarp();  // every lane has read K before lane 0 releases its stage
      } else {
        x.state.sum[0] += sum.x;
        x.state.sum[1] += sum.y;
      }
    }
    Base::ReleaseKeys();
    Base::FinishValues(x.o, x.packed);
    if (rebased) ScaleRows(x.o, factor);
    PackScores<Traits>(x.s, x.packed);
  }

  /// The first tile of a walk.
  __device__ __forceinline__ void FirstTile(Registers& x) {
    Base::OpenLimits();
    Select(x.s);
    x.state.Reset();
    Rebase(x.s, Base::Scale(), x.state);
    Base::ReleaseKeys();
  }

  /// Issues the scores of a tile, with nothing beside them, and waits for them. kBehind: also for V
  /// of the tile before, which was dropped.
  template <bool kBehind>
  __device__ __forceinline__ void StartScores(Registers& x) {
    Base::WaitKeys();
    Base::TakeTurn();
    IssueScores<Traits>(x.s, Base::QueryTile(), Base::KeyTile());
    Base::PassTurn();
    if constexpr (kBehind) Base::WaitValues();
    ptx::WaitBatches<0>();
    ptx::Pin(x.s);
  }
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_SKIP_UNIT_CONSUMER_CUH_
