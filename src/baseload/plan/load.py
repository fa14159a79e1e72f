"""What is asked of the fleet: how much traffic, of what size, and how well must it be answered?

Not here: reading traces (`traces`), what a load does to a replica (`queueing`).
"""

import msgspec

from baseload.plan.cost.terms import SECONDS_DAY


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """Traffic in its busiest hour, and how much of that there is over a day."""

    rps: float
    """Requests a second, mean of the busiest hour."""
    prompt: float
    """Tokens of a prompt, mean."""
    answer: float
    """Tokens of an answer, mean."""
    prompt_cv: float = 0.0
    """Standard deviation over mean of prompts' sizes; 0: all are alike."""
    answer_cv: float = 0.0
    arrival_cv: float = 1.0
    """Standard deviation over mean of the gaps between arrivals; 1 is Poisson."""
    prompts: tuple[int, ...] = ()
    """Sizes of a trace's requests, in its order (bounded by `traces`); empty without a trace."""
    answers: tuple[int, ...] = ()
    gaps: tuple[float, ...] = ()
    """Seconds before each of them, scaled to a mean of 1; empty without a trace."""
    cached: float = 0.0
    """Part of prompts' tokens that a prefix cache or the provider's cache has."""
    day_factor: float = 1.0
    """Mean load of a day over the load of its busiest hour."""

    @property
    def requests_day(self) -> float:
        """Requests of a day."""
        return self.rps * self.day_factor * SECONDS_DAY


class Objectives(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer must keep."""

    ttft_p95_s: float = 2.0
    """First token, from arrival, for 95 of 100 calls."""
    tpot_p95_s: float = 0.1
    """Between tokens, (end to end - TTFT) / (tokens - 1), for 95 of 100 calls."""
    utilisation_max: float = 0.85
    """Of a replica's highest load: past it the knee is too near."""
    survive: int = 1
    """Machines (or groups of them that hold one replica) that may fail, with objectives kept."""
