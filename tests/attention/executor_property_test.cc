// What must hold bit by bit: threads, full indices, rules that are off, planning and allocation.
#include <gtest/gtest.h>

#include <atomic>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <new>

#include "attention/cpu/peak.h"
#include "attention/executor_testing.h"
#include "attention/random_index.h"
#include "tamis/error.h"

namespace {
std::atomic<int64_t> allocations{0};
}  // namespace

void* operator new(size_t size) {
  allocations.fetch_add(1);
  if (void* p = std::malloc(size)) return p;
  throw std::bad_alloc();
}
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  allocations.fetch_add(1);
  return std::malloc(size);
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }

namespace tamis::attention_testing {
namespace {

std::vector<char> RunBytes(cpu::Variant variant, Problem& problem, const TileIndex* index,
                           const TileRule& rule, ThreadPool& pool) {
  RunVariant(variant, problem, index, rule, pool);
  return OutputBytes(problem);
}

std::vector<ProblemOptions> Kinds(Phase phase) {
  ProblemOptions f32{.batch = 2,
                     .query_lengths = {150, 20},
                     .key_lengths = {300, 1200},
                     .phase = phase,
                     .values = Values::kStructured};
  if (phase == Phase::kDecode) f32.query_lengths = {1, 9};
  ProblemOptions bf16 = f32;
  bf16.dtype = bf16.kv_dtype = DType::kBF16;
  return {f32, bf16};
}

TEST(ExecutorProperty, ThreadsChangeNothing) {
  ThreadPool one(1), three(3), seven(7);
  for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    for (const ProblemOptions& options : Kinds(phase)) {
      Problem problem(options);
      const TileIndexStorage storage =
          RandomIndex(problem.arguments, {.heads_per_row = 2, .density = 0.6, .columns = 30});
      const TileIndex index = storage.view();
      const float lambda[2] = {0.3f, 0.05f};
      TileRule rule{.skip_softmax = {.lambda = lambda}, .n_of_m = {.n = 2, .m = 4}};
      if (phase == Phase::kDecode) rule.skip_softmax.geometry = {1, 128, SkipVote::kGqaGroup};
      for (const cpu::Variant variant : Variants()) {
        const auto expected = RunBytes(variant, problem, &index, rule, one);
        const auto counts = problem.counts();
        for (ThreadPool* pool : {&three, &seven}) {
          EXPECT_TRUE(RunBytes(variant, problem, &index, rule, *pool) == expected)
              << VariantName(variant) << " " << pool->size();
          EXPECT_EQ(problem.counts(), counts);
        }
        EXPECT_TRUE(RunBytes(variant, problem, nullptr, {}, one) ==
                    RunBytes(variant, problem, nullptr, {}, seven));
      }
    }
  }
}

/// A full index, lambda 0 and 1: all bit-identical to dense, whatever their tile sizes. So is, in
/// decode, a lambda so small that nothing is skipped; in prefill its votes need maxima, which whole
/// steps do without.
TEST(ExecutorProperty, WhatDropsNothingIsDenseBitForBit) {
  ThreadPool pool(2);
  for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    for (const ProblemOptions& options : Kinds(phase)) {
      Problem problem(options);
      for (const cpu::Variant variant : Variants()) {
        const auto dense = RunBytes(variant, problem, nullptr, {}, pool);
        for (const int32_t query_block : {64, 128}) {
          for (const int32_t key_block : {64, 128}) {
            for (const int32_t heads : {1, 2}) {
              const TileIndexStorage storage =
                  TileIndexStorage::Full(problem.arguments, query_block, key_block, heads);
              const TileIndex index = storage.view();
              EXPECT_TRUE(RunBytes(variant, problem, &index, {}, pool) == dense)
                  << VariantName(variant) << " " << query_block << "x" << key_block << " " << heads;
            }
          }
        }
        for (const TileGeometry& geometry : cpu::Geometries(phase)) {
          for (const float value : {0.0f, 1e-38f, 1.0f}) {
            if (phase == Phase::kPrefill && value == 1e-38f) continue;
            const float lambda[2] = {value, value};
            const TileRule rule{.skip_softmax = {.lambda = lambda, .geometry = geometry}};
            EXPECT_TRUE(RunBytes(variant, problem, nullptr, rule, pool) == dense)
                << VariantName(variant) << " " << geometry.tile_rows << "x" << geometry.tile_columns
                << " " << value;
          }
        }
      }
    }
  }
}

