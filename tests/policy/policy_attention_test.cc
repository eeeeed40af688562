// PolicyAttention against the fp64 reference.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "attention/problem.h"
#include "attention/tile_index_storage.h"
#include "policy/document.h"
#include "policy_testing.h"
#include "tamis/selector.h"

namespace tamis::policy {
namespace {

using attention_testing::Problem;
using attention_testing::ProblemOptions;
using attention_testing::Values;
using ::testing::HasSubstr;

ThreadPool& Pool() {
  static ThreadPool pool(2);
  return pool;
}

ExecutionContext Context() { return {.device = Device::kCpu, .pool = &Pool()}; }

// What one head should have run, computed over the whole call at once: the independent path that
// knows nothing of ranges and slices.
struct Expected {
  std::string selector;
  ParameterValues parameters;
  TileRule rule;
};

TileIndexStorage SelectAll(const Problem& problem, const Expected& expected) {
  AttentionArguments arguments = problem.arguments;
  arguments.counts = nullptr;
  const auto selector = MakeSelector(expected.selector, expected.parameters);
  TileIndexStorage storage(selector->Shape(arguments));
  AlignedBuffer workspace(selector->WorkspaceBytes(arguments, Context()) + 1);
  selector->Select(arguments, {storage.shape(), storage.bitmap(), storage.counts()},
                   workspace.data(), Context());
  return storage;
}

ReferenceResult RunExpected(const Problem& problem, const Expected& expected) {
  if (expected.selector.empty()) return problem.Reference(nullptr, expected.rule);
  const TileIndexStorage storage = SelectAll(problem, expected);
  const TileIndex index = storage.view();
  return problem.Reference(&index, expected.rule);
}

AttentionArguments Bare(const Problem& problem) {
  AttentionArguments arguments = problem.arguments;
  arguments.lse = nullptr;
  arguments.counts = nullptr;
  arguments.executed = nullptr;
  return arguments;
}

int32_t QueryRows(const AttentionArguments& a, int32_t b) {
  return a.query_offsets != nullptr ? a.query_offsets[b + 1] - a.query_offsets[b] : a.query_tokens;
}

// Compares the rows of sequence b, head h. Scores are exact in these problems, so that every
// discrete choice must agree and the rest is fp32 rounding of a softmax over small integers.
void ExpectHead(const Problem& problem, const ReferenceResult& reference, int32_t b, int32_t h) {
  const AttentionArguments& a = problem.arguments;
  for (int32_t i = 0; i < QueryRows(a, b); ++i) {
    for (int32_t d = 0; d < a.dim_v(); ++d) {
      const double want =
          reference.o[((int64_t{b} * a.q_heads + h) * a.query_tokens + i) * a.dim_v() + d];
      ASSERT_NEAR(problem.Output(b, h, i, d), want, 2e-5 * (1 + std::abs(want)))
          << "sequence " << b << " head " << h << " query " << i << " dim " << d;
    }
  }
}

AttentionCounts HeadCounts(const Problem& problem, const ReferenceResult& reference, int32_t b,
                           int32_t h) {
  return reference.counts[b * problem.arguments.q_heads + h];
}

void ExpectCounts(const AttentionCounts& got, const AttentionCounts& want) {
  EXPECT_EQ(got.allowed_pairs, want.allowed_pairs);
  EXPECT_EQ(got.visited_pairs, want.visited_pairs);
  EXPECT_EQ(got.kept_pairs, want.kept_pairs);
  EXPECT_EQ(got.visited_tiles, want.visited_tiles);
  EXPECT_EQ(got.skipped_tiles, want.skipped_tiles);
  EXPECT_EQ(got.lambda_saturated, want.lambda_saturated);
}

PolicyTarget TargetOf(const Problem& problem, int32_t layers = 1) {
  const AttentionArguments& a = problem.arguments;
  return Target(layers, a.q_heads, a.kv_heads, a.head_dim);
}

// Heads 0, 1, 2 share a KV head in all cases, so that ranges are cut inside a group.
constexpr std::string_view kMixed = R"({
  "entries": [
    {"heads": [1], "prefill": {"selector": {"type": "xattention", "threshold": 0.7}}},
    {"heads": [2, 3], "prefill": {"selector":
        {"type": "streaming", "sink_tokens": 16, "recent_tokens": 64}}},
    {"heads": [4], "prefill": {"n_of_m": {"n": 2, "m": 4, "sink_tokens": 3, "recent_tokens": 9}}},
    {"heads": [6, 7], "prefill": {"skip_softmax": {"threshold": 0.5}}}
  ]})";

