"""How well does a model still predict? A child process reads, and this hears what it says."""

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from baseload.engines.child import Child
from baseload.engines.kinds.llamacpp import ENVIRONMENT
from baseload.engines.quantising.tasks import TASKS, TEXT, is_right, read_tasks
from baseload.errors import EngineError

CHILD = "baseload.engines.quantising.scoring_child"

SCORE_MAX_S = 3600.0
"""For one model; a 135M one takes some 20 s on two cores, a 7B one half an hour."""

LINES_MAX = 20_000
"""Windows and tasks of one model."""


@dataclass(frozen=True, slots=True)
class Score:
    """What each token of the text cost, in nats, and which tasks are right."""

    losses: tuple[float, ...]
    right: tuple[bool, ...]


class _Said(msgspec.Struct, frozen=True):
    """One line of the child."""

    losses: list[float] = []
    logs: list[float] = []
    fault: str = ""
    read: float = 0.0
    done: float = 0.0


async def score(
    model: Path,
    on_part: Callable[[float], None] = lambda _: None,
    *,
    text: Path = TEXT,
    tasks: Path = TASKS,
    wait_max_s: float = SCORE_MAX_S,
) -> Score:
    """Have a model read the text and do the tasks; `on_part` hears which part of it is done.

    Raises EngineError if the child fails, or is not through within `wait_max_s`.
    """
    every = read_tasks(tasks)
    heard: list[_Said] = []
    others: list[str] = []

    def hear(line: str) -> None:
        try:
            said = msgspec.json.decode(line, type=_Said)
        except msgspec.DecodeError:
            others[:] = [line]  # The last one tells how it died.
            return
        if len(heard) < LINES_MAX:
            heard.append(said)
        on_part((said.read or 1.0) / 2 if said.losses else 0.5 + said.done / 2)

    command = [sys.executable, "-P", "-m", CHILD, "--model", str(model)]
    command += ["--text", str(text), "--tasks", str(tasks)]
    child = await Child.start(command, ENVIRONMENT | os.environ, hear)
    try:
        async with asyncio.timeout(wait_max_s):
            await asyncio.shield(child.gone)
    except TimeoutError:
        raise EngineError(f"{model} was not measured within {wait_max_s:g} s") from None
    finally:
        await child.end(0.0)
    fault = next((said.fault for said in heard if said.fault), "")
    losses = tuple(loss for said in heard for loss in said.losses)
    answers = [said.logs for said in heard if said.logs]
    if fault or not losses or len(answers) != len(every):
        why = fault or "; ".join([child.how_it_ended(), *others])
        raise EngineError(f"{model} cannot be measured: {why}")
    return Score(losses, tuple(map(is_right, every, answers)))
