// Configuration and tokenizer from GGUF metadata.
#include "model/checkpoint/gguf_config.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "model/checkpoint/expect_error.h"
#include "model/checkpoint/file_builder.h"

namespace tamis {
namespace {

using testing::Bytes;
using testing::ExpectError;
using testing::FloatBytes;
using testing::GgufBuilder;

using Change = std::function<void(GgufBuilder&)>;

/// The metadata of a Llama of 4/2 heads of 16, without the key `without`, with what `change` adds.
/// Only the tensors that the configuration is read from exist.
Bytes File(const std::string& without, const Change& change,
           const std::string& architecture = "llama") {
  GgufBuilder builder;
  const auto add = [&](const std::string& key, auto&& write) {
    if (key != without) write(key);
  };
  const auto size = [&](const std::string& key, uint32_t value) {
    add(architecture + '.' + key, [&](const std::string& full) { builder.Uint32(full, value); });
  };
  const auto number = [&](const std::string& key, float value) {
    add(architecture + '.' + key, [&](const std::string& full) { builder.Float32(full, value); });
  };
  add("general.architecture", [&](const std::string& key) { builder.String(key, architecture); });
  size("block_count", 2);
  size("context_length", 128);
  size("embedding_length", 64);
  size("feed_forward_length", 96);
  size("attention.head_count", 4);
  size("attention.head_count_kv", 2);
  number("attention.layer_norm_rms_epsilon", 1e-5f);
  number("rope.freq_base", 500000.0f);
  size("rope.dimension_count", 16);
  size("vocab_size", 3);
  builder.tensors.push_back({"token_embd.weight", 0, {64, 3}, Bytes(768)});
  change(builder);
  return builder.Build();
}
ModelConfig Parse(const std::string& without, const Change& change,
                  const std::string& architecture = "llama") {
  const Bytes bytes = File(without, change, architecture);
  return GgufModelConfig(GgufFile(bytes, "test.gguf"), "file");
}
const Change kNothing = [](GgufBuilder&) {};
void ExpectRefused(const Change& change, const std::string& text) {
  ExpectError([&] { Parse("", change); }, text);
}
/// With `key` replaced.
void ExpectSizeRefused(const std::string& key, uint32_t value, const std::string& text) {
  ExpectError([&] { Parse(key, [&](GgufBuilder& b) { b.Uint32(key, value); }); }, text);
}

TEST(GgufConfig, Llama) {
  const ModelConfig config =
      Parse("", [](GgufBuilder& b) { b.String("general.name", "A \x1bname"); });
  EXPECT_EQ(config.architecture, Architecture::kLlama);
  EXPECT_EQ(config.name, "A ?name");
  EXPECT_EQ(config.layers, 2);
  EXPECT_EQ(config.hidden, 64);
  EXPECT_EQ(config.feed_forward, 96);
  EXPECT_EQ(config.q_heads, 4);
  EXPECT_EQ(config.kv_heads, 2);
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.vocab, 3);
  EXPECT_EQ(config.max_positions, 128);
  EXPECT_EQ(config.rms_epsilon, static_cast<double>(1e-5f));
  EXPECT_EQ(config.rope.theta, 500000.0);
  EXPECT_TRUE(config.rope.frequency_factors.empty());
  EXPECT_TRUE(config.tied_embeddings);
  EXPECT_FALSE(config.qkv_bias);
}

TEST(GgufConfig, Variants) {
  EXPECT_EQ(Parse("", kNothing).name, "file");
  EXPECT_TRUE(Parse("", kNothing, "qwen2").qkv_bias);
  EXPECT_TRUE(Parse("", kNothing, "qwen3").qk_norm);
  EXPECT_EQ(Parse("llama.attention.head_count_kv", kNothing).kv_heads, 4);
  EXPECT_EQ(Parse("llama.vocab_size", kNothing).vocab, 3);
  EXPECT_EQ(Parse("llama.rope.freq_base", kNothing).rope.theta, 10000.0);
  const ModelConfig wide = Parse("llama.rope.dimension_count", [](GgufBuilder& b) {
    b.Uint32("llama.attention.key_length", 32);
    b.Uint32("llama.attention.value_length", 32);
  });
  EXPECT_EQ(wide.head_dim, 32);
  EXPECT_FALSE(Parse("", [](GgufBuilder& b) {
                 b.tensors.push_back({"output.weight", 0, {64, 3}, Bytes(768)});
               }).tied_embeddings);
}

TEST(GgufConfig, Llama3FrequencyFactors) {
  const std::vector<float> factors{1, 1, 1, 1, 2, 4, 8, 8};
  const auto with = [](const std::vector<float>& values, uint32_t type = 0) {
    return [=](GgufBuilder& b) {
      b.tensors.push_back({"rope_freqs.weight", type, {values.size()}, FloatBytes(values)});
    };
  };
  EXPECT_EQ(Parse("", with(factors)).rope.frequency_factors, factors);
  ExpectRefused(with({1, 2}), "rope_freqs.weight is F32 of shape [2]; F32 of shape [8]");
  ExpectRefused(with(factors, 1), "rope_freqs.weight is F16");
  for (const float bad : {0.0f, -1.0f, std::numeric_limits<float>::quiet_NaN(),
                          std::numeric_limits<float>::infinity()}) {
    std::vector<float> broken = factors;
    broken[3] = bad;
    ExpectRefused(with(broken), "all must be finite and above 0");
  }
}

TEST(GgufConfig, MissingKeys) {
  for (const std::string key :
       {"general.architecture", "llama.block_count", "llama.context_length",
        "llama.embedding_length", "llama.feed_forward_length", "llama.attention.head_count",
        "llama.attention.layer_norm_rms_epsilon"}) {
    ExpectError([&] { Parse(key, kNothing); }, key + " is missing");
  }
}

TEST(GgufConfig, Bounds) {
  for (const std::string key :
       {"llama.block_count", "llama.context_length", "llama.embedding_length",
        "llama.feed_forward_length", "llama.attention.head_count", "llama.attention.head_count_kv",
        "llama.rope.dimension_count", "llama.vocab_size"}) {
    ExpectSizeRefused(key, 0, key + " is 0; 1 to ");
    ExpectSizeRefused(key, UINT32_MAX, key + " is 4294967295; 1 to ");
  }
  ExpectSizeRefused("llama.attention.head_count_kv", 3, "4 query heads cannot share 3");
  ExpectSizeRefused("llama.attention.head_count", 5, "64 hidden units do not divide into 5 heads");
  ExpectError(
      [&] {
        Parse("llama.rope.dimension_count", [](GgufBuilder& b) {
          b.Uint32("llama.attention.key_length", 12);
          b.Uint32("llama.attention.value_length", 12);
        });
      },
      "the head dimension is 12; a multiple of 8 up to 256");
  ExpectSizeRefused("llama.rope.dimension_count", 8, "8 of 16 dimensions; partial rotation");
  ExpectSizeRefused("llama.vocab_size", 4,
                    "llama.vocab_size is 4, but token_embd.weight has 3 rows");
  ExpectRefused([](GgufBuilder& b) { b.Uint32("llama.attention.value_length", 8); },
                "keys have 16 dimensions and values 8");
  ExpectRefused([](GgufBuilder& b) { b.tensors.clear(); }, "token_embd.weight is missing");
  ExpectRefused([](GgufBuilder& b) { b.tensors[0].shape = {192}; }, "token_embd.weight is missing");
}

TEST(GgufConfig, NumbersThatAreNone) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const std::string key : {"llama.attention.layer_norm_rms_epsilon", "llama.rope.freq_base"}) {
    for (const float value : {nan, -nan, std::numeric_limits<float>::infinity(), -1.0f, 0.0f}) {
      EXPECT_THROW(Parse(key, [&](GgufBuilder& b) { b.Float32(key, value); }), Error)
          << key << ' ' << value;
    }
  }
}