// The heads of kMixed that run alike, by what they run.
struct Method {
  std::vector<int32_t> heads;
  Expected expected;
};

std::vector<Method> MixedMethods(const std::vector<float>& lambda, bool xattention) {
  Method dense{{0, 5, 8}, {}}, x{{1}, {}}, streaming{{2, 3}, {}}, n_of_m{{4}, {}}, skip{{6, 7}, {}};
  if (xattention) {
    x.expected.selector = "xattention";
    x.expected.parameters["threshold"] = {0.7};
  }
  streaming.expected.selector = "streaming";
  streaming.expected.parameters["sink_tokens"] = {16};
  streaming.expected.parameters["recent_tokens"] = {64};
  n_of_m.expected.rule.n_of_m = {.n = 2, .m = 4, .sink_tokens = 3, .recent_tokens = 9};
  skip.expected.rule.skip_softmax.lambda = lambda.data();
  return {dense, x, streaming, n_of_m, skip};
}

struct Shape {
  const char* name;
  ProblemOptions options;
  bool xattention = true;  // it refuses boolean masks and pruned caches
};

std::vector<Shape> MixedShapes() {
  const auto with = [](const std::function<void(ProblemOptions&)>& change) {
    ProblemOptions options{.q_heads = 9,
                           .kv_heads = 3,
                           .head_dim = 32,
                           .query_tokens = 520,
                           .key_tokens = 520,
                           .values = Values::kIntegers,
                           .seed = 5};
    change(options);
    return options;
  };
  return {
      {"gqa3", with([](ProblemOptions&) {})},
      {"gqa4", with([](ProblemOptions& o) {
         o.q_heads = 8;
         o.kv_heads = 2;
       })},
      {"chunk", with([](ProblemOptions& o) {
         o.query_tokens = 130;
         o.key_tokens = 421;
         o.layout = attention_testing::Layout::kHeadsTokens;
       })},
      {"batch_padded_masked", with([](ProblemOptions& o) {
         o.batch = 2;
         o.query_tokens = o.key_tokens = 150;
         o.layout = attention_testing::Layout::kPadded;
         o.keep_probability = 0.8;
         o.sink_logits = true;
       }),
       false},
      {"ragged_paged", with([](ProblemOptions& o) {
         o.batch = 3;
         o.query_lengths = {40, 0, 170};
         o.key_lengths = {140, 5, 170};
         o.page_size = 16;
       })},
      {"packed_positions", with([](ProblemOptions& o) {
         o.batch = 2;
         o.query_lengths = {129, 77};
         o.key_lengths = {200, 150};
         o.packed_keys = true;
         o.key_positions = true;
       }),
       false},
  };
}

TEST(PolicyAttention, MixedHeadsEqualEachMethodAlone) {
  for (const Shape& shape : MixedShapes()) {
    SCOPED_TRACE(shape.name);
    Problem problem(shape.options);
    problem.PoisonOutputs();
    std::vector<std::string> overrides;
    if (!shape.xattention) overrides.emplace_back("entries.0.prefill={}");
    PolicyAttention attention(Policy::Parse(kMixed, overrides), TargetOf(problem), Context());
    attention.Attend(0, Bare(problem));

    const std::vector<float> lambda(shape.options.batch, 0.5f);
    AttentionCounts want;
    for (const Method& method : MixedMethods(lambda, shape.xattention)) {
      const ReferenceResult reference = RunExpected(problem, method.expected);
      for (int32_t h : method.heads) {
        for (int32_t b = 0; b < shape.options.batch && h < problem.arguments.q_heads; ++b) {
          ExpectHead(problem, reference, b, h);
          want += HeadCounts(problem, reference, b, h);
        }
      }
      if (HasFatalFailure()) return;
    }
    EXPECT_TRUE(problem.GapsUntouched());
    const PhaseStatistics& statistics = attention.statistics().prefill[0];
    ExpectCounts(statistics.counts, want);
    EXPECT_LT(statistics.counts.kept_pairs, statistics.counts.visited_pairs);
    if (shape.options.query_lengths.empty() && shape.options.query_tokens >= 500) {
      EXPECT_LT(statistics.counts.visited_pairs, statistics.counts.allowed_pairs);
    }
    EXPECT_GT(statistics.select_seconds, 0.0);
    EXPECT_GT(statistics.attend_seconds, 0.0);
    EXPECT_EQ(statistics.retained_rows, 0);
    EXPECT_EQ(attention.statistics().decode[0].counts.allowed_pairs, 0);
    EXPECT_THAT(attention.path(), HasSubstr("cpu/"));
  }
}

