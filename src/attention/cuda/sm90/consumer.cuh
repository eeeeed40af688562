// A consumer warpgroup: 64 rows of every tile of its block.
//
// The walk of a tile descends from its last visible tile of keys. Step i issues the scores of tile
// i and then the values of the tile before, so that the matrix units work through the softmax in
// between; the same holds across tiles of work: the first scores of the next tile are issued beside
// the last values of this one.
#ifndef TAMIS_ATTENTION_CUDA_SM90_CONSUMER_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_CONSUMER_CUH_

#include <cstdint>

#include "attention/cuda/sm90/epilogue.cuh"
#include "attention/cuda/sm90/mask.cuh"
#include "attention/cuda/sm90/mma.cuh"
#include "attention/cuda/sm90/rescue.cuh"
#include "attention/cuda/sm90/shared.cuh"
#include "attention/cuda/sm90/softmax.cuh"
#include "attention/cuda/sm90/traits.cuh"
#include "attention/cuda/sm90/work.cuh"

namespace tamis::cuda::sm90 {

template <class Traits>
class Consumer {
 public:
  __device__ Consumer(const ForwardParams& params, SharedPlan<Traits>& plan, int32_t group)
      : params_(params),
        plan_(plan),
        group_(group),
        lane_(threadIdx.x & 31),
        q_base_(ptx::Opaque(ptx::SharedAddress(plan.q[0]))),
        k_base_(ptx::Opaque(ptx::SharedAddress(plan.k[0]))),
        v_base_(ptx::Opaque(ptx::SharedAddress(plan.v[0]))),
        key_full_(ptx::Opaque(ptx::SharedAddress(plan.key_full))),
        key_empty_(ptx::Opaque(ptx::SharedAddress(plan.key_empty))),
        value_full_(ptx::Opaque(ptx::SharedAddress(plan.value_full))),
        value_empty_(ptx::Opaque(ptx::SharedAddress(plan.value_empty))) {}

  __device__ void Run() {
    float o[Traits::kOutputs];
    float s[Traits::kScores];
    uint32_t packed[Traits::kPacked];
    RowState state;
    if (!Open()) return;
    const int32_t skipped = SkipKeys();
    WaitKeys();
    IssueScores<Traits>(s, q_, KeyTile());
    ptx::WaitBatches<0>();
    ptx::Pin(s);
    FirstSoftmax(s, state);
    ReleaseKeys();
    SkipValues(skipped);
    ClearTail();
    PackScores<Traits>(s, packed);
    Clear(o);
    for (;;) {
      int32_t tile = walk_.first - 1;
      for (; tile > walk_.full; --tile) Step<true>(tile, o, s, packed, state);
      for (; tile >= 0; --tile) Step<false>(tile, o, s, packed, state);
      Release(ptx::SharedAddress(&plan_.query_empty[queries_.slot]));
      queries_.Advance();
      const OutputRows target = target_;
      if (!Open()) {
        WaitValues();
        IssueValues<Traits>(o, packed, ValueTile());
        ptx::WaitBatches<0>();
        ptx::Pin(o);
        WriteOutput<Traits>(params_, target, o, state);
        return;
      }
      Seam(target, o, s, packed, state);
    }
  }

 private:
  /// The tiles of keys that this warpgroup visits: `first` down to 0, from `full` down unmasked.
  struct Walk {
    int32_t tile_first;  ///< where the block's walk begins; this warpgroup may see less
    int32_t first;
    int32_t full;
    int32_t last_key[2];  ///< of this thread's rows
    int32_t keys;
  };

  /// Waits for the next tile's Q and work; false where there is none.
  __device__ bool Open() {
    ptx::Wait(ptx::SharedAddress(&plan_.query_full[queries_.slot]), queries_.phase);
    const TileWork& work = plan_.work[queries_.slot];
    if (work.sequence < 0) return false;
    const int32_t group_row = group_ * kGroupRows;
    const int32_t row = work.first_query + group_row;
    target_ = OutputRows(work, group_row);
    walk_.keys = work.keys;
    walk_.tile_first = FirstKeyTile(params_, work, work.first_query + Traits::kTileRows, kTileKeys);
    walk_.first = FirstKeyTile(params_, work, row + kGroupRows, kTileKeys);
    walk_.full = (max(LastKey(params_, work, row), -1) + 1) / kTileKeys - 1;
    const int32_t thread_row =
        row + static_cast<int32_t>(threadIdx.x % kWarpgroup / 32 * 16 + lane_ / 4);
    walk_.last_key[0] = LastKey(params_, work, thread_row);
    walk_.last_key[1] = LastKey(params_, work, thread_row + 8);
    q_ = ptx::DescriptorLow(
        q_base_ + queries_.slot * Traits::kQueryBytes + group_ * kGroupRows * ptx::kSwizzleRowBytes,
        16);
    return true;
  }

