// A consumer warpgroup of the 2:4 kernel: the walk of consumer.cuh with the selection between the
// scores and the softmax, and the sparse product after it.
#ifndef TAMIS_ATTENTION_CUDA_SM90_SPARSE_CONSUMER_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_SPARSE_CONSUMER_CUH_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "attention/cuda/sm90/dense_walk.cuh"
#include "attention/cuda/sm90/epilogue.cuh"
#include "attention/cuda/sm90/list_walk.cuh"
#include "attention/cuda/sm90/mma.cuh"
#include "attention/cuda/sm90/rescue_groups.cuh"
#include "attention/cuda/sm90/select.cuh"
#include "attention/cuda/sm90/shared.cuh"
#include "attention/cuda/sm90/softmax.cuh"
#include "attention/cuda/sm90/thin.cuh"
#include "attention/cuda/sm90/traits.cuh"
#include "attention/cuda/sm90/work.cuh"

namespace tamis::cuda::sm90 {

template <class Traits>
class SparseConsumer {
 protected:
  using Walk = std::conditional_t<Traits::kLists, ListWalk<Traits>, DenseWalk<Traits>>;

 public:
  __device__ SparseConsumer(const ForwardParams& params, SharedPlan<Traits>& plan, int32_t group)
      : params_(params),
        plan_(plan),
        group_(group),
        base_(ptx::Opaque(ptx::SharedAddress(&plan))) {}

  __device__ void Run() {
    float o[Traits::kOutputs];
    float s[Traits::kScores];
    uint32_t packed[Traits::kPacked];
    uint32_t metadata[Traits::kMetadata];
    RowState state;
    if (!Open()) return;
    if (Traits::kPingPong && group_ + 1 == Traits::kConsumers) PassTurn();  // group 0 begins
    StartScores(s);
    WaitScores(s);
    for (;;) {
      if constexpr (Traits::kTokens) Clear(o);
      state.Reset();
      // Here and after every run of tiles of one kind: the scores of tile_ are there, and nothing
      // is in flight.
      for (;;) {
        const int32_t stop = DenseFrom(tile_);
        if (Traits::kTokens && tile_ == stop) {
          DenseTile(o, s, state);
        } else {
          Begin(o, s, packed, metadata, state);
          for (; tile_ > max(full_, stop); --tile_) Step<true>(o, s, packed, metadata, state);
          for (; tile_ > stop; --tile_) Step<false>(o, s, packed, metadata, state);
          Drain(o, packed, metadata);
        }
        if (tile_ < 0) break;
        StartScores(s);
        WaitScores(s);
      }
      const uint32_t done = work_.slot();
      work_.Advance();
      if (!Open()) {
        WriteOutput<Traits>(params_, Walk::Output(plan_, done, group_), o, state);
        return;
      }
      if constexpr (Traits::kDeferOutput) StartScores(s);
      WriteOutput<Traits>(params_, Walk::Output(plan_, done, group_), o, state);
      if constexpr (!Traits::kDeferOutput) StartScores(s);
      WaitScores(s);
    }
  }

 protected:
  __device__ bool Open() {
    ptx::Wait(Barrier(kQueryFull, queries_.slot()), queries_.phase());
    const TileWork& work = Work();
    if (work.sequence < 0) return false;
    Walk::Open(params_, plan_, work_.slot(), group_, tile_, full_);
    // All warpgroups walk all tiles of their block.
    if constexpr (!Traits::kLists) {
      tile_ = FirstKeyTile(params_, work, work.first_query + Traits::kTileRows, Traits::kTileKeys);
    }
    return true;
  }

  __device__ void StartScores(float (&s)[Traits::kScores]) {
    WaitKeys();
    TakeTurn();
    IssueScores<Traits>(s, QueryTile(), KeyTile());
    PassTurn();
  }
  __device__ void WaitScores(float (&s)[Traits::kScores]) {
    ptx::WaitBatches<0>();
    ptx::Pin(s);
  }

