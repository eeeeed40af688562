#include "attention/cuda/executor.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <numeric>

#include "attention/cuda/error.cuh"
#include "attention/cuda/kernel_choice.cuh"
#include "attention/cuda/layouts.cuh"
#include "attention/cuda/refusals.h"
#include "attention/cuda/sm90/launch.cuh"
#include "attention/cuda/tensor_map.cuh"

namespace tamis::cuda {
namespace {

/// Rows that one copy of a list brings, and one store of O takes: a warpgroup's, a warp's.
constexpr int32_t kListBoxRows = 64;
constexpr int32_t kStoreBoxRows = 16;
/// Of L2, what K and V of the heads at work may fill.
constexpr double kSectionShare = 0.6;

int32_t DeviceAttribute(cudaDeviceAttr attribute) {
  int device = 0, value = 0;
  CheckCuda(cudaGetDevice(&device), "finding the CUDA device");
  CheckCuda(cudaDeviceGetAttribute(&value, attribute, device), "reading a device attribute");
  return value;
}

bool Ragged(const AttentionArguments& a) {
  return a.query_offsets != nullptr || a.key_offsets != nullptr || a.key_lengths != nullptr;
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
  scores.bias_scale = scores.softmax_scale = static_cast<float>(scale * std::numbers::log2e);
  if (a.softcap > 0.0f) {
    scores.softcap_log2 = static_cast<float>(a.softcap * std::numbers::log2e);
    scores.softcap_scale = static_cast<float>(2.0 * scale / a.softcap * std::numbers::log2e);
    scores.bias_scale = scores.softmax_scale = 1.0f;
  }
  if (a.bias.data != nullptr) scores.softmax_scale = 1.0f;
  return scores;
}

TileGeometry Geometry(int32_t tile_keys) {
  return {sm90::kVoteRows, tile_keys, SkipVote::kQueryHead, 1, KeyOrder::kDescending};
}

/// Of an index, besides 128: tiles of skip-softmax that only lists have.
constexpr int32_t kSmallKeyBlock = 64;

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
  DropMap(const AttentionArguments& a, const TileIndexShape* index, const TileRule& rule) {
    if (rule.skip_softmax.lambda == nullptr || a.counts == nullptr) return;
    const int32_t columns = rule.skip_softmax.geometry.tile_columns;
    row_blocks = (a.query_tokens + sm90::kVoteRows - 1) / sm90::kVoteRows;
    const int32_t words = ((a.key_tokens + columns - 1) / columns + 31) / 32;
    // Plans do not know of gathered columns, which fill no more tiles than all keys do.
    row_words = index != nullptr ? 2 * words : words;
    first_gathered = 32 * words;
    bytes = sizeof(uint32_t) * static_cast<size_t>(a.batch) * a.q_heads * row_blocks * row_words;
  }
  int32_t row_blocks = 0, row_words = 0, first_gathered = 0;
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

}  // namespace

std::vector<TileGeometry> Geometries() {
  return {Geometry(sm90::kSkipBf16D128.tile_keys), Geometry(sm90::kSkipBf16D64.tile_keys),
          Geometry(kSmallKeyBlock)};
}

size_t WorkspaceBytes(const AttentionArguments& a, const TileIndexShape* index,
                      const TileRule& rule) {
  return OrderBytes(a, index) + DropMap(a, index, rule).bytes;
}

std::string PathName(const AttentionArguments& a, const TileIndexShape* index,
                     const TileRule& rule) {
  const NOfMRule thin = ActiveNOfM(a, rule);
  if (thin.n == 0) return "cuda/sm90";
  if (!RunsSparse(a, index, thin, rule.skip_softmax.lambda != nullptr)) return "cuda/sm90/thinned";
  return index == nullptr ? "cuda/sm90/sparse"
                          : "cuda/sm90/sparse (with windows or columns cuda/sm90/thinned)";
}

void Run(const AttentionArguments& a, const TileIndex* index, const TileRule& rule, void* workspace,
         void* stream) {
  const bool skips = rule.skip_softmax.lambda != nullptr;
  const NOfMRule thin = ActiveNOfM(a, rule);
  const bool gathers = Gathers(index, thin, skips);
  if (gathers) RequireGatherable(a);
  if (a.query_tokens == 0) return;
  const TileIndexShape* const shape = index != nullptr ? &index->shape : nullptr;
  const bool sparse = thin.n != 0 && !gathers && RunsSparse(a, shape, thin, skips);
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
    if (sparse) {
      maps.k = EncodeGroupMap(layouts.k, kGroupKeys, params.box_rows / kGroupKeys);
      maps.v_groups = EncodeGroupMap(layouts.v, kGroupKeys, params.box_rows / kGroupKeys);
    } else if (ThinsGroups(a, shape, thin, skips)) {
      maps.k = EncodeGroupMap(layouts.k, kThinGroupKeys, params.box_rows / kThinGroupKeys);
      maps.v = EncodeGroupMap(layouts.v, kThinGroupKeys, params.box_rows / kThinGroupKeys);
    }
    // Of the tiles that the rule speaks of.
    const TileGeometry& geometry = rule.skip_softmax.geometry;
    const int32_t query_block = index != nullptr ? index->shape.query_block : geometry.tile_rows;
    const int32_t key_block = index != nullptr ? index->shape.key_block : geometry.tile_columns;
    params.thin = {.n = thin.n,
                   .m = thin.m,
                   .sink_tokens = thin.sink_tokens,
                   .recent_tokens = thin.recent_tokens,
                   .dense_diagonal = thin.skip_diagonal_blocks,
                   .query_block_shift = std::countr_zero(static_cast<uint32_t>(query_block)),
                   .key_block_shift = std::countr_zero(static_cast<uint32_t>(key_block)),
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
  params.scale_log2 = static_cast<float>(scale * std::numbers::log2e);
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
  const DropMap drops(a, shape, rule);
  if (skips) {
    params.skip = {.lambda = rule.skip_softmax.lambda,
                   .row_blocks = drops.row_blocks,
                   .row_words = drops.row_words,
                   .first_gathered = drops.first_gathered};
  }
  if (drops.bytes > 0) {
    params.skip.dropped =
        reinterpret_cast<uint32_t*>(static_cast<char*>(workspace) + OrderBytes(a, shape));
    CheckCuda(cudaMemsetAsync(params.skip.dropped, 0, drops.bytes, cuda_stream),
              "clearing the map of dropped tiles");
  }
  if (a.counts != nullptr) {
    const size_t heads = static_cast<size_t>(a.batch) * static_cast<size_t>(a.q_heads);
    CheckCuda(cudaMemsetAsync(a.counts, 0, heads * sizeof(AttentionCounts), cuda_stream),
              "clearing the counts");
    params.skip.counts = a.counts;
  }
  // Tiles of one section descend in length: rounds of alternating direction share them out to a few
  // per cent. Else blocks ask for the next tile, which costs a launch to clear the counter.
  auto* const counters = static_cast<int32_t*>(workspace);
  if (index != nullptr) {
    SetLists(a, *index, workspace, params);
    if (gathers) {
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
  using Kept = sm90::CountedTiles::Kept;
  const sm90::CountedTiles counted = {.keys = rule.skip_softmax.geometry.tile_columns,
                                      .listed = index != nullptr,
                                      .kept = thin.n == 0 ? Kept::kAllowed
                                              : sparse    ? Kept::kSelected
                                                          : Kept::kCounted,
                                      .kernel_rows = kernel.tile_rows};
  CheckCuda(sm90::CountTiles(params, counted, cuda_stream), "counting tiles");
}

}  // namespace tamis::cuda
