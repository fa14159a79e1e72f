"""Is this file a whole GGUF model, as far as its header can tell?

A download that stopped half way is the usual way for a model file to be broken, and a header that
lies is the usual way for one to be poisoned: readers in C have trusted its counts and lengths.
llama.cpp finds most of it out too, but only after a process has been started, and then again at
each restart. A GGUF file says in its header where each tensor lies, so one walk over it shows what
is missing, what lies elsewhere than it can, and which counts cannot be.

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
ALIGNMENT_BYTES_MAX = 1 << 20
"""Far above a disk's page; it bounds what is filled up behind each tensor."""

DIMENSIONS_MAX = 4
"""GGML_MAX_DIMS of ggml."""

NAME_BYTES_MAX = 65_535
"""Of a key or a tensor's name, by the GGUF specification (keys; ggml's tensors take 64)."""

PAIR_BYTES_MIN = 8 + 4 + 1
TENSOR_BYTES_MIN = 8 + 4 + 4 + 8
TENSORS_MAX = 1_000_000
STRINGS_MAX = 8_000_000
"""Metadata texts that are walked; the largest vocabularies have some 300,000 twice. It bounds the
time that a header may cost."""

_U32, _STRING, _ARRAY = 4, 8, 9
_SIZE_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Size of each scalar metadata type, by GGUF's own numbering."""

_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    9: (32, 40), 10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
    15: (256, 292), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18),
    21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8),
    28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
    40: (64, 36), 41: (128, 18),
}  # fmt: skip
"""Weights and bytes of a block of each tensor type: GGML_QUANT_SIZES of the `gguf` package 0.18."""


class _UnknownTypeError(Exception):
    """The header uses a type that this walk cannot step over; that is no fault of the file."""


class _WrongError(Exception):
    """What the header says cannot be; the text is the end of a sentence."""


@dataclass(slots=True)
class _Cursor:
    """A place in the file that only moves forward, so every loop over it ends with the file."""

    data: mmap.mmap
    at: int = 0
    strings: int = 0

    def take(self, form: str) -> int:
        """Read one little-endian integer; raises struct.error behind the end of the file."""
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return int(value)

    def skip(self, size_bytes: int) -> None:
        """Step over bytes; raises struct.error if there are not so many."""
        if size_bytes > len(self.data) - self.at:
            raise struct.error
        self.at += size_bytes

    def skip_text(self) -> None:
        """Step over one string: its length, then its bytes."""
        self.strings += 1
        if self.strings > STRINGS_MAX:
            raise _WrongError(f"has more than {STRINGS_MAX} texts in its header")
        self.skip(self.take("<Q"))

    def name(self) -> bytes:
        """Read a key or a tensor's name."""
        length = self.take("<Q")
        if length > NAME_BYTES_MAX and length <= len(self.data) - self.at:
            raise _WrongError(f"has a name of {length} bytes in its header")
        self.skip(length)
        return self.data[self.at - length : self.at]

    def skip_value(self, kind: int) -> None:
        """Step over one metadata value, arrays included."""
        if kind == _STRING:
            self.skip_text()
        elif kind == _ARRAY:
            kind, count = self.take("<I"), self.take("<Q")
            if kind == _STRING:
                for _ in range(count):
                    self.skip_text()
            else:
                self.skip(count * _size_bytes(kind))
        else:
            self.skip(_size_bytes(kind))


