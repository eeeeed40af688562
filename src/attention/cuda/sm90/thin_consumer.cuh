// A consumer warpgroup of the kernel that drops scores by N:M on groups of eight keys: scores,
// selection and softmax, values, one after the other. Three warpgroups overlap with each other; the
// selection leaves no registers to overlap within one.
#ifndef TAMIS_ATTENTION_CUDA_SM90_THIN_CONSUMER_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_THIN_CONSUMER_CUH_

#include <cstddef>
#include <cstdint>

#include "attention/cuda/sm90/consumer.cuh"
#include "attention/cuda/sm90/thin_groups.cuh"

namespace tamis::cuda::sm90 {

template <class Traits>
class ThinConsumer : Consumer<Traits> {
  using Base = Consumer<Traits>;
  using Walk = typename Base::Walk;
  using Base::base_;
  using Base::full_;
  using Base::keys_;
  using Base::params_;
  using Base::plan_;
  using Base::queries_;
  using Base::tile_;
  using Base::values_;
  using Base::work_;
  using Plan = SharedPlan<Traits>;

 public:
  using Base::Base;

  __device__ void Run() {
    float o[Traits::kOutputs];
    float s[Traits::kScores];
    RowState state;
    while (Base::Open()) {
      SkipTiles();
      Base::Clear(o);
      state.Reset();
      // The first tile raises the references from nothing, whether it needs a mask or not.
      full_ = min(full_, tile_ - 1);
      for (; tile_ >= 0; --tile_) {
        Base::WaitKeys();
        IssueScores<Traits>(s, Base::QueryTile(), Base::KeyTile());
        ptx::WaitBatches<0>();
        ptx::Pin(s);
        ThinTile(s, o, state);
        Base::ReleaseKeys();
        ClearTail();
        Base::WaitValues();
        AddDenseValues<Traits>(o, s, Base::ValueTile());
        Base::ReleaseValues();
      }
      Base::Write({work_.slot(), queries_.slot()}, o, state);
      Base::Release(Base::Barrier(Base::kQueryEmpty, queries_.slot()));
      queries_.Advance();
      work_.Advance();
    }
  }

 private:
  /// Passes over tiles that other warpgroups of the block visit and this one does not see. K and V
  /// together, so that their rings share a register.
  __device__ void SkipTiles() {
    const TileWork& work = Base::Work();
    const int32_t first =
        FirstKeyTile(params_, work, work.first_query + Traits::kTileRows, Traits::kTileKeys);
    for (int32_t tile = first; tile > tile_; --tile) {
      Base::WaitKeys();
      Base::ReleaseKeys();
      Base::WaitValues();
      Base::ReleaseValues();
    }
  }

  /// Selection and softmax.
  __device__ void ThinTile(float (&s)[Traits::kScores], float (&o)[Traits::kOutputs],
                           RowState& state) const {
    const bool masked = tile_ > full_;
    if (masked) Base::Mask(s);
    const bool held = MeetsHeld();
    if (!held) {
      float reference[2] = {state.reference[0], state.reference[1]};
      if (masked) {
        const float2 factor = Raise(s, params_.scale_log2, state, reference);
        state.sum[0] *= factor.x;
        state.sum[1] *= factor.y;
        ScaleRows(o, factor);
      }
      if (ThinFast(s, reference, state, masked)) return;
      RecomputeScores<Traits>(s, Base::WarpQuery(queries_.slot()),
                              base_ + offsetof(Plan, k) + keys_.slot() * Traits::kKeyBytes);
      if (masked) Base::Mask(s);
    }
    ThinSlowly(s, o, state, held);
    __syncwarp();
  }

