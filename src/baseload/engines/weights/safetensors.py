"""Is this file whole safetensors, as far as its header can tell?

The format is eight bytes of length, that much JSON, then the tensors one after the other. It was
made so that nothing in it can run; what can still lie are its numbers. So each tensor's place must
be as large as its type and shape say, and all of them must fill the file without gap or overlap:
the rules of the format's own reader (huggingface/safetensors, README "Format").
"""

import math
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

LENGTH_BYTES = 8
HEADER_BYTES_MAX = 100_000_000
"""The format's own bound."""

TENSORS_MAX = 1_000_000
DIMENSIONS_MAX = 64
INDEX_BYTES_MAX = 100_000_000

_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "I16": 16, "U16": 16, "F16": 16,
    "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
"""Bits of one weight: the types of huggingface/safetensors 0.6, and C64."""

_Size = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class _Tensor(msgspec.Struct, frozen=True):
    dtype: str
    shape: Annotated[list[_Size], Meta(max_length=DIMENSIONS_MAX)]
    data_offsets: tuple[_Size, _Size]


class _Index(msgspec.Struct, frozen=True):
    weight_map: dict[str, str]


def fault(path: Path) -> str | None:
    """Say what is wrong with the file, as the end of a sentence that began with its name.

    None means that nothing is known to be wrong. Raises OSError if the file cannot be read.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if size_bytes < LENGTH_BYTES:
            return f"is cut short: {size_bytes} bytes do not even hold the length of a header"
        if length > HEADER_BYTES_MAX:
            return f"is no safetensors: its header would have {length} bytes; 100 MB are the most"
        if LENGTH_BYTES + length > size_bytes:
            return f"is cut short: it ends inside its header, after {size_bytes} bytes"
        header = file.read(length)
    if not header.startswith(b"{"):
        return "is no safetensors: its header is no JSON object"
    try:
        tensors = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        metadata = tensors.pop("__metadata__", None)
        if metadata is not None:
            msgspec.json.decode(metadata, type=dict[str, str])
        return _misplaced(tensors, size_bytes - LENGTH_BYTES - length)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        return f"has a header that is no safetensors: {str(error)[:120]}"


def _misplaced(tensors: dict[str, msgspec.Raw], data_bytes: int) -> str | None:
    if len(tensors) > TENSORS_MAX:
        return f"says that it has {len(tensors)} tensors, which cannot be"
    decoder = msgspec.json.Decoder(_Tensor)
    found = []
    for name, raw in tensors.items():
        tensor = decoder.decode(raw)
        if tensor.dtype not in _BITS:
            return f"has a tensor {name[:64]!r} of an unknown type {tensor.dtype[:16]!r}"
        bits = math.prod(tensor.shape) * _BITS[tensor.dtype]
        begin, end = tensor.data_offsets
        if end < begin or bits % 8 or end - begin != bits // 8:
            return f"has a tensor {name[:64]!r} whose place is not as large as its shape"
        found.append((begin, end, name))
    at = 0
    for begin, end, name in sorted(found):
        if begin != at:
            what = "in another's place" if begin < at else "behind a gap"
            return f"has its tensor {name[:64]!r} {what}"
        at = end
    if at > data_bytes:
        return f"is cut short: {data_bytes} bytes of data, and its tensors take {at}"
    return f"has {data_bytes - at} bytes behind its last tensor" if at < data_bytes else None


def shards_of(index: Path) -> set[str]:
    """Give the files that an index (`*.safetensors.index.json`) names.

    Raises OSError if it cannot be read, ValueError if it is none.
    """
    if index.stat().st_size > INDEX_BYTES_MAX:
        raise ValueError("it is larger than 100 MB")
    try:
        return set(msgspec.json.decode(index.read_bytes(), type=_Index).weight_map.values())
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)[:120]) from error
