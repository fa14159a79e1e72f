"""What the caller of one call is given, and what is known of it afterwards.

An answer is begun once and ended once. What was given of it is kept while it may still break, so
that it can be gone on with elsewhere; a caller who wants no stream is given all of it at the end,
put together from the events of one. A caller who wants a stream and has nothing to read is sent a
comment now and then, so that nobody on the way takes the silence for the end: from then on a
failure can only be told inside the stream, before that it is a status.

Not here: where the answer comes from (`exchange`).
"""

from math import inf
from typing import Protocol

from baseload.apis import openai
from baseload.apis.assemble import AssemblyError
from baseload.apis.chunks import END_EVENT
from baseload.apis.resume import can_continue
from baseload.apis.seam import note
from baseload.core.facts import BROKEN, CUT, DONE, Call, Fact, Reply
from baseload.core.gate import Gate
from baseload.core.quota import Hold, Verdict
from baseload.gateway.attempt import JSON_HEAD, Attempt
from baseload.gateway.books import Books
from baseload.gateway.driver import Driver
from baseload.gateway.keeping import Kept, Manners
from baseload.gateway.refusals import REFUSALS
from baseload.gateway.server import Busy
from baseload.gateway.telemetry import Telemetry
from baseload.gateway.tenants import Tenant
from baseload.gateway.tracing import Trace
from baseload.gateway.upstream import Pool

KEEP_ALIVE = b": keep-alive\n\n"
_STREAM_HEAD = b"content-type: text/event-stream\r\nx-request-id: %b\r\n"


class Plane(Protocol):
    """What all calls share, as far as one of them needs it."""

    gate: Gate
    driver: Driver
    telemetry: Telemetry
    pools: dict[str, Pool]
    manners: Manners
    books: Books

    def note_failure(self, backend: str, fact: Fact, reason: str, request_id: bytes) -> None:
        """Keep and log what went wrong at a backend."""


class Caller(Protocol):
    """Whoever is answered: a connection, a crowd of them, or what translates for one."""

    busy: Busy | None
    """Who makes the answer; set before the call begins."""

    def answer(self, status: int, head: bytes, body: bytes) -> None:
        """Give a whole answer."""

    def begin(self, status: int, head: bytes, first: bytes) -> None:
        """Begin an answer of unknown length."""

    def write(self, body: bytes) -> None:
        """Give more of it."""

    def end(self, last: bytes) -> None:
        """End it."""

    def abort(self) -> None:
        """Break it off."""


