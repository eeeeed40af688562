#include "attention/executor_testing.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "attention/sequence_view.h"
#include "attention/validate.h"

namespace tamis::attention_testing {
namespace {

/// The largest |V| of a problem, and the largest magnitude a score can have (see ReferenceResult).
struct Magnitudes {
  double value = 0.0;
  double score = 0.0;
};

double ReadElement(DType dtype, const void* data, int64_t offset) {
  float value = 0.0f;
  ConvertToFloat(dtype,
                 static_cast<const char*>(data) + offset * static_cast<int64_t>(SizeOf(dtype)),
                 &value, 1);
  return value;
}

Magnitudes MagnitudesOf(const AttentionArguments& a) {
  Magnitudes m;
  const ConstTensor& k = a.paged.page_size != 0 ? a.paged.k : a.k;
  const ConstTensor& v = a.paged.page_size != 0 ? a.paged.v : a.v;
  double q_norm = 0.0, k_norm = 0.0;
  for (int32_t b = 0; b < a.batch; ++b) {
    const SequenceView sequence(a, b);
    for (int32_t h = 0; h < a.kv_heads; ++h) {
      for (int32_t j = 0; j < sequence.keys(); ++j) {
        double squares = 0.0;
        for (int32_t d = 0; d < a.head_dim; ++d) {
          const double x = ReadElement(a.kv_dtype, k.data, sequence.KeyOffset(k.stride, j, h) + d);
          squares += x * x;
        }
        k_norm = std::max(k_norm, std::sqrt(squares));
        for (int32_t d = 0; d < a.dim_v(); ++d) {
          m.value = std::max(
              m.value,
              std::abs(ReadElement(a.kv_dtype, v.data, sequence.KeyOffset(v.stride, j, h) + d)));
        }
      }
    }
    for (int32_t h = 0; h < a.q_heads; ++h) {
      for (int32_t i = 0; i < sequence.queries(); ++i) {
        double squares = 0.0;
        for (int32_t d = 0; d < a.head_dim; ++d) {
          const double x =
              ReadElement(a.dtype, a.q.data, sequence.QueryOffset(a.q.stride, i, h) + d);
          squares += x * x;
        }
        q_norm = std::max(q_norm, std::sqrt(squares));
      }
    }
  }
  const double scale = a.softmax_scale != 0.0f ? a.softmax_scale : 1.0 / std::sqrt(a.head_dim);
  m.score = scale * q_norm * k_norm + (a.bias.data != nullptr ? 5.0 : 0.0);
  return m;
}

/// How often N:M keeps other keys than the reference where scores lie too close to tell.
class NearTies : public ::testing::Environment {
 public:
  void Add(const KeptComparison& kept) {
    differing_ += kept.differing;
    pairs_ += kept.pairs;
  }
  void TearDown() override {
    if (pairs_ == 0) return;
    fmt::print(
        "N:M keep sets: {} of {} pairs differ from the reference, each among scores within "
        "a few ulp\n",
        differing_, pairs_);
  }