/// Emulated products give the instruction's bits.
void ExpectSameBits(cpu::Variant real, cpu::Variant emulated) {
  ThreadPool pool(2);
  for (const Values values : {Values::kGaussian, Values::kStructured}) {
    for (const int32_t head_dim : {40, 128}) {
      Problem problem({.head_dim = head_dim,
                       .query_tokens = 200,
                       .key_tokens = 300,
                       .dtype = DType::kBF16,
                       .kv_dtype = DType::kBF16,
                       .values = values});
      EXPECT_TRUE(RunBytes(real, problem, nullptr, {}, pool) ==
                  RunBytes(emulated, problem, nullptr, {}, pool));
    }
  }
}

TEST(ExecutorProperty, EmulatedDotProductsAreBitExact) {
  if (DetectCpuIsa() < CpuIsa::kAvx512Bf16) GTEST_SKIP() << "needs AVX512_BF16";
  ExpectSameBits(cpu::Variant::kAvx512Bf16, cpu::Variant::kAvx512Bf16Emulated);
}

TEST(ExecutorProperty, EmulatedTilesAreBitExact) {
  if (DetectCpuIsa() < CpuIsa::kAmxBf16) GTEST_SKIP() << "needs AMX_BF16";
  ExpectSameBits(cpu::Variant::kAmxBf16, cpu::Variant::kAmxBf16Emulated);
}

/// ... on every bit pattern of operands, sums and results too, subnormals among them.
TEST(ExecutorProperty, EmulatedDotProductsFlushAndRoundAsTheInstruction) {
  if (DetectCpuIsa() < CpuIsa::kAvx512Bf16) GTEST_SKIP() << "needs AVX512_BF16";
  constexpr int32_t kDim = 16;
  const cpu::Kernels& real =
      cpu::SelectKernels(cpu::Variant::kAvx512Bf16, DType::kBF16, DType::kBF16);
  const cpu::Kernels& emulated =
      cpu::SelectKernels(cpu::Variant::kAvx512Bf16Emulated, DType::kBF16, DType::kBF16);
  Rng rng(5);
  std::vector<uint16_t> q(cpu::kRowBlock * kDim), k(cpu::kStepKeys * kDim);
  std::vector<float> s(cpu::kRowBlock * cpu::kStepKeys), expected(s.size());
  const cpu::ColumnRange range{0, cpu::kStepKeys};
  for (int round = 0; round < 300; ++round) {
    // Exponents around 2^-63, where products are subnormal, or anywhere but infinity and NaN.
    const bool tiny = round % 2 == 0;
    const auto fill = [&](std::vector<uint16_t>& bits) {
      for (uint16_t& b : bits) {
        const auto r = static_cast<uint32_t>(rng.Next());
        const uint32_t exponent = tiny ? 56 + (r >> 20) % 10 : (r >> 20) % 254;
        b = static_cast<uint16_t>((r & 0x807fu) | exponent << 7);
      }
    };
    fill(q);
    fill(k);
    const cpu::ScoreArguments args{.q = q.data(),
                                   .k_step = k.data(),
                                   .head_dim = kDim,
                                   .row_blocks = 1,
                                   .ranges = &range,
                                   .s = expected.data(),
                                   .s_stride = cpu::kStepKeys};
    if (real.begin_products != nullptr) real.begin_products();
    real.scores(args);
    if (real.end_products != nullptr) real.end_products();
    cpu::ScoreArguments other = args;
    other.s = s.data();
    emulated.scores(other);
    for (size_t i = 0; i < s.size(); ++i) {
      if (std::isnan(expected[i]) && std::isnan(s[i])) continue;  // payloads may differ
      ASSERT_EQ(std::bit_cast<uint32_t>(s[i]), std::bit_cast<uint32_t>(expected[i]));
    }
  }
}

