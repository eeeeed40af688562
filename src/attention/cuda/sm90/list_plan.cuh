// The planner: one warp that reads bitmap rows ahead of the loader.
//
// The loads behind a tile of lists depend on each other (counter, order, bitmap row), so a warp of
// its own takes their latency. It knows how many keys a tile visits before anybody waits for it,
// and writes the tiles that visit none itself: they cost no step.
#ifndef TAMIS_ATTENTION_CUDA_SM90_LIST_PLAN_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_LIST_PLAN_CUH_

#include <cuda_runtime.h>

#include <cstdint>

#include "attention/cuda/sm90/gather_plan.cuh"
#include "attention/cuda/sm90/list_work.cuh"
#include "attention/cuda/sm90/shared.cuh"
#include "attention/cuda/sm90/traits.cuh"

namespace tamis::cuda::sm90 {

template <class Traits>
class Planner {
  using ListState = typename Traits::ListState;

 public:
  __device__ Planner(const ForwardParams& params, SharedPlan<Traits>& plan)
      : params_(params), lists_(params.lists), shared_(plan.lists) {}

  /// By a whole warp.
  __device__ void Run() {
    // The order and the counter; everybody else waits for the planner.
    ptx::WaitForLaunchedBefore();
    const auto blocks = static_cast<int32_t>(gridDim.x);
    for (auto index = static_cast<int32_t>(blockIdx.x); index < params_.tiles;) {
      // Asked for before the tile at hand is read, used after.
      int32_t next = 0;
      if (Lane() == 0) next = atomicAdd(params_.next_tile, 1);
      PlanTile(lists_.order[index]);
      index = blocks + __shfl_sync(0xffffffffu, next, 0);
    }
    PlannedTile end{};
    end.work.sequence = -1;
    Publish(end);
  }

 private:
  static constexpr int kWords = 32;  ///< of a bitmap row that the warp holds at a time

  __device__ static int32_t Lane() { return static_cast<int32_t>(threadIdx.x & 31); }

  __device__ void PlanTile(int32_t tile) {
    PlannedTile planned;
    TileWork& work = planned.work;
    ListExtent& extent = planned.extent;
    const ListTile found = FindTile(params_, tile);
    const bool next_head = lists_.second == ListParams::Second::kNextHead;
    extent.group_rows = next_head ? 0 : kGroupRows;
    extent.group_heads = next_head ? 1 : 0;
    work.q_head = found.q_head;
    work.first_query = found.block * lists_.query_block;
    OpenSequence(params_, found.sequence, work);
    work.query_row += work.first_query;
    extent.rows[0] = work.queries - work.first_query;
    extent.rows[1] =
        next_head ? (found.second_head ? extent.rows[0] : 0) : extent.rows[0] - kGroupRows;
    if (extent.rows[0] <= 0) return;
    planned.key_row = params_.key_offsets != nullptr ? params_.key_offsets[found.sequence] : 0;
    planned.bits[0] = lists_.bitmap + found.row * lists_.row_words;
    const bool second_row = lists_.second == ListParams::Second::kNextRow && extent.rows[1] > 0;
    planned.bits[1] = second_row ? planned.bits[0] + lists_.row_words : nullptr;
    int32_t gathered_tiles = 0;
    if constexpr (Traits::kGathers) {
      WaitForSlot();  // its rows lie there
      gathered_tiles = PlanRows<ListState>(params_, found.row, ring_.slot(),
                                           shared_.rows[ring_.slot()], planned);
    }
    Count(min(work.first_query + extent.group_rows + kGroupRows, work.queries) - 1, planned);
    extent.steps += gathered_tiles;
    if (planned.blocks + gathered_tiles != 0) {
      Publish(planned);
      return;
    }
    for (int g = 0; g < 2; ++g) {
      WriteNothing(work, work.q_head + g * extent.group_heads,
                   work.query_row + g * extent.group_rows, min(extent.rows[g], kGroupRows));
    }
  }

  /// Bits of word `word` of blocks up to `last`.
  __device__ static uint32_t UpTo(int32_t word, int32_t last) {
    const int32_t bits = last + 1 - 32 * word;
    return bits <= 0 ? 0 : bits >= 32 ? ~0u : (1u << bits) - 1;
  }

