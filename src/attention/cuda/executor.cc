#include "attention/cuda/executor.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "attention/cuda/error.cuh"
#include "attention/cuda/sm90/launch.cuh"
#include "attention/cuda/tensor_map.cuh"
#include "base/check.h"

namespace tamis::cuda {
namespace {

constexpr int32_t kMaxHeadDim = 256;
constexpr double kLog2E = 1.44269504088896341;
/// Rows of the swizzle's period: copies of part of a tile begin at a multiple.
constexpr int32_t kPeriodRows = 8;
/// Rows that one copy of a list brings, and one store of O takes: a warpgroup's, a warp's.
constexpr int32_t kListBoxRows = 64;
constexpr int32_t kStoreBoxRows = 16;
/// Keys that sparse kernels select among in one thread.
constexpr int32_t kGroupKeys = 4;
/// Of L2, what K and V of the heads at work may fill.
constexpr double kSectionShare = 0.6;

void RequireAbsent(bool set, const char* what) {
  Require(!set, "the CUDA executor does not run {} yet; leave it unset or use the CPU", what);
}

void RequireHopper() {
  int device = 0, major = 0, minor = 0;
  CheckCuda(cudaGetDevice(&device), "finding a CUDA device");
  CheckCuda(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device),
            "reading the compute capability");
  CheckCuda(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device),
            "reading the compute capability");
  Require(major == 9 && minor == 0,
          "CUDA device {} has compute capability {}.{}; the CUDA executor runs on 9.0 (H100, H200)",
          device, major, minor);
}

int32_t DeviceAttribute(cudaDeviceAttr attribute) {
  int device = 0, value = 0;
  CheckCuda(cudaGetDevice(&device), "finding the CUDA device");
  CheckCuda(cudaDeviceGetAttribute(&value, attribute, device), "reading a device attribute");
  return value;
}

/// True where a call changes or hides scores by more than causality and lengths.
bool ChangesScores(const AttentionArguments& a) {
  return a.key_positions != nullptr || a.softcap > 0.0f || a.mask.window_left >= 0 ||
         a.mask.window_right >= 0 || a.mask.keep != nullptr || a.bias.data != nullptr ||
         a.sink_logits != nullptr;
}

bool Ragged(const AttentionArguments& a) {
  return a.query_offsets != nullptr || a.key_offsets != nullptr || a.key_lengths != nullptr;
}

/// N:M that the call takes: none in decode, unless asked for there.
NOfMRule ActiveNOfM(const AttentionArguments& a, const TileRule& rule) {
  return a.phase == Phase::kDecode && !rule.n_of_m.in_decode ? NOfMRule{} : rule.n_of_m;
}

/// True where a rule keeps keys on top of its selection.
bool KeepsTokens(const NOfMRule& rule) {
  return rule.sink_tokens > 0 || rule.recent_tokens > 0 || rule.skip_diagonal_blocks;
}

/// True where the sparse product runs a rule: groups of four keys that the copy engine can bring.
bool RunsSparse(const AttentionArguments& a, bool lists, const NOfMRule& rule) {
  return rule.n <= 2 && rule.m <= 4 && a.key_tokens % kGroupKeys == 0 && a.key_offsets == nullptr &&
         a.paged.page_size == 0 && !(lists && KeepsTokens(rule));
}

