#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "attention/executor_testing.h"
#include "attention/random_index.h"

namespace tamis::attention_testing {
namespace {

std::vector<double> Outputs(const Problem& problem) {
  const AttentionArguments& a = problem.arguments;
  std::vector<double> outputs;
  for (int32_t head = 0; head < a.q_heads; ++head) {
    for (int32_t query = 0; query < a.query_tokens; ++query) {
      for (int32_t d = 0; d < a.dim_v(); ++d) outputs.push_back(problem.Output(0, head, query, d));
    }
  }
  return outputs;
}

/// Whole steps on tiles where their range of numbers is left, or their bases move: as step by step,
/// which calls with LSE are.
TEST(ExecutorSteps, WholeStepsMeetHardScores) {
  constexpr int32_t kKeys = 1000, kHardKey = 300;
  enum class Hard : uint8_t { kRising, kFalling, kNan, kInfinity, kLarge, kHuge, kAllEqual };
  ThreadPool pool(2);
  for (const cpu::Variant variant : Variants()) {
    if (variant < cpu::Variant::kAmxBf16 || variant == cpu::Variant::kAvx512Bf16Emulated) continue;
    for (const int32_t head_dim : {64, 128}) {
      for (const Hard hard : {Hard::kRising, Hard::kFalling, Hard::kNan, Hard::kInfinity,
                              Hard::kLarge, Hard::kHuge, Hard::kAllEqual}) {
        Problem problem({.head_dim = head_dim,
                         .query_tokens = 352,
                         .key_tokens = kKeys,
                         .dtype = DType::kBF16,
                         .kv_dtype = DType::kBF16,
                         .layout = Layout::kHeadsTokens});
        AttentionArguments& a = problem.arguments;
        for (int32_t head = 0; head < a.kv_heads; ++head) {
          for (int32_t key = 0; key < kKeys; ++key) {
            auto* row = static_cast<BFloat16*>(const_cast<void*>(a.k.data)) +
                        head * a.k.stride.head + key * a.k.stride.row;
            const auto share = static_cast<float>(key) / kKeys;
            for (int32_t d = 0; d < head_dim; ++d) {
              float value = ToFloat(row[d]);
              if (hard == Hard::kRising) value *= 30.0f * share;
              if (hard == Hard::kFalling) value *= 30.0f * (1.0f - share);
              if (hard == Hard::kLarge) value *= 100.0f;
              if (hard == Hard::kHuge) value *= 1e6f;
              if (hard == Hard::kAllEqual) value = 0.0f;
              if (key == kHardKey && d == 5) {
                if (hard == Hard::kNan) value = std::nanf("");
                if (hard == Hard::kInfinity) value = std::numeric_limits<float>::infinity();
              }
              row[d] = ToBFloat16(value);
            }
          }
        }
        for (const TileRule& rule : {TileRule{}, TileRule{.n_of_m = {.n = 2, .m = 4}}}) {
          const AttentionArguments all = a;
          RunVariant(variant, problem, nullptr, rule, pool);
          const std::vector<double> expected = Outputs(problem);
          a.lse = nullptr;
          a.counts = nullptr;
          a.executed = nullptr;
          RunVariant(variant, problem, nullptr, rule, pool);
          a = all;
          const std::vector<double> actual = Outputs(problem);
          int64_t different = 0;
          double largest = 0.0;
          for (size_t i = 0; i < expected.size(); ++i) {
            if (std::isnan(actual[i]) != std::isnan(expected[i])) ++different;
            if (!std::isnan(expected[i])) {
              largest = std::max(largest, std::abs(actual[i] - expected[i]));
            }
          }
          EXPECT_EQ(different, 0) << VariantName(variant) << ' ' << static_cast<int>(hard);
          // Values are normal; weights are off by 5.5e-3 at most, outputs rounded to 2^-8.
          EXPECT_LE(largest, 0.03) << VariantName(variant) << ' ' << static_cast<int>(hard);
        }
      }
    }
  }
}

/// Calls whose tile rows see many whole steps: alone, beside masked ones, and none of the first.
TEST(ExecutorSteps, WholeStepsMatchTheReference) {
  const auto plain = [](ProblemOptions options) {
    options.dtype = options.kv_dtype = DType::kBF16;
    options.query_tokens = 320;
    options.key_tokens = 1100;
    options.q_heads = 2;
    options.kv_heads = 1;
    return options;
  };
  const std::vector<cpu::Variant> variants = Variants();
  if (std::ranges::count(variants, cpu::Variant::kAmxBf16Emulated) == 0) {
    GTEST_SKIP() << "needs AVX-512";
  }
  ThreadPool pool(2);
  for (const int32_t head_dim : {64, 128}) {
    std::vector<ProblemOptions> kinds;
    kinds.push_back(plain({.head_dim = head_dim}));
    kinds.push_back(plain({.head_dim = head_dim, .values = Values::kStructured}));
    kinds.push_back(plain({.head_dim = head_dim, .softmax_scale = 0.5f}));
    kinds.push_back(plain({.head_dim = head_dim, .sink_logits = true}));
    kinds.push_back(plain({.head_dim = head_dim, .page_size = 16}));
    kinds.push_back(plain({.batch = 2, .head_dim = head_dim, .key_lengths = {700, 1100}}));
    kinds.push_back(plain({.head_dim = head_dim}));
    kinds.back().mask.causality = Causality::kBidirectional;
    kinds.push_back(plain({.head_dim = head_dim}));
    kinds.back().mask.window_left = 800;
    for (size_t kind = 0; kind < kinds.size(); ++kind) {
      Problem problem(kinds[kind]);
      const TileIndexStorage storage =
          RandomIndex(problem.arguments, {.density = 0.8, .columns = kind == 0 ? 40 : 0});
      const TileIndex lists = storage.view();
      for (const TileIndex* index : {static_cast<const TileIndex*>(nullptr), &lists}) {
        SCOPED_TRACE(kind);
        const ReferenceResult reference = problem.Reference(index, {});
        ExpectMatches(cpu::Variant::kAmxBf16Emulated, problem, index, {}, reference, 0.0, pool);
      }
    }
  }
}

TEST(ExecutorSteps, EmulatedWholeStepsAreBitExact) {
  if (DetectCpuIsa() < CpuIsa::kAmxBf16) GTEST_SKIP() << "needs AMX_BF16";
  ThreadPool pool(2);
  for (const int32_t head_dim : {64, 128}) {
    for (const Values values : {Values::kGaussian, Values::kStructured}) {
      Problem problem({.head_dim = head_dim,
                       .query_tokens = 352,
                       .key_tokens = 1000,
                       .dtype = DType::kBF16,
                       .kv_dtype = DType::kBF16,
                       .values = values});
      problem.arguments.lse = nullptr;
      problem.arguments.counts = nullptr;
      problem.arguments.executed = nullptr;
      for (const TileRule& rule : {TileRule{}, TileRule{.n_of_m = {.n = 2, .m = 4}}}) {
        RunVariant(cpu::Variant::kAmxBf16, problem, nullptr, rule, pool);
        const std::vector<double> real = Outputs(problem);
        RunVariant(cpu::Variant::kAmxBf16Emulated, problem, nullptr, rule, pool);
        EXPECT_TRUE(Outputs(problem) == real) << head_dim;
      }
    }
  }
}

}  // namespace
}  // namespace tamis::attention_testing
