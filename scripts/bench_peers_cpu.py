"""Times tamis and its peers side by side; see scripts/bench_peers_cpu.

Each round times every side once, in alternating order; tables give medians and the spread of the
middle half. Attention: causal, batch 1, the same shapes and dtype. Model: the same GGUF, the same
token ids, llama.cpp through its C interface with flash attention on and its default F16 cache.
"""

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import time

DTYPES = ("f32", "bf16")
PREFILL_POLICY = "xattention,prefill.selector.threshold=0.97"


def tamis(arguments, *command):
    out = subprocess.run([arguments.tamis, *map(str, command), "--threads", str(arguments.threads),
                          "--json"], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(out.stdout)


def spread(values):
    """Half the interquartile range, as a share of the median."""
    if len(values) < 3:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4)
    return 0.5 * (high - low) / statistics.median(values)


def table(header, rows):
    """Prints aligned columns; the first two to the left."""
    rows = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    for number, row in enumerate(rows):
        print("  ".join(cell.ljust(width) if i < 2 else cell.rjust(width)
                        for i, (cell, width) in enumerate(zip(row, widths))).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))
    print(flush=True)


def torch_attention_seconds(torch, length, head_dim, dtype):
    """A function that times one warm call."""
    make = lambda heads: torch.randn(1, heads, length, head_dim).to(dtype)
    q, k, v = make(32), make(8), make(8)

    def once():
        with torch.inference_mode():
            start = time.perf_counter()
            torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True,
                                                             enable_gqa=True)
            return time.perf_counter() - start
    once()
    return once


def bench_attention(arguments):
    import torch
    torch.set_num_threads(arguments.threads)
    print(f"causal attention, 32/8 heads, batch 1, {arguments.threads} threads, PyTorch "
          f"{torch.__version__}, median of {arguments.rounds}")
    rows, cpu = [], None
    for head_dim in (128, 64):
        for dtype in DTYPES:
            for length in arguments.lengths:
                peer = torch_attention_seconds(
                    torch, length, head_dim, {"f32": torch.float32, "bf16": torch.bfloat16}[dtype])
                ours, theirs, peak = [], [], []
                for number in range(arguments.rounds):
                    def run_ours():
                        nonlocal cpu
                        answer = tamis(arguments, "bench", "attention", "--length", length,
                                       "--head-dim", head_dim, "--dtype", dtype, "--repeats", 1)
                        cpu = answer["cpu"]
                        ours.append(1e-3 * answer["rows"][0]["milliseconds"])
                        peak.append(answer["rows"][0]["peak_share"])
                    sides = [run_ours, lambda: theirs.append(peer())]
                    for side in sides if number % 2 == 0 else reversed(sides):
                        side()
                a, b = statistics.median(ours), statistics.median(theirs)
                rows.append([f"{length}", f"{dtype} d{head_dim}", f"{1e3 * a:.1f}",
                             f"{100 * spread(ours):.0f} %", f"{100 * statistics.median(peak):.0f} %",
                             f"{1e3 * b:.1f}", f"{100 * spread(theirs):.0f} %", f"{b / a:.2f}x"])
    print(cpu)
    table(["tokens", "type", "tamis ms", "±", "of peak", "PyTorch ms", "±", "ours faster"], rows)