const sm90::Kernel& ThinKernelOf(bool bf16, int32_t dim, bool lists, const NOfMRule& rule) {
  const sm90::ThinKernels& kernels = dim > 64 ? (bf16 ? sm90::kThinBf16D128 : sm90::kThinF16D128)
                                              : (bf16 ? sm90::kThinBf16D64 : sm90::kThinF16D64);
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

/// True where single keys or parts of key blocks are visited.
bool Gathers(const TileIndex* index) {
  return index != nullptr && (index->window_offsets != nullptr || index->column_offsets != nullptr);
}

/// The kernels with skip-softmax.
const sm90::Kernel& SkipKernelOf(const AttentionArguments& a, bool lists) {
  const bool wide = std::max(a.head_dim, a.dim_v()) > 64;
  if (a.dtype == DType::kBF16) {
    if (lists) return wide ? sm90::kListsSkipBf16D128 : sm90::kListsSkipBf16D64;
    return wide ? sm90::kSkipBf16D128 : sm90::kSkipBf16D64;
  }
  if (lists) return wide ? sm90::kListsSkipF16D128 : sm90::kListsSkipF16D64;
  return wide ? sm90::kSkipF16D128 : sm90::kSkipF16D64;
}

const sm90::Kernel& KernelOf(const AttentionArguments& a, const TileIndex* index,
                             const NOfMRule& thin, bool skips) {
  if (skips) return SkipKernelOf(a, index != nullptr);
  const int32_t dim = std::max(a.head_dim, a.dim_v());
  const bool bf16 = a.dtype == DType::kBF16;
  const bool lists = index != nullptr;
  if (thin.n != 0) {
    return RunsSparse(a, lists, thin) ? SparseKernelOf(bf16, dim, lists, thin)
                                      : ThinKernelOf(bf16, dim, lists, thin);
  }
  if (Gathers(index)) {
    if (dim > 64) return bf16 ? sm90::kGatherBf16D128 : sm90::kGatherF16D128;
    return bf16 ? sm90::kGatherBf16D64 : sm90::kGatherF16D64;
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

int64_t QueryRows(const AttentionArguments& a) {
  return a.query_offsets != nullptr ? a.packed_query_rows : a.query_tokens;
}
int64_t KeyRows(const AttentionArguments& a) {
  return a.key_offsets != nullptr ? a.packed_key_rows : a.key_tokens;
}

TensorLayout Layout(const char* name, const void* data, const Strides& stride, DType dtype,
                    int32_t dim, int32_t heads, bool packed, int32_t batch, int64_t rows) {
  return {name, data, stride, dtype, dim, heads, packed ? 1 : batch, rows};
}

/// Pages take the place of sequences.
TensorLayout PageLayout(const char* name, const AttentionArguments& a, const ConstTensor& tensor,
                        int32_t dim) {
  return Layout(name, tensor.data, tensor.stride, a.kv_dtype, dim, a.kv_heads, false,
                a.paged.page_count, a.paged.page_size);
}

struct Layouts {
  explicit Layouts(const AttentionArguments& a)
      : q(Layout("q", a.q.data, a.q.stride, a.dtype, a.head_dim, a.q_heads,
                 a.query_offsets != nullptr, a.batch, QueryRows(a))),
        o(Layout("o", a.o.data, a.o.stride, a.dtype, a.dim_v(), a.q_heads,
                 a.query_offsets != nullptr, a.batch, QueryRows(a))),
        k(Layout("k", a.k.data, a.k.stride, a.kv_dtype, a.head_dim, a.kv_heads,
                 a.key_offsets != nullptr, a.batch, KeyRows(a))),
        v(Layout("v", a.v.data, a.v.stride, a.kv_dtype, a.dim_v(), a.kv_heads,
                 a.key_offsets != nullptr, a.batch, KeyRows(a))) {
    if (a.paged.page_size == 0) return;
    k = PageLayout("paged.k", a, a.paged.k, a.head_dim);
    v = PageLayout("paged.v", a, a.paged.v, a.dim_v());
  }
  TensorLayout q, o, k, v;
};

/// K or V of a call without keys: any readable memory will do, since the mask hides all of it.
void StandIn(const TensorLayout& readable, TensorLayout& layout) {
  layout.data = readable.data;
  layout.stride = {};
  layout.dim = 8;
  layout.heads = layout.batch = 1;
  layout.rows = 1;
}

sm90::ScoreParams ScoreParamsOf(const AttentionArguments& a, double scale) {
  sm90::ScoreParams scores{};
  scores.window_left = a.mask.window_left;
  scores.window_right = a.mask.window_right;
  scores.sink_tokens = a.mask.sink_tokens;
  scores.key_positions = a.key_positions;
  scores.keep = a.mask.keep;
  scores.keep_batch_stride = a.mask.keep_batch_stride;
  scores.keep_head_stride = a.mask.keep_head_stride;
  scores.keep_query_stride = a.mask.keep_query_stride;
  scores.bias = a.bias.data;
  scores.bias_batch_stride = a.bias.batch_stride;
  scores.bias_head_stride = a.bias.head_stride;
  scores.bias_query_stride = a.bias.query_stride;
  scores.sink_logits = a.sink_logits;
  scores.bias_scale = scores.softmax_scale = static_cast<float>(scale * kLog2E);
  if (a.softcap > 0.0f) {
    scores.softcap_log2 = static_cast<float>(a.softcap * kLog2E);
    scores.softcap_scale = static_cast<float>(2.0 * scale / a.softcap * kLog2E);
    scores.bias_scale = scores.softmax_scale = 1.0f;
  }
  if (a.bias.data != nullptr) scores.softmax_scale = 1.0f;
  return scores;
}

/// What lists do not run and dense calls do.
void RequireListable(const AttentionArguments& a) {
  constexpr int32_t kMaxListDim = 128;
  Require(a.head_dim <= kMaxListDim && a.dim_v() <= kMaxListDim,
          "the CUDA executor runs a TileIndex with head dims up to {}, not {} and {}", kMaxListDim,
          a.head_dim, a.dim_v());
  RequireAbsent(a.paged.page_size != 0, "paged K and V with a TileIndex");
  RequireAbsent(a.key_positions != nullptr, "key_positions with a TileIndex");
  RequireAbsent(a.softcap > 0.0f, "softcap with a TileIndex");
  RequireAbsent(a.mask.window_left >= 0 || a.mask.window_right >= 0, "a window with a TileIndex");
  RequireAbsent(a.mask.keep != nullptr, "a boolean mask with a TileIndex");
  RequireAbsent(a.bias.data != nullptr, "a bias with a TileIndex");
  RequireAbsent(a.sink_logits != nullptr, "sink logits with a TileIndex");
}

/// What N:M does not run and dense calls do.
void RequireThinnable(const AttentionArguments& a) {
  constexpr int32_t kMaxThinDim = 128;
  Require(a.head_dim <= kMaxThinDim && a.dim_v() <= kMaxThinDim,
          "the CUDA executor runs N:M with head dims up to {}, not {} and {}", kMaxThinDim,
          a.head_dim, a.dim_v());
  RequireAbsent(ChangesScores(a), "N:M with a window, softcap, masks, bias, positions or sinks");
}

constexpr int32_t kListSkipColumns = 128;

TileGeometry Geometry(int32_t tile_keys) {
  return {sm90::kVoteRows, tile_keys, SkipVote::kQueryHead, 1, KeyOrder::kDescending};
}

/// What skip-softmax does not run and other calls do. `geometry` is one of Geometries.
void RequireSkippable(const AttentionArguments& a, const TileIndexShape* index,
                      const TileGeometry& geometry) {
  constexpr int32_t kMaxSkipDim = 128;
  Require(a.head_dim <= kMaxSkipDim && a.dim_v() <= kMaxSkipDim,
          "the CUDA executor runs skip-softmax with head dims up to {}, not {} and {}", kMaxSkipDim,
          a.head_dim, a.dim_v());
  RequireAbsent(a.key_positions != nullptr, "key_positions with skip-softmax");
  RequireAbsent(a.softcap > 0.0f, "softcap with skip-softmax");
  RequireAbsent(a.mask.window_left >= 0 || a.mask.window_right >= 0, "a window with skip-softmax");
  RequireAbsent(a.mask.keep != nullptr, "a boolean mask with skip-softmax");
  RequireAbsent(a.bias.data != nullptr, "a bias with skip-softmax");
  RequireAbsent(a.sink_logits != nullptr, "sink logits with skip-softmax");
  if (index != nullptr) {
    // One vote decides a tile of keys.
    Require(index->key_block == kListSkipColumns,
            "the CUDA executor runs skip-softmax with key blocks of {}, not {}; make the index of "
            "those",
            kListSkipColumns, index->key_block);
    return;
  }
  const int32_t tile_keys = SkipKernelOf(a, false).tile_keys;
  Require(geometry.tile_columns == tile_keys,
          "skip-softmax tile_columns are {}; with head dims of {} and {} and without a TileIndex "
          "the CUDA executor runs {}",
          geometry.tile_columns, a.head_dim, a.dim_v(), tile_keys);
}

constexpr size_t kCounterBytes = 64;

/// The workspace of a call with an index. What only windows and columns use is there always: plans
/// see shapes alone.
struct ListWorkspace {
  ListWorkspace(int64_t tiles, const TileIndexShape& index) {
    lengths = kCounterBytes + sizeof(int32_t) * static_cast<size_t>(tiles);
    touched = lengths + sizeof(int32_t) * static_cast<size_t>(index.rows());
    bytes = touched + sizeof(uint32_t) *
                          static_cast<size_t>(DeviceAttribute(cudaDevAttrMultiProcessorCount)) *
                          sm90::kTouchedRows * static_cast<size_t>(index.row_words());
  }
  size_t order = kCounterBytes;
  size_t lengths, touched, bytes;
};

/// How the rows of an index become tiles of two warpgroups of 64 queries.
struct ListGeometry {
  ListGeometry(const AttentionArguments& a, const TileIndexShape& index) {
    using Second = sm90::ListParams::Second;
    if (index.query_block == 128) {
      second = Second::kSameRow;
    } else {
      second = index.heads_per_row > 1 ? Second::kNextHead : Second::kNextRow;
    }
    head_tiles = second == Second::kNextHead ? (a.group() + 1) / 2 : a.group();
    const int32_t queries = second == Second::kNextHead ? 64 : 128;
    unit_tiles = head_tiles * ((a.query_tokens + queries - 1) / queries);
  }
  sm90::ListParams::Second second;
  int32_t head_tiles;
  int32_t unit_tiles;
};

/// Of the part of the workspace that orders tiles, which comes first.
size_t OrderBytes(const AttentionArguments& a, const TileIndexShape* index) {
  if (index != nullptr) {
    return ListWorkspace(int64_t{ListGeometry(a, *index).unit_tiles} * a.batch * a.kv_heads, *index)
        .bytes;
  }
  return (Ragged(a) ? 2 + 2 * static_cast<size_t>(a.batch) : 1) * sizeof(int32_t);
}

/// The map of dropped tiles, which only counts need.
struct DropMap {
  DropMap(const AttentionArguments& a, const TileRule& rule) {
    if (rule.skip_softmax.lambda == nullptr || a.counts == nullptr) return;
    const int32_t columns = rule.skip_softmax.geometry.tile_columns;
    row_blocks = (a.query_tokens + sm90::kVoteRows - 1) / sm90::kVoteRows;
    row_words = ((a.key_tokens + columns - 1) / columns + 31) / 32;
    bytes = sizeof(uint32_t) * static_cast<size_t>(a.batch) * a.q_heads * row_blocks * row_words;
  }
  int32_t row_blocks = 0, row_words = 0;
  size_t bytes = 0;
};

void SetLists(const AttentionArguments& a, const TileIndex& index, void* workspace,
              sm90::ForwardParams& params) {
  // One thread block sorts a section.
  constexpr int32_t kSectionTiles = 8192;
  const TileIndexShape& shape = index.shape;
  const ListGeometry geometry(a, shape);
  params.tiles = geometry.unit_tiles * a.batch * a.kv_heads;
  const ListWorkspace parts(params.tiles, shape);
  auto* const bytes = static_cast<char*>(workspace);
  params.section_units =
      std::min(params.section_units, std::max(kSectionTiles / geometry.unit_tiles, 1));
  params.next_tile = static_cast<int32_t*>(workspace);
  params.lists = {.bitmap = index.bitmap,
                  .counts = index.counts,
                  .head_rows = shape.head_rows(),
                  .row_blocks = shape.query_blocks(),
                  .row_words = shape.row_words(),
                  .query_block = shape.query_block,
                  .key_block = shape.key_block,
                  .heads_per_row = shape.heads_per_row,
                  .second = geometry.second,
                  .head_tiles = geometry.head_tiles,
                  .unit_tiles = geometry.unit_tiles,
                  .order = reinterpret_cast<int32_t*>(bytes + parts.order),
                  .gather = {.window_offsets = index.window_offsets,
                             .windows = index.windows,
                             .column_offsets = index.column_offsets,
                             .columns = index.columns,
                             .k = a.k.data,
                             .v = a.v.data,
                             .k_stride = a.k.stride,
                             .v_stride = a.v.stride,
                             .head_dim = a.head_dim,
                             .rows = shape.rows(),
                             .lengths = reinterpret_cast<int32_t*>(bytes + parts.lengths),
                             .touched = reinterpret_cast<uint32_t*>(bytes + parts.touched)}};
}

/// Threads that copy single keys reckon with 32 bits from one to the next.
void RequireGatherable(const AttentionArguments& a) {
  const auto most = int64_t{UINT32_MAX} / static_cast<int64_t>(SizeOf(a.kv_dtype));
  Require(
      KeyRows(a) <= 1 || (a.k.stride.row <= most && a.v.stride.row <= most),
      "rows of k and v are {} and {} elements apart; with columns or windows of a TileIndex the "
      "CUDA executor takes up to {}",
      a.k.stride.row, a.v.stride.row, most);
}

}  // namespace

std::vector<TileGeometry> Geometries() {
  return {Geometry(sm90::kSkipBf16D128.tile_keys), Geometry(sm90::kSkipBf16D64.tile_keys)};
}

void RequireSupported(const AttentionArguments& a, const TileIndexShape* index,
                      const TileRule& rule) {
  Require(a.dtype == DType::kBF16 || a.dtype == DType::kF16,
          "the CUDA executor runs bf16 and f16, not {}", Name(a.dtype));
  Require(a.kv_dtype == a.dtype, "the CUDA executor needs K and V in Q's dtype {}, not {}",
          Name(a.dtype), Name(a.kv_dtype));
  Require(a.head_dim <= kMaxHeadDim && a.dim_v() <= kMaxHeadDim,
          "the CUDA executor runs head dims up to {}, not {} and {}", kMaxHeadDim, a.head_dim,
          a.dim_v());
  if (index != nullptr) RequireListable(a);
  if (rule.skip_softmax.lambda != nullptr) {
    RequireSkippable(a, index, rule.skip_softmax.geometry);
    RequireAbsent(rule.n_of_m.n != 0, "N:M with skip-softmax");
  }
  if (rule.n_of_m.n != 0) RequireThinnable(a);
  RequireAbsent(a.counts != nullptr && rule.skip_softmax.lambda == nullptr,
                "counts without skip-softmax");
  RequireAbsent(a.executed != nullptr, "the executed mask");
  RequireAbsent(a.phases != nullptr, "a phase for each sequence");
  Require(
      a.query_offsets == nullptr || a.packed_query_rows > 0,
      "query_offsets are set but packed_query_rows is {}; the CUDA executor needs the number of "
      "rows behind q",
      a.packed_query_rows);
  Require(
      a.key_offsets == nullptr || a.packed_key_rows > 0,
      "key_offsets are set but packed_key_rows is {}; the CUDA executor needs the number of rows "
      "behind k",
      a.packed_key_rows);
  Require(a.paged.page_size % kPeriodRows == 0,
          "page_size is {}; the CUDA executor runs pages of a multiple of {} keys",
          a.paged.page_size, kPeriodRows);
  const Layouts layouts(a);
  for (const TensorLayout* layout : {&layouts.q, &layouts.o, &layouts.k, &layouts.v}) {
    if (layout->rows == 0) continue;
    RequireCopyable(*layout);
  }
  const int64_t blocks = (int64_t{a.query_tokens} + 127) / 128;
  Require(
      blocks * a.q_heads * a.batch < int64_t{1} << 30,
      "{} sequences of {} heads and {} queries are more than one CUDA call takes; split the batch",
      a.batch, a.q_heads, a.query_tokens);
  RequireHopper();
}

size_t WorkspaceBytes(const AttentionArguments& a, const TileIndexShape* index,
                      const TileRule& rule) {
  return OrderBytes(a, index) + DropMap(a, rule).bytes;
}

std::string PathName(const AttentionArguments& a, const TileIndexShape* index,
                     const TileRule& rule) {
  const NOfMRule thin = ActiveNOfM(a, rule);
  if (thin.n == 0) return "cuda/sm90";
  return RunsSparse(a, index != nullptr, thin) ? "cuda/sm90/sparse" : "cuda/sm90/thinned";
}

void Run(const AttentionArguments& a, const TileIndex* index, const TileRule& rule, void* workspace,
         void* stream) {
  const bool skips = rule.skip_softmax.lambda != nullptr;
  if (Gathers(index)) {
    RequireGatherable(a);
    RequireAbsent(skips, "windows or columns of a TileIndex with skip-softmax");
  }
  if (a.query_tokens == 0) return;
  const NOfMRule thin = ActiveNOfM(a, rule);
  RequireAbsent(thin.n != 0 && Gathers(index), "N:M with windows or columns of a TileIndex");
  const sm90::Kernel& kernel = KernelOf(a, index, thin, skips);
  Layouts layouts(a);
  const bool has_keys = KeyRows(a) > 0;
  if (!has_keys) {
    StandIn(layouts.q, layouts.k);
    StandIn(layouts.q, layouts.v);
  }
  sm90::ForwardParams params{};
  params.box_rows = index != nullptr ? kListBoxRows : kernel.tile_keys;
  if (a.paged.page_size != 0 && has_keys) {
    params.page_table = a.paged.page_table;
    params.table_stride = a.paged.table_stride;
    params.page_size = a.paged.page_size;
    params.box_rows = std::gcd(a.paged.page_size, kernel.tile_keys);
    // 2^(31 + s) / page_size, rounded up, for the s with 2^s >= page_size: off by less than 2^s.
    const int32_t s = std::bit_width(static_cast<uint32_t>(a.paged.page_size - 1));
    const uint64_t page_size = static_cast<uint64_t>(a.paged.page_size);
    params.page_multiplier =
        static_cast<uint32_t>(((uint64_t{1} << (31 + s)) + page_size - 1) / page_size);
    params.page_shift = s - 1;
  }
  sm90::TensorMaps maps = {
      EncodeTensorMap(layouts.q, index != nullptr ? kListBoxRows : kernel.tile_rows),
      EncodeTensorMap(layouts.k, params.box_rows),
      EncodeTensorMap(layouts.v, params.box_rows),
      EncodeTensorMap(layouts.o, kStoreBoxRows),
      {}};
  if (thin.n != 0) {
    if (RunsSparse(a, index != nullptr, thin)) {
      maps.k = EncodeGroupMap(layouts.k, params.box_rows / kGroupKeys);
      maps.v_groups = EncodeGroupMap(layouts.v, params.box_rows / kGroupKeys);
    }
    const TileIndexShape blocks = index != nullptr ? index->shape : TileIndexShape{};
    params.thin = {.n = thin.n,
                   .m = thin.m,
                   .sink_tokens = thin.sink_tokens,
                   .recent_tokens = thin.recent_tokens,
                   .dense_diagonal = thin.skip_diagonal_blocks,
                   .query_block_shift = std::countr_zero(static_cast<uint32_t>(blocks.query_block)),
                   .key_block_shift = std::countr_zero(static_cast<uint32_t>(blocks.key_block)),
                   .k = layouts.k.data,
                   .k_stride = layouts.k.stride,
                   .head_dim = layouts.k.dim};
  }
  const double scale =
      a.softmax_scale != 0.0f ? a.softmax_scale : 1.0 / std::sqrt(static_cast<double>(a.head_dim));
  params.scores = ScoreParamsOf(a, scale);
  params.o = a.o.data;
  params.o_stride = a.o.stride;
  params.lse = a.lse;
  params.lse_stride = a.lse_stride;
  params.query_offsets = a.query_offsets;
  params.key_offsets = a.key_offsets;
  params.key_lengths = a.key_lengths;
  params.query_starts = a.query_starts;
  params.batch = a.batch;
  params.q_heads = a.q_heads;
  params.kv_heads = a.kv_heads;
  params.group = a.group();
  params.query_tokens = a.query_tokens;
  params.key_tokens = a.key_tokens;
  params.value_dim = a.dim_v();
  params.causality = a.mask.causality;
  params.causal_block = a.mask.causal_block;
  params.scale_log2 = static_cast<float>(scale * kLog2E);
  params.foreign_tail = a.key_offsets != nullptr || a.key_lengths != nullptr ||
                        a.paged.page_size != 0 || a.key_tokens == 0;
  params.query_blocks = (a.query_tokens + kernel.tile_rows - 1) / kernel.tile_rows;
  params.tiles = params.query_blocks * a.q_heads * a.batch;
  params.section_keys = static_cast<int32_t>(
      kSectionShare * DeviceAttribute(cudaDevAttrL2CacheSize) / (2.0 * (a.head_dim + a.dim_v())));
  params.section_units =
      static_cast<int32_t>(std::clamp(int64_t{params.section_keys} / std::max(a.key_tokens, 1),
                                      int64_t{1}, int64_t{a.batch} * a.kv_heads));
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  const DropMap drops(a, rule);
  if (rule.skip_softmax.lambda != nullptr) {
    params.skip = {.lambda = rule.skip_softmax.lambda,
                   .row_blocks = drops.row_blocks,
                   .row_words = drops.row_words};
  }
  if (drops.bytes > 0) {
    params.skip.dropped = reinterpret_cast<uint32_t*>(
        static_cast<char*>(workspace) + OrderBytes(a, index ? &index->shape : nullptr));
    CheckCuda(cudaMemsetAsync(params.skip.dropped, 0, drops.bytes, cuda_stream),
              "clearing the map of dropped tiles");
  }
  // Tiles of one section descend in length: rounds of alternating direction share them out to a few
  // per cent. Else blocks ask for the next tile, which costs a launch to clear the counter.
  auto* const counters = static_cast<int32_t*>(workspace);
  if (index != nullptr) {
    SetLists(a, *index, workspace, params);
    if (Gathers(index)) {
      CheckCuda(sm90::LaunchMeasureRows(params, cuda_stream), "measuring the rows of the index");
      params.lists.counts = params.lists.gather.lengths;
    }
    CheckCuda(sm90::LaunchListOrder(params, cuda_stream), "ordering the lists");
  } else if (Ragged(a)) {
    params.next_tile = counters;
    params.first_tiles = counters + 1;
    params.sequence_order = params.first_tiles + a.batch + 1;
    CheckCuda(sm90::OrderSequences(params, kernel.tile_rows, cuda_stream),
              "ordering the sequences");
  } else if (params.section_units < a.batch * a.kv_heads) {
    params.next_tile = counters;
    CheckCuda(cudaMemsetAsync(params.next_tile, 0, sizeof(int32_t), cuda_stream),
              "clearing the tile counter");
  }
  const int32_t blocks = std::min(params.tiles, DeviceAttribute(cudaDevAttrMultiProcessorCount));
  CheckCuda(kernel.launch(maps, params, blocks, cuda_stream), "launching attention");
  if (a.counts == nullptr) return;
  const size_t heads = static_cast<size_t>(a.batch) * static_cast<size_t>(a.q_heads);
  CheckCuda(cudaMemsetAsync(a.counts, 0, heads * sizeof(AttentionCounts), cuda_stream),
            "clearing the counts");
  CheckCuda(sm90::CountTiles(params, index != nullptr, rule.skip_softmax.geometry.tile_columns,
                             a.counts, cuda_stream),
            "counting tiles");
}

}  // namespace tamis::cuda
