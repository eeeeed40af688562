#include "model/checkpoint/hf_config.h"

#include <string>
#include <utility>

#include "base/check.h"
#include "model/checkpoint/config_check.h"
#include "model/checkpoint/stored_tensor.h"
#include "model/checkpoint/strict_json.h"

namespace tamis {
namespace {

/// One object of the file; null counts as absent, as it does in transformers.
class Fields {
 public:
  Fields(const nlohmann::json& object, std::string_view label) : object_(object), label_(label) {}

  std::string_view label() const { return label_; }

  const nlohmann::json* Find(std::string_view key) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }
  bool Has(std::string_view key) const { return Find(key) != nullptr; }

  int32_t Size(std::string_view key, int64_t limit) const {
    const nlohmann::json* value = Find(key);
    Require(value != nullptr, "{}: {} is missing", label_, key);
    Require(value->is_number_integer(), "{}: {} is not a whole number", label_, key);
    // Above INT64_MAX the stored unsigned number would wrap to a negative one: still refused.
    return CheckedSize(label_, key, value->get<int64_t>(), limit);
  }
  int32_t Size(std::string_view key, int64_t limit, int32_t otherwise) const {
    return Has(key) ? Size(key, limit) : CheckedSize(label_, key, otherwise, limit);
  }
  double Number(std::string_view key) const {
    const nlohmann::json* value = Find(key);
    Require(value != nullptr, "{}: {} is missing", label_, key);
    Require(value->is_number(), "{}: {} is not a number", label_, key);
    return value->get<double>();
  }
  double Number(std::string_view key, double otherwise) const {
    return Has(key) ? Number(key) : otherwise;
  }
  bool Bool(std::string_view key) const {
    const nlohmann::json* value = Find(key);
    if (value == nullptr) return false;
    Require(value->is_boolean(), "{}: {} is not true or false", label_, key);
    return value->get<bool>();
  }
  std::string String(std::string_view key, std::string otherwise) const {
    const nlohmann::json* value = Find(key);
    if (value == nullptr) return otherwise;
    Require(value->is_string(), "{}: {} is not a string", label_, key);
    return value->get<std::string>();
  }

