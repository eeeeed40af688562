// The functions of kernels.h, over lanes. Each kernels_<isa>.cc compiles this file once with its
// instruction set's flags.
#ifndef TAMIS_MODEL_CPU_KERNELS_IMPL_H_
#define TAMIS_MODEL_CPU_KERNELS_IMPL_H_

#include <cmath>
#include <cstdint>

#include "model/cpu/dot_bf16.h"
#include "model/cpu/kernels.h"
#include "model/cpu/lanes.h"
#include "model/cpu/weight_lanes.h"

namespace tamis {
namespace {

// --- products with rows as stored ----------------------------------------------------------------

/// kRows weight rows times kM rows of x. Two sums a product hide the latency of the addition.
template <typename Format, int kRows, int kM>
void DotBlock(const uint8_t* const* rows, int64_t columns, const float* x, int64_t x_stride,
              float* y, int64_t y_stride) {
  Lanes sums[kRows][kM][2];
  for (int r = 0; r < kRows; ++r) {
    for (int i = 0; i < kM; ++i) sums[r][i][0] = sums[r][i][1] = Zero();
  }
  const auto accumulate = [&](int r, int64_t column, const Lanes& a, const Lanes& b) {
    for (int i = 0; i < kM; ++i) {
      const float* at = x + i * x_stride + column;
      sums[r][i][0] = Fma(a, Load(at), sums[r][i][0]);
      sums[r][i][1] = Fma(b, Load(at + 16), sums[r][i][1]);
    }
  };
  const int64_t whole = Format::kElementBytes == 0 ? columns : columns / kColumnStep * kColumnStep;
  for (int64_t column = 0; column < whole; column += kColumnStep) {
    for (int r = 0; r < kRows; ++r) {
      FetchWeights(rows[r] + Format::Offset(column));
      Lanes a, b;
      Format::Expand(rows[r], column, a, b);
      accumulate(r, column, a, b);
    }
  }
  if constexpr (Format::kElementBytes != 0) {
    for (int r = 0; r < kRows && whole < columns; ++r) {
      Lanes a, b;
      ExpandTail<Format>(rows[r], whole, columns, a, b);
      accumulate(r, whole, a, b);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int i = 0; i < kM; ++i) y[i * y_stride + r] = Sum(Add(sums[r][i][0], sums[r][i][1]));
  }
}

template <typename Format, int kM>
void DotRowsOf(const uint8_t* const* rows, int64_t count, int64_t columns, const float* x,
               int64_t x_stride, float* y, int64_t y_stride) {
  constexpr int kRows = kM == 1 ? 4 : 2;
  int64_t r = 0;
  for (; r + kRows <= count; r += kRows) {
    DotBlock<Format, kRows, kM>(rows + r, columns, x, x_stride, y + r, y_stride);
  }
  for (; r < count; ++r) DotBlock<Format, 1, kM>(rows + r, columns, x, x_stride, y + r, y_stride);
}

template <typename Format>
void DotRows(const uint8_t* const* rows, int64_t count, int64_t columns, const float* x,
             int64_t x_stride, int m, float* y, int64_t y_stride) {
  switch (m) {
    case 1:
      return DotRowsOf<Format, 1>(rows, count, columns, x, x_stride, y, y_stride);
    case 2:
      return DotRowsOf<Format, 2>(rows, count, columns, x, x_stride, y, y_stride);
    case 3:
      return DotRowsOf<Format, 3>(rows, count, columns, x, x_stride, y, y_stride);
    default:
      return DotRowsOf<Format, 4>(rows, count, columns, x, x_stride, y, y_stride);
  }
}

// --- panels for matrix products ------------------------------------------------------------------

/// Values [column, column + 32) of 16 rows, one row a vector; zeros for missing rows.
template <typename Format>
inline void ExpandSquares(const uint8_t* const* rows, int64_t count, int64_t column,
                          int64_t columns, Lanes (&a)[16], Lanes (&b)[16]) {
  const bool tail = Format::kElementBytes != 0 && column + kColumnStep > columns;
  for (int64_t r = 0; r < 16; ++r) {
    if (r >= count) {
      a[r] = b[r] = Zero();
    } else if (tail) {
      ExpandTail<Format>(rows[r], column, columns, a[r], b[r]);
    } else {
      Format::Expand(rows[r], column, a[r], b[r]);
    }
  }
}

template <typename Format>
void PackF32(const uint8_t* const* rows, int64_t count, int64_t columns, void* panel,
             int64_t features, int64_t feature) {
  auto* out = static_cast<float*>(panel) + feature;
  for (int64_t r = 0; r < count; r += kFeatureStep, out += kFeatureStep) {
    for (int64_t column = 0; column < columns; column += kColumnStep) {
      Lanes a[16], b[16];
      ExpandSquares<Format>(rows + r, count - r, column, columns, a, b);
      Transpose(a);
      Transpose(b);
      for (int i = 0; i < 16; ++i) {
        Store(out + (column + i) * features, a[i]);
        Store(out + (column + 16 + i) * features, b[i]);
      }
    }
  }
}

#if defined(__AVX512BF16__)
template <typename Format>
void PackBF16(const uint8_t* const* rows, int64_t count, int64_t columns, void* panel,
              int64_t features, int64_t feature) {
  static_cast<void>(features);  // blocks of 64 do not depend on how many there are
  const int64_t pairs = (columns + kColumnStep - 1) / kColumnStep * kColumnStep / 2;
  for (int64_t r = 0; r < count; r += kFeatureStep, feature += kFeatureStep) {
    // A pair of columns travels as one 32-bit lane.
    float* out = static_cast<float*>(panel) + feature / kPanelBlock * pairs * kPanelBlock +
                 feature % kPanelBlock;
    for (int64_t column = 0; column < columns; column += kColumnStep) {
      Lanes a[16], b[16];
      ExpandSquares<Format>(rows + r, count - r, column, columns, a, b);
      for (int i = 0; i < 16; ++i) {
        a[i].v = reinterpret_cast<__m512>(_mm512_cvtne2ps_pbh(b[i].v, a[i].v));
      }
      Transpose(a);
      for (int i = 0; i < 16; ++i) Store(out + (column / 2 + i) * kPanelBlock, a[i]);
    }
  }
}
#endif

// --- around the products -------------------------------------------------------------------------

/// Stores the first `count` (1 to 16) lanes at element `index` of `out`.
inline void StoreLanes(void* out, int64_t index, const Lanes& a, int64_t count, StoreAs as) {
  switch (as) {
    case StoreAs::kF32:
      return StoreFirst(static_cast<float*>(out) + index, a, count);
    case StoreAs::kBF16:
      return StoreFirstBFloat16(static_cast<uint16_t*>(out) + index, a, count);
    case StoreAs::kF32RoundedToBF16:
      return StoreFirst(static_cast<float*>(out) + index, RoundToBFloat16(a), count);
  }
}

inline float InverseRms(const float* x, int64_t columns, float epsilon) {
  Lanes squares = Zero();
  for (int64_t c = 0; c < columns; c += 16) {
    const Lanes v = LoadFirst(x + c, columns - c);
    squares = Fma(v, v, squares);
  }
  return 1.0f / std::sqrt(Sum(squares) / static_cast<float>(columns) + epsilon);
}

void RmsNorm(const float* x, int64_t rows, int64_t columns, const float* weight, float epsilon,
             void* out, StoreAs as) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = x + r * columns;
    const Lanes scale = Broadcast(InverseRms(row, columns, epsilon));
    for (int64_t c = 0; c < columns; c += 16) {
      const Lanes v = Mul(LoadFirst(row + c, columns - c), scale);
      StoreLanes(out, r * columns + c, Mul(v, LoadFirst(weight + c, columns - c)), columns - c, as);
    }
  }
}

