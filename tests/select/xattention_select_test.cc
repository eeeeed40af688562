// XAttention's selection: invariants, exact sets, refusals.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "attention/sequence_view.h"
#include "select/selector_inputs.h"
#include "select/xattention.h"
#include "select/xattention_reference.h"
#include "tamis/error.h"

namespace tamis {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const RowValues kQ = StructuredQueries(11);
const RowValues kK = StructuredKeys(12);

std::unique_ptr<Selector> XAttention(double stride, std::vector<double> threshold,
                                     bool keep_sink = true, bool keep_recent = false) {
  return MakeSelector("xattention", {{"stride", {stride}},
                                     {"threshold", std::move(threshold)},
                                     {"keep_sink", {keep_sink ? 1.0 : 0.0}},
                                     {"keep_recent", {keep_recent ? 1.0 : 0.0}}});
}

std::vector<int32_t> Take(const std::vector<float>& mass, double threshold, bool keep_sink,
                          int32_t recent_begin, int32_t recent_end) {
  std::vector<uint64_t> scratch(mass.size());
  std::vector<uint32_t> bits((mass.size() + 31) / 32, 0u);
  TakeXAttentionBlocks(mass, threshold, keep_sink, recent_begin, recent_end, scratch.data(),
                       bits.data());
  std::vector<int32_t> blocks;
  for (size_t j = 0; j < mass.size(); ++j) {
    if (bits[j / 32] >> (j % 32) & 1u) blocks.push_back(static_cast<int32_t>(j));
  }
  return blocks;
}

TEST(XAttentionTake, SmallestPrefixOfDescendingMass) {
  const std::vector<float> mass = {0.0f, 4.0f, 1.0f, 8.0f, 2.0f, 1.0f};
  EXPECT_THAT(Take(mass, 0.0, false, 0, 0), ElementsAre());
  EXPECT_THAT(Take(mass, 0.5, false, 0, 0), ElementsAre(3));  // 8 of 16 is enough
  EXPECT_THAT(Take(mass, 0.51, false, 0, 0), ElementsAre(1, 3));
  EXPECT_THAT(Take(mass, 0.75, false, 0, 0), ElementsAre(1, 3));
  EXPECT_THAT(Take(mass, 0.8, false, 0, 0), ElementsAre(1, 3, 4));
  EXPECT_THAT(Take(mass, 1.0, false, 0, 0), ElementsAre(1, 2, 3, 4, 5));  // 0 has no mass
}

TEST(XAttentionTake, ForcedBlocksCountTowardsTheThreshold) {
  const std::vector<float> mass = {1.0f, 4.0f, 1.0f, 8.0f, 2.0f, 0.0f};
  EXPECT_THAT(Take(mass, 0.0, true, 4, 6), ElementsAre(0, 4, 5));
  EXPECT_THAT(Take(mass, 0.18, true, 4, 6), ElementsAre(0, 4, 5));  // 3 of 16
  EXPECT_THAT(Take(mass, 0.19, true, 4, 6), ElementsAre(0, 3, 4, 5));
  EXPECT_THAT(Take(mass, 0.70, true, 4, 6), ElementsAre(0, 1, 3, 4, 5));
  EXPECT_THAT(Take({0.0f, 1.0f}, 0.0, true, 0, 0), ElementsAre(0));
}

TEST(XAttentionTake, EqualMassesByAscendingBlock) {
  EXPECT_THAT(Take(std::vector<float>(40, 1.0f), 0.1, false, 0, 0), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(Take({1.0f, 2.0f, 1.0f, 2.0f, 1.0f}, 0.7, false, 0, 0), ElementsAre(0, 1, 3));
}

TEST(XAttentionTake, MassesThatAreNotFiniteTakeAll) {
  for (float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    EXPECT_THAT(Take({1.0f, bad, 0.0f}, 0.1, false, 0, 0), ElementsAre(0, 1, 2));
  }
}

/// Checks every row of a selection against the masses in fp64, allowing for rounding of masses by
/// `relative`. Returns how many rows differ from the reference's choice.
int32_t CheckInvariants(const AttentionArguments& arguments, const XAttentionParameters& parameters,
                        const TileIndexStorage& index, double relative) {
  int32_t different = 0;
  for (int32_t b = 0; b < arguments.batch; ++b) {
    const SequenceView sequence(arguments, b);
    for (int32_t h = 0; h < arguments.q_heads; ++h) {
      const double threshold = parameters.threshold[parameters.threshold.size() == 1 ? 0 : h];
      for (int32_t t = 0; t < index.shape().query_blocks(); ++t) {
        SCOPED_TRACE(testing::Message() << "sequence " << b << " head " << h << " row " << t);
        const std::vector<int32_t> taken = BlocksOf(index, b, h, t);
        if (t * 128 >= sequence.queries()) {
          EXPECT_THAT(taken, ElementsAre());
          continue;
        }
        const auto mass = XAttentionReferenceMass(arguments, parameters.stride, b, h, t);
        const auto forced = XAttentionForcedBlocks(arguments, parameters, b, t);
        const auto wanted = XAttentionReferenceBlocks(arguments, parameters, b, h, t, mass);
        const auto is_taken = [&](size_t j) {
          return std::ranges::binary_search(taken, static_cast<int32_t>(j));
        };
        double total = 0.0, kept = 0.0, best_left = 0.0;
        double least_taken = std::numeric_limits<double>::infinity();
        bool same = true;
        for (size_t j = 0; j < mass.size(); ++j) {
          total += mass[j];
          same = same && is_taken(j) == wanted[j];
          if (is_taken(j)) {
            kept += mass[j];
            EXPECT_TRUE(forced[j] || mass[j] > 0.0) << "block " << j << " has no allowed pair";
            if (!forced[j]) least_taken = std::min(least_taken, mass[j]);
          } else {
            EXPECT_FALSE(forced[j]) << "block " << j;
            best_left = std::max(best_left, mass[j]);
          }
        }
        different += same ? 0 : 1;
        const double slack = relative * total;
        EXPECT_GE(kept, threshold * total - slack);
        if (std::isfinite(least_taken) && threshold < 1.0) {
          EXPECT_LT(kept - least_taken, threshold * total + slack);
          EXPECT_GE(least_taken, best_left * (1.0 - relative));
        }
        for (int32_t j : taken) EXPECT_LT(j, static_cast<int32_t>(mass.size()));
      }
    }
  }
  return different;
}

TEST(XAttentionSelect, KeepsTheSmallestSetThatHoldsTheThreshold) {
  int32_t rows = 0, different = 0;
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    const SelectorInputs inputs({.queries = {700, 700},
                                 .keys = {900, 701},
                                 .q_heads = 2,
                                 .head_dim = 16,
                                 .dtype = dtype,
                                 .kv_dtype = dtype},
                                kQ, kK);
    for (double threshold : {0.0, 0.3, 0.8, 0.95, 1.0}) {
      XAttentionParameters parameters{.stride = 16, .threshold = {threshold}};
      for (CpuIsa isa : AvailableCpuIsas()) {
        SCOPED_TRACE(testing::Message()
                     << Name(dtype) << " threshold " << threshold << " " << Name(isa));
        const TileIndexStorage index =
            Select(*XAttention(16, {threshold}), inputs.arguments, 2, isa);
        different += CheckInvariants(inputs.arguments, parameters, index, 1e-4);
        rows += static_cast<int32_t>(index.shape().rows());
      }
    }
  }
  RecordProperty("rows", rows);
  RecordProperty("rows_that_differ_from_fp64", different);
  EXPECT_LE(different, rows / 100);
}

TEST(XAttentionSelect, ThresholdsPerHeadAndOptions) {
  const SelectorInputs inputs({.queries = {400}, .keys = {555}, .q_heads = 4, .head_dim = 8}, kQ,
                              kK);
  AttentionArguments arguments = inputs.arguments;
  const std::vector<double> thresholds = {0.0, 0.4, 0.9, 1.0};
  for (Causality causality :
       {Causality::kCausal, Causality::kBlockCausal, Causality::kBidirectional}) {
    arguments.mask.causality = causality;
    arguments.mask.causal_block = 32;
    for (bool sink : {false, true}) {
      for (bool recent : {false, true}) {
        const XAttentionParameters parameters{8, thresholds, sink, recent};
        const TileIndexStorage index =
            Select(*XAttention(8, thresholds, sink, recent), arguments, 2);
        EXPECT_EQ(CheckInvariants(arguments, parameters, index, 1e-4), 0);
      }
    }
  }
}

TEST(XAttentionSelect, ThresholdZeroTakesOnlyForcedBlocks) {
  const SelectorInputs inputs({.queries = {300}, .keys = {1000}, .head_dim = 8}, kQ, kK);
  AttentionArguments arguments = inputs.arguments;
  // Queries at 700 .. 999: the first row of tiles is 700 .. 827, in key blocks 5 and 6.
  TileIndexStorage index = Select(*XAttention(16, {0.0}), arguments, 1);
  EXPECT_THAT(BlocksOf(index, 0, 0, 0), ElementsAre(0, 5, 6));
  EXPECT_THAT(BlocksOf(index, 0, 0, 1), ElementsAre(0, 6, 7));
  EXPECT_THAT(BlocksOf(index, 0, 0, 2), ElementsAre(0, 7));
  EXPECT_THAT(BlocksOf(Select(*XAttention(16, {0.0}, false), arguments, 1), 0, 1, 2),
              ElementsAre(7));
  // Aligned to the block, one forced block a row.
  const int32_t start = 640;
  arguments.query_starts = &start;
  EXPECT_THAT(BlocksOf(Select(*XAttention(16, {0.0}), arguments, 1), 0, 0, 0), ElementsAre(0, 5));
  // Past all keys there is no diagonal; before all keys, nothing.
  const int32_t past = 5000;
  arguments.query_starts = &past;
  EXPECT_THAT(BlocksOf(Select(*XAttention(16, {0.0}), arguments, 1), 0, 0, 0), ElementsAre(0));
  const int32_t before = -200;
  arguments.query_starts = &before;
  index = Select(*XAttention(16, {1.0}), arguments, 1);
  EXPECT_THAT(BlocksOf(index, 0, 0, 0), ElementsAre());   // positions -200 .. -73
  EXPECT_THAT(BlocksOf(index, 0, 0, 1), ElementsAre(0));  // -72 .. 55
  EXPECT_THAT(BlocksOf(index, 0, 0, 2), ElementsAre(0));  // 56 .. 99
  arguments.query_starts = nullptr;
  arguments.mask.causality = Causality::kBidirectional;
  EXPECT_THAT(BlocksOf(Select(*XAttention(16, {0.0}), arguments, 1), 0, 0, 0), ElementsAre(0));
}

TEST(XAttentionSelect, ThresholdOneIsCausalDense) {
  const SelectorInputs inputs({.queries = {600}, .keys = {600}, .head_dim = 8}, kQ, kK);
  const TileIndexStorage index = Select(*XAttention(8, {1.0}), inputs.arguments, 2);
  for (int32_t t = 0; t < 5; ++t) {
    std::vector<int32_t> all;
    for (int32_t j = 0; j <= t; ++j) all.push_back(j);
    EXPECT_EQ(BlocksOf(index, 0, 1, t), all);
  }
}

TEST(XAttentionSelect, FindsTheBlocksThatHoldTheMass) {
  // Queries look for direction 0 with head 0 and direction 1 with head 1. Blocks 2 and 4 answer.
  const RowValues q = [](int32_t, int32_t, int32_t head, int32_t c) {
    return c == head ? 30.0f : 0.0f;
  };
  const RowValues k = [](int32_t, int32_t row, int32_t, int32_t c) {
    return (c == 0 && row / 128 == 2) || (c == 1 && row / 128 == 4) ? 10.0f : 0.0f;
  };
  for (double stride : {4, 8, 16, 32, 64}) {
    const SelectorInputs inputs({.queries = {1024}, .keys = {1024}}, q, k);
    const TileIndexStorage index = Select(*XAttention(stride, {0.95}), inputs.arguments, 1);
    EXPECT_THAT(BlocksOf(index, 0, 0, 7), ElementsAre(0, 2, 7));
    EXPECT_THAT(BlocksOf(index, 0, 1, 7), ElementsAre(0, 4, 7));
    EXPECT_THAT(BlocksOf(index, 0, 0, 2), ElementsAre(0, 2));
    EXPECT_THAT(BlocksOf(index, 0, 1, 4), ElementsAre(0, 4));
  }
}

TEST(XAttentionSelect, TakesEqualBlocksInAscendingOrder) {
  const RowValues zero = [](int32_t, int32_t, int32_t, int32_t) { return 0.0f; };
  const SelectorInputs inputs({.queries = {128}, .keys = {1280}}, zero, zero);
  // Full blocks weigh alike, the half-visible diagonal block (9) about half of that: of 9.5,
  // 0.5 needs 4.75, so 0 and 9 are joined by 1, 2, 3 and 4.
  for (CpuIsa isa : AvailableCpuIsas()) {
    EXPECT_THAT(BlocksOf(Select(*XAttention(8, {0.5}), inputs.arguments, 1, isa), 0, 0, 0),
                ElementsAre(0, 1, 2, 3, 4, 9));
  }
}

TEST(XAttentionSelect, SameSetsForAnyLayoutBatchThreadsAndMaxima) {
  const InputShape shape{.queries = {300, 300, 300},
                         .keys = {556, 300, 431},
                         .q_heads = 4,
                         .kv_heads = 2,
                         .head_dim = 16};
  const auto selector = XAttention(8, {0.6, 0.7, 0.8, 0.9});
  const SelectorInputs uniform(shape, kQ, kK);
  const TileIndexStorage wanted = Select(*selector, uniform.arguments, 1);
  const auto expect_same = [&](const TileIndexStorage& index) {
    for (int32_t b = 0; b < 3; ++b) {
      for (int32_t h = 0; h < 4; ++h) {
        for (int32_t t = 0; t < 3; ++t) {
          EXPECT_EQ(BlocksOf(index, b, h, t), BlocksOf(wanted, b, h, t));
        }
      }
    }
  };
  expect_same(Select(*selector, uniform.arguments, 3));
  for (Rows rows : {Rows::kHeadMajor, Rows::kRagged, Rows::kPaged}) {
    InputShape other = shape;
    other.rows = rows;
    expect_same(Select(*selector, SelectorInputs(other, kQ, kK).arguments, 2));
  }
  AttentionArguments maxima = uniform.arguments;
  maxima.batch = 5;
  maxima.query_tokens = 1000;
  maxima.key_tokens = 9000;
  const TileIndexStorage larger = Select(*selector, uniform.arguments, 2, DetectCpuIsa(), &maxima);
  expect_same(larger);
  for (int32_t b = 0; b < 5; ++b) {
    for (int32_t t = 0; t < 8; ++t) {
      if (b < 3 && t < 3) continue;
      EXPECT_THAT(BlocksOf(larger, b, 0, t), ElementsAre());
    }
  }
}

TEST(XAttentionSelect, ManyPairsNeedSeveralRoundsOfPackedKeys) {
  // 40 sequences of 1 MiB of packed keys each: more than is packed at a time.
  InputShape shape{.queries = std::vector<int32_t>(40, 128),
                   .keys = std::vector<int32_t>(40, 1024),
                   .q_heads = 1,
                   .head_dim = 256};
  const RowValues q = [](int32_t, int32_t, int32_t, int32_t c) { return c == 0 ? 30.0f : 0.0f; };
  const RowValues k = [](int32_t b, int32_t row, int32_t, int32_t c) {
    return c == 0 && row / 128 == 1 + b % 6 ? 20.0f : 0.0f;
  };
  const SelectorInputs inputs(shape, q, k);
  const TileIndexStorage index = Select(*XAttention(32, {0.9}), inputs.arguments, 2);
  for (int32_t b = 0; b < 40; ++b) {
    EXPECT_THAT(BlocksOf(index, b, 0, 0), ElementsAre(0, 1 + b % 6, 7)) << b;
  }
}

TEST(XAttentionSelect, KeysThatAreNotFiniteOpenTheRowsThatSeeThem) {
  const InputShape shape{.queries = {512}, .keys = {512}, .q_heads = 1};
  const RowValues q = [](int32_t b, int32_t row, int32_t head, int32_t c) {
    return c == 3 ? 1.0f : kQ(b, row, head, c);  // one sign: -inf in K gives logits of -inf
  };
  const SelectorInputs clean(shape, q, kK);
  const float infinity = std::numeric_limits<float>::infinity();
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), infinity, -infinity}) {
    const SelectorInputs dirty(shape, q, [bad](int32_t b, int32_t row, int32_t head, int32_t c) {
      return row == 300 && c == 3 ? bad : kK(b, row, head, c);
    });
    for (CpuIsa isa : AvailableCpuIsas()) {
      SCOPED_TRACE(testing::Message() << bad << " on " << Name(isa));
      const TileIndexStorage wanted = Select(*XAttention(8, {0.1}), clean.arguments, 1, isa);
      const TileIndexStorage index = Select(*XAttention(8, {0.1}), dirty.arguments, 1, isa);
      for (int32_t t : {0, 1}) EXPECT_EQ(BlocksOf(index, 0, 0, t), BlocksOf(wanted, 0, 0, t));
      EXPECT_THAT(BlocksOf(index, 0, 0, 2), ElementsAre(0, 1, 2));
      EXPECT_THAT(BlocksOf(index, 0, 0, 3), ElementsAre(0, 1, 2, 3));
    }
  }
}

