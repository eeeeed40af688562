// N:M selection on a score accumulator whose columns are permuted so that each group of four
// consecutive keys lies in one thread.
//
// Rows of K in shared memory: row (N/2) h + 2 g + i holds key 4 g + 2 h + i of the tile. A thread
// of lane q of its quad then has keys 4 g .. 4 g + 3, g = 4 j + q, of row r in scores 4j + 2r + {0,
// 1} and N/4 + 4j + 2r + {0, 1}: core j of either half of the tile.
#ifndef TAMIS_ATTENTION_CUDA_SM90_SELECT_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_SELECT_CUH_

#include <cuda_runtime.h>

#include <cstdint>

#include "attention/cuda/ptx/registers.cuh"

namespace tamis::cuda::sm90 {

/// The key of the tile in row `row` of shared memory.
template <int kTileKeys>
__device__ inline int32_t GroupKey(int32_t row) {
  const int32_t within = row % (kTileKeys / 2);
  return 4 * (within / 2) + 2 * (row / (kTileKeys / 2)) + within % 2;
}

/// What is kept of every four consecutive keys.
enum class Keep : uint8_t {
  kTwoOfFour,
  kOneOfTwo,   ///< of either half
  kOneOfFour,  ///< the second entry of the product weighs nothing
};

/// Bit 3 of eight nibbles, the last one shifted in lowest: whether each of eight differences is
/// negative. Additions run on the multiply-add pipe, which has room; compares and selects would
/// not.
class Signs {
 public:
  /// The bits below the sign are shifted in with it, and are to be masked out.
  __device__ void Add(float difference) {
    word_ = __funnelshift_l(__float_as_uint(difference), word_, 4);
  }
  __device__ uint32_t word() const { return word_; }

 private:
  uint32_t word_ = 0;
};

/// Bits 0 to 3 of eight nibbles, each in bit 3 of its word, put together.
__device__ inline uint32_t JoinBits(uint32_t bit0, uint32_t bit1, uint32_t bit2, uint32_t bit3) {
  return (bit0 >> 3 & 0x11111111u) | (bit1 >> 2 & 0x22222222u) | (bit2 >> 1 & 0x44444444u) |
         (bit3 & 0x88888888u);
}

/// Selects for a kind and head dim; see SparseTraits::kSigns.
template <Keep kKeep, bool kSigns>
struct Selector;

// In each: kept scores and the metadata of eight groups, `i` the first of a group's scores among
// those of the tile's first half. With h and l the larger and the smaller score of a pair, the best
// two of four are max(h0, l1) and max(h1, l0): each pair keeps its larger one, unless the other
// pair keeps both.

template <Keep kKeep>
struct Selector<kKeep, true> {
  Signs p, q, later, earlier;

  __device__ void Add(float s0, float s1, float s2, float s3, float& first, float& second, int) {
    const float h0 = fmaxf(s0, s1), h1 = fmaxf(s2, s3);
    p.Add(s0 - s1);
    q.Add(s2 - s3);
    if constexpr (kKeep == Keep::kOneOfTwo) {
      first = h0;
      second = h1;
    } else if constexpr (kKeep == Keep::kOneOfFour) {
      first = fmaxf(h0, h1);
      second = -INFINITY;
      later.Add(h0 - h1);
    } else {
      const float l0 = fminf(s0, s1), l1 = fminf(s2, s3);
      first = fmaxf(h0, l1);
      second = fmaxf(h1, l0);
      later.Add(h0 - l1);    // both of the second pair
      earlier.Add(l0 - h1);  // not both of the first
    }
  }

  __device__ uint32_t Metadata() const {
    if constexpr (kKeep == Keep::kOneOfTwo) return JoinBits(p.word(), 0, q.word(), ~0u);
    const uint32_t both = later.word();
    if constexpr (kKeep == Keep::kOneOfFour) {
      const uint32_t bit0 = (both & q.word()) | (~both & p.word());
      return JoinBits(bit0, both, ~bit0, both);
    }
    const uint32_t apart = earlier.word();
    return JoinBits((both & ~q.word()) | (~both & p.word()), both,
                    (apart & q.word()) | (~apart & ~p.word()), apart);
  }
};

template <>
struct Selector<Keep::kTwoOfFour, false> {
  uint32_t word = 0;

