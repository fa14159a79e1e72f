"""`POST /v1/messages/count_tokens`: how large is a prompt, without asking a model?

Where a backend of the first tier that can be used knows how to count, it is asked, for a bounded
time; else the prompt is estimated. A header says which it was. This is no call: it needs no permit,
ends in no ledger, and a backend that does not answer is not blamed for it.

Not here: what is asked and what is estimated (`apis.counting`).
"""

import asyncio
from typing import Any, Protocol

import msgspec

from baseload.apis.anthropic.request import fields_of, prompt_of
from baseload.apis.counting import Question, estimate, first_question, next_step
from baseload.config.fleet import Fleet, Model
from baseload.core.breaker import Phase
from baseload.core.facts import Fact
from baseload.core.gate import Gate
from baseload.gateway.answering import Caller
from baseload.gateway.connection import Connection, Lease
from baseload.gateway.keeping import Manners
from baseload.gateway.upstream import Pool

COUNT_S_MAX = 1.0
"""How long a backend may take to count; all steps together."""
COUNTS_MAX = 64
"""Prompts that are counted by backends at once; beyond it prompts are estimated."""
COUNT_BYTES_MAX = 32 << 20
"""The largest answer of a backend that is read: it may list every token."""

_HEAD = b"content-type: application/json\r\nx-request-id: %b\r\nx-baseload-token-count: %b\r\n"


class House(Protocol):
    """What counting needs of the gateway."""

    fleet: Fleet
    gate: Gate
    pools: dict[str, Pool]
    manners: Manners


class TokenCounter:
    """Counts the prompts of one gateway."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.counts: set[_Count] = set()
        """Those that wait for a backend."""

    def read(self, body: bytes) -> dict[str, Any]:
        """Give a request's prompt as a chat's; raises `BadRequestError` for the caller."""
        return prompt_of(fields_of(body))

    def answer(
        self, caller: Caller, model: Model, prompt: dict[str, Any], request_id: bytes
    ) -> None:
        """Count, now or a little later."""
        found = self._backend(model, prompt) if len(self.counts) < COUNTS_MAX else None
        count = _Count(self, caller, prompt, request_id)
        if found is None:
            count.give_estimate()
        else:
            caller.busy = count
            self.counts.add(count)
            count.begin(*found)

    def _backend(self, model: Model, prompt: dict[str, Any]) -> tuple[Pool, Question] | None:
        """Find a backend that can count, in the first tier in which any can be used."""
        house = self._house
        for tier in model.tiers:
            usable = [name for name in tier if self._is_usable(name)]
            for name in usable:
                kind = house.fleet.backends[name].engine or house.manners.kind(name)
                question = first_question(kind, prompt, tier[name].model)
                if question is not None:
                    return house.pools[name], question
            if usable:
                return None
        return None

    def _is_usable(self, name: str) -> bool:
        seat = self._house.gate.seats[name]
        return seat.is_up and seat.breaker.phase is Phase.CLOSED


class _Count:
    """One prompt that is counted; to the caller's connection it is who makes the answer."""

    def __init__(
        self, counter: TokenCounter, caller: Caller, prompt: dict[str, Any], request_id: bytes
    ) -> None:
        self.lease: Lease | None = None
        self._counter, self._caller, self._prompt = counter, caller, prompt
        self._request_id = request_id
        self._timer: asyncio.TimerHandle | None = None
        self._body = bytearray()

    def begin(self, pool: Pool, question: Question) -> None:
        """Ask a backend."""
        self._timer = asyncio.get_running_loop().call_later(COUNT_S_MAX, self.give_estimate)
        self._pool = pool
        self._ask(question)

    def give_estimate(self) -> None:
        """Answer without a backend, or no longer wait for it."""
        self._answer(estimate(self._prompt), b"estimate", b"")

    # -- what the backend does ---------------------------------------------------------------

    def on_answer(self, connection: Connection, body: bytes, is_complete: bool) -> None:
        """Gather the answer, and read it when it is whole."""
        self._body += body
        if is_complete:
            self.lease = None
            self._take(connection.status)
        elif len(self._body) > COUNT_BYTES_MAX:
            self.give_estimate()

    def on_lost(self, reason: str, fact: Fact) -> None:
        """Do without it."""
        self.lease = None
        self.give_estimate()

    def _ask(self, question: Question) -> None:
        self._question, self._body = question, bytearray()
        head = b"%bX-Request-Id: %b\r\nContent-Length: %d\r\n\r\n" % (
            self._pool.head(question.path), self._request_id, len(question.body),
        )  # fmt: skip
        self._pool.send(self, (head, question.body))

    def _take(self, status: int) -> None:
        step = next_step(self._question.path, bytes(self._body)) if status == 200 else None
        if step is None:
            self.give_estimate()
        elif isinstance(step, Question):
            self._ask(step)
        else:
            self._answer(step, b"tokenizer", self._pool.identity)

    # -- what the caller does ----------------------------------------------------------------

    def caller_gone(self) -> None:
        """Nobody wants to know any more."""
        self._stop()

    def pause(self) -> None:
        """The answer is one small piece: there is nothing to slow down."""

    def resume(self) -> None:
        """The same."""

    # -- within ------------------------------------------------------------------------------

    def _answer(self, tokens: int, how: bytes, identity: bytes) -> None:
        self._stop()
        body = msgspec.json.encode({"input_tokens": tokens})
        self._caller.answer(200, _HEAD % (self._request_id, how) + identity, body)

    def _stop(self) -> None:
        self._counter.counts.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        lease, self.lease = self.lease, None
        if lease is not None:
            lease.cancel()
