// The GGUF container: what the reader understands and everything it must refuse.
#include "model/checkpoint/gguf_file.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/mapped_file.h"
#include "model/checkpoint/expect_error.h"
#include "model/checkpoint/file_builder.h"

namespace tamis {
namespace {

using testing::Append;
using testing::Bytes;
using testing::ExpectError;
using testing::GgufBuilder;

/// Parses from a buffer of exactly the bytes, so that a sanitizer sees any read past them.
GgufFile Parse(const Bytes& bytes) {
  const std::vector<uint8_t> exact(bytes.begin(), bytes.end());
  return GgufFile(exact, "test.gguf");
}
void ExpectRefused(const GgufBuilder& builder, const std::string& text) {
  ExpectError([&] { Parse(builder.Build()); }, text);
}

GgufBuilder TwoTensors() {
  GgufBuilder builder;
  builder.String("general.architecture", "llama");
  builder.Strings("names", {"a", "", "bcd"});
  builder.Int32s("numbers", {1, -2});
  builder.tensors.push_back({"one", 0, {3, 2}, Bytes(24, 1)});
  builder.tensors.push_back({"two", 8, {32, 2}, Bytes(68, 2)});
  return builder;
}

TEST(GgufFile, ReadsWhatTheReferenceWriterWrote) {
  const MappedFile mapped(TAMIS_TEST_DATA "/golden.gguf");
  const GgufFile file(mapped.bytes(), "golden.gguf");
  EXPECT_EQ(file.String("general.architecture"), "golden");
  EXPECT_EQ(file.Integer("test.uint8"), 0xFE);
  EXPECT_EQ(file.Integer("test.int8"), -2);
  EXPECT_EQ(file.Integer("test.uint16"), 0xFEDC);
  EXPECT_EQ(file.Integer("test.int16"), -0x1234);
  EXPECT_EQ(file.Integer("test.uint32"), 0xFEDCBA98);
  EXPECT_EQ(file.Integer("test.int32"), -0x12345678);
  EXPECT_EQ(file.Integer("test.uint64"), 0x7EDCBA9876543210);
  EXPECT_EQ(file.Integer("test.int64"), -0x123456789ABCDEF0);
  EXPECT_EQ(file.Number("test.float32"), static_cast<double>(0.1f));
  EXPECT_EQ(file.Number("test.float64"), 0.1);
  EXPECT_EQ(file.Number("test.int8"), -2.0);
  EXPECT_EQ(file.Bool("test.bool"), true);
  EXPECT_EQ(file.String("test.string"), "tamis, ein Sieb: 篩");
  EXPECT_EQ(file.Integers("test.integers"), (std::vector<int32_t>{1, -2, 3}));
  EXPECT_EQ(file.Strings("test.strings"), (std::vector<std::string>{"", "a", "bc"}));
  EXPECT_TRUE(file.Has("test.nested"));
  EXPECT_EQ(file.Integer("test.absent"), std::nullopt);
  EXPECT_EQ(file.tensors().size(), 14u);
}

TEST(GgufFile, ReadsTensorsInPlace) {
  const Bytes bytes = TwoTensors().Build();
  const GgufFile file(bytes, "test.gguf");
  ASSERT_EQ(file.tensors().size(), 2u);
  const StoredTensor& two = file.tensors()[1];
  EXPECT_EQ(two.name, "two");
  EXPECT_EQ(two.type, WeightType::kQ8_0);
  EXPECT_EQ(two.shape, (std::vector<int64_t>{2, 32}));
  EXPECT_EQ(two.bytes, 68u);
  EXPECT_EQ(two.data + two.bytes, bytes.data() + bytes.size());
  EXPECT_EQ(*two.data, 2);
}

TEST(GgufFile, OtherAlignments) {
  for (const uint32_t alignment : {1u, 8u, 64u, 4096u}) {
    GgufBuilder builder = TwoTensors();
    builder.alignment = alignment;
    builder.Uint32("general.alignment", alignment);
    const Bytes bytes = builder.Build();
    const GgufFile file(bytes, "test.gguf");
    EXPECT_EQ(*file.tensors()[0].data, 1);
    EXPECT_EQ(*file.tensors()[1].data, 2);
  }
  for (const uint32_t alignment : {0u, 3u, 1u << 21, 1u << 31}) {
    GgufBuilder builder = TwoTensors();
    builder.Uint32("general.alignment", alignment);
    ExpectRefused(builder, "general.alignment is " + std::to_string(alignment));
  }
}

TEST(GgufFile, EveryTruncationIsAnError) {
  const Bytes bytes = TwoTensors().Build();
  EXPECT_NO_THROW(Parse(bytes));
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_THROW(Parse({bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(length)}), Error)
        << length;
  }
}

// No single damaged byte may do more than raise Error.
TEST(GgufFile, EveryDamagedByteIsSafe) {
  const Bytes bytes = TwoTensors().Build();
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (const uint8_t mask : {0x01, 0x80, 0xFF}) {
      Bytes damaged = bytes;
      damaged[i] ^= mask;
      try {
        Parse(damaged);
      } catch (const Error&) {
      }
    }
  }
}

