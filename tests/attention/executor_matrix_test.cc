// Every build of the executor against the fp64 reference, over what a call can ask for.
#include <gtest/gtest.h>

#include "attention/executor_testing.h"
#include "attention/random_index.h"

namespace tamis::attention_testing {
namespace {

ThreadPool& Pool() {
  static ThreadPool pool(2);
  return pool;
}

struct Case {
  const char* name;
  ProblemOptions options;
};

/// One call of every kind, at sizes that leave partial tiles everywhere.
std::vector<Case> Cases() {
  using enum Causality;
  return {
      {"causal", {.query_tokens = 300, .key_tokens = 300}},
      {"chunk", {.query_tokens = 70, .key_tokens = 333}},
      {"more queries than keys", {.query_tokens = 150, .key_tokens = 40}},
      {"one of each", {.query_tokens = 1, .key_tokens = 1}},
      {"no keys", {.query_tokens = 3, .key_tokens = 0}},
      {"no queries", {.query_tokens = 0, .key_tokens = 3}},
      {"head dim 128", {.head_dim = 128, .query_tokens = 140, .key_tokens = 270}},
      {"head dim 8", {.head_dim = 8, .query_tokens = 140, .key_tokens = 270}},
      {"head dim 40", {.head_dim = 40, .query_tokens = 140, .key_tokens = 270}},
      {"head dim 96", {.head_dim = 96, .query_tokens = 140, .key_tokens = 270}},
      {"head dim 256", {.head_dim = 256, .query_tokens = 140, .key_tokens = 150}},
      {"value dim", {.head_dim = 64, .value_head_dim = 24, .query_tokens = 130, .key_tokens = 130}},
      {"wide value",
       {.head_dim = 24, .value_head_dim = 136, .query_tokens = 130, .key_tokens = 130}},
      {"heads first", {.query_tokens = 130, .key_tokens = 150, .layout = Layout::kHeadsTokens}},
      {"padded rows", {.query_tokens = 130, .key_tokens = 150, .layout = Layout::kPadded}},
      {"group of 1", {.q_heads = 3, .kv_heads = 3, .query_tokens = 20, .key_tokens = 150}},
      {"group of 6", {.q_heads = 6, .kv_heads = 1, .query_tokens = 20, .key_tokens = 150}},
      {"group of 24", {.q_heads = 24, .kv_heads = 1, .query_tokens = 3, .key_tokens = 150}},
      {"ragged",
       {.batch = 4,
        .query_lengths = {5, 0, 170, 1},
        .key_lengths = {150, 9, 170, 1},
        .packed_keys = true}},
      {"key lengths", {.batch = 3, .query_tokens = 70, .key_lengths = {300, 0, 33}}},
      {"paged",
       {.batch = 3,
        .query_tokens = 37,
        .layout = Layout::kPadded,
        .key_lengths = {264, 0, 133},
        .page_size = 16}},
      {"small pages, ragged queries",
       {.batch = 2, .query_lengths = {37, 2}, .key_lengths = {137, 70}, .page_size = 3}},
      {"large pages", {.query_tokens = 10, .key_tokens = 400, .page_size = 300}},
      {"query starts",
       {.batch = 3,
        .query_tokens = 140,
        .key_lengths = {300, 260, 10},
        .query_starts = {12, 200, -30}}},
      {"positions",
       {.batch = 2, .query_tokens = 150, .key_lengths = {290, 131}, .key_positions = true}},
      {"positions, ragged",
       {.batch = 2,
        .query_lengths = {33, 150},
        .key_lengths = {290, 131},
        .packed_keys = true,
        .key_positions = true,
        .mask = {.window_left = 100, .sink_tokens = 7}}},
      {"bidirectional",
       {.query_tokens = 150, .key_tokens = 270, .mask = {.causality = kBidirectional}}},
      {"block causal",
       {.query_tokens = 150,
        .key_tokens = 200,
        .mask = {.causality = kBlockCausal, .causal_block = 32}}},
      {"block causal before zero",
       {.query_tokens = 90,
        .key_tokens = 50,
        .mask = {.causality = kBlockCausal, .causal_block = 12}}},
      {"window", {.query_tokens = 500, .key_tokens = 600, .mask = {.window_left = 70}}},
      {"window and sinks",
       {.query_tokens = 500, .key_tokens = 600, .mask = {.window_left = 40, .sink_tokens = 5}}},
      {"window of zero", {.query_tokens = 150, .key_tokens = 150, .mask = {.window_left = 0}}},
      {"two-sided window",
       {.query_tokens = 300,
        .key_tokens = 400,
        .mask = {.causality = kBidirectional,
                 .window_left = 33,
                 .window_right = 150,
                 .sink_tokens = 140}}},
      {"keep mask", {.query_tokens = 140, .key_tokens = 270, .keep_probability = 0.6}},
      {"sparse keep mask, paged",
       {.query_tokens = 40, .key_tokens = 270, .page_size = 16, .keep_probability = 0.01}},
      {"bias", {.query_tokens = 140, .key_tokens = 270, .bias = true}},
      {"softcap", {.query_tokens = 140, .key_tokens = 270, .softcap = 3.0f}},
      {"softcap, bias, sinks, mask",
       {.query_tokens = 140,
        .key_tokens = 270,
        .keep_probability = 0.5,
        .bias = true,
        .sink_logits = true,
        .softcap = 20.0f}},
      {"sink logits", {.query_tokens = 140, .key_tokens = 120, .sink_logits = true}},
      {"scale", {.query_tokens = 140, .key_tokens = 270, .softmax_scale = 0.5f}},
      {"structured", {.query_tokens = 300, .key_tokens = 300, .values = Values::kStructured}},
  };
}

/// Every case in fp32 on every build.
TEST(ExecutorMatrix, EveryKindInF32) {
  for (const Case& c : Cases()) {
    for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
      SCOPED_TRACE(testing::Message() << c.name << (phase == Phase::kDecode ? ", decode" : ""));
      ProblemOptions options = c.options;
      options.phase = phase;
      Problem problem(options);
      ExpectAllMatch(problem, nullptr, {}, 0, Pool());
    }
  }
}

}  // namespace
}  // namespace tamis::attention_testing
