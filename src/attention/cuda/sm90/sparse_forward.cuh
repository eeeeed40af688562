// The N:M forward kernel: the producer of forward.cuh, consumers with the selection and the sparse
// product.
#ifndef TAMIS_ATTENTION_CUDA_SM90_SPARSE_FORWARD_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_SPARSE_FORWARD_CUH_

#include <cuda.h>

#include <cstdint>

#include "attention/cuda/sm90/groups.cuh"
#include "attention/cuda/sm90/launch.cuh"
#include "attention/cuda/sm90/list_load.cuh"
#include "attention/cuda/sm90/list_plan.cuh"
#include "attention/cuda/sm90/load.cuh"
#include "attention/cuda/sm90/shared.cuh"
#include "attention/cuda/sm90/sparse_consumer.cuh"
#include "attention/cuda/sm90/sparse_skip_consumer.cuh"
#include "attention/cuda/sm90/sparse_traits.cuh"
#include "attention/cuda/sm90/start.cuh"

namespace tamis::cuda::sm90 {

template <class Traits>
__global__ void __launch_bounds__(Traits::kThreads, 1)
    SparseForward(const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap k,
                  const __grid_constant__ CUtensorMap v,
                  const __grid_constant__ CUtensorMap v_groups,
                  const __grid_constant__ ForwardParams params) {
  extern __shared__ __align__(1024) unsigned char shared[];
  auto& plan = *reinterpret_cast<SharedPlan<Traits>*>(shared);
  const int32_t group = __shfl_sync(0xffffffffu, static_cast<int32_t>(threadIdx.x) / kWarpgroup, 0);
  if (threadIdx.x == 0) {
    if ((ptx::SharedAddress(shared) & 1023) != 0) __trap();  // the swizzle needs it
    for (const CUtensorMap* map : {&q, &k, &v, &v_groups}) ptx::PrefetchTensorMap(map);
    InitBarriers(plan);
  }
  __syncthreads();
  if (group == 0) {
    ptx::LowerRegisters<Traits::kProducerRegisters>();
    if constexpr (Traits::kLists) {
      if (threadIdx.x / 32 == 1) Planner<Traits>(params, plan).Run();
      if (threadIdx.x < 32 && ptx::ElectLane()) Loader<Traits>(params, q, k, v, plan).Run();
    } else {
      using Rows = GroupRows<Traits>;
      if (threadIdx.x < 32 && Rows::Produces()) {
        Producer<Traits, Rows>(params, q, k, v, plan, Rows(v_groups)).Run();
      }
    }
  } else {
    ptx::RaiseRegisters<Traits::kConsumerRegisters>();
    if constexpr (Traits::kSkips) {
      SparseSkipConsumer<Traits>(params, plan, group - 1).Run();
    } else {
      SparseConsumer<Traits>(params, plan, group - 1).Run();
    }
  }
}

/// Defines the launcher of one instantiation; see launch.cuh.
template <class Traits>
cudaError_t LaunchSparse(const TensorMaps& maps, const ForwardParams& params, int32_t blocks,
                         cudaStream_t stream) {
  return Start<Traits>(SparseForward<Traits>, blocks, stream, maps.q, maps.k, maps.v, maps.v_groups,
                       params);
}

template <class Traits>
constexpr Kernel SparseKernel() {
  return {Traits::kTileRows, Traits::kTileKeys, LaunchSparse<Traits>};
}

/// All kernels of a dtype and head dim without skip-softmax.
template <typename Element, int kHeadDim>
constexpr SparseKernels MakeSparseKernels() {
  using enum Keep;
  return {{SparseKernel<SparseTraits<Element, kHeadDim, kTwoOfFour, false>>(),
           SparseKernel<SparseTraits<Element, kHeadDim, kOneOfTwo, false>>(),
           SparseKernel<SparseTraits<Element, kHeadDim, kOneOfFour, false>>()},
          {SparseKernel<SparseTraits<Element, kHeadDim, kTwoOfFour, true>>(),
           SparseKernel<SparseTraits<Element, kHeadDim, kOneOfTwo, true>>(),
           SparseKernel<SparseTraits<Element, kHeadDim, kOneOfFour, true>>()},
          {SparseKernel<SparseListTraits<Element, kHeadDim, kTwoOfFour>>(),
           SparseKernel<SparseListTraits<Element, kHeadDim, kOneOfTwo>>(),
           SparseKernel<SparseListTraits<Element, kHeadDim, kOneOfFour>>()}};
}

/// Those with.
template <typename Element, int kHeadDim>
constexpr SparseSkipKernels MakeSparseSkipKernels() {
  using enum Keep;
  return {{SparseKernel<SparseSkipTraits<Element, kHeadDim, kTwoOfFour>>(),
           SparseKernel<SparseSkipTraits<Element, kHeadDim, kOneOfTwo>>(),
           SparseKernel<SparseSkipTraits<Element, kHeadDim, kOneOfFour>>()},
          {SparseKernel<SparseListSkipTraits<Element, kHeadDim, kTwoOfFour>>(),
           SparseKernel<SparseListSkipTraits<Element, kHeadDim, kOneOfTwo>>(),
           SparseKernel<SparseListSkipTraits<Element, kHeadDim, kOneOfFour>>()}};
}

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_SPARSE_FORWARD_CUH_
