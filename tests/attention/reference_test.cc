// The reference's dense part against hand-computed cases and independent properties.
#include "attention/reference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "attention/problem.h"
#include "attention/score_problem.h"
#include "attention/tile_index_storage.h"

namespace tamis {
namespace {

using attention_testing::Layout;
using attention_testing::Problem;
using attention_testing::ProblemOptions;
using attention_testing::ScoreProblem;
using attention_testing::Values;
using attention_testing::WithoutOutputs;
using ::testing::ElementsAre;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(Reference, ProbabilitiesOfThreeKeys) {
  // Scores ln 1, ln 2, ln 3: probabilities 1/6, 2/6, 3/6.
  ScoreProblem problem(1, 1, 3, 3, [](int, int, int j) { return std::log(float(j + 1)); });
  const ReferenceResult all = problem.Run(nullptr, {});
  EXPECT_NEAR(all.o[0], 1.0, 1e-7);
  EXPECT_NEAR(all.o[1], (0 * 1 + 1 * 2 + 2 * 3) / 6.0, 1e-7);
  EXPECT_NEAR(all.lse[0], std::log(6.0), 1e-7);

  problem.arguments.mask.causality = Causality::kCausal;
  const ReferenceResult causal = problem.Run(nullptr, {});
  EXPECT_EQ(causal.o[1], 0.0);
  EXPECT_NEAR(causal.o[8 + 1], 2.0 / 3, 1e-7);
  EXPECT_NEAR(causal.lse[0], 0.0, 1e-7);
  EXPECT_NEAR(causal.lse[1], std::log(3.0), 1e-7);
  EXPECT_EQ(causal.counts[0], (AttentionCounts{6, 6, 6, 1, 0, 0}));

  const float sink = std::log(6.0f);  // as heavy as all keys together
  problem.arguments.sink_logits = &sink;
  const ReferenceResult sunk = problem.Run(nullptr, {});
  EXPECT_NEAR(sunk.o[16 + 0], 0.5, 1e-7);
  EXPECT_NEAR(sunk.lse[2], std::log(12.0), 1e-6);
  const float heavy = 5000.0f;
  problem.arguments.sink_logits = &heavy;
  EXPECT_EQ(problem.Run(nullptr, {}).lse[2], 5000.0);
  EXPECT_EQ(problem.Run(nullptr, {}).o[16], 0.0);
}

TEST(Reference, ScalesThenCapsThenAddsBias) {
  Problem problem({.q_heads = 1,
                   .kv_heads = 1,
                   .head_dim = 16,
                   .query_tokens = 1,
                   .key_tokens = 1,
                   .bias = true,
                   .softcap = 2.0f});
  float dot = 0.0f;
  for (int d = 0; d < 16; ++d) {
    dot += static_cast<const float*>(problem.arguments.q.data)[d] *
           static_cast<const float*>(problem.arguments.k.data)[d];
  }
  const float bias = 0.75f;
  problem.arguments.bias.data = &bias;
  // One key: LSE is its score. The default scale is 1 / sqrt(16).
  EXPECT_NEAR(problem.Reference(nullptr, {}).lse[0], 2 * std::tanh(dot / 4 / 2) + 0.75, 1e-6);
  problem.arguments.softmax_scale = 0.5f;
  EXPECT_NEAR(problem.Reference(nullptr, {}).lse[0], 2 * std::tanh(dot / 2 / 2) + 0.75, 1e-6);
  problem.arguments.softcap = 0.0f;
  EXPECT_NEAR(problem.Reference(nullptr, {}).lse[0], dot / 2 + 0.75, 1e-6);
}

TEST(Reference, MinusInfinityBiasIsAMask) {
  const ScoreProblem problem(1, 1, 2, 4, [](int, int i, int j) {
    return i == 0 || j == 2 ? -std::numeric_limits<float>::infinity() : 0.0f;
  });
  const ReferenceResult result = problem.Run(nullptr, {});
  EXPECT_EQ(result.counts[0], (AttentionCounts{3, 3, 3, 1, 0, 0}));
  EXPECT_THAT(problem.Kept(result, 0, 1), ElementsAre(0, 1, 3));
  EXPECT_EQ(result.lse[0], -kInfinity);
  EXPECT_EQ(result.o[0], 0.0);
}

// Each mask against its definition, written once more.
TEST(Reference, Masks) {
  struct Case {
    AttentionMask mask;
    std::function<bool(int q, int k)> allows;
  };
  const std::vector<Case> cases = {
      {{}, [](int q, int k) { return k <= q; }},
      {{.causality = Causality::kBidirectional}, [](int, int) { return true; }},
      {{.causality = Causality::kBlockCausal, .causal_block = 8},
       [](int q, int k) { return k < (q + 8) / 8 * 8; }},
      {{.window_left = 5, .sink_tokens = 3},
       [](int q, int k) { return k <= q && (k < 3 || q - k <= 5); }},
      {{.window_left = 0}, [](int q, int k) { return k == q; }},
      {{.causality = Causality::kBidirectional, .window_left = 4, .window_right = 2},
       [](int q, int k) { return q - k <= 4 && k - q <= 2; }},
      {{.causality = Causality::kBidirectional, .window_right = 0, .sink_tokens = 30},
       [](int q, int k) { return k < 30 || k <= q; }},
  };
  for (size_t c = 0; c < cases.size(); ++c) {
    SCOPED_TRACE(c);
    for (const int32_t start : {0, 7, 30}) {
      ScoreProblem problem(1, 1, 20, 40, [](int, int, int) { return 0.0f; });
      problem.arguments.mask = cases[c].mask;
      problem.arguments.query_starts = &start;
      const ReferenceResult result = problem.Run(nullptr, {});
      int64_t allowed = 0;
      for (int i = 0; i < 20; ++i) {
        std::vector<int32_t> expected;
        for (int j = 0; j < 40; ++j) {
          if (cases[c].allows(start + i, j)) expected.push_back(j);
          EXPECT_EQ(MaskAllows(problem.arguments, 0, 0, i, j), cases[c].allows(start + i, j));
        }
        EXPECT_EQ(problem.Kept(result, 0, i), expected) << "query " << i << " start " << start;
        allowed += static_cast<int64_t>(expected.size());
      }
      EXPECT_EQ(result.counts[0].allowed_pairs, allowed);
    }
  }
}

TEST(Reference, KeepMaskByBatchHeadQueryAndKey) {
  const Problem problem({.batch = 2,
                         .query_tokens = 11,
                         .key_tokens = 40,
                         .mask = {.causality = Causality::kBidirectional},
                         .keep_probability = 0.5});
  const uint8_t* keep = problem.arguments.mask.keep;  // [2][4][11][40]
  const ReferenceResult result = problem.Reference(nullptr, {});
  for (int64_t row = 0; row < 2 * 4 * 11; ++row) {
    for (int64_t j = 0; j < 40; ++j) {
      ASSERT_EQ(result.executed[row * 2 + j / 32] >> (j % 32) & 1u, keep[row * 40 + j] != 0)
          << row << " " << j;
    }
  }
}

TEST(Reference, BiasByBatch) {
  Problem problem({.batch = 2, .q_heads = 1, .kv_heads = 1, .query_tokens = 1, .key_tokens = 1});
  const double without[] = {problem.Reference(nullptr, {}).lse[0],
                            problem.Reference(nullptr, {}).lse[1]};
  const float bias[] = {1.0f, 3.0f};
  problem.arguments.bias = {.data = bias, .batch_stride = 1};
  const ReferenceResult result = problem.Reference(nullptr, {});
  EXPECT_NEAR(result.lse[0] - without[0], 1.0, 1e-12);
  EXPECT_NEAR(result.lse[1] - without[1], 3.0, 1e-12);
}

TEST(Reference, QueriesBeforeTheFirstKeyAreEmpty) {
  // Five queries over three keys, aligned bottom-right: positions -2 .. 2.
  ScoreProblem problem(1, 1, 5, 3, [](int, int, int) { return 0.0f; });
  const float sink = 1.0f;
  problem.arguments.sink_logits = &sink;
  for (const Causality causality : {Causality::kCausal, Causality::kBlockCausal}) {
    problem.arguments.mask.causality = causality;
    problem.arguments.mask.causal_block = causality == Causality::kCausal ? 1 : 2;
    const ReferenceResult result = problem.Run(nullptr, {});
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(result.lse[i], -kInfinity);
      for (int d = 0; d < 8; ++d) EXPECT_EQ(result.o[i * 8 + d], 0.0);
    }
    EXPECT_THAT(problem.Kept(result, 0, 3), ElementsAre(0, 1));
    EXPECT_THAT(problem.Kept(result, 0, 4), ElementsAre(0, 1, 2));
  }
}

TEST(Reference, HeadsReadTheirKvHead) {
  // Each query head on its own, with its KV head as the only one, gives the same rows.
  const Problem problem({.q_heads = 6, .kv_heads = 3, .query_tokens = 9, .key_tokens = 30});
  const ReferenceResult all = problem.Reference(nullptr, {});
  for (int32_t head = 0; head < 6; ++head) {
    AttentionArguments one = WithoutOutputs(problem.arguments);
    one.q_heads = one.kv_heads = 1;
    one.q.data = static_cast<const float*>(one.q.data) + head * one.q.stride.head;
    one.k.data = static_cast<const float*>(one.k.data) + head / 2 * one.k.stride.head;
    one.v.data = static_cast<const float*>(one.v.data) + head / 2 * one.v.stride.head;
    const ReferenceResult result = ReferenceAttention(one, nullptr, {});
    const auto first = all.o.begin() + head * 9 * 64;
    EXPECT_EQ(result.o, std::vector<double>(first, first + 9 * 64));
  }
}

// Values of a seed are the same in every layout, so results must be too, bit for bit.
TEST(Reference, LayoutsAgree) {
  ProblemOptions options{.batch = 3,
                         .q_heads = 4,
                         .kv_heads = 2,
                         .head_dim = 24,
                         .value_head_dim = 16,
                         .query_tokens = 20,
                         .key_tokens = 45,
                         .keep_probability = 0.8,
                         .bias = true};
  const ReferenceResult uniform = Problem(options).Reference(nullptr, {});
  for (const Layout layout : {Layout::kTokensHeads, Layout::kHeadsTokens, Layout::kPadded}) {
    for (const int32_t page_size : {0, 7, 16}) {
      for (const bool packed : {false, true}) {
        ProblemOptions other = options;
        other.layout = layout;
        other.page_size = page_size;
        if (packed) {
          other.query_lengths = {20, 20, 20};
          other.key_lengths = {45, 45, 45};
          other.packed_keys = page_size == 0;
        }
        const ReferenceResult result = Problem(other).Reference(nullptr, {});
        EXPECT_EQ(result.o, uniform.o);
        EXPECT_EQ(result.lse, uniform.lse);
        EXPECT_EQ(result.executed, uniform.executed);
        EXPECT_EQ(result.counts, uniform.counts);
      }
    }
  }
}

// A ragged batch is its sequences, each on its own.
TEST(Reference, RaggedSequencesAreIndependent) {
  const std::vector<int32_t> queries = {9, 0, 33}, keys = {40, 5, 33};
  const Problem problem(
      {.batch = 3, .query_lengths = queries, .key_lengths = keys, .packed_keys = true});
  const ReferenceResult all = problem.Reference(nullptr, {});
  int64_t query_row = 0, key_row = 0;
  for (int32_t b = 0; b < 3; ++b) {
    AttentionArguments one = WithoutOutputs(problem.arguments);
    one.batch = 1;
    one.query_offsets = one.key_offsets = nullptr;
    one.query_tokens = queries[b];
    one.key_tokens = keys[b];
    one.q.data = static_cast<const float*>(one.q.data) + query_row * one.q.stride.row;
    one.k.data = static_cast<const float*>(one.k.data) + key_row * one.k.stride.row;
    one.v.data = static_cast<const float*>(one.v.data) + key_row * one.v.stride.row;
    const ReferenceResult result = ReferenceAttention(one, nullptr, {});
    for (int32_t head = 0; head < 4; ++head) {
      for (int32_t i = 0; i < queries[b]; ++i) {
        EXPECT_EQ(all.lse[(b * 4 + head) * 33 + i], result.lse[head * queries[b] + i]);
      }
      EXPECT_EQ(all.counts[b * 4 + head], result.counts[head]);
    }
    query_row += queries[b];
    key_row += keys[b];
  }
}

// Chunked prefill: rows of a later chunk equal the same rows of the whole.
TEST(Reference, ChunkEqualsWhole) {
  const Problem problem({.q_heads = 1, .kv_heads = 1, .query_tokens = 60, .key_tokens = 60});
  const ReferenceResult whole = problem.Reference(nullptr, {});
  AttentionArguments chunk = WithoutOutputs(problem.arguments);
  chunk.query_tokens = 13;
  chunk.q.data = static_cast<const float*>(chunk.q.data) + 20 * chunk.q.stride.row;
  chunk.key_tokens = 33;
  const ReferenceResult result = ReferenceAttention(chunk, nullptr, {});
  EXPECT_EQ(result.lse, std::vector<double>(whole.lse.begin() + 20, whole.lse.begin() + 33));
}

// A cache that dropped keys gives what hiding those keys gives.
TEST(Reference, KeyPositionsEqualHiddenKeys) {
  Problem problem({.q_heads = 2,
                   .kv_heads = 1,
                   .query_tokens = 40,
                   .key_tokens = 40,
                   .mask = {.window_left = 17, .sink_tokens = 2}});
  std::vector<int32_t> stay;
  std::vector<uint8_t> keep(40, 0);
  std::vector<float> k, v;
  for (int32_t j = 0; j < 40; ++j) {
    if (j % 5 == 2 || j == 0) continue;
    stay.push_back(j);
    keep[j] = 1;
    const float* k_row = static_cast<const float*>(problem.arguments.k.data) + j * 64;
    const float* v_row = static_cast<const float*>(problem.arguments.v.data) + j * 64;
    k.insert(k.end(), k_row, k_row + 64);
    v.insert(v.end(), v_row, v_row + 64);
  }
  problem.arguments.mask.keep = keep.data();  // all strides 0: one row for every query
  const ReferenceResult masked = problem.Reference(nullptr, {});
  AttentionArguments dropped = problem.arguments;
  dropped.mask.keep = nullptr;
  dropped.key_tokens = static_cast<int32_t>(stay.size());
  dropped.key_positions = stay.data();
  const int32_t start = 0;
  dropped.query_starts = &start;
  dropped.k.data = k.data();
  dropped.v.data = v.data();
  dropped.executed = nullptr;
  ValidateAttention(dropped, nullptr, {});
  const ReferenceResult result = ReferenceAttention(dropped, nullptr, {});
  EXPECT_EQ(result.o, masked.o);
  EXPECT_EQ(result.lse, masked.lse);
  EXPECT_EQ(result.counts[1].allowed_pairs, masked.counts[1].allowed_pairs);
}

// Results over disjoint key ranges merge by their LSE into the whole.
TEST(Reference, LseMergesAcrossKeyRanges) {
  const Problem problem({.query_tokens = 30, .key_tokens = 200, .values = Values::kStructured});
  const ReferenceResult whole = problem.Reference(nullptr, {});
  std::vector<ReferenceResult> parts;
  for (const KeyWindow range : {KeyWindow{0, 56}, KeyWindow{56, 189}, KeyWindow{192, 200}}) {
    TileIndexStorage storage(TileIndexStorage::Full(problem.arguments).shape());
    std::vector<std::vector<KeyWindow>> windows(storage.shape().rows(), {range});
    storage.SetWindows(windows);
    if (range.begin == 56) {
      storage.SetColumns(
          std::vector<std::vector<int32_t>>(storage.shape().rows(), {189, 190, 191}));
    }
    const TileIndex index = storage.view();
    ValidateAttention(problem.arguments, &index, {});
    parts.push_back(problem.Reference(&index, {}));
  }
  for (size_t row = 0; row < whole.lse.size(); ++row) {
    double sum = 0.0;
    for (const ReferenceResult& part : parts) sum += std::exp(part.lse[row] - whole.lse[row]);
    EXPECT_NEAR(sum, 1.0, 1e-12);
    for (size_t d = 0; d < 64; ++d) {
      double o = 0.0;
      for (const ReferenceResult& part : parts) {
        if (part.lse[row] == -kInfinity) continue;
        o += std::exp(part.lse[row] - whole.lse[row]) * part.o[row * 64 + d];
      }
      EXPECT_NEAR(o, whole.o[row * 64 + d], 1e-12);
    }
  }
}

TEST(Reference, ReadsEveryDtypeAsItsValue) {
  // Small integers are exact in all three, so all three agree bit for bit.
  const auto run = [](DType dtype, DType kv_dtype) {
    return Problem({.query_tokens = 5,
                    .key_tokens = 50,
                    .dtype = dtype,
                    .kv_dtype = kv_dtype,
                    .values = Values::kIntegers})
        .Reference(nullptr, {})
        .o;
  };
  const std::vector<double> f32 = run(DType::kF32, DType::kF32);
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const DType kv_dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      EXPECT_EQ(run(dtype, kv_dtype), f32);
    }
  }
}

}  // namespace
}  // namespace tamis
