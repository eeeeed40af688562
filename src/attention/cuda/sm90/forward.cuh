// The Hopper forward kernel: one producer warpgroup, two or three consumers, persistent blocks.
#ifndef TAMIS_ATTENTION_CUDA_SM90_FORWARD_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_FORWARD_CUH_

#include <cuda.h>

#include <cstdint>

#include "attention/cuda/sm90/consumer.cuh"
#include "attention/cuda/sm90/gather_describe.cuh"
#include "attention/cuda/sm90/gather_load.cuh"
#include "attention/cuda/sm90/gather_thin_consumer.cuh"
#include "attention/cuda/sm90/gather_traits.cuh"
#include "attention/cuda/sm90/groups.cuh"
#include "attention/cuda/sm90/launch.cuh"
#include "attention/cuda/sm90/list_load.cuh"
#include "attention/cuda/sm90/list_plan.cuh"
#include "attention/cuda/sm90/list_traits.cuh"
#include "attention/cuda/sm90/load.cuh"
#include "attention/cuda/sm90/shared.cuh"
#include "attention/cuda/sm90/skip_consumer.cuh"
#include "attention/cuda/sm90/skip_traits.cuh"
#include "attention/cuda/sm90/skip_unit_consumer.cuh"
#include "attention/cuda/sm90/skip_unit_traits.cuh"
#include "attention/cuda/sm90/start.cuh"
#include "attention/cuda/sm90/thin_consumer.cuh"
#include "attention/cuda/sm90/thin_skip_consumer.cuh"
#include "attention/cuda/sm90/thin_traits.cuh"
#include "attention/cuda/sm90/traits.cuh"

namespace tamis::cuda::sm90 {

template <class Traits, class Rows>
__global__ void __launch_bounds__(Traits::kThreads, 1)
    Forward(const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap k,
            const __grid_constant__ CUtensorMap v, const __grid_constant__ CUtensorMap o,
            const __grid_constant__ ForwardParams params) {
  extern __shared__ __align__(1024) unsigned char shared[];
  auto& plan = *reinterpret_cast<SharedPlan<Traits>*>(shared);
  const int32_t group = __shfl_sync(0xffffffffu, static_cast<int32_t>(threadIdx.x) / kWarpgroup, 0);
  if (threadIdx.x == 0) {
    if ((ptx::SharedAddress(shared) & 1023) != 0) __trap();  // the swizzle needs it
    ptx::PrefetchTensorMap(&q);
    ptx::PrefetchTensorMap(&k);
    ptx::PrefetchTensorMap(&v);
    InitBarriers(plan);
  }
  __syncthreads();
  if (group == 0) {
    ptx::LowerRegisters<Traits::kProducerRegisters>();
    if constexpr (Traits::kGathers) {
      // A warp on each scheduler.
      if (threadIdx.x / 32 == 0) {
        StepLoader<Traits, Tensor::kKeys>(params, q, k, plan).Run();
      } else if (threadIdx.x / 32 == 1) {
        Planner<Traits>(params, plan).Run();
      } else if (threadIdx.x / 32 == 2) {
        StepLoader<Traits, Tensor::kValues>(params, q, v, plan).Run();
      } else {
        Describer(params, plan.lists).Run();
      }
    } else if constexpr (Traits::kLists) {
      if (threadIdx.x / 32 == 1) Planner<Traits>(params, plan).Run();
      if (threadIdx.x < 32 && ptx::ElectLane()) Loader<Traits>(params, q, k, v, plan).Run();
    } else {
      if (threadIdx.x < 32 && Rows::Produces()) Producer<Traits, Rows>(params, q, k, v, plan).Run();
    }
  } else {
    ptx::RaiseRegisters<Traits::kConsumerRegisters>();
    // Derived again where it is needed: there is no register to keep it in.
    const int32_t derived = ptx::ThreadIndex() / kWarpgroup - 1;
    if constexpr (Traits::kSkips && Traits::kThins != 0) {
      ThinSkipConsumer<Traits>(params, o, plan, Traits::kSkipsUnits ? derived : group - 1).Run();
    } else if constexpr (Traits::kGathers && Traits::kThins != 0) {
      GatherThinConsumer<Traits>(params, o, plan, derived).Run();
    } else if constexpr (Traits::kSkipsUnits) {
      SkipUnitConsumer<Traits>(params, o, plan, derived).Run();
    } else if constexpr (Traits::kSkips) {
      SkipConsumer<Traits>(params, o, plan, group - 1).Run();
    } else if constexpr (Traits::kThinGroups) {
      // Derived again where it is needed: there is no register to keep it in.
      ThinConsumer<Traits>(params, o, plan, ptx::ThreadIndex() / kWarpgroup - 1).Run();
    } else {
      Consumer<Traits>(params, o, plan, group - 1).Run();
    }
  }
}

template <class Traits, class Rows>
cudaError_t Launch(const TensorMaps& maps, const ForwardParams& params, int32_t blocks,
                   cudaStream_t stream) {
  return Start<Traits>(Forward<Traits, Rows>, blocks, stream, maps.q, maps.k, maps.v, maps.o,
                       params);
}

/// Defines the launcher of one instantiation; see launch.cuh. Paged K and V take a kernel of their
/// own, which leaves the other as it is without them.
template <class Traits>
cudaError_t LaunchForward(const TensorMaps& maps, const ForwardParams& params, int32_t blocks,
                          cudaStream_t stream) {
  if constexpr (Traits::kLists) {
    return Launch<Traits, void>(maps, params, blocks, stream);
  } else if constexpr (Traits::kThinGroups) {
    return Launch<Traits, ThinGroupRows<Traits>>(maps, params, blocks, stream);
  } else {
    return params.page_table != nullptr
               ? Launch<Traits, PagedRows<Traits>>(maps, params, blocks, stream)
               : Launch<Traits, ContiguousRows<Traits>>(maps, params, blocks, stream);
  }
}

template <class Traits>
constexpr Kernel ForwardKernel() {
  return {Traits::kTileRows, Traits::kTileKeys, LaunchForward<Traits>};
}

/// The kernels that drop scores before the dense product.
template <typename Element, int kHeadDim>
constexpr ThinKernels MakeThinKernels() {
  return {{ForwardKernel<Traits<Element, kHeadDim, false, kThinsFours>>(),
           ForwardKernel<Traits<Element, kHeadDim, false, kThinsEights>>()},
          {ForwardKernel<ListTraits<Element, kHeadDim, kThinsFours>>(),
           ForwardKernel<ListTraits<Element, kHeadDim, kThinsEights>>()},
          ForwardKernel<ThinGroupTraits<Element, kHeadDim>>()};
}

/// Those with skip-softmax beside it.
template <typename Element, int kHeadDim>
constexpr ThinSkipKernels MakeThinSkipKernels() {
  return {ForwardKernel<SkipTraits<Traits<Element, kHeadDim, false, kThinsAny>>>(),
          ForwardKernel<SkipTraits<ListTraits<Element, kHeadDim, kThinsAny>>>()};
}

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_FORWARD_CUH_
