#include "attention/cuda/kernel_choice.cuh"

#include <algorithm>

namespace tamis::cuda {
namespace {

/// True where a rule keeps keys on top of its selection.
bool KeepsTokens(const NOfMRule& rule) {
  return rule.sink_tokens > 0 || rule.recent_tokens > 0 || rule.skip_diagonal_blocks;
}

/// Of calls without skip-softmax.
const sm90::Kernel& ThinKernelOf(const AttentionArguments& a, bool bf16, int32_t dim,
                                 const TileIndexShape* index, const NOfMRule& rule) {
  const sm90::ThinKernels& kernels = dim > 64 ? (bf16 ? sm90::kThinBf16D128 : sm90::kThinF16D128)
                                              : (bf16 ? sm90::kThinBf16D64 : sm90::kThinF16D64);
  if (ThinsGroups(a, index, rule, false)) return kernels.groups;
  return (index != nullptr ? kernels.lists : kernels.dense)[rule.m == 8 ? 1 : 0];
}

/// Place of a rule that RunsSparse in an array of kernels.
int KindOf(const NOfMRule& rule) { return rule.n == 2 ? 0 : rule.m == 2 ? 1 : 2; }

const sm90::Kernel& SparseKernelOf(bool bf16, int32_t dim, bool lists, const NOfMRule& rule) {
  const sm90::SparseKernels& kernels = dim > 64
                                           ? (bf16 ? sm90::kSparseBf16D128 : sm90::kSparseF16D128)
                                           : (bf16 ? sm90::kSparseBf16D64 : sm90::kSparseF16D64);
  if (lists) return kernels.lists[KindOf(rule)];
  return (KeepsTokens(rule) ? kernels.with_tokens : kernels.plain)[KindOf(rule)];
}

/// Of calls with skip-softmax beside N:M.
const sm90::Kernel& ThinSkipKernelOf(bool bf16, int32_t dim, bool lists) {
  const sm90::ThinSkipKernels& kernels =
      dim > 64 ? (bf16 ? sm90::kThinSkipBf16D128 : sm90::kThinSkipF16D128)
               : (bf16 ? sm90::kThinSkipBf16D64 : sm90::kThinSkipF16D64);
  return lists ? kernels.lists : kernels.dense;
}

const sm90::Kernel& SparseSkipKernelOf(bool bf16, int32_t dim, bool lists, const NOfMRule& rule) {
  const sm90::SparseSkipKernels& kernels =
      dim > 64 ? (bf16 ? sm90::kSparseSkipBf16D128 : sm90::kSparseSkipF16D128)
               : (bf16 ? sm90::kSparseSkipBf16D64 : sm90::kSparseSkipF16D64);
  return (lists ? kernels.lists : kernels.dense)[KindOf(rule)];
}

/// True where two key blocks share a tile.
bool SharesTiles(const TileIndexShape& index) {
  return index.key_block * 2 == sm90::kListsBf16D64.tile_keys;
}

/// True where the copy engine can bring keys in groups of `keys`.
bool HasGroups(const AttentionArguments& a, int32_t keys) {
  return a.key_tokens % keys == 0 && a.key_offsets == nullptr && a.paged.page_size == 0;
}

}  // namespace

bool ChangesScores(const AttentionArguments& a) {
  return a.key_positions != nullptr || a.softcap > 0.0f || a.mask.window_left >= 0 ||
         a.mask.window_right >= 0 || a.mask.keep != nullptr || a.bias.data != nullptr ||
         a.sink_logits != nullptr;
}

NOfMRule ActiveNOfM(const AttentionArguments& a, const TileRule& rule) {
  return a.phase == Phase::kDecode && !rule.n_of_m.in_decode ? NOfMRule{} : rule.n_of_m;
}

bool RunsSparse(const AttentionArguments& a, const TileIndexShape* index, const NOfMRule& thin,
                bool skips) {
  if (thin.n > 2 || thin.m > 4 || !HasGroups(a, kGroupKeys)) return false;
  return index == nullptr || !(KeepsTokens(thin) || (skips && SharesTiles(*index)));
}

bool ThinsGroups(const AttentionArguments& a, const TileIndexShape* index, const NOfMRule& thin,
                 bool skips) {
  return index == nullptr && !skips && HasGroups(a, kThinGroupKeys) &&
         !RunsSparse(a, index, thin, skips);
}

bool Gathers(const TileIndex* index, const NOfMRule& thin, bool skips) {
  if (index == nullptr) return false;
  return index->window_offsets != nullptr || index->column_offsets != nullptr ||
         (skips && thin.n != 0 && SharesTiles(index->shape));
}

const sm90::Kernel& SkipKernelOf(const AttentionArguments& a, const TileIndexShape* index,
                                 const NOfMRule& thin) {
  const bool lists = index != nullptr;
  const int32_t dim = std::max(a.head_dim, a.dim_v());
  const bool wide = dim > 64, bf16 = a.dtype == DType::kBF16;
  if (thin.n != 0) {
    return RunsSparse(a, index, thin, true) ? SparseSkipKernelOf(bf16, dim, lists, thin)
                                            : ThinSkipKernelOf(bf16, dim, lists);
  }
  if (bf16) {
    if (lists) return wide ? sm90::kListsSkipBf16D128 : sm90::kListsSkipBf16D64;
    return wide ? sm90::kSkipBf16D128 : sm90::kSkipBf16D64;
  }
  if (lists) return wide ? sm90::kListsSkipF16D128 : sm90::kListsSkipF16D64;
  return wide ? sm90::kSkipF16D128 : sm90::kSkipF16D64;
}

namespace {

/// The kernels that gather.
const sm90::Kernel& GatherKernelOf(bool bf16, int32_t dim, bool thins, bool skips) {
  const bool wide = dim > 64;
  if (thins && skips) {
    if (wide) return bf16 ? sm90::kGatherThinSkipBf16D128 : sm90::kGatherThinSkipF16D128;
    return bf16 ? sm90::kGatherThinSkipBf16D64 : sm90::kGatherThinSkipF16D64;
  }
  if (thins) {
    if (wide) return bf16 ? sm90::kGatherThinBf16D128 : sm90::kGatherThinF16D128;
    return bf16 ? sm90::kGatherThinBf16D64 : sm90::kGatherThinF16D64;
  }
  if (skips) {
    if (wide) return bf16 ? sm90::kGatherSkipBf16D128 : sm90::kGatherSkipF16D128;
    return bf16 ? sm90::kGatherSkipBf16D64 : sm90::kGatherSkipF16D64;
  }
  if (wide) return bf16 ? sm90::kGatherBf16D128 : sm90::kGatherF16D128;
  return bf16 ? sm90::kGatherBf16D64 : sm90::kGatherF16D64;
}

/// Skip-softmax on lists of key blocks that share tiles.
const sm90::Kernel& SkipUnitKernelOf(bool bf16, int32_t dim) {
  if (dim > 64) return bf16 ? sm90::kListsSkipUnitsBf16D128 : sm90::kListsSkipUnitsF16D128;
  return bf16 ? sm90::kListsSkipUnitsBf16D64 : sm90::kListsSkipUnitsF16D64;
}

}  // namespace

const sm90::Kernel& KernelOf(const AttentionArguments& a, const TileIndex* index,
                             const NOfMRule& thin, bool skips) {
  const int32_t dim = std::max(a.head_dim, a.dim_v());
  const bool bf16 = a.dtype == DType::kBF16;
  const bool lists = index != nullptr;
  const TileIndexShape* const shape = lists ? &index->shape : nullptr;
  if (Gathers(index, thin, skips)) return GatherKernelOf(bf16, dim, thin.n != 0, skips);
  if (skips) {
    return lists && SharesTiles(*shape) ? SkipUnitKernelOf(bf16, dim)
                                        : SkipKernelOf(a, shape, thin);
  }
  if (thin.n != 0) {
    return RunsSparse(a, shape, thin, skips) ? SparseKernelOf(bf16, dim, lists, thin)
                                             : ThinKernelOf(a, bf16, dim, shape, thin);
  }
  if (lists) {
    if (dim > 64) return bf16 ? sm90::kListsBf16D128 : sm90::kListsF16D128;
    return bf16 ? sm90::kListsBf16D64 : sm90::kListsF16D64;
  }
  // At 256 the general kernel runs every call.
  if (dim > 128) return bf16 ? sm90::kGeneralBf16D256 : sm90::kGeneralF16D256;
  if (ChangesScores(a)) {
    if (dim > 64) return bf16 ? sm90::kGeneralBf16D128 : sm90::kGeneralF16D128;
    return bf16 ? sm90::kGeneralBf16D64 : sm90::kGeneralF16D64;
  }
  if (dim > 64) return bf16 ? sm90::kForwardBf16D128 : sm90::kForwardF16D128;
  return bf16 ? sm90::kForwardBf16D64 : sm90::kForwardF16D64;
}

}  // namespace tamis::cuda
