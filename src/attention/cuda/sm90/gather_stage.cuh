// The ring of stages of K or of V, filled by one warp: with boxes of the copy engine or with single
// rows.
#ifndef TAMIS_ATTENTION_CUDA_SM90_GATHER_STAGE_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_GATHER_STAGE_CUH_

#include <cstdint>

#include "attention/cuda/ptx/copy.cuh"
#include "attention/cuda/sm90/gather_work.cuh"
#include "attention/cuda/sm90/list_boxes.cuh"
#include "attention/cuda/sm90/shared.cuh"
#include "attention/cuda/sm90/traits.cuh"

namespace tamis::cuda::sm90 {

/// Where the rows of one sequence and head lie, for the lane's part of each.
struct RowSource {
  const char* first;   ///< of the sequence's first key
  uint32_t row_bytes;  ///< from one key to the next
  uint32_t bytes[2];   ///< to copy of each block of columns; 0 past the tensor's head dim
};

template <class Traits, int kStages>
class StageRing {
 public:
  __device__ StageRing(const CUtensorMap& map, const unsigned char* stages, const uint64_t* full,
                       const uint64_t* empty)
      : map_(map),
        stages_(ptx::SharedAddress(stages)),
        full_(ptx::SharedAddress(full)),
        empty_(ptx::SharedAddress(empty)) {}

  __device__ uint32_t slot() const { return ring_.slot(); }

  /// Waits for a phase of any barrier. What is under way is announced before rather than after a
  /// wait: somebody may need it to go on.
  __device__ void Await(uint32_t barrier, uint32_t parity) {
    if (pending_ != 0 && !__all_sync(0xffffffffu, ptx::HasCompleted(barrier, parity))) Flush();
    ptx::Wait(barrier, parity);
    __syncwarp();  // a wait may end at different times in different lanes
  }

  /// Waits until the next stage is free.
  __device__ void Acquire() { Await(Barrier(empty_), ring_.phase() ^ 1); }

  __device__ void CopyBoxes(const Boxes& boxes) {
    if (Leads()) {
      LoadBoxes<Traits>(map_, stages_ + slot() * Traits::kKeyBytes, Barrier(full_), boxes);
    } else {
      ptx::Arrive(Barrier(full_));
    }
    ring_.Advance();
    Flush();
  }

  /// Copies the rows of the keys in `list`, eight lanes a row: each lane 16 bytes of every block of
  /// columns, from one address.
  __device__ void CopyRows(const RowSource& source, const int32_t (&list)[kGatheredKeys]) {
    constexpr int kPeriod = ptx::kSwizzlePeriodBytes / ptx::kSwizzleRowBytes;
    constexpr int kRows = kGatheredKeys / (32 / kRowLanes);  // of a group of lanes, one by one
    const uint32_t lane = threadIdx.x & 31;
    const uint32_t first = lane / kRowLanes * kRows;
    const uint32_t column = lane % kRowLanes * kUnitBytes;
    uint32_t targets[kPeriod];
#pragma unroll
    for (int j = 0; j < kPeriod; ++j) {
      targets[j] = stages_ + slot() * Traits::kKeyBytes + (first + j) * ptx::kSwizzleRowBytes +
                   (column ^ j * kUnitBytes);
    }
    const auto* keys = reinterpret_cast<const int4*>(list + first);
    // Unrolled: a warp alone pays for every instruction with its whole latency.
#pragma unroll
    for (int i = 0; i < kRows / kPeriod; ++i) {
      const int4 key[2] = {keys[2 * i], keys[2 * i + 1]};
      const int32_t row[kPeriod] = {key[0].x, key[0].y, key[0].z, key[0].w,
                                    key[1].x, key[1].y, key[1].z, key[1].w};
#pragma unroll
      for (int j = 0; j < kPeriod; ++j) {
        const char* unit =
            source.first + uint64_t{static_cast<uint32_t>(row[j])} * source.row_bytes;
#pragma unroll
        for (int block = 0; block < Traits::kDimBlocks; ++block) {
          ptx::CopyUnit(targets[j] + block * Traits::kKeyBlockBytes + i * ptx::kSwizzlePeriodBytes,
                        unit + block * ptx::kSwizzleRowBytes, source.bytes[block]);
        }
      }
    }
    ptx::CommitCopies();
    const uint32_t before = pending_;
    pending_ = Barrier(full_);
    ring_.Advance();
    if (before != 0) {
      ptx::WaitCopies<1>();
      Announce(before);
    }
  }

  /// Announces the rows that are under way when they have landed.
  __device__ void Flush() {
    if (pending_ == 0) return;
    ptx::WaitCopies<0>();
    Announce(pending_);
    pending_ = 0;
  }

  /// The lane's share of the rows of a head of `dim` columns that begins at `base`.
  __device__ static RowSource Source(const void* base, const Strides& stride, int32_t batch,
                                     int32_t head, int32_t row, int32_t dim) {
    constexpr int kUnitElements = kUnitBytes / 2;
    const int32_t column = static_cast<int32_t>(threadIdx.x & 31) % kRowLanes * kUnitElements;
    RowSource source;
    source.first = static_cast<const char*>(base) +
                   2 * (batch * stride.batch + head * stride.head + row * stride.row + column);
    source.row_bytes = static_cast<uint32_t>(2 * stride.row);
    for (int block = 0; block < Traits::kDimBlocks; ++block) {
      source.bytes[block] = column + block * kBlockDim < dim ? kUnitBytes : 0;
    }
    return source;
  }

 private:
  static constexpr uint32_t kUnitBytes = 16;
  static constexpr int kRowLanes = ptx::kSwizzleRowBytes / kUnitBytes;

  __device__ static bool Leads() { return (threadIdx.x & 31) == 0; }
  __device__ uint32_t Barrier(uint32_t ring) const {
    return ring + slot() * static_cast<uint32_t>(sizeof(uint64_t));
  }

  __device__ static void Announce(uint32_t full) {
    ptx::FenceAsyncProxy();  // products will read what threads have written
    ptx::Arrive(full);
  }

  const CUtensorMap& map_;
  const uint32_t stages_, full_, empty_;
  Ring<kStages> ring_;
  uint32_t pending_ = 0;  ///< the barrier of the stage whose rows are under way; 0: none
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_GATHER_STAGE_CUH_
