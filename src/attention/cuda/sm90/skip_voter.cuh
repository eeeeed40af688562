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
  using Ballot = typename SkipState::Ballot;
  static constexpr uint32_t kSkip = offsetof(typename Base::Plan, skip);

 protected:
  using Base::base_;
  using Base::group_;
  using Base::params_;
  using Base::work_;

 public:
  using Base::Base;

 protected:
  /// Votes on scores `s` of rows with `reference`; returns whether the warpgroup keeps the tile.
  /// `largest`: this thread's largest probability in each row.
  __device__ __forceinline__ bool Vote(const float (&s)[Traits::kScores],
                                       const float (&reference)[2], float (&largest)[2]) {
    const float scale = Base::Scale();
    bool wanted = false;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float score = LargestScore<Traits::kScores / 2>(s, 2 * r);
      const bool sees = !(score == -INFINITY);
      largest[r] = sees ? ptx::Exp2(fmaf(score, scale, -reference[r])) : 0.0f;
      wanted |= sees && __float_as_uint(largest[r]) >= Least(r);
    }
    return ptx::AnyNamed(kVote + group_, kWarpgroup, wanted);
  }

  /// Leaves the warp's vote for the tile at hand where the other warps find it, without waiting for
  /// theirs.
  __device__ __forceinline__ void Cast(bool wanted) {
    ++ballot_;
    ptx::PostByte(Leads(),
                  Member(offsetof(Ballot, votes), 4) + ptx::ThreadIndex() % kWarpgroup / 32,
                  wanted ? 1 : 0, Member(offsetof(Ballot, cast), 8));
  }
  /// After Cast: whether any warp wants the tile.
  __device__ __forceinline__ bool Outcome() const {
    ptx::Wait(Member(offsetof(Ballot, cast), 8), ballot_ / SkipState::kBallots & 1);
    // By the lane that gives the stage of K back, which comes before the next votes in this place.
    uint32_t votes = 0;
    if (Leads()) votes = ptx::LoadWord(Member(offsetof(Ballot, votes), 4));
    return __any_sync(0xffffffffu, votes != 0);
  }

  /// What a tile must reach to be kept by row r of the thread's two: bits of lambda * p(running
  /// maximum). All ones where the row does not exist: such rows never vote, and no probability, NaN
  /// neither, reaches that.
  __device__ uint32_t Least(int r) const { return least_[r]; }

  /// For a tile of work of which `rows` rows exist from the thread's first on.
  __device__ void OpenLimits(int32_t rows) {
    least_[0] = rows > 0 ? 0 : ~0u;
    least_[1] = rows > 8 ? 0 : ~0u;
  }

  __device__ __forceinline__ void RaiseLimits(const float (&largest)[2]) {
    const float lambda = Lambda();
    RaiseLimit(0, 1.0f, largest[0] * lambda);
    RaiseLimit(1, 1.0f, largest[1] * lambda);
    ptx::Pin(least_);  // here, where the warp would only wait
  }

  /// A kept tile asks for `least`, by this thread's columns. What was p before is p * factor now.
  __device__ void RaiseLimit(int r, float factor, float least) {
    const uint32_t old = least_[r];
    const float scaled = __uint_as_float(old) * factor;
    const uint32_t raised = __float_as_uint(fmaxf(scaled, QuadMax(least)));
    least_[r] = old == ~0u ? old : raised;
  }

  /// Of the sequence at hand; 0 where it runs dense.
  __device__ float Lambda() const {
    return __uint_as_float(
        ptx::LoadWord(base_ + kSkip + offsetof(SkipState, lambdas) + work_.slot() * sizeof(float)));
  }

 private:
  __device__ static bool Leads() { return (ptx::ThreadIndex() & 31) == 0; }
  /// The address of this warpgroup's part of a member of the ballot at hand.
  __device__ uint32_t Member(uint32_t member, uint32_t bytes) const {
    return base_ + kSkip + offsetof(SkipState, ballots) +
           ballot_ % SkipState::kBallots * sizeof(Ballot) + member + group_ * bytes;
  }

  uint32_t ballot_ = ~0u;  ///< none yet
  uint32_t least_[2];      ///< see Least
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_SKIP_VOTER_CUH_