/// Decoding fetches ahead in ways that the processor chooses, this machine's being one of them.
TEST(ExecutorProperty, FetchesChangeNothing) {
  constexpr int32_t kKeys = 300, kStride = 320;
  Rng rng(7);
  for (const CpuIsa isa : AvailableCpuIsas()) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      const cpu::Kernels& kernels = cpu::SelectKernels(cpu::VariantOf(isa), dtype, dtype);
      for (const int32_t dim : {64, 80, 96, 128, 256}) {
        for (const int32_t rows : {1, 3, 4, 9}) {
          const auto elements = static_cast<size_t>(kKeys) * dim;
          std::vector<float> wide(elements);
          for (float& value : wide) value = static_cast<float>(rng.Next() % 1024) / 512.0f - 1.0f;
          std::vector<char> kv(elements * SizeOf(dtype)),
              q(rows * cpu::kMaxHeadDim * sizeof(float));
          const float one = 1.0f;
          kernels.store_rows(wide.data(), 0,
                             {.dtype = dtype,
                              .rows = kv.data(),
                              .count = 1,
                              .dim = static_cast<int32_t>(elements),
                              .scales = &one});
          for (int32_t r = 0; r < rows; ++r) {
            kernels.load_queries(dtype, kv.data(),
                                 q.data() + r * cpu::kMaxHeadDim * kernels.element_bytes, dim);
          }
          std::vector<float> expected;
          for (const cpu::FetchAhead ahead :
               {cpu::FetchAhead{}, {.bytes = 4096, .into_l1 = true}, {.bytes = 1 << 20}}) {
            cpu::RowsArguments run{.dtype = dtype,
                                   .rows = kv.data(),
                                   .stride = static_cast<int64_t>(dim * SizeOf(dtype)),
                                   .count = kKeys,
                                   .dim = dim,
                                   .ahead = ahead};
            if (ahead.into_l1) {
              run.then = kv.data();
              run.then_stride = run.stride;
            }
            std::vector<float> out(rows * (kStride + 2 + cpu::kMaxHeadDim), 0.0f);
            float* maxima = out.data() + rows * kStride;
            float* totals = maxima + rows;
            float* o = totals + rows;
            std::vector<char> weights(static_cast<size_t>(rows) * kStride * kernels.element_bytes);
            kernels.decode_scores(run, q.data(), rows, out.data(), kStride, maxima);
            for (int32_t r = 0; r < rows; ++r) {
              kernels.decode_exponentials(out.data() + r * kStride, kStride, 0.1f, 1.0f,
                                          weights.data() + r * kStride * kernels.element_bytes,
                                          totals + r);
            }
            kernels.decode_values(run, weights.data(), kStride, rows, o);
            if (expected.empty()) expected = out;
            EXPECT_EQ(out, expected)
                << Name(isa) << ' ' << Name(dtype) << ' ' << dim << ' ' << rows;
          }
        }
      }
    }
  }
}

/// Rows of O that pass the caches, and those that may not: off a line, or no whole lines long.
TEST(ExecutorProperty, StreamedRowsAreStoredAlike) {
  Rng rng(6);
  std::vector<float> o(cpu::kMaxHeadDim);
  for (float& value : o) value = static_cast<float>(static_cast<int32_t>(rng.Next())) * 0x1p-28f;
  for (const CpuIsa isa : AvailableCpuIsas()) {
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      const cpu::Kernels& kernels = cpu::SelectKernels(cpu::VariantOf(isa), dtype, dtype);
      for (const int32_t count : {64, 72, 256}) {
        for (const size_t offset : {0, 16}) {
          constexpr size_t kBytes = 1280;
          const AlignedBuffer plain(kBytes), streamed(kBytes);
          std::fill_n(plain.as<char>(), kBytes, char{0});
          std::fill_n(streamed.as<char>(), kBytes, char{0});
          const float scale = 0.7f;
          cpu::OutputRows output{.dtype = dtype,
                                 .rows = plain.as<char>() + offset,
                                 .count = 1,
                                 .dim = count,
                                 .scales = &scale};
          kernels.store_rows(o.data(), 0, output);
          output.rows = streamed.as<char>() + offset;
          output.stream = true;
          kernels.store_rows(o.data(), 0, output);
          kernels.order_streamed_rows();
          EXPECT_TRUE(std::equal(plain.as<char>(), plain.as<char>() + kBytes, streamed.as<char>()))
              << static_cast<int>(isa) << ' ' << Name(dtype) << ' ' << count << ' ' << offset;
        }
      }
    }
  }
}

TEST(ExecutorProperty, RunAllocatesNothing) {
  ThreadPool pool(3);
  for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    Problem problem(Kinds(phase)[0]);
    const float lambda[2] = {0.3f, 0.05f};
    TileRule rule{.skip_softmax = {.lambda = lambda}, .n_of_m = {.n = 2, .m = 4}};
    if (phase == Phase::kDecode) rule.skip_softmax.geometry = {1, 128, SkipVote::kGqaGroup};
    const ExecutionContext context{.pool = &pool};
    const AttentionPlan plan = PlanAttention(problem.arguments, nullptr, rule, context);
    const AlignedBuffer workspace(plan.workspace_bytes);
    const int64_t before = allocations.load();
    RunAttention(plan, problem.arguments, nullptr, rule, workspace.data(), context);
    EXPECT_EQ(allocations.load(), before);
  }
}

/// A plan for maxima serves every smaller call.
TEST(ExecutorProperty, PlansServeSmallerCalls) {
  ThreadPool pool(2);
  const ExecutionContext context{.pool = &pool};
  for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    Problem large({.batch = 3, .query_tokens = 200, .key_tokens = 900, .phase = phase});
    const AttentionPlan plan = PlanAttention(large.arguments, nullptr, {}, context);
    const AlignedBuffer workspace(plan.workspace_bytes);
    for (const int32_t keys : {0, 1, 500, 900}) {
      Problem small({.batch = 2, .query_tokens = 70, .key_tokens = keys, .phase = phase});
      RunAttention(plan, small.arguments, nullptr, {}, workspace.data(), context);
      const ErrorMetrics errors = CompareOutputs(small, small.Reference(nullptr, {}));
      EXPECT_EQ(errors.wrong_kind, 0);
      EXPECT_LE(errors.max_abs, BoundsOf(cpu::VariantOf(plan.isa), small).o);
    }
  }
}