  /// How many blocks are visible up to the row of `last_query`, and in how many steps.
  __device__ void Count(int32_t last_query, PlannedTile& planned) const {
    TileWork& work = planned.work;
    ListExtent& extent = planned.extent;
    const int32_t last_key = LastKey(params_, work, last_query);
    const int32_t unit_shift = lists_.key_block == kUnitKeys ? 0 : 1;
    planned.last_unit = last_key < 0 ? -1 : last_key / kUnitKeys;
    const int32_t last = planned.last_unit < 0 ? -1 : planned.last_unit >> unit_shift;
    // Units that every row of a warpgroup sees whole.
    int32_t full[2];
    for (int g = 0; g < 2; ++g) {
      const int32_t first = LastKey(params_, work, work.first_query + g * extent.group_rows);
      full[g] = (max(first, -1) + 1) / kUnitKeys - 1;
    }
    int32_t blocks = 0, whole[2] = {0, 0};
    for (int32_t word = Lane(); word <= last / 32 && last >= 0; word += kWords) {
      uint32_t bits = planned.bits[0][word];
      if (planned.bits[1] != nullptr) bits |= planned.bits[1][word];
      bits &= UpTo(word, last);
      blocks += __popc(bits);
      for (int g = 0; g < 2; ++g) {
        whole[g] += __popc(bits & UpTo(word, ((full[g] + 1) >> unit_shift) - 1));
      }
    }
    planned.blocks = __reduce_add_sync(0xffffffffu, blocks);
    // Blocks of 64 keys share a tile by twos; an odd one goes first, alone.
    const bool pairs = unit_shift == 0;
    extent.steps = pairs ? (planned.blocks + 1) / 2 : planned.blocks;
    for (int g = 0; g < 2; ++g) {
      const int32_t seen_whole = __reduce_add_sync(0xffffffffu, whole[g]);
      // Where the warpgroups walk the union of two rows, either may lack any block.
      extent.masked[g] = lists_.second == ListParams::Second::kNextRow
                             ? extent.steps
                             : extent.steps - (pairs ? seen_whole / 2 : seen_whole);
    }
  }

  __device__ void WaitForSlot() const {
    ptx::Wait(ptx::SharedAddress(&shared_.planned_empty[ring_.slot()]), ring_.phase() ^ 1);
  }

  __device__ void Publish(const PlannedTile& planned) {
    WaitForSlot();
    if (Lane() == 0) {
      shared_.planned[ring_.slot()] = planned;
      ptx::Arrive(ptx::SharedAddress(&shared_.planned_full[ring_.slot()]));
    }
    ring_.Advance();
  }

  /// Zeros and -inf for a warpgroup's rows, which visit no key.
  __device__ void WriteNothing(const TileWork& work, int32_t head, int32_t row,
                               int32_t rows) const {
    const int64_t batch = params_.query_offsets != nullptr ? 0 : work.sequence;
    auto* o = static_cast<uint16_t*>(params_.o) + batch * params_.o_stride.batch +
              row * params_.o_stride.row + head * params_.o_stride.head;
    constexpr int kRowLanes = Traits::kHeadDim / 8;  // of 16 bytes
    const int32_t column = Lane() % kRowLanes * 8;
    // Unrolled, these loops take registers that kernels that gather do not have.
#pragma unroll(Traits::kGathers ? 1 : 4)
    for (int32_t i = Lane() / kRowLanes; i < rows; i += 32 / kRowLanes) {
      if (column < params_.value_dim) {
        *reinterpret_cast<uint4*>(o + i * params_.o_stride.row + column) = {0, 0, 0, 0};
      }
    }
    if (params_.lse == nullptr) return;
    float* lse = params_.lse + batch * params_.lse_stride.batch + row * params_.lse_stride.row +
                 head * params_.lse_stride.head;
#pragma unroll(Traits::kGathers ? 1 : 4)
    for (int32_t i = Lane(); i < rows; i += 32) lse[i * params_.lse_stride.row] = -INFINITY;
  }

  const ForwardParams& params_;
  const ListParams& lists_;
  ListState& shared_;
  Ring<ListState::kPlanned> ring_;
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_LIST_PLAN_CUH_
