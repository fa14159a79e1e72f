"""How is a GGUF model written in another precision?

Tensor by tensor and, in each, a few million weights at a time, so memory stays bounded whatever the
model's size. Metadata and tokenizer are copied byte for byte; only the number that says how the
file is quantised changes. What is already in the wanted type is copied and not rounded again.

It does not judge the result: a model that is written properly may still have lost too much.
"""

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from baseload.engines.quantising.targets import Target, stored_as
from baseload.errors import EngineError

CHUNK_WEIGHTS = 1 << 22
"""Weights in work at once: 16 MiB in FP32, and some copies of it."""

COPY_BYTES = 1 << 24
ALIGNMENT_BYTES = 32
FP16_MAX = 65504.0
QUANTIZATION_VERSION = 2
"""Of the layouts of blocks, as llama.cpp writes them (`GGML_QNT_VERSION`)."""

_UINT32 = 4


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor: how it lies in the source, and how it will lie in the result."""

    name: str
    shape: tuple[int, ...]
    """The length of a row first."""
    kind: str
    becomes: str
    size_bytes: int
    """In the result."""
    data: Any
    """A view into the source's file."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a conversion will write."""

    target: Target
    fields: tuple[bytes, ...]
    tensors: tuple[Tensor, ...]
    alignment_bytes: int
    size_bytes: int
    """Of the result, header included."""

    @property
    def is_copy(self) -> bool:
        """Whether the source already is what is wanted."""
        return all(tensor.kind == tensor.becomes for tensor in self.tensors)

    @property
    def kinds(self) -> str:
        """Say of which types the source is made, the most frequent first."""
        counts = Counter(tensor.kind for tensor in self.tensors)
        return ", ".join(f"{kind} x {count}" for kind, count in counts.most_common())


def plans(source: Path, targets: Iterable[Target]) -> dict[str, Plan]:
    """Look at a GGUF file's header and say what each conversion will write, by the target's name.

    Raises EngineError if the file cannot be read as a model, or holds types that are not known.
    """
    gguf = tools()
    try:
        reader = gguf.GGUFReader(source)  # Takes seconds: each token of the vocabulary is read.
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise EngineError(f"the model file {source} cannot be read: {error}") from error
    parts = reader.fields.get("split.count")
    if parts is not None and parts.contents() > 1:
        raise EngineError(f"{source} is one of {parts.contents()} parts; merge them first")
    return {target.name: _plan(gguf, reader, target) for target in targets}


def convert(todo: Plan, out: Path, on_bytes: Callable[[int], None] = lambda _: None) -> None:
    """Write the model; `on_bytes` hears how many bytes were written since it last heard.

    Raises EngineError if a weight is not finite or does not fit, OSError if the disk fails. What
    has been written until then stays, under the name `out`.
    """
    gguf = tools()
    with out.open("xb") as file:
        header = _header(todo.fields, todo.tensors, todo.alignment_bytes)
        file.write(header)
        on_bytes(len(header))
        for tensor in todo.tensors:
            written = 0
            for piece in _pieces(gguf, tensor):
                file.write(piece)
                written += len(piece)
                on_bytes(len(piece))
            assert written == tensor.size_bytes, f"{tensor.name}: {written} bytes"
            _pad(file, written, todo.alignment_bytes)


def padded(size_bytes: int, alignment_bytes: int) -> int:
    """Return the size with what fills it up to the next place where a tensor may begin."""
    return -(-size_bytes // alignment_bytes) * alignment_bytes


def tools() -> Any:
    """Return the `gguf` package; raises EngineError if it is not installed."""
    try:
        import gguf  # noqa: PLC0415 - only this verb needs it, and it brings numpy
        import gguf.quants  # noqa: PLC0415
    except ImportError as error:
        raise EngineError(
            "`gguf`, which reads and writes models, is not installed: run "
            "`pip install 'baseload[quantize]'`"
        ) from error
    return gguf


def _plan(gguf: Any, reader: Any, target: Target) -> Plan:
    tensors = tuple(_tensor(gguf, target, tensor) for tensor in reader.tensors)
    fields, alignment_bytes = tuple(_fields(reader, target)), int(reader.alignment)
    header = _header(fields, tensors, alignment_bytes)
    size_bytes = len(header) + sum(padded(each.size_bytes, alignment_bytes) for each in tensors)
    return Plan(target, fields, tensors, alignment_bytes, size_bytes)


def _tensor(gguf: Any, target: Target, tensor: Any) -> Tensor:
    shape = tuple(int(length) for length in tensor.shape)
    kind = tensor.tensor_type.name
    becomes = stored_as(target, tensor.name, shape, kind)
    block, block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[becomes]]
    size_bytes = prod(shape) // block * block_bytes
    return Tensor(tensor.name, shape, kind, becomes, size_bytes, tensor.data)


def _fields(reader: Any, target: Target) -> Iterator[bytes]:
    """Give each pair of metadata as it lies in the file, but for how the file is quantised."""
    own = {"general.file_type": target.file_type}
    if target.is_blocked:
        own["general.quantization_version"] = QUANTIZATION_VERSION
    for name, field in reader.fields.items():
        if name in own:
            yield _number(name, own.pop(name))
        elif not name.startswith("GGUF."):  # The reader's own names for what is no metadata.
            yield b"".join(part.tobytes() for part in field.parts)
    for name, value in own.items():
        yield _number(name, value)


def _header(fields: Iterable[bytes], tensors: tuple[Tensor, ...], alignment_bytes: int) -> bytes:
    pairs = list(fields)
    header = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)))
    header += b"".join(pairs)
    types = tools().GGMLQuantizationType
    at = 0
    for tensor in tensors:
        header += _text(tensor.name) + struct.pack("<I", len(tensor.shape))
        header += struct.pack(f"<{len(tensor.shape)}Q", *tensor.shape)
        header += struct.pack("<IQ", types[tensor.becomes], at)
        at += padded(tensor.size_bytes, alignment_bytes)
    return bytes(header.ljust(padded(len(header), alignment_bytes), b"\0"))


def _pieces(gguf: Any, tensor: Tensor) -> Iterator[bytes]:
    """Give the bytes of a tensor in its new type, a few million weights at a time."""
    import numpy as np  # noqa: PLC0415 - comes with gguf

    rows = tensor.data.reshape(-1, tensor.data.shape[-1]) if tensor.data.ndim else tensor.data
    step = max(1, CHUNK_WEIGHTS // tensor.shape[0])
    kinds = gguf.GGMLQuantizationType
    for at in range(0, len(rows), step):
        part = rows[at : at + step]
        if tensor.kind == tensor.becomes:
            yield part.tobytes()
            continue
        try:
            weights = gguf.quants.dequantize(part, kinds[tensor.kind])
        except NotImplementedError as error:
            raise EngineError(f"{tensor.name} is in {tensor.kind}, which is not known") from error
        largest = float(np.abs(weights).max(initial=0.0))
        if not np.isfinite(largest):
            raise EngineError(f"{tensor.name} holds a weight that is no finite number")
        if tensor.becomes == "F16" and largest > FP16_MAX:
            raise EngineError(f"{tensor.name} holds {largest:g}, too large for fp16; take bf16")
        yield gguf.quants.quantize(weights, kinds[tensor.becomes]).tobytes()


def _pad(file: BinaryIO, size_bytes: int, alignment_bytes: int) -> None:
    file.write(bytes(padded(size_bytes, alignment_bytes) - size_bytes))


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _number(name: str, value: int) -> bytes:
    return _text(name) + struct.pack("<II", _UINT32, value)
