"""How far are predictions from measurements?

`baseload plan score FILE.csv` asks this of any file in the format of `measured`: for each group
(system, engine, model, mode) the absolute relative errors of TPOT and TTFT. A row is predicted if
model and hardware are known, its layout can be, and it says how many calls were under way.

Not here: the file (`measured`), the model of a benchmark (`closed`).
"""

from collections import defaultdict
from datetime import date
from pathlib import Path

import msgspec

from baseload.plan.catalog.checking import CatalogueError
from baseload.plan.catalog.reading import Catalogue, accelerator_of_system, load
from baseload.plan.catalog.rows import Accelerator
from baseload.plan.hardware.capability import arithmetic
from baseload.plan.hardware.memory import Room, fit, misfit
from baseload.plan.models.huggingface import ModelError
from baseload.plan.models.known import find
from baseload.plan.models.shape import Shape
from baseload.plan.queueing.latency import percentile
from baseload.plan.speed.closed import Run, times_s
from baseload.plan.speed.fitted import constants, harness, tags_of
from baseload.plan.speed.layout import Build
from baseload.plan.speed.measured import Measured, read
from baseload.plan.speed.work import Work, work_of

TAIL = 0.9
NETWORK = "infiniband-ndr"
"""What joins machines where a row does not say."""
RACKS = {"gb200": 72, "gb300": 72}
"""Systems whose NVLink joins more than the eight accelerators of a machine (NVL72)."""
MACHINE = 8
BENCHED = Room(utilisation=0.95)
"""Who measures gives an engine more of the memory than who serves; chosen, as no row says it."""


class GroupScore(msgspec.Struct, frozen=True, kw_only=True):
    """Errors of one group; None where nothing could be predicted."""

    system: str
    backend: str
    model: str
    mode: str
    n: int
    predicted: int
    tpot_median: float | None
    tpot_mean: float | None
    tpot_p90: float | None
    ttft_median: float | None
    ttft_mean: float | None
    ttft_p90: float | None


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A row, ready to be predicted."""

    row: Measured
    work: Work
    run: Run
    tags: frozenset[str]


def score(path: Path) -> list[GroupScore]:
    """Give the errors of a file's groups; raises MeasurementsError."""
    rows = list(read(path))
    catalogue = load(today=date.max)  # No figure of hardware depends on the day.
    cases = {id(row): case_of(row, catalogue) for row in rows}
    groups: dict[tuple[str, str, str, str], list[Measured]] = defaultdict(list)
    for row in rows:
        groups[row.system, row.engine, row.model, row.mode].append(row)
    return [
        group_score(key, len(those), [_errors(case) for row in those if (case := cases[id(row)])])
        for key, those in sorted(groups.items())
    ]


def group_score(
    key: tuple[str, str, str, str], rows: int, errors: list[tuple[float, float | None]]
) -> GroupScore:  # fmt: skip
    """Sum up (TPOT, TTFT) errors of one group."""
    tpot = [each for each, _ in errors]
    ttft = [each for _, each in errors if each is not None]
    system, backend, model, mode = key
    return GroupScore(
        system=system, backend=backend, model=model, mode=mode, n=rows, predicted=len(errors),
        tpot_median=_part(tpot, 0.5), tpot_mean=_mean(tpot), tpot_p90=_part(tpot, TAIL),
        ttft_median=_part(ttft, 0.5), ttft_mean=_mean(ttft), ttft_p90=_part(ttft, TAIL),
    )  # fmt: skip


def case_of(row: Measured, catalogue: Catalogue) -> Case | None:
    """Put a row into the terms of the speed model; None if something is not known."""
    try:
        shape = find(row.model)
        accelerator = catalogue.accelerators[accelerator_of_system(row.system)]
    except (ModelError, CatalogueError):
        return None
    precision = row.precision or shape.native
    if not row.calls or arithmetic(accelerator, precision) is None or misfit(shape, row.layout):
        return None
    build = Build(
        accelerator=accelerator,
        layout=msgspec.structs.replace(row.layout, per_machine=RACKS.get(row.system, MACHINE)),
        precision=precision,
        kv_precision=cache_of(accelerator, precision),
        network=catalogue.links[NETWORK],
    )
    return Case(
        row=row,
        work=work_of(shape, build),
        run=run_of(row, shape, build),
        tags=tags_of(shape, build, row.engine) | {f"{row.harness}_{row.engine}", row.harness},
    )


def cache_of(accelerator: Accelerator, precision: str) -> str:
    """Give the precision of a measured KV cache, which no row says.

    It is that of InferenceMAX's scripts, where most rows come from (`benchmarks/` of
    github.com/SemiAnalysisAI/InferenceX, read 2026-11-26): 8 bits with FP8 weights (Llama-3.1-70B,
    DeepSeek-R1, Qwen3.5) and with FP4 weights where the hardware has FP4; 16 bits with INT4
    (Kimi-K2.5) and for gpt-oss on Hopper. MiniMax-M2.5 has been measured with both.
    """
    is_narrow = precision == "fp8" or (precision == "fp4" and "fp4" in accelerator.flops)
    return "fp8" if is_narrow else "bf16"


def run_of(row: Measured, shape: Shape, build: Build) -> Run:
    """Say how many calls a point has under way, and how many wait for room."""
    prompt, answer = row.prompt * row.sizes, row.answer * row.sizes
    room = fit(
        shape, build.accelerator, build.layout, build.precision, build.kv_precision,
        context=int(prompt + answer / 2), room=BENCHED,
    )  # fmt: skip
    held = min(row.calls, float(max(room.sequences_max, row.layout.dp)))
    is_split = row.mode == "disagg"
    return Run(
        prompt=prompt, answer=answer, held=held, waiting=row.calls / held - 1,
        others=0.0 if is_split else max(held / (row.layout.dp * row.layout.pp) - 1, 0.0),
    )  # fmt: skip


def _errors(case: Case) -> tuple[float, float | None]:
    """Give those of TPOT and TTFT; None where prompts are read elsewhere, which is not modelled."""
    tpot_s, ttft_s = times_s(constants(case.tags), harness(case.tags), case.work, case.run)
    is_split = case.row.mode == "disagg"
    ttft = None if is_split else abs(ttft_s / case.row.ttft_s - 1)
    return abs(tpot_s / case.row.tpot_s - 1), ttft


def _part(values: list[float], part: float) -> float | None:
    return percentile(sorted(values), part) if values else None


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
