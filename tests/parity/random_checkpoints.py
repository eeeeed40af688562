"""Small random checkpoints that transformers writes: every architecture, awkward sizes."""

import torch
import transformers

LLAMA3_ROPE = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0,
               "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 64}

# name: (architecture, configuration, dtype of the file, shard size)
CHECKPOINTS = {
    "llama": ("Llama", {}, torch.float32, None),
    "llama, tied, bf16 file": ("Llama", {"tie_word_embeddings": True}, torch.bfloat16, None),
    "llama, odd sizes": ("Llama", {"hidden_size": 90, "intermediate_size": 101, "vocab_size": 131,
                                   "num_attention_heads": 5, "num_key_value_heads": 5,
                                   "head_dim": 24}, torch.float32, None),
    "llama, llama3 rope, sharded": ("Llama", {"rope_parameters": LLAMA3_ROPE, "head_dim": 32},
                                    torch.float32, "60KB"),
    "llama, f16 file": ("Llama", {"num_key_value_heads": 1}, torch.float16, None),
    "qwen2, tied": ("Qwen2", {"tie_word_embeddings": True}, torch.float32, None),
    "qwen2, untied, sharded, bf16 file": ("Qwen2", {"num_key_value_heads": 4}, torch.bfloat16,
                                          "40KB"),
    "qwen3, tied": ("Qwen3", {"tie_word_embeddings": True, "head_dim": 40}, torch.float32, None),
    "qwen3, untied, bf16 file": ("Qwen3", {"head_dim": 128, "num_key_value_heads": 1},
                                 torch.bfloat16, None),
}
COMMON = {"num_hidden_layers": 3, "hidden_size": 64, "intermediate_size": 144, "vocab_size": 320,
          "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
          "rms_norm_eps": 1e-6, "tie_word_embeddings": False}


def randomize(model):
    """Weights large enough that attention is far from uniform and every tensor matters."""
    for name, parameter in model.named_parameters():
        if name.endswith("norm.weight"):
            parameter.data.normal_(1.0, 0.2)
        elif parameter.dim() == 1:
            parameter.data.normal_(0.0, 0.3)
        else:
            parameter.data.normal_(0.0, 1.5 / parameter.shape[1] ** 0.5)


def write_all(directory):
    """Yields (name, path) of each checkpoint."""
    for index, (name, (kind, extra, dtype, shard)) in enumerate(CHECKPOINTS.items()):
        torch.manual_seed(index)
        config = getattr(transformers, f"{kind}Config")(**{**COMMON, **extra})
        model = getattr(transformers, f"{kind}ForCausalLM")(config)
        randomize(model)
        path = directory / f"checkpoint-{index}"
        model.to(dtype).save_pretrained(path, **({"max_shard_size": shard} if shard else {}))
        yield name, path