class Answering:
    """One caller's answer, from nothing to its end."""

    call: Call
    tenant: Tenant
    caller: Caller | None
    request_id: bytes
    started_at: float
    # Defaults stand on the class: most calls need few of these.
    is_assembled = False
    """The caller wants no stream and is answered from one."""
    is_begun = False
    """The caller has been given the beginning of a stream, perhaps only a comment."""
    keepalive_s = inf
    """After so long a silence the caller of a stream is sent a comment."""
    _gateway: Plane
    path: bytes
    """The path below the base URL."""
    body: bytes
    """The request's bytes, as long as they may be needed."""
    _heard_at: float
    """When the caller was last given a token, or the call began."""
    attempts = events = 0
    """How many attempts were made; how many events were passed on by those that are over."""
    resumes = 0
    """How often the answer was gone on with elsewhere."""
    is_hedged = False
    sent_at = 0.0
    """When the first attempt was made."""
    trace: Trace | None = None
    """Its place in a trace, if it is traced here."""
    trace_line = b""
    """What tells a backend of the trace."""
    api = "chat/completions"
    """How the call was asked."""
    hold: Hold | None = None
    """What is set aside of its key's limits."""
    verdict: Verdict | None = None
    """How these limits stand."""
    _is_raw = _is_paused = False
    """`_is_raw`: the caller has been given the beginning of an answer that is no stream."""
    _kept: Kept | None = None
    _answer = _head = _notes = b""
    """A whole answer put together; its head; comments on where it was resumed."""
    _kept_alive_at = 0.0
    first_token_at = 0.0
    backend = _reason = ""
    """Where the call was last tried, and what went wrong there."""

    # -- the beginning -----------------------------------------------------------------------

    def _keep(self, attempt: Attempt) -> None:
        """Begin to keep what is given, or go on; without need of it, let the request go."""
        if attempt.seam is not None:
            self._gateway.telemetry.resumes += 1
            self.resumes += 1
            self._notes += note(self.backend, attempt.resumed_at)
            # Resumed twice, it is the last one that is named: a header may stand there only once.
            begun = self._head.partition(b"x-baseload-resumed")[0]
            self._head = begun + b"x-baseload-resumed: %b\r\n" % self.backend.encode()
            return
        self._head = self._head_of(attempt)
        if attempt.script is not None:
            may_resume = self._gateway.gate.may_resume(self.call)
            if may_resume or self.is_assembled:
                self._kept = Kept(is_continuable=may_resume, is_assembled=self.is_assembled)
                return
        self.body = b""  # Nobody else will be asked, and a prompt may be large.

    def _commit(self, attempt: Attempt, held: bytes) -> None:
        """Give the caller what was held back."""
        assert self.caller is not None
        if self._kept is not None:
            self._kept.add(held)
        if self.is_begun:
            if held:
                self.caller.write(held)
            return
        if attempt.script is not None:
            self.is_begun = True
        else:
            self._is_raw = True
            self.keepalive_s = inf
        self.caller.begin(attempt.status, self._head, held)
        self._head = attempt.head = b""  # It is sent; a stream may last, and there may be many.

    def _say_alive(self, now: float) -> None:
        """Send a comment, and the head of a stream before it if there was none yet."""
        assert self.caller is not None
        self._kept_alive_at = now
        self._gateway.telemetry.keepalives += 1
        if self.is_begun:
            self.caller.write(KEEP_ALIVE)
        else:
            self.is_begun = True
            self.caller.begin(200, _STREAM_HEAD % self.request_id, KEEP_ALIVE)

    def _silent_until(self) -> float:
        """Give when the caller has had nothing for too long."""
        if self._is_paused or self.caller is None:
            return inf
        return max(self._heard_at, self._kept_alive_at) + self.keepalive_s

    # -- on the way --------------------------------------------------------------------------

    def show(self, event: bytes) -> None:
        """Give a backend's own words on why it ends here."""
        if self.caller is not None and self.is_begun:
            self.caller.write(event)

    def fact_of_break(self) -> Fact:
        """Say whether the answer can go on elsewhere; the request is looked at only now."""
        if self.is_assembled:
            return CUT
        kept = self._kept
        if kept is None or kept.said() is None or not can_continue(self.path, self.body):
            return BROKEN
        return CUT

    def _assemble(self, attempt: Attempt) -> tuple[Fact, str]:
        """Put an answer together that has come to its end."""
        if self._kept is None:
            return DONE, ""
        try:
            self._kept.add(attempt.tail)
            self._answer = self._kept.answer()
        except AssemblyError as error:
            return BROKEN, str(error)
        return DONE, ""

    # -- the end -----------------------------------------------------------------------------

    def _finish(self, caller: Caller, attempt: Attempt) -> None:
        """Give the end of an answer that was passed on; every stream has the terminator."""
        script = attempt.script
        if script is None:
            caller.end(attempt.tail)
        elif self.is_assembled:
            caller.answer(200, JSON_HEAD + self._head.partition(b"\r\n")[2], self._answer)
        elif script.has_end:
            caller.end(attempt.tail)
        else:
            caller.end(attempt.tail + self._notes + END_EVENT)

    def _give_whole(self, caller: Caller, attempt: Attempt) -> None:
        """Give an answer or a refusal in one piece, or as what it can be in a stream."""
        if self.is_begun:
            caller.end(openai.as_event(attempt.held[0], self.request_id.decode()))
        else:
            caller.answer(attempt.status, self._head_of(attempt), attempt.held[0])

    def _head_of(self, attempt: Attempt) -> bytes:
        """Give the lines of an answer's head, with how many attempts it took."""
        if self.attempts == 1:
            return attempt.head
        return attempt.head + b"x-baseload-attempts: %d\r\n" % self.attempts

    def _refuse(self, caller: Caller, reply: Reply) -> None:
        """Say that there is no answer, or no more of it."""
        fact = reply.fact
        if self.is_begun and self.first_token_at and fact.is_retryable:
            fact = BROKEN  # Whatever happened last: what the caller holds is half an answer.
        refusal = REFUSALS[fact]
        last = f"; last tried was {self.backend}: {self._reason}" if self._reason else ""
        message = refusal.message.format(
            model=self.call.model, after=f"{reply.retry_after_s:g}", last=last
        )
        request_id = self.request_id.decode()
        if self.is_begun:
            caller.end(openai.error_event(message, refusal.kind, refusal.code, request_id))
        elif self._is_raw:
            caller.abort()
        else:
            body = openai.error_body(message, refusal.kind, refusal.code, None, request_id)
            head = JSON_HEAD
            if reply.retry_after_s:
                head += b"retry-after: %d\r\n" % reply.retry_after_s
            head += b"x-request-id: %b\r\n" % self.request_id
            if self.backend:
                head += self._gateway.pools[self.backend].identity
            if self.attempts > 1:
                head += b"x-baseload-attempts: %d\r\n" % self.attempts
            caller.answer(refusal.status, head, body)
