#include <fmt/format.h>

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gpu/cases.h"

namespace tamis::gpu_testing {
namespace {

using namespace attention_testing;
using enum Causality;

/// One call of every kind, at sizes that leave partial tiles everywhere.
std::vector<Case> Kinds() {
  std::vector<Case> cases = {
      {"one tile", {.query_tokens = 128, .key_tokens = 128}},
      {"causal", {.query_tokens = 300, .key_tokens = 300}},
      {"long causal", {.q_heads = 2, .kv_heads = 1, .query_tokens = 1500, .key_tokens = 1500}},
      {"many tiles",
       {.batch = 3, .q_heads = 16, .kv_heads = 4, .query_tokens = 640, .key_tokens = 640}},
      {"bidirectional",
       {.query_tokens = 257, .key_tokens = 640, .mask = {.causality = kBidirectional}}},
      {"bidirectional tail",
       {.query_tokens = 150, .key_tokens = 333, .mask = {.causality = kBidirectional}}},
      {"chunk", {.query_tokens = 70, .key_tokens = 533}},
      {"more queries than keys", {.query_tokens = 450, .key_tokens = 40}},
      {"one of each", {.query_tokens = 1, .key_tokens = 1}},
      {"no keys", {.query_tokens = 3, .key_tokens = 0}},
      {"no queries", {.query_tokens = 0, .key_tokens = 3}},
      {"heads first",
       {.batch = 2, .query_tokens = 130, .key_tokens = 150, .layout = Layout::kHeadsTokens}},
      {"group of 1", {.q_heads = 3, .kv_heads = 3, .query_tokens = 20, .key_tokens = 150}},
      {"group of 6", {.q_heads = 6, .kv_heads = 1, .query_tokens = 20, .key_tokens = 150}},
      {"ragged",
       {.batch = 5,
        .query_lengths = {5, 0, 370, 1, 200},
        .key_lengths = {350, 9, 370, 1, 0},
        .packed_keys = true}},
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
      {"block causal before zero",
       {.query_tokens = 190,
        .key_tokens = 50,
        .mask = {.causality = kBlockCausal, .causal_block = 12}}},
      {"scale", {.query_tokens = 300, .key_tokens = 300, .softmax_scale = 0.37f}},
      {"structured", {.query_tokens = 900, .key_tokens = 900, .values = Values::kStructured}},
      {"integers", {.query_tokens = 300, .key_tokens = 300, .values = Values::kIntegers}},
      // Scores hundreds of octaves apart: references go stale and probabilities overflow.
      {"jumps", {.query_tokens = 900, .key_tokens = 900, .softmax_scale = 3.0f}},
      {"jumps, bidirectional",
       {.query_tokens = 300,
        .key_tokens = 1900,
        .mask = {.causality = kBidirectional},
        .softmax_scale = 20.0f}},
  };
  return cases;
}

/// What only the general kernels run, and paged K and V under both kinds of kernel.
std::vector<Case> GeneralKinds() {
  std::vector<Case> cases = {
      {"window", {.query_tokens = 700, .key_tokens = 700, .mask = {.window_left = 150}}},
      {"window of 0", {.query_tokens = 300, .key_tokens = 300, .mask = {.window_left = 0}}},
      {"window, sinks, softcap",
       {.query_tokens = 900,
        .key_tokens = 900,
        .mask = {.window_left = 200, .sink_tokens = 5},
        .softcap = 3.0f}},
      {"window to the right, sinks",
       {.query_tokens = 600,
        .key_tokens = 700,
        .mask = {.causality = kBidirectional,
                 .window_left = 100,
                 .window_right = 60,
                 .sink_tokens = 140}}},
      {"window past the keys",
       {.batch = 2,
        .query_tokens = 400,
        .key_lengths = {300, 250},
        .query_starts = {200, -50},
        .mask = {.window_left = 90, .window_right = 3, .sink_tokens = 2}}},
      {"window, ragged",
       {.batch = 4,
        .query_lengths = {5, 570, 1, 200},
        .key_lengths = {350, 570, 1, 0},
        .packed_keys = true,
        .mask = {.window_left = 128, .sink_tokens = 4}}},
      {"softcap", {.query_tokens = 300, .key_tokens = 300, .softcap = 30.0f}},
      {"softcap, bidirectional tail",
       {.query_tokens = 150,
        .key_tokens = 333,
        .mask = {.causality = kBidirectional},
        .softcap = 1.5f}},
      {"keep mask", {.query_tokens = 257, .key_tokens = 300, .keep_probability = 0.5}},
      {"sparse keep mask", {.query_tokens = 257, .key_tokens = 600, .keep_probability = 0.004}},
      {"bias", {.query_tokens = 257, .key_tokens = 300, .bias = true}},
      {"mask, bias, group of 4",
       {.batch = 2,
        .q_heads = 8,
        .kv_heads = 2,
        .query_tokens = 200,
        .key_lengths = {333, 210},
        .keep_probability = 0.7,
        .bias = true}},
      {"sink logits", {.query_tokens = 300, .key_tokens = 300, .sink_logits = true}},
      {"sink logits, rows that see nothing",
       {.query_tokens = 450, .key_tokens = 40, .sink_logits = true}},
      {"positions",
       {.batch = 3, .query_tokens = 330, .key_lengths = {500, 330, 410}, .key_positions = true}},
      {"positions, window, sinks",
       {.batch = 2,
        .query_tokens = 500,
        .key_tokens = 500,
        .key_positions = true,
        .mask = {.window_left = 170, .sink_tokens = 9}}},
      {"positions, packed, block causal",
       {.batch = 2,
        .query_lengths = {200, 150},
        .key_lengths = {350, 150},
        .packed_keys = true,
        .key_positions = true,
        .mask = {.causality = kBlockCausal, .causal_block = 24}}},
      {"everything",
       {.batch = 3,
        .q_heads = 6,
        .kv_heads = 2,
        .query_lengths = {370, 0, 130},
        .key_lengths = {470, 30, 200},
        .page_size = 24,
        .key_positions = true,
        .mask = {.window_left = 190, .sink_tokens = 20},
        .keep_probability = 0.9,
        .bias = true,
        .sink_logits = true,
        .softmax_scale = 0.2f,
        .softcap = 4.0f}},
      {"jumps, window",
       {.query_tokens = 900,
        .key_tokens = 900,
        .mask = {.window_left = 500, .sink_tokens = 130},
        .softmax_scale = 3.0f}},
      {"jumps, softcap",
       {.query_tokens = 900, .key_tokens = 900, .softmax_scale = 20.0f, .softcap = 300.0f}},
      {"jumps, sink logits",
       {.query_tokens = 300,
        .key_tokens = 1900,
        .mask = {.causality = kBidirectional},
        .sink_logits = true,
        .softmax_scale = 20.0f}},
      {"pages, heads first",
       {.query_tokens = 300, .key_tokens = 420, .layout = Layout::kHeadsTokens, .page_size = 64}},
      {"pages, jumps",
       {.query_tokens = 300, .key_tokens = 900, .page_size = 32, .softmax_scale = 3.0f}},
      {"pages, no keys", {.query_tokens = 3, .key_tokens = 0, .page_size = 16}},
  };
  for (const int32_t page_size : {8, 16, 24, 32, 64, 96, 128, 256, 1024}) {
    cases.push_back({fmt::format("pages of {}, ragged", page_size),
                     {.batch = 5,
                      .query_lengths = {5, 0, 370, 1, 200},
                      .key_lengths = {350, 9, 400, 1, 0},
                      .page_size = page_size}});
    cases.push_back({fmt::format("pages of {}, window", page_size),
                     {.batch = 2,
                      .query_tokens = 300,
                      .key_lengths = {350, 333},
                      .page_size = page_size,
                      .mask = {.window_left = 77, .sink_tokens = 3}}});
  }
  return cases;
}

}  // namespace

std::vector<Case> DenseCases(bool quick) {
  std::vector<Case> cases;
  std::vector<Case> kinds = Kinds();
  for (const Case& c : GeneralKinds()) kinds.push_back(c);
  const auto add = [&](DType dtype, int32_t head_dim, int32_t value_head_dim, Case kind) {
    kind.options.dtype = kind.options.kv_dtype = dtype;
    kind.options.head_dim = head_dim;
    kind.options.value_head_dim = value_head_dim;
    cases.push_back(std::move(kind));
  };
  const std::set<std::string> quick_kinds = {
      "causal", "ragged", "jumps", "pages of 24, ragged", "everything", "window, sinks, softcap"};
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    for (const int32_t head_dim : {128, 64, 256}) {
      for (const Case& kind : kinds) {
        if (!quick || quick_kinds.contains(kind.name)) add(dtype, head_dim, 0, kind);
      }
    }
  }
  if (!quick) {
    for (const auto& [d, v] : {std::pair{8, 8},
                               {40, 40},
                               {96, 96},
                               {72, 128},
                               {64, 24},
                               {192, 128},
                               {136, 256},
                               {256, 40},
                               {160, 160}}) {
      for (const Case& kind : kinds) {
        const bool taken = kind.name == "ragged" || kind.name == "everything" ||
                           kind.name == "mask, bias, group of 4" || kind.name == "window" ||
                           kind.name == "pages of 16, ragged";
        if (taken) add(DType::kBF16, d, v, kind);
      }
    }
  }
  return cases;
}

}  // namespace tamis::gpu_testing