  /// One tile of keys: its scores, and the values of the tile before.
  template <bool kMasked>
  __device__ void Step(int32_t tile, float (&o)[Traits::kOutputs], float (&s)[Traits::kScores],
                       uint32_t (&packed)[Traits::kPacked], RowState& state) {
    WaitKeys();
    IssueScores<Traits>(s, q_, KeyTile());
    WaitValues();
    IssueValues<Traits>(o, packed, ValueTile());
    ptx::WaitBatches<1>();
    ptx::Pin(s);
    bool rebased = kMasked;
    float2 factor;
    if constexpr (kMasked) {
      MaskScores(s, tile * kTileKeys, walk_.last_key);
      factor = Rebase(s, params_.scale_log2, state);
    } else {
      const float2 sum = Exponentials(s, params_.scale_log2, state.reference);
      rebased = __any_sync(0xffffffffu, fmaxf(sum.x, sum.y) > Traits::kRescueSum);
      if (rebased) {
        const uint32_t warp_row = group_ * kGroupRows + threadIdx.x % kWarpgroup / 32 * 16;
        RecomputeScores<Traits>(
            s, q_base_ + queries_.slot * Traits::kQueryBytes + warp_row * ptx::kSwizzleRowBytes,
            k_base_ + keys_.slot * Traits::kKeyBytes);
        factor = Rebase(s, params_.scale_log2, state);
        __syncwarp();
      } else {
        state.sum[0] += sum.x;
        state.sum[1] += sum.y;
      }
    }
    ReleaseKeys();
    ptx::WaitBatches<0>();
    ptx::Pin(o);
    ptx::Pin(packed);
    ReleaseValues();
    if (rebased) ScaleRows(o, factor);
    PackScores<Traits>(s, packed);
  }

  /// The first tile of keys of a new tile of work, beside the last values of the one before.
  __device__ void Seam(const OutputRows& target, float (&o)[Traits::kOutputs],
                       float (&s)[Traits::kScores], uint32_t (&packed)[Traits::kPacked],
                       RowState& state) {
    const int32_t skipped = SkipKeys();
    WaitKeys();
    IssueScores<Traits>(s, q_, KeyTile());
    WaitValues();
    IssueValues<Traits>(o, packed, ValueTile());
    ptx::WaitBatches<1>();
    ptx::Pin(s);
    const RowState done = state;
    FirstSoftmax(s, state);
    ReleaseKeys();
    ptx::WaitBatches<0>();
    ptx::Pin(o);
    ptx::Pin(packed);
    ReleaseValues();
    WriteOutput<Traits>(params_, target, o, done);
    SkipValues(skipped);
    ClearTail();
    PackScores<Traits>(s, packed);
    Clear(o);
  }

  __device__ void FirstSoftmax(float (&s)[Traits::kScores], RowState& state) {
    MaskScores(s, walk_.first * kTileKeys, walk_.last_key);
    state.Reset();
    Rebase(s, params_.scale_log2, state);
  }

  /// Passes over tiles that other warpgroups of the block visit and this one does not see.
  __device__ int32_t SkipKeys() {
    const int32_t skipped = walk_.tile_first - walk_.first;
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
    const int32_t rows = walk_.keys - walk_.first * kTileKeys;
    if (!params_.foreign_tail || rows >= kTileKeys) return;
    WaitValues();
    const uint32_t begin = max(rows, 0) * ptx::kSwizzleRowBytes;
    for (int block = 0; block < Traits::kDimBlocks; ++block) {
      unsigned char* v = plan_.v[values_.slot] + block * Traits::kKeyBlockBytes;
      for (uint32_t at = begin + threadIdx.x % kWarpgroup * 16; at < Traits::kKeyBlockBytes;
           at += kWarpgroup * 16) {
        *reinterpret_cast<uint4*>(v + at) = {0, 0, 0, 0};
      }
    }
    ptx::FenceAsyncProxy();
    ptx::SyncNamed(kTailCleared + group_, kWarpgroup);
  }

  __device__ static void Clear(float (&o)[Traits::kOutputs]) {
#pragma unroll
    for (int i = 0; i < Traits::kOutputs; ++i) o[i] = 0.0f;
  }

  __device__ uint32_t KeyTile() const {
    return ptx::DescriptorLow(k_base_ + keys_.slot * Traits::kKeyBytes, 16);
  }
  __device__ uint32_t ValueTile() const {
    return ptx::DescriptorLow(v_base_ + values_.slot * Traits::kKeyBytes, Traits::kKeyBlockBytes);
  }

  __device__ void WaitKeys() const { ptx::Wait(key_full_ + 8 * keys_.slot, keys_.phase); }
  __device__ void WaitValues() const { ptx::Wait(value_full_ + 8 * values_.slot, values_.phase); }
  __device__ void ReleaseKeys() {
    Release(key_empty_ + 8 * keys_.slot);
    keys_.Advance();
  }
  __device__ void ReleaseValues() {
    Release(value_empty_ + 8 * values_.slot);
    values_.Advance();
  }
  /// One arrival a warp: waiting for the products that read the stage has converged it.
  __device__ void Release(uint32_t barrier) const {
    if (lane_ == 0) ptx::Arrive(barrier);
  }

  const ForwardParams& params_;
  SharedPlan<Traits>& plan_;
  const uint32_t group_;
  const uint32_t lane_;
  // Addresses are taken once: the compiler would derive them again in every step.
  const uint32_t q_base_, k_base_, v_base_;
  const uint32_t key_full_, key_empty_, value_full_, value_empty_;
  Ring<Traits::kQueryStages> queries_;
  Ring<Traits::kKeyStages> keys_;
  Ring<Traits::kValueStages> values_;
  Walk walk_;
  OutputRows target_;
  uint32_t q_ = 0;  ///< lower descriptor word of this warpgroup's rows of Q
};

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_CONSUMER_CUH_
