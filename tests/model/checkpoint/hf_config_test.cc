// config.json: both generations of its spelling, defaults, and everything it must refuse.
#include "model/checkpoint/hf_config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "model/checkpoint/expect_error.h"

namespace tamis {
namespace {

using nlohmann::json;
using testing::ExpectError;

json Llama() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"hidden_size", 576},
          {"intermediate_size", 1536},
          {"num_hidden_layers", 30},
          {"num_attention_heads", 9},
          {"num_key_value_heads", 3},
          {"vocab_size", 49152},
          {"max_position_embeddings", 8192},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 100000},
          {"tie_word_embeddings", true},
          {"torch_dtype", "bfloat16"}};
}
json Llama3Scaling() {
  return {{"rope_type", "llama3"},
          {"factor", 32.0},
          {"low_freq_factor", 1.0},
          {"high_freq_factor", 4.0},
          {"original_max_position_embeddings", 8192}};
}
ModelConfig Parse(const json& config) {
  return ParseHfConfig(config.dump(), "dir/config.json", "name");
}
void ExpectRefused(const json& config, const std::string& text) {
  ExpectError([&] { Parse(config); }, text);
}
/// Llama with `key` set to `value`; null removes it.
json With(const std::string& key, const json& value) {
  json config = Llama();
  config[key] = value;
  return config;
}

TEST(HfConfig, Llama) {
  const ModelConfig config = Parse(Llama());
  EXPECT_EQ(config.architecture, Architecture::kLlama);
  EXPECT_EQ(config.name, "name");
  EXPECT_EQ(config.layers, 30);
  EXPECT_EQ(config.hidden, 576);
  EXPECT_EQ(config.feed_forward, 1536);
  EXPECT_EQ(config.q_heads, 9);
  EXPECT_EQ(config.kv_heads, 3);
  EXPECT_EQ(config.head_dim, 64);
  EXPECT_EQ(config.vocab, 49152);
  EXPECT_EQ(config.max_positions, 8192);
  EXPECT_EQ(config.rms_epsilon, 1e-5);
  EXPECT_EQ(config.rope.theta, 100000.0);
  EXPECT_EQ(config.rope.factor, 1.0);
  EXPECT_FALSE(config.qkv_bias);
  EXPECT_FALSE(config.qk_norm);
  EXPECT_TRUE(config.tied_embeddings);
}

TEST(HfConfig, Defaults) {
  json text = Llama();
  for (const char* key : {"num_key_value_heads", "rms_norm_eps", "rope_theta",
                          "tie_word_embeddings", "torch_dtype"}) {
    text.erase(key);
  }
  const ModelConfig config = Parse(text);
  EXPECT_EQ(config.kv_heads, 9);
  EXPECT_EQ(config.rms_epsilon, 1e-6);
  EXPECT_EQ(config.rope.theta, 10000.0);
  EXPECT_FALSE(config.tied_embeddings);
}

TEST(HfConfig, QwenFamilies) {
  json text = Llama();
  text["architectures"] = {"Qwen2ForCausalLM"};
  text["use_sliding_window"] = false;
  text["sliding_window"] = 32768;
  ModelConfig config = Parse(text);
  EXPECT_EQ(config.architecture, Architecture::kQwen2);
  EXPECT_TRUE(config.qkv_bias);
  EXPECT_EQ(config.head_dim, 64);
  text["architectures"] = {"Qwen3ForCausalLM"};
  config = Parse(text);
  EXPECT_TRUE(config.qk_norm);
  EXPECT_FALSE(config.qkv_bias);
  EXPECT_EQ(config.head_dim, 128);  // 9 * 128 != 576, as Qwen3 allows
  text["head_dim"] = 96;
  EXPECT_EQ(Parse(text).head_dim, 96);
  text["use_sliding_window"] = true;
  ExpectRefused(text, "use_sliding_window is true");
}

