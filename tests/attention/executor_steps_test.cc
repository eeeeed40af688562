#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "attention/executor_testing.h"
#include "attention/random_index.h"

namespace tamis::attention_testing {
namespace {

enum class Hard : uint8_t { kRising, kFalling, kNan, kInfinity, kLarge, kHuge, kAllEqual };
constexpr int kHardKinds = 7;
constexpr int32_t kHardKeys = 992, kHardKey = 300;

float HardValue(Hard hard, float value, int32_t key, int32_t d) {
  const auto share = static_cast<float>(key) / kHardKeys;
  if (hard == Hard::kRising) return value * 30.0f * share;
  if (hard == Hard::kFalling) return value * 30.0f * (1.0f - share);
  if (hard == Hard::kLarge) return value * 100.0f;
  if (hard == Hard::kHuge) return value * 1e6f;
  if (hard == Hard::kAllEqual) return 0.0f;
  if (key != kHardKey || d != 5) return value;
  return hard == Hard::kNan ? std::nanf("") : std::numeric_limits<float>::infinity();
}

void MakeHard(Problem& problem, Hard hard) {
  const AttentionArguments& a = problem.arguments;
  const auto change = [&](auto* keys, auto to_float, auto from_float) {
    for (int32_t head = 0; head < a.kv_heads; ++head) {
      for (int32_t key = 0; key < kHardKeys; ++key) {
        auto* row = keys + head * a.k.stride.head + key * a.k.stride.row;
        for (int32_t d = 0; d < a.head_dim; ++d) {
          row[d] = from_float(HardValue(hard, to_float(row[d]), key, d));
        }
      }
    }
  };
  void* keys = const_cast<void*>(a.k.data);
  if (a.kv_dtype == DType::kF32) {
    change(static_cast<float*>(keys), std::identity(), std::identity());
  } else {
    change(
        static_cast<BFloat16*>(keys), [](BFloat16 x) { return ToFloat(x); },
        [](float x) { return ToBFloat16(x); });
  }
}

/// Whole steps where their range of numbers is left, or their bases move: as step by step, which
/// skip-softmax by tiles of 64 columns is; no tile here is so far below others that lambda drops
/// what counts.
TEST(ExecutorSteps, WholeStepsMeetHardScores) {
  ThreadPool pool(2);
  const float lambda[1] = {1e-38f};
  for (const cpu::Variant variant : Variants()) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      // Without bf16 operands the bf16 builds are the avx512 one.
      if (variant >= cpu::Variant::kAvx512Bf16 && dtype != DType::kBF16) continue;
      for (const int32_t head_dim : {64, 128}) {
        for (int hard_call = 0; hard_call < 2 * kHardKinds; ++hard_call) {
          const auto hard = static_cast<Hard>(hard_call / 2);
          // Tile rows see parts of two steps, or of one.
          const int32_t query_tokens = hard_call % 2 == 0 ? 448 : 480;
          if (query_tokens == 480 && dtype != DType::kBF16) continue;
          Problem problem({.head_dim = head_dim,
                           .query_tokens = query_tokens,
                           .key_tokens = kHardKeys,
                           .dtype = dtype,
                           .kv_dtype = dtype,
                           .layout = Layout::kHeadsTokens});
          MakeHard(problem, hard);
          AttentionArguments& a = problem.arguments;
          for (const NOfMRule& n_of_m : {NOfMRule{}, NOfMRule{.n = 2, .m = 4}}) {
            const AttentionArguments all = a;
            const auto skipping = [&](const TileGeometry& geometry) {
              return TileRule{.skip_softmax = {.lambda = lambda, .geometry = geometry},
                              .n_of_m = n_of_m};
            };
            RunVariant(variant, problem, nullptr, skipping({64, 64}), pool);
            const std::vector<double> expected = Outputs(problem);
            a.lse = nullptr;
            a.counts = nullptr;
            a.executed = nullptr;
            for (const TileRule& rule : {TileRule{.n_of_m = n_of_m}, skipping({128, 128})}) {
              SCOPED_TRACE(VariantName(variant));
              RunVariant(variant, problem, nullptr, rule, pool);
              const std::vector<double> actual = Outputs(problem);
              int64_t different = 0;
              double largest = 0.0;
              for (size_t i = 0; i < expected.size(); ++i) {
                if (std::isnan(actual[i]) != std::isnan(expected[i])) ++different;
                if (!std::isnan(expected[i])) {
                  // Both are rounded, by 2^-9 of themselves in bf16.
                  const double rounding = dtype == DType::kBF16 ? std::abs(expected[i]) / 256 : 0.0;
                  largest = std::max(largest, std::abs(actual[i] - expected[i]) - rounding);
                }
              }
              EXPECT_EQ(different, 0) << static_cast<int>(hard) << ' ' << head_dim;
              // Values are normal; in bf16 weights are off by 5.5e-3 at most. In fp32 exponents are
              // off by an ulp of the scores, which are huge here.
              EXPECT_LE(largest, dtype == DType::kBF16 ? 0.025 : 1e-3)
                  << static_cast<int>(hard) << ' ' << head_dim;
            }
            a = all;
          }
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
    // Tile rows see part of one step only, their diagonal.
    for (const Values values : {Values::kGaussian, Values::kStructured}) {
      for (const float scale : {0.0f, 0.5f}) {
        kinds.push_back(plain({.head_dim = head_dim, .softmax_scale = scale, .values = values}));
        kinds.back().query_tokens = kinds.back().key_tokens = 448;
        kinds.back().sink_logits = scale > 0.0f;
      }
    }
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
    for (const auto& [values, key_tokens] :
         {std::pair(Values::kGaussian, 1000), std::pair(Values::kStructured, 1000),
          std::pair(Values::kGaussian, 352), std::pair(Values::kStructured, 992)}) {
      Problem problem({.head_dim = head_dim,
                       .query_tokens = 352,
                       .key_tokens = key_tokens,
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
