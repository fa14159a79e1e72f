"""One call between its caller and the backends: the hands of its flow.

Until the first token everything a backend says is held back, so that another backend can still be
asked and the caller never knows. With the first token the answer is committed: what was held goes
out, and from then on bytes pass through as they came, cut only between events. At the end the
answer must prove to be whole. A stream without a finish reason, half an event, a silent backend:
each ends with an error that the caller can see, never as if nothing had happened.

An answer that is not streamed is held until it is whole, unless it outgrows `HELD_BYTES_MAX`.
"""

import logging
from math import inf
from typing import Protocol

from baseload.apis import openai
from baseload.apis.openai import END, ERROR, FINISH, GARBAGE, TOKEN, Event, Usage
from baseload.apis.sse import EventTooLongError, Splitter, events
from baseload.core.facts import (
    BROKEN,
    DONE,
    FAILED,
    FIRST_TOKEN,
    GONE,
    LOST,
    OVERDUE,
    REJECTED,
    SLOW,
    Call,
    Fact,
    Relay,
    Reply,
    Send,
    Told,
    fact_of_status,
)
from baseload.core.flow import Flow
from baseload.core.gate import Gate
from baseload.gateway.driver import Driver
from baseload.gateway.refusals import REFUSALS
from baseload.gateway.server import Client
from baseload.gateway.telemetry import Telemetry
from baseload.gateway.upstream import Connection, Lease, Pool

HELD_BYTES_MAX = 1 << 20
"""What may be held back of an answer before it is committed or given up."""

_JSON = b"content-type: application/json\r\n"
_EVENT_STREAM = b"text/event-stream"
logger = logging.getLogger("baseload.gateway")


class Plane(Protocol):
    """What all calls share, as far as one of them needs it."""

    gate: Gate
    driver: Driver
    telemetry: Telemetry
    pools: dict[str, Pool]

    def note_failure(self, backend: str, fact: Fact, reason: str, request_id: bytes) -> None:
        """Keep and log what went wrong at a backend."""


