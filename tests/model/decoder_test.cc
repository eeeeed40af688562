#include "model/decoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "model/checkpoint/test_model.h"
#include "model/count_allocations.h"
#include "model/naive_decoder.h"
#include "tamis/error.h"

namespace tamis {
namespace {

using testing::TestModel;

constexpr DType kDTypes[] = {DType::kF32, DType::kBF16};

/// A model in memory with everything a pass needs.
struct Running {
  Running(const TestModel& source, DType dtype, int threads = 2, CpuIsa isa = DetectCpuIsa())
      : bytes(GgufOf(source).Build()),
        pool(threads),
        model(testing::OpenGgufBytes(bytes), {.dtype = dtype, .pool = &pool}, isa),
        attention(Policy::Dense(), model.policy_target(),
                  ExecutionContext{.device = Device::kCpu, .pool = &pool, .isa = isa}) {}

  std::unique_ptr<KvCache> Cache(DType dtype, int32_t page_size = 0) {
    return model.NewCache({.capacity = 512, .dtype = dtype, .page_size = page_size});
  }

  /// Logits of the tokens after what the cache holds, read in chunks.
  std::vector<float> Read(KvCache& cache, std::span<const int32_t> tokens, size_t chunk = 1000) {
    std::vector<float> logits;
    for (size_t begin = 0; begin < tokens.size(); begin += chunk) {
      const SequenceStep step{tokens.subspan(begin, std::min(chunk, tokens.size() - begin)),
                              &cache};
      const std::vector<float> part = Run({&step, 1});
      logits.insert(logits.end(), part.begin(), part.end());
    }
    return logits;
  }

  std::vector<float> Run(std::span<const SequenceStep> steps) {
    size_t rows = 0;
    for (const SequenceStep& step : steps) rows += step.tokens.size();
    std::vector<float> hidden(rows * static_cast<size_t>(model.config().hidden));
    model.Forward(steps, attention, hidden.data());
    std::vector<float> logits(rows * static_cast<size_t>(model.config().vocab));
    model.Logits(hidden.data(), static_cast<int32_t>(rows), logits.data());
    return logits;
  }

  testing::Bytes bytes;
  ThreadPool pool;
  Decoder model;
  PolicyAttention attention;
};

std::vector<int32_t> Tokens(int32_t count, uint32_t seed, int32_t vocab = 64) {
  std::mt19937 random(seed);
  std::vector<int32_t> tokens(count);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % vocab);
  return tokens;
}

/// max |a - b| / max |b|
template <typename A, typename B>
double RelativeError(const std::vector<A>& a, const std::vector<B>& b) {
  double error = a.size() == b.size() ? 0.0 : INFINITY;
  double scale = 0.0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    error = std::max(error, std::abs(double{a[i]} - double{b[i]}));
    scale = std::max(scale, std::abs(double{b[i]}));
  }
  return error / scale;
}

/// What rounding may leave between two orders of the same sums: f32 arithmetic, or activations and
/// weights of 8 bits.
double Tolerance(DType dtype) { return dtype == DType::kF32 ? 2e-5 : 4e-2; }

class DecoderTest : public ::testing::TestWithParam<Architecture> {
 protected:
  TestModel Tiny(WeightType type = WeightType::kF32) const {
    return testing::RandomModel(testing::TinyConfig(GetParam()), type, 17);
  }
};

TEST_P(DecoderTest, MatchesDoublePrecision) {
  const std::vector<int32_t> tokens = Tokens(70, 1);
  for (const WeightType type :
       {WeightType::kF32, WeightType::kBF16, WeightType::kQ8_0, WeightType::kQ4_1}) {
    const TestModel source = Tiny(type);
    const std::vector<double> expected = testing::NaiveLogits(source, tokens);
    for (const DType dtype : kDTypes) {
      Running running(source, dtype);
      const auto cache = running.Cache(dtype);
      EXPECT_LT(RelativeError(running.Read(*cache, tokens), expected), Tolerance(dtype))
          << Name(type) << " in " << Name(dtype);
      EXPECT_EQ(cache->positions(), 70);
    }
  }
}

TEST_P(DecoderTest, EveryInstructionSetAgrees) {
  const std::vector<int32_t> tokens = Tokens(40, 2);
  const TestModel source = Tiny(WeightType::kQ4_1);
  const std::vector<double> expected = testing::NaiveLogits(source, tokens);
  for (const CpuIsa isa : AvailableCpuIsas()) {
    for (const DType dtype : kDTypes) {
      Running running(source, dtype, 1, isa);
      const auto cache = running.Cache(dtype);
      EXPECT_LT(RelativeError(running.Read(*cache, tokens), expected), Tolerance(dtype))
          << Name(isa) << " in " << Name(dtype);
    }
  }
}