  __device__ void Add(float s0, float s1, float s2, float s3, float& first, float& second,
                      int nibble) {
    const float h0 = fmaxf(s0, s1), l0 = fminf(s0, s1);
    const float h1 = fmaxf(s2, s3), l1 = fminf(s2, s3);
    const bool p = s1 > s0, q = s3 > s2;
    const bool both_first = l0 >= h1, both_last = l1 > h0;
    const uint32_t one_each = (p ? 9u : 8u) + (q ? 4u : 0u);
    const uint32_t same = both_first ? (p ? 1u : 4u) : (q ? 14u : 11u);
    first = fmaxf(h0, l1);
    second = fmaxf(h1, l0);
    word |= (both_first || both_last ? same : one_each) << (4 * nibble);
  }

  __device__ uint32_t Metadata() const { return word; }
};

/// Keeps the best of every four, ties to the lowest position. `kept` becomes an accumulator of half
/// the columns, core by core; nibbles[j / 4] this thread's metadata: byte j % 4 is core j's, row 0
/// in its low half, a nibble first | second << 2, the positions of what stands first and second in
/// `kept`.
template <Keep kKeep, bool kSigns, int kScores>
__device__ inline void KeepBest(const float (&s)[kScores], float (&kept)[kScores / 2],
                                uint32_t (&nibbles)[kScores / 32]) {
#pragma unroll
  for (int t = 0; t < kScores / 32; ++t) {
    Selector<kKeep, kSigns> selector;
#pragma unroll
    for (int nibble = 7; nibble >= 0; --nibble) {
      const int i = 16 * t + 2 * nibble;
      selector.Add(s[i], s[i + 1], s[i + kScores / 2], s[i + 1 + kScores / 2], kept[i], kept[i + 1],
                   nibble);
    }
    nibbles[t] = selector.Metadata();
  }
}

/// Metadata but for its last step, which must stand behind the wait for the product that reads the
/// register's previous value.
struct GatheredMetadata {
  uint32_t low, up;
  __device__ uint32_t Join() const {
    uint32_t joined;
    asm volatile("prmt.b32 %0, %1, %2, 0x6420;" : "=r"(joined) : "r"(low), "r"(up));
    return joined;
  }
};

/// Hands out the quad's nibbles as the sparse product wants them: lane L gets those of core 4t + L
/// of all four lanes, row 0 in the low half.
__device__ inline GatheredMetadata GatherMetadata(uint32_t mine) {
  const bool odd = (threadIdx.x & 1) != 0, high = (threadIdx.x & 2) != 0;
  const uint32_t near = __shfl_xor_sync(0xffffffffu, mine, 1);
  const uint32_t pair = __byte_perm(mine, near, odd ? 0x3715 : 0x6240);
  const uint32_t far = __shfl_xor_sync(0xffffffffu, pair, 2);
  const uint32_t core = __byte_perm(pair, far, high ? 0x3276 : 0x5410);
  // Bytes of (row 1, row 0) nibbles, one per lane of the quad, to two halves of four nibbles.
  GatheredMetadata gathered{core & 0x0f0f0f0fu, (core >> 4) & 0x0f0f0f0fu};
  gathered.low |= gathered.low >> 4;
  gathered.up |= gathered.up >> 4;
  return gathered;
}

/// Hides keys for the permuted columns. The tile consists of kUnits runs of keys; `last[u][r]`: the
/// last key of unit u that the thread's row r sees, from the thread's first in that unit.
template <int kUnits, int kScores>
__device__ inline void HideGroups(float (&s)[kScores], const int32_t (&last)[kUnits][2]) {
  constexpr int kUnitCores = kScores / 8 / kUnits;
#pragma unroll
  for (int i = 0; i < kScores; ++i) {
    const int half = i / (kScores / 2), at = i % (kScores / 2), core = at >> 2;
    const int column = 16 * (core % kUnitCores) + 2 * half + (at & 1);
    if (column > last[core / kUnitCores][(at >> 1) & 1]) s[i] = -INFINITY;
  }
}

/// MaskScores for the permuted columns.
template <int kScores>
__device__ inline void MaskGroups(float (&s)[kScores], int32_t first_key,
                                  const int32_t (&last_key)[2]) {
  const int32_t first = first_key + 4 * (static_cast<int32_t>(ptx::Fresh(threadIdx.x)) & 3);
  const int32_t last[1][2] = {{last_key[0] - first, last_key[1] - first}};
  HideGroups<1>(s, last);
}

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_SELECT_CUH_
