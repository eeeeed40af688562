#include <fmt/format.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gpu/cases.h"

namespace tamis::gpu_testing {
namespace {

using namespace attention_testing;
using enum Causality;

/// Calls that drop tiles: because inputs are structured, or because few rows vote.
std::vector<Case> Kinds() {
  return {
      {"structured",
       {.q_heads = 2,
        .kv_heads = 1,
        .query_tokens = 700,
        .key_tokens = 1100,
        .values = Values::kStructured}},
      {"few rows", {.q_heads = 8, .query_tokens = 3, .key_tokens = 2500, .softmax_scale = 0.5f}},
      {"few rows, bidirectional",
       {.query_tokens = 2,
        .key_tokens = 2333,
        .mask = {.causality = kBidirectional},
        .softmax_scale = 0.5f}},
      // Long runs of kept tiles, so that ballots are used again and again, and some dropped.
      {"few rows, many keys",
       {.q_heads = 2,
        .kv_heads = 1,
        .query_tokens = 2,
        .key_tokens = 9000,
        .mask = {.causality = kBidirectional},
        .softmax_scale = 0.17f}},
      {"integers", {.query_tokens = 2, .key_tokens = 1900, .values = Values::kIntegers}},
      {"integers, many rows",
       {.q_heads = 2, .query_tokens = 500, .key_tokens = 900, .values = Values::kIntegers}},
      {"ragged",
       {.batch = 6,
        .q_heads = 5,
        .kv_heads = 1,
        .query_lengths = {5, 0, 370, 1, 200, 65},
        .key_lengths = {850, 9, 370, 1200, 0, 700},
        .packed_keys = true,
        .softmax_scale = 0.6f}},
      {"key lengths, heads first",
       {.batch = 3,
        .query_tokens = 66,
        .layout = Layout::kHeadsTokens,
        .key_lengths = {900, 0, 433},
        .softmax_scale = 0.6f}},
      {"query starts",
       {.batch = 3,
        .query_tokens = 340,
        .key_lengths = {500, 460, 10},
        .query_starts = {12, 200, -30},
        .values = Values::kStructured}},
      {"block causal",
       {.query_tokens = 350,
        .key_tokens = 900,
        .mask = {.causality = kBlockCausal, .causal_block = 250},
        .values = Values::kStructured}},
      {"group of 6",
       {.q_heads = 6, .kv_heads = 1, .query_tokens = 1, .key_tokens = 1500, .softmax_scale = 1.0f}},
      {"more queries than keys", {.query_tokens = 450, .key_tokens = 40}},
      {"no keys", {.batch = 3, .query_tokens = 3, .key_tokens = 0}},
      {"jumps", {.q_heads = 2, .query_tokens = 600, .key_tokens = 800, .softmax_scale = 3.0f}},
      {"jumps, few rows",
       {.query_tokens = 4,
        .key_tokens = 3000,
        .mask = {.causality = kBidirectional},
        .softmax_scale = 20.0f}},
  };
}

std::vector<Case> PagedKinds() {
  std::vector<Case> cases;
  for (const int32_t page_size : {16, 24, 128}) {
    cases.push_back({fmt::format("pages of {}, ragged", page_size),
                     {.batch = 5,
                      .query_lengths = {5, 0, 370, 1, 200},
                      .key_lengths = {850, 9, 400, 1100, 0},
                      .page_size = page_size,
                      .softmax_scale = 0.6f}});
  }
  return cases;
}

/// Skip-softmax beside N:M: by the sparse product, and by dropping scores before the dense one.
constexpr NOfMRule kSparseRules[] = {
    {.n = 2, .m = 4},
    {.n = 1, .m = 2},
    {.n = 1, .m = 4},
    {.n = 2, .m = 4, .sink_tokens = 5},
    {.n = 2, .m = 4, .recent_tokens = 70},
    {.n = 2, .m = 4, .skip_diagonal_blocks = true},
    {.n = 1, .m = 2, .sink_tokens = 130, .recent_tokens = 9, .skip_diagonal_blocks = true},
    {.n = 1, .m = 4, .sink_tokens = 1, .recent_tokens = 300},
    {.n = 3, .m = 4},
    {.n = 4, .m = 8},
    {.n = 7, .m = 8, .sink_tokens = 5, .recent_tokens = 9},
    {.n = 1, .m = 8, .skip_diagonal_blocks = true},
};

bool KeepsTokens(const NOfMRule& rule) {
  return rule.sink_tokens > 0 || rule.recent_tokens > 0 || rule.skip_diagonal_blocks;
}

/// Off, next to nothing, some, most; side by side, from 1 on dense.
const std::vector<std::vector<float>>& Lambdas() {
  static const std::vector<std::vector<float>> lambdas = {
      {0.0f}, {1e-30f}, {0.02f}, {0.97f}, {0.3f, 0.0f, 0.9f, 1.0f, 0.003f, 7.0f}};
  return lambdas;
}

}  // namespace

std::vector<Case> SkipCases(bool quick) {
  std::vector<Case> cases;
  const auto add = [&](Case c, const std::vector<float>& lambda, DType dtype, int32_t head_dim) {
    c.options.dtype = c.options.kv_dtype = dtype;
    c.options.head_dim = head_dim;
    c.lambda = lambda;
    c.name = fmt::format(
        "skip {}{}{}{} {}", lambda[0], lambda.size() > 1 ? ".." : "",
        c.rule.n_of_m.n != 0 ? " " + RuleName(c.rule.n_of_m) : "",
        c.index ? fmt::format(" lists {}x{} {}", c.index->query_block, c.index->key_block,
                              c.index->shared ? "shared" : "per head")
                : "",
        c.name);
    cases.push_back(std::move(c));
  };
  const auto add_all = [&](const Case& kind) {
    const bool main = kind.name == "ragged";
    for (const std::vector<float>& lambda : Lambdas()) {
      if (quick && !(lambda.size() > 1 && main)) continue;
      // Lambdas of their own for the structured; elsewhere the mix has them.
      if (!main && kind.name != "structured" && lambda[0] != 0.3f && lambda[0] != 0.02f) continue;
      if (kind.index && lambda[0] != 0.3f && lambda[0] != 0.0f) continue;
      for (const int32_t head_dim : {128, 64, 96}) {
        if (head_dim == 96 && (!main || quick)) continue;
        add(kind, lambda, DType::kBF16, head_dim);
        if (!quick && main && lambda[0] == 0.3f) add(kind, lambda, DType::kF16, head_dim);
      }
    }
  };
  // Every kind with every N:M rule under the mix of lambdas.
  const auto add_sparse = [&](Case kind) {
    const bool main = kind.name == "ragged" || kind.name == "key lengths, heads first";
    if (quick && !main) return;
    for (const NOfMRule& rule : kSparseRules) {
      // Of the quick cases one of either product, and one with tokens.
      if (quick && !(rule.n == 2 && rule.recent_tokens == 0 && !rule.skip_diagonal_blocks))
        continue;
      kind.rule.n_of_m = rule;
      Case c = kind;
      // How many pairs are kept on top of a selection depends on what it chose: exact scores.
      if (KeepsTokens(rule)) c.options.values = Values::kIntegers;
      for (const int32_t head_dim : {128, 64, 96}) {
        if (head_dim == 96 && (!main || quick)) continue;
        add(c, Lambdas().back(), DType::kBF16, head_dim);
        if (!quick && main) add(c, Lambdas().back(), DType::kF16, head_dim);
      }
    }
  };
  for (const Case& kind : Kinds()) add_all(kind);
  for (const Case& kind : PagedKinds()) add_all(kind);
  for (const Case& kind : Kinds()) add_sparse(kind);
  if (!quick) add_sparse(PagedKinds().front());
  for (const IndexGeometry& geometry : kIndexGeometries) {
    for (Case kind : Kinds()) {
      kind.index = IndexOptions{.query_block = geometry.query_block,
                                .key_block = geometry.key_block,
                                .shared = geometry.shared,
                                .density = 0.6,
                                .empty_rows = 0.1};
      // Each value of each parameter among them.
      if (quick && geometry.shared == (geometry.query_block == geometry.key_block)) continue;
      add_all(kind);
      const bool some = kind.name == "structured" || kind.name == "query starts" ||
                        kind.name == "integers, many rows" || kind.name == "ragged";
      if (some && geometry.shared == (geometry.query_block == 64)) add_sparse(kind);
    }
  }
  return cases;
}

}  // namespace tamis::gpu_testing
