// Every refusal of shapes, layouts and contents, by its message.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "attention/problem.h"
#include "tamis/attention.h"
#include "tamis/error.h"

namespace tamis {
namespace {

using attention_testing::Layout;
using attention_testing::Problem;
using attention_testing::ProblemOptions;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// One change that spoils a valid call, and words of the message it must give.
struct Spoiler {
  std::function<void(AttentionArguments&)> spoil;
  std::string message;
};

void ExpectRefusals(const ProblemOptions& options, const std::vector<Spoiler>& spoilers) {
  const Problem problem(options);
  ValidateAttention(problem.arguments, nullptr, {});
  for (const Spoiler& spoiler : spoilers) {
    SCOPED_TRACE(spoiler.message);
    AttentionArguments arguments = problem.arguments;
    spoiler.spoil(arguments);
    EXPECT_THAT([&] { ValidateAttention(arguments, nullptr, {}); },
                ThrowsMessage<Error>(HasSubstr(spoiler.message)));
  }
}

using A = AttentionArguments;

TEST(Validate, Shapes) {
  ExpectRefusals(
      {}, {
              {[](A& a) { a.batch = 0; }, "batch is 0; use 1 or more"},
              {[](A& a) { a.q_heads = 0; }, "q_heads is 0"},
              {[](A& a) { a.kv_heads = -1; }, "kv_heads is -1"},
              {[](A& a) { a.kv_heads = 3; }, "q_heads 4 is not a multiple of kv_heads 3"},
              {[](A& a) { a.head_dim = 60; }, "head_dim is 60; use a multiple of 8 from 8 to 256"},
              {[](A& a) { a.head_dim = 0; }, "head_dim is 0"},
              {[](A& a) { a.head_dim = 264; }, "head_dim is 264"},
              {[](A& a) { a.value_head_dim = 4; }, "value_head_dim is 4"},
              {[](A& a) { a.value_head_dim = -8; }, "value_head_dim is -8"},
              {[](A& a) { a.dtype = static_cast<DType>(3); }, "dtype 3 is unknown"},
              {[](A& a) { a.kv_dtype = static_cast<DType>(9); }, "kv_dtype 9 is unknown"},
              {[](A& a) { a.query_tokens = -1; }, "query_tokens is -1"},
              {[](A& a) { a.key_tokens = (1 << 30) + 1; }, "key_tokens is 1073741825"},
          });
}

TEST(Validate, Numbers) {
  static const float nan_logits[] = {0, kNan, 0, 0}, inf_logits[] = {0, 0, 0, kInfinity};
  static const Phase phases[] = {static_cast<Phase>(7)};
  ExpectRefusals(
      {}, {
              {[](A& a) { a.softmax_scale = -1; }, "softmax_scale is -1"},
              {[](A& a) { a.softmax_scale = kNan; }, "softmax_scale is nan"},
              {[](A& a) { a.softmax_scale = kInfinity; }, "softmax_scale is inf"},
              {[](A& a) { a.softcap = -5; }, "softcap is -5"},
              {[](A& a) { a.softcap = kInfinity; }, "softcap is inf"},
              {[](A& a) { a.mask.causality = static_cast<Causality>(3); }, "causality 3"},
              {[](A& a) { a.mask.causal_block = 0; }, "causal_block is 0"},
              {[](A& a) { a.mask.window_left = -2; }, "window (-2, -1) is negative"},
              {[](A& a) { a.mask.window_right = -7; }, "window (-1, -7) is negative"},
              {[](A& a) { a.mask.sink_tokens = -1; }, "mask.sink_tokens is -1"},
              {[](A& a) { a.mask.keep_head_stride = -4; }, "strides (0, -4, 0) of the keep mask"},
              {[](A& a) { a.bias.query_stride = -1; }, "strides (0, 0, -1) of the bias"},
              {[](A& a) { a.sink_logits = nan_logits; }, "sink_logits[1] is nan"},
              {[](A& a) { a.sink_logits = inf_logits; }, "sink_logits[3] is inf"},
              {[](A& a) { a.phase = static_cast<Phase>(2); }, "phase 2 is unknown"},
              {[](A& a) { a.phases = phases; }, "phases[0] is 7"},
          });
}

TEST(Validate, Sequences) {
  static const int32_t negative_offsets[] = {-1, 5, 10}, falling[] = {0, 9, 4};
  static const int32_t too_long[] = {0, 129, 130}, wrapping[] = {0, 1 << 30, -(1 << 30)};
  static const int32_t lengths[] = {64, 129}, negative_length[] = {-1, 4};
  static const int32_t starts[] = {0, std::numeric_limits<int32_t>::max() - 126};
  ExpectRefusals(
      {.batch = 2},
      {
          {[](A& a) { a.query_offsets = negative_offsets; }, "query_offsets[0] is -1"},
          {[](A& a) { a.query_offsets = falling; }, "query_offsets[2] is 4 after 9"},
          {[](A& a) { a.query_offsets = too_long; },
           "query_offsets gives sequence 0 129 rows; query_tokens is 128"},
          {[](A& a) { a.key_offsets = falling; }, "key_offsets[2] is 4 after 9"},
          {[](A& a) { a.key_offsets = wrapping; }, "key_offsets gives sequence 0 1073741824 rows"},
          {[](A& a) { a.key_lengths = lengths; },
           "key_lengths[1] is 129; lengths lie in [0, key_tokens = 128]"},
          {[](A& a) { a.key_lengths = negative_length; }, "key_lengths[0] is -1"},
          {[](A& a) { a.query_starts = starts; }, "query_starts[1] is 2147483521"},
      });
  static const int32_t some[] = {3, 3};
  ExpectRefusals(
      {.batch = 2, .key_lengths = {50, 60}, .packed_keys = true},
      {
          {[](A& a) { a.key_lengths = some; }, "both key_offsets and key_lengths"},
          {[](A& a) { a.paged.page_size = 16; }, "both key_offsets and a page size of 16"},
      });
}

TEST(Validate, KeyPositions) {
  Problem problem({.batch = 2, .key_lengths = {128, 20}, .key_positions = true});
  ValidateAttention(problem.arguments, nullptr, {});
  std::vector<int32_t> positions(problem.arguments.key_positions,
                                 problem.arguments.key_positions + 256);
  problem.arguments.key_positions = positions.data();
  const auto message = [&] {
    try {
      ValidateAttention(problem.arguments, nullptr, {});
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(message(), "");
  positions[128 + 20] = -5;  // past the valid keys: never read
  EXPECT_EQ(message(), "");
  const int32_t before = positions[128 + 19];
  positions[128 + 19] = positions[128 + 18];
  EXPECT_THAT(message(), HasSubstr("key 19 of sequence 1 has position"));
  EXPECT_THAT(message(), HasSubstr("positions must ascend"));
  positions[128 + 19] = before;
  positions[0] = -1;
  EXPECT_THAT(message(), HasSubstr("key 0 of sequence 0 has position -1; positions start at 0"));
}

TEST(Validate, Pages) {
  // Sequence 0 fills 8 pages of 16, sequence 1 three.
  Problem problem({.batch = 2, .key_lengths = {128, 33}, .page_size = 16});
  std::vector<int32_t> table(problem.arguments.paged.page_table,
                             problem.arguments.paged.page_table + 18);
  problem.arguments.paged.page_table = table.data();
  ValidateAttention(problem.arguments, nullptr, {});
  const auto expect = [&](const std::string& words) {
    EXPECT_THAT([&] { ValidateAttention(problem.arguments, nullptr, {}); },
                ThrowsMessage<Error>(HasSubstr(words)));
  };
  const PagedKv good = problem.arguments.paged;
  const int32_t page = table[9 + 2];
  table[9 + 2] = 18;
  expect("page table entry 2 of sequence 1 is 18; pages lie in [0, 18)");
  table[9 + 2] = -1;
  expect("entry 2 of sequence 1 is -1");
  table[9 + 2] = page;
  PagedKv& paged = problem.arguments.paged;
  paged.page_size = -1;
  expect("page_size is -1");
  paged = good;
  paged.page_size = 0;
  expect("a page table is set but page_size is 0");
  paged = good;
  paged.page_count = 0;
  expect("page_count is 0");
  paged = good;
  paged.page_table = nullptr;
  expect("page_table is null");
  paged = good;
  paged.table_stride = -1;
  expect("table_stride is -1");
  paged = good;
  paged.table_stride = 7;
  expect("sequence 0 needs 8 pages for 128 keys; table_stride is 7");
  paged = good;
  paged.k.data = nullptr;
  expect("paged.k is null");
  paged = good;
  paged.v.stride.row = 63;
  expect("row stride of paged.v is 63");
}

TEST(Validate, TensorsAndStrides) {
  ExpectRefusals(
      {.batch = 2, .value_head_dim = 32},
      {
          {[](A& a) { a.q.data = nullptr; }, "q is null"},
          {[](A& a) { a.k.data = nullptr; }, "k is null"},
          {[](A& a) { a.v.data = nullptr; }, "v is null"},
          {[](A& a) { a.o.data = nullptr; }, "o is null"},
          {[](A& a) { a.q.data = static_cast<const char*>(a.q.data) + 2; },
           "q is not aligned to its f32 elements"},
          {[](A& a) { a.o.data = static_cast<char*>(a.o.data) + 1; }, "o is not aligned"},
          {[](A& a) { a.q.stride.head = 32; },
           "head stride of q is 32 elements; use at least 64, or 0 to broadcast"},
          {[](A& a) { a.k.stride.row = -128; }, "row stride of k is -128"},
          {[](A& a) { a.v.stride.head = 31; }, "head stride of v is 31 elements; use at least 32"},
          {[](A& a) { a.k.stride.batch = int64_t{1} << 61; }, "strides of k span more"},
          {[](A& a) { a.o.stride.head = 0; }, "head stride of o is 0 elements; use at least 32"},
          {[](A& a) { a.o.stride.row = 100; }, "row stride of o is 100 elements, inside another"},
          {[](A& a) { a.o.stride.batch = 128; },
           "row stride of o is 128 elements, inside another of its rows; use at least"},
          {[](A& a) { a.lse_stride.row = 0; }, "row stride of lse is 0"},
          {[](A& a) { a.lse_stride.row = 3; }, "row stride of lse is 3 elements, inside another"},
      });
}

TEST(Validate, AcceptsWhatTheContractAllows) {
  const Problem problem({.batch = 2});
  const auto accept = [&](const std::function<void(A&)>& change) {
    A arguments = problem.arguments;
    change(arguments);
    EXPECT_NO_THROW(ValidateAttention(arguments, nullptr, {}));
  };
  accept([](A& a) { a.k.stride.batch = a.v.stride.batch = 0; });  // one prompt, shared
  accept([](A& a) { a.query_tokens = 0, a.q.data = nullptr, a.o.data = nullptr; });
  accept([](A& a) { a.key_tokens = 0, a.k.data = nullptr, a.v.data = nullptr; });
  accept([](A& a) { a.lse = nullptr; });
  accept([](A& a) { a.kv_heads = a.q_heads = 1; });
  accept([](A& a) {  // a single row needs no strides
    a.batch = a.q_heads = a.kv_heads = a.query_tokens = 1;
    a.q.stride = a.o.stride = a.lse_stride = {};
  });
  static const float off[] = {-kInfinity, 0, 0, 0};
  accept([](A& a) { a.sink_logits = off; });
  static const int32_t starts[] = {std::numeric_limits<int32_t>::max() - 127, -1000};
  accept([](A& a) { a.query_starts = starts; });
}

TEST(Validate, Rules) {
  const Problem problem({.batch = 2});
  const auto expect = [&](const TileRule& rule, const std::string& words) {
    EXPECT_THAT([&] { ValidateAttention(problem.arguments, nullptr, rule); },
                ThrowsMessage<Error>(HasSubstr(words)));
  };
  const auto accept = [&](const TileRule& rule) {
    EXPECT_NO_THROW(ValidateAttention(problem.arguments, nullptr, rule));
  };
  for (int m = 0; m <= 9; ++m) {
    for (int n = 1; n <= 9; ++n) {
      const TileRule rule{.n_of_m = {.n = n, .m = m}};
      const bool known = m == 2 || m == 4 || m == 8;
      if (known && n < m) {
        accept(rule);
      } else {
        expect(rule, known ? "drops nothing; use n from 1 to" : "use groups of 2, 4 or 8");
      }
    }
  }
  accept({.n_of_m = {.n = 0, .m = 3}});
  expect({.n_of_m = {.n = -1, .m = 4}}, "n = -1");
  expect({.n_of_m = {.n = 2, .m = 4, .sink_tokens = -1}}, "N:M keeps -1 sink and 0 recent");
  expect({.n_of_m = {.n = 2, .m = 4, .recent_tokens = -1}}, "N:M keeps 0 sink and -1 recent");

  const float fine[] = {0.0f, 5.0f}, negative[] = {0.5f, -0.1f}, nan[] = {kNan, 0.0f};
  const float infinite[] = {kInfinity, 0.0f};
  accept({.skip_softmax = {.lambda = fine}});
  accept({.skip_softmax = {.lambda = infinite}});
  expect({.skip_softmax = {.lambda = negative}}, "skip-softmax lambda[1] is -0.1");
  expect({.skip_softmax = {.lambda = nan}}, "skip-softmax lambda[0] is nan");
  const auto geometry = [&](const TileGeometry& geometry) {
    return TileRule{.skip_softmax = {.lambda = fine, .geometry = geometry}};
  };
  expect(geometry({.tile_rows = 0}), "tile_rows is 0");
  expect(geometry({.tile_columns = 0}), "tile_columns is 0");
  expect(geometry({.tile_columns = 60}), "tile_columns is 60; use a multiple of 8");
  expect(geometry({.vote = static_cast<SkipVote>(2)}), "vote 2 is unknown");
  expect(geometry({.splits = 0}), "splits is 0");
  accept(geometry({.tile_rows = 1, .tile_columns = 8, .vote = SkipVote::kGqaGroup, .splits = 8}));
}

TEST(Device, NamesRoundTrip) {
  EXPECT_EQ(ParseDevice(Name(Device::kCpu)), Device::kCpu);
  EXPECT_EQ(ParseDevice("cuda"), Device::kCuda);
  EXPECT_THAT([] { ParseDevice("gpu"); },
              ThrowsMessage<Error>(HasSubstr("unknown device 'gpu'; use cpu or cuda")));
}

TEST(AttentionCounts, SumAndShares) {
  AttentionCounts counts{100, 50, 25, 8, 2, 1};
  counts += {100, 0, 0, 0, 0, 1};
  EXPECT_EQ(counts, (AttentionCounts{200, 50, 25, 8, 2, 2}));
  EXPECT_EQ(counts.density(), 0.25);
  EXPECT_EQ(counts.skipped_share(), 0.25);
  EXPECT_EQ(AttentionCounts{}.density(), 1.0);
  EXPECT_EQ(AttentionCounts{}.skipped_share(), 0.0);
}

}  // namespace
}  // namespace tamis
