// A wide random sweep of whole calls, from fixed seeds.
#include <gtest/gtest.h>

#include <vector>

#include "attention/executor_testing.h"
#include "attention/random_index.h"

namespace tamis::attention_testing {
namespace {

template <typename T>
T Choose(Rng& rng, std::initializer_list<T> choices) {
  return choices.begin()[rng.Below(static_cast<int32_t>(choices.size()))];
}

/// Anything the generator can make, at up to a few hundred tokens.
ProblemOptions RandomOptions(Rng& rng) {
  ProblemOptions o;
  o.seed = rng.Next();
  o.batch = 1 + rng.Below(3);
  o.kv_heads = 1 + rng.Below(2);
  o.q_heads = o.kv_heads * Choose(rng, {1, 2, 3, 4, 7});
  o.head_dim = Choose(rng, {8, 16, 40, 64, 72, 96, 128, 192, 256});
  o.value_head_dim = rng.Below(3) == 0 ? 8 * (1 + rng.Below(32)) : 0;
  o.dtype = Choose(rng, {DType::kF32, DType::kBF16, DType::kF16});
  o.kv_dtype = rng.Below(2) == 0 ? o.dtype : Choose(rng, {DType::kF32, DType::kBF16, DType::kF16});
  o.layout = Choose(rng, {Layout::kTokensHeads, Layout::kHeadsTokens, Layout::kPadded});
  o.values = Choose(rng, {Values::kGaussian, Values::kIntegers, Values::kStructured});
  o.phase = Choose(rng, {Phase::kPrefill, Phase::kDecode});
  const int32_t most_queries = o.phase == Phase::kDecode ? 9 : 200;
  o.query_tokens = rng.Below(most_queries);
  o.key_tokens = rng.Below(600);
  if (rng.Below(2) == 0) {
    for (int32_t b = 0; b < o.batch; ++b) o.query_lengths.push_back(rng.Below(most_queries));
  }
  if (rng.Below(2) == 0) {
    for (int32_t b = 0; b < o.batch; ++b) o.key_lengths.push_back(rng.Below(600));
    o.packed_keys = rng.Below(2) == 0;
  }
  if (!o.packed_keys && rng.Below(3) == 0) o.page_size = Choose(rng, {1, 7, 16, 64, 128});
  o.key_positions = rng.Below(4) == 0;
  if (rng.Below(5) == 0) {
    for (int32_t b = 0; b < o.batch; ++b) o.query_starts.push_back(rng.Below(500) - 50);
  }
  o.mask.causality = Choose(rng, {Causality::kCausal, Causality::kCausal, Causality::kBidirectional,
                                  Causality::kBlockCausal});
  o.mask.causal_block = Choose(rng, {1, 4, 32, 100});
  if (rng.Below(3) == 0) o.mask.window_left = rng.Below(300);
  if (rng.Below(5) == 0) o.mask.window_right = rng.Below(200);
  if (rng.Below(3) == 0) o.mask.sink_tokens = rng.Below(150);
  if (rng.Below(4) == 0) o.keep_probability = 0.02 + rng.Uniform();
  o.bias = rng.Below(4) == 0;
  o.sink_logits = rng.Below(4) == 0;
  o.softcap = rng.Below(5) == 0 ? 5.0f : 0.0f;
  return o;
}

NOfMRule RandomNOfM(Rng& rng) {
  if (rng.Below(2) == 0) return {};
  NOfMRule rule{.m = Choose(rng, {2, 4, 8})};
  rule.n = 1 + rng.Below(rule.m - 1);
  rule.sink_tokens = rng.Below(3) == 0 ? rng.Below(100) : 0;
  rule.recent_tokens = rng.Below(2) == 0 ? rng.Below(150) : 0;
  rule.skip_diagonal_blocks = rng.Below(3) == 0;
  rule.in_decode = rng.Below(2) == 0;
  return rule;
}

TEST(ExecutorSweep, RandomCalls) {
  ThreadPool pool(2);
  Rng rng(20260);
  for (int round = 0; round < 400; ++round) {
    const ProblemOptions options = RandomOptions(rng);
    SCOPED_TRACE(testing::Message() << "round " << round << ", head dim " << options.head_dim);
    Problem problem(options);
    TileRule rule{.n_of_m = RandomNOfM(rng)};
    const bool decode = options.phase == Phase::kDecode;
    const std::vector<float> lambda(options.batch, Choose(rng, {0.0f, 0.003f, 0.2f, 0.9f, 1.5f}));
    if (rng.Below(2) == 0) {
      const std::vector<TileGeometry> published = cpu::Geometries(options.phase);
      rule.skip_softmax = {
          lambda.data(),
          published[static_cast<size_t>(rng.Below(static_cast<int32_t>(published.size())))]};
    }
    const bool skips = rule.skip_softmax.lambda != nullptr;
    RandomIndexOptions index_options{.query_block = Choose(rng, {64, 128}),
                                     .key_block = Choose(rng, {64, 128}),
                                     .density = rng.Uniform(),
                                     .empty_rows = rng.Below(3) == 0 ? 0.2 : 0.0,
                                     .windows = rng.Below(4),
                                     .columns = rng.Below(2) == 0 ? rng.Below(250) : 0,
                                     .seed = rng.Next()};
    index_options.heads_per_row =
        rng.Below(2) == 0 || (decode && skips) ? problem.arguments.group() : 1;
    if (skips) {
      index_options.query_block =
          decode ? index_options.query_block : rule.skip_softmax.geometry.tile_rows;
      index_options.key_block = rule.skip_softmax.geometry.tile_columns;
    }
    const TileIndexStorage storage = RandomIndex(problem.arguments, index_options);
    const TileIndex index = storage.view();
    // Softcap rounds exact scores; a bf16 dot flushes subnormals only, so that integers stay exact.
    const bool exact = options.values == Values::kIntegers && options.softcap == 0.0f;
    ExpectAllMatch(problem, rng.Below(2) == 0 ? &index : nullptr, rule, exact ? 0 : 4, pool);
    if (testing::Test::HasFailure()) break;
  }
}

}  // namespace
}  // namespace tamis::attention_testing
