"""How does a model's folder become a published INT8 for vLLM, or FP8 one that may be used?

INT8 is written as `job` writes GGUF: into a locked folder beside the result, which gets its name by
a rename after the gate has let it pass. FP8 is no file, vLLM rounds while it loads, so all that is
published is the word that it may. The precisions are measured one after the other, each in a vLLM
of its own.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from baseload.engines.cores import usable_cores
from baseload.engines.hardware import amd, nvidia, processor
from baseload.engines.quantising import w8a8
from baseload.engines.quantising.comparing import Tell, Terms, compared, interruptible
from baseload.engines.quantising.gate import judge
from baseload.engines.quantising.report import Report
from baseload.engines.quantising.scoring import Score
from baseload.engines.quantising.speed import Speed
from baseload.engines.quantising.tasks import Task, read_tasks, read_text
from baseload.engines.quantising.vllm import scoring, speed
from baseload.engines.quantising.vllm.server import Server, serving
from baseload.engines.quantising.workshop import workshop
from baseload.errors import EngineError

MADE = "model"
"""The result's name in the workshop."""
BEFORE = "before"
"""The name there of what the result replaces."""

FLAGS: dict[str, tuple[str, ...]] = {
    "fp32": ("--dtype=float32",),
    "bf16": ("--dtype=bfloat16",),
    "int8": (),
    "fp8": ("--quantization=fp8",),
}
"""Of vLLM, for each precision, as `kinds.precision` has them: what is measured is what is served.
INT8 is told by the folder's own config."""
TOKENIZER = ("token", "vocab", "tekken", "piece")
"""One of these is in the name of a tokenizer's file, whoever made it."""
WEIGHT_BYTES = {"fp32": (4, 4), "bf16": (2, 2), "fp8": (1, 2)}
"""Of matrices, and of what else: sizes of what is no file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish(Terms):
    """What is wanted."""

    source: Path
    to: Literal["int8", "fp8"]
    program: tuple[str, ...] = ()
    """What starts vLLM (`server.program_of`); nothing if it is not measured."""


@dataclass(slots=True)
class _Measured:
    """What is known by now; `whole` is how the first vLLM has cut the text."""

    text: str
    tasks: list[Task]
    scores: dict[str, Score]
    speeds: dict[str, Speed]
    notes: list[str]
    whole: scoring.Cut | None = None
    version: str = ""


async def quantise(wish: Wish, tell: Tell = lambda _what, _part: None) -> Report:
    """Write what is to be written, measure, judge, and publish what passed.

    Raises EngineError where that cannot be done; that a result was refused is in the report.
    """
    source, tell = w8a8.look(wish.source), interruptible(tell)
    _check(wish)
    found = _Measured(read_text(wish.text), read_tasks(wish.tasks), {}, {}, [])
    with _place(wish) as folder:
        written = None
        if wish.to == "int8":
            written = _written(wish, source, folder, tell)
        names = ("source",) if wish.reference == "source" else ("fp32", "bf16")
        sizes = {name: _size_bytes(source, name) for name in (*names, wish.to)}
        if written is not None:
            sizes["int8"] = written.size_bytes
        for name, size_bytes in sizes.items():
            model, flags = folder / MADE if name == "int8" else wish.source, flags_of(name, source)
            tell(f"starting vLLM with {name}", 0.0)
            async with serving(wish.program, model, name, flags, size_bytes) as server:
                await _measure(wish, name, server, found, tell)
        variants = compared(sizes, found.scores, found.speeds)
        target = variants[-1]
        verdict = judge(target.loss, target.tasks_loss, wish.max_loss)
        if written is not None and verdict.passed:
            _publish(wish, folder / MADE)
        elif written is not None and wish.keep:
            (folder / MADE).rename(wish.refused)
    return Report(
        model=wish.source.resolve().name,
        source_kinds=source.kinds,
        target=wish.to,
        reference=variants[0].name,
        max_loss=wish.max_loss,
        verdict=verdict,
        published=str(wish.out) if written is not None and verdict.passed else None,
        text_tokens=len(found.scores[wish.to].losses),
        tasks=len(found.tasks),
        variants=variants,
        machine=_machine(),
        engine=f"vLLM {found.version}".strip(),
        notes=(*_notes(wish, source, written), *found.notes),
    )


def write_unmeasured(wish: Wish, tell: Tell) -> w8a8.Written:
    """Write and publish INT8 past the gate; raises EngineError where that cannot be done."""
    source = w8a8.look(wish.source)
    _check(wish)
    with _place(wish) as folder:
        written = _written(wish, source, folder, tell)
        _publish(wish, folder / MADE)
    return msgspec.structs.replace(written, published=str(wish.out))


def _written(wish: Wish, source: w8a8.Source, folder: Path, tell: Tell) -> w8a8.Written:
    # Not earlier: what a killed run left there takes no room any more.
    w8a8.check_room(source, wish.out.parent)
    return w8a8.make(source, folder / MADE, partial(tell, "writing int8"))


def _check(wish: Wish) -> None:
    """Refuse what cannot come to a good end, before anything is written."""
    if not any(part in path.name for path in wish.source.iterdir() for part in TOKENIZER):
        raise EngineError(f"{wish.source} has no tokenizer, and vLLM cannot do without")
    if wish.to == "fp8":
        return
    if not wish.out.parent.is_dir():
        raise EngineError(f"there is no folder {wish.out.parent}")
    _check_name(wish)
    wish.check_keep()


def _check_name(wish: Wish) -> None:
    """Refuse a name that has been taken and is not to be, or must not be, given away."""
    if not os.path.lexists(wish.out):
        return
    if not wish.force:
        raise EngineError(f"{wish.out} is there already; give another --out, or --force")
    if not _may_be_replaced(wish.out, wish.source):
        raise EngineError(f"{wish.out} is no model's folder, or the source: it is not replaced")


def _may_be_replaced(out: Path, source: Path) -> bool:
    is_named = out.name not in ("", "..")
    is_folder = out.is_dir() and not out.is_symlink()
    # Other programs call their settings config.json, too.
    is_model = (out / "config.json").is_file() and any(out.glob("*.safetensors"))
    is_source = source.resolve().is_relative_to(out.resolve())
    return is_named and is_folder and is_model and not is_source


@contextmanager
def _place(wish: Wish) -> Iterator[Path]:
    """Give where the result is put together; for FP8, which is none, where it would be."""
    if wish.to == "fp8":
        yield wish.source
        return
    with workshop(wish.out) as folder:
        yield folder


def _size_bytes(source: w8a8.Source, name: str) -> int:
    return source.bytes_with(*WEIGHT_BYTES[name]) if name in WEIGHT_BYTES else source.size_bytes


def flags_of(name: str, source: w8a8.Source) -> tuple[str, ...]:
    """Give vLLM's flags for a precision.

    The source's own is said: by itself vLLM reads FP32 in 16 bits (`--dtype auto`).
    """
    return (f"--dtype={source.dtype}",) if name == "source" else FLAGS[name]


async def _measure(wish: Wish, name: str, server: Server, found: _Measured, tell: Tell) -> None:
    """Have one vLLM read, do the tasks and, if that is wanted, show its speed."""
    tell(f"reading with {name}", 0.0)
    whole = await scoring.cut(server, found.text, found.tasks)
    found.whole = found.whole or whole
    if whole != found.whole:
        raise EngineError(f"{name} cuts the text into other tokens: they cannot be compared")
    read = partial(tell, f"reading with {name}")
    found.scores[name] = await scoring.score(server, whole, found.tasks, read)
    found.version = server.version
    if wish.rounds:
        hear = partial(tell, f"measuring speed with {name}")
        try:
            found.speeds[name] = await speed.measure(server, whole, wish.rounds, hear)
        except EngineError as error:  # No reason to throw away what is known of accuracy.
            found.notes.append(f"Speed of {name} was not measured: {error}.")


def _publish(wish: Wish, made: Path) -> None:
    """Give the result its name."""
    _check_name(wish)  # Much may have happened meanwhile.
    _sync(made)
    out, before = wish.out, made.with_name(BEFORE)
    if out.exists():
        out.rename(before)  # A folder with something in it cannot be replaced by a rename.
    try:
        made.rename(out)
    except BaseException:
        if before.exists():
            before.rename(out)
        raise


def _sync(folder: Path) -> None:
    for path in (*folder.iterdir(), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _notes(wish: Wish, source: w8a8.Source, written: w8a8.Written | None) -> Iterator[str]:
    names = ["fp32", "bf16"] if wish.reference == "fp32" else []
    names += ["fp8"] if wish.to == "fp8" else []
    if names:
        yield f"Reckoned sizes, of what vLLM makes while it loads: {', '.join(names)}."
    if wish.reference == "fp32" and not source.kinds.startswith("F32"):
        yield (
            f"The source's tensors are {source.kinds}: its fp32 holds the same weights, and only "
            "reckons with them more exactly."
        )
    if written is not None:
        yield (
            f"INT8 weights are off by {written.error:.2%} (root mean square; the worst, "
            f"{written.worst}: {written.worst_error:.2%}); activations are rounded, too."
        )
    if wish.rounds:
        yield (
            "One GPU served one precision after the other, so ratios of speed are those of "
            "medians; memory is what vLLM says that the weights take on the GPU."
        )


def _machine() -> str:
    """Name the GPUs or, where none can be seen, the processor."""
    gpus = nvidia.gpus()[0] or amd.gpus()
    if not gpus:
        return f"{processor.look()[0].model}, {usable_cores()} cores"
    names = ", ".join(dict.fromkeys(gpu.name for gpu in gpus))
    return f"{names}, one of {len(gpus)}" if len(gpus) > 1 else names
