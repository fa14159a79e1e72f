"""What does a benchmark measure that always keeps so many calls under way?

Such a closed loop is how engines are compared: as soon as one answer ends, the next call begins. An
answer then is slowed by the prompts of all others that begin while it is written; each of them
costs what reading its prompt adds to a turn. Of that work a part is seen by those who wait for
their first token, because calls come in bursts; the rest by those who are writing. Calls that the
KV cache does not hold wait for a whole answer to end.

    TPOT = turn + others / answer * reading * (1 - bursts) * stalls
    TTFT = call + waits * turn + reading alone + bursts * others * reading
           + (calls / held - 1) * answer * TPOT

How much calls come in bursts differs by harness, and files of measurements do not say it; so it is
fitted for each that can be told apart (`measured`). As in `turn`, numbers may be arrays.

Not here: calls that come when they like (`queueing`), which is what a plan is about.
"""

import msgspec

from baseload.plan.speed.turn import Constants, turn_s
from baseload.plan.speed.work import Work


class Harness(msgspec.Struct, frozen=True, kw_only=True):
    """What a way of measuring adds."""

    call_s: float
    """Outside of turns before the first token: HTTP, tokenising, the client."""
    waits: float
    """Of the turn under way when a call arrives."""
    bursts: float
    """Odds (against 1) that the work of reading falls on those who wait for a first token."""
    stalls: float
    """What of the rest shows between tokens."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One point that is or was measured."""

    prompt: float
    answer: float
    """Tokens."""
    held: float
    """Calls of the replica that are worked on at once."""
    waiting: float
    """Calls that wait for room, over those that have it."""
    others: float
    """Calls that a copy works on beside one's own; 0 where prompts are read elsewhere."""


def times_s(k: Constants, h: Harness, w: Work, run: Run) -> tuple[float, float]:
    """Give TPOT, (end to end - TTFT) / (tokens - 1), and TTFT, both in seconds."""
    context = run.prompt + run.answer / 2
    turn = turn_s(k, w, run.held, context, 0.0, 0.0)
    both = turn_s(k, w, run.held, context, run.prompt * w.copies, run.prompt / 2)
    alone = turn_s(k, w, 0.0, 0.0, run.prompt * w.copies, run.prompt / 2)
    reading = both - turn
    burst = h.bursts / (1 + h.bursts)
    tpot = turn + run.others / run.answer * reading * (1 - burst) * h.stalls
    queue = run.waiting * run.answer * tpot
    ttft = h.call_s + h.waits * turn + alone + burst * run.others * reading + queue
    return tpot, ttft
