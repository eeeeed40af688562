#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <string>

#include "attention/reference.h"
#include "attention/sequence_view.h"
#include "select/selector_inputs.h"
#include "tamis/error.h"

namespace tamis {
namespace {

using testing::ElementsAre;

std::unique_ptr<Selector> Streaming(double sink, double recent) {
  return MakeSelector("streaming", {{"sink_tokens", {sink}}, {"recent_tokens", {recent}}});
}

AttentionArguments Call(int32_t queries, int32_t keys) {
  AttentionArguments arguments;
  arguments.q_heads = 2;
  arguments.kv_heads = 1;
  arguments.head_dim = 8;
  arguments.query_tokens = queries;
  arguments.key_tokens = keys;
  return arguments;
}

TEST(Streaming, VisitsSinksAndWindow) {
  const TileIndexStorage index = Select(*Streaming(1, 129), Call(640, 640), 1);
  for (int32_t head = 0; head < 2; ++head) {
    EXPECT_THAT(BlocksOf(index, 0, head, 0), ElementsAre(0));
    EXPECT_THAT(BlocksOf(index, 0, head, 1), ElementsAre(0, 1));
    EXPECT_THAT(BlocksOf(index, 0, head, 2), ElementsAre(0, 1, 2));
    EXPECT_THAT(BlocksOf(index, 0, head, 3), ElementsAre(0, 2, 3));
    EXPECT_THAT(BlocksOf(index, 0, head, 4), ElementsAre(0, 3, 4));
  }
  // One token more reaches one block further; no sinks, no block 0.
  EXPECT_THAT(BlocksOf(Select(*Streaming(0, 130), Call(640, 640), 1), 0, 0, 4),
              ElementsAre(2, 3, 4));
  EXPECT_THAT(BlocksOf(Select(*Streaming(0, 1), Call(640, 640), 1), 0, 0, 4), ElementsAre(4));
}

TEST(Streaming, SinksReachOnlyVisibleKeys) {
  const TileIndexStorage index = Select(*Streaming(1 << 30, 1), Call(300, 300), 1);
  EXPECT_THAT(BlocksOf(index, 0, 0, 0), ElementsAre(0));
  EXPECT_THAT(BlocksOf(index, 0, 0, 2), ElementsAre(0, 1, 2));
}

TEST(Streaming, DecodesAfterALongContext) {
  EXPECT_THAT(BlocksOf(Select(*Streaming(4, 256), Call(1, 1000), 1), 0, 0, 0),
              ElementsAre(0, 5, 6, 7));
}

/// Every tile, straight from the definition.
void CheckAgainstDefinition(const AttentionArguments& arguments, int64_t sink, int64_t recent) {
  const TileIndexStorage index = Select(*Streaming(double(sink), double(recent)), arguments, 1);
  for (int32_t b = 0; b < arguments.batch; ++b) {
    const SequenceView sequence(arguments, b);
    for (int32_t t = 0; t < index.shape().query_blocks(); ++t) {
      for (int32_t j = 0; j < index.shape().key_blocks(); ++j) {
        bool wanted = false;
        for (int32_t q = t * 128; q < std::min((t + 1) * 128, sequence.queries()); ++q) {
          for (int32_t k = j * 128; k < std::min((j + 1) * 128, sequence.keys()); ++k) {
            const int64_t distance = sequence.QueryPosition(q) - sequence.KeyPosition(k);
            wanted = wanted || (MaskAllows(arguments, b, 0, q, k) &&
                                (sequence.KeyPosition(k) < sink || std::abs(distance) < recent));
          }
        }
        EXPECT_EQ(index.HasBlock(index.shape().Row(b, 1, t), j), wanted)
            << "sequence " << b << " tile " << t << ", " << j;
      }
    }
  }
}

TEST(Streaming, EqualsDefinitionOnRandomCalls) {
  std::mt19937 random(5);
  const auto draw = [&](int32_t low, int32_t high) {
    return std::uniform_int_distribution<int32_t>(low, high)(random);
  };
  for (int trial = 0; trial < 40; ++trial) {
    SCOPED_TRACE(trial);
    AttentionArguments arguments = Call(draw(1, 300), draw(1, 500));
    arguments.batch = 2;
    arguments.mask.causality = static_cast<Causality>(trial % 3);
    arguments.mask.causal_block = draw(1, 40);
    const int32_t lengths[] = {arguments.key_tokens, draw(0, arguments.key_tokens)};
    arguments.key_lengths = lengths;
    const int32_t starts[] = {draw(-50, 600), draw(-50, 600)};
    if (draw(0, 1) != 0) arguments.query_starts = starts;
    std::vector<int32_t> positions;  // of a pruned cache
    if (draw(0, 1) != 0) {
      for (int32_t b = 0; b < 2; ++b) {
        for (int32_t k = 0, p = 0; k < arguments.key_tokens; ++k) {
          positions.push_back(p += draw(1, 3));
        }
      }
      arguments.key_positions = positions.data();
    }
    CheckAgainstDefinition(arguments, draw(0, 200), draw(1, 200));
  }
}

TEST(Streaming, RefusesABufferOfAnotherShape) {
  const std::unique_ptr<Selector> selector = Streaming(1, 1);
  ThreadPool pool(1);
  TileIndexStorage small(selector->Shape(Call(128, 128)));
  const auto select = [&](const ExecutionContext& context) {
    selector->Select(Call(300, 300), {small.shape(), small.bitmap(), small.counts()}, nullptr,
                     context);
  };
  EXPECT_THROW(select({.pool = &pool}), Error);
  EXPECT_THROW(select({.device = Device::kCuda, .pool = &pool}), Error);
  EXPECT_THROW(select({}), Error);
}

}  // namespace
}  // namespace tamis
