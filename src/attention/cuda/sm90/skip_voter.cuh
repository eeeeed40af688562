// The vote of a warpgroup on which tiles it keeps, and the limits that its rows vote by.
#ifndef TAMIS_ATTENTION_CUDA_SM90_SKIP_VOTER_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_SKIP_VOTER_CUH_

#include <cstddef>
#include <cstdint>

#include "attention/cuda/sm90/consumer.cuh"
#include "attention/cuda/sm90/skip_softmax.cuh"
#include "attention/cuda/sm90/skip_traits.cuh"

namespace tamis::cuda::sm90 {

template <class Traits>
class SkipVoter : protected Consumer<Traits> {
  using Base = Consumer<Traits>;
  using SkipState = typename Traits::SkipState;
  using BallotShared = typename SkipState::Ballot;
  static constexpr uint32_t kSkip = offsetof(typename Base::Plan, skip);

 protected:
  using Base::base_;
  using Base::group_;
  using Base::keys_;
  using Base::params_;
  using Base::work_;

 public:
  using Base::Base;

 protected:
  /// Then limits lie in shared memory, every vote comes first, and a tile of work begins after the
  /// last values of the one before.
  static constexpr bool kFewRegisters = SkipState::kLimits > 1;

  /// Votes on scores `s` of rows with `reference`; returns whether the tile is kept. `largest`:
  /// this thread's largest probability in each row. `marks` go with the vote.
  __device__ __forceinline__ uint32_t Vote(const float (&s)[Traits::kScores],
                                           const float (&reference)[2], float (&largest)[2],
                                           uint32_t marks) {
    const float scale = Base::Scale();
    float p[2];
    bool reached = false;
    const uint32_t least[2] = {Least(0), Least(1)};
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      // In a loop, of one turn: without, the compiler allocates the whole kernel's registers anew.
      float score[1];
#pragma unroll
      for (int i = 0; i < 1; ++i) score[i] = LargestScore<Traits::kScores / 2>(s, 2 * r);
      const bool sees = !(score[0] == -INFINITY);
      p[r] = sees ? ptx::Exp2(fmaf(score[0], scale, -reference[r])) : 0.0f;
      reached |= sees && __float_as_uint(p[r]) >= least[r];
    }
    uint32_t mine = __any_sync(0xffffffffu, reached) ? 1 : 0;
    if (!Pairs() && mine != 0) mine = kKeepAll;
    Cast(mine | marks);
    const uint32_t kept = mine == kKeepAll ? mine : Outcome() & kKeepAll;
#pragma unroll
    for (int r = 0; r < 2; ++r) largest[r] = p[r];
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

  /// Whether the units of a tile are blocks of their own, of which the first speaks for the tile.
  /// The executor refuses such lists (RequireSkippable).
  __device__ bool Pairs() const {
    if constexpr (Traits::kLists) return params_.lists.key_block == kUnitKeys;
    return false;
  }

 private:
  uint32_t least_[2];  ///< see Least
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_SKIP_VOTER_CUH_
