#include <fmt/format.h>

#include <algorithm>

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

/// Rules and layouts that the sparse product does not run.
std::vector<Case> ThinKinds() {
  return {
      {"packed keys",
       {.batch = 5,
        .q_heads = 5,
        .kv_heads = 1,
        .query_lengths = {5, 0, 370, 1, 200},
        .key_lengths = {350, 9, 371, 1, 0},
        .packed_keys = true}},
      {"pages", {.query_tokens = 202, .key_tokens = 402, .page_size = 16}},
      {"odd", {.query_tokens = 333, .key_tokens = 333}},
      {"jumps",
       {.query_tokens = 150,
        .key_tokens = 902,
        .mask = {.causality = kBidirectional},
        .softmax_scale = 20.0f}},
  };
}

constexpr NOfMRule kThinRules[] = {
    {.n = 3, .m = 4},
    {.n = 4, .m = 8},
    {.n = 2, .m = 4},
    {.n = 1, .m = 4},
    {.n = 1, .m = 2},
    {.n = 7, .m = 8, .sink_tokens = 5},
    {.n = 3, .m = 4, .recent_tokens = 70},
    {.n = 1, .m = 8, .sink_tokens = 1, .recent_tokens = 9, .skip_diagonal_blocks = true},
    {.n = 2, .m = 4, .skip_diagonal_blocks = true},
    {.n = 5, .m = 8},
};

/// The same with keys that the copy engine can bring in groups of eight, and one whose scores leave
/// the range of their reference again and again.
std::vector<Case> GroupKinds() {
  std::vector<Case> kinds = Kinds();
  const auto round_up = [](int32_t& keys) { keys = (keys + 7) / 8 * 8; };
  for (Case& kind : kinds) {
    round_up(kind.options.key_tokens);
    std::vector<int32_t>& lengths = kind.options.key_lengths;
    // The longest is what the tensors hold.
    if (!lengths.empty()) round_up(*std::max_element(lengths.begin(), lengths.end()));
  }
  kinds.push_back({"jumps",
                   {.query_tokens = 300,
                    .key_tokens = 1904,
                    .mask = {.causality = kBidirectional},
                    .softmax_scale = 20.0f}});
  return kinds;
}

constexpr NOfMRule kGroupRules[] = {
    {.n = 3, .m = 4},
    {.n = 4, .m = 8},
    {.n = 1, .m = 8},
    {.n = 2, .m = 8, .sink_tokens = 5},
    {.n = 3, .m = 8},
    {.n = 5, .m = 8, .skip_diagonal_blocks = true},
    {.n = 6, .m = 8},
    {.n = 7, .m = 8, .recent_tokens = 70},
    {.n = 4, .m = 8, .sink_tokens = 130, .recent_tokens = 9},
    {.n = 3, .m = 4, .sink_tokens = 3, .recent_tokens = 70, .skip_diagonal_blocks = true},
};

/// Kinds that lists see otherwise than calls without them.
std::vector<Case> ListKinds() {
  using Kind = IndexOptions::Kind;
  return {
      {"causal", {.query_tokens = 700, .key_tokens = 700}},
      {"mostly empty",
       {.batch = 2, .q_heads = 8, .query_tokens = 652, .key_tokens = 652},
       IndexOptions{.density = 0.2, .empty_rows = 0.8}},
      {"bidirectional tail, full",
       {.query_tokens = 250, .key_tokens = 732, .mask = {.causality = kBidirectional}},
       IndexOptions{.kind = Kind::kFull}},
      {"query starts",
       {.batch = 3,
        .query_tokens = 340,
        .key_lengths = {500, 461, 10},
        .query_starts = {12, 200, -30}}},
      {"jumps",
       {.query_tokens = 500,
        .key_tokens = 900,
        .mask = {.causality = kBidirectional},
        .softmax_scale = 20.0f}},
  };
}

}  // namespace