class Exchange:
    """What is known and held of one call while it is in flight."""

    flow: Flow
    has_choices = False
    """Several answers in one stream: then one finish reason is not the end of all."""
    lease: Lease | None = None
    due = inf
    events = 0
    # One attempt's answer, as far as it has been heard. Defaults stand on the class, because most
    # calls need one attempt and few of these.
    _status = _held_bytes = 0
    _head = _last = b""
    _is_sse = _is_finished = _is_relaying = _has_error = False
    _pool: Pool
    _splitter: Splitter
    _stall_s: float
    _send: Send
    _first_token_at = 0.0
    _backend = _reason = ""
    _usage: Usage | None = None

    def __init__(
        self, gateway: Plane, caller: Client, call: Call, path: bytes, body: bytes,
        request_id: bytes, now: float,
    ) -> None:  # fmt: skip
        self.call = call
        self.caller: Client | None = caller
        self.request_id = request_id
        self._gateway = gateway
        self._path, self._body = path, body
        self._started_at = now
        self._held: list[bytes] = []

    # -- what the flow asks ------------------------------------------------------------------

    def wait(self) -> None:
        """Keep the caller; the gate watches the clock."""
        self.due = inf

    def send(self, ask: Send) -> None:
        """Make an attempt with the caller's own bytes."""
        if self._backend:
            self._forget_attempt()
        target = ask.target
        self._backend = target.backend
        pool = self._pool = self._gateway.pools[target.backend]
        body = self._body
        if target.model != self.call.model:
            body = openai.rename_model(body, self.call.model, target.model)
        self.due = min(self._gateway.gate.now + ask.first_token_s, self.call.deadline)
        self._send = ask
        head = b"%bX-Request-Id: %b\r\nContent-Length: %d\r\n\r\n" % (
            pool.head(self._path), self.request_id, len(body),
        )  # fmt: skip
        pool.send(self, (head, body))

    def relay(self, ask: Relay) -> None:
        """Commit: from here on the caller sees what comes."""
        self._is_relaying = True
        self._body = b""  # Nobody else will be asked, and a prompt may be large.
        self._stall_s = ask.stall_s
        self._first_token_at = now = self._gateway.gate.now
        self.due = min(now + ask.stall_s, self.call.deadline)
        held, self._held = b"".join(self._held), []
        if self.caller is not None:
            self.caller.begin(self._status, self._head, held)

    def reply(self, reply: Reply) -> None:
        """End the call: give back what is lent, answer the caller, count."""
        fact, self.due = reply.fact, inf
        if self.lease is not None:
            self.lease.cancel()
            self.lease = None
        now = self._gateway.gate.now
        series = self._gateway.telemetry.series(self.call.model, self._backend)
        series.ended(fact, now - self._started_at, self._usage)
        if self._is_relaying:
            series.events += self.events
        if self._first_token_at:
            series.first_token_s.add(self._first_token_at - self._started_at)
        caller, self.caller = self.caller, None
        if caller is None:
            return
        if fact is DONE or fact is REJECTED:
            if self._is_relaying:
                caller.end(b"".join(self._held))
            else:
                caller.answer(self._status, self._head, self._held[0])
        else:
            self._refuse(caller, reply)

    def _refuse(self, caller: Client, reply: Reply) -> None:
        refusal = REFUSALS[reply.fact]
        last = f"; last tried was {self._backend}: {self._reason}" if self._reason else ""
        message = refusal.message.format(
            model=self.call.model, after=f"{reply.retry_after_s:g}", last=last
        )
        request_id = self.request_id.decode()
        if not self._is_relaying:
            body = openai.error_body(message, refusal.kind, refusal.code, None, request_id)
            head = _JSON
            if reply.retry_after_s:
                head += b"retry-after: %d\r\n" % reply.retry_after_s
            head += b"x-request-id: %b\r\n" % self.request_id
            if self._backend:
                head += self._pool.identity
            caller.answer(refusal.status, head, body)
        elif self._is_sse:
            caller.end(openai.error_event(message, refusal.kind, refusal.code, request_id))
        else:
            caller.abort()

    # -- what the caller does ----------------------------------------------------------------

    def caller_gone(self) -> None:
        """The caller left: nobody wants the answer any more."""
        self.caller = None
        self._tell(GONE)

    def pause(self) -> None:
        """The caller reads slower than the backend writes; its silence is then no stall."""
        if isinstance(self.lease, Connection):
            self.lease.pause()
            self.due = self.call.deadline

    def resume(self) -> None:
        """The caller reads again."""
        if isinstance(self.lease, Connection):
            self.lease.resume()
            if self._is_relaying:
                now = self._gateway.driver.clock()
                self.due = min(now + self._stall_s, self.call.deadline)

    # -- what the clock does -----------------------------------------------------------------

    def overdue(self, now: float) -> None:
        """Say which clock ran out."""
        if now >= self.call.deadline:
            self._tell(OVERDUE)
        elif self._is_relaying and self._is_finished:
            self._tell(DONE)  # All was said; only the farewell is missing.
        elif self._is_relaying:
            self._fail(BROKEN, f"silent for {self._stall_s:g} s")
        else:
            self._fail(SLOW, f"no first token within {self._send.first_token_s:g} s")

    # -- what the backend does ---------------------------------------------------------------

    def on_answer(self, connection: Connection, body: bytes, is_complete: bool) -> None:
        """Hear more of an answer."""
        if not self._status:
            self._read_head(connection)
        if is_complete:
            self.lease = None
        if self._is_relaying:
            self._pass_on(body, is_complete)
        elif self._is_sse:
            self._hold_until_token(body, is_complete)
        else:
            self._hold_until_whole(connection, body, is_complete)

    def on_lost(self, reason: str, fact: Fact) -> None:
        """Hear that the answer will not come to its end."""
        self.lease = None
        if self._is_relaying:
            if self._is_finished:
                self._tell(DONE)  # All was said; only the connection's farewell is missing.
            else:
                self._fail(BROKEN, reason)
        else:
            self._fail(fact, reason)

    def _read_head(self, connection: Connection) -> None:
        self._status = connection.status
        kind = connection.content_type
        self._is_sse = connection.status == 200 and kind.lower().startswith(_EVENT_STREAM)
        if self._is_sse:
            self._splitter = Splitter()
        self._head = b"content-type: " + (kind or b"application/json") + b"\r\nx-request-id: "
        self._head += self.request_id + b"\r\n" + self._pool.identity
        if connection.headers:
            self._head += b"".join(connection.headers)

    def _hold_until_whole(self, connection: Connection, body: bytes, is_complete: bool) -> None:
        """Hold an answer that is not a stream; too large to hold, it is committed as it is."""
        fact = fact_of_status(self._status)
        if not is_complete:
            self._hold(body)
            if self._held_bytes <= HELD_BYTES_MAX:
                return
            if fact is DONE:
                self._tell(FIRST_TOKEN)
            else:
                self._fail(FAILED, f"HTTP {self._status} with {self._held_bytes} bytes and more")
            return
        if self._held:
            body = b"".join([*self._held, body])
        self._held = [body]
        if fact is DONE:
            is_answer, self._usage = openai.read_answer(body)
            if is_answer:
                self._tell(DONE)
            else:
                self._fail(FAILED, "its answer is not a JSON object without an error")
        elif fact is REJECTED:
            shaped = openai.shaped_error(body, self._status, self.request_id.decode())
            if shaped is not None:
                self._held = [shaped]
                self._head = self._head.partition(b"\r\n")[2]
                self._head = _JSON + self._head
            self._tell(REJECTED)
        else:
            self._fail(fact, f"HTTP {self._status}", connection.retry_after_s)

    def _hold_until_token(self, body: bytes, is_complete: bool) -> None:
        """Hold a stream until the model says something, or shows that it never will."""
        try:
            whole = self._splitter.feed(body)
        except EventTooLongError as error:
            self._fail(FAILED, str(error))
            return
        if whole:
            self._hold(whole)
            says = self._read_events(whole)
            if GARBAGE in says or ERROR in says:
                self._fail(FAILED, "its stream began with an error")
                return
            if TOKEN in says or FINISH in says:
                self._tell(FIRST_TOKEN)
                if is_complete:
                    self._end_stream()
                return
        if is_complete:
            self._fail(LOST, "its stream ended without a token")
        elif self._held_bytes > HELD_BYTES_MAX:
            self._fail(FAILED, f"{HELD_BYTES_MAX} bytes without a token")

    def _pass_on(self, body: bytes, is_complete: bool) -> None:
        """Give the caller what came, a stream only up to the end of its last event."""
        if self._is_sse:
            try:
                body = self._splitter.feed(body)
            except EventTooLongError as error:
                self._fail(BROKEN, str(error))
                return
        if body:
            if not self._is_sse or self._advances(body):
                self.due = min(self._gateway.driver.clock() + self._stall_s, self.call.deadline)
            if is_complete:
                self._held = [body]  # Goes out together with the end.
            elif self.caller is not None:
                self.caller.write(body)
        if is_complete:
            if self._is_sse:
                self._end_stream()
            else:
                self._tell(DONE)

    def _end_stream(self) -> None:
        """Decide whether a stream that ended in good order was whole."""
        rest = self._splitter.rest
        if rest and {END, FINISH} & self._read_events(rest + b"\n\n"):
            # Some servers leave out the last empty line: what is whole all the same goes out.
            self._held.append(rest + b"\n\n")
        if not self._is_finished and self._last:
            self._read_events(self._last)  # See count_plain: several choices can hide an end.
        if self._is_finished:
            self._tell(DONE)
        else:
            if self._held and self.caller is not None:
                self.caller.write(b"".join(self._held))
            self._held = []
            self._fail(BROKEN, "its stream ended without a finish reason")

    def _advances(self, whole: bytes) -> bool:
        """Count whole events and say whether the model said something in them."""
        self._last = whole
        if not self.has_choices and (plain := openai.count_plain(whole)) >= 0:
            self.events += plain
            return plain > 0
        return bool(self._read_events(whole) & {TOKEN, FINISH})

    def _read_events(self, whole: bytes) -> set[Event]:
        says = set()
        for event in events(whole) if whole.endswith((b"\n", b"\r")) else (whole,):
            kind, usage = openai.read_event(event)
            says.add(kind)
            self._usage = usage or self._usage
            if kind is TOKEN or kind is FINISH:
                self.events += 1
        if ERROR in says:
            self._has_error = True
        if END in says or (FINISH in says and not self.has_choices):
            self._is_finished = True
        if self._has_error:
            self._is_finished = False  # Nothing makes a stream with an error whole.
        return says

    # -- within ------------------------------------------------------------------------------

    def _hold(self, body: bytes) -> None:
        if body:
            self._held.append(body)
            self._held_bytes += len(body)

    def _forget_attempt(self) -> None:
        self._status = self._held_bytes = 0
        self._held = []
        self._head = self._last = b""
        self._is_sse = self._is_finished = self._has_error = False
        self._usage, self.events = None, 0

    def _fail(self, fact: Fact, reason: str, retry_after_s: float = 0.0) -> None:
        self._reason = reason
        self._gateway.note_failure(self._backend, fact, reason, self.request_id)
        self._tell(fact, retry_after_s)

    def _tell(self, fact: Fact, retry_after_s: float = 0.0) -> None:
        if fact.is_retryable and self.lease is not None:
            self.lease.cancel()
            self.lease = None
        driver = self._gateway.driver
        driver.tell(self, Told(fact, driver.clock(), retry_after_s))