  /// Of scores none of which is held. False, and `s` lost, where the selection was not exact or a
  /// row has left the range of its reference.
  __device__ bool ThinFast(float (&s)[Traits::kScores], const float (&reference)[2],
                           RowState& state, bool masked) const {
    const auto exponentials = [&]<int kN, int kM>(bool& exact) {
      return masked ? ThinExponentials<kN, kM, true>(s, params_.scale_log2, reference, exact)
                    : ThinExponentials<kN, kM, false>(s, params_.scale_log2, reference, exact);
    };
    bool exact;
    float2 sum;
    switch (params_.thin.m == 4 ? 0 : params_.thin.n) {
      case 0:
        sum = exponentials.template operator()<3, 4>(exact);
        break;
      case 1:
        sum = exponentials.template operator()<1, 8>(exact);
        break;
      case 2:
        sum = exponentials.template operator()<2, 8>(exact);
        break;
      case 3:
        sum = exponentials.template operator()<3, 8>(exact);
        break;
      case 4:
        sum = exponentials.template operator()<4, 8>(exact);
        break;
      case 5:
        sum = exponentials.template operator()<5, 8>(exact);
        break;
      case 6:
        sum = exponentials.template operator()<6, 8>(exact);
        break;
      default:
        sum = exponentials.template operator()<7, 8>(exact);
        break;
    }
    // False for NaN too.
    const bool in_range = sum.x <= Traits::kRescueSum && sum.y <= Traits::kRescueSum;
    if (!__all_sync(0xffffffffu, exact && in_range)) return false;
    state.sum[0] += sum.x;
    state.sum[1] += sum.y;
    return true;
  }

  /// Of any scores.
  __device__ void ThinSlowly(float (&s)[Traits::kScores], float (&o)[Traits::kOutputs],
                             RowState& state, bool held) const {
    // One row after the other: what both hold would not fit the registers.
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const uint32_t bits = held ? HeldBits(r) : 0;
      ThinExactly(s, r, params_.thin.n, params_.thin.m, bits);
    }
    ScaleRows(o, Rebase(s, params_.scale_log2, state));
  }

  /// As ThinExactly wants them.
  __device__ uint32_t HeldBits(int r) const {
    const RowKeeps<false> keeps(params_, Base::Work(), WarpRow() + LaneRow() + 8 * r);
    const auto first =
        static_cast<int32_t>(tile_ * Traits::kTileKeys + kThinGroup * (ptx::ThreadIndex() & 3));
    uint32_t bits = 0;
    // Unrolled, this takes registers that are not there.
#pragma unroll 2
    for (int i = 0; i < Traits::kScores / 2; ++i) {
      const int32_t key = first + i / kThinGroup * 4 * kThinGroup + i % kThinGroup;
      const bool stays = key < params_.thin.sink_tokens || keeps.Holds(key);
      bits |= static_cast<uint32_t>(stays) << i;
    }
    return bits;
  }

  /// The first of this warp's rows, and the first of this thread's from there.
  __device__ int32_t WarpRow() const {
    return Walk::FirstRow(plan_, work_.slot(), Base::group_) +
           static_cast<int32_t>(ptx::ThreadIndex() % kWarpgroup / 32 * 16);
  }
  __device__ static int32_t LaneRow() { return static_cast<int32_t>(ptx::ThreadIndex() % 32 / 4); }

  /// Whether a row of this warp keeps keys of the tile on top of the selection.
  __device__ bool MeetsHeld() const {
    return HoldsTokens(params_.thin) && WarpKeeps(params_, Base::Work(), WarpRow())
                                            .Meet(tile_ * Traits::kTileKeys, Traits::kTileKeys);
  }

  /// As Consumer's, for rows in the order of the groups.
  __device__ void ClearTail() const {
    const int32_t keys = Base::Work().keys - tile_ * Traits::kTileKeys;
    if (!params_.foreign_tail || keys >= Traits::kTileKeys) return;
    Base::WaitValues();
    const auto thread = static_cast<int32_t>(threadIdx.x % kWarpgroup);
    for (int block = 0; block < Traits::kDimBlocks; ++block) {
      unsigned char* v = plan_.v[values_.slot()] + block * Traits::kKeyBlockBytes;
      for (int32_t at = thread; at < Traits::kTileKeys * 8; at += kWarpgroup) {
        if (ThinGroupKey<Traits::kTileKeys>(at / 8) < keys) continue;
        *reinterpret_cast<uint4*>(v + at * 16) = {0, 0, 0, 0};
      }
    }
    ptx::FenceAsyncProxy();
    ptx::SyncNamed(kTailCleared + Base::group_, kWarpgroup);
  }
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_THIN_CONSUMER_CUH_
