// Reading a GGUF file: every count, length and offset is held against the bytes that are there
// before it is used, and nothing is allocated for what a header merely claims.
#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "model/checkpoint/gguf_file.h"

namespace tamis {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF is read in place");

constexpr uint32_t kVersion = 3;
constexpr int kMaxDimensions = 4;
constexpr int kMaxNesting = 8;
constexpr uint64_t kMaxAlignment = uint64_t{1} << 20;
constexpr size_t kMaxKeyBytes = 65535;  // the format's own bound
constexpr size_t kMaxNameBytes = 1024;

/// A position in the file that cannot leave it.
class Cursor {
 public:
  Cursor(std::span<const uint8_t> bytes, std::string_view label) : bytes_(bytes), label_(label) {}

  size_t position() const { return position_; }
  size_t left() const { return bytes_.size() - position_; }

  std::span<const uint8_t> Take(uint64_t count, std::string_view what) {
    Require(count <= left(), "{}: {} at byte {} needs {} bytes, but {} are left; the file is cut",
            label_, what, position_, count, left());
    const auto taken = bytes_.subspan(position_, count);
    position_ += count;
    return taken;
  }

  template <typename T>
  T Read(std::string_view what) {
    T value;
    std::memcpy(&value, Take(sizeof(T), what).data(), sizeof(T));
    return value;
  }

  std::string ReadName(size_t limit, std::string_view what) {
    const auto length = Read<uint64_t>(what);
    Require(length >= 1 && length <= limit,
            "{}: {} at byte {} is {} bytes long; 1 to {} are allowed", label_, what, position_,
            length, limit);
    const auto taken = Take(length, what);
    return {taken.begin(), taken.end()};
  }

  /// `count` elements that take at least `each` bytes.
  void CheckCount(uint64_t count, size_t each, std::string_view what) const {
    Require(count <= left() / each, "{}: {} {} do not fit the {} bytes left at byte {}", label_,
            count, what, left(), position_);
  }

 private:
  std::span<const uint8_t> bytes_;
  std::string_view label_;
  size_t position_ = 0;
};

class Parser {
 public:
  Parser(std::span<const uint8_t> bytes, const std::string& label)
      : bytes_(bytes), label_(label), cursor_(bytes, label) {}

  void Header() {
    const auto magic = cursor_.Take(4, "the magic");
    Require(std::memcmp(magic.data(), "GGUF", 4) == 0, "{}: not a GGUF file", label_);
    const auto version = cursor_.Read<uint32_t>("the version");
    Require((version & 0xffff) != 0, "{}: a big-endian GGUF file; convert it to little-endian",
            label_);
    Require(version == kVersion,
            "{}: GGUF version {}; tamis reads version {}: convert the model anew", label_, version,
            kVersion);
    tensor_count_ = cursor_.Read<uint64_t>("the number of tensors");
    key_count_ = cursor_.Read<uint64_t>("the number of metadata keys");
    cursor_.CheckCount(key_count_, 14, "metadata keys");
  }

  std::map<std::string, GgufValue, std::less<>> Metadata() {
    std::map<std::string, GgufValue, std::less<>> metadata;
    for (uint64_t i = 0; i < key_count_; ++i) {
      std::string key = cursor_.ReadName(kMaxKeyBytes, "a metadata key");
      const GgufType type = Type(key);
      const GgufValue value = Value(type, key, 0);
      Require(metadata.emplace(key, value).second, "{}: metadata key {} occurs twice", label_,
              Printable(key));
    }
    return metadata;
  }

