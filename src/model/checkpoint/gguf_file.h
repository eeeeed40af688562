// The GGUF container: metadata and tensor table, without meaning.
#ifndef TAMIS_MODEL_CHECKPOINT_GGUF_FILE_H_
#define TAMIS_MODEL_CHECKPOINT_GGUF_FILE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/checkpoint/stored_tensor.h"

namespace tamis {

/// GGUF's metadata types, by their numbers in the file.
enum class GgufType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64,
};
std::string_view Name(GgufType type);
/// Bytes of a number or bool; 0 for strings and arrays, whose length the file tells.
size_t ScalarBytes(GgufType type);

/// One metadata value, left in the file's bytes and decoded where it is asked for.
struct GgufValue {
  GgufType type = GgufType::kUint8;
  GgufType element = GgufType::kUint8;  ///< of an array
  uint64_t count = 0;                   ///< elements of an array
  std::span<const uint8_t> bytes;       ///< a scalar, a string's characters or an array's elements
};

/// A parsed GGUF v3 file. Views into the bytes it was parsed from, which must outlive it. The
/// getters return nothing where the key is absent and throw Error where it holds another type;
/// integers of any width are read alike.
class GgufFile {
 public:
  /// `label` begins every error message. Throws Error for damage, other versions, big-endian files,
  /// parts of split files and tensor types that tamis does not run.
  GgufFile(std::span<const uint8_t> bytes, std::string label);

  const std::string& label() const { return label_; }
  const std::vector<StoredTensor>& tensors() const { return tensors_; }
  bool Has(std::string_view key) const { return metadata_.contains(key); }

  std::optional<int64_t> Integer(std::string_view key) const;
  /// Any number; never NaN or infinite.
  std::optional<double> Number(std::string_view key) const;
  std::optional<bool> Bool(std::string_view key) const;
  std::optional<std::string> String(std::string_view key) const;
  std::optional<std::vector<std::string>> Strings(std::string_view key) const;
  std::optional<std::vector<int32_t>> Integers(std::string_view key) const;

 private:
  const GgufValue* Find(std::string_view key) const;

  std::string label_;
  std::map<std::string, GgufValue, std::less<>> metadata_;
  std::vector<StoredTensor> tensors_;
};

}  // namespace tamis

#endif  // TAMIS_MODEL_CHECKPOINT_GGUF_FILE_H_
