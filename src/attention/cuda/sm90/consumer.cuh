// A consumer warpgroup: 64 rows of every tile of its block.
//
// The walk of a tile descends from its last visible tile of keys. Step i issues the scores of tile
// i and then the values of the tile before, so that the matrix units work through the softmax in
// between; the same holds across tiles of work: the first scores of the next tile are issued beside
// the last values of this one.
#ifndef TAMIS_ATTENTION_CUDA_SM90_CONSUMER_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_CONSUMER_CUH_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "attention/cuda/sm90/dense_walk.cuh"
#include "attention/cuda/sm90/epilogue.cuh"
#include "attention/cuda/sm90/gather_walk.cuh"
#include "attention/cuda/sm90/list_walk.cuh"
#include "attention/cuda/sm90/mma.cuh"
#include "attention/cuda/sm90/rescue.cuh"
#include "attention/cuda/sm90/scores.cuh"
#include "attention/cuda/sm90/shared.cuh"
#include "attention/cuda/sm90/softmax.cuh"
#include "attention/cuda/sm90/store.cuh"
#include "attention/cuda/sm90/thin.cuh"
#include "attention/cuda/sm90/thin_scores.cuh"
#include "attention/cuda/sm90/traits.cuh"
#include "attention/cuda/sm90/work.cuh"

namespace tamis::cuda::sm90 {

template <class Traits>
class Consumer {
 protected:
  using Walk =
      std::conditional_t<Traits::kGathers, GatherWalk<Traits>,
                         std::conditional_t<Traits::kLists, ListWalk<Traits>, DenseWalk<Traits>>>;

 public:
  __device__ Consumer(const ForwardParams& params, const CUtensorMap& o, SharedPlan<Traits>& plan,
                      int32_t group)
      : params_(params),
        o_(o),
        plan_(plan),
        group_(group),
        base_(ptx::Opaque(ptx::SharedAddress(&plan))) {}

  __device__ void Run() {
    float o[Traits::kOutputs];
    float s[Traits::kScores];
    uint32_t packed[Traits::kPacked];
    RowState state;
    if (!Open()) return;
    if (Traits::kPingPong && group_ + 1 == Traits::kConsumers) PassTurn();  // group 0 begins
    int32_t skipped = SkipKeys();
    WaitKeys();
    TakeTurn();
    IssueScores<Traits>(s, QueryTile(), KeyTile());
    PassTurn();
    ptx::WaitBatches<0>();
    ptx::Pin(s);
    FirstSoftmax(s, state);
    ReleaseKeys();
    SkipValues(skipped);
    ClearTail();
    PackScores<Traits>(s, packed);
    Clear(o);
    for (;;) {
      if constexpr (Traits::kGeneral || Traits::kGathers) {
        while (NextTile()) {
          if (MustMask()) {
            Step<true>(o, s, packed, state);
          } else {
            Step<false>(o, s, packed, state);
          }
        }
      } else {
        for (--tile_; tile_ > full_; --tile_) Step<true>(o, s, packed, state);
        for (; tile_ >= 0; --tile_) Step<false>(o, s, packed, state);
      }
      if constexpr (!Traits::kStoresOutput) Release(Barrier(kQueryEmpty, queries_.slot()));
      const Done done = {work_.slot(), queries_.slot()};
      queries_.Advance();
      work_.Advance();
      if (!Open()) {
        WaitValues();
        TakeTurn();
        IssueValues<Traits>(o, packed, ValueTile());
        PassTurn();
        ptx::WaitBatches<0>();
        ptx::Pin(o);
        Write(done, o, state);
        if constexpr (Traits::kStoresOutput) ptx::WaitStoresRead();  // before the block may end
        return;
      }
      Seam(done, o, s, packed, state);
    }
  }

 protected:
  /// Slots of a tile of work whose output is not written yet.
  struct Done {
    uint32_t work, query;
  };

  /// Waits for the next tile's Q and work; false where there is none. Sets where the walk of this
  /// warpgroup over the tiles of keys begins and where it needs no mask any more.
  __device__ bool Open() {
    ptx::Wait(Barrier(kQueryFull, queries_.slot()), queries_.phase());
    if (Work().sequence < 0) return false;
    if constexpr (Traits::kGeneral) {
      tile_ = plan_.walk[work_.slot()].first;
      FindVisible(Work(), Walk::FirstRow(plan_, work_.slot(), group_));
    } else {
      Walk::Open(params_, plan_, work_.slot(), group_, tile_, full_);
    }
    return true;
  }