std::string RuleName(const NOfMRule& rule) {
  std::string name = fmt::format("{}:{}", rule.n, rule.m);
  if (rule.sink_tokens > 0) name += fmt::format(" sinks {}", rule.sink_tokens);
  if (rule.recent_tokens > 0) name += fmt::format(" recent {}", rule.recent_tokens);
  if (rule.skip_diagonal_blocks) name += " dense diagonal";
  return name;
}

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
    const bool main = kind.name == "causal" || kind.name == "key lengths";
    if (quick && !main) continue;
    for (const int32_t head_dim : {128, 64, 96}) {
      if (head_dim == 96 && (quick || !main)) continue;
      // Scores that are exact in fp32, with many ties: the kept sets must be the reference's.
      kind.options.values = Values::kIntegers;
      for (const NOfMRule& rule : kRules) {
        add(kind, rule, DType::kBF16, head_dim);
        if (!quick && main) add(kind, rule, DType::kF16, head_dim);
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
  for (const int32_t query_block : {128, 64}) {
    for (const int32_t key_block : {128, 64}) {
      for (Case kind : ListKinds()) {
        const bool main = kind.name == "causal";
        if (quick && (!main || query_block != key_block)) continue;
        if (!kind.index) kind.index = IndexOptions{.density = 0.6};
        kind.index->query_block = query_block;
        kind.index->key_block = key_block;
        kind.options.values = Values::kIntegers;
        kind.name = fmt::format("lists {}x{} {}", query_block, key_block, kind.name);
        for (int rule = 0; rule < 3; ++rule) {
          kind.index->shared = rule == 1;
          for (const int32_t head_dim : {128, 64}) {
            add(kind, kRules[rule], DType::kBF16, head_dim);
            if (main && !quick) add(kind, kRules[rule], DType::kF16, head_dim);
          }
        }
      }
    }
  }
  int number = 0;
  for (Case kind : ThinKinds()) {
    kind.options.values = Values::kIntegers;
    for (const NOfMRule& rule : kThinRules) {
      for (const int32_t head_dim : {128, 64}) {
        // The rules take turns between the kinds.
        if (quick && ++number % 7 != 0) continue;
        add(kind, rule, DType::kBF16, head_dim);
        if (!quick && kind.name == "packed keys") add(kind, rule, DType::kF16, head_dim);
      }
    }
  }
  for (Case kind : GroupKinds()) {
    for (const NOfMRule& rule : kGroupRules) {
      for (const int32_t head_dim : {128, 64, 96}) {
        // Integers tie in every tile, which takes the exact selection; of random scores all tiles
        // but masked ones take the fast one.
        for (const Values values : {Values::kIntegers, Values::kGaussian}) {
          if (head_dim == 96 && kind.name != "causal") continue;
          // About scheduling, not selection, and slow to check.
          if (kind.name == "many tiles" && rule.n != 4) continue;
          if (quick && ++number % 19 != 0) continue;
          kind.options.values = values;
          add(kind, rule, DType::kBF16, head_dim);
          if (!quick && kind.name == "key lengths") add(kind, rule, DType::kF16, head_dim);
        }
      }
    }
  }
  for (Case kind : ListKinds()) {
    if (!kind.index) kind.index = IndexOptions{.density = 0.6};
    kind.options.values = Values::kIntegers;
    for (const NOfMRule& rule : kThinRules) {
      kind.index->query_block = number % 2 == 0 ? 64 : 128;
      kind.index->key_block = number % 4 < 2 ? 64 : 128;
      kind.index->shared = number % 3 == 0;
      Case c = kind;
      c.name = fmt::format("lists {}x{} {}", c.index->query_block, c.index->key_block, kind.name);
      if (!quick || number % 8 == 0) {
        add(c, rule, number % 5 == 0 ? DType::kF16 : DType::kBF16, number % 7 < 4 ? 128 : 64);
      }
      ++number;
    }
  }
  return cases;
}

}  // namespace tamis::gpu_testing