inline void AddBias(float* x, const float* bias, int64_t columns) {
  for (int64_t c = 0; c < columns; c += 16) {
    const int64_t left = columns - c;
    StoreFirst(x + c, Add(LoadFirst(x + c, left), LoadFirst(bias + c, left)), left);
  }
}

void FinishHeads(const HeadPanel& panel) {
  const int64_t dim = panel.head_dim;
  const int64_t half = dim / 2;
  for (int64_t r = 0; r < panel.rows; ++r) {
    float* x = panel.values + r * panel.stride;
    const int64_t to = r * panel.out_stride;
    if (panel.bias != nullptr) AddBias(x, panel.bias, dim);
    if (panel.norm != nullptr) RmsNorm(x, 1, dim, panel.norm, panel.epsilon, x, StoreAs::kF32);
    if (panel.cosine == nullptr) {
      for (int64_t c = 0; c < dim; c += 16) {
        StoreLanes(panel.out, to + c, LoadFirst(x + c, dim - c), dim - c, panel.as);
      }
      continue;
    }
    for (int64_t c = 0; c < half; c += 16) {
      const int64_t left = half - c;
      const Lanes cosine = LoadFirst(panel.cosine + r * half + c, left);
      const Lanes sine = LoadFirst(panel.sine + r * half + c, left);
      const Lanes a = LoadFirst(x + c, left);
      const Lanes b = LoadFirst(x + half + c, left);
      StoreLanes(panel.out, to + c, NegFma(b, sine, Mul(a, cosine)), left, panel.as);
      StoreLanes(panel.out, to + half + c, Fma(a, sine, Mul(b, cosine)), left, panel.as);
    }
  }
}