  /// One tile of keys: its scores, and the values of the tile before.
  template <bool kMasked>
  __device__ void Step(float (&o)[Traits::kOutputs], float (&s)[Traits::kScores],
                       uint32_t (&packed)[Traits::kPacked], RowState& state) {
    StartStep(o, s, packed);
    FinishStep<kMasked>(o, s, packed, state);
  }

  /// The step after its scores have arrived.
  template <bool kMasked>
  __device__ void FinishStep(float (&o)[Traits::kOutputs], float (&s)[Traits::kScores],
                             uint32_t (&packed)[Traits::kPacked], RowState& state) {
    bool rebased = kMasked;
    float2 factor;
    constexpr bool kEarly = (Traits::kGeneral && kMasked) || Traits::kThins != 0;
    if constexpr (kEarly) FinishValues(o, packed);
    if constexpr (kMasked) {
      Prepare<true>(s);
      factor = Rebase(s, Scale(), state);
    } else {
      Prepare<false>(s);
      const float2 sum = Exponentials(s, Scale(), state.reference);
      // A dropped score of a row that has seen no key yet is -inf against -inf: NaN, not infinite.
      const bool nan = Traits::kThins != 0 && sum.x + sum.y != sum.x + sum.y;
      // Uniform over the warp; the branch also keeps the wait for the values behind the softmax.
      rebased = __any_sync(0xffffffffu, fmaxf(sum.x, sum.y) > Traits::kRescueSum || nan);
      if (rebased) {
        RecomputeScores<Traits>(s, WarpQuery(queries_.slot()),
                                base_ + offsetof(Plan, k) + keys_.slot() * Traits::kKeyBytes);
        Prepare<false>(s);
        factor = Rebase(s, Scale(), state);
        __syncwarp();
      } else {
        state.sum[0] += sum.x;
        state.sum[1] += sum.y;
      }
    }
    ReleaseKeys();
    if constexpr (!kEarly) FinishValues(o, packed);
    if (rebased) ScaleRows(o, factor);
    PackScores<Traits>(s, packed);
  }

  /// The first tile of keys of a new tile of work, beside the last values of `done`, whose output
  /// is written before the next step.
  __device__ void Seam(const Done& done, float (&o)[Traits::kOutputs], float (&s)[Traits::kScores],
                       uint32_t (&packed)[Traits::kPacked], RowState& state) {
    const int32_t skipped = SkipKeys();
    StartStep(o, s, packed);
    const RowState done_state = state;
    constexpr bool kEarly = Traits::kGeneral || Traits::kThins != 0;
    if constexpr (kEarly) FinishValues(o, packed);
    FirstSoftmax(s, state);
    ReleaseKeys();
    if constexpr (!kEarly) FinishValues(o, packed);
    Write(done, o, done_state);
    // Before ClearTail: the only values of this tile may come after the Q that waits for this.
    ReleaseStored(done);
    SkipValues(skipped);
    ClearTail();
    PackScores<Traits>(s, packed);
    Clear(o);
  }

  __device__ void Write(const Done& done, float (&o)[Traits::kOutputs], const RowState& state) {
    const OutputRows target = Walk::Output(plan_, done.work, group_);
    if constexpr (Traits::kStoresOutput) {
      StoreOutput<Traits>(params_, o_, target, o, state, WarpQuery(done.query));
    } else {
      WriteOutput<Traits>(params_, target, o, state);
    }
  }

  /// Gives the producer the stage of Q through which the output of `done` went.
  __device__ void ReleaseStored(const Done& done) const {
    if constexpr (!Traits::kStoresOutput) return;
    ptx::WaitStoresRead();
    Release(Barrier(kQueryEmpty, done.query));
  }

  /// Issues both products of a step and waits for the scores.
  __device__ void StartStep(float (&o)[Traits::kOutputs], float (&s)[Traits::kScores],
                            uint32_t (&packed)[Traits::kPacked]) {
    WaitKeys();
    TakeTurn();
    IssueScores<Traits>(s, QueryTile(), KeyTile());
    WaitValues();
    IssueValues<Traits>(o, packed, ValueTile());
    PassTurn();
    ptx::WaitBatches<1>();
    ptx::Pin(s);
  }

  /// Waits for the values of the tile before. Before general masks and N:M: `packed` is then free,
  /// and those need the registers.
  __device__ void FinishValues(float (&o)[Traits::kOutputs], uint32_t (&packed)[Traits::kPacked]) {
    ptx::WaitBatches<0>();
    ptx::Pin(o);
    ptx::Pin(packed);
    ReleaseValues();
  }

