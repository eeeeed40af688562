// A decoder's weights, cut into the panels its linear layers run in.
#ifndef TAMIS_MODEL_DECODER_WEIGHTS_H_
#define TAMIS_MODEL_DECODER_WEIGHTS_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/checkpoint/checkpoint.h"
#include "model/linear.h"

namespace tamis {

/// One linear layer's panels: wide ones for many rows, fine ones for few.
struct PanelSet {
  std::vector<Panel> wide;
  std::vector<Panel> fine;
  std::span<const Panel> For(int64_t rows) const { return Linear::Direct(rows) ? fine : wide; }
};

/// Vectors are f32; matrices point into the mapped file. Not movable: panels point at matrices.
struct DecoderLayer {
  DecoderLayer(const Checkpoint& checkpoint, int32_t layer);
  DecoderLayer(const DecoderLayer&) = delete;
  DecoderLayer& operator=(const DecoderLayer&) = delete;

  std::vector<float> attention_norm, feed_forward_norm;
  std::vector<float> q_norm, k_norm;  // [head_dim]; empty: none
  /// Biases of all query, key and value heads in this order; empty: none.
  std::vector<float> qkv_bias;
  Weight q, k, v, o, gate, up, down;
  /// One panel a head: query heads, key heads, value heads.
  std::vector<Panel> heads;
  /// Gate features as the first source of a panel, the same of up as the second.
  PanelSet gate_up;
  PanelSet o_panels, down_panels;
};

struct DecoderWeights {
  explicit DecoderWeights(const Checkpoint& checkpoint);
  DecoderWeights(const DecoderWeights&) = delete;
  DecoderWeights& operator=(const DecoderWeights&) = delete;

  Weight embedding;  // [vocab][hidden]
  Weight output;     // the same where tied
  std::vector<float> final_norm;
  std::vector<std::unique_ptr<DecoderLayer>> layers;
  PanelSet output_panels;
};

}  // namespace tamis

#endif  // TAMIS_MODEL_DECODER_WEIGHTS_H_
