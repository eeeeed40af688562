#include <fmt/format.h>

#include "attention/random_index.h"
#include "attention/sequence_view.h"
#include "gpu/cases.h"

namespace tamis::gpu_testing {
namespace {

using namespace attention_testing;
using enum Causality;
using Kind = IndexOptions::Kind;

/// One call of every kind, at sizes that leave partial tiles everywhere.
std::vector<Case> Kinds() {
  return {
      {"causal", {.query_tokens = 700, .key_tokens = 700}},
      {"full", {.query_tokens = 480, .key_tokens = 480}, IndexOptions{.kind = Kind::kFull}},
      {"one block",
       {.batch = 2, .query_tokens = 650, .key_tokens = 650},
       IndexOptions{.kind = Kind::kOneBlock, .empty_rows = 0.2}},
      {"mostly empty",
       {.batch = 2, .q_heads = 8, .query_tokens = 650, .key_tokens = 650},
       IndexOptions{.density = 0.2, .empty_rows = 0.8}},
      {"bidirectional tail",
       {.query_tokens = 250, .key_tokens = 733, .mask = {.causality = kBidirectional}}},
      {"chunk", {.q_heads = 6, .query_tokens = 150, .key_tokens = 633}},
      {"more queries than keys", {.query_tokens = 450, .key_tokens = 40}},
      {"ragged",
       {.batch = 5,
        .q_heads = 5,
        .kv_heads = 1,
        .query_lengths = {5, 0, 370, 1, 200},
        .key_lengths = {350, 9, 370, 1, 0},
        .packed_keys = true},
       IndexOptions{.density = 0.6}},
      {"key lengths, heads first",
       {.batch = 3,
        .query_tokens = 270,
        .layout = Layout::kHeadsTokens,
        .key_lengths = {600, 0, 133}},
       IndexOptions{.density = 0.6}},
      {"query starts",
       {.batch = 3,
        .query_tokens = 340,
        .key_lengths = {500, 460, 10},
        .query_starts = {12, 200, -30}},
       IndexOptions{.density = 0.6}},
      {"block causal",
       {.query_tokens = 350,
        .key_tokens = 900,
        .mask = {.causality = kBlockCausal, .causal_block = 250}}},
      {"jumps",
       {.query_tokens = 900, .key_tokens = 900, .softmax_scale = 3.0f},
       IndexOptions{.density = 0.6}},
  };
}

}  // namespace

Case InGeometry(Case c, std::string_view kind, const IndexGeometry& geometry, DType dtype,
                int32_t head_dim) {
  c.index->query_block = geometry.query_block;
  c.index->key_block = geometry.key_block;
  c.index->shared = geometry.shared;
  c.options.dtype = c.options.kv_dtype = dtype;
  c.options.head_dim = head_dim;
  c.name = fmt::format("{} {}x{} {} {}", kind, geometry.query_block, geometry.key_block,
                       geometry.shared ? "shared" : "per head", c.name);
  return c;
}

std::vector<Case> ListCases(bool quick) {
  std::vector<Case> cases;
  const auto add = [&](Case c, const IndexGeometry& geometry, DType dtype, int32_t head_dim) {
    if (!c.index) c.index = IndexOptions{};
    cases.push_back(InGeometry(std::move(c), "lists", geometry, dtype, head_dim));
  };
  for (const IndexGeometry& geometry : kIndexGeometries) {
    for (const Case& kind : Kinds()) {
      const bool main = kind.name == "causal" || kind.name == "ragged";
      for (const int32_t head_dim : {128, 64, 96, 40}) {
        if (head_dim % 64 != 0 && (!main || quick)) continue;
        // Half of the geometries, each value of each parameter among them.
        if (quick && (!main || geometry.shared == (geometry.query_block == geometry.key_block))) {
          continue;
        }
        add(kind, geometry, DType::kBF16, head_dim);
        if (quick) continue;
        if (main || kind.name == "jumps" || kind.name == "full") {
          add(kind, geometry, DType::kF16, head_dim);
        }
      }
    }
    // Bitmap rows of several rounds of 32 words, most of them zero.
    const Case many = {"many blocks",
                       {.q_heads = 2, .kv_heads = 1, .query_tokens = 70, .key_tokens = 140000},
                       IndexOptions{.density = 0.003, .empty_rows = 0.0}};
    if (!quick && !geometry.shared) add(many, geometry, DType::kBF16, 64);
  }
  return cases;
}

TileIndexStorage MakeIndex(const AttentionArguments& arguments, const IndexOptions& options,
                           uint64_t seed) {
  const int32_t heads_per_row = options.shared ? arguments.group() : 1;
  if (options.kind == Kind::kFull) {
    return TileIndexStorage::Full(arguments, options.query_block, options.key_block, heads_per_row);
  }
  TileIndexStorage index =
      RandomIndex(arguments, {.query_block = options.query_block,
                              .key_block = options.key_block,
                              .heads_per_row = heads_per_row,
                              .density = options.kind == Kind::kRandom ? options.density : 0.0,
                              .empty_rows = options.empty_rows,
                              .seed = seed});
  AddWindowsAndColumns(arguments, options, seed, index);
  if (options.kind != Kind::kOneBlock) return index;
  Rng rng(seed);
  const int64_t rows = index.shape().rows();
  for (int64_t row = 0; row < rows; ++row) {
    const auto sequence = static_cast<int32_t>(row / (rows / arguments.batch));
    const int32_t keys = SequenceView(arguments, sequence).keys();
    if (keys == 0 || rng.Uniform() < options.empty_rows) continue;
    index.SetBlock(row, rng.Below((keys + options.key_block - 1) / options.key_block));
  }
  return index;
}

}  // namespace tamis::gpu_testing