  /// The first of a run of sparse tiles: nothing is in flight. Goes on to the next tile.
  __device__ void Begin(float (&o)[Traits::kOutputs], float (&s)[Traits::kScores],
                        uint32_t (&packed)[Traits::kPacked],
                        uint32_t (&metadata)[Traits::kMetadata], RowState& state) {
    float kept[Traits::kKept];
    uint32_t mine[Traits::kMetadata];
    Mask(s);
    ReleaseKeys();
    if (tile_ == 0) ReleaseQuery();
    KeepBest<Traits::kKeep, Traits::kSigns>(s, kept, mine);
    const float2 factor = Rebase<Traits::kStep>(kept, Scale(), state);
    if constexpr (Traits::kTokens) {
      ScaleRows(o, factor);
    } else {
      Clear(o);  // this is the row's first tile
    }
    ClearTail();
    PackKept(kept, packed);
#pragma unroll
    for (int t = 0; t < Traits::kMetadata; ++t) metadata[t] = GatherMetadata(mine[t]).Join();
    --tile_;
  }

  /// Adds the values of the tile before.
  __device__ void Drain(float (&o)[Traits::kOutputs], uint32_t (&packed)[Traits::kPacked],
                        uint32_t (&metadata)[Traits::kMetadata]) {
    TakeTurn();
    WaitValues();
    IssueSparseValues<Traits>(o, packed, metadata, ValueTile());
    PassTurn();
    ptx::WaitBatches<0>();
    ptx::Pin(o);
    ptx::Pin(packed);
    ptx::Pin(metadata);
    ReleaseValues();
  }

  /// A tile with pairs that are kept on top of the selection: the whole product, V in the order of
  /// the scores' columns. Nothing is in flight before or after it.
  __device__ void DenseTile(float (&o)[Traits::kOutputs], float (&s)[Traits::kScores],
                            RowState& state) {
    ReleaseKeys();
    if (tile_ == 0) ReleaseQuery();
    Mask(s);
    Thin(s);
    ScaleRows(o, Rebase(s, Scale(), state));
    ClearTail();
    WaitValues();
    TakeTurn();
    AddDenseValues<Traits>(o, s, ValueTile());
    PassTurn();
    ReleaseValues();
    --tile_;
  }

