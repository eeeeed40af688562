// Sixteen float lanes on every instruction set: one zmm, two ymm or an array.
//
// Included only by the sources of this directory that are compiled per instruction set. Everything
// here has internal linkage, so that no copy compiled for a newer machine is linked into older
// code.
#ifndef TAMIS_MODEL_CPU_LANES_H_
#define TAMIS_MODEL_CPU_LANES_H_

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "tamis/dtype.h"

namespace tamis {
namespace {

/// Asks for the weights some way after those at `p`: they are read once, from memory, and rows are
/// too short for the processor to foresee the next ones. Callers walk rows in the order of memory.
/// Into L2: L1 has too few line buffers for lines on their way from memory.
inline void FetchWeights(const uint8_t* p) { __builtin_prefetch(p + (16 << 10), 0, 2); }

/// Sixteen bytes; &, |, << and >> work lane by lane.
typedef uint8_t Bytes16 __attribute__((vector_size(16)));

inline Bytes16 LoadBytes(const uint8_t* source) {
  Bytes16 bytes;
  std::memcpy(&bytes, source, sizeof(bytes));
  return bytes;
}

inline uint16_t LoadU16(const uint8_t* source) {
  uint16_t value;
  std::memcpy(&value, source, sizeof(value));
  return value;
}

#if defined(__AVX512F__)

struct Lanes {
  __m512 v;
};
inline Lanes Zero() { return {_mm512_setzero_ps()}; }
inline Lanes Broadcast(float x) { return {_mm512_set1_ps(x)}; }
inline Lanes Load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline void Store(float* p, Lanes a) { _mm512_storeu_ps(p, a.v); }
inline Lanes Add(Lanes a, Lanes b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Lanes Mul(Lanes a, Lanes b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Lanes Div(Lanes a, Lanes b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Lanes Min(Lanes a, Lanes b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Lanes Max(Lanes a, Lanes b) { return {_mm512_max_ps(a.v, b.v)}; }
/// a b + c and c - a b
inline Lanes Fma(Lanes a, Lanes b, Lanes c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline Lanes NegFma(Lanes a, Lanes b, Lanes c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
inline Lanes Round(Lanes a) { return {_mm512_roundscale_ps(a.v, 0)}; }
/// a 2^n for whole n that keep the result normal
inline Lanes Scale(Lanes a, Lanes n) { return {_mm512_scalef_ps(a.v, n.v)}; }
inline float Sum(Lanes a) { return _mm512_reduce_add_ps(a.v); }

inline Lanes FromUnsigned(Bytes16 b) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(reinterpret_cast<__m128i>(b)))};
}
inline Lanes FromSigned(Bytes16 b) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(reinterpret_cast<__m128i>(b)))};
}
inline Lanes FromHalf(const uint8_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
inline Lanes FromBFloat16(const uint8_t* p) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
}

/// The 16 numbers table[b & 15] of a block's nibbles.
struct NibbleTable {
  __m512 v;
};
/// table[q] = scale q + offset
inline NibbleTable LinearTable(float scale, float offset) {
  const __m512 q = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return {_mm512_fmadd_ps(q, _mm512_set1_ps(scale), _mm512_set1_ps(offset))};
}
inline void LookUpNibbles(NibbleTable table, Bytes16 b, Lanes& low, Lanes& high) {
  // The permutation reads the low four bits of each index only.
  const __m512i index = _mm512_cvtepu8_epi32(reinterpret_cast<__m128i>(b));
  low.v = _mm512_permutexvar_ps(index, table.v);
  high.v = _mm512_permutexvar_ps(_mm512_srli_epi32(index, 4), table.v);
}

inline __m512i RoundedBFloat16Bits(Lanes a) {
  const __m512i bits = _mm512_castps_si512(a.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  return _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
}
inline void StoreBFloat16(uint16_t* p, Lanes a) {
#if defined(__AVX512BF16__)
  const __m256i bits = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(a.v));
#else
  const __m256i bits = _mm512_cvtepi32_epi16(_mm512_srli_epi32(RoundedBFloat16Bits(a), 16));
#endif
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), bits);
}
inline Lanes RoundToBFloat16(Lanes a) {
  return {_mm512_castsi512_ps(
      _mm512_and_si512(RoundedBFloat16Bits(a), _mm512_set1_epi32(static_cast<int>(0xffff0000))))};
}

