// The loader: one thread that keeps the copy engine ahead of the consumers, along the lists that
// the planner has found.
#ifndef TAMIS_ATTENTION_CUDA_SM90_LIST_LOAD_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_LIST_LOAD_CUH_

#include <cstdint>

#include "attention/cuda/ptx/tma.cuh"
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
      : params_(params), q_(q), k_(k), v_(v), plan_(plan) {}

  __device__ void Run() {
    Boxes behind;
    bool any = false;
    for (;;) {
      PlannedTile planned = NextPlanned();
      if (planned.work.sequence < 0) {
        if (any) LoadValues(behind);
        ptx::Arrive(NextQuery(planned));
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
        if (step == 0) LoadQueries(planned, keys);
        if (any) LoadValues(behind);
        behind = boxes;
        any = true;
      }
    }
  }

 private:
  static constexpr uint32_t kUnitBytes = kUnitKeys * ptx::kSwizzleRowBytes;

  /// Where in the tensors one step's keys lie.
  struct Boxes {
    int32_t row[kUnits];
    int32_t head, batch;
  };

  __device__ PlannedTile NextPlanned() {
    const uint32_t slot = planned_.slot();
    ptx::Wait(ptx::SharedAddress(&plan_.lists.planned_full[slot]), planned_.phase());
    const PlannedTile planned = plan_.lists.planned[slot];
    ptx::Arrive(ptx::SharedAddress(&plan_.lists.planned_empty[slot]));
    planned_.Advance();
    return planned;
  }

  __device__ void LoadQueries(PlannedTile& planned, const UnitKeys& first) {
    const TileWork& work = planned.work;
    for (int u = 0; u < kUnits; ++u) planned.extent.first_keys[u] = first.first[u];
    const uint32_t slot = queries_.slot();
    const uint32_t full = NextQuery(planned);
    ptx::ArriveExpectBytes(full, Traits::kQueryBytes);
    for (int g = 0; g < Traits::kConsumers; ++g) {
      for (int i = 0; i < Traits::kDimBlocks; ++i) {
        ptx::CopyBox(ptx::SharedAddress(plan_.q[slot]) + i * Traits::kQueryBlockBytes +
                         g * kGroupRows * ptx::kSwizzleRowBytes,
                     &q_, full, i * kBlockDim, work.query_row + g * planned.extent.group_rows,
                     work.q_head + g * planned.extent.group_heads,
                     params_.query_offsets != nullptr ? 0 : work.sequence);
      }
    }
  }

  /// Waits for a free stage of Q and leaves the work there; returns the barrier to complete.
  __device__ uint32_t NextQuery(const PlannedTile& planned) {
    const uint32_t slot = queries_.slot();
    ptx::Wait(ptx::SharedAddress(&plan_.query_empty[slot]), queries_.phase() ^ 1);
    plan_.work[work_.slot()] = planned.work;
    plan_.lists.extents[work_.slot()] = planned.extent;
    work_.Advance();
    queries_.Advance();
    return ptx::SharedAddress(&plan_.query_full[slot]);
  }

  __device__ void LoadKeys(const Boxes& boxes, const UnitKeys& keys) {
    const uint32_t slot = keys_.slot();
    ptx::Wait(ptx::SharedAddress(&plan_.key_empty[slot]), keys_.phase() ^ 1);
    plan_.lists.keys[slot] = keys;
    Load(k_, plan_.k[slot], &plan_.key_full[slot], boxes);
    keys_.Advance();
  }

  __device__ void LoadValues(const Boxes& boxes) {
    const uint32_t slot = values_.slot();
    ptx::Wait(ptx::SharedAddress(&plan_.value_empty[slot]), values_.phase() ^ 1);
    Load(v_, plan_.v[slot], &plan_.value_full[slot], boxes);
    values_.Advance();
  }

  __device__ static void Load(const CUtensorMap& map, const unsigned char* target, uint64_t* full,
                              const Boxes& boxes) {
    const uint32_t barrier = ptx::SharedAddress(full);
    ptx::ArriveExpectBytes(barrier, Traits::kKeyBytes);
    for (int i = 0; i < Traits::kDimBlocks; ++i) {
      for (int u = 0; u < kUnits; ++u) {
        ptx::CopyBox(ptx::SharedAddress(target) + i * Traits::kKeyBlockBytes + u * kUnitBytes, &map,
                     barrier, i * kBlockDim, boxes.row[u], boxes.head, boxes.batch);
      }
    }
  }

  const ForwardParams& params_;
  const CUtensorMap& q_;
  const CUtensorMap& k_;
  const CUtensorMap& v_;
  SharedPlan<Traits>& plan_;
  Ring<Traits::ListState::kPlanned> planned_;
  Ring<Traits::kQueryStages> queries_;
  Ring<Traits::kWorkStages> work_;
  Ring<Traits::kKeyStages> keys_;
  Ring<Traits::kValueStages> values_;
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_LIST_LOAD_CUH_
