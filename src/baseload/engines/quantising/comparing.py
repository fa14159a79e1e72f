"""Under which terms is a model in another precision compared, and what comes of it?

What llama.cpp's job and vLLM's share. Every number is put beside that of the reference.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from baseload.engines.quantising.gate import MAX_LOSS
from baseload.engines.quantising.intervals import perplexity, perplexity_loss, share, share_loss
from baseload.engines.quantising.report import Variant, with_times
from baseload.engines.quantising.scoring import Score
from baseload.engines.quantising.speed import ROUNDS, Speed
from baseload.engines.quantising.tasks import TASKS, TEXT
from baseload.errors import EngineError

Tell = Callable[[str, float], None]
"""Hears what is being done, and which part of it is."""


def interruptible(tell: Tell) -> Tell:
    """Give a `tell` by which Ctrl-C ends also what has no await, such as writing a model.

    There asyncio can only mark the task; so raises CancelledError if it has.
    """

    def told(what: str, part: float) -> None:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        tell(what, part)

    return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How it is measured, and when and where it may be published."""

    out: Path
    max_loss: float = MAX_LOSS
    reference: Literal["fp32", "source"] = "fp32"
    rounds: int = ROUNDS
    """Of measuring speed; 0: not measured."""
    force: bool = False
    """Whether what is there may be replaced."""
    keep: bool = False
    """Whether a refused result is kept, under another name."""
    text: Path = TEXT
    tasks: Path = TASKS

    @property
    def refused(self) -> Path:
        """Where a refused result is kept."""
        return self.out.with_name(f"{self.out.name}.refused")

    def check_keep(self) -> None:
        """Raise EngineError if a refused result could not be kept without losing another one."""
        if self.keep and os.path.lexists(self.refused):
            raise EngineError(f"{self.refused} is there, and --keep needs that name: move it away")


def compared(
    sizes: Mapping[str, int], scores: Mapping[str, Score], speeds: Mapping[str, Speed]
) -> tuple[Variant, ...]:
    """Put the precisions side by side; `sizes` names them in order, the reference first."""
    reference = scores[next(iter(sizes))]
    return with_times(
        [
            Variant(
                name=name,
                size_bytes=size_bytes,
                perplexity=perplexity(scores[name].losses),
                loss=perplexity_loss(reference.losses, scores[name].losses),
                tasks=share(scores[name].right),
                tasks_loss=share_loss(reference.right, scores[name].right),
                speed=speeds.get(name),
            )
            for name, size_bytes in sizes.items()
        ]
    )