/// Transposes 16 rows of 16 lanes in place.
inline void Transpose(Lanes (&rows)[16]) {
  __m512 t[16];
  for (int i = 0; i < 16; i += 4) {
    const __m512 a = _mm512_unpacklo_ps(rows[i].v, rows[i + 1].v);
    const __m512 b = _mm512_unpackhi_ps(rows[i].v, rows[i + 1].v);
    const __m512 c = _mm512_unpacklo_ps(rows[i + 2].v, rows[i + 3].v);
    const __m512 d = _mm512_unpackhi_ps(rows[i + 2].v, rows[i + 3].v);
    t[i] = _mm512_shuffle_ps(a, c, 0x44);
    t[i + 1] = _mm512_shuffle_ps(a, c, 0xee);
    t[i + 2] = _mm512_shuffle_ps(b, d, 0x44);
    t[i + 3] = _mm512_shuffle_ps(b, d, 0xee);
  }
  // t[4 g + j] holds, in 128-bit part p, column 4 p + j of rows 4 g .. 4 g + 3.
  for (int j = 0; j < 4; ++j) {
    const __m512 a = _mm512_shuffle_f32x4(t[j], t[4 + j], 0x88);
    const __m512 b = _mm512_shuffle_f32x4(t[8 + j], t[12 + j], 0x88);
    const __m512 c = _mm512_shuffle_f32x4(t[j], t[4 + j], 0xdd);
    const __m512 d = _mm512_shuffle_f32x4(t[8 + j], t[12 + j], 0xdd);
    rows[j].v = _mm512_shuffle_f32x4(a, b, 0x88);
    rows[8 + j].v = _mm512_shuffle_f32x4(a, b, 0xdd);
    rows[4 + j].v = _mm512_shuffle_f32x4(c, d, 0x88);
    rows[12 + j].v = _mm512_shuffle_f32x4(c, d, 0xdd);
  }
}

#elif defined(__AVX2__)

struct Lanes {
  __m256 a, b;
};
inline Lanes Zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
inline Lanes Broadcast(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline Lanes Load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void Store(float* p, Lanes x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
inline Lanes Add(Lanes x, Lanes y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline Lanes Mul(Lanes x, Lanes y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline Lanes Div(Lanes x, Lanes y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline Lanes Min(Lanes x, Lanes y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
inline Lanes Max(Lanes x, Lanes y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
/// x y + z and z - x y
inline Lanes Fma(Lanes x, Lanes y, Lanes z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
inline Lanes NegFma(Lanes x, Lanes y, Lanes z) {
  return {_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)};
}
inline Lanes Round(Lanes x) { return {_mm256_round_ps(x.a, 0), _mm256_round_ps(x.b, 0)}; }
inline __m256 PowerOfTwo(__m256 n) {
  const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}
/// x 2^n for whole n in [-126, 127] that keep the result normal
inline Lanes Scale(Lanes x, Lanes n) { return Mul(x, {PowerOfTwo(n.a), PowerOfTwo(n.b)}); }
inline float Sum(Lanes x) {
  const __m256 s = _mm256_add_ps(x.a, x.b);
  __m128 t = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  t = _mm_add_ps(t, _mm_movehl_ps(t, t));
  return _mm_cvtss_f32(_mm_add_ss(t, _mm_shuffle_ps(t, t, 1)));
}

inline Lanes FromUnsigned(Bytes16 bytes) {
  const __m128i b = reinterpret_cast<__m128i>(bytes);
  return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(b)),
          _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(b, 8)))};
}
inline Lanes FromSigned(Bytes16 bytes) {
  const __m128i b = reinterpret_cast<__m128i>(bytes);
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(b)),
          _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(b, 8)))};
}
inline Lanes FromHalf(const uint8_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16)))};
}
inline __m256 WidenBFloat16(__m128i bits) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
inline Lanes FromBFloat16(const uint8_t* p) {
  return {WidenBFloat16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          WidenBFloat16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16)))};
}

struct NibbleTable {
  Lanes scale, offset;
};
inline NibbleTable LinearTable(float scale, float offset) {
  return {Broadcast(scale), Broadcast(offset)};
}
inline void LookUpNibbles(NibbleTable table, Bytes16 b, Lanes& low, Lanes& high) {
  low = Fma(FromUnsigned(b & 15), table.scale, table.offset);
  high = Fma(FromUnsigned(b >> 4), table.scale, table.offset);
}

inline __m256i RoundedBFloat16Bits(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  return _mm256_blendv_epi8(rounded, quiet, nan);
}
inline void StoreBFloat16(uint16_t* p, Lanes x) {
  const __m256i low = _mm256_srli_epi32(RoundedBFloat16Bits(x.a), 16);
  const __m256i high = _mm256_srli_epi32(RoundedBFloat16Bits(x.b), 16);
  // Packing works within 128-bit halves; the permutation puts the quarters in order.
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0xd8);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), packed);
}
inline Lanes RoundToBFloat16(Lanes x) {
  const __m256i mask = _mm256_set1_epi32(static_cast<int>(0xffff0000));
  return {_mm256_castsi256_ps(_mm256_and_si256(RoundedBFloat16Bits(x.a), mask)),
          _mm256_castsi256_ps(_mm256_and_si256(RoundedBFloat16Bits(x.b), mask))};
}

#else  // plain C++