  __device__ void FirstSoftmax(float (&s)[Traits::kScores], RowState& state) {
    Prepare<true>(s);
    state.Reset();
    Rebase(s, Scale(), state);
  }

  /// What is left to bring scores to log2 units after Prepare.
  __device__ float Scale() const {
    if constexpr (Traits::kGeneral) return params_.scores.softmax_scale;
    return params_.scale_log2;
  }

  /// Everything between the product and the softmax.
  template <bool kMasked>
  __device__ void Prepare(float (&s)[Traits::kScores]) const {
    if constexpr (Traits::kGeneral) {
      if (params_.scores.softcap_log2 > 0.0f) CapScores(s, params_.scores);
      if constexpr (kMasked) MaskGeneral(s);
    } else if constexpr (kMasked) {
      Mask(s);
    }
    if constexpr (Traits::kThins != 0) Thin(s);
  }

  /// Drops what neither the selection nor a promise to the rule keeps.
  __device__ void Thin(float (&s)[Traits::kScores]) const {
    if constexpr (Traits::kGathers) {
      if (plan_.lists.keys[keys_.slot()].AreColumns()) return;  // all of them stay
    }
    uint32_t held[(Traits::kScores + 31) / 32] = {};
    const ThinParams& thin = params_.thin;
    if (thin.sink_tokens > 0 || thin.recent_tokens > 0 || thin.dense_diagonal) FindHeld(held);
    ThinScores<Traits::kThins>(s, held, thin.n, thin.m);
  }

  /// Sets the bits of scores that are kept on top of the selection.
  __device__ void FindHeld(uint32_t (&held)[(Traits::kScores + 31) / 32]) const {
    constexpr int kBoxScores = Traits::kScores / Walk::kBoxes;
    const TileWork& work = Work();
    const auto thread = static_cast<int32_t>(threadIdx.x % kWarpgroup);
    const int32_t warp_row = Walk::FirstRow(plan_, work_.slot(), group_) + thread / 32 * 16;
    constexpr int32_t kWarpRows = 16;
    const Interval recent = {work.start + warp_row - params_.thin.recent_tokens + 1,
                             work.start + warp_row + kWarpRows};
    const Interval diagonal =
        params_.thin.dense_diagonal
            ? DiagonalKeys<kOtherBlocks<Traits>>(params_, work, warp_row, warp_row + kWarpRows - 1)
            : Interval{0, 0};
#pragma unroll
    for (int box = 0; box < Walk::kBoxes; ++box) {
      const int32_t first = Walk::UnitKey(plan_, keys_.slot(), tile_, box);
      constexpr int32_t kBoxKeys = Traits::kTileKeys / Walk::kBoxes;
      // The same in all lanes of a warp.
      if (first >= params_.thin.sink_tokens && !diagonal.Meets(first, kBoxKeys) &&
          (params_.thin.recent_tokens == 0 || !recent.Meets(first, kBoxKeys))) {
        continue;
      }
      const int32_t key = first + 2 * (thread & 3);
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const RowKeeps<kOtherBlocks<Traits>> keeps(params_, work,
                                                   warp_row + thread % 32 / 4 + 8 * r);
#pragma unroll
        for (int i = 2 * r; i < kBoxScores; i += (i & 1) == 0 ? 1 : 3) {
          const int32_t column = key + ColumnOf(i);
          const bool stays = column < params_.thin.sink_tokens || keeps.Holds(column);
          const int at = box * kBoxScores + i;
          held[at / 32] |= static_cast<uint32_t>(stays) << (at % 32);
        }
      }
    }
  }

  /// Rare enough to read the work again rather than keep its numbers in registers.
  __device__ void Mask(float (&s)[Traits::kScores]) const {
    const TileWork& work = Work();
    const int32_t row =
        Walk::FirstRow(plan_, work_.slot(), group_) +
        static_cast<int32_t>(threadIdx.x % kWarpgroup / 32 * 16 + threadIdx.x % 32 / 4);
    const int32_t last_key[2] = {LastKey(params_, work, row), LastKey(params_, work, row + 8)};
    Walk::Mask(s, plan_, keys_.slot(), group_, tile_, last_key);
  }

