"""Holds tamis's logits to HuggingFace transformers on the CPU.

    python tests/parity/logits_parity.py --build build/dev --model MODEL.gguf --novels DIRECTORY

SmolLM2: prompts of 512 tokens and greedy continuations of several kinds, against transformers in
f32. In f32 every top-1 token must be the same. In bf16 the divergence of the next token's
distribution must be at most BF16_DIVERGENCES of that of transformers' own bf16, as geometric means
over the prompts: one of them, whose first tokens have the model's largest activations, amplifies any
rounding (moving the bases of softmax, which changes roundings alone, moves its divergence between
1.5e-3 and 1.9e-2) and would decide any other mean. LARGEST_DIVERGENCE bounds it. The share of equal
top-1 tokens in bf16 must be BF16_TOP1 over PASSAGES of each novel but for the worst one, against f32:
a single prompt's share moves by half a percent with roundings. Small random checkpoints of every
architecture in safetensors: one pass, chunks with single steps after them, paged
cache. Prints tables; exits with 1 where a bound is missed.
"""

import argparse
import fractions
import hashlib
import inspect
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TQDM_DISABLE", "1")  # transformers' progress bars; read on import

import numpy as np
import torch
import transformers
import transformers.models.llama.modeling_llama as modeling_llama

import random_checkpoints
import tokenizer_references

PROMPT_TOKENS = 512
GREEDY_TOKENS = 64
PROMPTS = {
    "prose": "The old lighthouse keeper climbed the stairs one last time, and when he reached the top",
    "code": "def merge_sorted(left, right):\n    \"\"\"Merges two sorted lists.\"\"\"\n    result = []\n",
    "chat": "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
            "Why is the sky blue?<|im_end|>\n<|im_start|>assistant\n",
    "japanese": "昔々、ある山の中に小さな村がありました。その村には",
    "digits": "3.14159 26535 89793; 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024,",
}
BF16_TOP1 = 99.0
BF16_DIVERGENCES = 0.5
LARGEST_DIVERGENCE = 0.05
NOVELS = ("prideprejudice", "emma", "sensesensibility")
PASSAGES = 10
PASSES = {"one pass": {}, "chunks, paged": {"chunk": 100, "page_size": 16}}
TINY_TOKENS = 150
TINY_ERROR = 1e-4


class Tamis:
    """Runs the C++ side."""

    def __init__(self, build, directory):
        self.program = pathlib.Path(build) / "tests" / "logits_parity"
        self.directory = pathlib.Path(directory)

    def run(self, mode, model, dtype, tokens, *options):
        source, target = self.directory / "tokens", self.directory / "answer"
        np.asarray(tokens, dtype=np.int32).tofile(source)
        subprocess.run([self.program, mode, model, dtype, source, target, *map(str, options)],
                       check=True)
        return target

    def logits(self, model, dtype, tokens, chunk=1024, page_size=0, tail=0):
        answer = self.run("logits", model, dtype, tokens, chunk, page_size, tail)
        return np.fromfile(answer, dtype=np.float32).reshape(len(tokens), -1)

    def greedy(self, model, dtype, tokens, count):
        return np.fromfile(self.run("greedy", model, dtype, tokens, count), dtype=np.int32)


class Report:
    def __init__(self):
        self.checks = self.failures = 0

    def line(self, good, text):
        self.checks += 1
        self.failures += not good
        print(f"  {'ok  ' if good else 'FAIL'}  {text}", flush=True)


