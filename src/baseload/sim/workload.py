"""Who calls, how often, and what became of it: callers on simulated time.

A source is one tenant's stream of calls: they come at random, so many a second on average, without
waiting for each other's answers (which is what makes an overload an overload). Callers may obey a
refusal's `Retry-After` and come back, and may leave before they are answered.

Not here: recorded traffic, and what a provider makes of a call (`provider`).
"""

from collections import Counter
from collections.abc import Callable
from math import exp
from random import Random
from typing import NamedTuple

import msgspec

from baseload.core.facts import DEFAULT, DONE, GONE, Call, Fact, Relay, Reply, Send
from baseload.core.gate import Gate
from baseload.sim.driver import Driver, Tell
from baseload.sim.kernel import Kernel
from baseload.sim.provider import Answer, Provider


class Providers:
    """The world of a driver: providers by the names of their backends, and everybody's answers."""

    def __init__(
        self, providers: list[Provider], rng: Random, *, spread: float = 0.5, unfit: float = 0.0
    ) -> None:
        self.by_name = {provider.name: provider for provider in providers}
        self.answers: dict[int, Answer] = {}
        """By call; whoever hears of a call's end takes its answer out."""
        self._rng = rng
        self._spread = spread
        """Standard deviation of the logarithm of a true length over the expected one."""
        self._unfit = unfit
        """Share of streams that nobody can continue, as if they used tools."""
        self.on_begin: Callable[[Send], None] = lambda _ask: None

    def begin(self, ask: Send | Relay, tell: Tell) -> None:
        """Pass an ask to the provider that it is for."""
        call = ask.call
        if (answer := self.answers.get(call.id)) is None:
            length = call.answer_tokens * exp(self._rng.gauss(0.0, self._spread))
            is_continuable = not call.is_stream or self._rng.random() >= self._unfit
            answer = self.answers[call.id] = Answer(max(1, round(length)), is_continuable)
        if isinstance(ask, Send):
            self.on_begin(ask)
        self.by_name[ask.target.backend].begin(ask, tell, answer)

    def cancel(self, ask: Send | Relay) -> None:
        """Pass on that nobody wants an answer any more."""
        self.by_name[ask.target.backend].cancel(ask)


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """What a source's calls are like."""

    model: str = "m"
    key: str = ""
    priority: int = DEFAULT
    total_s: float = 600.0
    prompt_tokens: int = 400
    answer_tokens: int = 200
    """Expected; true lengths are spread around it."""
    streams: float = 1.0
    """Share of calls whose answers are streamed."""
    leaves: float = 0.0
    """Share of callers that give up after `leaves_s` on average."""
    leaves_s: float = 5.0
    tries_max: int = 1
    """How often a caller asks in all, if it is not answered."""
    returns_s: float = 0.0
    """After how long it asks again, whatever it was told; 0: it obeys `Retry-After`."""


class Outcome(NamedTuple):
    """What became of one call: `began_at` it came, `sent_at` it was first sent (or never)."""

    call: Call
    kind: Kind
    tries: int
    began_at: float
    sent_at: float | None
    ended_at: float
    fact: Fact
    retry_after_s: float
    tokens: int
    """Tokens of the answer that the caller has."""
    is_whole: bool
    """Every token of the answer is there."""


class Sources:
    """All callers of a run, on one driver. `outcomes` has what became of each call, in order."""

    def __init__(self, kernel: Kernel, gate: Gate, world: Providers, rng: Random) -> None:
        self.driver = Driver(kernel, gate, world)
        self.driver.journal = None
        self.driver.on_reply = self._hear
        world.on_begin = self._note_begin
        self.outcomes: list[Outcome] | None = []
        """Set it to None where a long run would fill the memory."""
        self.on_outcome: Callable[[Outcome], None] = lambda _outcome: None
        self.replies: Counter[Fact] = Counter()
        self.offered = 0
        """First tries; a caller that comes back is not counted again."""
        self._kernel = kernel
        self._world = world
        self._rng = rng
        self._ids = 0
        self._live: dict[int, tuple[Kind, int, float]] = {}
        self._sent_at: dict[int, float] = {}

    def pour(self, kind: Kind, per_s: float, begin: float, end: float) -> None:
        """Let calls come at random, `per_s` (over 0) on average, from `begin` until `end`."""
        when = begin + self._rng.expovariate(per_s)
        if when < end:
            self._kernel.at(when, lambda: self._come(kind, per_s, when, end))

    def start(self, kind: Kind, tries: int = 1) -> None:
        """Let one call come now."""
        now, rng = self._kernel.now, self._rng
        self._ids += 1
        self.offered += tries == 1
        call = Call(
            self._ids,
            kind.model,
            now + kind.total_s,
            is_stream=kind.streams >= 1.0 or rng.random() < kind.streams,
            key=kind.key,
            priority=kind.priority,
            prompt_tokens=kind.prompt_tokens,
            answer_tokens=kind.answer_tokens,
        )
        self._live[call.id] = kind, tries, now
        if kind.leaves and rng.random() < kind.leaves:
            leaves_at = now + rng.expovariate(1.0 / kind.leaves_s)
            self._kernel.at(leaves_at, lambda: self.driver.cancel(call))
        self.driver.start(call)

    def _come(self, kind: Kind, per_s: float, now: float, end: float) -> None:
        self.start(kind)
        self.pour(kind, per_s, now, end)

    def _note_begin(self, ask: Send) -> None:
        self._sent_at.setdefault(ask.call.id, self._kernel.now)

    def _hear(self, reply: Reply) -> None:
        call, fact, now = reply.call, reply.fact, self._kernel.now
        self.replies[fact] += 1
        kind, tries, began_at = self._live.pop(call.id)
        answer = self._world.answers.pop(call.id, None)
        outcome = Outcome(
            call,
            kind,
            tries,
            began_at,
            self._sent_at.pop(call.id, None),
            now,
            fact,
            reply.retry_after_s,
            answer.said if answer is not None else 0,
            answer is not None and answer.said == answer.whole,
        )
        if self.outcomes is not None:
            self.outcomes.append(outcome)
        self.on_outcome(outcome)
        pause_s = kind.returns_s or reply.retry_after_s
        if fact is not DONE and fact is not GONE and pause_s and tries < kind.tries_max:
            self._kernel.at(now + pause_s, lambda: self.start(kind, tries + 1))