  /// Goes on to the next tile of the walk; false at its end.
  __device__ bool NextTile() {
    if constexpr (Traits::kGeneral) {
      tile_ = plan_.walk[work_.slot()].After(tile_);
    } else {
      --tile_;
    }
    return tile_ >= 0;
  }

  __device__ bool MustMask() const {
    if constexpr (Traits::kGathers) {
      WaitKeys();
      return Walk::MustMask(plan_, keys_.slot(), group_);
    } else if constexpr (Traits::kGeneral) {
      const TileRange& open = plan_.open[group_ * 4 + threadIdx.x % kWarpgroup / 32];
      return tile_ < open.begin || tile_ >= open.end;
    }
    return tile_ > full_;
  }

  /// Finds what the warpgroup's rows, from `row` on, see: for every row in shared memory, for all
  /// together, for each warp, as the tiles that need no mask.
  __device__ void FindVisible(const TileWork& work, int32_t row) {
    const int32_t lane = threadIdx.x & 31;
    const int32_t warp_row = threadIdx.x % kWarpgroup / 32 * 16;
    __syncwarp();  // the last reads of the rows of the tile before
    if (lane < 16) {
      plan_.visible[group_ * kGroupRows + warp_row + lane] =
          VisibleTo(params_, work, row + warp_row + lane);
    }
    if (lane == 0) {
      TileRange open{0, 0};
      if (params_.scores.keep == nullptr && params_.scores.bias == nullptr) {
        open.begin =
            (VisibleTo(params_, work, row + kGroupRows - 1).begin + Traits::kTileKeys - 1) /
            Traits::kTileKeys;
        open.end = VisibleTo(params_, work, row).end / Traits::kTileKeys;
      }
      plan_.open[group_ * 4 + warp_row / 16] = open;
    }
    __syncwarp();
  }

  __device__ void MaskGeneral(float (&s)[Traits::kScores]) const {
    const auto row = static_cast<int32_t>(group_ * kGroupRows + threadIdx.x % kWarpgroup / 32 * 16 +
                                          threadIdx.x % 32 / 4);
    ApplyMasks(s, params_, Work(), row, tile_ * Traits::kTileKeys, plan_.visible);
  }

  /// Passes over tiles that other warpgroups of the block visit and this one does not see.
  __device__ int32_t SkipKeys() {
    if constexpr (!Traits::kSkipsTiles) return 0;
    const TileWork& work = Work();
    const int32_t skipped =
        FirstKeyTile(params_, work, work.first_query + Traits::kTileRows, Traits::kTileKeys) -
        tile_;
    for (int32_t i = 0; i < skipped; ++i) {
      WaitKeys();
      ReleaseKeys();
    }
    return skipped;
  }

  __device__ void SkipValues(int32_t skipped) {
    for (int32_t i = 0; i < skipped; ++i) {
      WaitValues();
      ReleaseValues();
    }
  }

  /// Zeroes the rows of V past the end of the sequence where they belong to something else: they
  /// meet probabilities of zero, but may hold NaN. Every warpgroup writes the same zeros.
  __device__ void ClearTail() {
    if constexpr (Traits::kGathers) return;  // such rows are not copied
    if (!params_.foreign_tail) return;
    constexpr int32_t kBoxRows = Traits::kTileKeys / Walk::kBoxes;
    const TileWork& work = Work();
    bool any = false;
#pragma unroll
    for (int box = 0; box < Walk::kBoxes; ++box) {
      any |= work.keys - Walk::BoxKey(plan_, work_.slot(), tile_, box) < kBoxRows;
    }
    if (!any) return;
    WaitValues();
#pragma unroll
    for (int box = 0; box < Walk::kBoxes; ++box) {
      const int32_t rows =
          min(max(work.keys - Walk::BoxKey(plan_, work_.slot(), tile_, box), 0), kBoxRows);
      const uint32_t begin = (box * kBoxRows + rows) * ptx::kSwizzleRowBytes;
      const uint32_t end = (box + 1) * kBoxRows * ptx::kSwizzleRowBytes;
      for (int block = 0; block < Traits::kDimBlocks; ++block) {
        unsigned char* v = plan_.v[values_.slot()] + block * Traits::kKeyBlockBytes;
        for (uint32_t at = begin + threadIdx.x % kWarpgroup * 16; at < end; at += kWarpgroup * 16) {
          *reinterpret_cast<uint4*>(v + at) = {0, 0, 0, 0};
        }
      }
    }
    ptx::FenceAsyncProxy();
    ptx::SyncNamed(kTailCleared + group_, kWarpgroup);
  }