  std::vector<StoredTensor> Tensors(uint64_t alignment) {
    cursor_.CheckCount(tensor_count_, 33, "tensors");
    std::vector<StoredTensor> tensors;
    std::vector<uint64_t> offsets;
    for (uint64_t i = 0; i < tensor_count_; ++i) {
      tensors.push_back(TensorInfo());
      offsets.push_back(cursor_.Read<uint64_t>("a tensor's offset"));
    }
    const uint64_t start = (cursor_.position() + alignment - 1) / alignment * alignment;
    const uint64_t available = start <= bytes_.size() ? bytes_.size() - start : 0;
    for (size_t i = 0; i < tensors.size(); ++i) {
      StoredTensor& tensor = tensors[i];
      Require(offsets[i] % alignment == 0,
              "{}: tensor {} starts at {}, which is not a multiple of {}", label_,
              Printable(tensor.name), offsets[i], alignment);
      Require(offsets[i] <= available && tensor.bytes <= available - offsets[i],
              "{}: tensor {} needs {} bytes at {} of the data, which holds {}; the file is cut",
              label_, Printable(tensor.name), tensor.bytes, offsets[i], available);
      tensor.data = bytes_.data() + start + offsets[i];
    }
    CheckOverlap(tensors);
    return tensors;
  }

 private:
  GgufType Type(std::string_view key) {
    const auto type = cursor_.Read<uint32_t>("a metadata type");
    Require(type <= static_cast<uint32_t>(GgufType::kFloat64),
            "{}: metadata key {} is of unknown type {}", label_, Printable(key), type);
    return static_cast<GgufType>(type);
  }

  GgufValue Value(GgufType type, std::string_view key, int nesting) {
    GgufValue value{.type = type};
    if (type == GgufType::kString) {
      value.bytes = cursor_.Take(cursor_.Read<uint64_t>("a string's length"), "a string");
    } else if (type == GgufType::kArray) {
      Require(nesting < kMaxNesting, "{}: arrays in metadata key {} are nested more than {} deep",
              label_, Printable(key), kMaxNesting);
      value.element = Type(key);
      value.count = cursor_.Read<uint64_t>("an array's length");
      const size_t start = cursor_.position();
      const size_t each = ScalarBytes(value.element);
      // A string takes 8 bytes or more, an array 12.
      cursor_.CheckCount(value.count, each != 0 ? each : 8, "array elements");
      if (each != 0) {
        cursor_.Take(value.count * each, "an array");
      } else {
        for (uint64_t i = 0; i < value.count; ++i) Value(value.element, key, nesting + 1);
      }
      value.bytes = bytes_.subspan(start, cursor_.position() - start);
    } else {
      value.bytes = cursor_.Take(ScalarBytes(type), "a metadata value");
      Require(type != GgufType::kBool || value.bytes[0] <= 1,
              "{}: metadata key {} is a bool of value {}", label_, Printable(key), value.bytes[0]);
    }
    return value;
  }

  StoredTensor TensorInfo() {
    StoredTensor tensor;
    tensor.name = cursor_.ReadName(kMaxNameBytes, "a tensor's name");
    const auto dimensions = cursor_.Read<uint32_t>("a tensor's rank");
    Require(dimensions >= 1 && dimensions <= kMaxDimensions,
            "{}: tensor {} has {} dimensions; 1 to {} are allowed", label_, Printable(tensor.name),
            dimensions, kMaxDimensions);
    for (uint32_t i = 0; i < dimensions; ++i) {
      const auto size = cursor_.Read<uint64_t>("a tensor's dimension");
      Require(size <= INT64_MAX, "{}: tensor {} has a dimension of {}", label_,
              Printable(tensor.name), size);
      tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
    }
    tensor.type = TensorType(tensor.name, cursor_.Read<uint32_t>("a tensor's type"));
    tensor.bytes = TensorBytes(label_, tensor.name, tensor.type, tensor.shape);
    return tensor;
  }

