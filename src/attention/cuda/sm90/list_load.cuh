// The loader: one thread that keeps the copy engine ahead of the consumers, along the lists that
// the planner has found.
#ifndef TAMIS_ATTENTION_CUDA_SM90_LIST_LOAD_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_LIST_LOAD_CUH_

#include <cstdint>
#include <type_traits>

#include "attention/cuda/sm90/list_boxes.cuh"
#include "attention/cuda/sm90/list_queries.cuh"
#include "attention/cuda/sm90/list_steps.cuh"
#include "attention/cuda/sm90/list_work.cuh"
#include "attention/cuda/sm90/shared.cuh"
#include "attention/cuda/sm90/traits.cuh"

namespace tamis::cuda::sm90 {

/// Loads Q, K and V of every tile of this block in the order in which the consumers use them: K
/// runs one step ahead of V, also from one tile of work to the next.
template <class Traits>
class Loader {
 public:
  __device__ Loader(const ForwardParams& params, const CUtensorMap& q, const CUtensorMap& k,
                    const CUtensorMap& v, SharedPlan<Traits>& plan)
      : params_(params), k_(k), v_(v), plan_(plan), queries_(params, q, plan) {}

  __device__ void Run() {
    Boxes behind;
    bool any = false;
    for (;;) {
      const PlannedTile planned = NextPlanned();
      if (planned.work.sequence < 0) {
        if (any) LoadValues(behind);
        queries_.End(planned);
        return;
      }
      Boxes boxes;
      boxes.head = planned.work.q_head / params_.group;
      boxes.batch = params_.key_offsets != nullptr ? 0 : planned.work.sequence;
      StepWalk walk(planned, params_.lists.key_block);
#pragma unroll 1
      for (int32_t step = 0; step < planned.extent.steps; ++step) {
        const UnitKeys keys = walk.Next();
        for (int u = 0; u < kUnits; ++u) boxes.row[u] = planned.key_row + keys.first[u];
        LoadKeys(boxes, keys);
        if (step == 0) queries_.Load(planned, keys.first);
        if (any) LoadValues(behind);
        behind = boxes;
        any = true;
      }
    }
  }

 private:
  __device__ PlannedTile NextPlanned() {
    const uint32_t slot = planned_.slot();
    ptx::Wait(ptx::SharedAddress(&plan_.lists.planned_full[slot]), planned_.phase());
    const PlannedTile planned = plan_.lists.planned[slot];
    ptx::Arrive(ptx::SharedAddress(&plan_.lists.planned_empty[slot]));
    planned_.Advance();
    return planned;
  }

  __device__ void LoadKeys(const Boxes& boxes, const UnitKeys& keys) {
    const uint32_t slot = keys_.slot();
    ptx::Wait(ptx::SharedAddress(&plan_.key_empty[slot]), keys_.phase() ^ 1);
    plan_.lists.keys[slot] = keys;
    LoadBoxes<Traits, Traits::kGroups>(k_, ptx::SharedAddress(plan_.k[slot]),
                                       ptx::SharedAddress(&plan_.key_full[slot]), boxes);
    keys_.Advance();
  }

  __device__ void LoadValues(const Boxes& boxes) {
    const uint32_t slot = values_.slot();
    ptx::Wait(ptx::SharedAddress(&plan_.value_empty[slot]), values_.phase() ^ 1);
    LoadBoxes<Traits>(v_, ptx::SharedAddress(plan_.v[slot]),
                      ptx::SharedAddress(&plan_.value_full[slot]), boxes);
    values_.Advance();
  }

  const ForwardParams& params_;
  const CUtensorMap& k_;
  const CUtensorMap& v_;
  SharedPlan<Traits>& plan_;
  Ring<Traits::ListState::kPlanned> planned_;
  QueryLoader<Traits> queries_;
  Ring<Traits::kKeyStages> keys_;
  Ring<Traits::kValueStages> values_;
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_LIST_LOAD_CUH_