 private:
  int64_t differing_ = 0, pairs_ = 0;
};

// The framework owns it.
NearTies& near_ties = *static_cast<NearTies*>(::testing::AddGlobalTestEnvironment(new NearTies));

}  // namespace

std::vector<cpu::Variant> Variants() {
  std::vector<cpu::Variant> variants;
  for (const CpuIsa isa : AvailableCpuIsas()) variants.push_back(cpu::VariantOf(isa));
  if (DetectCpuIsa() >= CpuIsa::kAvx512) {
    variants.push_back(cpu::Variant::kAvx512Bf16Emulated);
    variants.push_back(cpu::Variant::kAmxBf16Emulated);
  }
  return variants;
}

std::string VariantName(cpu::Variant variant) {
  if (variant == cpu::Variant::kAvx512Bf16Emulated) return "avx512-bf16-emulated";
  if (variant == cpu::Variant::kAmxBf16Emulated) return "amx-bf16-emulated";
  return std::string(Name(static_cast<CpuIsa>(variant)));
}

void RunVariant(cpu::Variant variant, Problem& problem, const TileIndex* index,
                const TileRule& rule, ThreadPool& pool) {
  ValidateAttention(problem.arguments, index, rule);
  const size_t bytes = cpu::WorkspaceBytes(
      variant, problem.arguments, index == nullptr ? nullptr : &index->shape, rule, pool.size());
  constexpr size_t kGuard = 64;
  const AlignedBuffer workspace(bytes + kGuard);
  std::memset(workspace.data(), 0xff, bytes + kGuard);  // NaN
  problem.PoisonOutputs();
  cpu::Run(variant, problem.arguments, index, rule, workspace.data(), pool);
  const char* guard = workspace.as<char>() + bytes;
  EXPECT_TRUE(std::all_of(guard, guard + kGuard, [](char c) { return c == '\xff'; }))
      << "wrote past the workspace";
}

/// fp32: a score is a sum of head_dim rounded products. Its errors have random signs and partial
/// sums stay below the product of norms m that bounds it: half an ulp of m times sqrt(head_dim) is
/// what they add up to, less a constant for how far below (6, where no row has the largest norm).
/// It changes a weight, and with it the output, in proportion; sums of weights add a few ulp more.
/// Outputs in bf16 or f16 are rounded once more, to 2^-8 or 2^-11 of their size. bf16 dot products
/// also round each weight to 2^-8 and use exponentials good to 3e-6; whole steps on tiles, where
/// LSE is not asked for, are held to the same.
ErrorBounds BoundsOf(cpu::Variant variant, const Problem& problem) {
  const AttentionArguments& a = problem.arguments;
  const Magnitudes m = MagnitudesOf(a);
  const bool bf16_dot =
      variant >= cpu::Variant::kAvx512Bf16 && a.dtype == DType::kBF16 && a.kv_dtype == DType::kBF16;
  const double score = 0x1p-24 * m.score * std::max(1.0, std::sqrt(a.head_dim) / 6);
  // lse adds the rounding of the scale and of lse itself, each half an ulp of a few more than a
  // score.
  ErrorBounds bounds{2 * score + 8 * 0x1p-23, 3 * (score + 10 * 0x1p-24)};
  if (bf16_dot) {
    bounds.o += 0x1p-8 + 6e-6;
    bounds.lse += 4e-6;
  }
  if (a.dtype == DType::kBF16) bounds.o += 0x1p-8;
  if (a.dtype == DType::kF16) bounds.o += 0x1p-11;
  bounds.o *= m.value;
  return bounds;
}

namespace {

/// O and LSE.
std::vector<char> RowBytes(const Problem& problem) {
  const AttentionArguments& a = problem.arguments;
  std::vector<char> bytes;
  const auto append = [&](const void* data, size_t size) {
    const char* first = static_cast<const char*>(data);
    bytes.insert(bytes.end(), first, first + size);
  };
  for (int32_t b = 0; b < a.batch; ++b) {
    const SequenceView sequence(a, b);
    for (int32_t h = 0; h < a.q_heads; ++h) {
      for (int32_t i = 0; i < sequence.queries(); ++i) {
        append(static_cast<const char*>(a.o.data) +
                   sequence.QueryOffset(a.o.stride, i, h) * static_cast<int64_t>(SizeOf(a.dtype)),
               static_cast<size_t>(a.dim_v()) * SizeOf(a.dtype));
        append(a.lse + sequence.QueryOffset(a.lse_stride, i, h), sizeof(float));
      }
    }
  }
  return bytes;
}

/// What the same call gives where nobody asks for counts or executed pairs.
std::vector<char> UncountedBytes(cpu::Variant variant, Problem& problem, const TileIndex* index,
                                 const TileRule& rule, ThreadPool& pool) {
  AttentionArguments& a = problem.arguments;
  AttentionCounts* counts = std::exchange(a.counts, nullptr);
  uint32_t* executed = std::exchange(a.executed, nullptr);
  RunVariant(variant, problem, index, rule, pool);
  a.counts = counts;
  a.executed = executed;
  return RowBytes(problem);
}

}  // namespace

void ExpectAllMatch(Problem& problem, const TileIndex* index, const TileRule& rule, double ulps,
                    ThreadPool& pool) {
  const ReferenceResult reference = problem.Reference(index, rule);
  const bool bf16 =
      problem.arguments.dtype == DType::kBF16 && problem.arguments.kv_dtype == DType::kBF16;
  for (const cpu::Variant variant : Variants()) {
    // Without bf16 operands the bf16 builds are the avx512 one.
    if (variant >= cpu::Variant::kAvx512Bf16 && !bf16) continue;
    ExpectMatches(variant, problem, index, rule, reference, ulps, pool);
  }
}

void ExpectMatches(cpu::Variant variant, Problem& problem, const TileIndex* index,
                   const TileRule& rule, const ReferenceResult& reference, double ulps,
                   ThreadPool& pool) {
  SCOPED_TRACE(VariantName(variant));
  std::vector<char> uncounted;
  const bool thins = rule.n_of_m.n > 0;
  if (thins) uncounted = UncountedBytes(variant, problem, index, rule, pool);
  RunVariant(variant, problem, index, rule, pool);
  if (thins) {
    EXPECT_TRUE(RowBytes(problem) == uncounted) << "counting changes the results";
  }
  const KeptComparison kept = CompareExecuted(problem, reference, ulps);
  if (ulps > 0) near_ties.Add(kept);
  EXPECT_EQ(kept.unexplained, 0) << kept.first_unexplained << " of " << kept.pairs << " pairs";
  EXPECT_TRUE(problem.GapsUntouched());
  if (kept.differing > 0) return;  // another, explained, set of keys: nothing left to compare
  const ErrorMetrics errors = CompareOutputs(problem, reference);
  const ErrorBounds bounds = BoundsOf(variant, problem);
  if (std::getenv("TAMIS_PRINT") != nullptr) {
    fmt::print("{} o {:.3f} lse {:.3f} of bound ({:.2e} {:.2e}) rms {:.2e}\n", VariantName(variant),
               errors.max_abs / bounds.o, errors.max_lse / bounds.lse, bounds.o, bounds.lse,
               errors.rms);
  }
  EXPECT_EQ(errors.wrong_kind, 0);
  EXPECT_LE(errors.max_abs, bounds.o);
  EXPECT_LE(errors.max_lse, bounds.lse);
  for (size_t i = 0; i < reference.counts.size(); ++i) {
    const AttentionCounts& actual = problem.counts()[i];
    const AttentionCounts& expected = reference.counts[i];
    EXPECT_EQ(actual.allowed_pairs, expected.allowed_pairs) << i;
    EXPECT_EQ(actual.visited_pairs, expected.visited_pairs) << i;
    EXPECT_EQ(actual.kept_pairs, expected.kept_pairs) << i;
    EXPECT_EQ(actual.visited_tiles, expected.visited_tiles) << i;
    EXPECT_EQ(actual.skipped_tiles, expected.skipped_tiles) << i;
    EXPECT_EQ(actual.lambda_saturated, expected.lambda_saturated) << i;
  }
  // Tiles run whole steps together where nobody asks for more than O.
  if (variant != cpu::Variant::kAmxBf16 && variant != cpu::Variant::kAmxBf16Emulated) return;
  AttentionArguments& a = problem.arguments;
  const AttentionArguments all = a;
  a.lse = nullptr;
  if (thins) {
    a.counts = nullptr;
    a.executed = nullptr;
  }
  RunVariant(variant, problem, index, rule, pool);
  const ErrorMetrics alone = CompareOutputs(problem, reference);
  a = all;
  EXPECT_EQ(alone.wrong_kind, 0);
  EXPECT_LE(alone.max_abs, bounds.o) << "without LSE";
}

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

std::vector<char> OutputBytes(const Problem& problem) {
  std::vector<char> bytes = RowBytes(problem);
  const char* executed = reinterpret_cast<const char*>(problem.executed().data());
  bytes.insert(bytes.end(), executed, executed + problem.executed().size() * sizeof(uint32_t));
  return bytes;
}

}  // namespace tamis::attention_testing
