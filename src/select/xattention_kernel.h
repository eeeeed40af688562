// The inner loops of XAttention's estimate, compiled once per instruction set.
#ifndef TAMIS_SELECT_XATTENTION_KERNEL_H_
#define TAMIS_SELECT_XATTENTION_KERNEL_H_

#include <cstddef>
#include <cstdint>

#include "tamis/cpu_isa.h"
#include "tamis/dtype.h"

namespace tamis {

/// Query groups run along vector lanes and key groups are broadcast, so that maxima and sums over
/// the key groups of a block need no step across lanes.
///
/// Packed layouts, of one group's S * head_dim elements (the depth) by w groups:
///     fp32            [depth][w]
///     bf16 pairs      [depth / 2][w][2]     (element_bytes == 2)
constexpr int32_t kPanelLanes = 32;  ///< query groups of a packed panel
constexpr int32_t kStripGroups = 8;  ///< key groups of a packed strip

struct XAttentionKernel {
  int32_t element_bytes;  ///< of packed elements

  /// Packs `dim` elements (a multiple of 8) of `width` rows as consecutive depth steps of a panel
  /// or strip. rows[i] null: zeros. Kernels that pack bf16 pairs take bf16 only.
  void (*pack)(DType dtype, const void* const* rows, int32_t width, int32_t dim, void* target);

  /// logits[g * kPanelLanes + lane] = sum over the depth of strip[g] * panel[lane], fp32.
  void (*multiply)(const void* panel, const void* strip, int32_t depth, float* logits);

  /// Per lane, over key groups g in [0, groups), of x(g) = scale[lane] * logits[g][lane] where
  /// first_group + g <= last_group[lane], else -inf:
  ///     maximum = max x(g), sum = sum 2^(x(g) - maximum); -inf and 0 where no group is visible.
  /// A logit that is not finite makes the sum NaN.
  void (*reduce)(const float* logits, int32_t groups, int32_t first_group,
                 const int32_t* last_group, const float* scale, float* maximum, float* sum);

  /// Turns per-block maxima and sums [blocks][kPanelLanes] into softmax masses, in place of sums.
  void (*normalise)(const float* maximum, float* sum, int32_t blocks);
};

extern const XAttentionKernel kXAttentionPortable;
#if defined(__x86_64__)
extern const XAttentionKernel kXAttentionAvx2;
extern const XAttentionKernel kXAttentionAvx512;
extern const XAttentionKernel kXAttentionAvx512Bf16;  ///< packs bf16 pairs
#endif

/// The kernel for `isa` and the dtypes of Q and K. fp32 arithmetic, except bf16 x bf16 products
/// (fp32 sums) on kAvx512Bf16. The machine must run `isa`.
const XAttentionKernel& XAttentionKernelFor(CpuIsa isa, DType q, DType k);

}  // namespace tamis

#endif  // TAMIS_SELECT_XATTENTION_KERNEL_H_