def relative_error(ours, theirs):
    """Largest difference as a share of the largest logit."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def reference_logits(model, tokens):
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].float().numpy()


def reference_greedy(model, tokens, count):
    ids = torch.tensor([tokens])
    with torch.no_grad():
        out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False,
                             max_new_tokens=count, min_new_tokens=count, pad_token_id=0)
    return out[0, len(tokens):].numpy()


def smollm2_prompts(model_path, novels):
    """Long prompts of PROMPT_TOKENS ids each, and short ones, by name."""
    tokenizer, _ = tokenizer_references.smollm2(str(model_path))
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    texts = {"licence": pathlib.Path(__file__).parents[2].joinpath("LICENSE").read_text(),
             "code": inspect.getsource(modeling_llama)}
    for name in NOVELS:
        novel = (novels / f"{name}.txt").read_text(encoding="utf-8")
        for third in (1, 2):
            texts[f"{name} {third}/3"] = novel[third * len(novel) // 3:]
    long_prompts = {name: encode(text[:8 * PROMPT_TOKENS])[:PROMPT_TOKENS]
                    for name, text in texts.items()}
    assert all(len(ids) == PROMPT_TOKENS for ids in long_prompts.values())
    return long_prompts, {name: encode(text) for name, text in PROMPTS.items()}


def smollm2_reference(model_path, long_prompts, short_prompts, cache):
    """The reference's answers; loading the GGUF takes it a minute, so they are kept in `cache`."""
    stat = model_path.stat()
    state = repr(("divergence", transformers.__version__, torch.__version__, stat.st_size, stat.st_mtime,
                  long_prompts, short_prompts, GREEDY_TOKENS))
    file = cache / f"reference-{hashlib.sha256(state.encode()).hexdigest()[:16]}.npz"
    if file.exists():
        return np.load(file)
    start = time.time()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        model_path.parent, gguf_file=model_path.name, dtype=torch.float32).eval()
    print(f"transformers loaded the model in {time.time() - start:.0f} s", flush=True)
    answers = {f"greedy {name}": reference_greedy(model, ids, GREEDY_TOKENS)
               for name, ids in short_prompts.items()}
    for name, ids in long_prompts.items():
        answers[f"logits {name}"] = reference_logits(model, ids)
    model.to(torch.bfloat16)
    for name, ids in long_prompts.items():
        logits = reference_logits(model, ids)
        answers[f"bf16 top-1 {name}"] = logits.argmax(1)
        answers[f"bf16 divergence {name}"] = divergence(logits, answers[f"logits {name}"])
    cache.mkdir(parents=True, exist_ok=True)
    np.savez(file, **answers)
    return answers


def same_top1(ours, theirs):
    return float((ours == theirs).mean())


def divergence(ours, theirs):
    """Mean Kullback-Leibler divergence of our distributions from theirs, in nats."""
    ours, theirs = (torch.log_softmax(torch.from_numpy(np.asarray(x, dtype=np.float64)), dim=1)
                    for x in (ours, theirs))
    return float((theirs.exp() * (theirs - ours)).sum(1).mean())


def check_smollm2(tamis, model_path, novels, cache, report):
    long_prompts, short_prompts = smollm2_prompts(model_path, novels)
    reference = smollm2_reference(model_path, long_prompts, short_prompts, cache)
    theirs = {name: reference[f"logits {name}"] for name in long_prompts}
    top1 = {name: logits.argmax(1) for name, logits in theirs.items()}
    bf16 = {name: same_top1(reference[f"bf16 top-1 {name}"], top1[name]) for name in long_prompts}
    bf16_divergences = {name: float(reference[f"bf16 divergence {name}"]) for name in long_prompts}
    print(f"{model_path.name}: top-1 tokens equal to transformers' in f32, {PROMPT_TOKENS}-token "
          "prompts")
    print("  transformers' own bf16: "
          + "  ".join(f"{name} {100 * share:.2f} %" for name, share in bf16.items()))
    for dtype in ("f32", "bf16"):
        for how, options in PASSES.items():
            shares, divergences = {}, {}
            for name, ids in long_prompts.items():
                ours = tamis.logits(model_path, dtype, ids, **options)
                shares[name] = same_top1(ours.argmax(1), top1[name])
                divergences[name] = divergence(ours, theirs[name])
                print(f"        {dtype:4}  {how:14} {name:22} {100 * shares[name]:6.2f} %   "
                      f"KL {divergences[name]:.2e}   relative error {relative_error(ours, theirs[name]):.2e}")
            if dtype == "f32":
                mean = 100 * np.mean(list(shares.values()))
                report.line(mean == 100, f"f32   {how:14} {mean:.2f} % (must be 100)")
                continue
            ours, most = (statistics.geometric_mean(x.values()) for x in (divergences, bf16_divergences))
            report.line(ours <= BF16_DIVERGENCES * most,
                        f"bf16  {how:14} geometric mean KL {ours:.2e} (must be {BF16_DIVERGENCES} of "
                        f"transformers' bf16, {most:.2e})")
            largest = max(divergences.values())
            report.line(largest <= LARGEST_DIVERGENCE,
                        f"bf16  {how:14} largest KL {largest:.2e} (must be {LARGEST_DIVERGENCE})")
    check_passages(tamis, model_path, novels, shares, report)
    print(f"{model_path.name}: {GREEDY_TOKENS} greedy tokens in f32")
    for name, ids in short_prompts.items():
        ours = tamis.greedy(model_path, "f32", ids, GREEDY_TOKENS)
        same = int(np.argmin(np.append(ours == reference[f"greedy {name}"], False)))
        report.line(same == GREEDY_TOKENS, f"{name:10} {same} of {GREEDY_TOKENS} identical")


