// One view of a checkpoint, whatever its file format.
#ifndef TAMIS_MODEL_CHECKPOINT_CHECKPOINT_H_
#define TAMIS_MODEL_CHECKPOINT_CHECKPOINT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "tamis/model.h"
#include "tamis/tokenizer.h"

namespace tamis {

/// Storage formats of weights. The quantised ones are GGUF's: blocks of 32 (Q8_0, Q4_0, Q4_1) or
/// 256 (Q6_K) values along a row.
enum class WeightType : uint8_t { kF32, kF16, kBF16, kQ8_0, kQ4_0, kQ4_1, kQ6_K };
std::string_view Name(WeightType type);
/// Bytes of a row of `columns` values; `columns` is a multiple of the block size.
size_t RowBytes(WeightType type, int64_t columns);
/// Values of one block; 1 for the plain formats.
int64_t BlockValues(WeightType type);
/// Expands `columns` values of one row, `columns` a multiple of the block size.
void DequantizeRow(WeightType type, const uint8_t* row, int64_t columns, float* target);

/// A matrix [rows][columns] (a vector has one row) inside the mapped file: the linear layer
/// y = x W^T has one row an output feature. `data` promises no alignment: read it through
/// DequantizeRow or memcpy.
struct Weight {
  WeightType type = WeightType::kF32;
  int64_t rows = 0;
  int64_t columns = 0;
  const uint8_t* data = nullptr;
  size_t row_bytes = 0;
  /// GGUF stores the q and k rows of Llama checkpoints with the two halves of each head
  /// interleaved, for adjacent-pair rotation. > 0: this head_dim; Row undoes it.
  int32_t interleaved_head_dim = 0;

  /// Stored bytes of output feature `row` in HuggingFace order.
  const uint8_t* Row(int64_t row) const {
    if (interleaved_head_dim == 0) return data + row * row_bytes;
    const int64_t head = row / interleaved_head_dim;
    const int64_t within = row % interleaved_head_dim;
    const int64_t half = interleaved_head_dim / 2;
    const int64_t stored = within < half ? 2 * within : 2 * (within - half) + 1;
    return data + (head * interleaved_head_dim + stored) * row_bytes;
  }
};

/// An open checkpoint: configuration and weights under HuggingFace names
/// ("model.layers.0.self_attn.q_proj.weight", "model.embed_tokens.weight", "lm_head.weight"),
/// memory-mapped. Every size is checked against the file before it is used. Immutable.
class Checkpoint {
 public:
  /// `path` as Model::Load takes it. Throws Error.
  static std::unique_ptr<Checkpoint> Open(const std::string& path);
  virtual ~Checkpoint() = default;

  virtual const ModelConfig& config() const = 0;
  /// The weight, its shape checked. Throws Error where it is missing or shaped otherwise.
  virtual Weight Find(std::string_view name, int64_t rows, int64_t columns) const = 0;
  virtual bool Has(std::string_view name) const = 0;
  /// Tokenizer data kept inside the file (GGUF); nothing for safetensors, whose tokenizer.json
  /// lies beside it in directory().
  virtual const std::optional<TokenizerMetadata>& tokenizer() const = 0;
  virtual const std::string& directory() const = 0;
  virtual CheckpointSummary Summary() const = 0;
};

}  // namespace tamis

#endif  // TAMIS_MODEL_CHECKPOINT_CHECKPOINT_H_
