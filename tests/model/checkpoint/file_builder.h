// GGUF and safetensors files made in memory, well-formed unless a test asks otherwise.
#ifndef TAMIS_TESTS_MODEL_CHECKPOINT_FILE_BUILDER_H_
#define TAMIS_TESTS_MODEL_CHECKPOINT_FILE_BUILDER_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace tamis::testing {

using Bytes = std::vector<uint8_t>;

template <typename T>
void Append(Bytes& bytes, const T& value) {
  const auto* source = reinterpret_cast<const uint8_t*>(&value);
  bytes.insert(bytes.end(), source, source + sizeof(T));
}
inline void AppendText(Bytes& bytes, std::string_view text) {
  bytes.insert(bytes.end(), text.begin(), text.end());
}
inline Bytes FloatBytes(const std::vector<float>& values) {
  Bytes bytes(values.size() * sizeof(float));
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

/// Writes GGUF v3. Numbers of types are the format's own. Fields are public so that a test can lie
/// in any of them.
class GgufBuilder {
 public:
  struct Tensor {
    std::string name;
    uint32_t type = 0;            // ggml's number; 0 is F32
    std::vector<uint64_t> shape;  // as the file has it: fastest dimension first
    Bytes data;
    uint64_t offset = UINT64_MAX;  // UINT64_MAX: where the data really is
  };

  uint32_t version = 3;
  uint64_t alignment = 32;
  uint64_t extra_tensors = 0;  // claimed beyond those there are
  uint64_t extra_keys = 0;
  std::vector<Tensor> tensors;

  void Uint32(std::string_view key, uint32_t value) { Scalar(key, 4, value); }
  void Float32(std::string_view key, float value) { Scalar(key, 6, value); }
  void Bool(std::string_view key, bool value) { Scalar(key, 7, static_cast<uint8_t>(value)); }
  void String(std::string_view key, std::string_view value) {
    StartKey(key, 8);
    AppendString(value);
  }
  void Strings(std::string_view key, const std::vector<std::string>& values) {
    StartArray(key, 8, values.size());
    for (const std::string& value : values) AppendString(value);
  }
  void Int32s(std::string_view key, const std::vector<int32_t>& values) {
    StartArray(key, 5, values.size());
    for (const int32_t value : values) Append(metadata_, value);
  }
  template <typename T>
  void Scalar(std::string_view key, uint32_t type, T value) {
    StartKey(key, type);
    Append(metadata_, value);
  }
  /// A key whose value is `value`, whatever `type` says.
  void Raw(std::string_view key, uint32_t type, const Bytes& value) {
    StartKey(key, type);
    metadata_.insert(metadata_.end(), value.begin(), value.end());
  }

  /// The last tensor's data ends the file.
  Bytes Build() const {
    Bytes bytes;
    AppendText(bytes, "GGUF");
    Append(bytes, version);
    Append(bytes, uint64_t{tensors.size()} + extra_tensors);
    Append(bytes, keys_ + extra_keys);
    bytes.insert(bytes.end(), metadata_.begin(), metadata_.end());
    uint64_t offset = 0;
    for (const Tensor& tensor : tensors) {
      Append(bytes, uint64_t{tensor.name.size()});
      AppendText(bytes, tensor.name);
      Append(bytes, static_cast<uint32_t>(tensor.shape.size()));
      for (const uint64_t size : tensor.shape) Append(bytes, size);
      Append(bytes, tensor.type);
      Append(bytes, tensor.offset == UINT64_MAX ? offset : tensor.offset);
      offset = RoundUp(offset + tensor.data.size());
    }
    for (const Tensor& tensor : tensors) {
      bytes.resize(RoundUp(bytes.size()));
      bytes.insert(bytes.end(), tensor.data.begin(), tensor.data.end());
    }
    return bytes;
  }

 private:
  void AppendString(std::string_view text) {
    Append(metadata_, uint64_t{text.size()});
    AppendText(metadata_, text);
  }
  void StartKey(std::string_view key, uint32_t type) {
    AppendString(key);
    Append(metadata_, type);
    ++keys_;
  }
  void StartArray(std::string_view key, uint32_t element, uint64_t count) {
    StartKey(key, 9);
    Append(metadata_, element);
    Append(metadata_, count);
  }
  uint64_t RoundUp(uint64_t position) const {
    return (position + alignment - 1) / alignment * alignment;
  }

  Bytes metadata_;
  uint64_t keys_ = 0;
};

/// A safetensors file of a header and data as given.
inline Bytes SafetensorsBytes(std::string_view header, const Bytes& data) {
  Bytes bytes;
  Append(bytes, uint64_t{header.size()});
  AppendText(bytes, header);
  bytes.insert(bytes.end(), data.begin(), data.end());
  return bytes;
}

/// Writes safetensors.
class SafetensorsBuilder {
 public:
  /// `shape` slowest dimension first.
  void Tensor(std::string_view name, std::string_view dtype, const std::vector<int64_t>& shape,
              const Bytes& data) {
    header_ += header_.empty() ? "{" : ",";
    header_ += '"' + std::string(name) + "\":{\"dtype\":\"" + std::string(dtype) + "\",\"shape\":[";
    for (size_t i = 0; i < shape.size(); ++i) {
      header_ += (i > 0 ? "," : "") + std::to_string(shape[i]);
    }
    const size_t begin = data_.size();
    data_.insert(data_.end(), data.begin(), data.end());
    header_ +=
        "],\"data_offsets\":[" + std::to_string(begin) + ',' + std::to_string(data_.size()) + "]}";
  }
  Bytes Build() const {
    std::string header = header_.empty() ? "{}" : header_ + '}';
    header.resize((header.size() + 7) / 8 * 8, ' ');
    return SafetensorsBytes(header, data_);
  }

 private:
  std::string header_;
  Bytes data_;
};

}  // namespace tamis::testing

#endif  // TAMIS_TESTS_MODEL_CHECKPOINT_FILE_BUILDER_H_
