"""From the options of `baseload plan` to a request, or to a sentence that says what is wrong.

Every mistake is one of use: it names the option, and the command exits with 2. Numbers are checked
here once (`nan` is a number to a command line), so the planner need not doubt them.

Not here: the options themselves (`plan`), planning.
"""

import re
from collections.abc import Iterable
from math import isfinite
from pathlib import Path
from typing import NamedTuple, NoReturn

import msgspec
import typer

from baseload.errors import BaseloadError
from baseload.plan.hardware.machines import counts_of
from baseload.plan.load import Load, Objectives
from baseload.plan.request import TENURES, Machine
from baseload.plan.result import Tenure

PROMPT = 1000.0
ANSWER = 300.0
_SETTING = re.compile(r"([a-z][\w-]*(?:\.[\w-]+)+)\s*=\s*(\S+)", re.IGNORECASE)


class Traffic(NamedTuple):
    """What the options say of traffic; None where one is absent."""

    rps: float | None
    prompt: float | None
    answer: float | None
    cached: float | None
    day_factor: float | None
    trace: Path | None


def wrong(option: str, what: str) -> NoReturn:
    """End with what is wrong with an option, and exit code 2."""
    raise typer.BadParameter(what, param_hint=option)


def above_zero(option: str, value: float) -> float:
    """Give a number that has to be more than zero."""
    if not isfinite(value) or value <= 0:
        wrong(option, f"{value:g} must be a number above 0")
    return value


def part(option: str, value: float, *, may_be_zero: bool) -> float:
    """Give a part of one."""
    if not isfinite(value) or not 0 <= value <= 1 or (value == 0 and not may_be_zero):
        hint = f"; did you mean {value / 100:g}?" if 1 < value <= 100 else ""
        wrong(option, f"{value:g} must be between 0 and 1{hint}")
    return value


def load_of(traffic: Traffic) -> tuple[Load, tuple[str, ...]]:
    """Give the load that a trace or options describe, and what is worth knowing of a trace.

    Options take the place of a trace's rate.
    """
    notes: tuple[str, ...] = ()
    if traffic.trace is not None:
        load, notes = _traced(traffic, traffic.trace)
    elif traffic.rps is None:
        wrong(
            "--rps",
            "how much traffic is there? Give requests a second in the busiest hour "
            "(--rps 4), or a trace (--trace calls.csv)",
        )
    else:
        load = Load(
            rps=above_zero("--rps", traffic.rps),
            prompt=_tokens("--prompt", traffic.prompt, PROMPT),
            answer=_tokens("--answer", traffic.answer, ANSWER),
        )
    changes: dict[str, float] = {}
    if traffic.cached is not None:
        changes["cached"] = part("--cached", traffic.cached, may_be_zero=True)
    if traffic.day_factor is not None:
        changes["day_factor"] = part("--day-factor", traffic.day_factor, may_be_zero=False)
    return msgspec.structs.replace(load, **changes), notes


def _traced(traffic: Traffic, path: Path) -> tuple[Load, tuple[str, ...]]:
    # Found when wanted: a plan without a trace needs none of it.
    from baseload.plan.traces import inspect  # noqa: PLC0415

    for option, value in (("--prompt", traffic.prompt), ("--answer", traffic.answer)):
        if value is not None:
            wrong(option, "a trace has its own sizes; leave this out, or --trace")
    try:
        trace = inspect(path)
    except BaseloadError as error:
        wrong("--trace", str(error))
    except OSError as error:
        wrong("--trace", f"{path}: it cannot be read: {error.strerror or error}")
    notes = tuple(f"{path.name}: {note}." for note in trace.notes)
    if traffic.rps is None:
        return trace.load, notes
    scaled = f"{path.name} is taken at {traffic.rps:g} requests/s in the busiest hour, not its own"
    load = msgspec.structs.replace(trace.load, rps=above_zero("--rps", traffic.rps))
    return load, (*notes, f"{scaled} {trace.load.rps:.3g}.")


def _tokens(option: str, value: float | None, usual: float) -> float:
    if value is None:
        return usual
    if not isfinite(value) or value < 1:
        wrong(option, f"{value:g} must be at least 1 token")
    return value


def objectives_of(ttft_p95_s: float, tpot_p95_s: float, survive: int) -> Objectives:
    """Give objectives."""
    return Objectives(
        ttft_p95_s=above_zero("--ttft-p95", ttft_p95_s),
        tpot_p95_s=above_zero("--tpot-p95", tpot_p95_s),
        survive=survive,
    )


def model_of(text: str | None) -> str:
    """Give the model that is meant; a path has to be there."""
    if text is None or not text.strip():
        wrong("--model", "which model? A name (deepseek-v3), or the path of a config.json")
    is_path = text.startswith((".", "/", "~")) or text.endswith(".json")
    if is_path and not Path(text).expanduser().exists():
        wrong("--model", f"{text}: there is no such file")
    return str(Path(text).expanduser()) if is_path else text.strip()


def machines_of(texts: Iterable[str]) -> tuple[Machine, ...]:
    """Read `8xh100` as machines of eight, and `2x8xh100` as no more than two of them."""
    return tuple(_machine(text) for text in texts)


def _machine(text: str) -> Machine:
    try:
        counts, name = counts_of(text, "8xh100 for machines of eight, 2x8xh100 for two")
    except BaseloadError as error:
        wrong("--hardware", str(error))
    each, most = counts[-1] if counts else 1, counts[0] if len(counts) > 1 else None
    return Machine(accelerator=name, per_machine=each, machines_max=most)


def settings_of(texts: Iterable[str]) -> dict[str, float]:
    """Read `owned.pue=1.3`; the last of a name counts."""
    found: dict[str, float] = {}
    for text in texts:
        match = _SETTING.fullmatch(text.strip())
        try:
            value = float(match[2]) if match else float("nan")
        except ValueError:
            value = float("nan")
        if match is None or not isfinite(value):
            wrong("--set", f"`{text}`: write a name and a number, as owned.pue=1.3")
        found[match[1]] = value
    return found


def tenures_of(texts: Iterable[str], *, may_spot: bool) -> tuple[Tenure, ...]:
    """Give the ways of paying that may be used, in the usual order."""
    words = [text.strip().lower().replace("-", "_") for text in texts]
    for word in words:
        if word not in TENURES:
            wrong("--tenure", f"`{word}` is none of {', '.join(TENURES)}")
    wanted = [one for one in TENURES if not words or one in words]
    found = tuple(one for one in wanted if may_spot or one != "spot")
    if not found:
        wrong("--no-spot", "spot is all that --tenure allows")
    return found
