// Compiled once per instruction set; the build defines
//   TAMIS_XATTENTION_KERNEL     name of the table
//   TAMIS_BF16_DOT              0: fp32; 1: vdpbf16ps; 2: its arithmetic by fp32 FMA (for tests)
// Everything but the table has internal linkage, and nothing inline from other headers is called:
// a function shared with code built for a lesser machine could be linked in from here.
#include "select/xattention_kernel.h"

#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace tamis {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
constexpr int kTileGroups = 8, kTileVectors = 2;  // 16 accumulators hide the FMA's latency
#elif defined(__AVX2__)
constexpr int kLanes = 8;
constexpr int kTileGroups = 4, kTileVectors = 2;  // 16 registers: 8 accumulators, 2 + 1 operands
#else
constexpr int kLanes = 4;
constexpr int kTileGroups = 4, kTileVectors = 2;
#endif
static_assert(kPanelLanes % (kTileVectors * kLanes) == 0 && kStripGroups % kTileGroups == 0);

using Floats = float __attribute__((vector_size(kLanes * sizeof(float)), may_alias));
using Ints = int32_t __attribute__((vector_size(kLanes * sizeof(int32_t)), may_alias));

/// Four steps of one row, or one step of four rows.
using Quad = int32_t __attribute__((vector_size(16), may_alias));

// Every array passed here is aligned to 64 and walked in whole vectors.
inline Floats Load(const float* p) { return *reinterpret_cast<const Floats*>(p); }
inline void Store(float* p, Floats v) { *reinterpret_cast<Floats*>(p) = v; }
inline Floats Splat(float x) { return Floats{} + x; }

/// 2^x for x <= 0, relative error below 3e-7; 0 below 2^-125 and for -inf.
inline Floats Exp2(Floats x) {
  const Floats floor = Splat(-125.0f);
  const Floats magic = Splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const Floats clamped = x < floor ? floor : x;
  const Floats shifted = clamped + magic;
  const Floats f = clamped - (shifted - magic);  // [-0.5, 0.5]
  Floats p = Splat(1.54035304e-4f);              // ln(2)^k / k!, k = 6 .. 0
  p = p * f + 1.33335581e-3f;
  p = p * f + 9.61812911e-3f;
  p = p * f + 5.55041087e-2f;
  p = p * f + 2.40226507e-1f;
  p = p * f + 6.93147181e-1f;
  p = p * f + 1.0f;
  // The low bits of `shifted` are the integer; the shift drops the rest.
  const Ints exponent = reinterpret_cast<Ints>(shifted) << 23;
  const Floats result = reinterpret_cast<Floats>(reinterpret_cast<Ints>(p) + exponent);
  return x < floor ? Splat(0.0f) : result;
}

#if TAMIS_BF16_DOT

/// Four packed steps of a row: eight bf16.
inline Quad LoadSteps(DType, const void* row, int32_t step) {
  Quad steps;
  std::memcpy(&steps, static_cast<const int32_t*>(row) + step, sizeof(steps));
  return steps;
}

/// One packed step of a lane: a pair of bf16.
using Element = int32_t;
using Lanes = Ints;

/// sum + both products of each lane's pair.
inline Floats MultiplyAdd(Floats sum, Ints pairs, int32_t pair) {
#if TAMIS_BF16_DOT == 1
  Ints key = Ints{} + pair;
#if defined(__clang__)
  asm("" : "+v"(key));  // clang 16 crashes where vdpbf16ps takes a broadcast it can see
#endif
  return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(pairs), reinterpret_cast<__m512bh>(key));
#else
  // In the instruction's order: the upper halves first.
  sum += reinterpret_cast<Floats>(pairs & -0x10000) *
         reinterpret_cast<Floats>(Ints{} + (pair & -0x10000));
  return sum +
         reinterpret_cast<Floats>(pairs << 16) * reinterpret_cast<Floats>(Ints{} + (pair << 16));
#endif
}

#else  // fp32

/// Four packed steps of a row: four elements as fp32.
inline Quad LoadSteps(DType dtype, const void* row, int32_t step) {
  Quad steps = {};
  if (dtype == DType::kF32) {
    std::memcpy(&steps, static_cast<const float*>(row) + step, sizeof(steps));
    return steps;
  }
  uint16_t halves[4];
  std::memcpy(halves, static_cast<const uint16_t*>(row) + step, sizeof(halves));
  if (dtype == DType::kBF16) {
    for (int i = 0; i < 4; ++i) steps[i] = static_cast<int32_t>(uint32_t{halves[i]} << 16);
    return steps;
  }
#if defined(__F16C__)
  __m128i bits = _mm_setzero_si128();
  std::memcpy(&bits, halves, sizeof(halves));
  return reinterpret_cast<Quad>(_mm_cvtph_ps(bits));
#else
  for (int i = 0; i < 4; ++i) {
    const float value = ToFloat(Float16{halves[i]});
    std::memcpy(reinterpret_cast<char*>(&steps) + 4 * i, &value, sizeof(value));
  }
  return steps;
#endif
}

using Element = float;
using Lanes = Floats;

inline Floats MultiplyAdd(Floats sum, Floats lanes, float key) { return sum + lanes * key; }

#endif  // TAMIS_BF16_DOT

