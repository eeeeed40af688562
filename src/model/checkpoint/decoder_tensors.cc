#include "model/checkpoint/decoder_tensors.h"

#include <fmt/format.h>

namespace tamis {

std::vector<DecoderTensor> DecoderTensors(const ModelConfig& config) {
  const int64_t q = int64_t{config.q_heads} * config.head_dim;
  const int64_t kv = int64_t{config.kv_heads} * config.head_dim;
  const int64_t hidden = config.hidden;
  const int64_t inner = config.feed_forward;

  std::vector<DecoderTensor> tensors;
  tensors.push_back({"model.embed_tokens.weight", "token_embd.weight", config.vocab, hidden});
  for (int32_t layer = 0; layer < config.layers; ++layer) {
    const std::string to = fmt::format("model.layers.{}.", layer);
    const std::string from = fmt::format("blk.{}.", layer);
    const auto add = [&](const char* name, const char* gguf_name, int64_t rows, int64_t columns,
                         bool rotated = false) {
      tensors.push_back({to + name, from + gguf_name, rows, columns, rotated});
    };
    add("input_layernorm.weight", "attn_norm.weight", 0, hidden);
    add("self_attn.q_proj.weight", "attn_q.weight", q, hidden, true);
    add("self_attn.k_proj.weight", "attn_k.weight", kv, hidden, true);
    add("self_attn.v_proj.weight", "attn_v.weight", kv, hidden);
    add("self_attn.o_proj.weight", "attn_output.weight", hidden, q);
    if (config.qkv_bias) {
      add("self_attn.q_proj.bias", "attn_q.bias", 0, q);
      add("self_attn.k_proj.bias", "attn_k.bias", 0, kv);
      add("self_attn.v_proj.bias", "attn_v.bias", 0, kv);
    }
    if (config.qk_norm) {
      add("self_attn.q_norm.weight", "attn_q_norm.weight", 0, config.head_dim);
      add("self_attn.k_norm.weight", "attn_k_norm.weight", 0, config.head_dim);
    }
    add("post_attention_layernorm.weight", "ffn_norm.weight", 0, hidden);
    add("mlp.gate_proj.weight", "ffn_gate.weight", inner, hidden);
    add("mlp.up_proj.weight", "ffn_up.weight", inner, hidden);
    add("mlp.down_proj.weight", "ffn_down.weight", hidden, inner);
  }
  tensors.push_back({"model.norm.weight", "output_norm.weight", 0, hidden});
  if (!config.tied_embeddings) {
    tensors.push_back({"lm_head.weight", "output.weight", config.vocab, hidden});
  }
  return tensors;
}

}  // namespace tamis
