"""What the conductor is asked for its figures: overloads, unfair tenants, hidden limits, bad weeks.

Each scenario is the real flow and the real gate with simulated providers and callers, on simulated
time; the numbers it gives are shares, seconds and counts, and the same seed gives the same numbers.
`conductor.py` prints them beside their targets, and the tests hold them.

What it does not prove: anything about sockets, or about providers that behave unlike the model in
`baseload.sim.provider`.
"""

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from functools import cache
from math import exp, inf
from random import Random
from statistics import mean
from typing import Any

from baseload.config.fleet import Model, Queue, Target
from baseload.core.facts import (
    BATCH,
    DONE,
    EXPIRED,
    FIRST_TOKEN,
    INTERACTIVE,
    SHED,
    Call,
    Fact,
    Relay,
    Send,
    Told,
)
from baseload.core.gate import Gate
from baseload.core.setup import Setup
from baseload.sim.kernel import Kernel
from baseload.sim.provider import Answer, Habits, Provider, Troubles
from baseload.sim.workload import Kind, Outcome, Providers, Sources

STEPS_MAX = 10**9
SLOTS = 32
WARM_S = 60.0
"""What comes before does not count: limits are being learnt, and the line fills."""
USUAL = Kind(total_s=120.0)
WEEK_S = 7 * 86_400.0
DARK_EVERY_S = 1800.0
DARK_S = 60.0
FAILING = Troubles(errors=0.002, cuts=0.0015, stalls=0.0015)
"""Half a per cent of all calls."""


class Stage:
    """A fleet with simulated providers for one model `m`, and its callers."""

    def __init__(
        self,
        seed: int,
        *tiers: dict[str, Habits],
        concurrency: int | dict[str, int],
        ceiling: int = 0,
        queue: Queue | None = None,
        unfit: float = 0.0,
        weights: str | None = "w",
        **fields: Any,
    ) -> None:
        self.kernel = Kernel()
        habits = {name: one for tier in tiers for name, one in tier.items()}
        self.providers = {
            name: Provider(name, self.kernel, Random(f"{seed}/{name}"), one)
            for name, one in habits.items()
        }
        limits = (
            concurrency if isinstance(concurrency, dict) else dict.fromkeys(habits, concurrency)
        )
        model = Model(
            name="m",
            tiers=tuple(
                {name: Target(backend=name, model=name, weights=weights) for name in tier}
                for tier in tiers
            ),
            **({"first_token_s": 10.0, "stall_s": 10.0} | fields),
        )
        setup = Setup(
            models={"m": model},
            concurrency=limits,
            ceilings={name: max(ceiling, limit) for name, limit in limits.items()},
            queue=queue or Queue(),
        )
        self.gate = Gate(setup, Random(seed + 1))
        world = Providers(list(self.providers.values()), Random(seed + 2), unfit=unfit)
        self.callers = Sources(self.kernel, self.gate, world, Random(seed + 3))

    def run(self) -> None:
        """Run until nobody calls any more and all is answered."""
        self.kernel.run(STEPS_MAX)

    def done(self, begin: float, end: float) -> list[Outcome]:
        """Give the calls that were answered between two times."""
        assert self.callers.outcomes is not None
        return [
            one for one in self.callers.outcomes if _is_done(one) and begin < one.ended_at <= end
        ]


def _is_done(outcome: Outcome) -> bool:
    return outcome.fact is DONE and outcome.is_whole


@cache
def capacity(habits: Habits, kind: Kind, seconds: float = 3600.0) -> tuple[float, float]:
    """Give what a provider can do at most, in calls and tokens a second.

    It is asked without a gate, by exactly as many callers as it has slots, each asking again at
    once.
    """
    kernel, rng = Kernel(), Random(0)
    provider = Provider("p", kernel, Random(1), habits)
    target = Target(backend="p", model="p")
    lengths: list[int] = []

    def ask(number: int) -> None:
        call = Call(number, "m", inf, prompt_tokens=kind.prompt_tokens)
        answer = Answer(max(1, round(kind.answer_tokens * exp(rng.gauss(0.0, 0.5)))), True)

        def tell(told: Told) -> None:
            if told.fact is FIRST_TOKEN:
                provider.begin(Relay(call, target, inf), tell, answer)
                return
            if kernel.now > WARM_S:
                lengths.append(answer.whole)
            if kernel.now < seconds:
                ask(number + habits.slots)

        provider.begin(Send(call, target, 1e9, 1e9, 1e9), tell, answer)

    for number in range(habits.slots):
        kernel.at(5.0 * rng.random(), lambda number=number: ask(number))
    kernel.run(STEPS_MAX)
    return len(lengths) / (seconds - WARM_S), sum(lengths) / (seconds - WARM_S)


