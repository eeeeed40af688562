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

#include "attention/cuda/sm90/consumer.cuh"
#include "attention/cuda/sm90/skip_softmax.cuh"
#include "attention/cuda/sm90/skip_traits.cuh"

namespace tamis::cuda::sm90 {

template <class Traits>
class SkipConsumer : Consumer<Traits> {
  using Base = Consumer<Traits>;
  using Walk = typename Base::Walk;
  using Done = typename Base::Done;
  using Base::base_;
  using Base::full_;
  using Base::group_;
  using Base::keys_;
  using Base::params_;
  using Base::plan_;
  using Base::queries_;
  using Base::tile_;
  using Base::values_;
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
    const uint32_t kept = FirstTile(x);
    Base::SkipValues(passed);
    Base::ClearTail();
    PackScores<Traits>(x.s, x.packed);
    if (MarksLate(kept)) MarkDropped(kept);
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
  /// Units of a tile that are voted on apart; their scores follow each other.
  static constexpr int kParts = 1;
  static constexpr int kPartScores = Traits::kScores / kParts;
  using SkipState = typename Traits::SkipState;
  using BallotShared = typename SkipState::Ballot;
  static constexpr uint32_t kSkip = offsetof(typename Base::Plan, skip);
  /// Then limits lie in shared memory, every vote comes first, and a tile of work begins after the
  /// last values of the one before.
  static constexpr bool kFewRegisters = SkipState::kLimits > 1;
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

  /// The step after its scores have arrived, exponentials first: of a tile without mask and in one
  /// part. False where it is dropped.
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
      Rescore(x, kKeepAll);
      factor = Rebase(x);
    } else {
      AddTile(x, sum, largest);
    }
    FinishKept<true>(x, rebased, factor, kKeepAll);
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
    const uint32_t kept = Vote(x, largest, 0);
    if constexpr (!kPending) SettleValues();
    if (kept == 0) {
      FinishDropped<kUnderWay>(x);
      return false;
    }
    HideDropped(x.s, kept);
    bool rebased = masked;
    float2 sum, factor;
    if (!masked) {
      sum = Exponentials(x.s, Base::Scale(), x.state.reference);
      rebased = __any_sync(0xffffffffu, fmaxf(sum.x, sum.y) > Traits::kRescueSum);
      if (rebased) Rescore(x, kept);
      --patience_;
    }
    if (rebased) {
      factor = Rebase(x);
    } else {
      AddTile(x, sum, largest);
    }
    FinishKept<kUnderWay>(x, rebased, factor, kept);
    return true;
  }

  /// The softmax of the first tile of a walk, which is kept, but for a last part that makes the
  /// first superfluous. Returns what is kept.
  __device__ __forceinline__ uint32_t FirstTile(Registers& x) {
    const auto row = static_cast<int32_t>(ptx::ThreadIndex() % kWarpgroup / 32 * 16 +
                                          ptx::ThreadIndex() % 32 / 4);
    OpenLimits(Rows() - row);
    Base::Mask(x.s);
    x.state.Reset();
    uint32_t kept = kKeepAll;
    if (Pairs()) {
      float largest[2];
      kept = Vote(x, largest, kReadsValues);
      HideDropped(x.s, kept);
    } else {
      Cast(kKeepAll | kReadsValues);
    }
    Rebase(x);
    if (!MarksLate(kept)) Base::ReleaseKeys();
    return kept;
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
    const uint32_t kept = FirstTile(x);
    if constexpr (kPending) Base::FinishValues(x.o, x.packed);
    Base::Write(done, x.o, done_state);
    // Before ClearTail: the only values of this tile may come after the Q that waits for this.
    Base::ReleaseStored(done);
    Base::SkipValues(passed);
    Base::ClearTail();
    PackScores<Traits>(x.s, x.packed);
    if (MarksLate(kept)) MarkDropped(kept);
    Base::Clear(x.o);
  }

  /// Votes on the scores at hand; returns what is kept. `largest`: of the kept, this thread's
  /// largest probability in each row. `marks` go with the vote.
  __device__ __forceinline__ uint32_t Vote(Registers& x, float (&largest)[2], uint32_t marks) {
    const float scale = Base::Scale();
    float p[kParts][2];
    bool reached[kParts] = {};
    uint32_t least[2] = {Least(0), Least(1)};
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float score[kParts];
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        score[part] = LargestScore<kPartScores / 2>(x.s, part * kPartScores + 2 * r);
      }
      float reference = x.state.reference[r];
      if constexpr (kParts == 2) {
        if (Pairs()) {
          // A row that has seen nothing yet is measured against what it sees here.
          const float first = QuadMax(fmaxf(score[0], score[1])) * scale;
          if (reference == -INFINITY && first > -INFINITY) reference = first;
        }
      }
      // The last part is the first of the walk.
