"""Writes the seeds of tokenizer_fuzz: small tokenizers of every pipeline, each with a
configuration and a text, separated by the byte FF.

    python tests/fuzz/corpus/make_tokenizer_seeds.py     (with tests/parity/requirements.txt)
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "parity"))
from chat_templates import TEMPLATES  # noqa: E402
from tokenizer_references import GPT4O, LLAMA3, QWEN2  # noqa: E402

TEXT = "hello  <s>a<w>\n <l> aa<r>  aaaa 019 e\u0301é <|im_end|>X".encode() + b"\xf0\x9f\x98"
MERGES = ["h e", "l l", "he ll", "hell o", "Ġ a", "a a", "aa aa"]
# The byte alphabet's spelling of the bytes in TEXT; \u0120 and \u010a are space and line feed.
VOCABULARY = {token: i for i, token in enumerate(dict.fromkeys(
    list("abcdehlo\u0120\u010a019<>|'_mX\u00c3\u00a9\u00cc\u0123") + [
        m.replace(" ", "") for m in MERGES]))}
ADDED = [
    {"id": len(VOCABULARY) + i, "content": content, "single_word": False, "lstrip": False,
     "rstrip": False, "normalized": False, "special": False, **flags}
    for i, (content, flags) in enumerate([
        ("<s>", {"special": True}), ("<w>", {"single_word": True}), ("<l>", {"lstrip": True}),
        ("<r>", {"rstrip": True}), ("é", {"normalized": True}), ("<|im_end|>", {"special": True})])]
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
FIRST = {"type": "TemplateProcessing",
         "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                    {"Sequence": {"id": "A", "type_id": 0}}],
         "special_tokens": {"<s>": {"id": "<s>", "ids": [ADDED[0]["id"]], "tokens": ["<s>"]}}}


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def document(pre_tokenizer, model=None, **members):
    return {"added_tokens": ADDED, "normalizer": None, "pre_tokenizer": pre_tokenizer,
            "post_processor": None, "decoder": {"type": "ByteLevel"},
            "model": {"type": "BPE", "vocab": VOCABULARY, "merges": MERGES, **(model or {})},
            **members}


SEEDS = {
    "smollm": (
        document(sequence({"type": "Digits", "individual_digits": True},
                          {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True})),
        {"chat_template": TEMPLATES["chatml"]}),
    "llama3": (
        document(sequence(split({"Regex": LLAMA3}), BYTE_LEVEL), {"ignore_merges": True},
                 post_processor={"type": "Sequence", "processors": [{"type": "ByteLevel"}, FIRST]}),
        {"bos_token": "<s>", "chat_template": TEMPLATES["llama3.1"], "eos_token_id": [0, 1]}),
    "qwen": (
        document(sequence(split({"Regex": QWEN2}), BYTE_LEVEL), normalizer={"type": "NFC"}),
        {"eos_token": {"content": "<|im_end|>"}, "chat_template": TEMPLATES["qwen3"]}),
    "gpt4o": (
        document(sequence(split({"Regex": GPT4O}), BYTE_LEVEL)),
        {"chat_template": [{"name": "default", "template": TEMPLATES["qwen2"]}]}),
    "splits": (
        document(sequence(split({"Regex": "[aeiou]"}, "MergedWithNext"),
                          split({"Regex": "l+"}, "Removed", True),
                          split({"String": "a"}, "Contiguous"), BYTE_LEVEL),
                 {"unk_token": "X", "fuse_unk": True}), None),
    "merges": (document(BYTE_LEVEL, {"merges": [m.split(" ") for m in MERGES]}), None),
}

if __name__ == "__main__":
    def dump(part):
        text = "" if part is None else json.dumps(part, ensure_ascii=False, separators=(",", ":"))
        return text.encode()

    (HERE / "tokenizer").mkdir(exist_ok=True)
    for name, (tokenizer, config) in SEEDS.items():
        (HERE / "tokenizer" / name).write_bytes(b"\xff".join([dump(tokenizer), dump(config), TEXT]))