struct Lanes {
  float v[16];
};
template <typename F>
inline Lanes Map(F f) {
  Lanes out;
  for (int i = 0; i < 16; ++i) out.v[i] = f(i);
  return out;
}
inline Lanes Broadcast(float x) {
  return Map([=](int) { return x; });
}
inline Lanes Zero() { return Broadcast(0.0f); }
inline Lanes Load(const float* p) {
  Lanes out;
  std::memcpy(out.v, p, sizeof(out.v));
  return out;
}
inline void Store(float* p, const Lanes& a) { std::memcpy(p, a.v, sizeof(a.v)); }
inline Lanes Add(const Lanes& a, const Lanes& b) {
  return Map([&](int i) { return a.v[i] + b.v[i]; });
}
inline Lanes Mul(const Lanes& a, const Lanes& b) {
  return Map([&](int i) { return a.v[i] * b.v[i]; });
}
inline Lanes Div(const Lanes& a, const Lanes& b) {
  return Map([&](int i) { return a.v[i] / b.v[i]; });
}
inline Lanes Min(const Lanes& a, const Lanes& b) {
  return Map([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
inline Lanes Max(const Lanes& a, const Lanes& b) {
  return Map([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
/// a b + c and c - a b
inline Lanes Fma(const Lanes& a, const Lanes& b, const Lanes& c) {
  return Map([&](int i) { return a.v[i] * b.v[i] + c.v[i]; });
}
inline Lanes NegFma(const Lanes& a, const Lanes& b, const Lanes& c) {
  return Map([&](int i) { return c.v[i] - a.v[i] * b.v[i]; });
}
/// To the nearest whole number, for |a| < 2^22: adding 1.5 2^23 leaves no bits behind the point.
inline Lanes Round(const Lanes& a) {
  return Map([&](int i) { return (a.v[i] + 12582912.0f) - 12582912.0f; });
}
/// a 2^n for whole n in [-126, 127] that keep the result normal
inline Lanes Scale(const Lanes& a, const Lanes& n) {
  return Map([&](int i) {
    return a.v[i] * std::bit_cast<float>((static_cast<int32_t>(n.v[i]) + 127) << 23);
  });
}
inline float Sum(const Lanes& a) {
  float part[8];
  for (int i = 0; i < 8; ++i) part[i] = a.v[i] + a.v[i + 8];
  for (int i = 0; i < 4; ++i) part[i] += part[i + 4];
  return (part[0] + part[2]) + (part[1] + part[3]);
}

inline Lanes FromUnsigned(Bytes16 b) {
  return Map([&](int i) { return static_cast<float>(b[i]); });
}
inline Lanes FromSigned(Bytes16 b) {
  return Map([&](int i) { return static_cast<float>(static_cast<int8_t>(b[i])); });
}
inline Lanes FromHalf(const uint8_t* p) {
  return Map([&](int i) { return ToFloat(Float16{LoadU16(p + 2 * i)}); });
}
inline Lanes FromBFloat16(const uint8_t* p) {
  return Map([&](int i) { return std::bit_cast<float>(uint32_t{LoadU16(p + 2 * i)} << 16); });
}

struct NibbleTable {
  float scale, offset;
};
inline NibbleTable LinearTable(float scale, float offset) { return {scale, offset}; }
inline void LookUpNibbles(NibbleTable table, Bytes16 b, Lanes& low, Lanes& high) {
  for (int i = 0; i < 16; ++i) {
    low.v[i] = static_cast<float>(b[i] & 15) * table.scale + table.offset;
    high.v[i] = static_cast<float>(b[i] >> 4) * table.scale + table.offset;
  }
}

inline void StoreBFloat16(uint16_t* p, const Lanes& a) {
  for (int i = 0; i < 16; ++i) p[i] = ToBFloat16(a.v[i]).bits;
}
inline Lanes RoundToBFloat16(const Lanes& a) {
  return Map([&](int i) { return ToFloat(ToBFloat16(a.v[i])); });
}

#endif

#if !defined(__AVX512F__)
/// Transposes 16 rows of 16 lanes in place.
inline void Transpose(Lanes (&rows)[16]) {
  float from[16][16];
  float to[16][16];
  for (int i = 0; i < 16; ++i) Store(from[i], rows[i]);
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 16; ++j) to[i][j] = from[j][i];
  }
  for (int i = 0; i < 16; ++i) rows[i] = Load(to[i]);
}
#endif

/// The first `count` (1 to 16) numbers, zeros after them.
inline Lanes LoadFirst(const float* p, int64_t count) {
  if (count >= 16) return Load(p);
  float padded[16] = {};
  std::memcpy(padded, p, static_cast<size_t>(count) * sizeof(float));
  return Load(padded);
}
inline void StoreFirst(float* p, const Lanes& a, int64_t count) {
  if (count >= 16) return Store(p, a);
  float padded[16];
  Store(padded, a);
  std::memcpy(p, padded, static_cast<size_t>(count) * sizeof(float));
}
inline void StoreFirstBFloat16(uint16_t* p, const Lanes& a, int64_t count) {
  if (count >= 16) return StoreBFloat16(p, a);
  uint16_t padded[16];
  StoreBFloat16(padded, a);
  std::memcpy(p, padded, static_cast<size_t>(count) * sizeof(uint16_t));
}

/// A binary16 of a block's header as f32.
inline float HeaderHalf(const uint8_t* p) {
#if defined(__AVX2__)
  return _cvtsh_ss(LoadU16(p));
#else
  return ToFloat(Float16{LoadU16(p)});
#endif
}

}  // namespace
}  // namespace tamis

#endif  // TAMIS_MODEL_CPU_LANES_H_