@dataclass(frozen=True, slots=True)
class _Tensor:
    """Where a tensor lies in the data; its size is None if its type is not known here."""

    name: str
    offset: int
    size_bytes: int | None


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
        big_endian = ", or is for big-endian machines" if version & 0xFFFF == 0 else ""
        return f"is GGUF version {version}; versions {VERSIONS} are understood{big_endian}"
    try:
        alignment, tensors = _walk(cursor, size_bytes)
        begin = -(-cursor.at // alignment) * alignment
        return _misplaced(tensors, begin, alignment, size_bytes)
    except struct.error:
        return f"is cut short: it ends inside its header, after {size_bytes} bytes"
    except _UnknownTypeError:
        return None  # A newer kind of metadata: llama.cpp is the better judge.
    except _WrongError as wrong:
        return str(wrong)


def _walk(cursor: _Cursor, size_bytes: int) -> tuple[int, list[_Tensor]]:
    """Walk the whole header; return the alignment and every tensor."""
    count, pairs = cursor.take("<Q"), cursor.take("<Q")
    room = size_bytes - HEADER_BYTES
    if count > TENSORS_MAX or pairs > TENSORS_MAX:
        raise _WrongError(f"says that it has {count} tensors and {pairs} keys, which cannot be")
    if count * TENSOR_BYTES_MIN + pairs * PAIR_BYTES_MIN > room:
        raise struct.error
    alignment, keys = ALIGNMENT_BYTES, set()
    for _ in range(pairs):
        key, kind = cursor.name(), cursor.take("<I")
        if key in keys:
            raise _WrongError(f"has the key {_shown(key)} twice in its header")
        keys.add(key)
        if key == b"general.alignment":
            if kind != _U32:
                raise _WrongError(f"says its alignment in type {kind}, which readers do not take")
            alignment = cursor.take("<I")
            if alignment == 0 or alignment & (alignment - 1) or alignment > ALIGNMENT_BYTES_MAX:
                raise _WrongError(
                    f"says that data is aligned to {alignment}, no power of two up to 1 MiB"
                )
        else:
            cursor.skip_value(kind)
    return alignment, [_tensor(cursor) for _ in range(count)]


def _tensor(cursor: _Cursor) -> _Tensor:
    name, dimensions = _shown(cursor.name()), cursor.take("<I")
    if dimensions > DIMENSIONS_MAX:
        raise _WrongError(f"has a tensor {name} of {dimensions} dimensions; 4 are the most")
    shape = [cursor.take("<Q") for _ in range(dimensions)]
    kind, offset = cursor.take("<I"), cursor.take("<Q")
    if kind not in _BLOCKS:
        return _Tensor(name, offset, None)
    weights, block_bytes = _BLOCKS[kind]
    count = 1
    for size in shape:
        count *= size  # Python's integers do not overflow, and there are four at most.
    if shape and shape[0] % weights:
        raise _WrongError(f"has a tensor {name} whose rows of {shape[0]} are no whole blocks")
    return _Tensor(name, offset, count // weights * block_bytes)


def _misplaced(tensors: list[_Tensor], begin: int, alignment: int, size_bytes: int) -> str | None:
    """Say which tensor is not where it can be: behind the end, in another, between two places."""
    if len({tensor.name for tensor in tensors}) < len(tensors):
        return "has two tensors of one name"
    end, last = 0, ""
    for tensor in sorted(tensors, key=lambda tensor: tensor.offset):
        if tensor.offset % alignment:
            return f"has its tensor {tensor.name} at {tensor.offset}, no multiple of {alignment}"
        if tensor.offset < end:
            return f"has its tensors {last} and {tensor.name} in one place"
        at = begin + tensor.offset
        if size_bytes <= at and tensor.size_bytes != 0:
            return f"is cut short: {size_bytes} bytes, and its last tensor begins at {at}"
        end, last = tensor.offset + (tensor.size_bytes or 0), tensor.name
        if size_bytes < begin + end:
            return f"is cut short: {size_bytes} bytes, and its tensor {last} ends at {begin + end}"
    return None


def _shown(name: bytes) -> str:
    """Give a name as it may stand in a message: short, and without control characters."""
    return repr(name[:64].decode("utf-8", "replace"))


def _size_bytes(kind: int) -> int:
    if kind not in _SIZE_BYTES:
        raise _UnknownTypeError
    return _SIZE_BYTES[kind]
