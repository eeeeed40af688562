// The vote of a warpgroup on which tiles it keeps, the limits that its rows vote by, and what
// counts need to know of both.
#ifndef TAMIS_ATTENTION_CUDA_SM90_SKIP_VOTER_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_SKIP_VOTER_CUH_

#include <cstddef>
#include <cstdint>

#include "attention/cuda/sm90/epilogue.cuh"
#include "attention/cuda/sm90/skip_softmax.cuh"
#include "attention/cuda/sm90/skip_traits.cuh"
#include "attention/cuda/sm90/softmax.cuh"

namespace tamis::cuda::sm90 {

/// `Base`: the consumer that it is part of.
template <class Traits, class Base>
class SkipVoter : protected Base {
  using SkipState = typename Traits::SkipState;
  using Ballot = typename SkipState::Ballot;
  static constexpr uint32_t kSkip = offsetof(typename Base::Plan, skip);

 protected:
  using Base::base_;
  using Base::group_;
  using Base::keys_;
  using Base::params_;
  using Base::plan_;
  using Base::tile_;
  using Base::work_;
  using typename Base::Walk;

 public:
  using Base::Base;

 protected:
  /// Votes on scores `s` of rows with `reference`; returns whether the warpgroup keeps the tile.
  /// `largest`: this thread's largest probability in each row.
  __device__ __forceinline__ bool Vote(const float (&s)[Traits::kScores],
                                       const float (&reference)[2], float (&largest)[2]) {
    return ptx::AnyNamed(kVote + group_, kWarpgroup, Wants(s, reference, largest));
  }

  /// This thread's vote alone.
  template <int kScores>
  __device__ __forceinline__ bool Wants(const float (&s)[kScores], const float (&reference)[2],
                                        float (&largest)[2]) {
    const float scale = Base::Scale();
    bool wanted = false;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float score = LargestScore<kScores / 2>(s, 2 * r);
      const bool sees = !(score == -INFINITY);
      largest[r] = sees ? ptx::Exp2(fmaf(score, scale, -reference[r])) : 0.0f;
      wanted |= sees && __float_as_uint(largest[r]) >= Least(r);
    }
    return wanted;
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

  /// sm90::Rebase, and limits against the new reference. What earlier tiles hold must be in the
  /// limits.
  template <int kStep = 1, int kScores>
  __device__ __forceinline__ float2 Rebase(float (&s)[kScores], RowState& state) {
    const float score[2] = {LargestScore<kScores / 2>(s, 0), LargestScore<kScores / 2>(s, 2)};
    const float2 factor = sm90::Rebase<kStep>(s, Base::Scale(), state);
    const float lambda = Lambda();
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float p = score[r] == -INFINITY
                          ? 0.0f
                          : ptx::Exp2(fmaf(score[r], Base::Scale(), -state.reference[r]));
      RaiseLimit(r, r == 0 ? factor.x : factor.y, p * lambda);
    }
    return factor;
  }

  /// Rows of this warpgroup that exist; may be negative.
  __device__ int32_t Rows() const { return Walk::Output(plan_, work_.slot(), group_).rows; }

  /// Opens the limits of the tile of work at hand.
  __device__ void OpenLimits() {
    const auto row = static_cast<int32_t>(ptx::ThreadIndex() % kWarpgroup / 32 * 16 +
                                          ptx::ThreadIndex() % 32 / 4);
    OpenLimits(Rows() - row);
  }

  /// For MarkDropped: the tile of the sequence at hand, whose K must not have been released. Valid
  /// in the lane that releases it, so that this read comes before that by program order.
  __device__ __forceinline__ int32_t TileAtHand() const {
    if constexpr (Traits::kLists) {
      return Leads() ? plan_.lists.keys[keys_.slot()].first[0] / Traits::kTileKeys : 0;
    }
    return tile_;
  }

  /// Marks a tile (see TileAtHand) as dropped for CountTiles.
  __device__ __forceinline__ void MarkDropped(int32_t tile) {
    uint32_t* const map = params_.skip.dropped;
    if (map == nullptr || ptx::ThreadIndex() % kWarpgroup != 0) return;
    const OutputRows rows = Walk::Output(plan_, work_.slot(), group_);
    if (rows.rows <= 0) return;
    uint32_t* const row =
        map + ((int64_t{rows.sequence} * params_.q_heads + rows.q_head) * params_.skip.row_blocks +
               Walk::FirstRow(plan_, work_.slot(), group_) / kVoteRows) *
                  params_.skip.row_words;
    atomicOr(row + tile / 32, 1u << tile % 32);
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
