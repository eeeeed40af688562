// Hands tiles of lists to the consumers, each with its Q.
#ifndef TAMIS_ATTENTION_CUDA_SM90_LIST_QUERIES_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_LIST_QUERIES_CUH_

#include <cstdint>

#include "attention/cuda/ptx/tma.cuh"
#include "attention/cuda/sm90/list_work.cuh"
#include "attention/cuda/sm90/shared.cuh"
#include "attention/cuda/sm90/skip_traits.cuh"
#include "attention/cuda/sm90/traits.cuh"

namespace tamis::cuda::sm90 {

/// Used by one thread.
template <class Traits>
class QueryLoader {
 public:
  __device__ QueryLoader(const ForwardParams& params, const CUtensorMap& q,
                         SharedPlan<Traits>& plan)
      : params_(params), q_(q), plan_(plan) {}

  /// A tile of work whose first keys are `first_keys`.
  __device__ void Load(PlannedTile planned, const int32_t (&first_keys)[kUnits]) {
    const TileWork& work = planned.work;
    for (int u = 0; u < kUnits; ++u) planned.extent.first_keys[u] = first_keys[u];
    const uint32_t slot = queries_.slot();
    const uint32_t full = Next(planned);
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

  /// The end of the work, without Q.
  __device__ void End(const PlannedTile& end) { ptx::Arrive(Next(end)); }

 private:
  /// Waits for a free stage of Q and leaves the work there; returns the barrier to complete.
  __device__ uint32_t Next(const PlannedTile& planned) {
    const uint32_t slot = queries_.slot();
    ptx::Wait(ptx::SharedAddress(&plan_.query_empty[slot]), queries_.phase() ^ 1);
    if constexpr (Traits::kSkips) {
      if (planned.work.sequence >= 0) {
        OpenSkips(params_, planned.work.sequence, work_.slot(), plan_);
      }
    }
    plan_.work[work_.slot()] = planned.work;
    plan_.lists.extents[work_.slot()] = planned.extent;
    work_.Advance();
    queries_.Advance();
    return ptx::SharedAddress(&plan_.query_full[slot]);
  }

  const ForwardParams& params_;
  const CUtensorMap& q_;
  SharedPlan<Traits>& plan_;
  Ring<Traits::kQueryStages> queries_;
  Ring<Traits::kWorkStages> work_;
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_LIST_QUERIES_CUH_