  /// Hides what neither the selection nor a promise to the rule keeps.
  __device__ void Thin(float (&s)[Traits::kScores]) const {
    const TileWork& work = Work();
    const int32_t row = Row();
    const int32_t first = tile_ * Traits::kTileKeys + 4 * (Thread() & 3);
    float kept[Traits::kKept];
    uint32_t nibbles[Traits::kMetadata];
    KeepBest<Traits::kKeep, Traits::kSigns>(s, kept, nibbles);
    // One row after the other: the bounds of both would not fit the registers.
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const RowKeeps<kOtherBlocks<Traits>> keeps(params_, work,
                                                 static_cast<int32_t>(ptx::Fresh(row + 8 * r)));
#pragma unroll
      for (int i = 2 * r; i < Traits::kKept; i += 4) {
        const int at[4] = {i, i + 1, i + Traits::kKept, i + 1 + Traits::kKept};
        const uint32_t nibble = nibbles[i / 16] >> (i / 2 % 8 * 4);
        uint32_t stay = 1u << (nibble & 3);
        if (Traits::kKeep != Keep::kOneOfFour) stay |= 1u << (nibble >> 2 & 3);
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          const int32_t key = first + 16 * (i / 4) + k;
          const bool stays =
              (stay >> k & 1) != 0 || key < params_.thin.sink_tokens || keeps.Holds(key);
          if (!stays) s[at[k]] = -INFINITY;
        }
      }
    }
  }

  /// Zeroes the rows of V past the end of the sequence where they belong to something else: they
  /// meet probabilities of zero, but may hold NaN. Every warpgroup writes the same zeros.
  __device__ void ClearTail() {
    if (!params_.foreign_tail) return;
    constexpr int32_t kBoxRows = Traits::kTileKeys / Walk::kBoxes;
    const int32_t keys = Work().keys;
    int32_t first[Walk::kBoxes];
    bool any = false;
#pragma unroll
    for (int box = 0; box < Walk::kBoxes; ++box) {
      first[box] = Walk::BoxKey(plan_, work_.slot(), tile_, box);
      any |= keys - first[box] < kBoxRows;
    }
    if (!any) return;
    WaitValues();
    const bool groups = DenseFrom(tile_) == tile_;
    for (int block = 0; block < Traits::kDimBlocks; ++block) {
      unsigned char* v = plan_.v[values_.slot()] + block * Traits::kKeyBlockBytes;
#pragma unroll
      for (int box = 0; box < Walk::kBoxes; ++box) {
        for (int32_t at = Thread(); at < kBoxRows * 8; at += kWarpgroup) {
          const int32_t row = at / 8;
          if (first[box] + (groups ? GroupKey<Traits::kTileKeys>(row) : row) < keys) continue;
          *reinterpret_cast<uint4*>(v + box * kBoxRows * ptx::kSwizzleRowBytes + at * 16) = {0, 0,
                                                                                             0, 0};
        }
      }
    }
    ptx::FenceAsyncProxy();
    ptx::SyncNamed(kTailCleared + group_, kWarpgroup);
  }

  /// One tile of keys: its scores, and the values of the tile before.
  template <bool kMasked>
  __device__ void Step(float (&o)[Traits::kOutputs], float (&s)[Traits::kScores],
                       uint32_t (&packed)[Traits::kPacked], uint32_t (&metadata)[Traits::kMetadata],
                       RowState& state) {
    WaitKeys();
    TakeTurn();
    IssueScores<Traits>(s, QueryTile(), KeyTile());
    WaitValues();
    IssueSparseValues<Traits>(o, packed, metadata, ValueTile());
    PassTurn();
    ptx::WaitBatches<1>();
    ptx::Pin(s);
    if constexpr (kMasked) Mask(s);
    ReleaseKeys();
    if (Traits::kHoldsScores && tile_ == 0) ReleaseQuery();
    float kept[Traits::kKept];
    [[maybe_unused]] float scores[Traits::kHoldsScores ? Traits::kKept : 1];
    uint32_t mine[Traits::kMetadata];
    bool rebased = kMasked;
    float2 factor;
    KeepBest<Traits::kKeep, Traits::kSigns>(s, kept, mine);
    if constexpr (kMasked) {
      factor = Rebase<Traits::kStep>(kept, Scale(), state);
    } else {
      if constexpr (Traits::kHoldsScores) Copy(kept, scores);
      const float2 sum = Exponentials<Traits::kStep>(kept, Scale(), state.reference);
      // Uniform over the warp; the branch also keeps the wait for the values behind the softmax.
      rebased = __any_sync(0xffffffffu, fmaxf(sum.x, sum.y) > Traits::kRescueSum);
      if (rebased) {
        if constexpr (Traits::kHoldsScores) {
          Copy(scores, kept);
        } else {
          const uint32_t warp_row = group_ * kGroupRows + threadIdx.x % kWarpgroup / 32 * 16;
          RecomputeGroups<Traits>(s,
                                  base_ + offsetof(Plan, q) +
                                      queries_.slot() * Traits::kQueryBytes +
                                      warp_row * ptx::kSwizzleRowBytes,
                                  params_, Work(), tile_ * Traits::kTileKeys);
          KeepBest<Traits::kKeep, Traits::kSigns>(s, kept, mine);
        }
        factor = Rebase<Traits::kStep>(kept, Scale(), state);
        __syncwarp();
      } else {
        state.sum[0] += sum.x;
        state.sum[1] += sum.y;
      }
    }
    if (!Traits::kHoldsScores && tile_ == 0) ReleaseQuery();
    GatheredMetadata gathered[Traits::kMetadata];
#pragma unroll
    for (int t = 0; t < Traits::kMetadata; ++t) gathered[t] = GatherMetadata(mine[t]);
    ptx::WaitBatches<0>();
    ptx::Pin(o);
    ptx::Pin(packed);
    ptx::Pin(metadata);
    ReleaseValues();
    if (rebased) ScaleRows(o, factor);
    PackKept(kept, packed);
#pragma unroll
    for (int t = 0; t < Traits::kMetadata; ++t) metadata[t] = gathered[t].Join();
  }

  __device__ static void Clear(float (&o)[Traits::kOutputs]) {
#pragma unroll
    for (int i = 0; i < Traits::kOutputs; ++i) o[i] = 0.0f;
  }

  __device__ static void Copy(const float (&from)[Traits::kKept], float (&to)[Traits::kKept]) {
#pragma unroll
    for (int i = 0; i < Traits::kKept; ++i) to[i] = from[i];
  }

  __device__ static void PackKept(const float (&kept)[Traits::kKept],
                                  uint32_t (&packed)[Traits::kPacked]) {
#pragma unroll
    for (int i = 0; i < Traits::kPacked; ++i) {
      packed[i] = ptx::Pack<typename Traits::Element>(kept[2 * i], kept[2 * i + 1]);
    }
  }

  /// For code off the main path: what follows from the thread's number is not to be kept in
  /// registers all through the walk.
  __device__ static int32_t Thread() {
    return static_cast<int32_t>(ptx::Fresh(threadIdx.x)) % kWarpgroup;
  }
  /// The first of this thread's two rows, within the sequence.
  __device__ int32_t Row() const {
    const int32_t thread = Thread();
    return Walk::FirstRow(plan_, work_.slot(), group_) + thread / 32 * 16 + thread % 32 / 4;
  }

  __device__ void Mask(float (&s)[Traits::kScores]) const {
    const TileWork& work = Work();
    const int32_t row = Row();
    const int32_t last_key[2] = {LastKey(params_, work, row), LastKey(params_, work, row + 8)};
    if constexpr (Traits::kLists) {
      int32_t last[kUnits][2];
      Walk::LastColumns(plan_, keys_.slot(), group_, last_key, 4, last);
      HideGroups<kUnits>(s, last);
    } else {
      MaskGroups(s, tile_ * Traits::kTileKeys, last_key);
    }
  }

  /// What brings scores to log2 units.
  __device__ float Scale() const { return params_.scale_log2; }

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
  __device__ int32_t DenseFrom(int32_t tile) const {
    if constexpr (Traits::kTokens) return plan_.dense[work_.slot()].From(tile);
    return -1;
  }

  /// Lower descriptor words of this warpgroup's rows of Q and of the tiles at hand.
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
    Release(Barrier(kKeyEmpty, keys_.slot()));
    keys_.Advance();
  }
  __device__ void ReleaseValues() {
    Release(Barrier(kValueEmpty, values_.slot()));
    values_.Advance();
  }
  __device__ void ReleaseQuery() {
    Release(Barrier(kQueryEmpty, queries_.slot()));
    queries_.Advance();
  }
  /// One arrival a warp: waiting for the products that read the stage has converged it.
  __device__ void Release(uint32_t barrier) const {
    if ((threadIdx.x & 31) == 0) ptx::Arrive(barrier);
  }

  const ForwardParams& params_;
  SharedPlan<Traits>& plan_;
  const uint32_t group_;
  const uint32_t base_;  ///< of the plan; taken once: the compiler would derive it in every step
  Ring<Traits::kQueryStages> queries_;
  Ring<Traits::kKeyStages> keys_;
  Ring<Traits::kValueStages> values_;
  Ring<Traits::kWorkStages> work_;
  int32_t tile_ = 0;  ///< tile of keys at hand
  int32_t full_ = 0;  ///< tiles up to here need no mask
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_SPARSE_CONSUMER_CUH_
