"""What a call may take of its key's limits, what it took in the end, and what that cost.

Every call is settled here exactly once, when its flow has ended, however it ended: counters move,
what was set aside is given back but for what was used, and a line goes to the ledger. A caller who
vanished has used what the backend had said until then. Attempts that came to nothing are counted
as attempts and cost nothing.

Calls that were refused before anything was sent are counted and not written down: under overload
they are the most frequent, and they took nothing.
"""

from collections.abc import Callable
from time import time
from typing import Protocol

from baseload.apis.openai import Usage
from baseload.core.facts import Call, Fact
from baseload.core.quota import Hold, Verdict
from baseload.core.rates import Rate, Tariff
from baseload.gateway.attempt import Attempt
from baseload.gateway.telemetry import Telemetry
from baseload.gateway.tenants import Tenant
from baseload.gateway.tracing import Trace
from baseload.store.entry import Entry


class Counters(Protocol):
    """Where limits are counted: in this process, or for all replicas."""

    def reserve(self, hold: Hold, then: Callable[[Verdict], None]) -> Verdict | None:
        """Set aside; give the verdict, or None and then call with it later, soon and surely."""

    def settle(self, hold: Hold, tokens: int, usd: float) -> None:
        """Give back what was not used. Legal once, at any time after `reserve` was called."""


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
    events: int
    resumes: int
    is_hedged: bool
    started_at: float
    sent_at: float
    first_token_at: float
    backend: str


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
        self._rates: dict[tuple[str, str], Rate | None] = {}
        """Rates as of today, looked up already."""
        self._today = ""

    def reserve(self, hold: Hold, then: Callable[[Verdict], None]) -> Verdict | None:
        """Set aside; give the verdict, or None if `then` will be called with it."""
        assert self.counters is not None
        return self.counters.reserve(hold, then)

    def settle(self, call: Account, fact: Fact, attempt: Attempt | None, now: float) -> None:
        """Close the account of a call that has ended."""
        usage = usage_of(attempt)
        series = self.telemetry.series(call.call.model, call.backend)
        series.ended(fact, now - call.started_at, usage)
        if call.first_token_at:
            series.first_token_s.add(call.first_token_at - call.started_at)
        hold = call.hold
        if hold is None and not (call.attempts and (self.ledger or self.observers)):
            return
        self._settle(call, fact, attempt, usage, now)

    def _settle(
        self, call: Account, fact: Fact, attempt: Attempt | None, usage: Usage | None, now: float
    ) -> None:
        is_estimated = usage is None
        if usage is None:
            usage = Usage(call.call.prompt_tokens if call.first_token_at else 0, call.events)
        served = "" if attempt is None else attempt.send.target.model
        rate = self._rate(call.backend, served)
        prompt, cached, completion = (
            usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens,
        )  # fmt: skip
        cost = None if rate is None else rate.cost_usd(prompt, cached, completion)
        if call.hold is not None and self.counters is not None:
            self.counters.settle(call.hold, prompt + completion, cost or 0.0)
        if not call.attempts:
            return
        asked = call.call
        first_token_s = call.first_token_at - call.started_at if call.first_token_at else None
        entry = Entry(
            time(), call.request_id.decode(), call.tenant.label, call.api, asked.model, served,
            call.backend, fact.label, asked.priority, call.attempts, call.resumes,
            call.is_hedged, asked.is_stream, call.sent_at - call.started_at, first_token_s,
            now - call.started_at, prompt, cached, completion, usage.reasoning_tokens,
            is_estimated, cost,
        )  # fmt: skip
        if self.ledger is not None:
            self.ledger.enter(entry)
        for observer in self.observers:
            observer.saw(entry, call.trace)

    def new_day(self, day: str) -> None:
        """Hear which day it is, written `2026-11-26`: prices may have changed."""
        if day != self._today:
            self._today = day
            self._rates.clear()

    def _rate(self, backend: str, model: str) -> Rate | None:
        key = (backend, model)
        if key not in self._rates:
            self._rates[key] = self.tariff.rate(backend, model, self._today)
        return self._rates[key]


def usage_of(attempt: Attempt | None) -> Usage | None:
    """Give what the backend counted; None if it did not say."""
    if attempt is None:
        return None
    return attempt.usage if attempt.script is None else attempt.script.usage