void Pack(DType dtype, const void* const* rows, int32_t width, int32_t dim, void* target) {
  const int32_t steps = TAMIS_BF16_DOT != 0 ? dim / 2 : dim;
  auto* out = static_cast<int32_t*>(target);
  for (int32_t step = 0; step < steps; step += 4) {
    for (int32_t i = 0; i < width; i += 4) {
      Quad row[4];
      for (int k = 0; k < 4; ++k) {
        row[k] = rows[i + k] != nullptr ? LoadSteps(dtype, rows[i + k], step) : Quad{};
      }
      // Transposes 4 rows of 4 steps.
      const Quad low01 = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5);
      const Quad low23 = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5);
      const Quad high01 = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7);
      const Quad high23 = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
      const Quad columns[4] = {__builtin_shufflevector(low01, low23, 0, 1, 4, 5),
                               __builtin_shufflevector(low01, low23, 2, 3, 6, 7),
                               __builtin_shufflevector(high01, high23, 0, 1, 4, 5),
                               __builtin_shufflevector(high01, high23, 2, 3, 6, 7)};
      for (int k = 0; k < 4; ++k) {
        *reinterpret_cast<Quad*>(out + (step + k) * width + i) = columns[k];
      }
    }
  }
}

/// One register tile: kTileGroups key groups by kTileVectors vectors of lanes.
inline void MultiplyTile(const Element* q, const Element* k, int32_t steps, float* logits) {
  Floats sum[kTileGroups][kTileVectors] = {};
  for (int32_t step = 0; step < steps; ++step) {
    Lanes lanes[kTileVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kTileVectors; ++v) {
      lanes[v] = *reinterpret_cast<const Lanes*>(q + v * kLanes);
    }
#pragma GCC unroll 8
    for (int g = 0; g < kTileGroups; ++g) {
#pragma GCC unroll 2
      for (int v = 0; v < kTileVectors; ++v) sum[g][v] = MultiplyAdd(sum[g][v], lanes[v], k[g]);
    }
    q += kPanelLanes;
    k += kStripGroups;
  }
#pragma GCC unroll 8
  for (int g = 0; g < kTileGroups; ++g) {
#pragma GCC unroll 2
    for (int v = 0; v < kTileVectors; ++v) {
      Store(logits + g * kPanelLanes + v * kLanes, sum[g][v]);
    }
  }
}

void Multiply(const void* panel, const void* strip, int32_t depth, float* logits) {
  const auto* q = static_cast<const Element*>(panel);
  const auto* k = static_cast<const Element*>(strip);
  const int32_t steps = TAMIS_BF16_DOT != 0 ? depth / 2 : depth;
  for (int g = 0; g < kStripGroups; g += kTileGroups) {
    for (int lane = 0; lane < kPanelLanes; lane += kTileVectors * kLanes) {
      MultiplyTile(q + lane, k + g, steps, logits + g * kPanelLanes + lane);
    }
  }
}

void Reduce(const float* logits, int32_t groups, int32_t first_group, const int32_t* last_group,
            const float* scale, float* maximum, float* sum) {
  const Floats minus_infinity = Splat(-__builtin_inff());
  for (int lane = 0; lane < kPanelLanes; lane += kLanes) {
    const Ints last = *reinterpret_cast<const Ints*>(last_group + lane);
    const Floats factor = Load(scale + lane);
    Floats largest = minus_infinity;
    for (int32_t g = 0; g < groups; ++g) {
      const Floats x = Load(logits + g * kPanelLanes + lane) * factor;
      const Floats visible = (Ints{} + (first_group + g)) <= last ? x : minus_infinity;
      largest = visible > largest ? visible : largest;
    }
    const Floats reference = largest > minus_infinity ? largest : Splat(0.0f);
    Floats total = {};
    for (int32_t g = 0; g < groups; ++g) {
      const Floats x = Load(logits + g * kPanelLanes + lane) * factor;
      const Ints is_visible = (Ints{} + (first_group + g)) <= last;
      // x * 0 is NaN where x is not finite: the comparisons above pass NaN by.
      total += is_visible ? Exp2(x - reference) + x * 0.0f : Splat(0.0f);
    }
    Store(maximum + lane, largest);
    Store(sum + lane, total);
  }
}

void Normalise(const float* maximum, float* sum, int32_t blocks) {
  const Floats minus_infinity = Splat(-__builtin_inff());
  for (int lane = 0; lane < kPanelLanes; lane += kLanes) {
    Floats largest = minus_infinity;
    for (int32_t j = 0; j < blocks; ++j) {
      const Floats m = Load(maximum + j * kPanelLanes + lane);
      largest = m > largest ? m : largest;
    }
    const Floats reference = largest > minus_infinity ? largest : Splat(0.0f);
    Floats total = {};
    for (int32_t j = 0; j < blocks; ++j) {
      const int64_t at = int64_t{j} * kPanelLanes + lane;
      const Floats scaled = Load(sum + at) * Exp2(Load(maximum + at) - reference);
      Store(sum + at, scaled);
      total += scaled;
    }
    // A lane without a visible group has total 0 and masses 0; NaN stays NaN.
    const Floats inverse = total == Splat(0.0f) ? Splat(0.0f) : 1.0f / total;
    for (int32_t j = 0; j < blocks; ++j) {
      const int64_t at = int64_t{j} * kPanelLanes + lane;
      Store(sum + at, Load(sum + at) * inverse);
    }
  }
}

}  // namespace

extern const XAttentionKernel TAMIS_XATTENTION_KERNEL = {
    .element_bytes = TAMIS_BF16_DOT != 0 ? 2 : 4,
    .pack = Pack,
    .multiply = Multiply,
    .reduce = Reduce,
    .normalise = Normalise,
};

}  // namespace tamis
