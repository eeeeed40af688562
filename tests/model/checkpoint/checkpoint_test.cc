// Checkpoints on disk: which files make one, and the demo's real model.
#include "model/checkpoint/checkpoint.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "model/checkpoint/decoder_tensors.h"
#include "model/checkpoint/expect_error.h"
#include "model/checkpoint/test_model.h"

namespace tamis {
namespace {

namespace fs = std::filesystem;
using testing::Bytes;
using testing::ConfigJson;
using testing::ExpectError;
using testing::GgufOf;
using testing::RandomModel;
using testing::SafetensorsFile;
using testing::TestModel;
using testing::TestTensor;
using testing::TinyConfig;
using testing::Values;

class CheckpointFiles : public ::testing::Test {
 protected:
  CheckpointFiles() {
    fs::create_directories(directory_);
    Write("config.json", ConfigJson(model_.config));
  }
  ~CheckpointFiles() override {
    std::error_code ignored;
    fs::remove_all(directory_, ignored);
  }

  std::string Path(const std::string& name) const { return (directory_ / name).string(); }
  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(Path(name), std::ios::binary) << text;
  }
  void Write(const std::string& name, const Bytes& bytes) const {
    Write(name, std::string(bytes.begin(), bytes.end()));
  }
  /// Two shards, tensors in turns, and their index.
  void WriteShards() const {
    TestModel shards[2] = {{model_.config, {}}, {model_.config, {}}};
    std::string map;
    for (size_t i = 0; i < model_.tensors.size(); ++i) {
      shards[i % 2].tensors.push_back(model_.tensors[i]);
      map += (i > 0 ? "," : "") + std::string("\"") + model_.tensors[i].name + "\":\"model-" +
             std::to_string(i % 2) + ".safetensors\"";
    }
    Write("model-0.safetensors", SafetensorsFile(shards[0]));
    Write("model-1.safetensors", SafetensorsFile(shards[1]));
    Write("model.safetensors.index.json", R"({"metadata":{},"weight_map":{)" + map + "}}");
  }
  void ExpectOpens(const std::string& path, const std::string& format) const {
    const auto checkpoint = Checkpoint::Open(path);
    EXPECT_EQ(checkpoint->Summary().format, format);
    EXPECT_TRUE(fs::equivalent(checkpoint->directory(), directory_));
    const auto* expected = reinterpret_cast<const float*>(model_.tensors[0].data.data());
    const Weight embeddings = checkpoint->Find("model.embed_tokens.weight", 64, 64);
    EXPECT_EQ(Values(embeddings), std::vector<float>(expected, expected + 64 * 64));
  }

  const TestModel model_ = RandomModel(TinyConfig(Architecture::kLlama), WeightType::kF32, 21);
  const fs::path directory_ =
      fs::path(::testing::TempDir()) / ("tamis_checkpoint_" + std::to_string(::getpid()));
};

TEST_F(CheckpointFiles, SingleFile) {
  Write("model.safetensors", SafetensorsFile(model_));
  ExpectOpens(Path("model.safetensors"), "safetensors");
  ExpectOpens(directory_.string(), "safetensors");
  ExpectOpens(directory_.string() + "/", "safetensors");
  EXPECT_EQ(InspectCheckpoint(directory_.string() + "/").config.name, directory_.filename());
}

TEST_F(CheckpointFiles, Gguf) {
  Write("tiny.gguf", GgufOf(model_).Build());
  ExpectOpens(Path("tiny.gguf"), "GGUF v3");
  Write("any name", GgufOf(model_).Build());
  ExpectOpens(Path("any name"), "GGUF v3");
  ExpectError([&] { Checkpoint::Open(directory_.string()); },
              "for a GGUF model give the file itself");
}

TEST_F(CheckpointFiles, Sharded) {
  WriteShards();
  ExpectOpens(directory_.string(), "safetensors (2 shards)");
  ExpectOpens(Path("model.safetensors.index.json"), "safetensors (2 shards)");
  ExpectError([&] { Checkpoint::Open(Path("model-0.safetensors")); }, "is one shard of a model");
}

TEST_F(CheckpointFiles, DamagedShards) {
  WriteShards();
  fs::remove(Path("model-1.safetensors"));
  ExpectError([&] { Checkpoint::Open(directory_.string()); }, "model-1.safetensors");
  TestModel other{model_.config, {model_.tensors[1]}};
  Write("model-1.safetensors", SafetensorsFile(other));
  ExpectError([&] { Checkpoint::Open(directory_.string()); },
              "is missing from model-1.safetensors");
  Write("model-1.safetensors", SafetensorsFile(model_));
  ExpectError([&] { Checkpoint::Open(directory_.string()); },
              "is in model-1.safetensors, which the index does not say");
}

TEST_F(CheckpointFiles, OtherFiles) {
  ExpectError([&] { Checkpoint::Open(Path("absent")); }, "cannot open");
  ExpectError([&] { Checkpoint::Open(directory_.string()); },
              "holds neither model.safetensors nor model.safetensors.index.json");
  Write("model.bin", "PK\x03\x04 a PyTorch archive");
  ExpectError([&] { Checkpoint::Open(Path("model.bin")); },
              "model.bin is neither GGUF nor safetensors");
  Write("empty.gguf", "");
  ExpectError([&] { Checkpoint::Open(Path("empty.gguf")); }, "is neither GGUF nor safetensors");
  Write("model.safetensors", SafetensorsFile(model_));
  fs::remove(Path("config.json"));
  ExpectError([&] { Checkpoint::Open(directory_.string()); },
              "config.json is missing; a safetensors model needs its config.json beside it");
}

TEST(DemoModel, SmolLM2) {
  const std::string path = TAMIS_DEMO_DATA "/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!fs::exists(path)) GTEST_SKIP() << path << " is not there; scripts/setup data fetches it";
  const auto checkpoint = Checkpoint::Open(path);
  const ModelConfig& config = checkpoint->config();
  EXPECT_EQ(config.architecture, Architecture::kLlama);
  EXPECT_EQ(config.layers, 30);
  EXPECT_EQ(config.hidden, 576);
  EXPECT_EQ(config.feed_forward, 1536);
  EXPECT_EQ(config.q_heads, 9);
  EXPECT_EQ(config.kv_heads, 3);
  EXPECT_EQ(config.head_dim, 64);
  EXPECT_EQ(config.vocab, 49152);
  EXPECT_EQ(config.max_positions, 8192);
  EXPECT_EQ(config.rope.theta, 100000.0);
  EXPECT_TRUE(config.tied_embeddings);
  for (const DecoderTensor& tensor : DecoderTensors(config)) {
    EXPECT_NO_THROW(
        checkpoint->Find(tensor.name, std::max<int64_t>(tensor.rows, 1), tensor.columns));
  }
  const CheckpointSummary summary = checkpoint->Summary();
  EXPECT_EQ(summary.parameters, 134515008);
  EXPECT_EQ(summary.tensors.size(), 272u);
  ASSERT_TRUE(checkpoint->tokenizer().has_value());
  EXPECT_EQ(checkpoint->tokenizer()->pre, "smollm");
  EXPECT_EQ(checkpoint->tokenizer()->tokens.size(), 49152u);
  EXPECT_EQ(checkpoint->tokenizer()->merges.size(), 48900u);
  EXPECT_EQ(checkpoint->tokenizer()->eos_id, 2);
}

}  // namespace
}  // namespace tamis
