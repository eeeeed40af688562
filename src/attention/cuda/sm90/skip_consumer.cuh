// A consumer warpgroup that drops the tiles its rows can do without (SkipSoftmaxRule).
//
// Each warp votes on its 16 rows; a warp that wants a tile knows that it is kept and goes on, one
// that does not waits for the other three of its warpgroup. Tiles are expected to be kept: while
// nothing has been dropped lately, a tile's exponentials do not wait for its vote, which then costs
// little beside them. After a dropped tile the vote comes first for a while, and saves them.
//
// A dropped tile has no product with V. The walk then goes from tile to tile with nothing but the
// scores on the matrix units until a tile is kept.
#ifndef TAMIS_ATTENTION_CUDA_SM90_SKIP_CONSUMER_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_SKIP_CONSUMER_CUH_

#include <cstdint>

#include "attention/cuda/sm90/skip_softmax.cuh"
#include "attention/cuda/sm90/skip_traits.cuh"
#include "attention/cuda/sm90/skip_voter.cuh"

namespace tamis::cuda::sm90 {

template <class Traits>
class SkipConsumer : SkipVoter<Traits> {
  using Base = SkipVoter<Traits>;
  using Walk = typename Base::Walk;
  using Done = typename Base::Done;
  using Base::base_;
  using Base::Cast;
  using Base::full_;
  using Base::group_;
  using Base::keys_;
  using Base::kFewRegisters;
  using Base::Lambda;
  using Base::Least;
  using Base::OpenLimits;
  using Base::Outcome;
  using Base::Pairs;
  using Base::params_;
  using Base::plan_;
  using Base::queries_;
  using Base::RaiseLimit;
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
    if (!Open()) return;
    if (Traits::kPingPong && group_ + 1 == Traits::kConsumers) Base::PassTurn();  // 0 begins
    const int32_t passed = PassKeys();
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
      if (!Open()) {
        if (pending) {
          Base::WaitValues();
          Base::TakeTurn();
          IssueValues<Traits>(x.o, x.packed, Base::ValueTile());
          Base::PassTurn();
          ptx::WaitBatches<0>();
          ptx::Pin(x.o);
        } else {
          Base::TakeTurn();  // the other warpgroup may still count on it
          Base::PassTurn();
        }
        Base::Write(done, x.o, x.state);
        if constexpr (Traits::kStoresOutput) ptx::WaitStoresRead();  // before the block may end
        return;
      }
      if (pending && !kFewRegisters) {
        Seam<true>(done, x);
        continue;
      }
      if (pending) {
        Base::WaitValues();
        IssueValues<Traits>(x.o, x.packed, Base::ValueTile());
        Base::FinishValues(x.o, x.packed);
      }
      Seam<false>(done, x);
    }
  }

 private:
  /// Where registers allow that a vote goes first while `packed` is still being read.
  static constexpr bool kVotesUnderValues = !Traits::kLists && Traits::kHeadDim == 128;
  /// Where registers allow that limits are raised under the next product.
  static constexpr bool kRaisesLater = Traits::kHeadDim == 128;
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

  __device__ __forceinline__ bool Open() {
    if (!Base::Open()) return false;
    patience_ = 0;
    return true;
  }

  /// The tiles of a walk after its first, whose values are still to come. Returns whether those of
  /// its last are.
  __device__ __forceinline__ bool WalkTiles(Registers& x) {
    for (--tile_; tile_ >= 0; --tile_) {
      bool kept;
      if (kFewRegisters || tile_ > full_ || patience_ > 0) {
        StartStep(x);
        kept = VoteFirst<true>(x);
      } else {
        StartStep(x);
        kept = VoteAfter(x);
      }
      if (!kept && !FindKept(x)) return false;
    }
    return true;
  }

  /// Goes on after a dropped tile to the next that is kept; false where none is left.
  __device__ __forceinline__ bool FindKept(Registers& x) {
    for (--tile_; tile_ >= 0; --tile_) {
      StartScores(x);
      if (VoteFirst<false>(x)) return true;
    }
    SettleValues();
    return false;
  }

  /// The step after its scores have arrived, exponentials first: of a tile without mask. False
  /// where it is dropped.
  __device__ __forceinline__ bool VoteAfter(Registers& x) {
    const float2 sum = Exponentials(x.s, Base::Scale(), x.state.reference);
    const float largest[2] = {LargestProbability(x.s, 0), LargestProbability(x.s, 1)};
    // First, or the sums are left until everything else is done.
    const bool rebased = __any_sync(0xffffffffu, fmaxf(sum.x, sum.y) > Traits::kRescueSum);
    const bool wanted = __any_sync(0xffffffffu, __float_as_uint(largest[0]) >= Least(0) ||
                                                    __float_as_uint(largest[1]) >= Least(1));
    Cast(wanted ? kKeepAll : 0);
    if (!wanted && Outcome() == 0) {
      FinishDropped<true>(x);
      return false;
    }
    float2 factor;
    if (rebased) {
      Rescore(x);
      factor = Rebase(x);
    } else {
      AddTile(x, sum, largest);
    }
    FinishKept<true>(x, rebased, factor);
    return true;
  }

  /// As VoteAfter, for every tile, and exponentials only where it is kept. `kPending`: the values
  /// of the tile before are under way.
  template <bool kPending>
  __device__ __forceinline__ bool VoteFirst(Registers& x) {
    constexpr bool kUnderWay = kPending && kVotesUnderValues;
    if constexpr (kPending && !kUnderWay) Base::FinishValues(x.o, x.packed);
    const bool masked = tile_ > full_;
    if (masked) Base::Mask(x.s);
    float largest[2];
    const uint32_t kept = Vote(x.s, x.state.reference, largest, 0);
    if constexpr (!kPending) SettleValues();
    if (kept == 0) {
      FinishDropped<kUnderWay>(x);
      return false;
    }
    bool rebased = masked;
    float2 sum, factor;
    if (!masked) {
      sum = Exponentials(x.s, Base::Scale(), x.state.reference);
      rebased = __any_sync(0xffffffffu, fmaxf(sum.x, sum.y) > Traits::kRescueSum);
      if (rebased) Rescore(x);
      --patience_;
    }
    if (rebased) {
      factor = Rebase(x);
    } else {
      AddTile(x, sum, largest);
    }
    FinishKept<kUnderWay>(x, rebased, factor);
    return true;
  }

  /// The softmax of the first tile of a walk, which is kept.
  __device__ __forceinline__ void FirstTile(Registers& x) {
    const auto row = static_cast<int32_t>(ptx::ThreadIndex() % kWarpgroup / 32 * 16 +
                                          ptx::ThreadIndex() % 32 / 4);
    OpenLimits(Rows() - row);
    Base::Mask(x.s);
    x.state.Reset();
    if (Pairs()) {
      float largest[2];
      Vote(x.s, x.state.reference, largest, kReadsValues);
    } else {
      Cast(kKeepAll | kReadsValues);
    }
    Rebase(x);
    Base::ReleaseKeys();
  }

  /// The first tile of keys of a new tile of work, beside the last values of `done` where those
  /// are still to come, whose output is written before the next step.
  template <bool kPending>
  __device__ __forceinline__ void Seam(const Done& done, Registers& x) {
    const int32_t passed = PassKeys();
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

  /// sm90::Rebase, and limits against the new reference.
  __device__ __forceinline__ float2 Rebase(Registers& x) {
    const float score[2] = {LargestScore<Traits::kScores / 2>(x.s, 0),
                            LargestScore<Traits::kScores / 2>(x.s, 2)};
    const float2 factor = sm90::Rebase(x.s, Base::Scale(), x.state);
    const float lambda = Lambda();
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float p = score[r] == -INFINITY
                          ? 0.0f
                          : ptx::Exp2(fmaf(score[r], Base::Scale(), -x.state.reference[r]));
      RaiseLimit(r, r == 0 ? factor.x : factor.y, p * lambda);
      x.largest[r] = 0.0f;
    }
    return factor;
  }

  __device__ __forceinline__ void AddTile(Registers& x, float2 sum, const float (&largest)[2]) {
    x.state.sum[0] += sum.x;
    x.state.sum[1] += sum.y;
    if constexpr (kRaisesLater) {
      x.largest[0] = largest[0];
      x.largest[1] = largest[1];
    } else {
      RaiseLimits(largest);
    }
  }

  template <bool kPending>
  __device__ __forceinline__ void FinishKept(Registers& x, bool rebased, float2 factor) {
    Base::ReleaseKeys();
    if constexpr (kPending) Base::FinishValues(x.o, x.packed);
    if (rebased) ScaleRows(x.o, factor);
    PackScores<Traits>(x.s, x.packed);
  }

  /// Gives back V of the tile dropped before the one at hand. Only now, because its stage must have
  /// been filled, or passed over, which takes every warpgroup's vote on that tile.
  __device__ __forceinline__ void SettleValues() {
    Base::WaitValues();
    Base::ReleaseValues();
  }

  /// Gives K of a dropped tile back; its V is to be settled.
  template <bool kPending>
  __device__ __forceinline__ void FinishDropped(Registers& x) {
    patience_ = kPatience;
    if constexpr (kPending) Base::FinishValues(x.o, x.packed);
    MarkDropped();
  }

  /// Issues both products of a step and waits for the scores.
  __device__ __forceinline__ void StartStep(Registers& x) {
    Base::WaitKeys();
    Base::TakeTurn();
    IssueScores<Traits>(x.s, Base::QueryTile(), Base::KeyTile());
    Base::WaitValues();
    IssueValues<Traits>(x.o, x.packed, Base::ValueTile());
    Base::PassTurn();
    if constexpr (kRaisesLater) RaiseLimits(x.largest);
    ptx::WaitBatches<1>();
    ptx::Pin(x.s);
  }

  /// As StartStep where the tile before has no values to come.
  __device__ __forceinline__ void StartScores(Registers& x) {
    Base::WaitKeys();
    Base::TakeTurn();
    IssueScores<Traits>(x.s, Base::QueryTile(), Base::KeyTile());
    Base::PassTurn();
    if constexpr (kRaisesLater) RaiseLimits(x.largest);
    ptx::WaitBatches<0>();
    ptx::Pin(x.s);
  }

  /// Base::SkipKeys, with votes.
  __device__ __forceinline__ int32_t PassKeys() {
    if constexpr (!Traits::kSkipsTiles) return 0;
    const TileWork& work = Base::Work();
    const int32_t passed =
        FirstKeyTile(params_, work, work.first_query + Traits::kTileRows, Traits::kTileKeys) -
        tile_;
    for (int32_t i = 0; i < passed; ++i) {
      Base::WaitKeys();
      Cast(0);
      Base::ReleaseKeys();
    }
    return passed;
  }

  /// Rows of this warpgroup that exist; may be negative.
  __device__ int32_t Rows() const { return Walk::Output(plan_, work_.slot(), group_).rows; }

  /// Marks the tile at hand as dropped for CountTiles and gives its K back.
  __device__ __forceinline__ void MarkDropped() {
    uint32_t* const map = params_.skip.dropped;
    if (map != nullptr && ptx::ThreadIndex() % kWarpgroup == 0) {
      const OutputRows rows = Walk::Output(plan_, work_.slot(), group_);
      uint32_t* const row = map + ((int64_t{rows.sequence} * params_.q_heads + rows.q_head) *
                                       params_.skip.row_blocks +
                                   Walk::FirstRow(plan_, work_.slot(), group_) / kVoteRows) *
                                      params_.skip.row_words;
      const auto mark = [&](int32_t tile) {
        if (rows.rows > 0) atomicOr(row + tile / 32, 1u << tile % 32);
      };
      if constexpr (Traits::kLists) {
        const UnitKeys& keys = plan_.lists.keys[keys_.slot()];
        if (!Pairs()) {
          mark(keys.first[0] / Traits::kTileKeys);
        } else {
          const bool present = (keys.present >> (group_ * kUnits) & 1) != 0;
          if (present) mark(keys.first[0] / kUnitKeys);
        }
      } else {
        mark(tile_);
      }
    }
    Base::ReleaseKeys();
  }

  int32_t patience_ = 0;  ///< tiles for which votes still go first
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_SKIP_CONSUMER_CUH_