TEST(PolicyAttention, DenseEqualsTheReference) {
  Problem problem({.batch = 2,
                   .q_heads = 6,
                   .kv_heads = 2,
                   .head_dim = 40,
                   .query_tokens = 70,
                   .key_tokens = 90,
                   .values = Values::kIntegers});
  PolicyAttention attention(Policy::Dense(), TargetOf(problem, 3), Context());
  attention.Attend(1, Bare(problem));
  const ReferenceResult reference = problem.Reference(nullptr, {});
  AttentionCounts want;
  for (int32_t b = 0; b < 2; ++b) {
    for (int32_t h = 0; h < 6; ++h) {
      ExpectHead(problem, reference, b, h);
      want += HeadCounts(problem, reference, b, h);
    }
  }
  ExpectCounts(attention.statistics().prefill[1].counts, want);
  ExpectCounts(attention.statistics().Total(Phase::kPrefill).counts, want);
  EXPECT_EQ(attention.statistics().prefill[0].counts.allowed_pairs, 0);
  EXPECT_EQ(attention.statistics().prefill[2].counts.allowed_pairs, 0);
  attention.ResetStatistics();
  EXPECT_EQ(attention.statistics().Total(Phase::kPrefill).counts.allowed_pairs, 0);
}

TEST(PolicyAttention, PerHeadListsReachTheirHeads) {
  Problem problem({.q_heads = 6,
                   .kv_heads = 2,
                   .head_dim = 32,
                   .query_tokens = 640,
                   .key_tokens = 640,
                   .values = Values::kStructured});
  // Head 4 is taken out, so that the lists of heads 3 and 5 travel in calls of their own.
  const std::vector<double> thresholds = {0.1, 0.95, 0.5, 0.2, 0, 0.9};
  PolicyAttention attention(Policy::Parse(R"({"default": {"prefill": {"selector":
          {"type": "xattention", "threshold": [0.1, 0.95, 0.5, 0.2, 0, 0.9]}}},
          "entries": [{"heads": [4], "prefill": {}}]})"),
                            TargetOf(problem), Context());
  attention.Attend(0, Bare(problem));
  AttentionCounts want;
  for (int32_t h = 0; h < 6; ++h) {
    Expected expected;
    if (h != 4) {
      expected.selector = "xattention";
      expected.parameters["threshold"] = {thresholds[h]};
    }
    const ReferenceResult reference = RunExpected(problem, expected);
    ExpectHead(problem, reference, 0, h);
    want += HeadCounts(problem, reference, 0, h);
  }
  ExpectCounts(attention.statistics().prefill[0].counts, want);
}

// One batch of prefill chunks and decode steps: each sequence runs its phase's specification, and
// its own lambda and length decide.
TEST(PolicyAttention, MixedPhasesAndLengths) {
  ProblemOptions options{
      .batch = 5,
      .q_heads = 6,
      .kv_heads = 2,
      .head_dim = 32,
      .query_lengths = {60, 1, 1, 90, 1},
      .key_lengths = {60, 700, 130, 400, 0},
      .packed_keys = true,
      .phases = {Phase::kPrefill, Phase::kDecode, Phase::kDecode, Phase::kPrefill, Phase::kDecode},
      .values = Values::kIntegers,
      .seed = 9};
  Problem problem(options);
  problem.PoisonOutputs();
  PolicyAttention attention(Policy::Parse(R"({
      "default": {"prefill": {"n_of_m": {"n": 1, "m": 4}},
                  "decode": {"skip_softmax": {"scale_factor": 140}}},
      "entries": [{"when": {"min_tokens": 300}, "prefill": {"n_of_m": {"n": 1, "m": 2}}}]})"),
                            TargetOf(problem), Context());
  attention.Attend(0, Bare(problem));

  TileRule short_prefill, long_prefill, decode;
  short_prefill.n_of_m = {.n = 1, .m = 4};
  long_prefill.n_of_m = {.n = 1, .m = 2};
  // 140 / 130 is above 1: that sequence runs dense, and is counted.
  const std::vector<float> lambda = {0.f, 140.f / 700.f, 140.f / 130.f, 0.f, 0.f};
  decode.skip_softmax = {.lambda = lambda.data(), .geometry = DefaultGeometry(Phase::kDecode)};
  const ReferenceResult short_reference = problem.Reference(nullptr, short_prefill);
  const ReferenceResult long_reference = problem.Reference(nullptr, long_prefill);
  const ReferenceResult decode_reference = problem.Reference(nullptr, decode);
  AttentionCounts prefill_want, decode_want;
  for (int32_t h = 0; h < 6; ++h) {
    ExpectHead(problem, short_reference, 0, h);
    ExpectHead(problem, long_reference, 3, h);
    prefill_want += HeadCounts(problem, short_reference, 0, h);
    prefill_want += HeadCounts(problem, long_reference, 3, h);
    for (int32_t b : {1, 2, 4}) {
      ExpectHead(problem, decode_reference, b, h);
      decode_want += HeadCounts(problem, decode_reference, b, h);
    }
  }
  ExpectCounts(attention.statistics().prefill[0].counts, prefill_want);
  ExpectCounts(attention.statistics().decode[0].counts, decode_want);
  EXPECT_EQ(attention.statistics().decode[0].counts.lambda_saturated, 6);
}