TEST(GgufConfig, Refusals) {
  for (const char* name : {"gemma3", "mistral3", "phi3", "clip", ""}) {
    ExpectError([&] { Parse("", kNothing, name); },
                "architecture '" + std::string(name) + "' is not run; llama, qwen2 and qwen3 are");
  }
  ExpectRefused([](GgufBuilder& b) { b.Uint32("llama.expert_count", 8); },
                "llama.expert_count is 8, which tamis does not run");
  ExpectRefused([](GgufBuilder& b) { b.Uint32("llama.attention.sliding_window", 64); },
                "sliding_window is 64");
  EXPECT_NO_THROW(
      Parse("", [](GgufBuilder& b) { b.Uint32("llama.attention.sliding_window", 128); }));
  ExpectRefused([](GgufBuilder& b) { b.Bool("llama.attention.causal", false); },
                "attention.causal is false");
  ExpectRefused([](GgufBuilder& b) { b.Float32("llama.logit_scale", 2.0f); }, "logit_scale is 2");
  ExpectRefused(
      [](GgufBuilder& b) {
        b.Int32s("llama.attention.key_length", {16, 16});
      },
      "llama.attention.key_length is of type array");
  for (const char* type : {"yarn", "longrope"}) {
    ExpectRefused([&](GgufBuilder& b) { b.String("llama.rope.scaling.type", type); },
                  "llama.rope.scaling.type '" + std::string(type) + "'");
  }
  const auto linear = [](float factor) {
    return [factor](GgufBuilder& b) {
      b.String("llama.rope.scaling.type", "linear");
      b.Float32("llama.rope.scaling.factor", factor);
    };
  };
  EXPECT_NO_THROW(Parse("", linear(1.0f)));
  ExpectRefused(linear(4.0f), "'linear' with factor 4 is not run");
  ExpectRefused([](GgufBuilder& b) { b.Float32("llama.rope.scale_linear", 4.0f); },
                "llama.rope.scale_linear is 4");
}