/// e^x for x in [-87, 88], to about one unit in the last place: e^x = 2^n e^r, |r| <= ln(2) / 2,
/// with the series of e^r up to r^7.
inline Lanes Exp(Lanes x) {
  const Lanes n = Round(Mul(x, Broadcast(1.44269504f)));
  Lanes r = NegFma(n, Broadcast(0.693359375f), x);  // ln 2 in two parts: this one times n is exact
  r = NegFma(n, Broadcast(-2.12194440e-4f), r);
  Lanes series = Broadcast(1.0f / 5040.0f);
  for (const float term :
       {1.0f / 720.0f, 1.0f / 120.0f, 1.0f / 24.0f, 1.0f / 6.0f, 0.5f, 1.0f, 1.0f}) {
    series = Fma(series, r, Broadcast(term));
  }
  return Scale(series, n);
}

inline Lanes Silu(Lanes x) {
  const Lanes clamped = Max(Min(Mul(x, Broadcast(-1.0f)), Broadcast(88.0f)), Broadcast(-87.0f));
  return Div(x, Add(Broadcast(1.0f), Exp(clamped)));
}

void SwiGlu(const float* gate, const float* up, int64_t stride, int64_t rows, int64_t features,
            void* out, int64_t out_stride, StoreAs as) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < features; c += 16) {
      const int64_t left = features - c;
      const Lanes g = LoadFirst(gate + r * stride + c, left);
      const Lanes u = LoadFirst(up + r * stride + c, left);
      StoreLanes(out, r * out_stride + c, Mul(Silu(g), u), left, as);
    }
  }
}

void AddRows(const float* values, int64_t stride, int64_t rows, int64_t features, float* out,
             int64_t out_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* from = values + r * stride;
    float* to = out + r * out_stride;
    for (int64_t c = 0; c < features; c += 16) {
      const int64_t left = features - c;
      StoreFirst(to + c, Add(LoadFirst(to + c, left), LoadFirst(from + c, left)), left);
    }
  }
}

void StoreAll(const float* x, int64_t count, void* out, StoreAs as) {
  for (int64_t i = 0; i < count; i += 16) {
    StoreLanes(out, i, LoadFirst(x + i, count - i), count - i, as);
  }
}

void WidenBF16(const uint16_t* x, int64_t count, float* out) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    Store(out + i, FromBFloat16(reinterpret_cast<const uint8_t*>(x + i)));
  }
  if (i == count) return;
  uint16_t padded[16] = {};
  std::memcpy(padded, x + i, static_cast<size_t>(count - i) * sizeof(uint16_t));
  StoreFirst(out + i, FromBFloat16(reinterpret_cast<const uint8_t*>(padded)), count - i);
}

/// In the order of WeightType; kernels.cc checks it.
constexpr Kernels kKernels = {
    .dot = {DotRows<PlainF32>, DotRows<PlainF16>, DotRows<PlainBF16>, DotRows<BlockQ8_0>,
            DotRows<BlockQ4_0>, DotRows<BlockQ4_1>, DotRows<BlockQ6_K>},
#if defined(__AVX512BF16__)
    .dot_bf16 = {nullptr, nullptr, DotRowsBF16<PlainBF16Dot>, nullptr,
                 DotRowsBF16<NibbleDot<false>>, DotRowsBF16<NibbleDot<true>>, nullptr},
#else
    .dot_bf16 = {},
#endif
    .pack_f32 = {PackF32<PlainF32>, PackF32<PlainF16>, PackF32<PlainBF16>, PackF32<BlockQ8_0>,
                 PackF32<BlockQ4_0>, PackF32<BlockQ4_1>, PackF32<BlockQ6_K>},
#if defined(__AVX512BF16__)
    .pack_bf16 = {PackBF16<PlainF32>, PackBF16<PlainF16>, PackBF16<PlainBF16>, PackBF16<BlockQ8_0>,
                  PackBF16<BlockQ4_0>, PackBF16<BlockQ4_1>, PackBF16<BlockQ6_K>},
#else
    .pack_bf16 = {},
#endif
    .rms_norm = RmsNorm,
    .finish_heads = FinishHeads,
    .swiglu = SwiGlu,
    .add = AddRows,
    .store = StoreAll,
    .widen_bf16 = WidenBF16,
};

}  // namespace
}  // namespace tamis

#endif  // TAMIS_MODEL_CPU_KERNELS_IMPL_H_
