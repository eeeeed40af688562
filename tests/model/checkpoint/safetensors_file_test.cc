// The safetensors container and the index of sharded models.
#include "model/checkpoint/safetensors_file.h"

#include <gtest/gtest.h>

#include "model/checkpoint/expect_error.h"
#include "model/checkpoint/file_builder.h"

namespace tamis {
namespace {

using testing::Append;
using testing::Bytes;
using testing::ExpectError;
using testing::SafetensorsBuilder;
using testing::SafetensorsBytes;

std::vector<StoredTensor> Parse(const Bytes& bytes) {
  const std::vector<uint8_t> exact(bytes.begin(), bytes.end());
  return ParseSafetensors(exact, "test.safetensors");
}
/// A header over 16 bytes of data.
void ExpectRefused(const std::string& header, const std::string& text) {
  ExpectError([&] { Parse(SafetensorsBytes(header, Bytes(16))); }, text);
}
std::string Entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

Bytes ThreeTensors() {
  SafetensorsBuilder builder;
  builder.Tensor("b", "F32", {2, 3}, Bytes(24, 1));
  builder.Tensor("a", "BF16", {5}, Bytes(10, 2));
  builder.Tensor("c", "F16", {}, Bytes(2, 3));
  return builder.Build();
}

TEST(SafetensorsFile, ReadsTensorsInPlace) {
  const Bytes bytes = ThreeTensors();
  const auto tensors = ParseSafetensors(bytes, "test.safetensors");
  ASSERT_EQ(tensors.size(), 3u);
  EXPECT_EQ(tensors[0].name, "b");
  EXPECT_EQ(tensors[0].type, WeightType::kF32);
  EXPECT_EQ(tensors[0].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(tensors[1].name, "a");
  EXPECT_EQ(tensors[1].type, WeightType::kBF16);
  EXPECT_EQ(tensors[1].bytes, 10u);
  EXPECT_EQ(*tensors[1].data, 2);
  EXPECT_EQ(tensors[2].shape, std::vector<int64_t>{});
  EXPECT_EQ(tensors[2].data + 2, bytes.data() + bytes.size());
}

TEST(SafetensorsFile, MetadataIsAllowed) {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"a":)" + Entry(R"("F32")", "[4]", "[0,16]") + "}";
  EXPECT_EQ(Parse(SafetensorsBytes(header, Bytes(16))).size(), 1u);
}

TEST(SafetensorsFile, EveryTruncationIsAnError) {
  const Bytes bytes = ThreeTensors();
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_THROW(Parse({bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(length)}), Error)
        << length;
  }
}

TEST(SafetensorsFile, EveryDamagedByteIsSafe) {
  const Bytes bytes = ThreeTensors();
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (const uint8_t mask : {0x01, 0x04, 0x80, 0xFF}) {
      Bytes damaged = bytes;
      damaged[i] ^= mask;
      try {
        Parse(damaged);
      } catch (const Error&) {
      }
    }
  }
}

TEST(SafetensorsFile, HeaderSizes) {
  for (const uint64_t size : {uint64_t{9}, uint64_t{100'000'001}, UINT64_MAX, UINT64_MAX - 7}) {
    Bytes bytes;
    Append(bytes, size);
    bytes.resize(16);
    ExpectError([&] { Parse(bytes); }, "a header of " + std::to_string(size));
  }
}

TEST(SafetensorsFile, HostileJson) {
  ExpectRefused("", "not valid JSON");
  ExpectRefused("{", "not valid JSON");
  ExpectRefused("[]", "a JSON object is needed");
  ExpectRefused("{} {}", "not valid JSON");
  ExpectRefused(std::string(1000, '['), "nested more than");
  ExpectRefused(R"({"a":)" + std::string(100000, '[') + std::string(100000, ']') + "}",
                "nested more than");
  ExpectRefused("{\"a\xff\":1}", "not valid JSON");
  ExpectRefused(R"({"a":1e999})", "not valid JSON");
  const std::string entry = Entry(R"("F32")", "[2]", "[0,8]");
  ExpectRefused(R"({"a":)" + entry + R"(,"a":)" + Entry(R"("F32")", "[2]", "[8,16]") + "}",
                "key \"a\" is given twice");
  ExpectRefused(R"({"a":{"dtype":"F32","dtype":"F16","shape":[2],"data_offsets":[0,8]}})",
                "key \"dtype\" is given twice");
}

