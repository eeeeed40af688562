// The loaders of kernels that gather: a warp for K and one for V, each along all described tiles.
//
// A gathered tile takes 4096 copies of 16 bytes at head_dim 128, and whatever a warp issues, the
// consumers on its scheduler wait for: two warps sit on two schedulers, and neither ring has to
// wait for the other.
#ifndef TAMIS_ATTENTION_CUDA_SM90_GATHER_LOAD_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_GATHER_LOAD_CUH_

#include <cstdint>

#include "attention/cuda/sm90/gather_describe.cuh"
#include "attention/cuda/sm90/gather_row.cuh"
#include "attention/cuda/sm90/gather_stage.cuh"
#include "attention/cuda/sm90/gather_work.cuh"
#include "attention/cuda/sm90/list_boxes.cuh"
#include "attention/cuda/sm90/list_queries.cuh"
#include "attention/cuda/sm90/shared.cuh"
#include "attention/cuda/sm90/traits.cuh"

namespace tamis::cuda::sm90 {

enum class Tensor : uint8_t { kKeys, kValues };

/// Loads K or V. That of K also hands over Q, with the first K of each tile of work, and what the
/// consumers must hide.
template <class Traits, Tensor kTensor>
class StepLoader {
  using ListState = typename Traits::ListState;
  static constexpr bool kKeys = kTensor == Tensor::kKeys;
  static constexpr int kStages = kKeys ? Traits::kKeyStages : Traits::kValueStages;
  using Stages = StageRing<Traits, kStages>;

 public:
  /// `tensor`: the map of K or V.
  __device__ StepLoader(const ForwardParams& params, const CUtensorMap& q,
                        const CUtensorMap& tensor, SharedPlan<Traits>& plan)
      : params_(params),
        lists_(plan.lists),
        stages_(kKeys ? Stages(tensor, plan.k[0], plan.key_full, plan.key_empty)
                      : Stages(tensor, plan.v[0], plan.value_full, plan.value_empty)),
        queries_(params, q, plan) {}

  /// By a whole warp.
  __device__ void Run() {
    const PlannedTile& end = FollowPlan(
        lists_, [&](uint32_t barrier, uint32_t parity) { stages_.Await(barrier, parity); },
        [&](const PlannedTile& planned, const GatherRow(&)[2]) { Load(planned); });
    stages_.Flush();
    if (kKeys && Leads()) queries_.End(end);
  }

 private:
  __device__ static bool Leads() { return (threadIdx.x & 31) == 0; }

  __device__ void Load(const PlannedTile& planned) {
    Boxes boxes;
    boxes.head = planned.work.q_head / params_.group;
    boxes.batch = params_.key_offsets != nullptr ? 0 : planned.work.sequence;
    const GatherParams& gather = params_.lists.gather;
    const RowSource source = Stages::Source(
        kKeys ? gather.k : gather.v, kKeys ? gather.k_stride : gather.v_stride, boxes.batch,
        boxes.head, planned.key_row, kKeys ? gather.head_dim : params_.value_dim);
    const int32_t steps = planned.extent.steps;
#pragma unroll 1
    for (int32_t i = 0; i < steps; ++i) {
      const uint32_t slot = ring_.slot();
      const GatherStep& step = lists_.steps[slot];
      stages_.Await(ptx::SharedAddress(&lists_.step_full[slot]), ring_.phase());
      stages_.Acquire();
      if constexpr (kKeys) PassOn(planned, step);
      if (step.keys.kind == TileKeys::kBlocks) {
        for (int u = 0; u < kUnits; ++u) boxes.row[u] = planned.key_row + step.keys.first[u];
        stages_.CopyBoxes(boxes);
      } else {
        stages_.CopyRows(source, step.columns);
      }
      if (kKeys && i == 0) {
        stages_.Flush();  // the Q that this waits for may be in use until K has arrived
        if (Leads()) queries_.Load(planned, step.keys.first);
      }
      ptx::Arrive(ptx::SharedAddress(&lists_.step_empty[slot]));
      ring_.Advance();
    }
  }

  /// Leaves what the consumers must know beside the stage: each lane its part, before it says that
  /// K has arrived.
  __device__ void PassOn(const PlannedTile& planned, const GatherStep& step) {
    constexpr int kWords = sizeof(TileKeys) / sizeof(int32_t);
    static_assert(kWords <= 32);
    const auto lane = static_cast<int32_t>(threadIdx.x & 31);
    const uint32_t stage = stages_.slot();
    if (lane < kWords) {
      reinterpret_cast<int32_t*>(&lists_.keys[stage])[lane] =
          reinterpret_cast<const int32_t*>(&step.keys)[lane];
    }
    if (step.keys.kind == TileKeys::kLimited) {
#pragma unroll 1
      for (int32_t row = lane; row < 2 * kGroupRows; row += 32) {
        const int32_t group_row = row % kGroupRows;
        const int32_t query =
            planned.work.first_query + group_row + (row / kGroupRows) * planned.extent.group_rows;
        lists_.limits[stage][row] =
            static_cast<uint8_t>(KeysUpTo(step.columns, LastKey(params_, planned.work, query)));
      }
    }
  }

  const ForwardParams& params_;
  ListState& lists_;
  Stages stages_;
  QueryLoader<Traits> queries_;
  Ring<ListState::kSteps> ring_;
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_GATHER_LOAD_CUH_
