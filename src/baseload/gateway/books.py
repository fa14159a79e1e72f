"""What a call may take of its key's limits, what it took in the end, and what that cost.

Every call is settled here exactly once, when its flow has ended, however it ended: counters move,
what was set aside is given back but for what was used, and a line goes to the ledger. A caller who
vanished has used what the backend had said until then. Attempts that came to nothing are counted
as attempts and cost nothing.

Each part of an answer that was passed on is counted as its backend reports it, with the prompt that
it was sent: a resumed answer has several, and each is paid for. What a backend does not report is
counted by events of its stream, or estimated from the text, and the line is marked. Where a part
was taken from a backend without a known price, the cost of the whole is unknown, which is not 0.

What an answer took in energy is an estimate: the tokens that were written, by what a token took
lately at the backend that wrote the last of them. Where no sensor tells, it is unknown.

Calls that were refused before anything was sent are counted and not written down: under overload
they are the most frequent, and they took nothing.
"""

from collections import Counter
from collections.abc import Callable
from time import time
from typing import Protocol

from msgspec.structs import astuple

from baseload.apis.estimate import answer_tokens, tokens_of
from baseload.apis.openai import Usage
from baseload.config.fleet import Model, Target
from baseload.core.facts import BATCH, DONE, EXPIRED, GONE, SHED, Call, Fact
from baseload.core.quota import Hold, Scope, Verdict
from baseload.core.rates import Rate, Tariff
from baseload.gateway.attempt import HELD_BYTES_MAX, Attempt
from baseload.gateway.live.spending import Spending
from baseload.gateway.telemetry import POSTPONED, Telemetry
from baseload.gateway.tenants import Tenant
from baseload.gateway.tracing import Trace
from baseload.store.counters import Counters
from baseload.store.entry import Entry

_NO_ROOM = (SHED, EXPIRED)
Spent = tuple[int, int, int, int, float | None, bool]
"""Tokens in, of them cached, tokens out, of them thoughts; US dollars, None if some of it was taken
where no price is known; whether tokens were estimated."""
NOTHING: Spent = (0, 0, 0, 0, 0.0, False)


class Ledger(Protocol):
    """Where finished calls are written down; it never blocks and never raises."""

    def enter(self, entry: Entry) -> None:
        """Take a line."""


class Observer(Protocol):
    """Whoever else wants to hear of finished calls; it never blocks and never raises."""

    def saw(self, entry: Entry, trace: Trace | None) -> None:
        """Hear of a call, and of its place in a trace."""


class Account(Protocol):
    """A call that ends, as far as the books need to know."""

    call: Call
    tenant: Tenant
    api: str
    request_id: bytes
    hold: Hold | None
    trace: Trace | None
    attempts: int
    resumes: int
    is_hedged: bool
    is_assembled: bool
    started_at: float
    sent_at: float
    first_token_at: float
    backend: str
    spent: Spent | None


