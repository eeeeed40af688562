// Whole checkpoints in memory: names, shapes and row order, the same from both formats.
#include "model/checkpoint/open.h"

#include <gtest/gtest.h>

#include "model/checkpoint/expect_error.h"
#include "model/checkpoint/test_model.h"

namespace tamis {
namespace {

using testing::Bytes;
using testing::ConfigJson;
using testing::ExpectError;
using testing::GgufBuilder;
using testing::GgufOf;
using testing::OpenGgufBytes;
using testing::OpenSafetensorsBytes;
using testing::RandomModel;
using testing::SafetensorsFile;
using testing::TestModel;
using testing::TestTensor;
using testing::TinyConfig;
using testing::Values;

constexpr Architecture kArchitectures[] = {Architecture::kLlama, Architecture::kQwen2,
                                           Architecture::kQwen3};

std::vector<float> Expand(const TestTensor& tensor) {
  const int64_t columns = tensor.shape.back();
  const int64_t rows = tensor.shape.size() == 2 ? tensor.shape[0] : 1;
  std::vector<float> values(static_cast<size_t>(rows * columns));
  for (int64_t row = 0; row < rows; ++row) {
    DequantizeRow(tensor.type, tensor.data.data() + row * RowBytes(tensor.type, columns), columns,
                  values.data() + row * columns);
  }
  return values;
}

void ExpectHolds(const Checkpoint& checkpoint, const TestModel& model) {
  for (const TestTensor& tensor : model.tensors) {
    ASSERT_TRUE(checkpoint.Has(tensor.name)) << tensor.name;
    const Weight weight = checkpoint.Find(
        tensor.name, tensor.shape.size() == 2 ? tensor.shape[0] : 1, tensor.shape.back());
    EXPECT_EQ(weight.type, tensor.type);
    EXPECT_EQ(Values(weight), Expand(tensor)) << tensor.name;
  }
}

void ExpectSameConfig(const ModelConfig& a, const ModelConfig& b) {
  EXPECT_EQ(a.architecture, b.architecture);
  EXPECT_EQ(a.layers, b.layers);
  EXPECT_EQ(a.hidden, b.hidden);
  EXPECT_EQ(a.feed_forward, b.feed_forward);
  EXPECT_EQ(a.q_heads, b.q_heads);
  EXPECT_EQ(a.kv_heads, b.kv_heads);
  EXPECT_EQ(a.head_dim, b.head_dim);
  EXPECT_EQ(a.vocab, b.vocab);
  EXPECT_EQ(a.max_positions, b.max_positions);
  EXPECT_EQ(static_cast<float>(a.rms_epsilon), static_cast<float>(b.rms_epsilon));
  EXPECT_EQ(a.rope.theta, b.rope.theta);
  EXPECT_EQ(a.qkv_bias, b.qkv_bias);
  EXPECT_EQ(a.qk_norm, b.qk_norm);
  EXPECT_EQ(a.tied_embeddings, b.tied_embeddings);
}

TEST(Open, SafetensorsOfEveryArchitectureAndType) {
  for (const Architecture architecture : kArchitectures) {
    for (const WeightType type : {WeightType::kF32, WeightType::kF16, WeightType::kBF16}) {
      const TestModel model = RandomModel(TinyConfig(architecture), type, 1);
      const Bytes bytes = SafetensorsFile(model);
      const auto checkpoint = OpenSafetensorsBytes(ConfigJson(model.config), bytes);
      ExpectSameConfig(checkpoint->config(), model.config);
      ExpectHolds(*checkpoint, model);
      EXPECT_EQ(checkpoint->Summary().format, "safetensors");
      EXPECT_FALSE(checkpoint->tokenizer().has_value());
    }
  }
}

TEST(Open, GgufOfEveryArchitectureAndType) {
  for (const Architecture architecture : kArchitectures) {
    for (const WeightType type : {WeightType::kF32, WeightType::kF16, WeightType::kBF16,
                                  WeightType::kQ8_0, WeightType::kQ4_0, WeightType::kQ4_1}) {
      const TestModel model = RandomModel(TinyConfig(architecture), type, 2);
      const Bytes bytes = GgufOf(model).Build();
      const auto checkpoint = OpenGgufBytes(bytes);
      ExpectSameConfig(checkpoint->config(), model.config);
      ExpectHolds(*checkpoint, model);
    }
  }
}

TEST(Open, Q6_K) {
  ModelConfig config = TinyConfig(Architecture::kLlama);
  config.layers = 1;
  config.hidden = config.feed_forward = 256;
  config.head_dim = 64;
  const TestModel model = RandomModel(config, WeightType::kQ6_K, 3);
  const Bytes bytes = GgufOf(model).Build();
  ExpectHolds(*OpenGgufBytes(bytes), model);
}

TEST(Open, OnlyLlamaGgufIsInterleaved) {
  for (const Architecture architecture : kArchitectures) {
    const TestModel model = RandomModel(TinyConfig(architecture), WeightType::kF32, 4);
    const ModelConfig& config = model.config;
    const Bytes gguf = GgufOf(model).Build();
    const Bytes safetensors = SafetensorsFile(model);
    const auto from_gguf = OpenGgufBytes(gguf);
    const auto from_safetensors = OpenSafetensorsBytes(ConfigJson(config), safetensors);
    const int64_t q = config.q_heads * config.head_dim;
    const char* name = "model.layers.1.self_attn.q_proj.weight";
    EXPECT_EQ(from_gguf->Find(name, q, config.hidden).interleaved_head_dim,
              architecture == Architecture::kLlama ? config.head_dim : 0);
    EXPECT_EQ(from_safetensors->Find(name, q, config.hidden).interleaved_head_dim, 0);
    EXPECT_EQ(from_gguf
                  ->Find("model.layers.1.self_attn.v_proj.weight",
                         config.kv_heads * config.head_dim, config.hidden)
                  .interleaved_head_dim,
              0);
  }
}

TEST(Open, Summary) {
  const TestModel model = RandomModel(TinyConfig(Architecture::kQwen2), WeightType::kQ8_0, 5);
  const Bytes bytes = GgufOf(model).Build();
  const CheckpointSummary summary = OpenGgufBytes(bytes)->Summary();
  EXPECT_EQ(summary.format, "GGUF v3");
  EXPECT_EQ(summary.config.name, "tiny");
  ASSERT_EQ(summary.tensors.size(), model.tensors.size());
  int64_t parameters = 0;
  size_t stored = 0;
  for (const TestTensor& tensor : model.tensors) {
    parameters += static_cast<int64_t>(Expand(tensor).size());
    stored += tensor.data.size();
  }
  EXPECT_EQ(summary.parameters, parameters);
  EXPECT_EQ(summary.bytes, stored);
  EXPECT_EQ(summary.tensors[0].name, "model.embed_tokens.weight");
  EXPECT_EQ(summary.tensors[0].type, "Q8_0");
  EXPECT_EQ(summary.tensors[0].shape, (std::vector<int64_t>{64, 64}));
  EXPECT_EQ(summary.tensors[0].bytes, 64u * 68u);
}

TEST(Open, FindChecks) {
  const TestModel model = RandomModel(TinyConfig(Architecture::kLlama), WeightType::kF32, 6);
  const Bytes bytes = GgufOf(model).Build();
  const auto checkpoint = OpenGgufBytes(bytes);
  EXPECT_FALSE(checkpoint->Has("token_embd.weight"));
  EXPECT_FALSE(checkpoint->Has("model.layers.2.mlp.up_proj.weight"));
  ExpectError([&] { checkpoint->Find("token_embd.weight", 64, 64); },
              "there is no tensor token_embd.weight");
  ExpectError([&] { checkpoint->Find("model.norm.weight", 1, 63); },
              "tensor model.norm.weight is [1, 64]; [1, 63] is asked for");
}

TEST(Open, EveryTensorIsNeeded) {
  for (const Architecture architecture : kArchitectures) {
    const TestModel model = RandomModel(TinyConfig(architecture), WeightType::kF32, 7);
    for (size_t i = 0; i < model.tensors.size(); ++i) {
      const TestTensor& left_out = model.tensors[i];
      TestModel partial = model;
      partial.tensors.erase(partial.tensors.begin() + static_cast<ptrdiff_t>(i));
      const Bytes safetensors = SafetensorsFile(partial);
      ExpectError([&] { OpenSafetensorsBytes(ConfigJson(model.config), safetensors); },
                  "tensor " + left_out.name + " is missing");
      if (left_out.name == "lm_head.weight") continue;  // GGUF: then the embeddings are tied
      const Bytes gguf = GgufOf(partial).Build();
      ExpectError([&] { OpenGgufBytes(gguf); }, "tensor " + left_out.gguf_name + " is missing");
    }
  }
}

TEST(Open, EveryShapeIsChecked) {
  const TestModel model = RandomModel(TinyConfig(Architecture::kQwen3), WeightType::kF32, 8);
  for (size_t i = 0; i < model.tensors.size(); ++i) {
    TestModel wrong = model;
    TestTensor& tensor = wrong.tensors[i];
    // The same bytes, folded otherwise.
    if (tensor.shape.size() == 2) {
      tensor.shape = {tensor.shape[0] * 2, tensor.shape[1] / 2};
    } else {
      tensor.shape = {1, tensor.shape[0]};
    }
    const Bytes bytes = SafetensorsFile(wrong);
    ExpectError([&] { OpenSafetensorsBytes(ConfigJson(model.config), bytes); },
                "tensor " + tensor.name + " has shape");
  }
}

TEST(Open, NothingIsLeftOver) {
  const TestModel model = RandomModel(TinyConfig(Architecture::kLlama), WeightType::kF32, 9);
  for (const char* name : {"blk.0.attn_q.bias", "blk.2.attn_q.weight", "blk.0.ffn_gate_inp.weight",
                           "blk.0.attn_q_norm.weight", "output_norm.bias"}) {
    GgufBuilder builder = GgufOf(model);
    builder.tensors.push_back({name, 0, {64}, Bytes(256)});
    const Bytes bytes = builder.Build();
    ExpectError([&] { OpenGgufBytes(bytes); },
                "tensor " + std::string(name) + " is not part of a llama decoder");
  }
  GgufBuilder twice = GgufOf(model);
  twice.tensors.push_back({"output_norm.weight", 0, {64}, Bytes(256)});
  const Bytes bytes = twice.Build();
  ExpectError([&] { OpenGgufBytes(bytes); }, "tensor output_norm.weight occurs twice");
}

TEST(Open, HarmlessLeftOvers) {
  TestModel model = RandomModel(TinyConfig(Architecture::kQwen2), WeightType::kF32, 10);
  ASSERT_TRUE(model.config.tied_embeddings);
  model.tensors.push_back({.name = "lm_head.weight", .shape = {64, 64}, .data = Bytes(16384)});
  model.tensors.push_back(
      {.name = "model.layers.0.self_attn.rotary_emb.inv_freq", .shape = {8}, .data = Bytes(32)});
  const Bytes bytes = SafetensorsFile(model);
  const auto checkpoint = OpenSafetensorsBytes(ConfigJson(model.config), bytes);
  EXPECT_FALSE(checkpoint->Has("lm_head.weight"));
}

TEST(Open, TokenizerMustFitTheModel) {
  const TestModel model = RandomModel(TinyConfig(Architecture::kLlama), WeightType::kF32, 11);
  GgufBuilder fits = GgufOf(model);
  fits.String("tokenizer.ggml.model", "gpt2");
  fits.Strings("tokenizer.ggml.tokens", std::vector<std::string>(64, "t"));
  const Bytes fitting = fits.Build();
  EXPECT_EQ(OpenGgufBytes(fitting)->tokenizer()->tokens.size(), 64u);
  GgufBuilder exceeds = GgufOf(model);
  exceeds.String("tokenizer.ggml.model", "gpt2");
  exceeds.Strings("tokenizer.ggml.tokens", std::vector<std::string>(65, "t"));
  const Bytes exceeding = exceeds.Build();
  ExpectError([&] { OpenGgufBytes(exceeding); }, "the tokenizer has 65 tokens, the model only 64");
}

// A configuration that claims much more than the file holds is refused on the first tensor.
TEST(Open, ClaimsOfTheConfigurationAllocateLittle) {
  const TestModel model = RandomModel(TinyConfig(Architecture::kLlama), WeightType::kF32, 12);
  const Bytes bytes = SafetensorsFile(model);
  ModelConfig config = model.config;
  config.layers = 1024;
  config.vocab = 1 << 22;
  ExpectError([&] { OpenSafetensorsBytes(ConfigJson(config), bytes); },
              "tensor model.embed_tokens.weight has shape [64, 64]; the configuration says");
}

}  // namespace
}  // namespace tamis