// N:M asked for in decode runs there.
TEST(PolicyAttention, NOfMInDecode) {
  Problem problem({.q_heads = 4,
                   .kv_heads = 1,
                   .head_dim = 32,
                   .query_tokens = 1,
                   .key_tokens = 333,
                   .phase = Phase::kDecode,
                   .values = Values::kIntegers});
  PolicyAttention attention(
      Policy::Parse(R"({"default": {"decode": {"n_of_m": {"n": 1, "m": 8}}}})"), TargetOf(problem),
      Context());
  attention.Attend(0, Bare(problem));
  TileRule rule;
  rule.n_of_m = {.n = 1, .m = 8, .in_decode = true};
  const ReferenceResult reference = problem.Reference(nullptr, rule);
  for (int32_t h = 0; h < 4; ++h) ExpectHead(problem, reference, 0, h);
  EXPECT_LT(attention.statistics().decode[0].counts.kept_pairs, 4 * 333 / 4);
}

// A prompt in chunks, then tokens one at a time, as a model runs it.
TEST(PolicyAttention, ChunksThenDecode) {
  constexpr int32_t kTokens = 260;
  ProblemOptions options{.q_heads = 6,
                         .kv_heads = 2,
                         .head_dim = 32,
                         .query_tokens = kTokens,
                         .key_tokens = kTokens,
                         .values = Values::kIntegers,
                         .seed = 3};
  Problem problem(options);
  problem.PoisonOutputs();
  const Policy policy = Policy::Parse(R"({"default": {
      "prefill": {"n_of_m": {"n": 2, "m": 4, "recent_tokens": 32}}, "decode": {}}})");
  PolicyAttention attention(policy, TargetOf(problem), Context());
  const int32_t ends[] = {100, 200, 257, 258, 259, 260};
  size_t warm = 0;
  for (int32_t begin = 0; int32_t end : ends) {
    AttentionArguments call = Bare(problem);
    call.query_tokens = end - begin;
    call.key_tokens = end;
    call.phase = end - begin == 1 ? Phase::kDecode : Phase::kPrefill;
    const int64_t size = sizeof(float);
    call.q.data = static_cast<const char*>(call.q.data) + begin * call.q.stride.row * size;
    call.o.data = static_cast<char*>(call.o.data) + begin * call.o.stride.row * size;
    attention.Attend(0, call);
    begin = end;
    if (end == 257) warm = attention.workspace_bytes();
  }
  EXPECT_EQ(attention.workspace_bytes(), warm) << "decode after prefill fits what is there";

  std::vector<Phase> phases;
  TileRule rule;
  rule.n_of_m = {.n = 2, .m = 4, .recent_tokens = 32};
  const ReferenceResult sparse = problem.Reference(nullptr, rule);
  const ReferenceResult dense = problem.Reference(nullptr, {});
  const AttentionArguments& a = problem.arguments;
  for (int32_t h = 0; h < 6; ++h) {
    for (int32_t i = 0; i < kTokens; ++i) {
      for (int32_t d = 0; d < 32; ++d) {
        const ReferenceResult& reference = i < 257 ? sparse : dense;
        const double want = reference.o[(int64_t{h} * a.query_tokens + i) * 32 + d];
        ASSERT_NEAR(problem.Output(0, h, i, d), want, 2e-5 * (1 + std::abs(want))) << h << " " << i;
      }
    }
  }
  EXPECT_EQ(attention.statistics().decode[0].counts.allowed_pairs, 6 * (258 + 259 + 260));
}

