"""Texts that tell tokenizers apart."""

import pathlib
import random
import sysconfig
import unicodedata

SCRIPTS = [
    (0x0021, 0x007E), (0x00A0, 0x024F), (0x0300, 0x036F), (0x0370, 0x03FF), (0x0400, 0x052F),
    (0x0590, 0x05FF), (0x0600, 0x06FF), (0x0900, 0x097F), (0x0E00, 0x0E7F), (0x1100, 0x11FF),
    (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x218F), (0x2200, 0x22FF), (0x2460, 0x24FF),
    (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFE00, 0xFEFF),
    (0xFF00, 0xFFEF), (0x1D400, 0x1D7FF), (0x1F300, 0x1FAFF), (0x20000, 0x2A6DF),
]
SPACES = [" ", "  ", "\n", "\r\n", "\t", "\r", "\v", "\f", "\x1c", "\x85", "\xa0", "\u180e",
          "\u200b", "\u2003", "\u2028", "\u3000", "\ufeff"]
EMOJI = ["😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪🇫🇷", "❤️‍🔥", "🧑🏿‍🚀", "1️⃣", "©️", "☎︎", "👨‍👩", "\u200d", "\ufe0f"]
DIGITS = ["0123456789", "٠١٢٣٤٥٦٧٨٩", "०१२३४५६७८९", "๐๑๒๓", "½", "²", "①②③", "Ⅷ", "一二三", "𝟘𝟙", "㊿",
          "1,234,567.89", "3.14159e-10", "0xDEADBEEF", "1st", "\U00011de0", "\U00016ff4"]
WORDS = ["don't", "DON'T", "I'LL", "we've", "it\u2019s", "'S", "'\u017f", "they'RE", "o'd", "l'été",
         "naïve", "e\u0301te\u0301", "Å", "A\u030a", "ﬁn", "straße", "ΣΊΣΥΦΟΣ", "привет", "שלום",
         "سلام", "नमस्ते", "สวัสดี", "안녕하세요", "각", "吾輩は猫である。", "東京タワー", "𠮷野家",
         "HTTPServer", "snake_case", "kebab-case", "x=y", "->", "!=", "...", "///", "C++", "\u0000",
         "\x07", "\x7f", "\ufffd", "\ufffe", "\U0010ffff"]


def code_files(limit: int):
    """Source files of this repository and of Python's library, `limit` bytes of each."""
    repository = pathlib.Path(__file__).resolve().parents[2]
    library = pathlib.Path(sysconfig.get_paths()["stdlib"])
    for files in (sorted(repository.glob("src/**/*.cc")), sorted(library.glob("*.py"))):
        size = 0
        for file in files:
            if size >= limit:
                break
            text = file.read_bytes().decode("utf-8", "replace")
            size += len(text)
            yield text


def random_words(rng: random.Random, specials, count: int) -> str:
    """Words of every kind in a row, with and without space between."""
    parts = []
    for _ in range(count):
        kind = rng.random()
        if kind < 0.3:
            parts.append(rng.choice(WORDS))
        elif kind < 0.45:
            parts.append(rng.choice(DIGITS)[: rng.randint(1, 12)])
        elif kind < 0.55:
            parts.append(rng.choice(EMOJI))
        elif kind < 0.75:
            parts.append(rng.choice(SPACES) * rng.choice([1, 1, 1, 2, 3, 7, 40]))
        elif kind < 0.8:
            parts.append(rng.choice(specials))
        elif kind < 0.83:
            special = rng.choice(specials)  # a lookalike
            parts.append(special[: rng.randint(1, len(special))] + rng.choice(["", "|", " ", ">"]))
        else:
            low, high = rng.choice(SCRIPTS)
            parts.append("".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 6))))
        if rng.random() < 0.4:
            parts.append(" ")
    return "".join(parts)


def random_code_points(rng: random.Random, count: int) -> str:
    points = (rng.randrange(0x110000) for _ in range(count))
    return "".join(chr(p) for p in points if not 0xD800 <= p < 0xE000)


def random_bytes(rng: random.Random, count: int) -> str:
    """Invalid UTF-8, read as Python reads it."""
    return rng.randbytes(count).decode("utf-8", "replace")


def every_code_point() -> str:
    """Each character next to letters, digits, an apostrophe and itself: planes 0 and 1 whole, the
    ideographs of planes 2 and 3 sparsely, the tags of plane 14."""
    points = list(range(0x20000)) + list(range(0x20000, 0x40000, 61))
    points += list(range(0x2EBE0, 0x2EE70, 3)) + list(range(0x31340, 0x323C0, 7))
    points += list(range(0xE0000, 0xE0200))
    return "".join(
        f"a{chr(p)}b {chr(p)}'{chr(p)}9{chr(p)}" for p in points if not 0xD800 <= p < 0xE000)


def marks(rng: random.Random, count: int) -> str:
    """Bases and combining marks in any order: what normalization is about."""
    combining = [chr(p) for p in range(0x300, 0x20000) if unicodedata.category(chr(p))[0] == "M"]
    combining += [chr(p) for p in (0x08CA, 0x11F41, 0x1E4EC, 0x1E08F, 0x10EFD, 0x11930, 0x897)]
    bases = list("aeiouAEIOUnsyd ") + ["\u1100", "\u1161", "\u11a8", "가", "ά", "\u0915", "\u1025",
                                       "\u212b", "\u2126", "\U00011935", "\u09c7", "\uf900"]
    parts = []
    for _ in range(count):
        parts.append(rng.choice(bases))
        parts += rng.choices(combining, k=rng.choice([0, 1, 1, 2, 3, 5]))
    return "".join(parts)


def corpus(texts, specials, seed: int, scale: float):
    """Records of text; at `scale` 1 they add up to more than 10 MB."""
    rng = random.Random(seed)
    records = list(texts)
    records += list(code_files(int(1_500_000 * scale)))
    records += [random_words(rng, specials, 400) for _ in range(int(1200 * scale))]
    records += [random_code_points(rng, 2000) for _ in range(int(150 * scale))]
    records += [random_bytes(rng, 3000) for _ in range(int(150 * scale))]
    records += [marks(rng, 2000) for _ in range(int(60 * scale))]
    for run in (" ", "\n", "\t", " \n", "a", "0", "-", "é", "あ", "👍", "\u00a0", "\r\n"):
        records += [run * length for length in (1, 2, 3, 63, 1000, int(50_000 * scale))]
        records += [run * 70 + "x" + run * 71]
    records += [special for special in specials] + [f" {s}\n{s} {s}x" for s in specials] + [""]
    return records