def goodput(
    times: float, habits: Habits, concurrency: int, seed: int = 1, seconds: float = 480.0
) -> float:
    """Give tokens of whole answers as a share of capacity, at `times` the capacity offered."""
    calls_s, tokens_s = capacity(habits, USUAL)
    stage = Stage(seed, {"a": habits}, concurrency=concurrency)
    stage.callers.pour(USUAL, times * calls_s, 0.0, seconds)
    stage.run()
    done = stage.done(WARM_S, seconds)
    return sum(one.tokens for one in done) / (seconds - WARM_S) / tokens_s


def shares(offers: tuple[int, ...], seed: int = 1, seconds: float = 240.0) -> dict[str, float]:
    """Give each tenant's tokens over its fair share; the least one offers 1.3 times its share."""
    habits = Habits(slots=SLOTS)
    calls_s, _ = capacity(habits, USUAL)
    unit = 1.3 * calls_s / len(offers) / min(offers)
    stage = Stage(seed, {"a": habits}, concurrency=SLOTS)
    for number, offer in enumerate(offers):
        kind = Kind(key=f"tenant {number + 1} of {offer}", total_s=120.0)
        stage.callers.pour(kind, offer * unit, 0.0, seconds)
    stage.run()
    tokens: Counter[str] = Counter()
    for one in stage.done(WARM_S, seconds):
        tokens[one.call.key] += one.tokens + one.call.prompt_tokens
    return {key: some * len(offers) / tokens.total() for key, some in sorted(tokens.items())}


def urgent_wait_s(
    share: float, flood: float, concurrency: int, seed: int = 1
) -> tuple[float, float]:
    """Give how long interactive calls wait (99 of 100 less), and which share of them is answered.

    They offer `share` of the capacity, while batch calls offer `flood` times of it.
    """
    seconds, habits = 240.0, Habits(slots=SLOTS)
    calls_s, _ = capacity(habits, USUAL)
    stage = Stage(seed, {"a": habits}, concurrency=concurrency)
    batch = Kind(key="batch", priority=BATCH)
    person = Kind(key="person", priority=INTERACTIVE, total_s=60.0)
    stage.callers.pour(batch, flood * calls_s, 0.0, seconds)
    stage.callers.pour(person, share * calls_s, 0.0, seconds)
    stage.run()
    assert stage.callers.outcomes is not None
    urgent = [one for one in stage.callers.outcomes if one.kind is person]
    waits = sorted((one.sent_at or one.ended_at) - one.began_at for one in urgent)
    answered = sum(_is_done(one) for one in urgent) / len(urgent)
    return waits[int(0.99 * len(waits))], answered


@dataclass(frozen=True)
class Advice:
    """How right `Retry-After` was: as a share within a factor of two, and over the true wait."""

    refusals: int
    within_two: float
    middle: float
    answered: float
    """Share of callers who were answered in the end, by obeying."""