TEST(XAttentionSelect, EmptyCalls) {
  for (const auto& [queries, keys] : {std::pair{0, 0}, {0, 100}, {100, 0}}) {
    const SelectorInputs inputs({.queries = {queries}, .keys = {keys}}, kQ, kK);
    const TileIndexStorage index = Select(*XAttention(8, {0.9}), inputs.arguments, 2);
    for (int32_t t = 0; t < index.shape().query_blocks(); ++t) {
      EXPECT_THAT(BlocksOf(index, 0, 1, t), ElementsAre());
    }
  }
}

TEST(XAttentionSelect, RefusesWhatItDoesNotCover) {
  const SelectorInputs inputs({.queries = {128}, .keys = {128}}, kQ, kK);
  const auto error_of = [&](const std::function<void(AttentionArguments&)>& change) {
    AttentionArguments arguments = inputs.arguments;
    change(arguments);
    try {
      Select(*XAttention(8, {0.9}), arguments, 1);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  const int32_t positions[128] = {};
  const uint8_t keep[1] = {};
  const float value[1] = {};
  EXPECT_EQ(error_of([](AttentionArguments&) {}), "no error");
  EXPECT_THAT(error_of([&](AttentionArguments& a) { a.key_positions = positions; }),
              HasSubstr("key_positions"));
  EXPECT_THAT(error_of([](AttentionArguments& a) { a.mask.window_left = 64; }),
              HasSubstr("window_left 64"));
  EXPECT_THAT(error_of([](AttentionArguments& a) { a.mask.window_right = 0; }),
              HasSubstr("window_right 0"));
  EXPECT_THAT(error_of([&](AttentionArguments& a) { a.mask.keep = keep; }), HasSubstr("mask.keep"));
  EXPECT_THAT(error_of([&](AttentionArguments& a) { a.bias.data = value; }), HasSubstr("bias"));
  EXPECT_THAT(error_of([](AttentionArguments& a) { a.softcap = 50.0f; }), HasSubstr("softcap"));
  EXPECT_THAT(error_of([&](AttentionArguments& a) { a.sink_logits = value; }),
              HasSubstr("sink_logits"));
  EXPECT_THAT(error_of([](AttentionArguments& a) { a.head_dim = 12; }),
              HasSubstr("head_dim is 12"));
  EXPECT_THAT(error_of([](AttentionArguments& a) { a.kv_heads = 3; }), HasSubstr("2 query heads"));
  const int32_t lengths[] = {129};
  EXPECT_THAT(error_of([&](AttentionArguments& a) { a.key_lengths = lengths; }),
              HasSubstr("sequence 0 has 129 keys"));
  try {
    Select(*XAttention(8, {0.9, 0.8, 0.7}), inputs.arguments, 1);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("threshold has 3 values; give 1 or one for each of the 2"));
  }
  const CpuIsa best = DetectCpuIsa();
  if (best < CpuIsa::kAvx512Bf16) {
    EXPECT_THROW(Select(*XAttention(8, {0.9}), inputs.arguments, 1, CpuIsa::kAvx512Bf16), Error);
  }
}

}  // namespace
}  // namespace tamis
