// Finding the files of a checkpoint.
#include "model/checkpoint/checkpoint.h"

#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/mapped_file.h"
#include "model/checkpoint/open.h"
#include "model/checkpoint/safetensors_file.h"

namespace tamis {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxJsonBytes = size_t{1} << 26;  // an index names some 100 bytes a tensor
constexpr std::string_view kIndex = "model.safetensors.index.json";
constexpr std::string_view kSingle = "model.safetensors";

bool Exists(const fs::path& path) {
  std::error_code ignored;  // what cannot be looked at is not there
  return fs::exists(path, ignored);
}

/// The last component that says something: "models/x/" and "models/x" are both "x".
std::string LastName(const fs::path& path) {
  std::error_code error;
  const fs::path whole = fs::weakly_canonical(path, error);
  return error ? path.filename().string() : whole.filename().string();
}

std::string Directory(const fs::path& file) {
  const fs::path parent = file.parent_path();
  return parent.empty() ? "." : parent.string();
}

std::string ReadConfig(const std::string& directory) {
  const fs::path path = fs::path(directory) / "config.json";
  Require(Exists(path), "{} is missing; a safetensors model needs its config.json beside it",
          path.string());
  return ReadFile(path.string(), kMaxJsonBytes);
}

std::unique_ptr<Checkpoint> OpenSingle(MappedFile file) {
  Origin origin{.label = file.path(), .directory = Directory(file.path())};
  origin.name = LastName(origin.directory);
  const std::vector<StoredTensor> tensors = ParseSafetensors(file.bytes(), file.path());
  origin.files.push_back(std::move(file));
  const std::string config = ReadConfig(origin.directory);
  return OpenSafetensors(config, tensors, 1, std::move(origin));
}

std::unique_ptr<Checkpoint> OpenSharded(const std::string& index_path) {
  Origin origin{.label = index_path, .directory = Directory(index_path)};
  origin.name = LastName(origin.directory);
  const auto shards = ParseSafetensorsIndex(ReadFile(index_path, kMaxJsonBytes), index_path);
  std::vector<StoredTensor> tensors;
  for (const auto& [shard, names] : shards) {
    const std::string path = (fs::path(origin.directory) / shard).string();
    MappedFile file(path);
    std::set<std::string> missing = names;
    for (StoredTensor& tensor : ParseSafetensors(file.bytes(), path)) {
      Require(missing.erase(tensor.name) == 1,
              "{}: tensor {} is in {}, which the index does not say", index_path,
              Printable(tensor.name), shard);
      tensors.push_back(std::move(tensor));
    }
    Require(missing.empty(), "{}: tensor {} is missing from {}", index_path,
            missing.empty() ? std::string() : Printable(*missing.begin()), shard);
    origin.files.push_back(std::move(file));
  }
  const std::string config = ReadConfig(origin.directory);
  return OpenSafetensors(config, tensors, shards.size(), std::move(origin));
}

std::unique_ptr<Checkpoint> OpenDirectory(const fs::path& directory) {
  if (Exists(directory / kSingle)) return OpenSingle(MappedFile((directory / kSingle).string()));
  if (Exists(directory / kIndex)) return OpenSharded((directory / kIndex).string());
  Fail("{} holds neither {} nor {}; for a GGUF model give the file itself", directory.string(),
       kSingle, kIndex);
}

}  // namespace

std::unique_ptr<Checkpoint> Checkpoint::Open(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return OpenDirectory(path);
  if (path.ends_with(".index.json")) return OpenSharded(path);
  MappedFile file(path);
  const auto bytes = file.bytes();
  if (bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0) {
    Origin origin{
        .label = path, .name = fs::path(path).stem().string(), .directory = Directory(path)};
    origin.files.push_back(std::move(file));
    return OpenGguf(bytes, std::move(origin));
  }
  Require(path.ends_with(".safetensors"),
          "{} is neither GGUF nor safetensors; give a .gguf file, a .safetensors file or a "
          "HuggingFace directory",
          path);
  const fs::path index = fs::path(Directory(path)) / kIndex;
  Require(fs::path(path).filename() == kSingle || !Exists(index),
          "{} is one shard of a model; give {} or its directory", path, index.string());
  return OpenSingle(std::move(file));
}

CheckpointSummary InspectCheckpoint(const std::string& path) {
  return Checkpoint::Open(path)->Summary();
}

}  // namespace tamis
