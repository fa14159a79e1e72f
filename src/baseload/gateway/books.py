"""What a call may take of its key's limits, what it took in the end, and what that cost.

Every call is settled here exactly once, when its flow has ended, however it ended: counters move,
what was set aside is given back but for what was used, and a line goes to the ledger. A caller who
vanished has used what the backend had said until then. Attempts that came to nothing are counted
as attempts and cost nothing.

Each part of an answer that was passed on is counted as its backend reports it, with the prompt that
it was sent: a resumed answer has several, and each is paid for. What a backend does not report is
counted by events of its stream, or estimated from the text, and the line is marked. Where a part
was taken from a backend without a known price, the cost of the whole is unknown, which is not 0.

Calls that were refused before anything was sent are counted and not written down: under overload
they are the most frequent, and they took nothing.
"""

from collections.abc import Callable
from time import time
from typing import Protocol

import msgspec

from baseload.apis.estimate import answer_tokens, tokens_of
from baseload.apis.openai import Usage
from baseload.core.facts import DONE, GONE, Call, Fact
from baseload.core.quota import Hold, Verdict
from baseload.core.rates import Rate, Tariff
from baseload.gateway.attempt import HELD_BYTES_MAX, Attempt
from baseload.gateway.telemetry import Telemetry
from baseload.gateway.tenants import Tenant
from baseload.store.entry import Entry

TOKENS_MAX = 1 << 40
"""A backend that reports more has not counted."""


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


class Spent(msgspec.Struct, gc=False):
    """What an answer has taken so far, in tokens and money."""

    prompt: int
    cached: int
    completion: int
    reasoning: int
    cost_usd: float | None
    """None: some of it was taken where no price is known."""
    is_estimated: bool


class Account(Protocol):
    """A call that ends, as far as the books need to know."""

    call: Call
    tenant: Tenant
    api: str
    request_id: bytes
    hold: Hold | None
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
        self._rates: dict[tuple[str, str], Rate | None] = {}
        """Rates as of this minute, looked up already."""
        self._moment = ""

    def reserve(self, hold: Hold, then: Callable[[Verdict], None]) -> Verdict | None:
        """Set aside; give the verdict, or None if `then` will be called with it."""
        assert self.counters is not None
        return self.counters.reserve(hold, then)

    def spend(self, call: Account, attempt: Attempt) -> None:
        """Add what an attempt took whose answer, or a part of it, was passed on."""
        if self.ledger is None and call.hold is None:
            return
        if (usage := usage_of(attempt)) is None or not _is_sound(usage):
            prompt, completion = call.call.prompt_tokens, _counted(call.call, attempt)
            cached = reasoning = 0
            is_estimated = True
        else:
            prompt, completion = usage.prompt_tokens, usage.completion_tokens
            cached, reasoning = usage.cached_tokens, usage.reasoning_tokens
            is_estimated = False
        target = attempt.send.target
        rate = self._rate(target.backend, target.model)
        cost = None if rate is None else rate.cost_usd(prompt, cached, completion)
        before = call.spent
        if before is None:
            call.spent = Spent(prompt, cached, completion, reasoning, cost, is_estimated)
            return
        before.prompt += prompt
        before.cached += cached
        before.completion += completion
        before.reasoning += reasoning
        before.is_estimated |= is_estimated
        is_known = cost is not None and before.cost_usd is not None
        before.cost_usd = before.cost_usd + cost if is_known else None  # type: ignore[operator]

    def settle(self, call: Account, fact: Fact, attempt: Attempt | None, now: float) -> None:
        """Close the account of a call that has ended."""
        series = self.telemetry.series(call.call.model, call.backend)
        series.ended(fact, now - call.started_at, usage_of(attempt))
        if call.first_token_at:
            series.first_token_s.add(call.first_token_at - call.started_at)
        if fact is DONE and attempt is not None and not attempt.is_relaying:
            self.spend(call, attempt)
        elif call.is_assembled and fact is not DONE and fact is not GONE:
            call.spent = None  # What was put together so far was given to nobody.
        if (hold := call.hold) is not None and self.counters is not None:
            spent = call.spent or NOTHING
            tokens = spent.prompt + spent.completion
            self.counters.settle(hold, tokens, spent.cost_usd or 0.0)
        if self.ledger is not None and attempt is not None:
            self._enter(self.ledger, call, fact, attempt, now)

    def _enter(
        self, ledger: Ledger, call: Account, fact: Fact, attempt: Attempt, now: float
    ) -> None:
        """Write a line into the ledger."""
        asked, target, spent = call.call, attempt.send.target, call.spent or NOTHING
        first_token_s = call.first_token_at - call.started_at if call.first_token_at else None
        ledger.enter(
            Entry(
                time(), call.request_id.decode(), call.tenant.label, call.api,
                asked.model, target.model, target.backend, fact.label, asked.priority,
                call.attempts, call.resumes, call.is_hedged, asked.is_stream,
                call.sent_at - call.started_at, first_token_s, now - call.started_at,
                spent.prompt, spent.cached, spent.completion, spent.reasoning, spent.is_estimated,
                spent.cost_usd,
            )
        )  # fmt: skip

    def tell_time(self, moment: str) -> None:
        """Hear which minute it is, written `2026-11-26T09:30`: prices may have changed."""
        if moment != self._moment:
            self._moment = moment
            self._rates.clear()

    def _rate(self, backend: str, model: str) -> Rate | None:
        key = (backend, model)
        if key not in self._rates:
            self._rates[key] = self.tariff.rate(backend, model, self._moment)
        return self._rates[key]


NOTHING = Spent(0, 0, 0, 0, 0.0, is_estimated=False)
"""What a call took that was passed nothing on. Never changed: `spend` makes each call its own."""


def usage_of(attempt: Attempt | None) -> Usage | None:
    """Give what the backend counted; None if it did not say."""
    if attempt is None:
        return None
    return attempt.usage if attempt.script is None else attempt.script.usage


def _is_sound(usage: Usage) -> bool:
    """Whether numbers can be tokens at all."""
    return 0 <= usage.prompt_tokens <= TOKENS_MAX and 0 <= usage.completion_tokens <= TOKENS_MAX


def _counted(call: Call, attempt: Attempt) -> int:
    """Count, or estimate, the tokens of an answer whose backend did not."""
    if attempt.script is not None:
        return attempt.events
    if call.is_whole:
        return 0
    if attempt.held:
        return answer_tokens(attempt.held[0])
    return tokens_of(HELD_BYTES_MAX)  # It was too large to be held, and had so much at least.