class LlamaCpp:
    """llama.cpp through llama-cpp-python's C interface."""

    def __init__(self, path, context, threads):
        import llama_cpp
        self.lib = llama_cpp
        self.llama = llama_cpp.Llama(model_path=path, n_ctx=context, n_threads=threads,
                                     n_threads_batch=threads, flash_attn=True, n_batch=2048,
                                     n_ubatch=512, verbose=False)
        self.context = self.llama.ctx

    def describe(self):
        info = self.lib.llama_print_system_info().decode()
        return f"llama.cpp (llama-cpp-python {self.lib.__version__}): {info}"

    def decode(self, ids):
        array = (self.lib.llama_token * len(ids))(*ids)
        if self.lib.llama_decode(self.context, self.lib.llama_batch_get_one(array, len(ids))) != 0:
            raise RuntimeError(f"llama_decode failed on {len(ids)} tokens")
        self.lib.llama_synchronize(self.context)

    def run(self, prompt, generate):
        """Tokens a second of prefill and of greedy decode."""
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)
        start = time.perf_counter()
        for at in range(0, len(prompt), 2048):
            self.decode(prompt[at:at + 2048])
        middle = time.perf_counter()
        vocab = self.llama.n_vocab()
        for _ in range(generate):
            logits = self.lib.llama_get_logits(self.context)
            values = ctypes.cast(logits, ctypes.POINTER(ctypes.c_float * vocab)).contents
            self.decode([self.argmax(values)])
        end = time.perf_counter()
        return len(prompt) / (middle - start), generate / (end - middle)

    @staticmethod
    def argmax(values):
        import numpy
        return int(numpy.frombuffer(values, dtype=numpy.float32).argmax())


def bench_model(arguments):
    prompts = arguments.lengths
    policies = ["dense", PREFILL_POLICY]
    peer = LlamaCpp(arguments.model, max(prompts) + 64, arguments.threads)
    print(peer.describe())
    tokenized = tamis_tokens(arguments, max(prompts))
    rows, cpu = [], None
    for length in prompts:
        results = {name: ([], []) for name in ["llama.cpp", *policies]}
        peer.run(tokenized[:length], 2)

        def run_ours():
            nonlocal cpu
            answer = tamis(arguments, "bench", "model", "--model", arguments.model, "--text",
                           arguments.text, "--prompt-tokens", length, "--generate-tokens",
                           arguments.generate + 1, "--dtype", "bf16", "--rounds", 1, "--policy",
                           PREFILL_POLICY)
            cpu = answer["cpu"]
            for row in answer["rows"]:
                name = "dense" if row["policy"] == "dense" else PREFILL_POLICY
                results[name][0].append(row["prefill_tokens_per_s"])
                results[name][1].append(row["decode_tokens_per_s"])

        def run_peer():
            for side, value in zip(results["llama.cpp"],
                                   peer.run(tokenized[:length], arguments.generate)):
                side.append(value)

        for number in range(arguments.rounds):
            for side in (run_ours, run_peer) if number % 2 == 0 else (run_peer, run_ours):
                side()
        base = [statistics.median(values) for values in results["llama.cpp"]]
        for name, sides in results.items():
            cells = [f"{length}", name if name == "llama.cpp" else f"tamis bf16, {name}"]
            for values, reference in zip(sides, base):
                median = statistics.median(values)
                cells += [f"{median:.1f}", f"{100 * spread(values):.0f} %",
                          f"{median / reference:.2f}x"]
            rows.append(cells)
    print(f"{os.path.basename(arguments.model)}, {cpu}, {arguments.threads} threads, median of "
          f"{arguments.rounds}; {arguments.generate} tokens decoded after the prompt")
    table(["prompt", "engine", "prefill t/s", "±", "ratio", "decode t/s", "±", "ratio"], rows)


def tamis_tokens(arguments, count):
    out = subprocess.run([arguments.tamis, "tokenize", "--model", arguments.model, "--file",
                          arguments.text, "--json"], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(out.stdout)["ids"][:count]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", choices=["attention", "model", []],
                        help="which tables; default both")
    parser.add_argument("--tamis", required=True, help="the release binary")
    parser.add_argument("--model", required=True, help="a GGUF both engines read")
    parser.add_argument("--text", required=True, help="long prose for the prompts")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lengths", type=int, nargs="+",
                        help="tokens; default 2048 8192 (attention), 1024 8000 (model)")
    parser.add_argument("--generate", type=int, default=32, help="tokens decoded")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    chosen = arguments.lengths
    for name, run, lengths in (("attention", bench_attention, [2048, 8192]),
                               ("model", bench_model, [1024, 8000])):
        if not arguments.parts or name in arguments.parts:
            arguments.lengths = chosen or lengths
            run(arguments)


if __name__ == "__main__":
    main()