class Books:
    """One gateway's books."""

    def __init__(
        self,
        telemetry: Telemetry,
        tariff: Tariff,
        counters: Counters | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self.telemetry = telemetry
        self.tariff = tariff
        self.counters = counters
        self.ledger = ledger
        self.observers: tuple[Observer, ...] = ()
        self.spending = Spending()
        self._joules_per_token: dict[str, float] = {}
        self._written: Counter[str] = Counter()
        """Tokens that each backend wrote since that was last asked."""
        self._rates: dict[tuple[str, str], Rate | None] = {}
        """Rates as of this minute, looked up already."""
        self._dearest_rates: dict[str, Rate | None] = {}
        self._moment = ""

    def hold(
        self, scopes: tuple[Scope, ...], prompt_tokens: int, answer_tokens: int, model: Model
    ) -> Hold:
        """Give what a call may take at most, all its answers together."""
        name, rates = model.name, self._dearest_rates
        rate = rates[name] if name in rates else self._dearest(model)
        usd = 0.0 if rate is None else rate.cost_usd(prompt_tokens, 0, answer_tokens)
        return Hold(scopes, prompt_tokens + answer_tokens, usd)

    def reserve(self, hold: Hold, then: Callable[[Verdict], None]) -> Verdict | None:
        """Set aside; give the verdict, or None if `then` will be called with it."""
        assert self.counters is not None
        return self.counters.reserve(hold, then)

    def spend(self, call: Account, attempt: Attempt) -> None:
        """Note what a part of an answer took, as another attempt is to go on with it."""
        if self.ledger is not None or self.observers or call.hold is not None:
            call.spent = self._sum(call, attempt)

    def settle(
        self, call: Account, fact: Fact, attempt: Attempt | None, is_given: bool, now: float
    ) -> None:
        """Close the account of a call that has ended.

        `is_given` says whether what the last attempt said was passed on, at least a part of it.
        """
        self._count(call, fact, attempt, now)
        hold = call.hold
        is_kept = attempt is not None and (self.ledger is not None or self.observers)
        if hold is None and not is_kept:
            return
        if call.is_assembled and fact is not DONE and fact is not GONE:
            spent = NOTHING  # What was put together so far was given to nobody.
        elif is_given and attempt is not None:
            spent = self._sum(call, attempt)
        else:
            spent = call.spent or NOTHING
        if self.counters is not None:
            self._charge(self.counters, call, spent)
        if is_kept and attempt is not None:
            line = self._line(call, fact, attempt.send.target, spent, now)
            # That it cost nothing does not say that there is a price.
            series = self.telemetry.series(call.call.model, call.backend)
            series.paid(None if spent is NOTHING else spent[4])
            self.spending.add(call.tenant.label, spent[0], spent[1], spent[2], spent[4])
            if self.ledger is not None:
                self.ledger.enter(line)
            for observer in self.observers:
                observer.saw(line, call.trace)

    def _charge(self, counters: Counters, call: Account, spent: Spent) -> None:
        """Settle with the limits; what was spent is noted for budgets that are still to come."""
        usd = spent[4] or 0.0
        if call.hold is not None:
            counters.settle(call.hold, spent[0] + spent[2], usd)
        if usd:
            counters.quota.past.spend(call.tenant.label, call.call.model, usd, time())

    def _line(self, call: Account, fact: Fact, target: Target, spent: Spent, now: float) -> Entry:
        """Give a call's line in the ledger."""
        asked, began, first_at = call.call, call.started_at, call.first_token_at
        prompt, cached, completion, reasoning, cost, is_estimated = spent
        backend = target.backend
        energy_j = None
        if completion:
            self._written[backend] += completion
            if (joules := self._joules_per_token.get(backend)) is not None:
                energy_j = joules * completion
        return Entry(
            time(), call.request_id.decode(), call.tenant.label, call.api, asked.model,
            target.model, backend, fact.label, asked.priority, call.attempts, call.resumes,
            call.is_hedged, asked.is_stream, call.sent_at - began,
            first_at - began if first_at else None, now - began,
            prompt, cached, completion, reasoning, is_estimated, cost, energy_j,
        )  # fmt: skip

    def _count(self, call: Account, fact: Fact, attempt: Attempt | None, now: float) -> None:
        series = self.telemetry.series(call.call.model, call.backend)
        is_patient = call.call.priority == BATCH
        outcome = POSTPONED if is_patient and fact in _NO_ROOM else fact.label
        series.ended(outcome, now - call.started_at, usage_of(attempt))
        if call.first_token_at:
            if not is_patient:  # Patient calls wait for room; that they do says nothing of speed.
                series.first_token_s.add(call.first_token_at - call.started_at)
            if attempt is not None and (events := attempt.events) > 1:
                between_s = (now - call.first_token_at) / (events - 1)
                self.telemetry.between_tokens.add(between_s)
                series.token_gap_s.add(between_s)

    def _sum(self, call: Account, attempt: Attempt) -> Spent:
        """Add what an attempt took to what others before it did."""
        usage = attempt.usage if (script := attempt.script) is None else script.usage
        counts = None if usage is None else usage.counts()
        is_estimated = counts is None or not counts[0]
        if counts is None or not counts[0]:  # Every prompt has a token: nobody has counted it.
            counts = _estimated(call.call, attempt, counts)
        prompt, cached, completion, reasoning = counts
        target = attempt.send.target
        key = (target.backend, target.model)
        rate = self._rates[key] if key in self._rates else self._look_up(key)
        cost = None if rate is None else rate.cost_usd(prompt, cached, completion)
        if (before := call.spent) is None:
            return prompt, cached, completion, reasoning, cost, is_estimated
        is_known = cost is not None and before[4] is not None
        return (
            before[0] + prompt, before[1] + cached, before[2] + completion, before[3] + reasoning,
            (cost or 0.0) + (before[4] or 0.0) if is_known else None, is_estimated or before[5],
        )  # fmt: skip

    def reprice(self, tariff: Tariff) -> None:
        """Reckon by another tariff from now on."""
        self.tariff = tariff
        self._rates.clear()
        self._dearest_rates.clear()

    def weigh(self, joules_per_token: dict[str, float]) -> dict[str, int]:
        """Go by these from now on; give the tokens that each backend wrote since the last time."""
        self._joules_per_token = joules_per_token
        written, self._written = self._written, Counter()
        return dict(written)

    def _look_up(self, key: tuple[str, str]) -> Rate | None:
        rate = self._rates[key] = self.tariff.rate(*key, self._moment)
        return rate

    def tell_time(self, moment: str) -> None:
        """Hear which minute it is, written `2026-11-26T09:30`: prices may have changed."""
        if moment != self._moment:
            self._moment = moment
            self._rates.clear()
            self._dearest_rates.clear()

    def _dearest(self, model: Model) -> Rate | None:
        """Give the most that a model may cost: nobody knows yet where it will be answered."""
        found = (
            self._look_up((target.backend, target.model))
            for tier in model.tiers
            for target in tier.values()
        )
        most = None
        if rates := [astuple(rate) for rate in found if rate is not None]:
            most = Rate(*(max(kind) for kind in zip(*rates, strict=True)))
        self._dearest_rates[model.name] = most
        return most


def usage_of(attempt: Attempt | None) -> Usage | None:
    """Give what the backend counted; None if it did not say."""
    if attempt is None:
        return None
    return attempt.usage if attempt.script is None else attempt.script.usage


def taken_by(attempt: Attempt, call: Call) -> int:
    """Give what an answer took, as reported or as counted."""
    if (usage := usage_of(attempt)) is not None:
        return usage.prompt_tokens + usage.completion_tokens
    return call.prompt_tokens + attempt.events if attempt.events else 0


def _estimated(
    call: Call, attempt: Attempt, counts: tuple[int, int, int, int] | None
) -> tuple[int, int, int, int]:
    """Give the prompt as estimated; of the answer what was reported, if anything was."""
    if counts is None or not counts[2]:
        return call.prompt_tokens, 0, _counted(call, attempt), 0
    return call.prompt_tokens, 0, counts[2], counts[3]


def _counted(call: Call, attempt: Attempt) -> int:
    """Count, or estimate, the tokens of an answer whose backend did not."""
    if attempt.script is not None:
        return attempt.events
    if call.is_whole:
        return 0
    if attempt.held:
        return answer_tokens(attempt.held[0])
    return tokens_of(HELD_BYTES_MAX)  # It was too large to be held, and had so much at least.
