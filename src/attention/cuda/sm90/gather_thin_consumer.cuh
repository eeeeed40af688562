// A consumer warpgroup that drops scores by N:M in tiles of blocks and windows: scores, selection
// and softmax, values, one after the other. Beside a selection that knows all kinds of N:M there
// are no registers for products in flight, and one copy of it is enough; the other warpgroup keeps
// the matrix units busy meanwhile.
#ifndef TAMIS_ATTENTION_CUDA_SM90_GATHER_THIN_CONSUMER_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_GATHER_THIN_CONSUMER_CUH_

#include "attention/cuda/sm90/consumer.cuh"

namespace tamis::cuda::sm90 {

template <class Traits>
class GatherThinConsumer : Consumer<Traits> {
  using Base = Consumer<Traits>;
  using Base::queries_;
  using Base::tile_;
  using Base::work_;
  static_assert(Traits::kGathers && !Traits::kPingPong && !Traits::kStoresOutput);

 public:
  using Base::Base;

  __device__ void Run() {
    float o[Traits::kOutputs];
    float s[Traits::kScores];
    uint32_t packed[Traits::kPacked];
    RowState state;
    while (Base::Open()) {
      Base::Clear(o);
      state.Reset();
#pragma unroll 1
      for (; tile_ >= 0; --tile_) {
        Base::WaitKeys();
        IssueScores<Traits>(s, Base::QueryTile(), Base::KeyTile());
        ptx::WaitBatches<0>();
        ptx::Pin(s);
        Base::template Prepare<true>(s);
        ScaleRows(o, Rebase(s, Base::Scale(), state));
        Base::ReleaseKeys();
        PackScores<Traits>(s, packed);
        Base::WaitValues();
        IssueValues<Traits>(o, packed, Base::ValueTile());
        Base::FinishValues(o, packed);
      }
      Base::Write({work_.slot(), queries_.slot()}, o, state);
      Base::Release(Base::Barrier(Base::kQueryEmpty, queries_.slot()));
      queries_.Advance();
      work_.Advance();
    }
  }
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_GATHER_THIN_CONSUMER_CUH_
