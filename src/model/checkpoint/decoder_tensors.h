// The tensors a decoder of the Llama family has, under both naming schemes.
#ifndef TAMIS_MODEL_CHECKPOINT_DECODER_TENSORS_H_
#define TAMIS_MODEL_CHECKPOINT_DECODER_TENSORS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "tamis/model.h"

namespace tamis {

struct DecoderTensor {
  std::string name;       ///< HuggingFace's
  std::string gguf_name;  ///< llama.cpp's
  int64_t rows = 0;       ///< 0: a vector
  int64_t columns = 0;
  /// Rows are the rotated dimensions of heads, which Llama's GGUF files interleave.
  bool rotated = false;
};

/// Exactly the tensors that a checkpoint of `config` holds.
std::vector<DecoderTensor> DecoderTensors(const ModelConfig& config);

}  // namespace tamis

#endif  // TAMIS_MODEL_CHECKPOINT_DECODER_TENSORS_H_