TEST(GgufFile, VersionsAndByteOrder) {
  Bytes bytes = TwoTensors().Build();
  bytes[0] = 'X';
  ExpectError([&] { Parse(bytes); }, "not a GGUF file");
  GgufBuilder builder = TwoTensors();
  for (const uint32_t version : {1u, 2u, 4u, 65539u}) {
    builder.version = version;
    ExpectRefused(builder, "GGUF version " + std::to_string(version));
  }
  builder.version = 0x03000000;
  ExpectRefused(builder, "big-endian");
}

TEST(GgufFile, ClaimedCountsAllocateNothing) {
  for (const uint64_t count : {uint64_t{1}, uint64_t{1000}, uint64_t{1} << 32, UINT64_MAX - 10}) {
    GgufBuilder tensors = TwoTensors();
    tensors.extra_tensors = count;
    EXPECT_THROW(Parse(tensors.Build()), Error) << count;
    GgufBuilder keys = TwoTensors();
    keys.extra_keys = count;
    EXPECT_THROW(Parse(keys.Build()), Error) << count;
    for (const uint32_t element : {0u, 4u, 8u, 9u, 12u}) {
      GgufBuilder array = TwoTensors();
      Bytes value;
      Append(value, element);
      Append(value, count << 20);
      array.Raw("array", 9, value);
      EXPECT_THROW(Parse(array.Build()), Error) << count << " of " << element;
    }
    GgufBuilder text = TwoTensors();
    Bytes value;
    Append(value, count << 20);
    text.Raw("text", 8, value);
    EXPECT_THROW(Parse(text.Build()), Error) << count;
  }
}

