#include "model/kv_cache.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "tamis/error.h"

namespace tamis {
namespace {

constexpr CacheGeometry kGeometry = {.layers = 2, .kv_heads = 3, .head_dim = 16};
constexpr size_t kRow = 3 * 16;

/// One value of a described cache.
float At(const AttentionArguments& arguments, bool value, int32_t row, int32_t head, int32_t dim) {
  const PagedKv& paged = arguments.paged;
  const bool is_paged = paged.page_size > 0;
  const ConstTensor& tensor =
      is_paged ? (value ? paged.v : paged.k) : (value ? arguments.v : arguments.k);
  int64_t offset = head * tensor.stride.head + dim;
  if (is_paged) {
    const int32_t page = paged.page_table[row / paged.page_size];
    EXPECT_LT(page, paged.page_count);
    offset += page * tensor.stride.batch + row % paged.page_size * tensor.stride.row;
  } else {
    offset += row * tensor.stride.row;
  }
  if (arguments.kv_dtype == DType::kF32) return static_cast<const float*>(tensor.data)[offset];
  return ToFloat(static_cast<const BFloat16*>(tensor.data)[offset]);
}

/// What a key or value should be: distinct for every coordinate, exact in bf16.
float Expected(int32_t layer, bool value, int32_t position, int32_t head, int32_t dim) {
  const int32_t low = (position * 7 + head * 3 + dim + layer * 5) % 128;
  return static_cast<float>(value ? -low : low) + static_cast<float>(position % 2) * 128.0f;
}

void AppendTokens(KvCache& cache, int32_t layer, int32_t first, int32_t tokens) {
  std::vector<uint8_t> data[2];
  for (int value = 0; value < 2; ++value) {
    data[value].resize(tokens * kRow * SizeOf(cache.dtype()));
    for (int32_t i = 0; i < tokens; ++i) {
      for (int32_t head = 0; head < 3; ++head) {
        for (int32_t dim = 0; dim < 16; ++dim) {
          const float number = Expected(layer, value == 1, first + i, head, dim);
          const size_t at = i * kRow + head * 16 + dim;
          ConvertFromFloat(cache.dtype(), &number, data[value].data() + at * SizeOf(cache.dtype()),
                           1);
        }
      }
    }
  }
  cache.Append(layer, tokens, data[0].data(), data[1].data());
}

void Extend(KvCache& cache, int32_t tokens) {
  cache.Reserve(tokens);
  for (int32_t layer = 0; layer < kGeometry.layers; ++layer) {
    AppendTokens(cache, layer, cache.positions(), tokens);
  }
  cache.Advance(tokens);
}

void ExpectRows(const KvCache& cache, int32_t layer, const std::vector<int32_t>& positions) {
  AttentionArguments arguments;
  cache.Describe(layer, arguments);
  ASSERT_EQ(arguments.key_tokens, static_cast<int32_t>(positions.size()));
  ASSERT_EQ(cache.rows(layer), arguments.key_tokens);
  ASSERT_NE(arguments.query_starts, nullptr);
  EXPECT_EQ(arguments.query_starts[0], cache.positions());
  for (int32_t row = 0; row < arguments.key_tokens; ++row) {
    if (arguments.key_positions != nullptr) {
      EXPECT_EQ(arguments.key_positions[row], positions[row]);
    }
    for (int32_t head = 0; head < 3; ++head) {
      for (const int32_t dim : {0, 5, 15}) {
        for (const bool value : {false, true}) {
          ASSERT_EQ(At(arguments, value, row, head, dim),
                    Expected(layer, value, positions[row], head, dim))
              << "row " << row << ", head " << head;
        }
      }
    }
  }
}

std::vector<int32_t> UpTo(int32_t count) {
  std::vector<int32_t> positions(count);
  for (int32_t i = 0; i < count; ++i) positions[i] = i;
  return positions;
}

class KvCacheTest : public ::testing::TestWithParam<std::tuple<int32_t, DType>> {
 protected:
  std::unique_ptr<KvCache> New(int32_t capacity) {
    const auto [page_size, dtype] = GetParam();
    return NewDecoderCache(kGeometry,
                           {.capacity = capacity, .dtype = dtype, .page_size = page_size});
  }
};

TEST_P(KvCacheTest, HoldsWhatWasAppendedAcrossGrowth) {
  const auto cache = New(2000);
  EXPECT_EQ(cache->bytes(), 0u);
  int32_t held = 0;
  for (const int32_t tokens : {1, 5, 249, 1, 1, 700, 64, 979}) {
    Extend(*cache, tokens);
    held += tokens;
    EXPECT_EQ(cache->positions(), held);
    ExpectRows(*cache, 0, UpTo(held));
    ExpectRows(*cache, 1, UpTo(held));
  }
  EXPECT_EQ(held, 2000);
  EXPECT_THROW(cache->Reserve(1), Error);
}

TEST_P(KvCacheTest, MemoryFollowsUseNotCapacity) {
  const auto cache = New(1 << 27);
  Extend(*cache, 300);
  const size_t row = 2 * kGeometry.layers * kRow * SizeOf(cache->dtype());
  EXPECT_GE(cache->bytes(), 300 * row);
  EXPECT_LE(cache->bytes(), 700 * row);
}

TEST_P(KvCacheTest, TruncatesAndGoesOn) {
  const auto cache = New(100);
  Extend(*cache, 90);
  cache->Truncate(33);
  EXPECT_EQ(cache->positions(), 33);
  ExpectRows(*cache, 1, UpTo(33));
  Extend(*cache, 67);
  ExpectRows(*cache, 0, UpTo(100));
  EXPECT_THROW(cache->Truncate(101), Error);
  EXPECT_THROW(cache->Truncate(-1), Error);
  cache->Truncate(0);
  EXPECT_EQ(cache->rows(0), 0);
}

TEST_P(KvCacheTest, ForgetsRowsOfAPassThatFailed) {
  const auto cache = New(100);
  Extend(*cache, 10);
  cache->Reserve(5);
  AppendTokens(*cache, 0, 10, 5);
  EXPECT_EQ(cache->rows(0), 15);
  EXPECT_THROW(cache->Advance(5), Error);  // layer 1 has none of them
  cache->Truncate(10);
  EXPECT_EQ(cache->rows(0), 10);
  Extend(*cache, 3);
  ExpectRows(*cache, 0, UpTo(13));
}

TEST_P(KvCacheTest, RetainsWhatAKeepSetNames) {
  const auto cache = New(2000);
  Extend(*cache, 1500);
  const size_t before = cache->bytes();
  std::vector<int32_t> kept = {0, 1, 2, 3, 700};
  for (int32_t i = 1480; i < 1500; ++i) kept.push_back(i);
  cache->Retain(0, KeepSet(1500, {kept, kept, kept}));
  EXPECT_LT(cache->bytes(), before * 6 / 10);
  ExpectRows(*cache, 0, kept);
  ExpectRows(*cache, 1, UpTo(1500));
  EXPECT_EQ(cache->positions(), 1500);

  Extend(*cache, 4);
  for (int32_t i = 1500; i < 1504; ++i) kept.push_back(i);
  ExpectRows(*cache, 0, kept);
  ExpectRows(*cache, 1, UpTo(1504));

  // A second drop counts rows as they lie now.
  cache->Retain(0, KeepSet::SinkAndRecent(3, 29, 2, 3));
  ExpectRows(*cache, 0, {0, 1, 1501, 1502, 1503});

  EXPECT_THROW(cache->Truncate(1000), Error);
  cache->Truncate(1504);  // nothing to forget
}

TEST_P(KvCacheTest, DropsEveryKey) {
  const auto cache = New(100);
  Extend(*cache, 10);
  cache->Retain(0, KeepSet(10, {{}, {}, {}}));
  ExpectRows(*cache, 0, {});
  Extend(*cache, 2);
  ExpectRows(*cache, 0, {10, 11});
}

TEST_P(KvCacheTest, RefusesKeepSetsThatDoNotFit) {
  const auto cache = New(100);
  Extend(*cache, 10);
  EXPECT_THROW(cache->Retain(0, KeepSet(9, {{1}, {1}, {1}})), Error);
  EXPECT_THROW(cache->Retain(0, KeepSet(10, {{1}, {1}})), Error);
  EXPECT_THROW(cache->Retain(0, KeepSet(10, {{1}, {1}, {2}})), Error);
  EXPECT_THROW(cache->Retain(0, KeepSet(10, {{1}, {1}, {}})), Error);
  ExpectRows(*cache, 0, UpTo(10));
}

TEST_P(KvCacheTest, RefusesRowsItHasNoRoomFor) {
  const auto cache = New(4);
  EXPECT_THROW(cache->Reserve(5), Error);
  EXPECT_THROW(cache->Reserve(-1), Error);
  EXPECT_THROW(cache->Append(0, 1, nullptr, nullptr), Error);
}

INSTANTIATE_TEST_SUITE_P(Kinds, KvCacheTest,
                         ::testing::Combine(::testing::Values(0, 1, 16, 37),
                                            ::testing::Values(DType::kF32, DType::kBF16)),
                         [](const auto& info) {
                           const int32_t page_size = std::get<0>(info.param);
                           return (page_size == 0 ? std::string("contiguous")
                                                  : "pages" + std::to_string(page_size)) +
                                  "_" + std::string(Name(std::get<1>(info.param)));
                         });

TEST(NewDecoderCacheTest, RefusesOptionsThatMakeNoCache) {
  EXPECT_THROW(NewDecoderCache(kGeometry, {.capacity = 0}), Error);
  EXPECT_THROW(NewDecoderCache(kGeometry, {.capacity = -5}), Error);
  EXPECT_THROW(NewDecoderCache(kGeometry, {.capacity = INT32_MAX}), Error);
  EXPECT_THROW(NewDecoderCache(kGeometry, {.capacity = 8, .page_size = -1}), Error);
  EXPECT_THROW(NewDecoderCache(kGeometry, {.capacity = 8, .page_size = 1 << 20}), Error);
  EXPECT_THROW(NewDecoderCache(kGeometry, {.capacity = 8, .dtype = DType::kF16}), Error);
}

}  // namespace
}  // namespace tamis
