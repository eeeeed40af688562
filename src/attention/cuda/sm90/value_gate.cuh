// Which tiles of V are worth loading where consumers drop tiles.
#ifndef TAMIS_ATTENTION_CUDA_SM90_VALUE_GATE_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_VALUE_GATE_CUH_

#include <cstdint>

#include "attention/cuda/sm90/shared.cuh"
#include "attention/cuda/sm90/skip_traits.cuh"

namespace tamis::cuda::sm90 {

/// For the producer. V of a tile that every warpgroup drops is not loaded, where such tiles have
/// been met lately: only then is it worth waiting for the votes, which makes V late for a tile that
/// is kept.
template <class Traits>
class ValueGate {
 public:
  __device__ explicit ValueGate(SharedPlan<Traits>& plan) : plan_(plan) {}

  /// Of tile `tile` of those that this block has met, whose stage of V is free. Waits where it
  /// must.
  __device__ bool Wanted(uint32_t tile) {
    // Every warp has voted on the tile that used the stage of V before.
    if (tile >= Traits::kValueStages) {
      const auto& ballot = plan_.skip.ballots[(tile - Traits::kValueStages) % kBallots];
      const int32_t patience = plan_.skip.patience;
      plan_.skip.patience = AnyKept(ballot) ? max(patience - 1, 0) : kPatience;
    }
    auto& ballot = plan_.skip.ballots[tile % kBallots];
    const uint32_t phase = tile / kBallots & 1;
    if (plan_.skip.patience == 0) return true;
    for (;;) {
      bool all = true;
      for (int g = 0; g < Traits::kConsumers; ++g) {
        if (!ptx::HasCompleted(ptx::SharedAddress(&ballot.cast[g]), phase)) {
          all = false;
        } else if (Votes(ballot, g) != 0) {
          return true;
        }
      }
      if (all) return false;
    }
  }

 private:
  using Ballot = typename Traits::SkipState::Ballot;
  static constexpr uint32_t kBallots = Traits::SkipState::kBallots;
  static constexpr int32_t kPatience = 16;

  __device__ static uint32_t Votes(const Ballot& ballot, int group) {
    return *const_cast<const volatile uint32_t*>(&ballot.votes[group]);
  }
  __device__ static bool AnyKept(const Ballot& ballot) {
    uint32_t votes = 0;
    for (int g = 0; g < Traits::kConsumers; ++g) votes |= Votes(ballot, g);
    return votes != 0;
  }

  SharedPlan<Traits>& plan_;
};

/// For a kernel that drops nothing.
struct OpenGate {
  template <class Plan>
  __device__ explicit OpenGate(Plan&) {}
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_VALUE_GATE_CUH_
