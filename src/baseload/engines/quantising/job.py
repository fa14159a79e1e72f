"""How does a model become a published, quantised one? All steps in order, and nothing half done.

Everything is written into one folder beside the result, which is locked while somebody works in it
and whose leftovers the next run removes. The name that was asked for appears only by a rename,
after the gate has let the file pass, so a kill at any moment leaves nothing under it.
"""

import importlib.metadata
import importlib.util
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from baseload.engines import gguf
from baseload.engines.cores import usable_cores
from baseload.engines.hardware import processor
from baseload.engines.quantising import converting, speed
from baseload.engines.quantising.comparing import Tell, Terms, compared, interruptible
from baseload.engines.quantising.gate import Verdict, judge
from baseload.engines.quantising.report import Report
from baseload.engines.quantising.scoring import Score, score
from baseload.engines.quantising.targets import TARGETS, Target
from baseload.engines.quantising.tasks import read_tasks, read_text
from baseload.engines.quantising.workshop import workshop
from baseload.engines.weights import find_weights, served_name
from baseload.errors import EngineError

SPARE_BYTES = 64_000_000
"""Disk that is left alone beside what is written."""

BUSY_LOAD = 1.25
"""Processes that want to run, for each core, beyond which measured speeds are worth a warning.
Reading just before leaves a load of up to one for each core."""