/// Long contexts must not need quadratic memory.
TEST(ExecutorProperty, WorkspaceIsLinearInLength) {
  ThreadPool pool(2);
  for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    const auto bytes = [&](int32_t tokens) {
      AttentionArguments a;
      a.q_heads = 32;
      a.kv_heads = 8;
      a.head_dim = 128;
      a.query_tokens = phase == Phase::kDecode ? 4 : tokens;
      a.key_tokens = tokens;
      a.phase = phase;
      return PlanAttention(a, nullptr, {}, {.pool = &pool}).workspace_bytes;
    };
    EXPECT_LT(bytes(1 << 20), 2.2 * static_cast<double>(bytes(1 << 19)));
    EXPECT_LT(bytes(1 << 17), size_t{400} << 20);
  }
}

template <typename Call>
std::string MessageOf(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(ExecutorProperty, PlansRefuseByName) {
  ThreadPool pool(1);
  Problem problem({});
  AttentionArguments& a = problem.arguments;
  const auto plan = [&](const TileRule& rule, const ExecutionContext& context) {
    return MessageOf([&] { PlanAttention(a, nullptr, rule, context); });
  };
#ifdef TAMIS_WITH_CUDA
  EXPECT_EQ(plan({}, {.device = Device::kCuda}), "the CUDA executor runs bf16 and f16, not f32");
#else
  EXPECT_EQ(plan({}, {.device = Device::kCuda, .pool = &pool}),
            "device cuda asked for, but this build has no CUDA executor; use cpu");
#endif
  EXPECT_EQ(plan({}, {}), "no thread pool given; set ExecutionContext::pool");
  if (DetectCpuIsa() < CpuIsa::kAvx512Bf16) {
    EXPECT_NE(plan({}, {.pool = &pool, .isa = CpuIsa::kAvx512Bf16}).find("avx512-bf16"),
              std::string::npos);
  }
  const float lambda = 0.5f;
  const TileRule rule{.skip_softmax = {.lambda = &lambda, .geometry = {128, 32}}};
  EXPECT_EQ(plan(rule, {.pool = &pool}),
            "skip-softmax geometry 128x32 by query head in 1 split, ascending keys is not one the "
            "cpu executor runs here; use 64x64 by query head in 1 split, ascending keys; 128x64 by "
            "query head in 1 split, ascending keys; 64x128 by query head in 1 split, ascending "
            "keys; 128x128 by query head in 1 split, ascending keys");
  a.head_dim = 12;
  EXPECT_EQ(plan({}, {.pool = &pool}), "head_dim is 12; use a multiple of 8 from 8 to 256");
  ThreadPool larger(2);
  a.head_dim = 64;
  AttentionPlan made = PlanAttention(a, nullptr, {}, {.pool = &pool});
  EXPECT_EQ(made.path, "cpu/" + std::string(Name(DetectCpuIsa())));
  EXPECT_EQ(MessageOf([&] { RunAttention(made, a, nullptr, {}, nullptr, {.pool = &larger}); }),
            "planned for 1 threads, run on 2; plan again");
}

TEST(ExecutorProperty, AttendPlansValidatesAndRuns) {
  ThreadPool pool(2);
  Problem problem({.query_tokens = 50, .key_tokens = 70});
  for (const CpuIsa isa : AvailableCpuIsas()) {
    problem.PoisonOutputs();
    const AttentionPlan plan = Attend(problem.arguments, nullptr, {}, {.pool = &pool, .isa = isa});
    EXPECT_EQ(plan.isa, isa);
    const ErrorMetrics errors = CompareOutputs(problem, problem.Reference(nullptr, {}));
    EXPECT_EQ(errors.wrong_kind, 0);
    EXPECT_LE(errors.max_abs, BoundsOf(cpu::VariantOf(isa), problem).o);
  }
  problem.arguments.kv_heads = 3;
  EXPECT_THROW(Attend(problem.arguments, nullptr, {}, {.pool = &pool}), Error);
}

/// A bf16 dot product does twice the work of a multiply-add in as many lanes.
TEST(ExecutorProperty, PeakIsMeasured) {
  ThreadPool pool(1);
  for (const CpuIsa isa : AvailableCpuIsas()) {
    EXPECT_GT(MeasurePeakFlops(isa, DType::kF32, pool), 1e8);
    EXPECT_GT(MeasurePeakFlops(isa, DType::kBF16, pool), 1e8);
  }
}

}  // namespace
}  // namespace tamis::attention_testing
