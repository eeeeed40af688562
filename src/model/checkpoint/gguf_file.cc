#include "model/checkpoint/gguf_file.h"

#include <cmath>
#include <cstring>

#include "base/check.h"

namespace tamis {
namespace {

template <typename T>
T Load(const uint8_t* source) {
  T value;
  std::memcpy(&value, source, sizeof(T));
  return value;
}

/// The number at `source`, whose type is integer.
int64_t LoadInteger(GgufType type, const uint8_t* source, std::string_view label,
                    std::string_view key) {
  switch (type) {
    case GgufType::kUint8:
      return Load<uint8_t>(source);
    case GgufType::kInt8:
      return Load<int8_t>(source);
    case GgufType::kUint16:
      return Load<uint16_t>(source);
    case GgufType::kInt16:
      return Load<int16_t>(source);
    case GgufType::kUint32:
      return Load<uint32_t>(source);
    case GgufType::kInt32:
      return Load<int32_t>(source);
    case GgufType::kInt64:
      return Load<int64_t>(source);
    case GgufType::kUint64: {
      const auto value = Load<uint64_t>(source);
      Require(value <= INT64_MAX, "{}: {} is {}, which does not fit 63 bits", label, key, value);
      return static_cast<int64_t>(value);
    }
    default:
      Fail("{}: {} is of type {}; an integer is needed", label, key, Name(type));
  }
}

}  // namespace

const GgufValue* GgufFile::Find(std::string_view key) const {
  const auto found = metadata_.find(key);
  return found == metadata_.end() ? nullptr : &found->second;
}

std::optional<int64_t> GgufFile::Integer(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::nullopt;
  return LoadInteger(value->type, value->bytes.data(), label_, key);
}

std::optional<double> GgufFile::Number(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::nullopt;
  double number = 0.0;
  if (value->type == GgufType::kFloat32) {
    number = Load<float>(value->bytes.data());
  } else if (value->type == GgufType::kFloat64) {
    number = Load<double>(value->bytes.data());
  } else {
    number = static_cast<double>(LoadInteger(value->type, value->bytes.data(), label_, key));
  }
  Require(std::isfinite(number), "{}: {} is {}; a finite number is needed", label_, key, number);
  return number;
}

std::optional<bool> GgufFile::Bool(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::nullopt;
  Require(value->type == GgufType::kBool, "{}: {} is of type {}; a bool is needed", label_, key,
          Name(value->type));
  return value->bytes[0] != 0;
}

std::optional<std::string> GgufFile::String(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::nullopt;
  Require(value->type == GgufType::kString, "{}: {} is of type {}; a string is needed", label_, key,
          Name(value->type));
  return std::string(value->bytes.begin(), value->bytes.end());
}

std::optional<std::vector<std::string>> GgufFile::Strings(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::nullopt;
  Require(value->type == GgufType::kArray && value->element == GgufType::kString,
          "{}: {} is not an array of strings", label_, key);
  std::vector<std::string> strings;
  strings.reserve(value->count);  // each takes 8 bytes of the file or more
  const uint8_t* source = value->bytes.data();
  for (uint64_t i = 0; i < value->count; ++i) {
    const auto length = Load<uint64_t>(source);
    strings.emplace_back(reinterpret_cast<const char*>(source) + 8, length);
    source += 8 + length;
  }
  return strings;
}

std::optional<std::vector<int32_t>> GgufFile::Integers(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::nullopt;
  Require(value->type == GgufType::kArray, "{}: {} is of type {}; an array is needed", label_, key,
          Name(value->type));
  std::vector<int32_t> integers;
  integers.reserve(value->count);
  const uint8_t* source = value->bytes.data();
  for (uint64_t i = 0; i < value->count; ++i, source += ScalarBytes(value->element)) {
    const int64_t integer = LoadInteger(value->element, source, label_, key);
    Require(integer >= INT32_MIN && integer <= INT32_MAX, "{}: {} holds {}, which is out of range",
            label_, key, integer);
    integers.push_back(static_cast<int32_t>(integer));
  }
  return integers;
}

}  // namespace tamis
