"""How long does a turn of one planned replica take?

It is the `Pace` that queueing asks. Constants are those of vLLM unless told otherwise; no part of
the hardware's speed is counted on beyond the whole of it, even where a fit says so.

A prompt is read by one copy of attention, while others have nothing to read; and it passes the
stages of a pipeline one after another: they work at once only on different pieces of a turn's
tokens, so `n` tokens take as long as `n / stages + (1 - 1 / stages) * min(n, a piece)` of all that
pass. That the whole turn is as long as its longest prompt's is exact for copies, which wait for
each other at the experts, and cautious for stages, where other answers pass in between.

Not here: the formula (`turn`), whether the model fits (`memory`).
"""

import msgspec

from baseload.plan.hardware.memory import SLOTS, TURN_TOKENS
from baseload.plan.models.shape import Shape
from baseload.plan.speed.fitted import constants, tags_of
from baseload.plan.speed.layout import Build
from baseload.plan.speed.turn import Constants, uneven_s
from baseload.plan.speed.work import Work, work_of

CALL_S = 0.0027
"""Outside of turns before a first token; fitted to closed batches on one H200, client included."""


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """One replica: a `Pace`."""

    k: Constants
    w: Work
    kv_tokens: int
    slots: int
    turn_tokens: int
    stages: int = 1
    """Of the pipeline."""

    def turn_s(
        self, writing: int, context: float, reading: int, read_before: float, longest: int
    ) -> float:
        """Give how long one turn takes, in seconds."""
        if not reading or self.w.copies == 1:  # Most turns: nothing is to be divided.
            return uneven_s(self.k, self.w, writing, context, reading, reading, read_before)
        part = 1 / self.stages
        alone = longest * part + min(longest, TURN_TOKENS) * (1 - part)
        each, every = max(reading / self.w.copies, alone), max(reading, alone * self.stages)
        return uneven_s(self.k, self.w, writing, context, every, each, read_before)

    def call_s(self, prompt: float) -> float:
        """Give what a call costs outside of turns before its first token, in seconds."""
        return CALL_S


def engine_of(shape: Shape, build: Build, kv_tokens: int, engine: str = "vllm") -> Engine:
    """Give the pace of a replica whose KV cache holds so many tokens."""
    k = constants(tags_of(shape, build, engine))
    whole = {
        name: min(getattr(k, name), 1.0) for name in k.__struct_fields__ if name.endswith("_part")
    }
    copies = build.layout.dp * build.layout.pp
    return Engine(
        k=msgspec.structs.replace(k, **whole),
        w=work_of(shape, build),
        kv_tokens=kv_tokens, slots=SLOTS * copies, turn_tokens=TURN_TOKENS * copies,
        stages=build.layout.pp,
    )  # fmt: skip
