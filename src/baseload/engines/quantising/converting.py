"""How is a GGUF model written in another precision?

Tensor by tensor and, in each, a few million weights at a time, so memory stays bounded whatever the
model's size. Metadata and tokenizer are copied byte for byte; only the numbers that say how the
file is quantised change. What is already in the wanted type is copied and not rounded again.
Rounding is the `gguf` package's, which does it as llama.cpp does.

It does not judge the result: a model that is written properly may still have lost too much.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from baseload.engines.quantising.header import (
    Entry,
    Header,
    padded,
    pair,
    read_header,
    rows,
    write_header,
)  # fmt: skip
from baseload.engines.quantising.targets import Target, stored_as
from baseload.errors import EngineError

CHUNK_WEIGHTS = 1 << 22
"""Weights in work at once: 16 MiB in FP32, and some copies of it."""

FP16_MAX = 65504.0
LARGEST = {"F16": FP16_MAX, "Q8_0": 127 * FP16_MAX, "Q4_1": FP16_MAX}
"""The largest weight that a type can hold: blocks have their scales, and minima, in FP16."""

QUANTIZATION_VERSION = 2
"""Of the layouts of blocks, as llama.cpp writes them (`GGML_QNT_VERSION`)."""


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
    entry: Entry


@dataclass(frozen=True, slots=True)
class Plan:
    """What a conversion will write."""

    source: Path
    target: Target
    found: Header
    header: bytes
    """Of the result."""
    tensors: tuple[Tensor, ...]
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
    gguf, found = tools(), read_header(source)
    if (parts := found.number("split.count") or 1) > 1:
        raise EngineError(f"{source} is one of {parts} parts; merge them first")
    return {target.name: _plan(gguf, source, found, target) for target in targets}


def convert(todo: Plan, out: Path, on_bytes: Callable[[int], None] = lambda _: None) -> None:
    """Write the model; `on_bytes` hears how many bytes were written since it last heard.

    Raises EngineError if a weight is not finite or does not fit, OSError if the disk fails. What
    has been written until then stays, under the name `out`.
    """
    gguf = tools()
    with out.open("xb") as file:
        file.write(todo.header)
        on_bytes(len(todo.header))
        for tensor in todo.tensors:
            written = 0
            for piece in _pieces(gguf, todo, tensor):
                file.write(piece)
                written += len(piece)
                on_bytes(len(piece))
            assert written == tensor.size_bytes, f"{tensor.name}: {written} bytes"
            file.write(bytes(padded(written, todo.found.alignment_bytes) - written))


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


def _plan(gguf: Any, source: Path, found: Header, target: Target) -> Plan:
    tensors = tuple(_tensor(gguf, target, entry) for entry in found.tensors)
    entries, at = [], 0
    for tensor in tensors:
        kind = gguf.GGMLQuantizationType[tensor.becomes].value
        entries.append((tensor.name, tensor.shape, kind, at))
        at += padded(tensor.size_bytes, found.alignment_bytes)
    header = write_header(list(_fields(found, target)), entries, found.alignment_bytes)
    return Plan(source, target, found, header, tensors, len(header) + at)


def _tensor(gguf: Any, target: Target, entry: Entry) -> Tensor:
    name, shape, number, _ = entry
    if not prod(shape) or not shape:
        raise EngineError(f"{name!r:.80} has no weights: its shape is {shape}")
    try:
        kind = gguf.GGMLQuantizationType(number).name
    except ValueError as error:
        raise EngineError(f"{name} is in a type that is not known: number {number}") from error
    becomes = stored_as(target, name, shape, kind)
    size_bytes = prod(shape[1:]) * _row_bytes(gguf, becomes, shape[0])
    return Tensor(name, shape, kind, becomes, size_bytes, entry)


def _row_bytes(gguf: Any, kind: str, length: int) -> int:
    block, block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    return int(length // block * block_bytes)


def _fields(found: Header, target: Target) -> Iterator[bytes]:
    """Give each pair of metadata as it lies in the file, but for how the file is quantised."""
    own = {"general.file_type": target.file_type}
    if target.is_blocked:
        own["general.quantization_version"] = QUANTIZATION_VERSION
    for name, field in found.fields.items():
        yield pair(name, own.pop(name)) if name in own else field
    for name, value in own.items():
        yield pair(name, value)


def _pieces(gguf: Any, todo: Plan, tensor: Tensor) -> Iterator[bytes]:
    """Give the bytes of a tensor in its new type, a few million weights at a time."""
    import numpy as np  # noqa: PLC0415 - comes with gguf

    every = rows(
        todo.source, todo.found, tensor.entry, _row_bytes(gguf, tensor.kind, tensor.shape[0])
    )
    step = max(1, CHUNK_WEIGHTS // tensor.shape[0])
    kinds = gguf.GGMLQuantizationType
    for at in range(0, len(every), step):
        part = every[at : at + step]
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
        if largest > LARGEST.get(tensor.becomes, np.inf):
            raise EngineError(
                f"{tensor.name} holds {largest:g}, too large for {tensor.becomes}; take bf16"
            )
        yield gguf.quants.quantize(weights, kinds[tensor.becomes]).tobytes()
