"""Writes the novels of Debian's r-cran-janeaustenr as plain text.

    python3 extract_novels.py Rdata.rdb TARGET_DIRECTORY

The file holds one chunk a novel: a big-endian 32-bit size, then zlib data, which expands to a
vector of strings in R's XDR serialisation, one string a line of the book.
"""

import pathlib
import struct
import sys
import zlib

STRING_VECTOR = 16
STRING = 9


def chunks(data: bytes):
    """The expanded chunks of the file, in order."""
    while data:
        (size,) = struct.unpack_from(">I", data)
        inflater = zlib.decompressobj()
        text = inflater.decompress(data[4:])
        if len(text) != size:
            raise ValueError(f"a chunk of {size} bytes expanded to {len(text)}")
        yield text
        data = inflater.unused_data


def strings(chunk: bytes):
    """The lines of one serialised string vector."""
    if chunk[:2] != b"X\n":
        raise ValueError(f"not XDR serialisation: starts with {chunk[:2]!r}")
    version = struct.unpack_from(">i", chunk, 2)[0]
    at = 2 + 12
    if version >= 3:  # the native encoding's name follows
        at += 4 + struct.unpack_from(">i", chunk, at)[0]
    flags, count = struct.unpack_from(">ii", chunk, at)
    if flags & 0xFF != STRING_VECTOR:
        raise ValueError(f"not a vector of strings: type {flags & 0xFF}")
    at += 8
    for _ in range(count):
        flags, size = struct.unpack_from(">ii", chunk, at)
        if flags & 0xFF != STRING:
            raise ValueError(f"not a string: type {flags & 0xFF}")
        at += 8
        yield "" if size < 0 else chunk[at : at + size].decode("utf-8")
        at += max(size, 0)


def file_name(lines: list[str]) -> str:
    """The book's title, from its first line, as a file name."""
    title = next(line for line in lines if line.strip()).lower().replace("&", "and")
    title = title.removesuffix("by jane austen").replace(" and ", " ")
    return "".join(letter for letter in title if letter.isalpha()) + ".txt"


def main() -> None:
    source, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    target.mkdir(parents=True)
    for chunk in chunks(source.read_bytes()):
        lines = list(strings(chunk))
        (target / file_name(lines)).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
