// The producer: one thread that keeps the copy engine ahead of the consumers.
#ifndef TAMIS_ATTENTION_CUDA_SM90_LOAD_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_LOAD_CUH_

#include <cstdint>

#include "attention/cuda/ptx/tma.cuh"
#include "attention/cuda/sm90/scheduler.cuh"
#include "attention/cuda/sm90/shared.cuh"
#include "attention/cuda/sm90/traits.cuh"

namespace tamis::cuda::sm90 {

/// Loads Q, K and V of every tile of this block in the order in which the consumers use them: K
/// runs one step ahead of V.
template <class Traits>
class Producer {
 public:
  __device__ Producer(const ForwardParams& params, const CUtensorMap& q, const CUtensorMap& k,
                      const CUtensorMap& v, SharedPlan<Traits>& plan)
      : params_(params), q_(q), k_(k), v_(v), plan_(plan) {}

  __device__ void Run() {
    Scheduler scheduler(params_);
    TileWork work;
    for (; scheduler.Get(Traits::kTileRows, work); scheduler.Advance()) {
      if (work.first_query < work.queries) LoadTile(work);
    }
    work.sequence = -1;
    const uint32_t full = NextQuery(work);
    ptx::Arrive(full);
  }

 private:
  __device__ void LoadTile(const TileWork& work) {
    kv_head_ = work.q_head / params_.group;
    batch_ = params_.key_offsets != nullptr ? 0 : work.sequence;
    row_ = params_.key_offsets != nullptr ? params_.key_offsets[work.sequence] : 0;
    const int32_t first =
        FirstKeyTile(params_, work, work.first_query + Traits::kTileRows, Traits::kTileKeys);
    LoadKeys(first);
    const uint32_t slot = queries_.slot();
    const uint32_t full = NextQuery(work);
    ptx::ArriveExpectBytes(full, Traits::kQueryBytes);
    for (int i = 0; i < Traits::kDimBlocks; ++i) {
      ptx::CopyBox(ptx::SharedAddress(plan_.q[slot]) + i * Traits::kQueryBlockBytes, &q_, full,
                   i * kBlockDim, work.query_row, work.q_head,
                   params_.query_offsets != nullptr ? 0 : work.sequence);
    }
#pragma unroll 1
    for (int32_t tile = first; tile > 0; --tile) {
      LoadKeys(tile - 1);
      LoadValues(tile);
    }
    LoadValues(0);
  }

  /// Waits for a free stage of Q and leaves the work there; returns the barrier to complete.
  __device__ uint32_t NextQuery(const TileWork& work) {
    const uint32_t slot = queries_.slot();
    ptx::Wait(ptx::SharedAddress(&plan_.query_empty[slot]), queries_.phase() ^ 1);
    plan_.work[work_.slot()] = work;
    work_.Advance();
    queries_.Advance();
    return ptx::SharedAddress(&plan_.query_full[slot]);
  }

  __device__ void LoadKeys(int32_t tile) {
    Load(k_, plan_.k[keys_.slot()], &plan_.key_full[keys_.slot()], &plan_.key_empty[keys_.slot()],
         keys_.phase(), tile);
    keys_.Advance();
  }

  __device__ void LoadValues(int32_t tile) {
    Load(v_, plan_.v[values_.slot()], &plan_.value_full[values_.slot()],
         &plan_.value_empty[values_.slot()], values_.phase(), tile);
    values_.Advance();
  }

  __device__ void Load(const CUtensorMap& map, const unsigned char* target, uint64_t* full,
                       uint64_t* empty, uint32_t phase, int32_t tile) {
    ptx::Wait(ptx::SharedAddress(empty), phase ^ 1);
    const uint32_t barrier = ptx::SharedAddress(full);
    ptx::ArriveExpectBytes(barrier, Traits::kKeyBytes);
    for (int i = 0; i < Traits::kDimBlocks; ++i) {
      ptx::CopyBox(ptx::SharedAddress(target) + i * Traits::kKeyBlockBytes, &map, barrier,
                   i * kBlockDim, row_ + tile * Traits::kTileKeys, kv_head_, batch_);
    }
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
  int32_t kv_head_ = 0, batch_ = 0, row_ = 0;  // of K and V of the tile at hand
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_LOAD_CUH_