TEST(PolicyAttention, RetainedMassEqualsTheReference) {
  for (bool ragged : {false, true}) {
    ProblemOptions options{.batch = 2,
                           .q_heads = 6,
                           .kv_heads = 2,
                           .head_dim = 32,
                           .query_tokens = 200,
                           .key_tokens = 200,
                           .values = Values::kIntegers,
                           .seed = 17};
    if (ragged) {
      options.query_lengths = {120, 33};
      options.key_lengths = {300, 33};
      options.packed_keys = true;
    }
    Problem problem(options);
    problem.PoisonOutputs();
    const Policy policy = Policy::Parse(R"({"entries": [
        {"heads": ["1-4"], "prefill": {"n_of_m": {"n": 1, "m": 8}}}]})");
    PolicyAttention attention(policy, TargetOf(problem), Context(),
                              {.measure_retained_mass = true});
    attention.Attend(0, Bare(problem));

    TileRule rule;
    rule.n_of_m = {.n = 1, .m = 8};
    const ReferenceResult sparse = problem.Reference(nullptr, rule);
    const ReferenceResult dense = problem.Reference(nullptr, {});
    double sum = 0.0;
    int64_t rows = 0;
    for (int32_t b = 0; b < 2; ++b) {
      for (int32_t h = 0; h < 6; ++h) {
        const bool thinned = 1 <= h && h <= 4;
        for (int32_t i = 0; i < QueryRows(problem.arguments, b); ++i) {
          const int64_t at = (int64_t{b} * 6 + h) * problem.arguments.query_tokens + i;
          sum += thinned ? std::exp(sparse.lse[at] - dense.lse[at]) : 1.0;
          ++rows;
        }
        ExpectHead(problem, thinned ? sparse : dense, b, h);  // the dense pass wrote elsewhere
      }
    }
    const PhaseStatistics& statistics = attention.statistics().prefill[0];
    EXPECT_EQ(statistics.retained_rows, rows);
    EXPECT_NEAR(statistics.retained_mass(), sum / static_cast<double>(rows), 1e-6);
    EXPECT_LT(statistics.retained_mass(), 0.95);
    EXPECT_TRUE(problem.GapsUntouched());
  }
}

TEST(PolicyAttention, RetainedMassOfDenseIsOne) {
  Problem problem(
      {.q_heads = 2, .kv_heads = 1, .head_dim = 16, .query_tokens = 5, .key_tokens = 5});
  PolicyAttention attention(Policy::Dense(), TargetOf(problem), Context(),
                            {.measure_retained_mass = true});
  attention.Attend(0, Bare(problem));
  EXPECT_EQ(attention.statistics().prefill[0].retained_rows, 10);
  EXPECT_EQ(attention.statistics().prefill[0].retained_mass(), 1.0);
}

TEST(PolicyAttention, CountsCanBeLeftOut) {
  Problem problem(
      {.q_heads = 2, .kv_heads = 1, .head_dim = 16, .query_tokens = 5, .key_tokens = 5});
  PolicyAttention attention(Policy::Dense(), TargetOf(problem), Context(),
                            {.collect_counts = false});
  attention.Attend(0, Bare(problem));
  EXPECT_EQ(attention.statistics().prefill[0].counts.allowed_pairs, 0);
  EXPECT_GT(attention.statistics().prefill[0].attend_seconds, 0.0);
}

TEST(PolicyAttention, RefusesCallsThatAreNotTheTargets) {
  Problem problem(
      {.q_heads = 4, .kv_heads = 2, .head_dim = 16, .query_tokens = 5, .key_tokens = 5});
  PolicyAttention attention(Policy::Dense(), TargetOf(problem, 2), Context());
  const auto error = [&](int32_t layer, const AttentionArguments& arguments) {
    return ErrorOf([&] { attention.Attend(layer, arguments); });
  };
  EXPECT_THAT(error(2, Bare(problem)), HasSubstr("layer 2 does not exist; the model has layers 0 "
                                                 "to 1"));
  EXPECT_THAT(error(-1, Bare(problem)), HasSubstr("layer -1 does not exist"));
  AttentionArguments heads = Bare(problem);
  heads.kv_heads = 1;
  EXPECT_THAT(error(0, heads), HasSubstr("4 query heads, 1 KV heads, head_dim 16"));
  EXPECT_THAT(error(0, problem.arguments), HasSubstr("lse, counts or executed set"));
  AttentionArguments none = Bare(problem);
  none.batch = 0;
  EXPECT_EQ(error(0, none), "no error");
}

TEST(PolicyAttention, MovesWithItsState) {
  Problem problem(
      {.q_heads = 2, .kv_heads = 1, .head_dim = 16, .query_tokens = 5, .key_tokens = 5});
  PolicyAttention first(Policy::Parse("n-of-m-2-4"), TargetOf(problem), Context());
  first.Attend(0, Bare(problem));
  PolicyAttention second = std::move(first);
  second.Attend(0, Bare(problem));
  EXPECT_EQ(second.statistics().prefill[0].counts.allowed_pairs, 2 * 2 * 15);
}

}  // namespace
}  // namespace tamis::policy