std::optional<TokenizerMetadata> Tokenizer(const Change& change) {
  const Bytes bytes = File("", change);
  return GgufTokenizer(GgufFile(bytes, "test.gguf"));
}

TEST(GgufTokenizer, Reads) {
  EXPECT_FALSE(Tokenizer(kNothing).has_value());
  const auto tokenizer = Tokenizer([](GgufBuilder& b) {
    b.String("tokenizer.ggml.model", "gpt2");
    b.String("tokenizer.ggml.pre", "smollm");
    b.Strings("tokenizer.ggml.tokens", {"a", "b", "ab"});
    b.Int32s("tokenizer.ggml.token_type", {1, 1, 3});
    b.Strings("tokenizer.ggml.merges", {"a b"});
    b.Uint32("tokenizer.ggml.bos_token_id", 2);
    b.Uint32("tokenizer.ggml.eos_token_id", 0);
    b.Bool("tokenizer.ggml.add_bos_token", true);
    b.String("tokenizer.chat_template", "{{ x }}");
  });
  ASSERT_TRUE(tokenizer.has_value());
  EXPECT_EQ(tokenizer->model, "gpt2");
  EXPECT_EQ(tokenizer->pre, "smollm");
  EXPECT_EQ(tokenizer->tokens, (std::vector<std::string>{"a", "b", "ab"}));
  EXPECT_EQ(tokenizer->token_types, (std::vector<int32_t>{1, 1, 3}));
  EXPECT_EQ(tokenizer->merges, std::vector<std::string>{"a b"});
  EXPECT_EQ(tokenizer->bos_id, 2);
  EXPECT_EQ(tokenizer->eos_id, 0);
  EXPECT_TRUE(tokenizer->add_bos);
  EXPECT_EQ(tokenizer->chat_template, "{{ x }}");
}

TEST(GgufTokenizer, SilentAboutTheFirstToken) {
  for (const char* pre : {"llama-bpe", "qwen2"}) {
    const auto tokenizer = Tokenizer([&](GgufBuilder& b) {
      b.String("tokenizer.ggml.model", "gpt2");
      b.String("tokenizer.ggml.pre", pre);
    });
    EXPECT_EQ(tokenizer->add_bos, std::string(pre) == "llama-bpe");
    EXPECT_EQ(tokenizer->bos_id, -1);
  }
}

TEST(GgufTokenizer, Refuses) {
  const auto refused = [](const Change& change, const std::string& text) {
    ExpectError(
        [&] {
          Tokenizer([&](GgufBuilder& b) {
            b.String("tokenizer.ggml.model", "gpt2");
            b.Strings("tokenizer.ggml.tokens", {"a", "b"});
            change(b);
          });
        },
        text);
  };
  refused([](GgufBuilder& b) { b.Int32s("tokenizer.ggml.token_type", {1}); },
          "token_type holds 1 entries for 2 tokens");
  refused([](GgufBuilder& b) { b.Int32s("tokenizer.ggml.merges", {1}); },
          "tokenizer.ggml.merges is not an array of strings");
  refused([](GgufBuilder& b) { b.Uint32("tokenizer.ggml.bos_token_id", 2); },
          "bos_token_id is 2, but there are 2 tokens");
  refused([](GgufBuilder& b) { b.Scalar("tokenizer.ggml.eos_token_id", 5, int32_t{-1}); },
          "eos_token_id is -1");
}

}  // namespace
}  // namespace tamis
