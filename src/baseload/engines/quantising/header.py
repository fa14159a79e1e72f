"""What is in a GGUF file's header, each pair of metadata as the bytes that it is?

The `gguf` package reads headers too, as objects: some seconds for a usual vocabulary, and what it
writes again need not be the same bytes. A conversion wants the contrary, so this steps over values
and keeps them as they lie in the file.

Only for files in which `baseload.engines.gguf` has found no fault.
"""

import mmap
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from baseload.errors import EngineError

ALIGNMENT_BYTES = 32
"""Where the file says nothing else."""

_UINT32, _STRING, _ARRAY = 4, 8, 9
_SIZE_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Of each scalar type of metadata, by GGUF's own numbering."""

Entry = tuple[str, tuple[int, ...], int, int]
"""A tensor: its name, its shape with the length of a row first, its type's number, its place."""


@dataclass(frozen=True, slots=True)
class Header:
    """A file's metadata and tensors."""

    fields: dict[str, bytes]
    """Each pair, name and type included, as it lies in the file."""
    tensors: tuple[Entry, ...]
    alignment_bytes: int
    data_at: int
    """Where places of tensors are counted from."""

    def number(self, name: str) -> int | None:
        """Return a field that is a number of up to 32 bits; None if there is no such field."""
        field = self.fields.get(name)
        return None if field is None else int.from_bytes(field[len(_text(name)) + 4 :], "little")


def read_header(path: Path) -> Header:
    """Read a file's header; raises EngineError if it is none."""
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            return _read(data)
    except (OSError, ValueError, struct.error, KeyError) as error:
        raise EngineError(f"the header of {path} cannot be read: {error}") from error


def pair(name: str, value: int) -> bytes:
    """Return a pair of metadata: a name and a number of 32 bits."""
    return _text(name) + struct.pack("<II", _UINT32, value)


def write_header(
    fields: list[bytes], tensors: list[tuple[str, tuple[int, ...], int, int]], alignment_bytes: int
) -> bytes:
    """Return a header of these pairs and tensors, filled up to where the first tensor begins."""
    header = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields)))
    header += b"".join(fields)
    for name, shape, kind, at in tensors:
        header += _text(name) + struct.pack("<I", len(shape))
        header += struct.pack(f"<{len(shape)}Q", *shape) + struct.pack("<IQ", kind, at)
    return bytes(header.ljust(padded(len(header), alignment_bytes), b"\0"))


def padded(size_bytes: int, alignment_bytes: int) -> int:
    """Return the size with what fills it up to the next place where a tensor may begin."""
    return -(-size_bytes // alignment_bytes) * alignment_bytes


def rows(path: Path, header: Header, entry: Entry, row_bytes: int) -> Any:
    """Return a tensor's bytes as a view into the file, a row of the matrix in each row."""
    import numpy as np  # noqa: PLC0415 - comes with gguf, which only this verb needs

    _, shape, _, at = entry
    count = prod(shape[1:])
    try:
        return np.memmap(path, np.uint8, "r", header.data_at + at, (count, row_bytes))
    except (ValueError, OverflowError) as error:  # Behind the end, of a type nobody has looked at.
        raise EngineError(f"a tensor of {path} is not where its header says: {error}") from error


def _read(data: mmap.mmap) -> Header:
    count, pairs = struct.unpack_from("<QQ", data, 8)
    at, fields = 24, {}
    for _ in range(pairs):
        begin = at
        (length,) = struct.unpack_from("<Q", data, at)
        name = data[at + 8 : at + 8 + length].decode()
        (kind,) = struct.unpack_from("<I", data, at + 8 + length)
        at = _behind(data, at + 12 + length, kind)
        fields[name] = data[begin:at]
    tensors = []
    for _ in range(count):
        (length,) = struct.unpack_from("<Q", data, at)
        name = data[at + 8 : at + 8 + length].decode()
        at += 8 + length
        (dimensions,) = struct.unpack_from("<I", data, at)
        shape = struct.unpack_from(f"<{dimensions}Q", data, at + 4)
        kind, place = struct.unpack_from("<IQ", data, at + 4 + 8 * dimensions)
        at += 16 + 8 * dimensions
        tensors.append((name, shape, kind, place))
    found = Header(fields, tuple(tensors), ALIGNMENT_BYTES, 0)
    alignment_bytes = found.number("general.alignment") or ALIGNMENT_BYTES
    return Header(fields, tuple(tensors), alignment_bytes, padded(at, alignment_bytes))


def _behind(data: mmap.mmap, at: int, kind: int) -> int:
    """Return where a value of metadata ends that begins at `at`; arrays do not nest."""
    if kind == _STRING:
        (length,) = struct.unpack_from("<Q", data, at)
        return int(at + 8 + length)
    if kind != _ARRAY:
        return at + _SIZE_BYTES[kind]
    kind, count = struct.unpack_from("<IQ", data, at)
    at += 12
    if kind != _STRING:
        return int(at + count * _SIZE_BYTES[kind])
    for _ in range(count):
        at = _behind(data, at, _STRING)
    return at


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data
