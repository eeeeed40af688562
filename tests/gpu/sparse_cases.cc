#include <fmt/format.h>

#include "gpu/cases.h"

namespace tamis::gpu_testing {
namespace {

using namespace attention_testing;
using enum Causality;

/// One call of every kind, at sizes that leave partial tiles everywhere.
std::vector<Case> Kinds() {
  return {
      {"one tile", {.query_tokens = 128, .key_tokens = 128}},
      {"causal", {.query_tokens = 300, .key_tokens = 300}},
      {"long causal", {.q_heads = 2, .kv_heads = 1, .query_tokens = 1500, .key_tokens = 1500}},
      {"many tiles",
       {.batch = 3, .q_heads = 16, .kv_heads = 4, .query_tokens = 640, .key_tokens = 640}},
      {"bidirectional",
       {.query_tokens = 257, .key_tokens = 640, .mask = {.causality = kBidirectional}}},
      {"chunk", {.query_tokens = 70, .key_tokens = 532}},
      {"more queries than keys", {.query_tokens = 450, .key_tokens = 40}},
      {"no keys", {.query_tokens = 3, .key_tokens = 0}},
      {"heads first",
       {.batch = 2, .query_tokens = 130, .key_tokens = 152, .layout = Layout::kHeadsTokens}},
      {"group of 6", {.q_heads = 6, .kv_heads = 1, .query_tokens = 20, .key_tokens = 152}},
      {"key lengths", {.batch = 3, .query_tokens = 170, .key_lengths = {600, 0, 33}}},
      {"query starts",
       {.batch = 3,
        .query_tokens = 340,
        .key_lengths = {500, 460, 10},
        .query_starts = {12, 200, -30}}},
      {"block causal",
       {.query_tokens = 350,
        .key_tokens = 500,
        .mask = {.causality = kBlockCausal, .causal_block = 32}}},
  };
}

constexpr NOfMRule kRules[] = {
    {.n = 2, .m = 4},
    {.n = 1, .m = 2},
    {.n = 1, .m = 4},
    {.n = 2, .m = 4, .sink_tokens = 5},
    {.n = 2, .m = 4, .recent_tokens = 70},
    {.n = 2, .m = 4, .skip_diagonal_blocks = true},
    {.n = 1, .m = 2, .sink_tokens = 130, .recent_tokens = 9, .skip_diagonal_blocks = true},
    {.n = 1, .m = 4, .sink_tokens = 1, .recent_tokens = 1},
};

std::string RuleName(const NOfMRule& rule) {
  std::string name = fmt::format("{}:{}", rule.n, rule.m);
  if (rule.sink_tokens > 0) name += fmt::format(" sinks {}", rule.sink_tokens);
  if (rule.recent_tokens > 0) name += fmt::format(" recent {}", rule.recent_tokens);
  if (rule.skip_diagonal_blocks) name += " dense diagonal";
  return name;
}

}  // namespace

std::vector<Case> SparseCases(bool quick) {
  std::vector<Case> cases;
  const auto add = [&](Case c, const NOfMRule& rule, DType dtype, int32_t head_dim) {
    c.options.dtype = c.options.kv_dtype = dtype;
    c.options.head_dim = head_dim;
    c.rule.n_of_m = rule;
    c.name = fmt::format("{} {}{}", RuleName(rule),
                         c.options.values == Values::kIntegers ? "" : "random, ", c.name);
    cases.push_back(std::move(c));
  };
  for (Case kind : Kinds()) {
    if (quick && kind.name != "causal" && kind.name != "key lengths") continue;
    for (const int32_t head_dim : {128, 64, 96}) {
      if (quick && head_dim == 96) continue;
      // Scores that are exact in fp32, with many ties: the kept sets must be the reference's.
      kind.options.values = Values::kIntegers;
      for (const NOfMRule& rule : kRules) {
        add(kind, rule, DType::kBF16, head_dim);
        if (!quick) add(kind, rule, DType::kF16, head_dim);
      }
      kind.options.values = Values::kGaussian;
      if (!quick) add(kind, kRules[0], DType::kBF16, head_dim);
    }
  }
  // Scores hundreds of octaves apart, which overflow the reference and are computed again.
  for (const int32_t head_dim : {128, 64}) {
    for (const NOfMRule& rule : kRules) {
      Case jumps{"jumps",
                 {.query_tokens = 300,
                  .key_tokens = 1900,
                  .mask = {.causality = kBidirectional},
                  .softmax_scale = 20.0f,
                  .values = Values::kIntegers}};
      if (!quick) add(jumps, rule, DType::kBF16, head_dim);
    }
  }
  return cases;
}

}  // namespace tamis::gpu_testing
