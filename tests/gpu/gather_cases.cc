// Calls with windows and columns of an index.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "attention/sequence_view.h"
#include "gpu/cases.h"

namespace tamis::gpu_testing {
namespace {

using namespace attention_testing;
using enum Causality;
using Kind = IndexOptions::Kind;

/// Run in every geometry.
std::vector<Case> Kinds() {
  return {
      {"all three",
       {.query_tokens = 700, .key_tokens = 700},
       IndexOptions{.density = 0.2, .windows = 3, .columns = 150}},
      {"windows alone",
       {.query_tokens = 500, .key_tokens = 700},
       IndexOptions{.density = 0.0, .windows = 4}},
      {"columns alone",
       {.query_tokens = 500, .key_tokens = 700},
       IndexOptions{.density = 0.0, .columns = 200}},
      {"ragged",
       {.batch = 5,
        .q_heads = 5,
        .kv_heads = 1,
        .query_lengths = {5, 0, 370, 1, 200},
        .key_lengths = {350, 9, 370, 1, 0},
        .packed_keys = true},
       IndexOptions{.density = 0.2, .windows = 3, .columns = 90}},
  };
}

/// Run in two geometries.
std::vector<Case> Shapes() {
  std::vector<Case> cases = {
      {"overlapping",
       {.query_tokens = 600, .key_tokens = 600},
       IndexOptions{.density = 0.5, .windows = 6, .columns = 400}},
      {"mostly empty",
       {.batch = 2, .q_heads = 8, .query_tokens = 650, .key_tokens = 650},
       IndexOptions{.density = 0.1, .empty_rows = 0.8, .windows = 2, .columns = 40}},
      {"windows of 8",
       {.query_tokens = 300, .key_tokens = 900},
       IndexOptions{.density = 0.0, .windows = 40, .window_keys = 8}},
      {"windows of 1",
       {.query_tokens = 300, .key_tokens = 900},
       IndexOptions{.density = 0.0, .windows = 30, .window_keys = 1, .columns = 5}},
      {"odd windows",
       {.query_tokens = 300, .key_tokens = 901},
       IndexOptions{.density = 0.1, .windows = 9, .window_keys = 77, .columns = 50}},
      {"many windows",
       {.q_heads = 2, .kv_heads = 1, .query_tokens = 140, .key_tokens = 20000},
       IndexOptions{
           .density = 0.0, .empty_rows = 0.0, .windows = 900, .window_keys = 9, .columns = 500}},
      {"windows over everything",
       {.query_tokens = 480, .key_tokens = 480},
       IndexOptions{.kind = Kind::kFullWindows, .empty_rows = 0.0}},
      {"every column",
       {.query_tokens = 480, .key_tokens = 480},
       IndexOptions{.density = 0.0, .empty_rows = 0.0, .columns = 480}},
      {"bidirectional tail",
       {.query_tokens = 250, .key_tokens = 733, .mask = {.causality = kBidirectional}},
       IndexOptions{.density = 0.2, .windows = 4, .columns = 300}},
      {"chunk",
       {.q_heads = 6, .query_tokens = 150, .key_tokens = 633},
       IndexOptions{.density = 0.1, .windows = 3, .columns = 150}},
      {"more queries than keys",
       {.query_tokens = 450, .key_tokens = 40},
       IndexOptions{.density = 0.2, .windows = 1, .columns = 20}},
      {"key lengths, heads first",
       {.batch = 3,
        .query_tokens = 270,
        .layout = Layout::kHeadsTokens,
        .key_lengths = {600, 0, 133}},
       IndexOptions{.density = 0.1, .windows = 3, .columns = 140}},
      {"query starts",
       {.batch = 3,
        .query_tokens = 340,
        .key_lengths = {500, 460, 10},
        .query_starts = {12, 200, -30}},
       IndexOptions{.density = 0.1, .windows = 3, .columns = 140}},
      {"block causal",
       {.query_tokens = 350,
        .key_tokens = 900,
        .mask = {.causality = kBlockCausal, .causal_block = 250}},
       IndexOptions{.density = 0.1, .windows = 3, .columns = 500}},
      {"jumps",
       {.query_tokens = 900, .key_tokens = 900, .softmax_scale = 3.0f},
       IndexOptions{.density = 0.1, .windows = 3, .columns = 400}},
      {"many tiles",
       {.batch = 3, .q_heads = 16, .kv_heads = 4, .query_tokens = 640, .key_tokens = 640},
       IndexOptions{.density = 0.1, .windows = 3, .columns = 200}},
  };
  for (const int32_t columns : {1, 127, 128, 129, 4095}) {
    cases.push_back({fmt::format("columns {}", columns),
                     {.q_heads = 2,
                      .kv_heads = 1,
                      .query_tokens = 150,
                      .key_tokens = columns > 1000 ? 4500 : 450,
                      .mask = {.causality = columns == 128 ? kBidirectional : kCausal}},
                     IndexOptions{.density = 0.0, .empty_rows = 0.0, .columns = columns}});
  }
  return cases;
}

/// `count` windows of `options.window_keys`, or of up to one and a half blocks, spread over the
/// keys.
std::vector<KeyWindow> RandomWindows(const IndexOptions& options, int32_t keys, Rng& rng) {
  std::vector<KeyWindow> windows;
  const int32_t share = std::max(keys / options.windows, 8);
  for (int32_t i = 0, begin = 0; i < options.windows; ++i) {
    begin = (std::max(begin, i * share + rng.Below(share)) + 7) / 8 * 8;
    const int32_t length =
        options.window_keys > 0 ? options.window_keys : 1 + rng.Below(options.key_block * 3 / 2);
    if (begin >= keys) break;
    // The last one ends with the keys.
    const int32_t end = i + 1 == options.windows && options.window_keys == 0
                            ? keys
                            : std::min(begin + length, keys);
    windows.push_back({begin, end});
    begin = end;
  }
  return windows;
}

/// Distinct and ascending; as many as there are keys at most.
std::vector<int32_t> RandomColumns(int32_t count, int32_t keys, Rng& rng) {
  std::vector<int32_t> columns;
  for (int32_t key = 0, left = std::min(count, keys); left > 0; ++key) {
    if (rng.Below(keys - key) >= left) continue;
    columns.push_back(key);
    --left;
  }
  return columns;
}

}  // namespace

std::vector<Case> GatherCases(bool quick) {
  std::vector<Case> cases;
  const auto add = [&](Case c, const IndexGeometry& geometry, DType dtype, int32_t head_dim) {
    cases.push_back(InGeometry(std::move(c), "gather", geometry, dtype, head_dim));
  };
  for (const IndexGeometry& geometry : kIndexGeometries) {
    for (const Case& kind : Kinds()) {
      const bool main = kind.name == "all three" || kind.name == "ragged";
      for (const int32_t head_dim : {128, 64, 96, 40}) {
        if (head_dim % 64 != 0 && (!main || quick)) continue;
        if (quick && (kind.name != "all three" ||
                      geometry.shared == (geometry.query_block == geometry.key_block))) {
          continue;
        }
        add(kind, geometry, DType::kBF16, head_dim);
        if (main && !quick) add(kind, geometry, DType::kF16, head_dim);
      }
    }
  }
  if (quick) return cases;
  for (const Case& shape : Shapes()) {
    // Rows of a warpgroup each, and one row for both.
    for (const IndexGeometry& geometry :
         {IndexGeometry{128, 128, false}, IndexGeometry{64, 64, false}}) {
      for (const int32_t head_dim : {128, 64}) {
        add(shape, geometry, DType::kBF16, head_dim);
        if (shape.name == "jumps") add(shape, geometry, DType::kF16, head_dim);
      }
    }
  }
  return cases;
}

void AddWindowsAndColumns(const AttentionArguments& arguments, const IndexOptions& options,
                          uint64_t seed, TileIndexStorage& index) {
  Rng rng(seed);
  const int64_t rows = index.shape().rows();
  std::vector<std::vector<KeyWindow>> windows(rows);
  std::vector<std::vector<int32_t>> columns(rows);
  for (int64_t row = 0; row < rows; ++row) {
    const auto sequence = static_cast<int32_t>(row / (rows / arguments.batch));
    const int32_t keys = SequenceView(arguments, sequence).keys();
    if (keys == 0 || rng.Uniform() < options.empty_rows) continue;
    if (options.kind == Kind::kFullWindows) {
      windows[row] = {{0, keys}};
    } else if (options.windows > 0) {
      windows[row] = RandomWindows(options, keys, rng);
    }
    columns[row] = RandomColumns(options.columns, keys, rng);
  }
  if (options.windows > 0 || options.kind == Kind::kFullWindows) index.SetWindows(windows);
  if (options.columns > 0) index.SetColumns(columns);
}

}  // namespace tamis::gpu_testing