def check_passages(tamis, model_path, novels, known, report):
    """`known`: shares of equal top-1 tokens in bf16 of passages that were run already, by name."""
    tokenizer, _ = tokenizer_references.smollm2(str(model_path))
    shares = []
    for name in NOVELS:
        novel = (novels / f"{name}.txt").read_text(encoding="utf-8")
        for i in range(1, PASSAGES + 1):
            where = f"{name} {fractions.Fraction(i, PASSAGES + 2)}"
            if where in known:
                shares.append(100 * known[where])
                continue
            passage = novel[i * len(novel) // (PASSAGES + 2):][:8 * PROMPT_TOKENS]
            ids = tokenizer.encode(passage, add_special_tokens=False).ids[:PROMPT_TOKENS]
            f32, bf16 = (tamis.logits(model_path, dtype, ids).argmax(1) for dtype in ("f32", "bf16"))
            shares.append(100 * same_top1(bf16, f32))
    shares.sort()
    report.line(np.mean(shares[1:]) >= BF16_TOP1,
                f"bf16  {len(shares)} passages: top-1 {np.mean(shares[1:]):.2f} % without the worst "
                f"(must be {BF16_TOP1}), {shares[0]:.2f} % there")


def check_random(tamis, directory, report):
    print(f"random checkpoints: {TINY_TOKENS} tokens, largest relative error")
    for name, path in random_checkpoints.write_all(directory):
        model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        tokens = np.random.default_rng(5).integers(0, model.config.vocab_size, TINY_TOKENS).tolist()
        theirs = reference_logits(model, tokens)
        errors = []
        for options in ({}, {"chunk": 37, "tail": 20}, {"chunk": 50, "page_size": 16, "tail": 3}):
            errors.append(relative_error(tamis.logits(path, "f32", tokens, **options), theirs))
        narrow = relative_error(tamis.logits(path, "bf16", tokens), theirs)
        report.line(max(errors) <= TINY_ERROR,
                    f"{name:34} one pass {errors[0]:.1e}  chunks and steps {errors[1]:.1e}  "
                    f"paged {errors[2]:.1e}  (bf16 {narrow:.1e})")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", required=True, help="build directory with tests/logits_parity")
    parser.add_argument("--model", required=True, type=pathlib.Path, help="SmolLM2 in GGUF")
    parser.add_argument("--novels", required=True, type=pathlib.Path,
                        help="directory of the novels, one text file each")
    arguments = parser.parse_args()
    report = Report()
    start = time.time()
    with tempfile.TemporaryDirectory() as directory:
        tamis = Tamis(arguments.build, directory)
        check_random(tamis, pathlib.Path(directory), report)
        check_smollm2(tamis, arguments.model, arguments.novels, pathlib.Path(arguments.build) / "parity",
                      report)
    print(f"logits parity: {report.checks - report.failures} of {report.checks} checks passed in "
          f"{time.time() - start:.0f} s")
    sys.exit(1 if report.failures else 0)


if __name__ == "__main__":
    main()
