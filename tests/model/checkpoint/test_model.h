// Small random models and the files that hold them.
#ifndef TAMIS_TESTS_MODEL_CHECKPOINT_TEST_MODEL_H_
#define TAMIS_TESTS_MODEL_CHECKPOINT_TEST_MODEL_H_

#include <string>
#include <vector>

#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/file_builder.h"
#include "model/checkpoint/open.h"

namespace tamis::testing {

/// A tensor under its HuggingFace name, rows in HuggingFace's order.
struct TestTensor {
  std::string name;
  std::string gguf_name;
  WeightType type = WeightType::kF32;
  std::vector<int64_t> shape;  // [columns] or [rows, columns]
  Bytes data;
  bool rotated = false;  // rows that Llama's GGUF files interleave
};

struct TestModel {
  ModelConfig config;
  std::vector<TestTensor> tensors;

  TestTensor& Find(const std::string& name);
};

/// Two layers, 4 query heads of 16 sharing 2 key-value heads, hidden 64, inner 96, vocabulary 64,
/// 128 positions; with the biases, norms and head dimension of the architecture.
ModelConfig TinyConfig(Architecture architecture);

/// Every tensor of `config`; matrices as `matrix_type` (of whose block size rows must be
/// multiples), vectors in F32. The same seed gives the same model.
TestModel RandomModel(const ModelConfig& config, WeightType matrix_type, uint32_t seed);

/// `count` values of random blocks, magnitudes about `scale`.
Bytes RandomBlocks(WeightType type, int64_t count, float scale, uint32_t seed);

/// config.json as transformers 4 writes it.
std::string ConfigJson(const ModelConfig& config);

/// Files of the whole model.
Bytes SafetensorsFile(const TestModel& model);
GgufBuilder GgufOf(const TestModel& model);

/// Opens from memory; `bytes` must outlive the checkpoint.
std::unique_ptr<Checkpoint> OpenGgufBytes(const Bytes& bytes);
std::unique_ptr<Checkpoint> OpenSafetensorsBytes(const std::string& config, const Bytes& bytes);

/// All values of a weight in HuggingFace's order.
std::vector<float> Values(const Weight& weight);

}  // namespace tamis::testing

#endif  // TAMIS_TESTS_MODEL_CHECKPOINT_TEST_MODEL_H_
