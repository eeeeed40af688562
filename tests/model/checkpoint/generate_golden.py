"""Writes golden.gguf with the gguf package: its own expansion of every storage format that tamis runs.

    python3 generate_golden.py golden.gguf        (gguf 0.19, numpy)

For each format a tensor NAME.stored of random blocks, scales of all magnitudes down to subnormal
halves included, and NAME.expanded, what gguf.quants.dequantize makes of it. One metadata key of
every value type, so that the reader is held to the writer of the format's own project.
"""

import sys

import gguf
import numpy as np
from gguf import quants

ROWS, COLUMNS = 3, 512
TYPES = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q6_K"]
# Where the halves of a block lie.
SCALES = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q6_K": [208]}


def random_halves(random: np.random.Generator, count: int) -> np.ndarray:
    """Finite halves of every exponent, both signs."""
    bits = random.integers(0, 0x7C00, count) | (random.integers(0, 2, count) << 15)
    return bits.astype(np.uint16).view(np.uint8).reshape(count, 2)


def stored(random: np.random.Generator, kind: gguf.GGMLQuantizationType) -> np.ndarray:
    block, size = gguf.GGML_QUANT_SIZES[kind]
    if kind.name == "F32":
        return random.standard_normal((ROWS, COLUMNS)).astype(np.float32)
    if kind.name == "F16":
        return random_halves(random, ROWS * COLUMNS).view(np.float16).reshape(ROWS, COLUMNS)
    if kind.name == "BF16":
        bits = random.integers(0, 0x7F80, (ROWS, COLUMNS)) | (
            random.integers(0, 2, (ROWS, COLUMNS)) << 15)
        return bits.astype(np.uint16).view(np.uint8).reshape(ROWS, -1)
    count = ROWS * COLUMNS // block
    blocks = random.integers(0, 256, (count, size), dtype=np.uint8)
    for at in SCALES[kind.name]:
        blocks[:, at : at + 2] = random_halves(random, count)
    return blocks.reshape(ROWS, -1)


def main() -> None:
    writer = gguf.GGUFWriter(sys.argv[1], "golden")
    writer.add_uint8("test.uint8", 0xFE)
    writer.add_int8("test.int8", -2)
    writer.add_uint16("test.uint16", 0xFEDC)
    writer.add_int16("test.int16", -0x1234)
    writer.add_uint32("test.uint32", 0xFEDCBA98)
    writer.add_int32("test.int32", -0x12345678)
    writer.add_uint64("test.uint64", 0x7EDCBA9876543210)
    writer.add_int64("test.int64", -0x123456789ABCDEF0)
    writer.add_float32("test.float32", 0.1)
    writer.add_float64("test.float64", 0.1)
    writer.add_bool("test.bool", True)
    writer.add_string("test.string", "tamis, ein Sieb: 篩")
    writer.add_array("test.integers", [1, -2, 3])
    writer.add_array("test.strings", ["", "a", "bc"])
    writer.add_array("test.nested", [[1, 2], [3]])

    random = np.random.default_rng(17)
    for name in TYPES:
        kind = gguf.GGMLQuantizationType[name]
        data = stored(random, kind)
        with np.errstate(all="ignore"):
            expanded = quants.dequantize(data, kind)
        writer.add_tensor(f"{name}.stored", data, raw_dtype=kind)
        writer.add_tensor(f"{name}.expanded", np.ascontiguousarray(expanded, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