TEST_P(DecoderTest, ChunksAndSingleTokensGiveWhatOneGoGives) {
  const std::vector<int32_t> tokens = Tokens(70, 3);
  for (const DType dtype : kDTypes) {
    Running running(Tiny(WeightType::kQ4_1), dtype);
    const auto whole = running.Cache(dtype);
    const std::vector<float> expected = running.Read(*whole, tokens);
    for (const size_t chunk : {1, 2, 3, 4, 5, 16, 33}) {
      const auto cache = running.Cache(dtype);
      EXPECT_LT(RelativeError(running.Read(*cache, tokens, chunk), expected), Tolerance(dtype))
          << "chunks of " << chunk << " in " << Name(dtype);
    }
  }
}

TEST_P(DecoderTest, CacheKindsAgreeBitForBit) {
  const std::vector<int32_t> tokens = Tokens(90, 4);
  for (const DType dtype : kDTypes) {
    Running running(Tiny(), dtype);
    for (const size_t chunk : {1, 40, 90}) {
      const auto contiguous = running.Cache(dtype);
      const std::vector<float> expected = running.Read(*contiguous, tokens, chunk);
      for (const int32_t page_size : {16, 128}) {
        const auto paged = running.Cache(dtype, page_size);
        EXPECT_EQ(running.Read(*paged, tokens, chunk), expected)
            << "pages of " << page_size << ", chunks of " << chunk << " in " << Name(dtype);
      }
    }
  }
}

TEST_P(DecoderTest, TruncationForgets) {
  const std::vector<int32_t> tokens = Tokens(50, 5);
  for (const int32_t page_size : {0, 16}) {
    Running running(Tiny(), DType::kF32);
    const auto cache = running.Cache(DType::kF32, page_size);
    const std::vector<float> expected = running.Read(*cache, tokens);
    cache->Truncate(20);
    running.Read(*cache, Tokens(25, 6));  // another continuation
    cache->Truncate(20);
    const std::vector<float> again = running.Read(*cache, std::span(tokens).subspan(20));
    const std::vector<float> tail(expected.begin() + 20 * running.model.config().vocab,
                                  expected.end());
    EXPECT_LT(RelativeError(again, tail), Tolerance(DType::kF32));
  }
}