#pragma unroll
      for (int part = kParts - 1; part >= 0; --part) {
        const bool sees = !(score[part] == -INFINITY);
        p[part][r] = sees ? ptx::Exp2(fmaf(score[part], scale, -reference)) : 0.0f;
        reached[part] |= sees && __float_as_uint(p[part][r]) >= least[r];
        if (part > 0 && Pairs()) {
          // Where the warpgroup drops this part, no row of it has passed the row's maximum.
          least[r] = max(least[r], __float_as_uint(QuadMax(p[part][r]) * Lambda()));
        }
      }
    }
    uint32_t mine = 0;
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      if (__any_sync(0xffffffffu, reached[part])) mine |= 1u << part;
    }
    if (!Pairs() && mine != 0) mine = kKeepAll;
    Cast(mine | marks);
    const uint32_t kept = mine == kKeepAll ? mine : Outcome() & kKeepAll;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      largest[r] = p[0][r];
      if constexpr (kParts == 2) {
        largest[r] = fmaxf((kept & 1) != 0 ? p[0][r] : 0.0f, (kept & 2) != 0 ? p[1][r] : 0.0f);
      }
    }
    return kept;
  }

  /// Leaves the warp's vote for the tile at hand. The warp has K of that tile, so that no other is
  /// far enough behind to share its ballot.
  __device__ __forceinline__ void Cast(uint32_t vote) {
    if ((ptx::ThreadIndex() & 31) == 0) {
      ptx::StoreByte(
          Ballot(offsetof(BallotShared, votes), 4) + ptx::ThreadIndex() % kWarpgroup / 32, vote);
      ptx::Arrive(Ballot(offsetof(BallotShared, cast), 8));
    }
    __syncwarp();
  }

  /// Waits for the votes of all four warps.
  __device__ __forceinline__ uint32_t Outcome() const {
    ptx::Wait(Ballot(offsetof(BallotShared, cast), 8), keys_.long_phase());
    return JoinVotes(ptx::LoadWord(Ballot(offsetof(BallotShared, votes), 4)));
  }

  /// The address of this warpgroup's part of a member of the ballot at hand.
  __device__ uint32_t Ballot(uint32_t member, uint32_t bytes) const {
    return base_ + kSkip + offsetof(SkipState, ballots) + keys_.long_slot() * sizeof(BallotShared) +
           member + group_ * bytes;
  }

  /// Hides the parts that are not kept.
  __device__ __forceinline__ void HideDropped(float (&s)[Traits::kScores], uint32_t kept) const {
    if constexpr (kParts == 2) {
      if (kept == kKeepAll) return;
#pragma unroll
      for (int i = 0; i < Traits::kScores; ++i) {
        if ((kept >> (i / kPartScores) & 1) == 0) s[i] = -INFINITY;
      }
    }
  }

  /// Scores again, after exponentials have overwritten them.
  __device__ __forceinline__ void Rescore(Registers& x, uint32_t kept) {
    RecomputeScores<Traits>(
        x.s, Base::WarpQuery(queries_.slot()),
        base_ + offsetof(typename Base::Plan, k) + keys_.slot() * Traits::kKeyBytes);
    HideDropped(x.s, kept);
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
  __device__ __forceinline__ void FinishKept(Registers& x, bool rebased, float2 factor,
                                             uint32_t kept) {
    if (!MarksLate(kept)) Base::ReleaseKeys();
    if constexpr (kPending) Base::FinishValues(x.o, x.packed);
    if (rebased) ScaleRows(x.o, factor);
    PackScores<Traits>(x.s, x.packed);
    if (MarksLate(kept)) MarkDropped(kept);
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
    MarkDropped(0);
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

  /// What a tile must reach to be kept by row r of the thread's two: bits of lambda * p(running
  /// maximum). All ones where the row does not exist: such rows never vote, and no probability, NaN
  /// neither, reaches that.
  __device__ uint32_t Least(int r) const {
    if constexpr (kFewRegisters) return ptx::LoadWord(LimitAddress(r));
    return least_[r];
  }
  __device__ void SetLeast(int r, uint32_t least) {
    if constexpr (kFewRegisters) {
      ptx::StoreWord(LimitAddress(r), least);
    } else {
      least_[r] = least;
    }
  }
  __device__ uint32_t LimitAddress(int r) const {
    return base_ + kSkip + offsetof(SkipState, limits) +
           (r * Traits::kConsumers * kWarpgroup + ptx::ThreadIndex() - kWarpgroup) *
               sizeof(uint32_t);
  }

  /// For a tile of work of which `rows` rows exist from the thread's first on.
  __device__ void OpenLimits(int32_t rows) {
    SetLeast(0, rows > 0 ? 0 : ~0u);
    SetLeast(1, rows > 8 ? 0 : ~0u);
  }

  __device__ __forceinline__ void RaiseLimits(const float (&largest)[2]) {
    const float lambda = Lambda();
    RaiseLimit(0, 1.0f, largest[0] * lambda);
    RaiseLimit(1, 1.0f, largest[1] * lambda);
  }

  /// A kept tile asks for `least`, by this thread's columns. What was p before is p * factor now.
  __device__ void RaiseLimit(int r, float factor, float least) {
    const uint32_t old = Least(r);
    const float scaled = __uint_as_float(old) * factor;
    const uint32_t raised = __float_as_uint(fmaxf(scaled, QuadMax(least)));
    SetLeast(r, old == ~0u ? old : raised);
  }

  /// Of the sequence at hand; 0 where it runs dense.
  __device__ float Lambda() const {
    return __uint_as_float(
        ptx::LoadWord(base_ + kSkip + offsetof(SkipState, lambdas) + work_.slot() * sizeof(float)));
  }

  /// Whether the parts of a tile are tiles of their own.
  __device__ bool Pairs() const {
    if constexpr (Traits::kLists) return params_.lists.key_block == kUnitKeys;
    return false;
  }

  /// Rows of this warpgroup that exist; may be negative.
  __device__ int32_t Rows() const { return Walk::Output(plan_, work_.slot(), group_).rows; }

  /// Whether part of a kept tile was dropped. It is marked late, because registers are short
  /// before.
  __device__ bool MarksLate(uint32_t kept) const { return kParts == 2 && kept != kKeepAll; }

  /// Marks what is not kept of the tile at hand for CountTiles and gives its K back.
  __device__ __forceinline__ void MarkDropped(uint32_t kept) {
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
          for (int part = 0; part < kParts; ++part) {
            const bool present = (keys.present >> (group_ * kUnits + part) & 1) != 0;
            if (present && (kept >> part & 1) == 0) mark(keys.first[part] / kUnitKeys);
          }
        }
      } else {
        mark(tile_);
      }
    }
    Base::ReleaseKeys();
  }

  uint32_t least_[2];     ///< see Least
  int32_t patience_ = 0;  ///< tiles for which votes still go first
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_SKIP_CONSUMER_CUH_