WHOLE_KINDS = {"F32", "BF16", "F16"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish(Terms):
    """What is wanted."""

    model: str
    to: Target


async def quantise(wish: Wish, tell: Tell = lambda _what, _part: None) -> Report:
    """Convert, measure, judge, and publish what passed.

    Raises EngineError where that cannot be done; that a result was refused is in the report.
    """
    source, tell = find_weights(wish.model), interruptible(tell)
    _check(wish, source)
    with workshop(wish.out) as folder:
        plans = _plans(wish, source)
        files = _write(wish, source, plans, folder, tell)
        scores: dict[str, Score] = {}
        for name, file in files.items():
            scores[name] = await score(
                file,
                partial(tell, f"reading with {name}"),
                text=wish.text,
                tasks=wish.tasks,
            )
        notes = [*_notes(wish, plans)]
        speeds = {}
        if wish.rounds and _fit_together(files):
            notes += _business()
            prompts = read_text(wish.text)
            hear = partial(tell, "measuring speed")
            speeds = await speed.measure(files, prompts, wish.rounds, hear)
        elif wish.rounds:
            notes.append("The models do not fit in memory together: speed was not compared.")
        sizes = {name: file.stat().st_size for name, file in files.items()}
        variants = compared(sizes, scores, speeds)
        target = next(each for each in variants if each.name == wish.to.name)
        verdict = judge(target.loss, target.tasks_loss, wish.max_loss)
        published = _publish(wish, files[wish.to.name], verdict)
    return Report(
        model=served_name(wish.model),
        source_kinds=plans[wish.to.name].kinds,
        target=wish.to.name,
        reference=variants[0].name,
        max_loss=wish.max_loss,
        verdict=verdict,
        published=str(published) if published else None,
        text_tokens=len(scores[wish.to.name].losses),
        tasks=len(scores[wish.to.name].right),
        variants=variants,
        machine=f"{processor.look()[0].model}, {usable_cores()} cores",
        engine=f"xllamacpp {importlib.metadata.version('xllamacpp')}",
        notes=tuple(notes),
    )


def _check(wish: Wish, source: Path) -> None:
    """Refuse what cannot come to a good end, before anything is written."""
    converting.tools()
    if importlib.util.find_spec("xllamacpp") is None:
        raise EngineError("llama.cpp is not installed: run `pip install 'baseload[llamacpp]'`")
    if not wish.out.parent.is_dir():
        raise EngineError(f"there is no folder {wish.out.parent}")
    if wish.out.is_dir():
        raise EngineError(f"{wish.out} is a folder; give another --out")
    if wish.out.exists() and (wish.out.samefile(source) or not wish.force):
        raise EngineError(f"{wish.out} is there already; give another --out, or --force")
    wish.check_keep()
    read_text(wish.text)
    read_tasks(wish.tasks)


def _plans(wish: Wish, source: Path) -> dict[str, converting.Plan]:
    """Plan the target, and what it is compared with unless that is the source as it is."""
    names = (
        dict.fromkeys([wish.to.name])
        if wish.reference == "source"
        else dict.fromkeys(("fp32", "bf16", wish.to.name))
    )
    return converting.plans(source, (TARGETS[name] for name in names))


def _write(
    wish: Wish, source: Path, plans: dict[str, converting.Plan], folder: Path, tell: Tell
) -> dict[str, Path]:
    """Write what is not there yet; return the files by name, the reference first."""
    todo = {name: plan for name, plan in plans.items() if name == wish.to.name or not plan.is_copy}
    needed = sum(plan.size_bytes for plan in todo.values())
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise EngineError(
            f"{wish.out.parent} has {free / 1e9:.2f} GB free, and {needed / 1e9:.2f} GB are to be "
            "written; `--reference source` takes less"
        )
    files = {"source": source} if wish.reference == "source" else {}
    for name in plans:
        files[name] = folder / f"{name}.gguf" if name in todo else source
        if name in todo:
            written = 0

            def hear(size_bytes: int, of: str = name) -> None:
                nonlocal written
                written += size_bytes
                tell(f"writing {of}", written / todo[of].size_bytes)

            converting.convert(todo[name], files[name], hear)
        if (fault := gguf.fault(files[name])) is not None:
            raise EngineError(f"what was written as {name} {fault}")
        _check_memory(files[name])
    return files


def _publish(wish: Wish, file: Path, verdict: Verdict) -> Path | None:
    """Give the result its name if it passed; return where it is."""
    if not verdict.passed:
        if wish.keep:
            file.replace(wish.refused)
        return None
    if wish.out.exists() and not wish.force:
        raise EngineError(f"{wish.out} has appeared meanwhile; it was left as it is")
    with file.open("rb") as written:
        os.fsync(written.fileno())
    file.replace(wish.out)
    return wish.out


def _notes(wish: Wish, plans: dict[str, converting.Plan]) -> Iterator[str]:
    plan = plans[wish.to.name]
    matrices = {tensor.kind for tensor in plan.tensors if sum(n > 1 for n in tensor.shape) > 1}
    if not matrices <= WHOLE_KINDS:
        yield (
            f"The source is quantised already ({plan.kinds}). Its fp32 holds no more than it does, "
            "and losses are measured against that, not against the model as it was trained."
        )
    if plan.is_copy:
        yield f"The source is in {wish.to.name} already: its weights were copied, not rounded."


def _business() -> list[str]:
    """Say so if others are at work here: what is measured then is what they leave."""
    load, cores = os.getloadavg()[0], usable_cores()
    if load < cores * BUSY_LOAD:
        return []
    busy = f"The machine was busy when speed was measured (load {load:.1f} on {cores} cores)"
    return [f"{busy}: speeds are too low, and their ratios are uncertain."]


def _fit_together(files: dict[str, Path]) -> bool:
    """Tell whether all models can be in memory at once, each with half as much for its work."""
    available = _available_bytes()
    needed = sum(file.stat().st_size for file in files.values()) * 3 // 2
    return available is None or needed < available


def _check_memory(file: Path) -> None:
    available, needed = _available_bytes(), file.stat().st_size
    if available is not None and needed > available:
        raise EngineError(
            f"{file.name} needs {needed / 1e9:.1f} GB of memory to be measured, and "
            f"{available / 1e9:.1f} GB are available; `--reference source` needs less"
        )


def _available_bytes() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return next((int(kilobytes) * 1024 for kilobytes in found), None)
