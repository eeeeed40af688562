#include "model/checkpoint/gguf_config.h"

#include <algorithm>

#include "base/check.h"
#include "model/checkpoint/config_check.h"

namespace tamis {
namespace {

/// Reads "<architecture>.<key>".
class ArchitectureKeys {
 public:
  ArchitectureKeys(const GgufFile& file, std::string_view architecture)
      : file_(file), prefix_(fmt::format("{}.", architecture)) {}

  std::string Full(std::string_view key) const { return prefix_ + std::string(key); }

  int32_t Size(std::string_view key, int64_t limit) const {
    const std::string full = Full(key);
    const auto value = file_.Integer(full);
    Require(value.has_value(), "{}: {} is missing", file_.label(), full);
    return CheckedSize(file_.label(), full, *value, limit);
  }
  int32_t Size(std::string_view key, int64_t limit, int64_t otherwise) const {
    const std::string full = Full(key);
    return CheckedSize(file_.label(), full, file_.Integer(full).value_or(otherwise), limit);
  }
  double Number(std::string_view key, double otherwise) const {
    return file_.Number(Full(key)).value_or(otherwise);
  }
  std::string String(std::string_view key, std::string otherwise) const {
    return file_.String(Full(key)).value_or(std::move(otherwise));
  }
  /// Refuses a number that would change the computation: anything but `neutral` or absence.
  void RefuseUnless(std::string_view key, double neutral) const {
    const double value = Number(key, neutral);
    Require(value == neutral, "{}: {} is {}, which tamis does not run", file_.label(), Full(key),
            value);
  }

