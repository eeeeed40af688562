// The votes of a warpgroup on the units of 64 keys of its tiles (SkipSoftmaxRule): a tile of an
// index with key blocks of 64 is two blocks, of which the upper goes first, one with key blocks of
// 128 is dropped or kept as a whole.
//
// Limits are scores, not probabilities as in SkipVoter: against the reference of a row that has
// seen no key yet, both units of its first tile would be infinite.
#ifndef TAMIS_ATTENTION_CUDA_SM90_SKIP_UNIT_VOTER_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_SKIP_UNIT_VOTER_CUH_

#include <cstdint>

#include "attention/cuda/sm90/consumer.cuh"
#include "attention/cuda/sm90/skip_softmax.cuh"

namespace tamis::cuda::sm90 {

template <class Traits>
class SkipUnitVoter : protected Consumer<Traits> {
  using Base = Consumer<Traits>;

 protected:
  using Base::group_;
  using Base::keys_;
  using Base::params_;
  using Base::plan_;
  using Base::work_;
  using typename Base::Walk;

 public:
  using Base::Base;

 protected:
  static constexpr uint32_t kAllUnits = (1u << kUnits) - 1;

  /// Opens the limits of the tile of work at hand: of its first tile rows keep what they see, or
  /// its upper unit.
  __device__ __forceinline__ void OpenLimits() {
    const int32_t rows = Walk::Output(plan_, work_.slot(), group_).rows -
                         static_cast<int32_t>(ptx::ThreadIndex() % kWarpgroup / 32 * 16 +
                                              ptx::ThreadIndex() % 32 / 4);
    limit_[0] = rows > 0 ? -INFINITY : INFINITY;
    limit_[1] = rows > 8 ? -INFINITY : INFINITY;
  }

  /// Masks the scores of the tile at hand and votes on its units; returns a bit for each that is
  /// kept, and hides the others.
  __device__ __forceinline__ uint32_t Select(float (&s)[Traits::kScores]) {
    if (Base::MustMask()) Base::Mask(s);
    constexpr int kUnitScores = Traits::kScores / kUnits;
    float largest[kUnits][2];
#pragma unroll
    for (int u = 0; u < kUnits; ++u) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        largest[u][r] = LargestScore<kUnitScores / 2>(s, u * kUnitScores + 2 * r);
      }
    }
    const uint32_t kept =
        params_.lists.key_block == kUnitKeys ? VoteOnUnits(largest) : VoteOnTile(largest);
    if (kept != kAllUnits) {
      MarkDropped(kept);
      if (kept != 0) Drop(s, kept);
    }
    return kept;
  }

  /// Hides the units whose bit is not set.
  __device__ __forceinline__ static void Drop(float (&s)[Traits::kScores], uint32_t kept) {
    constexpr int kUnitScores = Traits::kScores / kUnits;
#pragma unroll
    for (int u = 0; u < kUnits; ++u) {
      if ((kept >> u & 1) != 0) continue;
#pragma unroll
      for (int i = 0; i < kUnitScores; ++i) s[u * kUnitScores + i] = -INFINITY;
    }
  }

 private:
  /// What the warpgroup keeps of a tile whose units go together. `largest`: of each unit this
  /// thread's largest score in each of its rows.
  __device__ __forceinline__ uint32_t VoteOnTile(const float (&largest)[kUnits][2]) {
    bool wanted = false;
    float raised[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float score = fmaxf(largest[0][r], largest[1][r]);
      wanted |= Reaches(score, limit_[r]);
      raised[r] = Raised(limit_[r], score);
    }
    const bool kept = ptx::AnyNamed(kVote + group_, kWarpgroup, wanted);
#pragma unroll
    for (int r = 0; r < 2; ++r) limit_[r] = kept ? raised[r] : limit_[r];
    return kept ? kAllUnits : 0;
  }

  /// The same of units one by one, the upper first. If it is kept, it raises the limits that the
  /// lower must reach; a warp knows its vote in either case, and one barrier counts all: a warp's
  /// votes on the upper unit, on the lower after it and on the lower alone are 1, 5 and 25 lanes.
  __device__ __forceinline__ uint32_t VoteOnUnits(const float (&largest)[kUnits][2]) {
    static_assert(kUnits == 2 && kWarpgroup / 32 < 5);
    bool upper = false, after = false, alone = false;
    float raised[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      raised[r] = Raised(limit_[r], largest[1][r]);
      upper |= Reaches(largest[1][r], limit_[r]);
      after |= Reaches(largest[0][r], raised[r]);
      alone |= Reaches(largest[0][r], limit_[r]);
    }
    const uint32_t lane = ptx::ThreadIndex() & 31;
    const bool upper_vote = __any_sync(0xffffffffu, upper);
    const bool after_vote = __any_sync(0xffffffffu, after);
    const bool alone_vote = __any_sync(0xffffffffu, alone);
    const bool vote = lane < 1 ? upper_vote : lane < 6 ? after_vote : lane < 31 && alone_vote;
    const uint32_t count = ptx::CountNamed(kVote + group_, kWarpgroup, vote);
    const bool keeps_upper = count % 5 != 0;
    const bool keeps_lower = (keeps_upper ? count / 5 % 5 : count / 25) != 0;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      limit_[r] = keeps_upper ? raised[r] : limit_[r];
      const float both = Raised(limit_[r], largest[0][r]);
      limit_[r] = keeps_lower ? both : limit_[r];
    }
    return (keeps_upper ? 2u : 0u) | (keeps_lower ? 1u : 0u);
  }

  /// Not the other way round: rows of NaN drop nothing.
  __device__ __forceinline__ bool Reaches(float score, float limit) const {
    return !(score == -INFINITY) && !(score * Base::Scale() < limit);
  }

  /// A limit of a row of which the quad keeps scores up to `score`, by this thread's columns.
  __device__ __forceinline__ float Raised(float limit, float score) const {
    const float log_lambda = __log2f(plan_.skip.lambdas[work_.slot()]);
    return fmaxf(limit, fmaf(QuadMax(score), Base::Scale(), log_lambda));
  }

  /// Marks those units of the tile at hand that the warpgroup visits and does not keep, for
  /// CountTiles.
  __device__ __forceinline__ void MarkDropped(uint32_t kept) const {
    if (params_.skip.dropped == nullptr || ptx::ThreadIndex() % kWarpgroup != 0) return;
    const OutputRows rows = Walk::Output(plan_, work_.slot(), group_);
    if (rows.rows <= 0) return;
    const int64_t head = int64_t{rows.sequence} * params_.q_heads + rows.q_head;
    const int32_t block = Walk::FirstRow(plan_, work_.slot(), group_) / kVoteRows;
    uint32_t* const row =
        params_.skip.dropped + (head * params_.skip.row_blocks + block) * params_.skip.row_words;
#pragma unroll
    for (int u = 0; u < kUnits; ++u) {
      // A unit that stands in for none, or for another row's, has the number of another.
      if ((kept >> u & 1) != 0 || !Walk::Visits(plan_, keys_.slot(), group_, u)) continue;
      const int32_t tile = Walk::DropBit(params_, plan_, keys_.slot(), u);
      atomicOr(row + tile / 32, 1u << tile % 32);
    }
  }

  /// What the largest score of the thread's rows must reach, in log2 units, for keys to be kept:
  /// running maximum and log2(lambda). Infinite where a row does not exist.
  float limit_[2];
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_SKIP_UNIT_VOTER_CUH_
