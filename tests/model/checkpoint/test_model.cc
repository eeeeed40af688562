#include "model/checkpoint/test_model.h"

#include <nlohmann/json.hpp>
#include <random>
#include <stdexcept>

#include "model/checkpoint/decoder_tensors.h"
#include "model/checkpoint/safetensors_file.h"
#include "tamis/dtype.h"

namespace tamis::testing {
namespace {

uint32_t GgmlNumber(WeightType type) {
  switch (type) {
    case WeightType::kF32:
      return 0;
    case WeightType::kF16:
      return 1;
    case WeightType::kQ4_0:
      return 2;
    case WeightType::kQ4_1:
      return 3;
    case WeightType::kQ8_0:
      return 8;
    case WeightType::kQ6_K:
      return 14;
    case WeightType::kBF16:
      return 30;
  }
  throw std::logic_error("no such type");
}

/// llama.cpp's order of the rows of q and k: the two halves of each head in turns.
Bytes Interleaved(const TestTensor& tensor, int64_t head_dim) {
  const auto rows = static_cast<size_t>(tensor.shape[0]);
  const size_t row_bytes = tensor.data.size() / rows;
  const auto half = static_cast<size_t>(head_dim / 2);
  Bytes result;
  for (size_t head = 0; head < rows / (2 * half); ++head) {
    for (size_t i = 0; i < half; ++i) {
      for (size_t part = 0; part < 2; ++part) {
        const size_t row = head * 2 * half + part * half + i;
        const auto begin = tensor.data.begin() + static_cast<ptrdiff_t>(row * row_bytes);
        result.insert(result.end(), begin, begin + static_cast<ptrdiff_t>(row_bytes));
      }
    }
  }
  return result;
}

void PutHalf(Bytes& bytes, size_t at, float value) {
  const Float16 half = ToFloat16(value);
  std::memcpy(bytes.data() + at, &half.bits, sizeof(half.bits));
}

}  // namespace

TestTensor& TestModel::Find(const std::string& name) {
  for (TestTensor& tensor : tensors) {
    if (tensor.name == name) return tensor;
  }
  throw std::logic_error("no tensor " + name);
}

ModelConfig TinyConfig(Architecture architecture) {
  ModelConfig config;
  config.architecture = architecture;
  config.name = "tiny";
  config.layers = 2;
  config.hidden = 64;
  config.feed_forward = 96;
  config.q_heads = 4;
  config.kv_heads = 2;
  config.head_dim = architecture == Architecture::kQwen3 ? 24 : 16;
  config.vocab = 64;
  config.max_positions = 128;
  config.rms_epsilon = 1e-5;
  config.rope.theta = 10000.0;
  config.qkv_bias = architecture == Architecture::kQwen2;
  config.qk_norm = architecture == Architecture::kQwen3;
  config.tied_embeddings = architecture == Architecture::kQwen2;
  return config;
}

Bytes RandomBlocks(WeightType type, int64_t count, float scale, uint32_t seed) {
  std::mt19937 random(seed);
  const auto bytes = RowBytes(type, count);
  Bytes result(bytes);
  std::normal_distribution<float> normal(0.0f, scale);
  switch (type) {
    case WeightType::kF32:
      for (size_t i = 0; i < bytes; i += 4) {
        const float value = normal(random);
        std::memcpy(result.data() + i, &value, 4);
      }
      return result;
    case WeightType::kF16:
      for (size_t i = 0; i < bytes; i += 2) PutHalf(result, i, normal(random));
      return result;
    case WeightType::kBF16:
      for (size_t i = 0; i < bytes; i += 2) {
        const BFloat16 value = ToBFloat16(normal(random));
        std::memcpy(result.data() + i, &value.bits, 2);
      }
      return result;
    default:
      break;
  }
  for (uint8_t& byte : result) byte = static_cast<uint8_t>(random());
  const auto block = static_cast<size_t>(RowBytes(type, BlockValues(type)));
  for (size_t i = 0; i < bytes; i += block) {
    if (type == WeightType::kQ8_0) PutHalf(result, i, scale / 64);
    if (type == WeightType::kQ4_0) PutHalf(result, i, scale / 4);
    if (type == WeightType::kQ4_1) {
      PutHalf(result, i, scale / 4);
      PutHalf(result, i + 2, -2 * scale);
    }
    if (type == WeightType::kQ6_K) PutHalf(result, i + 208, scale / 1024);
  }
  return result;
}

TestModel RandomModel(const ModelConfig& config, WeightType matrix_type, uint32_t seed) {
  TestModel model{config, {}};
  for (const DecoderTensor& wanted : DecoderTensors(config)) {
    TestTensor tensor{
        .name = wanted.name, .gguf_name = wanted.gguf_name, .rotated = wanted.rotated};
    ++seed;
    if (wanted.rows > 0) {
      tensor.type = matrix_type;
      tensor.shape = {wanted.rows, wanted.columns};
      for (int64_t row = 0; row < wanted.rows; ++row) {
        const Bytes blocks = RandomBlocks(matrix_type, wanted.columns, 0.1f,
                                          seed * 7919 + static_cast<uint32_t>(row));
        tensor.data.insert(tensor.data.end(), blocks.begin(), blocks.end());
      }
    } else {
      tensor.shape = {wanted.columns};
      std::mt19937 random(seed);
      const float centre = wanted.name.ends_with("norm.weight") ? 1.0f : 0.0f;
      std::normal_distribution<float> normal(centre, 0.1f);
      for (int64_t i = 0; i < wanted.columns; ++i) Append(tensor.data, normal(random));
    }
    model.tensors.push_back(std::move(tensor));
  }
  return model;
}

std::string ConfigJson(const ModelConfig& config) {
  static constexpr const char* kClasses[] = {"LlamaForCausalLM", "Qwen2ForCausalLM",
                                             "Qwen3ForCausalLM"};
  nlohmann::json json = {
      {"architectures", {kClasses[static_cast<int>(config.architecture)]}},
      {"model_type", Name(config.architecture)},
      {"num_hidden_layers", config.layers},
      {"hidden_size", config.hidden},
      {"intermediate_size", config.feed_forward},
      {"num_attention_heads", config.q_heads},
      {"num_key_value_heads", config.kv_heads},
      {"head_dim", config.head_dim},
      {"vocab_size", config.vocab},
      {"max_position_embeddings", config.max_positions},
      {"rms_norm_eps", config.rms_epsilon},
      {"rope_theta", config.rope.theta},
      {"rope_scaling", nullptr},
      {"hidden_act", "silu"},
      {"tie_word_embeddings", config.tied_embeddings},
  };
  if (config.rope.factor != 1.0) {
    json["rope_scaling"] = {
        {"rope_type", "llama3"},
        {"factor", config.rope.factor},
        {"low_freq_factor", config.rope.low_frequency_factor},
        {"high_freq_factor", config.rope.high_frequency_factor},
        {"original_max_position_embeddings", config.rope.original_max_positions}};
  }
  return json.dump(2);
}

Bytes SafetensorsFile(const TestModel& model) {
  SafetensorsBuilder builder;
  for (const TestTensor& tensor : model.tensors) {
    builder.Tensor(tensor.name, Name(tensor.type), tensor.shape, tensor.data);
  }
  return builder.Build();
}

GgufBuilder GgufOf(const TestModel& model) {
  const ModelConfig& config = model.config;
  const std::string architecture(Name(config.architecture));
  const auto key = [&](const char* name) { return architecture + '.' + name; };
  const auto size = [](int32_t value) { return static_cast<uint32_t>(value); };
  GgufBuilder builder;
  builder.String("general.architecture", architecture);
  builder.String("general.name", config.name);
  builder.Uint32(key("block_count"), size(config.layers));
  builder.Uint32(key("context_length"), size(config.max_positions));
  builder.Uint32(key("embedding_length"), size(config.hidden));
  builder.Uint32(key("feed_forward_length"), size(config.feed_forward));
  builder.Uint32(key("attention.head_count"), size(config.q_heads));
  builder.Uint32(key("attention.head_count_kv"), size(config.kv_heads));
  builder.Uint32(key("attention.key_length"), size(config.head_dim));
  builder.Uint32(key("attention.value_length"), size(config.head_dim));
  builder.Float32(key("attention.layer_norm_rms_epsilon"), static_cast<float>(config.rms_epsilon));
  builder.Float32(key("rope.freq_base"), static_cast<float>(config.rope.theta));
  if (!config.rope.frequency_factors.empty()) {
    builder.tensors.push_back({"rope_freqs.weight",
                               0,
                               {config.rope.frequency_factors.size()},
                               FloatBytes(config.rope.frequency_factors)});
  }
  for (const TestTensor& tensor : model.tensors) {
    const bool interleave = tensor.rotated && config.architecture == Architecture::kLlama;
    builder.tensors.push_back({tensor.gguf_name,
                               GgmlNumber(tensor.type),
                               {tensor.shape.rbegin(), tensor.shape.rend()},
                               interleave ? Interleaved(tensor, config.head_dim) : tensor.data});
  }
  return builder;
}

std::unique_ptr<Checkpoint> OpenGgufBytes(const Bytes& bytes) {
  return OpenGguf(bytes, {.label = "test.gguf", .name = "test", .directory = "."});
}

std::unique_ptr<Checkpoint> OpenSafetensorsBytes(const std::string& config, const Bytes& bytes) {
  return OpenSafetensors(config, ParseSafetensors(bytes, "test.safetensors"), 1,
                         {.label = "test.safetensors", .name = "test", .directory = "."});
}

std::vector<float> Values(const Weight& weight) {
  std::vector<float> values(static_cast<size_t>(weight.rows * weight.columns));
  for (int64_t row = 0; row < weight.rows; ++row) {
    DequantizeRow(weight.type, weight.Row(row), weight.columns,
                  values.data() + row * weight.columns);
  }
  return values;
}

}  // namespace tamis::testing