 private:
  const GgufFile& file_;
  std::string prefix_;
};

Architecture ParseArchitecture(const GgufFile& file) {
  const auto name = file.String("general.architecture");
  Require(name.has_value(), "{}: general.architecture is missing", file.label());
  for (Architecture architecture :
       {Architecture::kLlama, Architecture::kQwen2, Architecture::kQwen3}) {
    if (*name == Name(architecture)) return architecture;
  }
  Fail("{}: architecture '{}' is not run; llama, qwen2 and qwen3 are", file.label(),
       Printable(*name));
}

void RefuseFeatures(const GgufFile& file, const ArchitectureKeys& keys, int32_t max_positions) {
  for (std::string_view key : {"expert_count", "logit_scale", "residual_scale", "embedding_scale",
                               "attention.scale", "attention.clamp_kqv", "attention.max_alibi_bias",
                               "attn_logit_softcapping", "final_logit_softcapping"}) {
    keys.RefuseUnless(key, 0.0);
  }
  const std::string causal = keys.Full("attention.causal");
  Require(file.Bool(causal).value_or(true), "{}: {} is false; tamis runs causal decoders",
          file.label(), causal);
  const double window = keys.Number("attention.sliding_window", 0.0);
  Require(window == 0.0 || window >= max_positions,
          "{}: {} is {}; models with sliding-window layers are not run", file.label(),
          keys.Full("attention.sliding_window"), window);
}

/// llama.cpp's converter writes Llama 3's scaling as a tensor; the metadata's other kinds are not
/// run.
RopeConfig ReadRope(const GgufFile& file, const ArchitectureKeys& keys, int32_t head_dim) {
  RopeConfig rope;
  rope.theta = keys.Number("rope.freq_base", 10000.0);
  const int32_t rotated = keys.Size("rope.dimension_count", ConfigBounds::kHeadDim, head_dim);
  Require(rotated == head_dim, "{}: {} is {} of {} dimensions; partial rotation is not run",
          file.label(), keys.Full("rope.dimension_count"), rotated, head_dim);
  const std::string type = keys.String("rope.scaling.type", "none");
  const double factor = keys.Number("rope.scaling.factor", 1.0);
  const bool neutral = type == "none" || (type == "linear" && (factor == 1.0 || factor == 0.0));
  Require(neutral, "{}: {} '{}' with factor {} is not run; Llama 3's scaling and none are",
          file.label(), keys.Full("rope.scaling.type"), Printable(type), factor);
  keys.RefuseUnless("rope.scale_linear", 1.0);
  keys.RefuseUnless("rope.scaling.attn_factor", 1.0);

  const auto tensor =
      std::find_if(file.tensors().begin(), file.tensors().end(),
                   [](const StoredTensor& t) { return t.name == "rope_freqs.weight"; });
  if (tensor != file.tensors().end()) {
    Require(tensor->type == WeightType::kF32 && tensor->shape.size() == 1 &&
                tensor->shape[0] == head_dim / 2,
            "{}: rope_freqs.weight is {} of shape {}; F32 of shape [{}] is needed", file.label(),
            Name(tensor->type), ShapeText(tensor->shape), head_dim / 2);
    rope.frequency_factors.resize(static_cast<size_t>(head_dim / 2));
    DequantizeRow(tensor->type, tensor->data, head_dim / 2, rope.frequency_factors.data());
  }
  return rope;
}

int32_t VocabularySize(const GgufFile& file, const ArchitectureKeys& keys) {
  const auto embedding =
      std::find_if(file.tensors().begin(), file.tensors().end(),
                   [](const StoredTensor& t) { return t.name == "token_embd.weight"; });
  Require(embedding != file.tensors().end() && embedding->shape.size() == 2,
          "{}: tensor token_embd.weight is missing or not a matrix", file.label());
  const int64_t rows = embedding->shape[0];
  const int32_t declared = keys.Size("vocab_size", ConfigBounds::kVocab, rows);
  Require(declared == rows, "{}: {} is {}, but token_embd.weight has {} rows", file.label(),
          keys.Full("vocab_size"), declared, rows);
  return declared;
}

}  // namespace

ModelConfig GgufModelConfig(const GgufFile& file, std::string_view file_name) {
  ModelConfig config;
  config.architecture = ParseArchitecture(file);
  const ArchitectureKeys keys(file, Name(config.architecture));
  config.name = Printable(file.String("general.name").value_or(std::string(file_name)));
  config.layers = keys.Size("block_count", ConfigBounds::kLayers);
  config.hidden = keys.Size("embedding_length", ConfigBounds::kHidden);
  config.feed_forward = keys.Size("feed_forward_length", ConfigBounds::kFeedForward);
  config.max_positions = keys.Size("context_length", ConfigBounds::kPositions);
  config.q_heads = keys.Size("attention.head_count", ConfigBounds::kHeads);
  config.kv_heads = keys.Size("attention.head_count_kv", ConfigBounds::kHeads, config.q_heads);
  if (!file.Has(keys.Full("attention.key_length"))) {
    Require(config.hidden % config.q_heads == 0,
            "{}: {} hidden units do not divide into {} heads and {} is missing", file.label(),
            config.hidden, config.q_heads, keys.Full("attention.key_length"));
  }
  config.head_dim =
      keys.Size("attention.key_length", ConfigBounds::kHeadDim, config.hidden / config.q_heads);
  const int32_t value_dim =
      keys.Size("attention.value_length", ConfigBounds::kHeadDim, config.head_dim);
  Require(value_dim == config.head_dim,
          "{}: keys have {} dimensions and values {}; tamis runs models where they are equal",
          file.label(), config.head_dim, value_dim);
  RefuseFeatures(file, keys, config.max_positions);
  config.vocab = VocabularySize(file, keys);

  const std::string epsilon = keys.Full("attention.layer_norm_rms_epsilon");
  const auto epsilon_value = file.Number(epsilon);
  Require(epsilon_value.has_value(), "{}: {} is missing", file.label(), epsilon);
  config.rms_epsilon = *epsilon_value;
  config.rope = ReadRope(file, keys, config.head_dim);
  config.qkv_bias = config.architecture == Architecture::kQwen2;
  config.qk_norm = config.architecture == Architecture::kQwen3;
  config.tied_embeddings =
      std::none_of(file.tensors().begin(), file.tensors().end(),
                   [](const StoredTensor& tensor) { return tensor.name == "output.weight"; });
  CheckConfig(file.label(), config);
  return config;
}

std::optional<TokenizerMetadata> GgufTokenizer(const GgufFile& file) {
  auto model = file.String("tokenizer.ggml.model");
  if (!model.has_value()) return std::nullopt;
  TokenizerMetadata tokenizer;
  tokenizer.model = std::move(*model);
  tokenizer.pre = file.String("tokenizer.ggml.pre").value_or("");
  tokenizer.tokens = file.Strings("tokenizer.ggml.tokens").value_or(std::vector<std::string>{});
  Require(tokenizer.tokens.size() <= static_cast<size_t>(ConfigBounds::kVocab),
          "{}: tokenizer.ggml.tokens holds {} tokens; at most {} are read", file.label(),
          tokenizer.tokens.size(), ConfigBounds::kVocab);
  tokenizer.token_types =
      file.Integers("tokenizer.ggml.token_type").value_or(std::vector<int32_t>{});
  Require(tokenizer.token_types.empty() || tokenizer.token_types.size() == tokenizer.tokens.size(),
          "{}: tokenizer.ggml.token_type holds {} entries for {} tokens", file.label(),
          tokenizer.token_types.size(), tokenizer.tokens.size());
  tokenizer.merges = file.Strings("tokenizer.ggml.merges").value_or(std::vector<std::string>{});

  const auto special = [&](std::string_view key) {
    const auto id = file.Integer(key);
    if (!id.has_value()) return -1;
    Require(*id >= 0 && *id < static_cast<int64_t>(tokenizer.tokens.size()),
            "{}: {} is {}, but there are {} tokens", file.label(), key, *id,
            tokenizer.tokens.size());
    return static_cast<int32_t>(*id);
  };
  tokenizer.bos_id = special("tokenizer.ggml.bos_token_id");
  tokenizer.eos_id = special("tokenizer.ggml.eos_token_id");
  // Files that say nothing: llama.cpp takes the token for Llama 3's pre-tokenizer and for none of
  // the other byte-level ones.
  tokenizer.add_bos =
      file.Bool("tokenizer.ggml.add_bos_token").value_or(tokenizer.pre == "llama-bpe");
  tokenizer.chat_template = file.String("tokenizer.chat_template").value_or("");
  return tokenizer;
}

}  // namespace tamis