  /// Warpgroups issue their products in turn, so that one's softmax runs under the other's
  /// products.
  __device__ void TakeTurn() const {
    if constexpr (Traits::kPingPong) ptx::SyncNamed(kTurn + group_, 2 * kWarpgroup);
  }
  __device__ void PassTurn() const {
    if constexpr (Traits::kPingPong) {
      const uint32_t next = group_ + 1 == Traits::kConsumers ? 0 : group_ + 1;
      ptx::ArriveNamed(kTurn + next, 2 * kWarpgroup);
    }
  }

  __device__ static void Clear(float (&o)[Traits::kOutputs]) {
#pragma unroll
    for (int i = 0; i < Traits::kOutputs; ++i) o[i] = 0.0f;
  }

  using Plan = SharedPlan<Traits>;
  static constexpr uint32_t kQueryFull = offsetof(Plan, query_full);
  static constexpr uint32_t kQueryEmpty = offsetof(Plan, query_empty);
  static constexpr uint32_t kKeyFull = offsetof(Plan, key_full);
  static constexpr uint32_t kKeyEmpty = offsetof(Plan, key_empty);
  static constexpr uint32_t kValueFull = offsetof(Plan, value_full);
  static constexpr uint32_t kValueEmpty = offsetof(Plan, value_empty);
  __device__ uint32_t Barrier(uint32_t ring, uint32_t slot) const {
    return base_ + ring + slot * static_cast<uint32_t>(sizeof(uint64_t));
  }
  __device__ const TileWork& Work() const { return plan_.work[work_.slot()]; }

  /// This warp's rows in a stage of Q.
  __device__ uint32_t WarpQuery(uint32_t slot) const {
    const uint32_t warp_row = group_ * kGroupRows + threadIdx.x % kWarpgroup / 32 * 16;
    return base_ + offsetof(Plan, q) + slot * Traits::kQueryBytes +
           warp_row * ptx::kSwizzleRowBytes;
  }

  /// Lower descriptor words of this warpgroup's rows of Q and of the tiles at hand. Products read
  /// descriptors from uniform registers.
  __device__ uint32_t QueryTile() const {
    return ptx::DescriptorLow(base_ + offsetof(Plan, q) +
                                  ptx::Uniform(queries_.slot()) * Traits::kQueryBytes +
                                  group_ * kGroupRows * ptx::kSwizzleRowBytes,
                              16);
  }
  __device__ uint32_t KeyTile() const {
    return ptx::DescriptorLow(
        base_ + offsetof(Plan, k) + ptx::Uniform(keys_.slot()) * Traits::kKeyBytes, 16);
  }
  __device__ uint32_t ValueTile() const {
    return ptx::DescriptorLow(
        base_ + offsetof(Plan, v) + ptx::Uniform(values_.slot()) * Traits::kKeyBytes,
        Traits::kKeyBlockBytes);
  }

  __device__ void WaitKeys() const { ptx::Wait(Barrier(kKeyFull, keys_.slot()), keys_.phase()); }
  __device__ void WaitValues() const {
    ptx::Wait(Barrier(kValueFull, values_.slot()), values_.phase());
  }
  __device__ void ReleaseKeys() {
    ReleaseStage(Barrier(kKeyEmpty, keys_.slot()));
    keys_.Advance();
  }
  __device__ void ReleaseValues() {
    ReleaseStage(Barrier(kValueEmpty, values_.slot()));
    values_.Advance();
  }
  __device__ void ReleaseStage(uint32_t barrier) const {
    if constexpr (Traits::kLanesRelease) {
      ptx::Arrive(barrier);
    } else {
      Release(barrier);
    }
  }
  /// One arrival a warp: waiting for the products that read the stage has converged it.
  __device__ void Release(uint32_t barrier) const {
    if ((threadIdx.x & 31) == 0) ptx::Arrive(barrier);
  }

  const ForwardParams& params_;
  const CUtensorMap& o_;
  SharedPlan<Traits>& plan_;
  const uint32_t group_;
  const uint32_t base_;  ///< of the plan; taken once: the compiler would derive it in every step
  Ring<Traits::kQueryStages> queries_;
  Ring<Traits::kKeyStages> keys_;
  Ring<Traits::kValueStages> values_;
  Ring<Traits::kWorkStages> work_;
  int32_t tile_ = 0;  ///< tile of keys at hand
  int32_t full_ = 0;  ///< tiles up to here need no mask; unused in general kernels
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_CONSUMER_CUH_
