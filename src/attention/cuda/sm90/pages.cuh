// Where the rows of a tile of K or V lie, and the copies that bring them.
#ifndef TAMIS_ATTENTION_CUDA_SM90_PAGES_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_PAGES_CUH_

#include <cstdint>

#include "attention/cuda/ptx/barrier.cuh"
#include "attention/cuda/ptx/registers.cuh"
#include "attention/cuda/ptx/tma.cuh"
#include "attention/cuda/sm90/traits.cuh"
#include "attention/cuda/sm90/work.cuh"

namespace tamis::cuda::sm90 {

/// Rows that follow each other in the tensors. One thread copies a tile, a block of columns at a
/// time.
template <class Traits>
class ContiguousRows {
 public:
  /// True in the threads that produce.
  __device__ static bool Produces() { return ptx::ElectLane(); }
  /// True in the thread that speaks to barriers and schedulers.
  __device__ static bool Leads() { return true; }
  __device__ static void Converge() {}

  __device__ void Open(const ForwardParams& params, const TileWork& work) {
    head_ = work.q_head / params.group;
    batch_ = params.key_offsets != nullptr ? 0 : work.sequence;
    row_ = params.key_offsets != nullptr ? params.key_offsets[work.sequence] : 0;
  }

  using Place = int32_t;  ///< the first row

  /// Finds the rows of a tile ahead of the copies of its K and V.
  __device__ Place Locate(int32_t tile) const { return row_ + tile * Traits::kTileKeys; }

  template <bool kValues>
  __device__ void Copy(const CUtensorMap& map, uint32_t target, uint32_t barrier, Place row) const {
    ptx::ArriveExpectBytes(barrier, Traits::kKeyBytes);
    for (int i = 0; i < Traits::kDimBlocks; ++i) {
      ptx::CopyBox(target + i * Traits::kKeyBlockBytes, &map, barrier, i * kBlockDim, row, head_,
                   batch_);
    }
  }

 private:
  int32_t head_ = 0, batch_ = 0, row_ = 0;
};

/// Rows in pages. A warp finds the pages of a tile, a lane each box, and one thread copies them.
/// Written for few instructions: the consumers on the warp's scheduler wait for every one.
template <class Traits>
class PagedRows {
 public:
  __device__ static bool Produces() { return true; }
  /// The same thread every time.
  __device__ static bool Leads() { return ptx::ElectLane(); }
  __device__ static void Converge() { __syncwarp(); }

  __device__ void Open(const ForwardParams& params, const TileWork& work) {
    params_ = &params;
    table_ = params.page_table + work.sequence * params.table_stride;
    head_ = work.q_head / params.group;
    keys_ = work.keys;
  }

  struct Place {
    int32_t tile;
    int32_t page;  ///< of the tile's box `lane`
  };

  /// Reads the page table: done before the wait for a free stage, which hides it. Past the last key
  /// the table may hold anything.
  __device__ Place Locate(int32_t tile) const {
    const int32_t key =
        tile * Traits::kTileKeys + static_cast<int32_t>(threadIdx.x & 31) * params_->box_rows;
    return {tile, key < keys_ ? table_[PageOf(key)] : 0};
  }

  template <bool kValues>
  __device__ void Copy(const CUtensorMap& map, uint32_t target, uint32_t barrier,
                       const Place& place) const {
    const int32_t rows = params_->box_rows;
    const int32_t first = place.tile * Traits::kTileKeys;
    const int32_t count = min(keys_ - first, Traits::kTileKeys);
    uint32_t bytes = Traits::kKeyBytes;
    if (count < Traits::kTileKeys) {
      bytes = (count + rows - 1) / rows * rows * Traits::kDimBlocks * ptx::kSwizzleRowBytes;
    }
    if (Leads()) ptx::ArriveExpectBytes(barrier, bytes);
    int32_t slot = first - PageOf(first) * params_->page_size;
#pragma unroll 1
    for (int32_t row = 0, box = 0; row < count; row += rows, ++box) {
      const int32_t page = __shfl_sync(0xffffffffu, place.page, box);
      if (Leads()) {
        for (int block = 0; block < Traits::kDimBlocks; ++block) {
          ptx::CopyBox(target + block * Traits::kKeyBlockBytes + row * ptx::kSwizzleRowBytes, &map,
                       barrier, block * kBlockDim, slot, head_, page);
        }
      }
      slot += rows;
      if (slot == params_->page_size) slot = 0;
    }
  }

 private:
  __device__ int32_t PageOf(int32_t key) const {
    return static_cast<int32_t>(__umulhi(static_cast<uint32_t>(key), params_->page_multiplier) >>
                                params_->page_shift);
  }

  const ForwardParams* params_ = nullptr;
  const int32_t* table_ = nullptr;
  int32_t head_ = 0, keys_ = 0;
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_PAGES_CUH_