def advice(times: float, line: int, tries_max: int = 1, seed: int = 1) -> Advice:
    """Compare what refused callers are told with how long the line before them then took."""
    seconds, habits = 300.0, Habits(slots=SLOTS)
    calls_s, _ = capacity(habits, USUAL)
    stage = Stage(seed, {"a": habits}, concurrency=SLOTS, queue=Queue(size=line))
    told: list[tuple[float, int, float]] = []

    def hear(outcome: Outcome) -> None:
        now = stage.kernel.now
        if outcome.fact in {SHED, EXPIRED} and WARM_S < now < seconds - WARM_S:
            told.append((now, len(stage.gate.line), outcome.retry_after_s))

    stage.callers.on_outcome = hear
    stage.callers.pour(Kind(total_s=120.0, tries_max=tries_max), times * calls_s, 0.0, seconds)
    stage.run()
    outcomes = stage.callers.outcomes or []
    sent = sorted(one.sent_at for one in outcomes if one.sent_at is not None)
    ratios = []
    for now, waiting, retry_after_s in told:
        served = bisect_right(sent, now) + waiting - 1
        if waiting and served < len(sent):
            ratios.append(retry_after_s / max(sent[served] - now, 0.01))
    ratios.sort()
    within_two = sum(0.5 <= ratio <= 2.0 for ratio in ratios) / len(ratios)
    answered = sum(map(_is_done, outcomes)) / stage.callers.offered
    return Advice(len(ratios), within_two, ratios[len(ratios) // 2], answered)


def follow(
    moves: list[tuple[float, int]], excess: str, has_second: bool, seed: int = 1
) -> list[tuple[int, float]]:
    """Give, for each hidden limit, what was found of it a minute after it moved.

    `moves` are times and slots, two minutes apart at least; what is found is the mean number of
    calls in flight over the hidden limit. With a second backend, refused calls fail over.
    """
    habits = Habits(slots=moves[0][1], excess=excess)  # type: ignore[arg-type]
    calls_s, _ = capacity(habits, USUAL)
    fleet = {"a": habits, "b": habits} if has_second else {"a": habits}
    most = max(slots for _, slots in moves)
    stage = Stage(seed, fleet, concurrency=most * 5 // 4, ceiling=3 * most)
    for when, slots in moves:
        stage.kernel.at(when, lambda slots=slots: stage.providers["a"].resize(slots))
    seconds = moves[-1][0] + 120.0
    stage.callers.pour(USUAL, 3.0 * calls_s * len(fleet), 0.0, seconds)
    seen: list[tuple[float, int]] = []

    def look() -> None:
        seen.append((stage.kernel.now, stage.gate.seats["a"].in_flight))
        if stage.kernel.now < seconds:
            stage.kernel.at(stage.kernel.now + 0.5, look)

    stage.kernel.at(0.0, look)
    stage.run()
    return [
        (slots, mean(held for at, held in seen if when + 60 < at <= when + 120) / slots)
        for when, slots in moves
    ]


@dataclass(frozen=True)
class Week:
    """What became of a week's calls, and what their attempts met on the way."""

    calls: int
    answered: int
    failed: Counter[Fact]
    met: Counter[Fact]
    notes: tuple[str, ...]
    """The first calls that failed: when, after how long, and on what."""

    @property
    def share(self) -> float:
        """The part of all calls that was answered completely."""
        return self.answered / self.calls


def week(seconds: float, per_s: float, seed: int = 1, second_fails: bool = True) -> Week:
    """Run two backends with equal weights that each fail, and go dark in turns."""
    habits = Habits(slots=SLOTS)
    stage = Stage(seed, {"a": habits, "b": habits}, concurrency=SLOTS, total_s=120.0)
    stage.callers.outcomes = None
    providers = stage.providers
    providers["a"].troubles = FAILING
    if second_fails:
        providers["b"].troubles = FAILING
    darken(stage, seconds)
    failed: Counter[Fact] = Counter()
    notes: list[str] = []
    whole = 0

    def hear(outcome: Outcome) -> None:
        nonlocal whole
        if _is_done(outcome):
            whole += 1
            return
        failed[outcome.fact] += 1
        if len(notes) < 20:
            took_s = outcome.ended_at - outcome.began_at
            notes.append(f"{outcome.began_at:.0f} s, after {took_s:.1f} s: {outcome.fact.label}")

    stage.callers.on_outcome = hear
    stage.callers.pour(Kind(total_s=120.0, streams=0.8), per_s, 0.0, seconds)
    stage.run()
    met: Counter[Fact] = Counter()
    for provider in providers.values():
        met += provider.books.ends
    return Week(stage.callers.offered, whole, failed, met, tuple(notes))


def darken(stage: Stage, seconds: float) -> None:
    """Let each backend go dark for a minute in every half hour, in another way each time."""
    for number, provider in enumerate(stage.providers.values()):
        when = DARK_EVERY_S * (number / len(stage.providers) + 0.25)
        ways = ("hangs", "refuses", "resets")
        turn = number
        while when < seconds:
            way = ways[turn % len(ways)]
            stage.kernel.at(when, lambda provider=provider, way=way: provider.darken(way))
            stage.kernel.at(when + DARK_S, provider.lighten)
            when += DARK_EVERY_S
            turn += 1
