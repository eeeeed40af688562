// Rules inside the tiles of an index with windows and columns.
#include <fmt/format.h>

#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "gpu/cases.h"

namespace tamis::gpu_testing {
namespace {

using namespace attention_testing;
using enum Causality;

/// Calls with N:M: scores that are exact in fp32, with many ties.
std::vector<Case> ThinKinds() {
  return {
      {"all three",
       {.query_tokens = 500, .key_tokens = 500},
       IndexOptions{.density = 0.3, .windows = 3, .columns = 150}},
      {"windows alone",
       {.query_tokens = 300, .key_tokens = 901},
       IndexOptions{.density = 0.0, .windows = 9, .window_keys = 77}},
      {"columns alone",
       {.query_tokens = 300, .key_tokens = 500},
       IndexOptions{.density = 0.0, .columns = 200}},
      {"ragged",
       {.batch = 5,
        .q_heads = 5,
        .kv_heads = 1,
        .query_lengths = {5, 0, 370, 1, 200},
        .key_lengths = {350, 9, 371, 1, 0},
        .packed_keys = true},
       IndexOptions{.density = 0.3, .windows = 3, .columns = 90}},
      {"query starts",
       {.batch = 3,
        .query_tokens = 340,
        .key_lengths = {500, 461, 10},
        .query_starts = {12, 200, -30}},
       IndexOptions{.density = 0.2, .windows = 3, .columns = 140}},
      // Scores hundreds of octaves apart.
      {"jumps",
       {.query_tokens = 150,
        .key_tokens = 902,
        .mask = {.causality = kBidirectional},
        .softmax_scale = 20.0f},
       IndexOptions{.density = 0.3, .windows = 3, .columns = 150}},
  };
}

/// Every kind of selection, alone and with what is kept on top of it.
constexpr NOfMRule kRules[] = {
    {.n = 2, .m = 4},
    {.n = 1, .m = 2, .sink_tokens = 130, .recent_tokens = 9},
    {.n = 4, .m = 8},
    {.n = 1, .m = 4, .skip_diagonal_blocks = true},
    {.n = 3, .m = 4, .recent_tokens = 70},
    {.n = 1, .m = 8, .sink_tokens = 1, .recent_tokens = 9, .skip_diagonal_blocks = true},
    {.n = 7, .m = 8, .sink_tokens = 5},
    {.n = 1, .m = 2},
    {.n = 3, .m = 4},
    {.n = 1, .m = 4},
    {.n = 2, .m = 4, .recent_tokens = 30, .skip_diagonal_blocks = true},
};

/// Calls that drop tiles: because inputs are structured, or because few rows vote.
std::vector<Case> SkipKinds() {
  return {
      {"structured",
       {.q_heads = 2,
        .kv_heads = 1,
        .query_tokens = 600,
        .key_tokens = 1100,
        .values = Values::kStructured},
       IndexOptions{.density = 0.4, .windows = 4, .columns = 400}},
      {"few rows",
       {.q_heads = 8, .query_tokens = 3, .key_tokens = 2500, .softmax_scale = 0.5f},
       IndexOptions{.density = 0.3, .windows = 6, .columns = 900}},
      {"few rows, columns alone",
       {.query_tokens = 2,
        .key_tokens = 2333,
        .mask = {.causality = kBidirectional},
        .softmax_scale = 0.5f},
       IndexOptions{.density = 0.0, .empty_rows = 0.0, .columns = 1300}},
      {"few rows, windows alone",
       {.query_tokens = 2, .key_tokens = 3333, .softmax_scale = 0.5f},
       IndexOptions{.density = 0.0, .empty_rows = 0.0, .windows = 40, .window_keys = 50}},
      {"integers",
       {.query_tokens = 2, .key_tokens = 1900, .values = Values::kIntegers},
       IndexOptions{.density = 0.3, .windows = 5, .columns = 700}},
      {"integers, many rows",
       {.q_heads = 2, .query_tokens = 500, .key_tokens = 900, .values = Values::kIntegers},
       IndexOptions{.density = 0.3, .windows = 3, .columns = 300}},
      {"ragged",
       {.batch = 6,
        .q_heads = 5,
        .kv_heads = 1,
        .query_lengths = {5, 0, 370, 1, 200, 65},
        .key_lengths = {850, 9, 370, 1200, 0, 700},
        .packed_keys = true,
        .softmax_scale = 0.6f},
       IndexOptions{.density = 0.3, .windows = 3, .columns = 250}},
      {"query starts",
       {.batch = 3,
        .query_tokens = 340,
        .key_lengths = {500, 460, 10},
        .query_starts = {12, 200, -30},
        .values = Values::kStructured},
       IndexOptions{.density = 0.3, .windows = 3, .columns = 200}},
      {"block causal",
       {.query_tokens = 350,
        .key_tokens = 900,
        .mask = {.causality = kBlockCausal, .causal_block = 250},
        .values = Values::kStructured},
       IndexOptions{.density = 0.2, .windows = 3, .columns = 300}},
      {"jumps",
       {.q_heads = 2, .query_tokens = 500, .key_tokens = 800, .softmax_scale = 3.0f},
       IndexOptions{.density = 0.5, .windows = 3, .columns = 200}},
      {"jumps, few rows",
       {.query_tokens = 4,
        .key_tokens = 3000,
        .mask = {.causality = kBidirectional},
        .softmax_scale = 20.0f},
       IndexOptions{.density = 0.4, .windows = 4, .columns = 900}},
  };
}

}  // namespace

std::vector<Case> GatherRuleCases(bool quick) {
  std::vector<Case> cases;
  size_t number = 0;
  const auto is_quick = [](const Case& kind, const IndexGeometry& geometry) {
    return kind.name == "ragged" && !geometry.shared && geometry.query_block == geometry.key_block;
  };
  for (const IndexGeometry& geometry : kIndexGeometries) {
    for (const Case& kind : ThinKinds()) {
      const bool main = kind.name == "ragged" || kind.name == "all three";
      for (const int32_t head_dim : {128, 64, 96}) {
        for (const DType dtype : {DType::kBF16, DType::kF16}) {
          // The rules take turns between the kinds.
          const NOfMRule& rule = kRules[number++ % std::size(kRules)];
          if ((head_dim == 96 || dtype == DType::kF16) && !main) continue;
          if (head_dim == 96 && dtype == DType::kF16) continue;
          // So do head dims and kinds.
          if (!main && number % 4 < 2) continue;
          if (quick && (!is_quick(kind, geometry) || head_dim == 96 || dtype == DType::kF16)) {
            continue;
          }
          Case c = kind;
          c.options.values = Values::kIntegers;
          c.rule.n_of_m = rule;
          cases.push_back(
              InGeometry(std::move(c), "gather " + RuleName(rule), geometry, dtype, head_dim));
        }
      }
    }
    for (const Case& kind : SkipKinds()) {
      const bool main = kind.name == "ragged";
      for (const std::vector<float>& lambda :
           {std::vector<float>{0.0f}, {0.02f}, {0.3f, 0.0f, 0.9f, 1.0f, 0.003f, 7.0f}}) {
        // Lambda of 0 has the bits of the call without the rule.
        if (lambda[0] == 0.0f && !main && kind.name != "structured" && kind.name != "jumps") {
          continue;
        }
        for (const int32_t head_dim : {128, 64, 96}) {
          // Head dims and lambdas take turns.
          if (!main && (++number % 2 == 0)) continue;
          for (const DType dtype : {DType::kBF16, DType::kF16}) {
            if ((head_dim == 96 || dtype == DType::kF16) && (!main || lambda.size() == 1)) continue;
            if (quick && (!is_quick(kind, geometry) || lambda.size() == 1 || head_dim == 96 ||
                          dtype == DType::kF16)) {
              continue;
            }
            Case c = kind;
            c.lambda = lambda;
            const std::string name =
                fmt::format("skip {}{} gather", lambda[0], lambda.size() > 1 ? ".." : "");
            cases.push_back(InGeometry(c, name, geometry, dtype, head_dim));
            // Both rules, where lambdas mix.
            if (lambda.size() == 1) continue;
            c.options.values = Values::kIntegers;
            c.rule.n_of_m = kRules[number % std::size(kRules)];
            cases.push_back(
                InGeometry(c, name + " " + RuleName(c.rule.n_of_m), geometry, dtype, head_dim));
          }
        }
      }
    }
  }
  return cases;
}

}  // namespace tamis::gpu_testing