TEST(SafetensorsFile, Entries) {
  const auto refused = [](const std::string& entry, const std::string& text) {
    ExpectRefused(R"({"a":)" + entry + "}", text);
  };
  refused("1", "tensor a needs exactly dtype, shape and data_offsets");
  refused("{}", "tensor a needs exactly dtype, shape and data_offsets");
  refused(R"({"dtype":"F32","shape":[4],"data_offsets":[0,16],"more":1})", "needs exactly");
  refused(Entry("1", "[4]", "[0,16]"), "tensor a has no dtype");
  refused(Entry(R"("F64")", "[2]", "[0,16]"), "tensor a is stored as F64; F32, F16 and BF16");
  refused(Entry(R"("F8_E4M3")", "[16]", "[0,16]"), "tensor a is stored as F8_E4M3");
  refused(Entry(R"("I64")", "[2]", "[0,16]"), "tensor a is stored as I64");
  refused(Entry(R"("F32")", "4", "[0,16]"), "the shape of tensor a");
  refused(Entry(R"("F32")", "[-4]", "[0,16]"), "the shape of tensor a");
  refused(Entry(R"("F32")", "[4.0]", "[0,16]"), "the shape of tensor a");
  refused(Entry(R"("F32")", "[\"4\"]", "[0,16]"), "the shape of tensor a");
  refused(Entry(R"("F32")", "[4,1,1,1,1,1,1,1,1]", "[0,16]"), "the shape of tensor a");
  refused(Entry(R"("F32")", "[4,0]", "[0,0]"), "a dimension of 0");
  refused(Entry(R"("F32")", "[18446744073709551615]", "[0,16]"), "the shape of tensor a");
  refused(Entry(R"("F32")", "[4611686018427387904,4]", "[0,16]"), "too large to address");
  refused(Entry(R"("F32")", "[4294967296,4294967296]", "[0,16]"), "too large to address");
  refused(Entry(R"("F32")", "[4]", "[0]"), "the data_offsets of tensor a");
  refused(Entry(R"("F32")", "[4]", "[16,0]"), "the data_offsets of tensor a");
  refused(Entry(R"("F32")", "[4]", "[-1,15]"), "the data_offsets of tensor a");
  refused(Entry(R"("F32")", "[4]", "[0,12]"),
          "tensor a holds 12 bytes, but F32 of shape [4] takes 16");
  refused(Entry(R"("F32")", "[4]", "[8,24]"), "begins at 8, not at 0");
  refused(Entry(R"("F32")", "[5]", "[0,20]"), "ends at 20 of 16 bytes");
  refused(Entry(R"("F32")", "[3]", "[0,12]"), "4 bytes of data follow");
}

TEST(SafetensorsFile, OverlapsAndHoles) {
  const auto two = [](const std::string& first, const std::string& second) {
    return R"({"a":)" + Entry(R"("F16")", "[4]", first) + R"(,"b":)" +
           Entry(R"("F16")", "[4]", second) + "}";
  };
  EXPECT_EQ(Parse(SafetensorsBytes(two("[8,16]", "[0,8]"), Bytes(16)))[0].name, "b");
  ExpectRefused(two("[0,8]", "[0,8]"), "begins at 0, not at 8");
  ExpectRefused(two("[0,8]", "[4,12]"), "begins at 4, not at 8");
  ExpectRefused(two("[0,8]", "[10,18]"), "begins at 10, not at 8");
}

TEST(SafetensorsIndex, Reads) {
  const auto shards = ParseSafetensorsIndex(
      R"({"metadata":{"total_size":1},"weight_map":{"x":"1.safetensors","y":"2.safetensors",
          "z":"1.safetensors"}})",
      "index.json");
  ASSERT_EQ(shards.size(), 2u);
  EXPECT_EQ(shards.at("1.safetensors"), (std::set<std::string>{"x", "z"}));
}

TEST(SafetensorsIndex, Refuses) {
  const auto refused = [](const std::string& text, const std::string& message) {
    ExpectError([&] { ParseSafetensorsIndex(text, "index.json"); }, message);
  };
  refused("{}", "weight_map is missing or empty");
  refused(R"({"weight_map":{}})", "weight_map is missing or empty");
  refused(R"({"weight_map":["x"]})", "weight_map is missing or empty");
  refused(R"({"weight_map":{"x":1}})", "the file of tensor x is not a string");
  refused(R"({"weight_map":{"x":"a","x":"b"}})", "given twice");
  for (const char* name : {"", ".", "..", "../a", "/etc/passwd", "a/b", "a\\\\b", "a\\u0000"}) {
    refused(R"({"weight_map":{"x":")" + std::string(name) + "\"}}", "not a plain file name");
  }
}

}  // namespace
}  // namespace tamis
