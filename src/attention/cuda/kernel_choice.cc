#include "attention/cuda/kernel_choice.cuh"

#include <algorithm>

namespace tamis::cuda {
namespace {

/// True where a rule keeps keys on top of its selection.
bool KeepsTokens(const NOfMRule& rule) {
  return rule.sink_tokens > 0 || rule.recent_tokens > 0 || rule.skip_diagonal_blocks;
}

const sm90::Kernel& ThinKernelOf(const AttentionArguments& a, bool bf16, int32_t dim, bool lists,
                                 const NOfMRule& rule) {
  const sm90::ThinKernels& kernels = dim > 64 ? (bf16 ? sm90::kThinBf16D128 : sm90::kThinF16D128)
                                              : (bf16 ? sm90::kThinBf16D64 : sm90::kThinF16D64);
  if (ThinsGroups(a, lists, rule)) return kernels.groups;
  return (lists ? kernels.lists : kernels.dense)[rule.m == 8 ? 1 : 0];
}

const sm90::Kernel& SparseKernelOf(bool bf16, int32_t dim, bool lists, const NOfMRule& rule) {
  const sm90::SparseKernels& kernels = dim > 64
                                           ? (bf16 ? sm90::kSparseBf16D128 : sm90::kSparseF16D128)
                                           : (bf16 ? sm90::kSparseBf16D64 : sm90::kSparseF16D64);
  const int kind = rule.n == 2 ? 0 : rule.m == 2 ? 1 : 2;
  if (lists) return kernels.lists[kind];
  return (KeepsTokens(rule) ? kernels.with_tokens : kernels.plain)[kind];
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

bool RunsSparse(const AttentionArguments& a, bool lists, const NOfMRule& rule) {
  return rule.n <= 2 && rule.m <= 4 && HasGroups(a, kGroupKeys) && !(lists && KeepsTokens(rule));
}

bool ThinsGroups(const AttentionArguments& a, bool lists, const NOfMRule& rule) {
  return !lists && HasGroups(a, kThinGroupKeys) && !RunsSparse(a, lists, rule);
}

bool Gathers(const TileIndex* index) {
  return index != nullptr && (index->window_offsets != nullptr || index->column_offsets != nullptr);
}

const sm90::Kernel& SkipKernelOf(const AttentionArguments& a, bool lists) {
  const bool wide = std::max(a.head_dim, a.dim_v()) > 64;
  if (a.dtype == DType::kBF16) {
    if (lists) return wide ? sm90::kListsSkipBf16D128 : sm90::kListsSkipBf16D64;
    return wide ? sm90::kSkipBf16D128 : sm90::kSkipBf16D64;
  }
  if (lists) return wide ? sm90::kListsSkipF16D128 : sm90::kListsSkipF16D64;
  return wide ? sm90::kSkipF16D128 : sm90::kSkipF16D64;
}

/// The kernels with skip-softmax whose votes are on units of a tile.
const sm90::Kernel& SkipUnitKernelOf(bool bf16, int32_t dim, bool gathers) {
  if (gathers) {
    if (dim > 64) return bf16 ? sm90::kGatherSkipBf16D128 : sm90::kGatherSkipF16D128;
    return bf16 ? sm90::kGatherSkipBf16D64 : sm90::kGatherSkipF16D64;
  }
  if (dim > 64) return bf16 ? sm90::kListsSkipUnitsBf16D128 : sm90::kListsSkipUnitsF16D128;
  return bf16 ? sm90::kListsSkipUnitsBf16D64 : sm90::kListsSkipUnitsF16D64;
}

const sm90::Kernel& GatherKernelOf(bool bf16, int32_t dim, bool thins) {
  if (thins) {
    if (dim > 64) return bf16 ? sm90::kGatherThinBf16D128 : sm90::kGatherThinF16D128;
    return bf16 ? sm90::kGatherThinBf16D64 : sm90::kGatherThinF16D64;
  }
  if (dim > 64) return bf16 ? sm90::kGatherBf16D128 : sm90::kGatherF16D128;
  return bf16 ? sm90::kGatherBf16D64 : sm90::kGatherF16D64;
}

const sm90::Kernel& KernelOf(const AttentionArguments& a, const TileIndex* index,
                             const NOfMRule& thin, bool skips) {
  const int32_t dim = std::max(a.head_dim, a.dim_v());
  const bool bf16 = a.dtype == DType::kBF16;
  const bool lists = index != nullptr;
  const bool gathers = Gathers(index);
  if (skips) {
    // Two key blocks share a tile.
    const bool units = lists && index->shape.key_block * 2 == sm90::kListsBf16D64.tile_keys;
    return gathers || units ? SkipUnitKernelOf(bf16, dim, gathers) : SkipKernelOf(a, lists);
  }
  if (gathers) return GatherKernelOf(bf16, dim, thin.n != 0);
  if (thin.n != 0) {
    return RunsSparse(a, lists, thin) ? SparseKernelOf(bf16, dim, lists, thin)
                                      : ThinKernelOf(a, bf16, dim, lists, thin);
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
