#include "attention/random_index.h"

#include <algorithm>
#include <set>
#include <vector>

#include "attention/problem.h"
#include "attention/sequence_view.h"

namespace tamis::attention_testing {

TileIndexStorage RandomIndex(const AttentionArguments& arguments,
                             const RandomIndexOptions& options) {
  TileIndexStorage index({.batch = arguments.batch,
                          .q_heads = arguments.q_heads,
                          .heads_per_row = options.heads_per_row,
                          .query_block = options.query_block,
                          .key_block = options.key_block,
                          .max_query_tokens = arguments.query_tokens,
                          .max_key_tokens = arguments.key_tokens});
  Rng rng(options.seed);
  const int64_t rows = index.shape().rows();
  std::vector<std::vector<KeyWindow>> windows(rows);
  std::vector<std::vector<int32_t>> columns(rows);
  for (int64_t row = 0; row < rows; ++row) {
    const auto sequence = static_cast<int32_t>(row / (rows / arguments.batch));
    const int32_t keys = SequenceView(arguments, sequence).keys();
    if (keys == 0 || rng.Uniform() < options.empty_rows) continue;
    for (int32_t block = 0; block * options.key_block < keys; ++block) {
      if (rng.Uniform() < options.density) index.SetBlock(row, block);
    }
    // Windows of up to 1.5 blocks, ends anywhere.
    for (int32_t i = 0, begin = 0; i < options.windows; ++i) {
      begin = (begin + rng.Below(keys) + 7) / 8 * 8;
      if (begin >= keys) break;
      const int32_t end = std::min(keys, begin + 1 + rng.Below(options.key_block * 3 / 2));
      windows[row].push_back({begin, end});
      begin = end;
    }
    std::set<int32_t> chosen;
    for (int32_t i = 0; i < options.columns; ++i) chosen.insert(rng.Below(keys));
    columns[row].assign(chosen.begin(), chosen.end());
  }
  if (options.windows > 0) index.SetWindows(windows);
  if (options.columns > 0) index.SetColumns(columns);
  return index;
}

}  // namespace tamis::attention_testing
