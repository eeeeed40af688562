// The decoder's arithmetic per instruction set: products with stored weights, and what surrounds
// them. Everything here works on one thread; callers split rows over a ThreadPool.
#ifndef TAMIS_MODEL_CPU_KERNELS_H_
#define TAMIS_MODEL_CPU_KERNELS_H_

#include <cstdint>

#include "tamis/cpu_isa.h"

namespace tamis {

enum class WeightType : uint8_t;  // model/checkpoint/checkpoint.h
inline constexpr int kWeightTypes = 7;

/// Products read activations in vectors of this many columns; rows of x end in zeros up to it.
inline constexpr int64_t kColumnStep = 32;
/// Panels hold features in groups of this many.
inline constexpr int64_t kFeatureStep = 16;
/// Features that a bf16 panel keeps side by side.
inline constexpr int64_t kPanelBlock = 64;
/// Most rows of x that `dot` takes.
inline constexpr int kDotRows = 4;

/// How activations are stored.
enum class StoreAs : uint8_t {
  kF32,
  kBF16,
  kF32RoundedToBF16,  ///< f32 that bf16 holds exactly: bf16 for CPUs without a bf16 dot product
};

/// Raw products of one head, [rows][head_dim] at `values`, on their way into Q, K or V.
struct HeadPanel {
  float* values = nullptr;  ///< overwritten
  int64_t stride = 0;
  int64_t rows = 0;
  int64_t head_dim = 0;
  const float* bias = nullptr;  ///< [head_dim]; null: none
  const float* norm = nullptr;  ///< [head_dim] weight of the head's RMS norm; null: none
  float epsilon = 0.0f;
  /// [rows][head_dim / 2], one row a token; null: no rotation.
  const float* cosine = nullptr;
  const float* sine = nullptr;
  void* out = nullptr;
  int64_t out_stride = 0;  ///< elements
  StoreAs as = StoreAs::kF32;
};

/// A few rows of bf16 activations.
struct BF16Rows {
  const uint16_t* values;  ///< [rows][stride], zeros past the columns
  int64_t stride;          ///< a multiple of kColumnStep
  const float* sums;       ///< [rows][stride / kColumnStep]: of each kColumnStep values
};

/// One instruction set's functions.
struct Kernels {
  /// y[i * y_stride + r] = x_i . row_r for m <= kDotRows rows of x and `count` weight rows of
  /// `columns` values, in f32. x_stride >= columns rounded up to kColumnStep, zeros in between.
  using Dot = void (*)(const uint8_t* const* rows, int64_t count, int64_t columns, const float* x,
                       int64_t x_stride, int m, float* y, int64_t y_stride);
  /// By WeightType.
  Dot dot[kWeightTypes];
  /// The same of bf16 activations by bf16 dot products. Null where these do not help.
  using DotBF16 = void (*)(const uint8_t* const* rows, int64_t count, int64_t columns,
                           const BF16Rows& x, int m, float* y, int64_t y_stride);
  DotBF16 dot_bf16[kWeightTypes];

  /// Expands `count` weight rows into columns [feature, feature + count rounded up to
  /// kFeatureStep) of a panel, zeros for the missing rows and for columns up to a multiple of
  /// kColumnStep. `features` and `feature` are multiples of kFeatureStep.
  /// f32 panels: [columns][features]. bf16 panels: [features / 64][columns / 2][64][2].
  using Pack = void (*)(const uint8_t* const* rows, int64_t count, int64_t columns, void* panel,
                        int64_t features, int64_t feature);
  Pack pack_f32[kWeightTypes];
  /// Null where the instruction set has no bf16 dot product.
  Pack pack_bf16[kWeightTypes];

  /// RMS norm (arXiv 1910.07467) of `rows` packed rows, times `weight`. `out` may be `x` for kF32.
  void (*rms_norm)(const float* x, int64_t rows, int64_t columns, const float* weight,
                   float epsilon, void* out, StoreAs as);
  /// Bias, RMS norm, rotation by halves, in this order, then the store.
  void (*finish_heads)(const HeadPanel& panel);
  /// out = silu(gate) * up, [rows][features]; gate and up share `stride`.
  void (*swiglu)(const float* gate, const float* up, int64_t stride, int64_t rows, int64_t features,
                 void* out, int64_t out_stride, StoreAs as);
  /// out += values, [rows][features].
  void (*add)(const float* values, int64_t stride, int64_t rows, int64_t features, float* out,
              int64_t out_stride);
  /// Stores `count` numbers.
  void (*store)(const float* x, int64_t count, void* out, StoreAs as);
  /// The inverse of store for kBF16.
  void (*widen_bf16)(const uint16_t* x, int64_t count, float* out);
};

/// `isa` must be one that this machine runs.
const Kernels& KernelsFor(CpuIsa isa);

}  // namespace tamis

#endif  // TAMIS_MODEL_CPU_KERNELS_H_