  WeightType TensorType(std::string_view name, uint32_t number) const {
    switch (number) {
      case 0:
        return WeightType::kF32;
      case 1:
        return WeightType::kF16;
      case 2:
        return WeightType::kQ4_0;
      case 3:
        return WeightType::kQ4_1;
      case 8:
        return WeightType::kQ8_0;
      case 14:
        return WeightType::kQ6_K;
      case 30:
        return WeightType::kBF16;
      default:
        break;
    }
    // ggml's other types, so that the refusal names what the user chose when quantising.
    static constexpr std::pair<uint32_t, std::string_view> kOthers[] = {
        {4, "Q4_2"},        {5, "Q4_3"},        {6, "Q5_0"},     {7, "Q5_1"},   {9, "Q8_1"},
        {10, "Q2_K"},       {11, "Q3_K"},       {12, "Q4_K"},    {13, "Q5_K"},  {15, "Q8_K"},
        {16, "IQ2_XXS"},    {17, "IQ2_XS"},     {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"},
        {21, "IQ3_S"},      {22, "IQ2_S"},      {23, "IQ4_XS"},  {24, "I8"},    {25, "I16"},
        {26, "I32"},        {27, "I64"},        {28, "F64"},     {29, "IQ1_M"}, {31, "Q4_0_4_4"},
        {32, "Q4_0_4_8"},   {33, "Q4_0_8_8"},   {34, "TQ1_0"},   {35, "TQ2_0"}, {36, "IQ4_NL_4_4"},
        {37, "IQ4_NL_4_8"}, {38, "IQ4_NL_8_8"}, {39, "MXFP4"},   {40, "NVFP4"}, {41, "Q1_0"},
    };
    for (const auto& [other, type] : kOthers) {
      Require(
          other != number,
          "{}: tensor {} is stored as {}, which tamis does not run; use a file quantised to F32, "
          "F16, BF16, Q8_0, Q4_0, Q4_1 or Q6_K",
          label_, Printable(name), type);
    }
    Fail("{}: tensor {} is of unknown ggml type {}", label_, Printable(name), number);
  }

  void CheckOverlap(const std::vector<StoredTensor>& tensors) const {
    std::vector<const StoredTensor*> order;
    order.reserve(tensors.size());
    for (const StoredTensor& tensor : tensors) order.push_back(&tensor);
    std::sort(order.begin(), order.end(),
              [](const auto* a, const auto* b) { return a->data < b->data; });
    for (size_t i = 1; i < order.size(); ++i) {
      Require(order[i - 1]->data + order[i - 1]->bytes <= order[i]->data,
              "{}: tensors {} and {} overlap", label_, Printable(order[i - 1]->name),
              Printable(order[i]->name));
    }
  }

  std::span<const uint8_t> bytes_;
  const std::string& label_;
  Cursor cursor_;
  uint64_t tensor_count_ = 0;
  uint64_t key_count_ = 0;
};

}  // namespace

size_t ScalarBytes(GgufType type) {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kInt8:
    case GgufType::kBool:
      return 1;
    case GgufType::kUint16:
    case GgufType::kInt16:
      return 2;
    case GgufType::kUint32:
    case GgufType::kInt32:
    case GgufType::kFloat32:
      return 4;
    case GgufType::kUint64:
    case GgufType::kInt64:
    case GgufType::kFloat64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      return 0;
  }
  return 0;
}

std::string_view Name(GgufType type) {
  static constexpr std::string_view kNames[] = {"uint8",  "int8",    "uint16", "int16",  "uint32",
                                                "int32",  "float32", "bool",   "string", "array",
                                                "uint64", "int64",   "float64"};
  return kNames[static_cast<size_t>(type)];
}

GgufFile::GgufFile(std::span<const uint8_t> bytes, std::string label) : label_(std::move(label)) {
  Parser parser(bytes, label_);
  parser.Header();
  metadata_ = parser.Metadata();
  const int64_t parts = Integer("split.count").value_or(0);
  Require(parts <= 1,
          "{}: part {} of {} of a split GGUF file; merge the parts with llama-gguf-split --merge",
          label_, Integer("split.no").value_or(0) + 1, parts);
  const int64_t alignment = Integer("general.alignment").value_or(32);
  Require(alignment >= 1 && alignment <= static_cast<int64_t>(kMaxAlignment) &&
              std::has_single_bit(static_cast<uint64_t>(alignment)),
          "{}: general.alignment is {}; a power of two up to {} is needed", label_, alignment,
          kMaxAlignment);
  tensors_ = parser.Tensors(static_cast<uint64_t>(alignment));
}

}  // namespace tamis
