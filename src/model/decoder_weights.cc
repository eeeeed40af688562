#include "model/decoder_weights.h"

#include <fmt/format.h>

#include <algorithm>

namespace tamis {
namespace {

/// Features of a panel: oneDNN's block for many rows, and few enough for few rows that all workers
/// end together.
constexpr int64_t kWide = 64;
constexpr int64_t kFine = 16;

std::vector<float> Vector(const Checkpoint& checkpoint, const std::string& name, int64_t size) {
  const Weight weight = checkpoint.Find(name, 1, size);
  std::vector<float> values(size);
  DequantizeRow(weight.type, weight.data, size, values.data());
  return values;
}

PanelSet Split(const Weight& weight) {
  return {SplitWeight(weight, kWide), SplitWeight(weight, kFine)};
}

std::vector<Panel> Pair(std::vector<Panel> panels, const Weight& second) {
  for (Panel& panel : panels) {
    panel.sources[1] = panel.sources[0];
    panel.sources[1].weight = &second;
  }
  return panels;
}

}  // namespace

DecoderLayer::DecoderLayer(const Checkpoint& checkpoint, int32_t layer) {
  const ModelConfig& config = checkpoint.config();
  const std::string prefix = fmt::format("model.layers.{}.", layer);
  const int64_t head_dim = config.head_dim;
  const int64_t q_size = config.q_heads * head_dim;
  const int64_t kv_size = config.kv_heads * head_dim;
  const auto vector = [&](const char* name, int64_t size) {
    return Vector(checkpoint, prefix + name, size);
  };
  const auto matrix = [&](const char* name, int64_t rows, int64_t columns) {
    return checkpoint.Find(prefix + name, rows, columns);
  };

  attention_norm = vector("input_layernorm.weight", config.hidden);
  feed_forward_norm = vector("post_attention_layernorm.weight", config.hidden);
  if (config.qk_norm) {
    q_norm = vector("self_attn.q_norm.weight", head_dim);
    k_norm = vector("self_attn.k_norm.weight", head_dim);
  }
  if (config.qkv_bias) {
    qkv_bias = vector("self_attn.q_proj.bias", q_size);
    for (const char* name : {"self_attn.k_proj.bias", "self_attn.v_proj.bias"}) {
      const std::vector<float> bias = vector(name, kv_size);
      qkv_bias.insert(qkv_bias.end(), bias.begin(), bias.end());
    }
  }
  q = matrix("self_attn.q_proj.weight", q_size, config.hidden);
  k = matrix("self_attn.k_proj.weight", kv_size, config.hidden);
  v = matrix("self_attn.v_proj.weight", kv_size, config.hidden);
  o = matrix("self_attn.o_proj.weight", config.hidden, q_size);
  gate = matrix("mlp.gate_proj.weight", config.feed_forward, config.hidden);
  up = matrix("mlp.up_proj.weight", config.feed_forward, config.hidden);
  down = matrix("mlp.down_proj.weight", config.hidden, config.feed_forward);

  for (const Weight* weight : {&q, &k, &v}) {
    std::ranges::copy(SplitWeight(*weight, head_dim), std::back_inserter(heads));
  }
  gate_up = Split(gate);
  gate_up.wide = Pair(std::move(gate_up.wide), up);
  gate_up.fine = Pair(std::move(gate_up.fine), up);
  o_panels = Split(o);
  down_panels = Split(down);
}

DecoderWeights::DecoderWeights(const Checkpoint& checkpoint) {
  const ModelConfig& config = checkpoint.config();
  embedding = checkpoint.Find("model.embed_tokens.weight", config.vocab, config.hidden);
  output = config.tied_embeddings ? embedding
                                  : checkpoint.Find("lm_head.weight", config.vocab, config.hidden);
  final_norm = Vector(checkpoint, "model.norm.weight", config.hidden);
  for (int32_t layer = 0; layer < config.layers; ++layer) {
    layers.push_back(std::make_unique<DecoderLayer>(checkpoint, layer));
  }
  output_panels = Split(output);
}

}  // namespace tamis