TEST(HfConfig, RopeSpellings) {
  json old = Llama();
  old["rope_scaling"] = Llama3Scaling();
  json older = Llama();
  older["rope_scaling"] = Llama3Scaling();
  older["rope_scaling"].erase("rope_type");
  older["rope_scaling"]["type"] = "llama3";
  json recent = Llama();
  recent.erase("rope_theta");
  recent["rope_parameters"] = Llama3Scaling();
  recent["rope_parameters"]["rope_theta"] = 100000.0;
  for (const json& text : {old, older, recent}) {
    const RopeConfig rope = Parse(text).rope;
    EXPECT_EQ(rope.theta, 100000.0);
    EXPECT_EQ(rope.factor, 32.0);
    EXPECT_EQ(rope.low_frequency_factor, 1.0);
    EXPECT_EQ(rope.high_frequency_factor, 4.0);
    EXPECT_EQ(rope.original_max_positions, 8192);
    EXPECT_TRUE(rope.frequency_factors.empty());
  }
  json plain = Llama();
  plain.erase("rope_theta");
  plain["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 5e5}};
  EXPECT_EQ(Parse(plain).rope.theta, 5e5);
  EXPECT_EQ(Parse(plain).rope.factor, 1.0);
}

TEST(HfConfig, RopeRefusals) {
  for (const char* type : {"yarn", "dynamic", "linear", "longrope", "mrope"}) {
    for (const char* key : {"rope_type", "type"}) {
      ExpectRefused(With("rope_scaling", {{key, type}, {"factor", 2.0}}),
                    "rotary scaling '" + std::string(type) + "' is not run");
    }
    ExpectRefused(With("rope_parameters", {{"rope_type", type}, {"factor", 2.0}}),
                  "rotary scaling '" + std::string(type) + "' is not run");
  }
  ExpectRefused(With("rope_parameters", {{"full_attention", {{"rope_type", "default"}}}}),
                "by layer type (full_attention)");
  ExpectRefused(With("rope_scaling", 2.0), "is not an object");
  ExpectRefused(With("partial_rotary_factor", 0.5), "partial_rotary_factor is 0.5");
  ExpectRefused(With("rope_theta", 0.5), "the rotary base is 0.5");
  ExpectRefused(With("rope_theta", 1e300), "the rotary base is 1e+300");
  ExpectRefused(With("rope_theta", "10000"), "rope_theta is not a number");
  for (const char* key : {"factor", "low_freq_factor", "high_freq_factor"}) {
    json scaling = Llama3Scaling();
    scaling.erase(key);
    ExpectRefused(With("rope_scaling", scaling), std::string(key) + " is missing");
    scaling[key] = -1.0;
    EXPECT_THROW(Parse(With("rope_scaling", scaling)), Error) << key;
  }
  json scaling = Llama3Scaling();
  scaling["low_freq_factor"] = 4.0;
  ExpectRefused(With("rope_scaling", scaling), "out of order");
  scaling = Llama3Scaling();
  scaling["original_max_position_embeddings"] = 0;
  ExpectRefused(With("rope_scaling", scaling), "original_max_position_embeddings is 0");
}

TEST(HfConfig, Architectures) {
  for (const char* name : {"MistralForCausalLM", "GPT2LMHeadModel", "LlamaModel", ""}) {
    ExpectRefused(With("architectures", {name}), "LlamaForCausalLM, Qwen2ForCausalLM");
  }
  ExpectRefused(With("architectures", json::array()), "architectures must name one class");
  ExpectRefused(With("architectures", nullptr), "architectures must name one class");
  ExpectRefused(With("architectures", {1}), "architectures must name one class");
  ExpectRefused(With("architectures", "LlamaForCausalLM"), "architectures must name one class");
}

TEST(HfConfig, Features) {
  ExpectRefused(With("hidden_act", "gelu"), "hidden_act 'gelu' is not run; silu is");
  for (const char* key : {"attention_bias", "mlp_bias", "rope_interleaved"}) {
    ExpectRefused(With(key, true), std::string(key) + " is true");
    ExpectRefused(With(key, 1), std::string(key) + " is not true or false");
    EXPECT_NO_THROW(Parse(With(key, false)));
    EXPECT_NO_THROW(Parse(With(key, nullptr)));
  }
  EXPECT_NO_THROW(Parse(With("layer_types", {"full_attention", "full_attention"})));
  ExpectRefused(With("layer_types", {"full_attention", "sliding_attention"}), "sliding_attention");
  ExpectRefused(With("layer_types", {1}), "layer_types holds");
  ExpectRefused(With("quantization_config", {{"quant_method", "gptq"}}),
                "weights quantised by 'gptq' are not run");
}

TEST(HfConfig, Numbers) {
  for (const char* key : {"hidden_size", "intermediate_size", "num_hidden_layers",
                          "num_attention_heads", "vocab_size", "max_position_embeddings"}) {
    ExpectRefused(With(key, nullptr), std::string(key) + " is missing");
    ExpectRefused(With(key, 0), std::string(key) + " is 0; 1 to ");
    ExpectRefused(With(key, -1), std::string(key) + " is -1; 1 to ");
    ExpectRefused(With(key, int64_t{1} << 40), std::string(key) + " is 1099511627776; 1 to ");
    ExpectRefused(With(key, UINT64_MAX), std::string(key) + " is ");
    ExpectRefused(With(key, 64.0), std::string(key) + " is not a whole number");
    ExpectRefused(With(key, "64"), std::string(key) + " is not a whole number");
  }
  ExpectRefused(With("num_key_value_heads", 2), "9 query heads cannot share 2 key-value heads");
  ExpectRefused(With("num_key_value_heads", 18), "9 query heads cannot share 18");
  ExpectRefused(With("head_dim", 60), "the head dimension is 60; a multiple of 8 up to 256");
  ExpectRefused(With("head_dim", 264), "head_dim is 264");
  ExpectRefused(With("hidden_size", 577), "hidden_size 577 does not divide into 9 heads");
  ExpectRefused(With("rms_norm_eps", 0), "epsilon is 0");
  ExpectRefused(With("rms_norm_eps", -1e-5), "epsilon is -1e-05");
  ExpectRefused(With("rms_norm_eps", 1), "epsilon is 1");
  ExpectRefused(With("tie_word_embeddings", "yes"), "tie_word_embeddings is not true or false");
}

TEST(HfConfig, HostileText) {
  const auto refused = [](const std::string& text, const std::string& message) {
    ExpectError([&] { ParseHfConfig(text, "dir/config.json", "name"); }, message);
  };
  refused("", "dir/config.json: not valid JSON");
  refused("[1]", "dir/config.json: a JSON object is needed");
  refused(R"({"rms_norm_eps": NaN})", "not valid JSON at byte");
  refused(R"({"rms_norm_eps": 1e999})", "not valid JSON");
  refused(R"({"vocab_size": 1, "vocab_size": 2})", "key \"vocab_size\" is given twice");
}

}  // namespace
}  // namespace tamis
