// Models: checkpoints, KV caches and the decoder's forward pass.
#ifndef TAMIS_MODEL_H_
#define TAMIS_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tamis/attention.h"
#include "tamis/keep_set.h"
#include "tamis/policy.h"
#include "tamis/tokenizer.h"

namespace tamis {

enum class Architecture : uint8_t { kLlama, kQwen2, kQwen3 };
std::string_view Name(Architecture architecture);

/// Rotary embedding (RoFormer, arXiv 2104.09864), half-split pairs, with Llama 3's frequency
/// scaling where factor != 1.
struct RopeConfig {
  double theta = 10000.0;
  double factor = 1.0;
  double low_frequency_factor = 1.0;
  double high_frequency_factor = 4.0;
  int32_t original_max_positions = 0;
  /// head_dim / 2 divisors, one a frequency, where the checkpoint stores the scaling itself (GGUF's
  /// rope_freqs.weight): they replace the scaling by `factor`. Empty otherwise.
  std::vector<float> frequency_factors;
};

struct ModelConfig {
  Architecture architecture = Architecture::kLlama;
  std::string name;  ///< as the checkpoint calls itself, or the file's name
  int32_t layers = 0;
  int32_t hidden = 0;
  int32_t feed_forward = 0;
  int32_t q_heads = 0;
  int32_t kv_heads = 0;
  int32_t head_dim = 0;
  int32_t vocab = 0;
  int32_t max_positions = 0;
  double rms_epsilon = 1e-5;
  RopeConfig rope;
  bool qkv_bias = false;
  bool qk_norm = false;
  bool tied_embeddings = false;
};

/// One line a tensor or a metadata key, for `inspect`.
struct TensorSummary {
  std::string name;
  std::string type;  ///< "F32", "Q4_1", ...
  std::vector<int64_t> shape;
  size_t bytes = 0;
};

/// Keys and values of one sequence, all layers. Not thread-safe.
class KvCache {
 public:
  virtual ~KvCache() = default;
  /// Rows that `layer` holds now (fewer than positions() once a KeepSet dropped some).
  virtual int32_t rows(int32_t layer) const = 0;
  /// Position of the next token.
  virtual int32_t positions() const = 0;
  virtual int32_t capacity() const = 0;
  virtual DType dtype() const = 0;
  /// Bytes held for keys and values.
  virtual size_t bytes() const = 0;

  /// Makes room for `tokens` more tokens in every layer. Throws Error past the capacity.
  virtual void Reserve(int32_t tokens) = 0;
  /// Stores rows [tokens][kv_heads][head_dim] (the cache's dtype, packed) of one layer after those
  /// it holds.
  virtual void Append(int32_t layer, int32_t tokens, const void* k, const void* v) = 0;
  /// Marks `tokens` tokens as stored in every layer.
  virtual void Advance(int32_t tokens) = 0;
  /// Forgets the last positions down to `positions`: for teacher forcing and prefix reuse. Throws
  /// Error once a KeepSet dropped rows.
  virtual void Truncate(int32_t positions) = 0;
  /// Points k, v or paged, key_tokens, key_lengths, query_starts and key_positions of `arguments`
  /// at one layer.
  virtual void Describe(int32_t layer, AttentionArguments& arguments) const = 0;
  /// Drops what `keep` does not name; every KV head must retain the same number of rows.
  virtual void Retain(int32_t layer, const KeepSet& keep) = 0;
};

struct KvCacheOptions {
  int32_t capacity = 0;  ///< tokens
  DType dtype = DType::kF32;
  int32_t page_size = 0;  ///< 0: contiguous
};

struct ModelOptions {
  DType dtype = DType::kF32;   ///< of activations and KV cache; the residual stream stays f32
  ThreadPool* pool = nullptr;  ///< required; must outlive the model
};

/// Seconds spent in the parts of Forward, summed since the last reset.
struct ForwardTimes {
  double attention = 0.0;
  double linear = 0.0;
  double other = 0.0;
};

/// One sequence's share of a forward pass: new tokens and the cache they extend.
struct SequenceStep {
  std::span<const int32_t> tokens;
  KvCache* cache = nullptr;
};

/// A decoder. Weights are memory-mapped and stay as stored. Forward and Logits: one at a time.
class Model {
 public:
  /// `path`: a GGUF file, a safetensors file beside its config.json, or a HuggingFace directory.
  /// Throws Error naming what is damaged, missing or not run.
  static std::unique_ptr<Model> Load(const std::string& path, const ModelOptions& options);
  virtual ~Model() = default;

  virtual const ModelConfig& config() const = 0;
  virtual PolicyTarget policy_target() const = 0;
  virtual std::unique_ptr<KvCache> NewCache(const KvCacheOptions& options) const = 0;

  /// Extends each step's cache by its tokens and writes the hidden states after the final norm,
  /// packed rows [sum of tokens][hidden] in f32.
  virtual void Forward(std::span<const SequenceStep> steps, PolicyAttention& attention,
                       float* hidden) = 0;
  /// logits [rows][vocab] of `rows` hidden states.
  virtual void Logits(const float* hidden, int32_t rows, float* logits) = 0;

  virtual const ForwardTimes& times() const = 0;
  virtual void ResetTimes() = 0;
  /// Bytes of weights as stored and of scratch.
  virtual size_t weight_bytes() const = 0;
  virtual size_t scratch_bytes() const = 0;
};

/// The tokenizer of the checkpoint at `path` (as Model::Load takes it). Throws Error where it has
/// none or one of a kind tamis does not run.
std::unique_ptr<Tokenizer> LoadTokenizer(const std::string& path);

/// What a checkpoint holds, without loading weights.
struct CheckpointSummary {
  std::string format;  ///< "GGUF v3", "safetensors (3 shards)"
  ModelConfig config;
  std::vector<TensorSummary> tensors;
  int64_t parameters = 0;
  size_t bytes = 0;
};
CheckpointSummary InspectCheckpoint(const std::string& path);

}  // namespace tamis

#endif  // TAMIS_MODEL_H_
