"""Is this file a whole GGUF model, as far as its header can tell?

A download that stopped half way is the usual way for a model file to be broken. llama.cpp finds
out too, but only after a process has been started, and then again at each restart. A GGUF file
says in its header where each tensor begins, so one walk over the header shows what is missing.

It does not judge whether llama.cpp knows the architecture, nor does it look at the weights: what
passes here may still fail to load, and the supervisor then reports llama.cpp's own words.
"""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

MAGIC = b"GGUF"
VERSIONS = (2, 3)
HEADER_BYTES = 24
ALIGNMENT_BYTES = 32
DIMENSIONS_MAX = 8

_STRING, _ARRAY = 8, 9
_SIZE_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Size of each scalar metadata type, by GGUF's own numbering."""


class _UnknownTypeError(Exception):
    """The header uses a type that this walk cannot step over; that is no fault of the file."""


@dataclass(slots=True)
class _Cursor:
    """A place in the file that only moves forward, so every loop over it ends with the file."""

    data: mmap.mmap
    at: int = 0

    def take(self, form: str) -> int:
        """Read one little-endian integer; raises struct.error behind the end of the file."""
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return int(value)

    def text(self) -> bytes:
        """Read one string: its length, then its bytes."""
        length = self.take("<Q")
        self.at += length
        return self.data[self.at - length : self.at]

    def skip_value(self, kind: int) -> None:
        """Step over one metadata value, arrays included."""
        if kind == _STRING:
            self.text()
        elif kind == _ARRAY:
            kind, count = self.take("<I"), self.take("<Q")
            if kind == _STRING:
                for _ in range(count):
                    self.text()
            else:
                self.at += count * _size_bytes(kind)
        else:
            self.at += _size_bytes(kind)


def fault(path: Path) -> str | None:
    """Say what is wrong with the file, as the end of a sentence that began with its name.

    None means that nothing is known to be wrong. Raises OSError if the file cannot be read.
    """
    with path.open("rb") as file:
        magic = file.read(len(MAGIC))
        size_bytes = file.seek(0, 2)
        if size_bytes == 0:
            return "is empty"
        if magic != MAGIC:
            return f"is not a GGUF model: it begins with {magic!r}, not {MAGIC!r}"
        if size_bytes < HEADER_BYTES:
            return f"is cut short: {size_bytes} bytes do not even hold the header"
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _fault_inside(_Cursor(data, len(MAGIC)), size_bytes)


def _fault_inside(cursor: _Cursor, size_bytes: int) -> str | None:
    if (version := cursor.take("<I")) not in VERSIONS:
        return f"is GGUF version {version}; versions {VERSIONS} are understood"
    try:
        needed_bytes = _last_tensor_at(cursor)
    except struct.error:
        return f"is cut short: it ends inside its header, after {size_bytes} bytes"
    except _UnknownTypeError:
        return None  # A newer kind of metadata: llama.cpp is the better judge.
    if size_bytes <= needed_bytes:
        return f"is cut short: {size_bytes} bytes, and its last tensor begins at {needed_bytes}"
    return None


def _last_tensor_at(cursor: _Cursor) -> int:
    """Walk the whole header; return where the last tensor begins, in bytes from the start."""
    tensors, pairs = cursor.take("<Q"), cursor.take("<Q")
    alignment = ALIGNMENT_BYTES
    for _ in range(pairs):
        key, kind = cursor.text(), cursor.take("<I")
        if key == b"general.alignment" and kind == 4:
            alignment = max(1, cursor.take("<I"))
        else:
            cursor.skip_value(kind)
    last = 0
    for _ in range(tensors):
        cursor.text()
        dimensions = cursor.take("<I")
        if dimensions > DIMENSIONS_MAX:
            raise _UnknownTypeError
        cursor.at += 8 * dimensions + 4
        last = max(last, cursor.take("<Q"))
    return -(-cursor.at // alignment) * alignment + last


def _size_bytes(kind: int) -> int:
    if kind not in _SIZE_BYTES:
        raise _UnknownTypeError
    return _SIZE_BYTES[kind]
