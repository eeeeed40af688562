#include "model/checkpoint/safetensors_file.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "model/checkpoint/strict_json.h"

namespace tamis {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors is read in place");

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own bound
constexpr size_t kMaxDimensions = 8;

WeightType ParseType(std::string_view label, std::string_view name, const nlohmann::json& dtype) {
  Require(dtype.is_string(), "{}: tensor {} has no dtype", label, Printable(name));
  const auto& text = dtype.get_ref<const std::string&>();
  for (WeightType type : {WeightType::kF32, WeightType::kF16, WeightType::kBF16}) {
    if (text == Name(type)) return type;
  }
  Fail("{}: tensor {} is stored as {}; F32, F16 and BF16 are run", label, Printable(name),
       Printable(text));
}

/// A non-negative integer below 2^63, or nothing.
bool ReadInteger(const nlohmann::json& json, int64_t& value) {
  if (!json.is_number_unsigned() || json.get<uint64_t>() > INT64_MAX) return false;
  value = json.get<int64_t>();
  return true;
}

struct Extent {
  uint64_t begin = 0;
  uint64_t end = 0;
};

StoredTensor ParseEntry(std::string_view label, const std::string& name,
                        const nlohmann::json& entry, Extent& extent) {
  Require(entry.is_object() && entry.contains("dtype") && entry.contains("shape") &&
              entry.contains("data_offsets") && entry.size() == 3,
          "{}: tensor {} needs exactly dtype, shape and data_offsets", label, Printable(name));
  StoredTensor tensor{.name = name, .type = ParseType(label, name, entry["dtype"])};
  const nlohmann::json& shape = entry["shape"];
  Require(shape.is_array() && shape.size() <= kMaxDimensions,
          "{}: the shape of tensor {} is not an array of at most {} numbers", label,
          Printable(name), kMaxDimensions);
  for (const nlohmann::json& size : shape) {
    Require(ReadInteger(size, tensor.shape.emplace_back()),
            "{}: the shape of tensor {} holds something else than sizes", label, Printable(name));
  }
  tensor.bytes = TensorBytes(label, name, tensor.type, tensor.shape);

  const nlohmann::json& offsets = entry["data_offsets"];
  int64_t begin = 0;
  int64_t end = 0;
  Require(offsets.is_array() && offsets.size() == 2 && ReadInteger(offsets[0], begin) &&
              ReadInteger(offsets[1], end) && begin <= end,
          "{}: the data_offsets of tensor {} are not [begin, end]", label, Printable(name));
  extent = {static_cast<uint64_t>(begin), static_cast<uint64_t>(end)};
  Require(extent.end - extent.begin == tensor.bytes,
          "{}: tensor {} holds {} bytes, but {} of shape {} takes {}", label, Printable(name),
          extent.end - extent.begin, Name(tensor.type), ShapeText(tensor.shape), tensor.bytes);
  return tensor;
}

}  // namespace

std::vector<StoredTensor> ParseSafetensors(std::span<const uint8_t> bytes, std::string_view label) {
  Require(bytes.size() >= 8, "{}: {} bytes are too few for a safetensors file", label,
          bytes.size());
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
  Require(header_bytes <= kMaxHeaderBytes && header_bytes <= bytes.size() - 8,
          "{}: not a safetensors file, or cut: a header of {} bytes in a file of {}", label,
          header_bytes, bytes.size());
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + 8, header_bytes);
  const auto data = bytes.subspan(8 + header_bytes);

  std::vector<std::pair<Extent, StoredTensor>> entries;
  const nlohmann::json table = ParseJsonObject(header, label);
  for (const auto& [name, entry] : table.items()) {
    if (name == "__metadata__") continue;
    Extent extent;
    StoredTensor tensor = ParseEntry(label, name, entry, extent);
    entries.emplace_back(extent, std::move(tensor));
  }
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.first.begin < b.first.begin; });

  // The format has no holes: each tensor begins where the one before ended, the last one ends the
  // file. That rules out overlaps and cut files as well.
  std::vector<StoredTensor> tensors;
  uint64_t end = 0;
  for (auto& [extent, tensor] : entries) {
    Require(extent.begin == end,
            "{}: the data of tensor {} begins at {}, not at {} where it should", label,
            Printable(tensor.name), extent.begin, end);
    Require(extent.end <= data.size(),
            "{}: tensor {} ends at {} of {} bytes of data; the file is cut", label,
            Printable(tensor.name), extent.end, data.size());
    tensor.data = data.data() + extent.begin;
    end = extent.end;
    tensors.push_back(std::move(tensor));
  }
  Require(end == data.size(), "{}: {} bytes of data follow the last tensor", label,
          data.size() - end);
  return tensors;
}

std::map<std::string, std::set<std::string>> ParseSafetensorsIndex(std::string_view text,
                                                                   std::string_view label) {
  const nlohmann::json index = ParseJsonObject(text, label);
  const auto map = index.find("weight_map");
  Require(map != index.end() && map->is_object() && !map->empty(),
          "{}: weight_map is missing or empty", label);
  std::map<std::string, std::set<std::string>> shards;
  for (const auto& [name, file] : map->items()) {
    Require(file.is_string(), "{}: the file of tensor {} is not a string", label, Printable(name));
    const auto& shard = file.get_ref<const std::string&>();
    Require(!shard.empty() && shard != "." && shard != ".." &&
                shard.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos,
            "{}: tensor {} is in \"{}\", which is not a plain file name", label, Printable(name),
            Printable(shard));
    shards[shard].insert(name);
  }
  return shards;
}

}  // namespace tamis