TEST_P(DecoderTest, SequencesOfABatchDoNotMeet) {
  for (const DType dtype : kDTypes) {
    Running running(Tiny(), dtype);
    const std::vector<int32_t> a = Tokens(30, 7);
    const std::vector<int32_t> b = Tokens(41, 8);
    const auto alone_a = running.Cache(dtype);
    const auto alone_b = running.Cache(dtype);
    std::vector<float> expected = running.Read(*alone_a, a);
    const std::vector<float> other = running.Read(*alone_b, b);
    expected.insert(expected.end(), other.begin(), other.end());

    const auto cache_a = running.Cache(dtype);
    const auto cache_b = running.Cache(dtype, 16);
    const SequenceStep both[] = {{a, cache_a.get()}, {b, cache_b.get()}};
    EXPECT_LT(RelativeError(running.Run(both), expected), Tolerance(dtype));

    // One reads on while the other generates.
    const std::vector<int32_t> more = Tokens(9, 9);
    const std::vector<int32_t> one = {5};
    expected = running.Read(*alone_a, more);
    const std::vector<float> step = running.Read(*alone_b, one);
    expected.insert(expected.end(), step.begin(), step.end());
    const SequenceStep mixed[] = {{more, cache_a.get()}, {one, cache_b.get()}};
    EXPECT_LT(RelativeError(running.Run(mixed), expected), Tolerance(dtype));
    EXPECT_EQ(cache_b->positions(), 42);
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, DecoderTest,
                         ::testing::Values(Architecture::kLlama, Architecture::kQwen2,
                                           Architecture::kQwen3),
                         [](const auto& info) { return std::string(Name(info.param)); });

TestModel Llama() {
  return testing::RandomModel(testing::TinyConfig(Architecture::kLlama), WeightType::kF32, 17);
}

TEST(DecoderInputTest, RefusesWhatItCannotRun) {
  Running running(Llama(), DType::kF32);
  std::vector<float> hidden(64 * 64);
  const auto cache = running.Cache(DType::kF32);
  const auto forward = [&](std::vector<SequenceStep> steps) {
    running.model.Forward(steps, running.attention, hidden.data());
  };
  const std::vector<int32_t> good = {1, 2, 3};
  const std::vector<int32_t> none;
  const std::vector<int32_t> negative = {1, -1};
  const std::vector<int32_t> beyond = {64};
  EXPECT_THROW(forward({}), Error);
  EXPECT_THROW(forward({{none, cache.get()}}), Error);
  EXPECT_THROW(forward({{negative, cache.get()}}), Error);
  EXPECT_THROW(forward({{beyond, cache.get()}}), Error);
  EXPECT_THROW(forward({{good, nullptr}}), Error);
  EXPECT_THROW(forward({{good, cache.get()}, {good, cache.get()}}), Error);

  const auto other =
      NewDecoderCache({.layers = 3, .kv_heads = 2, .head_dim = 16}, {.capacity = 10});
  EXPECT_THROW(forward({{good, other.get()}}), Error);
  const auto narrow = NewDecoderCache({.layers = 2, .kv_heads = 2, .head_dim = 16},
                                      {.capacity = 10, .dtype = DType::kBF16});
  EXPECT_THROW(forward({{good, narrow.get()}}), Error);
  const auto small = running.model.NewCache({.capacity = 2});
  EXPECT_THROW(forward({{good, small.get()}}), Error);
  EXPECT_THROW(running.model.NewCache({.capacity = 8, .dtype = DType::kBF16}), Error);
  EXPECT_THROW(running.model.Logits(hidden.data(), 0, hidden.data()), Error);

  EXPECT_EQ(cache->positions(), 0);
  EXPECT_EQ(cache->rows(0), 0);
  forward({{good, cache.get()}});
  EXPECT_EQ(cache->positions(), 3);
}

TEST(DecoderInputTest, RefusesOptionsItDoesNotRunIn) {
  const testing::Bytes bytes = GgufOf(Llama()).Build();
  ThreadPool pool(1);
  EXPECT_THROW(Decoder(testing::OpenGgufBytes(bytes), {.dtype = DType::kF16, .pool = &pool},
                       CpuIsa::kPortable),
               Error);
  EXPECT_THROW(Decoder(testing::OpenGgufBytes(bytes), {.dtype = DType::kF32}, CpuIsa::kPortable),
               Error);
}

TEST(DecoderInputTest, AFailedPassLeavesTheCacheAsItWas) {
  Running running(Llama(), DType::kF32);
  const std::vector<int32_t> tokens = Tokens(20, 10);
  const auto cache = running.Cache(DType::kF32);
  running.Read(*cache, tokens);
  PolicyTarget foreign = running.model.policy_target();
  foreign.q_heads = 8;  // an attention made for another model fails inside the pass
  PolicyAttention wrong(Policy::Dense(), foreign,
                        ExecutionContext{.device = Device::kCpu, .pool = &running.pool});
  std::vector<float> hidden(20 * 64);
  const SequenceStep step{tokens, cache.get()};
  EXPECT_THROW(running.model.Forward({&step, 1}, wrong, hidden.data()), Error);
  EXPECT_EQ(cache->positions(), 20);
  EXPECT_EQ(cache->rows(0), 20);
}

TEST(DecoderStateTest, ScratchStaysOnceWarmAndTimesAddUp) {
  Running running(Llama(), DType::kF32);
  const auto cache = running.Cache(DType::kF32);
  running.Read(*cache, Tokens(100, 11));
  running.Read(*cache, Tokens(1, 12));
  const size_t warm = running.model.scratch_bytes();
  EXPECT_GT(warm, 0u);
  EXPECT_GT(running.model.times().attention, 0.0);
  EXPECT_GT(running.model.times().linear, 0.0);
  EXPECT_GT(running.model.times().other, 0.0);
  running.model.ResetTimes();
  EXPECT_EQ(running.model.times().linear, 0.0);
  for (int i = 0; i < 5; ++i) running.Read(*cache, Tokens(1 + 20 * (i % 2), 13));
  EXPECT_EQ(running.model.scratch_bytes(), warm);
  EXPECT_GT(running.model.weight_bytes(), 0u);
}

TEST(DecoderStateTest, GeneratingATokenAllocatesNothingOnceWarm) {
  for (const DType dtype : kDTypes) {
    Running running(Llama(), dtype);
    const auto cache = running.Cache(dtype);
    running.Read(*cache, Tokens(60, 15));
    std::vector<float> hidden(64), logits(64);
    const int32_t token = 3;
    const SequenceStep step{{&token, 1}, cache.get()};
    int64_t before = 0;
    for (int i = 0; i < 8; ++i) {
      if (i == 2) before = testing::Allocations();
      running.model.Forward({&step, 1}, running.attention, hidden.data());
      running.model.Logits(hidden.data(), 1, logits.data());
    }
    EXPECT_EQ(testing::Allocations(), before) << Name(dtype);
  }
}

TEST(DecoderStateTest, NamesAttentionModulesAsHuggingFaceDoes) {
  Running running(Llama(), DType::kF32);
  const PolicyTarget target = running.model.policy_target();
  ASSERT_EQ(target.modules.size(), 2u);
  EXPECT_EQ(target.modules[1], "model.layers.1.self_attn");
  EXPECT_EQ(target.q_heads, 4);
  EXPECT_EQ(target.kv_heads, 2);
}

TEST(DecoderStateTest, Llama3ScalingReachesTheHeads) {
  TestModel source = Llama();
  source.config.rope.frequency_factors = {1.0f, 1.0f, 1.5f, 2.0f, 4.0f, 8.0f, 8.0f, 8.0f};
  const std::vector<int32_t> tokens = Tokens(60, 14);
  Running running(source, DType::kF32);
  const auto cache = running.Cache(DType::kF32);
  const std::vector<float> logits = running.Read(*cache, tokens);
  EXPECT_LT(RelativeError(logits, testing::NaiveLogits(source, tokens)), Tolerance(DType::kF32));
  EXPECT_GT(RelativeError(logits, testing::NaiveLogits(Llama(), tokens)), 1e-3);
}

}  // namespace
}  // namespace tamis
