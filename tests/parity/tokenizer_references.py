"""Reference tokenizers: SmolLM2's from its GGUF file, and small ones trained here with the
pipelines of published models."""

import json
import pathlib
import random

import gguf
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers, processors, trainers)
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence, Split

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
SPACE_TAIL = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = (CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          + SPACE_TAIL)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
GPT4O = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{CONTRACTIONS}?"
         rf"|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{CONTRACTIONS}?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + SPACE_TAIL)
PUNCTUATED = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"""
              r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*" + SPACE_TAIL)


def smollm2(path: str):
    """(tokenizer, chat template). transformers' own conversion of the file loses the digit
    splitter, so the pipeline is put together here."""
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = Sequence(
        [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(t, normalized=False, special=True) for t, y in zip(tokens, types) if y == 3])
    return tokenizer, fields["tokenizer.chat_template"].contents()


def added_tokens():
    """Every combination of flags, on contents that overlap, hold space or are not normalized."""
    tokens = [AddedToken("<|im_start|>", special=True), AddedToken("<|im_end|>", special=True)]
    for bits in range(32):
        flags = dict(zip(("single_word", "lstrip", "rstrip", "normalized", "special"),
                         (bool(bits >> b & 1) for b in range(5))))
        tokens.append(AddedToken(f"<f{bits}>", **flags))
    return tokens + [
        AddedToken("word", single_word=True), AddedToken("<f1>more", normalized=False),
        AddedToken("<f", normalized=False), AddedToken("été", normalized=True),
        AddedToken("e\u0301te\u0301e", normalized=True), AddedToken("two words", lstrip=True),
        AddedToken("  ", normalized=False), AddedToken("\n\n\n", rstrip=True, normalized=False),
        AddedToken("東京", single_word=True), AddedToken("Å", normalized=True)]


def train(texts, pre_tokenizer, normalizer=None, alphabet=True, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=3000, show_progress=False,
        special_tokens=[t for t in [model.get("unk_token")] if t],
        initial_alphabet=ByteLevel.alphabet() if alphabet else []))
    return tokenizer


def without_some_merges(tokenizer, every: int):
    """Tokens that no merge reaches: ignore_merges alone finds them."""
    saved = json.loads(tokenizer.to_str())
    merges = saved["model"]["merges"]
    saved["model"]["merges"] = [m for i, m in enumerate(merges) if i % every]
    return Tokenizer.from_str(json.dumps(saved))


def legacy_merges(path: pathlib.Path):
    """Rewrites merges as older versions did: "a b"."""
    saved = json.loads(path.read_text())
    saved["model"]["merges"] = [" ".join(pair) for pair in saved["model"]["merges"]]
    path.write_text(json.dumps(saved))


def trained(texts, directory: pathlib.Path):
    """Yields (name, tokenizer, path of its tokenizer.json)."""
    rng = random.Random(7)
    byte_level = ByteLevel(add_prefix_space=False, use_regex=False)

    def split(pattern, behavior="isolated", invert=False):
        return Split(Regex(pattern), behavior, invert)

    def save(name, tokenizer):
        path = directory / f"{name}.json"
        tokenizer.save(str(path))
        return name, tokenizer, path

    gpt2 = train(texts, ByteLevel(add_prefix_space=True))
    gpt2.add_tokens(added_tokens())
    name, tokenizer, path = save("gpt2-prefix-space-added-tokens", gpt2)
    legacy_merges(path)
    yield name, tokenizer, path

    llama3 = without_some_merges(
        train(texts, Sequence([split(LLAMA3), byte_level]), ignore_merges=True), 9)
    llama3.add_special_tokens(["<|begin_of_text|>", "<|eot_id|>"])
    llama3.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(
            single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|> $B",
            special_tokens=[("<|begin_of_text|>", llama3.token_to_id("<|begin_of_text|>"))])])
    yield save("llama3-ignore-merges-bos", llama3)

    qwen2 = train(texts, Sequence([split(QWEN2), byte_level]), normalizers.NFC())
    qwen2.add_tokens(added_tokens())
    yield save("qwen2-nfc-added-tokens", qwen2)

    yield save("gpt4o", train(texts, Sequence([split(GPT4O), byte_level])))
    yield save("punctuated", train(texts, Sequence(
        [split(r"\p{N}{1,3}"), split("[一-龥\u3040-ゟ゠-ヿ]+"), split(PUNCTUATED), byte_level])))
    yield save("digit-runs", train(texts, Sequence([Digits(False), ByteLevel(False)])))
    prose = [texts[0].encode("ascii", "ignore").decode()]  # leaves most bytes without a token
    for fuse in (False, True):
        yield save(f"unknown-bytes{'-fused' if fuse else ''}", train(
            prose, ByteLevel(False), alphabet=False, unk_token="<unk>", fuse_unk=fuse))

    behaviors = ["isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous"]
    for behavior in behaviors:
        for invert in (False, True):
            steps = [split(rng.choice([r"[aeiou]", r"\s", r"\p{L}+\s?", r"(?=\d)", r"x*"]),
                           behavior, invert),
                     Split(rng.choice([" ", "th", ".", "\n"]), behavior, invert), byte_level]
            yield save(f"split-{behavior}{'-invert' if invert else ''}",
                       train(texts[:1], Sequence(steps)))
