"""Holds the memory that `tamis inspect` estimates to what a run takes.

    python tests/parity/memory_estimate.py --tamis build/release/tamis --model SMALL.gguf

Writes a Q4_0 checkpoint of random weights with the layers of an 8B Llama (hidden 4096,
feed-forward 14336, 32/8 heads), a few of them, and the tokenizer of the small model; reads a prompt
with it and compares the largest resident size with the estimate. Exits with 1 where they are more
than 5 % apart.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy as np

HIDDEN, FEED_FORWARD, HEADS, KV_HEADS, HEAD_DIM = 4096, 14336, 32, 8, 128
BLOCK, BLOCK_BYTES = 32, 18  # of Q4_0: a half scale and 16 bytes of nibbles
FULL_LAYERS = 32


def q4_0(random, rows, columns):
    """Random blocks with small scales."""
    blocks = random.integers(0, 256, (rows * columns // BLOCK, BLOCK_BYTES), dtype=np.uint8)
    blocks[:, :2] = np.frombuffer(np.float16(0.02 / columns ** 0.5).tobytes(), dtype=np.uint8)
    return blocks.reshape(rows, columns // BLOCK * BLOCK_BYTES)


def write(path, small, layers, context):
    random = np.random.default_rng(1)
    source = gguf.GGUFReader(small)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(context)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(500000.0)
    writer.add_rope_dimension_count(HEAD_DIM)
    for name, field in source.fields.items():
        if not name.startswith("tokenizer."):
            continue
        kind = field.types[0]
        if kind == gguf.GGUFValueType.ARRAY:
            writer.add_key_value(name, field.contents(), kind, field.types[1])
        else:
            writer.add_key_value(name, field.contents(), kind)
    vocab = len(source.fields["tokenizer.ggml.tokens"].data)
    writer.add_vocab_size(vocab)

    def matrix(name, rows, columns):
        writer.add_tensor(name, q4_0(random, rows, columns),
                          raw_dtype=gguf.GGMLQuantizationType.Q4_0)

    def norm(name):
        writer.add_tensor(name, np.ones(HIDDEN, dtype=np.float32))

    matrix("token_embd.weight", vocab, HIDDEN)
    matrix("output.weight", vocab, HIDDEN)
    norm("output_norm.weight")
    for layer in range(layers):
        block = f"blk.{layer}."
        norm(block + "attn_norm.weight")
        norm(block + "ffn_norm.weight")
        matrix(block + "attn_q.weight", HEADS * HEAD_DIM, HIDDEN)
        matrix(block + "attn_k.weight", KV_HEADS * HEAD_DIM, HIDDEN)
        matrix(block + "attn_v.weight", KV_HEADS * HEAD_DIM, HIDDEN)
        matrix(block + "attn_output.weight", HIDDEN, HEADS * HEAD_DIM)
        matrix(block + "ffn_gate.weight", FEED_FORWARD, HIDDEN)
        matrix(block + "ffn_up.weight", FEED_FORWARD, HIDDEN)
        matrix(block + "ffn_down.weight", HIDDEN, FEED_FORWARD)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def answer(*command):
    out = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE)
    return json.loads(out.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tamis", required=True)
    parser.add_argument("--model", required=True, help="a GGUF whose tokenizer is taken")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--prompt-tokens", type=int, default=2048)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "random-8b-layers.gguf"
        write(path, arguments.model, arguments.layers, 8192)
        generate = 8
        tokens = arguments.prompt_tokens + generate
        estimate = answer(arguments.tamis, "inspect", "--model", path, "--ctx", tokens, "--json")
        run = answer(arguments.tamis, "bench", "model", "--model", path, "--dtype", "bf16",
                     "--prompt-tokens", arguments.prompt_tokens, "--generate-tokens", generate,
                     "--rounds", 1, "--json")
    expected = estimate["run_bytes"]["bf16"]
    peak = run["peak_resident_bytes"]
    row = run["rows"][0]
    print(f"{arguments.layers} of {FULL_LAYERS} layers, {tokens} tokens, bf16: "
          f"estimate {expected / 2**20:.0f} MiB, peak resident {peak / 2**20:.0f} MiB "
          f"({100 * (peak / expected - 1):+.1f} %)")
    print(f"weights {run['weight_bytes'] / 2**20:.0f} MiB, KV cache {row['kv_bytes'] / 2**20:.0f} "
          f"MiB, model's scratch {run['scratch_bytes'] / 2**20:.0f} MiB, attention's workspace "
          f"{row['workspace_bytes'] / 2**20:.0f} MiB")
    print(f"prefill {row['prefill_tokens_per_s']:.1f} tokens/s, decode "
          f"{row['decode_tokens_per_s']:.2f} tokens/s")
    sys.exit(1 if abs(peak / expected - 1) > 0.05 else 0)


if __name__ == "__main__":
    main()
