"""Holds tamis's tokenizers and chat templates to HuggingFace tokenizers and Jinja.

    python tests/parity/tokenizer_parity.py --build build/dev --model MODEL.gguf --text FILE...

Ids, decoded text and streamed text must be identical on every record; any difference is printed
and the exit status is 1.
"""

import argparse
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import time

import chat_templates
import tokenizer_corpus
import tokenizer_references


class Helper:
    """Runs the C++ side on records."""

    def __init__(self, build: str, directory: pathlib.Path):
        self.program = pathlib.Path(build) / "tests" / "tokenize_parity"
        self.directory = directory

    def run(self, mode, tokenizer, records, *flags):
        source, target = self.directory / "records", self.directory / "answers"
        with source.open("wb") as file:
            for record in records:
                file.write(struct.pack("<I", len(record)) + record)
        subprocess.run([self.program, mode, tokenizer, source, target, *flags], check=True,
                       stdout=subprocess.DEVNULL)
        data, at, answers = target.read_bytes(), 0, []
        while at < len(data):
            (length,) = struct.unpack_from("<I", data, at)
            answers.append(data[at + 4:at + 4 + length])
            at += 4 + length
        return answers


def first_difference(ours, theirs):
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b),
              min(len(ours), len(theirs)))
    return at, ours[max(0, at - 3):at + 6], theirs[max(0, at - 3):at + 6]


class Totals:
    def __init__(self):
        self.bytes = self.ids = self.records = self.checks = self.failures = 0

    def fail(self, message):
        self.failures += 1
        if self.failures <= 20:
            print(f"DIFFERENT {message}", file=sys.stderr)


def compare(helper, name, reference, path, texts, totals, plain=False):
    """Encodes and decodes `texts` on both sides."""
    started = time.monotonic()
    reference.encode_special_tokens = plain
    answers = helper.run("encode", path, [t.encode() for t in texts], *(["plain"] if plain else []))
    assert len(answers) == 4 * len(texts), f"{name}: {len(answers)} answers"
    encodings = reference.encode_batch(texts)
    size = count = 0
    for i, (text, encoding) in enumerate(zip(texts, encodings)):
        raw, kept, dropped, streamed = answers[4 * i:4 * i + 4]
        ids = list(struct.unpack(f"<{len(raw) // 4}i", raw))
        if ids != encoding.ids:
            at, ours, theirs = first_difference(ids, encoding.ids)
            shown = [reference.id_to_token(t) for t in ours], [
                reference.id_to_token(t) for t in theirs]
            totals.fail(f"{name}, record {i} ({text[:40]!r}...), id {at}: {shown[0]} / {shown[1]}")
        for skip, ours in ((False, kept), (True, dropped)):
            theirs = reference.decode(encoding.ids, skip_special_tokens=skip)
            if ours.decode("utf-8", "replace") != theirs:
                totals.fail(f"{name}, record {i}, decoded with skip_special_tokens={skip}")
        if streamed.decode("utf-8") != dropped.decode("utf-8", "replace"):
            totals.fail(f"{name}, record {i}, streamed")
        size += len(text.encode())
        count += len(ids)
    totals.bytes += size
    totals.ids += count
    totals.records += len(texts)
    totals.checks += 1
    print(f"  {name}: {size / 1e6:.1f} MB, {count} ids, {time.monotonic() - started:.1f} s")


def compare_chats(helper, directory, smollm2_path, smollm2_template, totals):
    """Renders conversations on both sides: SmolLM2's template from its file, others from
    chat_templates.py."""
    conversations = chat_templates.conversations()
    records = [json.dumps(c).encode() for c in conversations]
    cases = [("SmolLM2", smollm2_path, smollm2_template)]
    for name, template in chat_templates.TEMPLATES.items():
        cases.append((name, chat_templates.checkpoint(directory / f"chat-{name}", template),
                      template))
    for name, path, template in cases:
        rendered = helper.run("render", path, records)
        for conversation, ours in zip(conversations, rendered):
            theirs = chat_templates.render(template, conversation)
            if ours.decode() != theirs:
                totals.fail(f"chat template {name}, {conversation}: {ours.decode()!r} / {theirs!r}")
        totals.checks += 1
    print(f"  {len(cases)} chat templates, {len(conversations)} conversations each")
    return len(cases)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True, help="build directory, such as build/dev")
    parser.add_argument("--model", required=True, help="SmolLM2 as GGUF")
    parser.add_argument("--text", nargs="+", required=True, help="files of prose")
    arguments = parser.parse_args()
    prose = [pathlib.Path(p).read_bytes().decode("utf-8", "replace") for p in arguments.text]
    totals = Totals()
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        helper = Helper(arguments.build, directory)
        smollm2, template = tokenizer_references.smollm2(arguments.model)
        specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<reponame>",
                    "<|im_", "<|start_header_id|>"]
        texts = tokenizer_corpus.corpus(prose, specials, seed=1, scale=1.0)
        texts.append(tokenizer_corpus.every_code_point())
        compare(helper, "SmolLM2", smollm2, arguments.model, texts, totals)
        assert totals.bytes >= 10e6, f"the corpus holds {totals.bytes} bytes only"
        texts = tokenizer_corpus.corpus([], specials, seed=2, scale=0.1)
        compare(helper, "SmolLM2, special tokens as text", smollm2, arguments.model, texts, totals,
                plain=True)

        sample = [p[20_000:220_000] for p in prose[:2]] + [
            "".join(tokenizer_corpus.corpus([], specials, seed=3, scale=0.02)[:40])]
        specials = [t.content for t in tokenizer_references.added_tokens()] + [
            "<|begin_of_text|>", "<|eot_id|>", " <f2>", "word", "été e\u0301te\u0301"]
        texts = tokenizer_corpus.corpus(sample, specials, seed=4, scale=0.05)
        for name, reference, path in tokenizer_references.trained(sample, directory):
            # One of each kind of pattern and normalizer: what depends on Unicode's tables.
            whole = name.split("-")[0] in ("llama3", "qwen2", "gpt4o", "punctuated")
            compare(helper, name, reference, path,
                    texts + [tokenizer_corpus.every_code_point()] * whole, totals)
            if "added" in name:
                compare(helper, f"{name}, special tokens as text", reference, path, texts, totals,
                        plain=True)
        chats = compare_chats(helper, directory, arguments.model, template, totals)
    verdict = f"{totals.failures} differences" if totals.failures else "identical"
    print(f"tokenizer parity: {verdict}: {totals.bytes / 1e6:.1f} MB, {totals.ids} ids, "
          f"{totals.records} records, {totals.checks - chats} tokenizer runs, {chats} chat templates")
    return 1 if totals.failures else 0


if __name__ == "__main__":
    sys.exit(main())
