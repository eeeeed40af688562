// A consumer warpgroup that drops the tiles its rows can do without (SkipSoftmaxRule) and scores of
// the others by N:M before the dense product: scores, vote, selection and softmax, values, one
// after the other. The selection of pairs from other lanes takes longer than all the rest, so that
// nothing would be gained beside it within a warpgroup.
//
// The best score of a row is always kept, so that N:M changes neither a vote nor a limit: the vote
// goes first, and dropped tiles pay for no selection.
#ifndef TAMIS_ATTENTION_CUDA_SM90_THIN_SKIP_CONSUMER_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_THIN_SKIP_CONSUMER_CUH_

#include <cstdint>
#include <type_traits>

#include "attention/cuda/sm90/consumer.cuh"
#include "attention/cuda/sm90/count_thinned.cuh"
#include "attention/cuda/sm90/skip_unit_voter.cuh"
#include "attention/cuda/sm90/skip_voter.cuh"

namespace tamis::cuda::sm90 {

/// Who votes on whole tiles, or on the units of an index with windows, columns or small blocks.
template <class Traits>
using ThinSkipVoter = std::conditional_t<Traits::kSkipsUnits, SkipUnitVoter<Traits>,
                                         SkipVoter<Traits, Consumer<Traits>>>;

template <class Traits>
class ThinSkipConsumer : ThinSkipVoter<Traits> {
  using Base = ThinSkipVoter<Traits>;
  using Walk = typename Base::Walk;
  using Base::full_;
  using Base::group_;
  using Base::params_;
  using Base::plan_;
  using Base::queries_;
  using Base::tile_;
  using Base::work_;

 public:
  using Base::Base;

  __device__ __forceinline__ void Run() {
    float o[Traits::kOutputs];
    float s[Traits::kScores];
    RowState state;
    if (Traits::kPingPong && group_ + 1 == Traits::kConsumers) Base::PassTurn();  // 0 begins
    while (Base::Open()) {
      Base::SkipValues(Base::SkipKeys());
      Base::Clear(o);
      state.Reset();
      Base::OpenLimits();
      // The end of the sequence is in the first tile of a walk.
      for (bool first = true; tile_ >= 0; --tile_, first = false) {
        Base::WaitKeys();
        Base::TakeTurn();
        IssueScores<Traits>(s, Base::QueryTile(), Base::KeyTile());
        Base::PassTurn();
        ptx::WaitBatches<0>();
        ptx::Pin(s);
        const bool kept = Select(s, state);
        if (kept) {
          Base::Thin(s);
          CountThinned(params_, Walk::Output(plan_, work_.slot(), group_), s);
          ScaleRows(o, Rebase(s, state));
          if (first) Base::ClearTail();
        }
        Base::ReleaseKeys();
        // Also of a dropped tile: parity tells a filling from the next only, so that a stage must
        // have been filled before it is given back.
        Base::WaitValues();
        if (kept) AddDenseValues<Traits>(o, s, Base::ValueTile());
        Base::ReleaseValues();
      }
      const typename Base::Done done = {work_.slot(), queries_.slot()};
      Base::Write(done, o, state);
      if constexpr (Traits::kStoresOutput) {
        Base::ReleaseStored(done);
      } else {
        Base::Release(Base::Barrier(Base::kQueryEmpty, queries_.slot()));
      }
      queries_.Advance();
      work_.Advance();
    }
  }

 private:
  /// Masks and votes; false where the tile is dropped. Hides units of it that are.
  __device__ __forceinline__ bool Select(float (&s)[Traits::kScores], const RowState& state) {
    if constexpr (Traits::kSkipsUnits) {
      return Base::Select(s) != 0;
    } else {
      if (tile_ > full_) Base::Mask(s);
      float largest[2];
      const bool kept = Base::Vote(s, state.reference, largest);
      if (!kept) Base::MarkDropped(Base::TileAtHand());
      return kept;
    }
  }

  /// sm90::Rebase, and limits where they are measured against the reference.
  __device__ __forceinline__ float2 Rebase(float (&s)[Traits::kScores], RowState& state) {
    if constexpr (Traits::kSkipsUnits) {
      return sm90::Rebase(s, Base::Scale(), state);
    } else {
      return Base::Rebase(s, state);
    }
  }
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_THIN_SKIP_CONSUMER_CUH_