TEST(GgufFile, Metadata) {
  GgufBuilder unknown = TwoTensors();
  unknown.Raw("key", 13, Bytes(16));
  ExpectRefused(unknown, "metadata key key is of unknown type 13");
  GgufBuilder element = TwoTensors();
  element.Raw("key", 9, Bytes{77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  ExpectRefused(element, "metadata key key is of unknown type 77");
  GgufBuilder twice = TwoTensors();
  twice.Uint32("general.architecture", 1);
  ExpectRefused(twice, "metadata key general.architecture occurs twice");
  GgufBuilder boolean = TwoTensors();
  boolean.Scalar("flag", 7, uint8_t{2});
  ExpectRefused(boolean, "flag is a bool of value 2");
  GgufBuilder empty = TwoTensors();
  empty.Uint32("", 1);
  ExpectRefused(empty, "0 bytes long");
  GgufBuilder split = TwoTensors();
  split.Scalar("split.no", 2, uint16_t{1});
  split.Scalar("split.count", 2, uint16_t{3});
  ExpectRefused(split, "part 2 of 3 of a split GGUF file");
  GgufBuilder nested = TwoTensors();
  Bytes value;
  for (int depth = 0; depth < 9; ++depth) {
    Append(value, uint32_t{9});
    Append(value, uint64_t{1});
  }
  Append(value, uint32_t{0});
  Append(value, uint64_t{0});
  nested.Raw("deep", 9, value);
  ExpectRefused(nested, "nested more than 8 deep");
}

TEST(GgufFile, GettersCheckTypes) {
  GgufBuilder builder = TwoTensors();
  builder.Float32("float", 2.0f);
  builder.Float32("nan", std::numeric_limits<float>::quiet_NaN());
  builder.Scalar("inf", 12, std::numeric_limits<double>::infinity());
  builder.Scalar("huge", 10, UINT64_MAX);
  const Bytes bytes = builder.Build();
  const GgufFile file(bytes, "test.gguf");
  ExpectError([&] { file.Integer("float"); }, "float is of type float32; an integer is needed");
  ExpectError([&] { file.Number("nan"); }, "a finite number is needed");
  ExpectError([&] { file.Number("inf"); }, "a finite number is needed");
  ExpectError([&] { file.Integer("huge"); }, "does not fit 63 bits");
  ExpectError([&] { file.Number("names"); }, "names is of type array");
  ExpectError([&] { file.Bool("float"); }, "a bool is needed");
  ExpectError([&] { file.String("float"); }, "a string is needed");
  ExpectError([&] { file.Strings("numbers"); }, "not an array of strings");
  ExpectError([&] { file.Strings("float"); }, "not an array of strings");
  ExpectError([&] { file.Integers("names"); }, "an integer is needed");
  ExpectError([&] { file.Integers("float"); }, "an array is needed");
}

TEST(GgufFile, TensorTypesAreRefusedByName) {
  const std::pair<uint32_t, const char*> types[] = {{6, "Q5_0"},    {12, "Q4_K"}, {10, "Q2_K"},
                                                    {23, "IQ4_XS"}, {28, "F64"},  {39, "MXFP4"}};
  for (const auto& [number, name] : types) {
    GgufBuilder builder = TwoTensors();
    builder.tensors[1].type = number;
    ExpectRefused(builder, std::string("tensor two is stored as ") + name + ",");
  }
  GgufBuilder builder = TwoTensors();
  builder.tensors[1].type = 12345;
  ExpectRefused(builder, "tensor two is of unknown ggml type 12345");
}

TEST(GgufFile, Shapes) {
  const auto refused = [](std::vector<uint64_t> shape, const std::string& text) {
    GgufBuilder builder = TwoTensors();
    builder.tensors[0].shape = std::move(shape);
    ExpectRefused(builder, text);
  };
  refused({}, "has 0 dimensions");
  refused({1, 1, 1, 1, 6}, "has 5 dimensions");
  refused({0, 6}, "a dimension of 0");
  refused({6, 0}, "a dimension of 0");
  refused({uint64_t{1} << 63}, "a dimension of 9223372036854775808");
  refused({uint64_t{1} << 40, uint64_t{1} << 40}, "too large to address");
  refused({uint64_t{1} << 62}, "too large to address");
  refused({uint64_t{1} << 31, uint64_t{1} << 31}, "too large to address");
  refused({(uint64_t{1} << 61) - 1}, "the file is cut");
  GgufBuilder blocks = TwoTensors();
  blocks.tensors[1].shape = {48, 2};
  ExpectRefused(blocks, "rows of 48, which is not a multiple of 32");
}

TEST(GgufFile, Offsets) {
  const auto refused = [](uint64_t offset, const std::string& text) {
    GgufBuilder builder = TwoTensors();
    builder.tensors[1].offset = offset;
    ExpectRefused(builder, text);
  };
  refused(0, "tensors one and two overlap");
  refused(33, "not a multiple of 32");
  refused(64, "the file is cut");
  refused(UINT64_MAX - 31, "the file is cut");
  GgufBuilder swapped = TwoTensors();  // any order in the file is fine
  std::swap(swapped.tensors[0].data, swapped.tensors[1].data);
  swapped.tensors[0].offset = 96;
  swapped.tensors[1].offset = 0;
  EXPECT_NO_THROW(Parse(swapped.Build()));
}

TEST(GgufFile, HostileNamesStayOnOneLine) {
  GgufBuilder builder = TwoTensors();
  builder.tensors[1].name = "a\nb\x1b[31m" + std::string(200, 'x');
  builder.tensors[1].type = 12;
  ExpectRefused(builder, "tensor a?b?[31mxxx");
  builder.tensors[1].name = std::string(2000, 'x');
  ExpectRefused(builder, "2000 bytes long");
}

}  // namespace
}  // namespace tamis