 private:
  const nlohmann::json& object_;
  std::string_view label_;
};

Architecture ParseArchitecture(const Fields& fields) {
  static constexpr std::pair<std::string_view, Architecture> kClasses[] = {
      {"LlamaForCausalLM", Architecture::kLlama},
      {"Qwen2ForCausalLM", Architecture::kQwen2},
      {"Qwen3ForCausalLM", Architecture::kQwen3},
  };
  const nlohmann::json* classes = fields.Find("architectures");
  Require(classes != nullptr && classes->is_array() && classes->size() == 1 &&
              classes->front().is_string(),
          "{}: architectures must name one class; LlamaForCausalLM, Qwen2ForCausalLM and "
          "Qwen3ForCausalLM are run",
          fields.label());
  const auto& name = classes->front().get_ref<const std::string&>();
  for (const auto& [known, architecture] : kClasses) {
    if (name == known) return architecture;
  }
  Fail(
      "{}: architecture {} is not run; LlamaForCausalLM, Qwen2ForCausalLM and Qwen3ForCausalLM are",
      fields.label(), Printable(name));
}

void RefuseFeatures(const Fields& fields) {
  const std::string_view label = fields.label();
  const std::string activation = fields.String("hidden_act", "silu");
  Require(activation == "silu", "{}: hidden_act '{}' is not run; silu is", label,
          Printable(activation));
  for (std::string_view key :
       {"attention_bias", "mlp_bias", "use_sliding_window", "rope_interleaved"}) {
    Require(!fields.Bool(key), "{}: {} is true, which tamis does not run", label, key);
  }
  if (const nlohmann::json* types = fields.Find("layer_types")) {
    Require(types->is_array(), "{}: layer_types is not an array", label);
    for (const nlohmann::json& type : *types) {
      Require(type.is_string() && type.get_ref<const std::string&>() == "full_attention",
              "{}: layer_types holds {}; only full_attention is run", label,
              type.is_string() ? Printable(type.get_ref<const std::string&>())
                               : std::string("something else than names"));
    }
  }
  if (const nlohmann::json* quantization = fields.Find("quantization_config")) {
    Require(quantization->is_object(), "{}: quantization_config is not an object", label);
    Fail("{}: weights quantised by '{}' are not run; use the unquantised model or a GGUF file",
         label, Printable(Fields(*quantization, label).String("quant_method", "?")));
  }
}

/// Both spellings: rope_theta beside a rope_scaling object, and one rope_parameters object.
RopeConfig ReadRope(const Fields& fields, int32_t max_positions) {
  const std::string_view label = fields.label();
  static const nlohmann::json kNone = nlohmann::json::object();
  const nlohmann::json* object = fields.Find("rope_parameters");
  if (object == nullptr) object = fields.Find("rope_scaling");
  if (object == nullptr) object = &kNone;
  Require(object->is_object(), "{}: rope_parameters or rope_scaling is not an object", label);
  for (const auto& [key, value] : object->items()) {
    Require(!value.is_object(), "{}: rotary parameters by layer type ({}) are not run", label,
            Printable(key));
  }
  const Fields parameters(*object, label);
  RopeConfig rope;
  rope.theta = parameters.Number("rope_theta", fields.Number("rope_theta", 10000.0));
  const double rotated =
      parameters.Number("partial_rotary_factor", fields.Number("partial_rotary_factor", 1.0));
  Require(rotated == 1.0, "{}: partial_rotary_factor is {}; partial rotation is not run", label,
          rotated);
  const std::string type = parameters.String("rope_type", parameters.String("type", "default"));
  if (type == "default") return rope;
  Require(type == "llama3", "{}: rotary scaling '{}' is not run; llama3 and default are", label,
          Printable(type));
  rope.factor = parameters.Number("factor");
  rope.low_frequency_factor = parameters.Number("low_freq_factor");
  rope.high_frequency_factor = parameters.Number("high_freq_factor");
  rope.original_max_positions =
      parameters.Size("original_max_position_embeddings", ConfigBounds::kPositions, max_positions);
  return rope;
}

}  // namespace

ModelConfig ParseHfConfig(std::string_view text, std::string_view label, std::string_view name) {
  const nlohmann::json json = ParseJsonObject(text, label);
  const Fields fields(json, label);
  ModelConfig config;
  config.architecture = ParseArchitecture(fields);
  RefuseFeatures(fields);
  config.name = Printable(name);
  config.layers = fields.Size("num_hidden_layers", ConfigBounds::kLayers);
  config.hidden = fields.Size("hidden_size", ConfigBounds::kHidden);
  config.feed_forward = fields.Size("intermediate_size", ConfigBounds::kFeedForward);
  config.vocab = fields.Size("vocab_size", ConfigBounds::kVocab);
  config.max_positions = fields.Size("max_position_embeddings", ConfigBounds::kPositions);
  config.q_heads = fields.Size("num_attention_heads", ConfigBounds::kHeads);
  config.kv_heads = fields.Size("num_key_value_heads", ConfigBounds::kHeads, config.q_heads);
  if (!fields.Has("head_dim") && config.architecture == Architecture::kQwen3) {
    config.head_dim = 128;  // Qwen3's own default, whatever the hidden size
  } else {
    Require(fields.Has("head_dim") || config.hidden % config.q_heads == 0,
            "{}: hidden_size {} does not divide into {} heads and head_dim is missing", label,
            config.hidden, config.q_heads);
    config.head_dim =
        fields.Size("head_dim", ConfigBounds::kHeadDim, config.hidden / config.q_heads);
  }
  config.rms_epsilon = fields.Number("rms_norm_eps", 1e-6);
  config.rope = ReadRope(fields, config.max_positions);
  config.qkv_bias = config.architecture == Architecture::kQwen2;
  config.qk_norm = config.architecture == Architecture::kQwen3;
  config.tied_embeddings = fields.Bool("tie_word_embeddings");
  CheckConfig(label, config);
  return config;
}

}  // namespace tamis
