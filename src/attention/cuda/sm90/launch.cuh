// The instantiations of the Hopper forward kernel, as the host sees them.
#ifndef TAMIS_ATTENTION_CUDA_SM90_LAUNCH_CUH_
#define TAMIS_ATTENTION_CUDA_SM90_LAUNCH_CUH_

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "attention/cuda/sm90/params.h"

namespace tamis::cuda::sm90 {

struct TensorMaps {
  CUtensorMap q, k, v;
  CUtensorMap o;         ///< boxes of 16 rows
  CUtensorMap v_groups;  ///< sparse kernels: V in groups of four keys
};

/// One instantiation: its tile and how to start it on `blocks` persistent blocks.
struct Kernel {
  int32_t tile_rows;
  int32_t tile_keys;
  cudaError_t (*launch)(const TensorMaps& maps, const ForwardParams& params, int32_t blocks,
                        cudaStream_t stream);
};

/// Fills params.sequence_order, params.first_tiles and params.next_tile for tiles of `tile_rows`
/// queries.
cudaError_t OrderSequences(const ForwardParams& params, int32_t tile_rows, cudaStream_t stream);

/// Causality and lengths alone.
extern const Kernel kForwardBf16D64, kForwardBf16D128, kForwardF16D64, kForwardF16D128;
/// Everything (see ScoreParams).
extern const Kernel kGeneralBf16D64, kGeneralBf16D128, kGeneralBf16D256;
extern const Kernel kGeneralF16D64, kGeneralF16D128, kGeneralF16D256;
/// The lists of a TileIndex under causality and lengths, with copies of 64 rows.
extern const Kernel kListsBf16D64, kListsBf16D128, kListsF16D64, kListsF16D128;
/// The same with windows and columns.
extern const Kernel kGatherBf16D64, kGatherBf16D128, kGatherF16D64, kGatherF16D128;

/// The same with N:M of any kind on the dense product.
extern const Kernel kGatherThinBf16D64, kGatherThinBf16D128, kGatherThinF16D64, kGatherThinF16D128;

/// Fills params.lists.gather.lengths.
cudaError_t LaunchMeasureRows(const ForwardParams& params, cudaStream_t stream);

/// The first and the third with skip-softmax, the third in key blocks of 128.
extern const Kernel kSkipBf16D64, kSkipBf16D128, kSkipF16D64, kSkipF16D128;
extern const Kernel kListsSkipBf16D64, kListsSkipBf16D128, kListsSkipF16D64, kListsSkipF16D128;
/// The third in key blocks of 64, and the fourth.
extern const Kernel kListsSkipUnitsBf16D64, kListsSkipUnitsBf16D128;
extern const Kernel kListsSkipUnitsF16D64, kListsSkipUnitsF16D128;
extern const Kernel kGatherSkipBf16D64, kGatherSkipBf16D128, kGatherSkipF16D64, kGatherSkipF16D128;
/// The fourth with skip-softmax and N:M of any kind; runs key blocks of 64 without windows too.
extern const Kernel kGatherThinSkipBf16D64, kGatherThinSkipBf16D128;
extern const Kernel kGatherThinSkipF16D64, kGatherThinSkipF16D128;

/// The tiles of a call whose kernel has filled params.skip.dropped.
struct CountedTiles {
  int32_t keys;  ///< of a tile
  bool listed;   ///< params.lists says which were visited, else all
  /// Of tiles that were not dropped, what is kept: the pairs that the mask allows; of those the
  /// best of N:M, while the kernel has counted tiles with tokens that are kept besides, which it
  /// finds for `kernel_rows` rows together; or what the kernel has counted.
  enum class Kept : uint8_t { kAllowed, kSelected, kCounted } kept;
  int32_t kernel_rows;
};

/// Adds what they hold to params.skip.counts.
cudaError_t CountTiles(const ForwardParams& params, const CountedTiles& tiles, cudaStream_t stream);

/// Clears the tile counter and fills `params.lists.order`.
cudaError_t LaunchListOrder(const ForwardParams& params, cudaStream_t stream);

/// Of each dtype and head dim: 2:4, 1:2 and 1:4, in the order of Keep.
struct SparseKernels {
  Kernel plain[3];
  Kernel with_tokens[3];  ///< sinks, recent tokens or dense diagonal blocks
  Kernel lists[3];
};
/// N:M on the dense product: every M up to 4, M 8; 3:4 and M 8 on keys in groups of eight.
struct ThinKernels {
  Kernel dense[2];
  Kernel lists[2];
  Kernel groups;
};
/// Skip-softmax with every N:M, with and without tokens that are kept besides: on the sparse
/// product (2:4, 1:2 and 1:4; lists without such tokens), and on the dense one.
struct SparseSkipKernels {
  Kernel dense[3];
  Kernel lists[3];
};
struct ThinSkipKernels {
  Kernel dense;
  Kernel lists;
};
extern const ThinKernels kThinBf16D64, kThinBf16D128, kThinF16D64, kThinF16D128;
extern const SparseKernels kSparseBf16D64, kSparseBf16D128, kSparseF16D64, kSparseF16D128;
extern const ThinSkipKernels kThinSkipBf16D64, kThinSkipBf16D128, kThinSkipF16D64, kThinSkipF16D128;
extern const SparseSkipKernels kSparseSkipBf16D64, kSparseSkipBf16D128;
extern const SparseSkipKernels kSparseSkipF16D64, kSparseSkipF16D128;

}  // namespace tamis::cuda::sm90

#endif  // TAMIS_ATTENTION_CUDA_SM90_LAUNCH_CUH_
