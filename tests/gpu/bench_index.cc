#include "gpu/bench_index.h"

#include <algorithm>
#include <random>
#include <set>
#include <vector>

namespace tamis::gpu_testing {
namespace {

constexpr int32_t kBlock = 128;

TileIndexStorage Empty(const BenchCall& call) {
  return TileIndexStorage({.q_heads = call.q_heads,
                           .key_block = call.key_block,
                           .max_query_tokens = call.lengths[0],
                           .max_key_tokens = call.lengths[0]});
}

double PairsOf(int64_t tiles, int64_t rows) {
  return (static_cast<double>(tiles) - 0.5 * static_cast<double>(rows)) * kBlock * kBlock;
}

BenchIndex RandomLists(const BenchCall& call) {
  TileIndexStorage index = Empty(call);
  std::mt19937 random(1);
  std::bernoulli_distribution keep(*call.density);
  const int32_t blocks = index.shape().query_blocks();
  const int32_t ratio = kBlock / call.key_block;
  int64_t listed = 0;
  for (int64_t row = 0; row < index.shape().rows(); ++row) {
    const auto diagonal = static_cast<int32_t>(row % blocks) * ratio;
    for (int32_t block = 0; block < diagonal + ratio; ++block) {
      if (block >= diagonal || keep(random)) index.SetBlock(row, block);
    }
    listed += index.counts()[row];
  }
  return {std::move(index), PairsOf(listed / ratio, blocks * int64_t{call.q_heads})};
}

/// The keys that diagonals `nearest` to `nearest + width` below the main one hold for the queries
/// of a block.
KeyWindow Band(int32_t first_query, int32_t nearest, int32_t width) {
  return {std::max(first_query - nearest - width + 1, 0) / 8 * 8, first_query + kBlock - nearest};
}

/// Ascending, and joined where they overlap.
std::vector<KeyWindow> Join(std::vector<KeyWindow> windows) {
  std::sort(windows.begin(), windows.end(),
            [](const KeyWindow& a, const KeyWindow& b) { return a.begin < b.begin; });
  std::vector<KeyWindow> joined;
  for (const KeyWindow& window : windows) {
    if (window.end <= window.begin) continue;
    if (!joined.empty() && window.begin <= joined.back().end) {
      joined.back().end = std::max(joined.back().end, window.end);
    } else {
      joined.push_back(window);
    }
  }
  return joined;
}

/// Of one head.
struct Lines {
  Lines(const VerticalSlash& slash, int32_t tokens, std::mt19937& random) {
    std::uniform_int_distribution<int32_t> key(0, tokens - 1);
    std::set<int32_t> chosen;
    const int32_t count = std::min(slash.columns, tokens);
    while (static_cast<int32_t>(chosen.size()) < count) chosen.insert(key(random));
    columns.assign(chosen.begin(), chosen.end());
    for (int32_t i = 0; i < slash.bands; ++i) distances.push_back(key(random));
  }
  std::vector<int32_t> columns, distances;
};

BenchIndex MakeVerticalSlash(const BenchCall& call) {
  const VerticalSlash& slash = *call.slash;
  TileIndexStorage index = Empty(call);
  const int64_t rows = index.shape().rows();
  const int32_t blocks = index.shape().query_blocks();
  std::mt19937 random(1);
  std::vector<std::vector<KeyWindow>> windows(rows);
  std::vector<std::vector<int32_t>> columns(rows);
  int64_t all_tiles = 0;
  for (int32_t head = 0; head < call.q_heads; ++head) {
    const Lines lines(slash, call.lengths[0], random);
    for (int32_t block = 0; block < blocks; ++block) {
      const int64_t row = int64_t{head} * blocks + block;
      const int32_t first = block * kBlock;
      if (slash.local > 0) windows[row].push_back(Band(first, 0, slash.local));
      for (const int32_t distance : lines.distances) {
        windows[row].push_back(Band(first, distance, slash.band_width));
      }
      windows[row] = Join(windows[row]);
      columns[row].assign(
          lines.columns.begin(),
          std::lower_bound(lines.columns.begin(), lines.columns.end(), first + kBlock));
      std::set<int32_t> touched = {block};
      for (const KeyWindow& window : windows[row]) {
        for (int32_t b = window.begin / kBlock; b * kBlock < window.end; ++b) touched.insert(b);
      }
      int64_t gathered = 0;
      auto window = windows[row].begin();
      for (const int32_t column : columns[row]) {
        while (window != windows[row].end() && window->end <= column) ++window;
        const bool inside = window != windows[row].end() && window->begin <= column;
        if (!inside && (slash.local > 0 || column < first)) ++gathered;
      }
      const int64_t tiles = static_cast<int64_t>(touched.size()) + (gathered + kBlock - 1) / kBlock;
      if (slash.local == 0 || slash.as_blocks) index.SetBlock(row, block);
      if (slash.as_blocks) {
        std::vector<int32_t> below(block);
        for (int32_t b = 0; b < block; ++b) below[b] = b;
        std::shuffle(below.begin(), below.end(), random);
        below.resize(std::min<size_t>(below.size(), tiles - 1));
        for (const int32_t b : below) index.SetBlock(row, b);
      }
      all_tiles += slash.as_blocks ? index.counts()[row] : tiles;
    }
  }
  if (!slash.as_blocks) {
    index.SetWindows(windows);
    index.SetColumns(columns);
  }
  return {std::move(index), PairsOf(all_tiles, rows)};
}

}  // namespace

BenchIndex MakeBenchIndex(const BenchCall& call) {
  return call.slash ? MakeVerticalSlash(call) : RandomLists(call);
}

}  // namespace tamis::gpu_testing
