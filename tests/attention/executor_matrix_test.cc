// Every build of the executor against the fp64 reference, over what a call can ask for.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "attention/executor_testing.h"
#include "attention/random_index.h"
#include "attention/sequence_view.h"

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

float ReadElement(DType dtype, const void* data, int64_t offset) {
  float value = 0.0f;
  ConvertToFloat(dtype,
                 static_cast<const char*>(data) + offset * static_cast<int64_t>(SizeOf(dtype)),
                 &value, 1);
  return value;
}

float Round(DType dtype, float value) {
  char bytes[4];
  ConvertFromFloat(dtype, &value, bytes, 1);
  return ReadElement(dtype, bytes, 0);
}

/// Causal attention with a softmax over whole rows, all sums in fp32 from left to right.
double PlainRmsError(const Problem& problem, const ReferenceResult& reference) {
  const AttentionArguments& a = problem.arguments;
  const SequenceView sequence(a, 0);
  double squares = 0.0;
  for (int32_t h = 0; h < a.q_heads; ++h) {
    for (int32_t i = 0; i < a.query_tokens; ++i) {
      const int32_t keys = i + 1 + a.key_tokens - a.query_tokens;
      std::vector<float> p(keys);
      float max = -std::numeric_limits<float>::infinity(), sum = 0.0f;
      for (int32_t j = 0; j < keys; ++j) {
        float dot = 0.0f;
        for (int32_t d = 0; d < a.head_dim; ++d) {
          dot += ReadElement(a.dtype, a.q.data, sequence.QueryOffset(a.q.stride, i, h) + d) *
                 ReadElement(a.kv_dtype, a.k.data,
                             sequence.KeyOffset(a.k.stride, j, h / a.group()) + d);
        }
        p[j] = dot / std::sqrt(static_cast<float>(a.head_dim));
        max = std::max(max, p[j]);
      }
      for (float& x : p) sum += x = std::exp(x - max);
      for (float& x : p) x = Round(a.dtype, x / sum);
      for (int32_t d = 0; d < a.head_dim; ++d) {
        float o = 0.0f;
        for (int32_t j = 0; j < keys; ++j) {
          o += p[j] * ReadElement(a.kv_dtype, a.v.data,
                                  sequence.KeyOffset(a.v.stride, j, h / a.group()) + d);
        }
        const double error =
            Round(a.dtype, o) - reference.o[(int64_t{h} * a.query_tokens + i) * a.head_dim + d];
        squares += error * error;
      }
    }
  }
  return std::sqrt(squares / (static_cast<double>(a.q_heads) * a.query_tokens * a.head_dim));
}

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

/// The dtypes of Q and KV that are not both fp32.
TEST(ExecutorMatrix, EveryDtype) {
  const DType all[] = {DType::kF32, DType::kBF16, DType::kF16};
  const std::vector<Case> cases = Cases();
  size_t next = 0;  // a different kind of call for every pair: together they sample the product
  for (const DType dtype : all) {
    for (const DType kv_dtype : all) {
      if (dtype == DType::kF32 && kv_dtype == DType::kF32) continue;
      for (int i = 0; i < 5; ++i) {
        const Case& c = cases[next++ % cases.size()];
        for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
          SCOPED_TRACE(testing::Message() << c.name << ", " << Name(dtype) << ", " << Name(kv_dtype)
                                          << (phase == Phase::kDecode));
          ProblemOptions options = c.options;
          options.dtype = dtype;
          options.kv_dtype = kv_dtype;
          options.phase = phase;
          Problem problem(options);
          ExpectAllMatch(problem, nullptr, {}, 0, Pool());
        }
      }
    }
  }
}

/// bf16 dot products take a path of their own: every kind on it.
TEST(ExecutorMatrix, EveryKindInBf16) {
  if (DetectCpuIsa() < CpuIsa::kAvx512) GTEST_SKIP() << "needs AVX-512";
  for (const Case& c : Cases()) {
    SCOPED_TRACE(c.name);
    ProblemOptions options = c.options;
    options.dtype = options.kv_dtype = DType::kBF16;
    Problem problem(options);
    const ReferenceResult reference = problem.Reference(nullptr, {});
    for (const cpu::Variant variant : Variants()) {
      if (variant < cpu::Variant::kAvx512Bf16) continue;
      ExpectMatches(variant, problem, nullptr, {}, reference, 0, Pool());
    }
  }
}

/// Decoding's last split holds nothing but gathered columns where the keys fill the splits before
/// it: what it would read of pages lies past the end of the page table.
TEST(ExecutorMatrix, ColumnsPastTheLastPage) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    Problem problem({.batch = 1,
                     .query_tokens = 1,
                     .key_tokens = 2000,
                     .dtype = dtype,
                     .kv_dtype = dtype,
                     .page_size = 16,
                     .phase = Phase::kDecode});
    const TileIndexStorage storage =
        RandomIndex(problem.arguments, {.density = 0.3, .columns = 40});
    const TileIndex index = storage.view();
    ExpectAllMatch(problem, &index, {}, 0, Pool());
  }
}

/// RMS errors against fp64 are no worse than 1.1 times those of attention written plainly in fp32
/// on the same inputs, its weights and outputs rounded to the dtype as frameworks do.
TEST(ExecutorMatrix, RmsErrorIsThatOfPlainFp32Attention) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const int32_t head_dim : {64, 128}) {
      Problem problem({.q_heads = 1,
                       .kv_heads = 1,
                       .head_dim = head_dim,
                       .query_tokens = 100,
                       .key_tokens = 400,
                       .dtype = dtype,
                       .kv_dtype = dtype});
      const ReferenceResult reference = problem.Reference(nullptr, {});
      const double plain = PlainRmsError(problem, reference);
      for (const cpu::Variant variant : Variants()) {
        RunVariant(variant, problem, nullptr, {}, Pool());
        EXPECT_LE(CompareOutputs(problem, reference).rms, 1.1 * plain)
            << VariantName(variant) << " " << Name(dtype) << " " << head_dim;
      }
    }
  }
}

}  // namespace
}  // namespace tamis::attention_testing
