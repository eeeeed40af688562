// The producer: keeps the copy engine ahead of the consumers.
#ifndef TAMIS_ATTENTION_CUDA_SM90_LOAD_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_LOAD_CUH_

#include <cstdint>
#include <type_traits>

#include "attention/cuda/ptx/tma.cuh"
#include "attention/cuda/sm90/pages.cuh"
#include "attention/cuda/sm90/scheduler.cuh"
#include "attention/cuda/sm90/shared.cuh"
#include "attention/cuda/sm90/skip_traits.cuh"
#include "attention/cuda/sm90/traits.cuh"

namespace tamis::cuda::sm90 {

/// Loads Q, K and V of every tile of this block in the order in which the consumers use them: K
/// runs one step ahead of V. `Rows` (see pages.cuh) says how K and V lie and which threads of one
/// warp run this; those stay together.
template <class Traits, class Rows>
class Producer {
 public:
  __device__ Producer(const ForwardParams& params, const CUtensorMap& q, const CUtensorMap& k,
                      const CUtensorMap& v, SharedPlan<Traits>& plan, const Rows& rows = Rows())
      : params_(params), q_(q), k_(k), v_(v), plan_(plan), rows_(rows) {}

  __device__ void Run() {
    Scheduler scheduler(params_);
    for (;;) {
      // In its stage at once, not in registers: a stage of work is free before its Q (kWorkStages).
      TileWork& work = plan_.work[work_.slot()];
      Rows::Converge();  // others may still read work that turned out to have no queries
      if (Rows::Leads() && !scheduler.Get(Traits::kTileRows, work)) work.sequence = -1;
      Rows::Converge();
      if (work.sequence < 0) break;
      if (work.first_query < work.queries) LoadTile(work);
      scheduler.Advance();
    }
    const uint32_t full = NextQuery();
    if (Rows::Leads()) ptx::Arrive(full);
  }

 private:
  using Place = typename Rows::Place;

  __device__ void LoadTile(TileWork& work) {
    if constexpr (Traits::kSkips) {
      if (Rows::Leads()) {
        OpenSkips(params_, work.sequence, work_.slot(), plan_);
      }
    }
    rows_.Open(params_, work);
    if constexpr (Traits::kTokens) plan_.dense[work_.slot()] = rows_.dense();
    int32_t tile;
    [[maybe_unused]] const BandWalk* walk = nullptr;
    if constexpr (Traits::kGeneral) {
      if (Rows::Leads()) {
        plan_.walk[work_.slot()] = WalkBand(params_, work, Traits::kTileRows, Traits::kTileKeys);
      }
      Rows::Converge();
      walk = &plan_.walk[work_.slot()];
      tile = walk->first;
    } else {
      tile = FirstKeyTile(params_, work, work.first_query + Traits::kTileRows, Traits::kTileKeys);
    }
    auto place = rows_.Locate(tile);
    LoadKeys(place);
    const uint32_t slot = queries_.slot();
    const uint32_t full = NextQuery();
    if (Rows::Leads()) {
      ptx::ArriveExpectBytes(full, Traits::kQueryBytes);
      for (int i = 0; i < Traits::kDimBlocks; ++i) {
        ptx::CopyBox(ptx::SharedAddress(plan_.q[slot]) + i * Traits::kQueryBlockBytes, &q_, full,
                     i * kBlockDim, work.query_row, work.q_head,
                     params_.query_offsets != nullptr ? 0 : work.sequence);
      }
    }
#pragma unroll 1
    for (int32_t next = After(walk, tile); next >= 0; next = After(walk, tile)) {
      const auto next_place = rows_.Locate(next);
      LoadKeys(next_place);
      LoadValues(place);
      tile = next;
      place = next_place;
    }
    LoadValues(place);
  }

  __device__ static int32_t After(const BandWalk* walk, int32_t tile) {
    if constexpr (Traits::kGeneral) return walk->After(tile);
    return tile - 1;
  }

  /// Waits for a free stage of Q; returns the barrier that hands it over, with the work at hand.
  __device__ uint32_t NextQuery() {
    const uint32_t slot = queries_.slot();
    ptx::Wait(ptx::SharedAddress(&plan_.query_empty[slot]), queries_.phase() ^ 1);
    work_.Advance();
    queries_.Advance();
    return ptx::SharedAddress(&plan_.query_full[slot]);
  }

  __device__ void LoadKeys(const Place& place) {
    Load<false>(k_, plan_.k[keys_.slot()], &plan_.key_full[keys_.slot()],
                &plan_.key_empty[keys_.slot()], keys_.phase(), place);
    keys_.Advance();
  }

  __device__ void LoadValues(const Place& place) {
    Load<true>(v_, plan_.v[values_.slot()], &plan_.value_full[values_.slot()],
               &plan_.value_empty[values_.slot()], values_.phase(), place);
    values_.Advance();
  }

  template <bool kValues>
  __device__ void Load(const CUtensorMap& map, const unsigned char* target, uint64_t* full,
                       uint64_t* empty, uint32_t phase, const Place& place) {
    ptx::Wait(ptx::SharedAddress(empty), phase ^ 1);
    Rows::Converge();  // a wait may end at different times in different lanes
    rows_.template Copy<kValues>(map, ptx::SharedAddress(target), ptx::SharedAddress(full), place);
  }

  const ForwardParams& params_;
  const CUtensorMap& q_;
  const CUtensorMap& k_;
  const CUtensorMap& v_;
  SharedPlan<Traits>& plan_;
  Ring<Traits::kQueryStages> queries_;
  Ring<Traits::kWorkStages> work_;
  Ring<Traits::kKeyStages> keys_;
  Ring<Traits::kValueStages> values_;
  Rows rows_;  ///< of K and V of the tile at hand
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_LOAD_CUH_
