// Storage formats, held to what the gguf Python package makes of the same bytes (golden.gguf).
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "model/checkpoint/gguf_file.h"
#include "model/checkpoint/test_model.h"
#include "tamis/dtype.h"

namespace tamis {
namespace {

constexpr WeightType kTypes[] = {WeightType::kF32,  WeightType::kF16,  WeightType::kBF16,
                                 WeightType::kQ8_0, WeightType::kQ4_0, WeightType::kQ4_1,
                                 WeightType::kQ6_K};

const StoredTensor& FindTensor(const GgufFile& file, const std::string& name) {
  for (const StoredTensor& tensor : file.tensors()) {
    if (tensor.name == name) return tensor;
  }
  throw std::logic_error("no tensor " + name);
}

// Bit for bit: both multiply and add in binary32, one rounding each.
TEST(Quants, ExpandAsGgmlDoes) {
  const MappedFile mapped(TAMIS_TEST_DATA "/golden.gguf");
  const GgufFile file(mapped.bytes(), "golden.gguf");
  for (const WeightType type : kTypes) {
    const std::string name(Name(type));
    const StoredTensor& stored = FindTensor(file, name + ".stored");
    const StoredTensor& expanded = FindTensor(file, name + ".expanded");
    ASSERT_EQ(stored.type, type);
    ASSERT_EQ(stored.shape, expanded.shape);
    const int64_t rows = stored.shape[0];
    const int64_t columns = stored.shape[1];
    ASSERT_EQ(stored.bytes, rows * RowBytes(type, columns));
    for (int64_t row = 0; row < rows; ++row) {
      std::vector<float> actual(static_cast<size_t>(columns));
      std::vector<float> expected(static_cast<size_t>(columns));
      DequantizeRow(type, stored.data + row * RowBytes(type, columns), columns, actual.data());
      std::memcpy(expected.data(), expanded.data + row * columns * 4, expected.size() * 4);
      for (size_t i = 0; i < expected.size(); ++i) {
        ASSERT_EQ(actual[i], expected[i]) << name << " row " << row << " column " << i;
      }
    }
  }
}

TEST(Quants, Sizes) {
  const size_t bytes[] = {1024, 512, 512, 272, 144, 160, 210};
  const int64_t blocks[] = {1, 1, 1, 32, 32, 32, 256};
  for (size_t i = 0; i < std::size(kTypes); ++i) {
    EXPECT_EQ(RowBytes(kTypes[i], 256), bytes[i]) << Name(kTypes[i]);
    EXPECT_EQ(RowBytes(kTypes[i], 0), 0u);
    EXPECT_EQ(BlockValues(kTypes[i]), blocks[i]);
  }
}

// The conversion inside differs from base's, for speed; the values may not.
TEST(Quants, EveryHalf) {
  std::vector<uint16_t> halves(65536);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i);
  std::vector<float> actual(halves.size());
  DequantizeRow(WeightType::kF16, reinterpret_cast<const uint8_t*>(halves.data()), 65536,
                actual.data());
  for (size_t i = 0; i < halves.size(); ++i) {
    const float expected = ToFloat(Float16{halves[i]});
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(actual[i])) << i;
    } else {
      ASSERT_EQ(actual[i], expected) << i;
      ASSERT_EQ(std::signbit(actual[i]), std::signbit(expected)) << i;
    }
  }
}

// safetensors may place a tensor at any byte.
TEST(Quants, AnyAlignment) {
  for (const WeightType type : kTypes) {
    const testing::Bytes row = testing::RandomBlocks(type, 256, 1.0f, 3);
    std::vector<float> expected(256);
    DequantizeRow(type, row.data(), 256, expected.data());
    testing::Bytes shifted(row.size() + 1);
    std::memcpy(shifted.data() + 1, row.data(), row.size());
    std::vector<float> actual(256);
    DequantizeRow(type, shifted.data() + 1, 256, actual.data());
    EXPECT_EQ(actual, expected) << Name(type);
  }
}

TEST(Quants, InterleavedRowsComeInHuggingFaceOrder) {
  // Head 0 stores (0, 4), (1, 5), (2, 6), (3, 7), head 1 the same after it.
  const uint8_t stored[16] = {0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15};
  const Weight weight{
      .rows = 16, .columns = 1, .data = stored, .row_bytes = 1, .interleaved_head_dim = 8};
  for (int64_t row = 0; row < 16; ++row) EXPECT_EQ(*weight.Row(row), row);
}

}  // namespace
}  // namespace tamis
