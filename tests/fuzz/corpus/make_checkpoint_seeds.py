"""Writes the seeds of gguf_fuzz and safetensors_fuzz: the smallest models of each kind.

    python3 make_checkpoint_seeds.py        writes gguf/ and safetensors/ beside itself
"""

import json
import pathlib
import struct

HERE = pathlib.Path(__file__).resolve().parent
HIDDEN, VOCAB, POSITIONS = 8, 2, 16

UINT32, FLOAT32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9
INT32 = 5
# ggml's type number and bytes of a block of so many values.
FORMATS = {"F32": (0, 4, 1), "F16": (1, 2, 1), "BF16": (30, 2, 1), "Q4_0": (2, 18, 32),
           "Q4_1": (3, 20, 32), "Q8_0": (8, 34, 32), "Q6_K": (14, 210, 256)}


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def value(kind: int, what) -> bytes:
    if kind == STRING:
        return text(what)
    if kind == ARRAY:
        element, items = what
        return struct.pack("<IQ", element, len(items)) + b"".join(value(element, i) for i in items)
    return struct.pack({UINT32: "<I", INT32: "<i", FLOAT32: "<f", BOOL: "<?"}[kind], what)


def tensors(architecture: str, hidden: int, tied: bool):
    """Names and shapes, fastest dimension first, of one layer with one head."""
    square, vector = (hidden, hidden), (hidden,)
    yield "token_embd.weight", (hidden, VOCAB)
    yield "blk.0.attn_norm.weight", vector
    for part in "qkv":
        yield f"blk.0.attn_{part}.weight", square
        if architecture == "qwen2":
            yield f"blk.0.attn_{part}.bias", vector
        if architecture == "qwen3" and part != "v":
            yield f"blk.0.attn_{part}_norm.weight", vector
    yield "blk.0.attn_output.weight", square
    yield "blk.0.ffn_norm.weight", vector
    for part in ("gate", "up", "down"):
        yield f"blk.0.ffn_{part}.weight", square
    yield "output_norm.weight", vector
    if not tied:
        yield "output.weight", (hidden, VOCAB)
    if architecture == "llama":
        yield "rope_freqs.weight", (hidden // 2,)


def gguf(architecture: str, matrices: str, hidden: int, tied: bool) -> bytes:
    keys = [
        ("general.architecture", STRING, architecture),
        (f"{architecture}.block_count", UINT32, 1),
        (f"{architecture}.context_length", UINT32, POSITIONS),
        (f"{architecture}.embedding_length", UINT32, hidden),
        (f"{architecture}.feed_forward_length", UINT32, hidden),
        (f"{architecture}.attention.head_count", UINT32, 1),
        (f"{architecture}.attention.layer_norm_rms_epsilon", FLOAT32, 1e-5),
        (f"{architecture}.rope.freq_base", FLOAT32, 1e4),
        ("tokenizer.ggml.model", STRING, "gpt2"),
        ("tokenizer.ggml.tokens", ARRAY, (STRING, ["a", "b"])),
        ("tokenizer.ggml.token_type", ARRAY, (INT32, [1, 3])),
        ("tokenizer.ggml.merges", ARRAY, (STRING, ["a b"])),
        ("tokenizer.ggml.eos_token_id", UINT32, 1),
        ("tokenizer.ggml.add_bos_token", BOOL, False),
        ("nested", ARRAY, (ARRAY, [(INT32, [1]), (STRING, ["x"])])),
    ]
    head = b"".join(text(key) + struct.pack("<I", kind) + value(kind, what)
                    for key, kind, what in keys)
    table, data = b"", b""
    count = 0
    for name, shape in tensors(architecture, hidden, tied):
        number, size, block = FORMATS[matrices if len(shape) == 2 else "F32"]
        data += bytes(-len(data) % 32)
        table += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, number,
                                          len(data))
        elements = shape[0] * (shape[1] if len(shape) == 2 else 1)
        one = struct.pack("<f", 1.0) if number == 0 else bytes(size)
        data += one * (elements // block)
        count += 1
    start = b"GGUF" + struct.pack("<IQQ", 3, count, len(keys)) + head + table
    return start + bytes(-len(start) % 32) + data


def safetensors(dtype: str, size: int) -> bytes:
    square, vector = [HIDDEN, HIDDEN], [HIDDEN]
    layer = "model.layers.0."
    shapes = {"model.embed_tokens.weight": [VOCAB, HIDDEN], "model.norm.weight": vector,
              layer + "input_layernorm.weight": vector,
              layer + "post_attention_layernorm.weight": vector}
    shapes |= {f"{layer}self_attn.{part}_proj.weight": square for part in "qkvo"}
    shapes |= {f"{layer}mlp.{part}_proj.weight": square for part in ("gate", "up", "down")}
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes.items():
        end = at + size * shape[0] * (shape[1] if len(shape) == 2 else 1)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, end]}
        at = end
    packed = json.dumps(header, separators=(",", ":")).encode()
    packed += b" " * (-len(packed) % 8)
    return struct.pack("<Q", len(packed)) + packed + bytes(at)


def config(architecture: str, **more) -> bytes:
    fields = {"architectures": [architecture], "num_hidden_layers": 1, "hidden_size": HIDDEN,
              "intermediate_size": HIDDEN, "num_attention_heads": 1, "num_key_value_heads": 1,
              "vocab_size": VOCAB, "max_position_embeddings": POSITIONS, "rms_norm_eps": 1e-5,
              "hidden_act": "silu", "tie_word_embeddings": True}
    return json.dumps(fields | more).encode()


def main() -> None:
    scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
               "high_freq_factor": 4.0, "original_max_position_embeddings": 8}
    seeds = {
        "gguf/llama_f32": gguf("llama", "F32", 8, True),
        "gguf/llama_f16_untied": gguf("llama", "F16", 8, False),
        "gguf/qwen2_q8_0": gguf("qwen2", "Q8_0", 32, True),
        "gguf/qwen3_q4_1": gguf("qwen3", "Q4_1", 32, True),
        "gguf/qwen2_q4_0": gguf("qwen2", "Q4_0", 32, True),
        "gguf/llama_bf16": gguf("llama", "BF16", 8, True),
        "safetensors/model": safetensors("F32", 4),
        "safetensors/model_bf16": safetensors("BF16", 2),
        "safetensors/index": json.dumps(
            {"metadata": {"total_size": 8},
             "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}).encode(),
        "safetensors/config_llama": config("LlamaForCausalLM", rope_theta=1e4,
                                           rope_scaling=scaling),
        "safetensors/config_qwen2": config("Qwen2ForCausalLM", use_sliding_window=False,
                                           layer_types=["full_attention"]),
        "safetensors/config_qwen3": config("Qwen3ForCausalLM", head_dim=16,
                                           rope_parameters={"rope_type": "default",
                                                            "rope_theta": 1e6}),
    }
    for name, data in seeds.items():
        path = HERE / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__":
    main()
