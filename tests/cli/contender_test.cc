#include "cli/contender.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace tamis::cli {
namespace {

TEST(RandomLists, VisitTheShareOfThePairs) {
  for (const int32_t keys : {128, 1000, 8192}) {
    for (const int32_t queries : {keys, keys / 2 + 5}) {
      AttentionArguments arguments;
      arguments.q_heads = 4;
      arguments.kv_heads = 2;
      arguments.query_tokens = queries;
      arguments.key_tokens = keys;
      const double block_share =
          128.0 * 128.0 / static_cast<double>(DenseCounts(arguments).allowed_pairs);
      double least = 0.0;  // the diagonal blocks, which any list visits
      for (const double density : {0.0, 0.1, 0.25, 0.5, 1.0}) {
        const RandomLists lists(density, arguments);
        if (density == 0.0) least = lists.counts.density();
        const double expected = std::max(density, least);
        // Early rows may visit too much for later ones to make up for.
        EXPECT_NEAR(lists.counts.density(), expected, expected * 0.02 + block_share)
            << queries << " of " << keys;
      }
      EXPECT_LE(least, 1.0);
    }
  }
}

}  // namespace
}  // namespace tamis::cli
