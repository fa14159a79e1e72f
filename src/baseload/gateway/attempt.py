"""One answer of one backend, heard from its request to its end and told as facts.

Until the first token nothing of it goes anywhere: comments, blank lines, roles and empty chunks are
*signs* that the backend lives, not that the model speaks. A backend that gives signs for long has
parked the call in a queue of its own. With the first token the answer may be relayed: whole events
go to the ear as they came. At the end it must prove to be whole; a stream without a finish reason,
half an event, an error in the middle, silence: each is told as what it is, never as an end.

Not here: what the events say (`transcript`), how long they may take (`clocks`), and what becomes of
them (`exchange`, `answering`).
"""

from typing import Protocol

from baseload.apis import openai
from baseload.apis.openai import Usage
from baseload.apis.seam import Seam
from baseload.apis.trouble import error_object, status_of_body, status_of_event
from baseload.core.facts import (
    BROKEN,
    DONE,
    EMPTY,
    FAILED,
    FIRST_TOKEN,
    LOST,
    OVERLOADED,
    REJECTED,
    UNJOINED,
    Fact,
    Send,
    fact_of_status,
)
from baseload.gateway.clocks import Clocks
from baseload.gateway.connection import Connection, Lease
from baseload.gateway.transcript import Transcript
from baseload.gateway.upstream import Pool

HELD_BYTES_MAX = 1 << 20
"""What may be held back of an answer before it is committed or given up."""
JSON_HEAD = b"content-type: application/json\r\n"
_EVENT_STREAM = b"text/event-stream"


class Ear(Protocol):
    """Whoever makes attempts and hears of them."""

    request_id: bytes
    trace_line: bytes
    """A line of the request's head that tells of its trace, or nothing."""
    due: float
    is_begun: bool
    """The caller has been given the beginning of a stream."""

    def clock(self) -> float:
        """Give the time."""

    def heard(
        self, attempt: "Attempt", fact: Fact, reason: str = "", retry_after_s: float = 0.0
    ) -> None:
        """Hear a fact; `reason` says in words what went wrong."""

    def give(self, whole: bytes, is_progress: bool) -> None:
        """Take whole events for the caller; without progress they hold no token."""

    def show(self, event: bytes) -> None:
        """Take a backend's own words on why this is the end."""

    def fact_of_break(self) -> Fact:
        """Say whether an answer that breaks now is `CUT` or `BROKEN`."""

    def fact_of_refusal(self, attempt: "Attempt", body: bytes) -> Fact:
        """Say whether a refusal is the caller's own fault or that of how we asked."""

    def believes_silence(self) -> bool:
        """Say whether a whole answer without a token is to be believed; asked once for each."""


class Attempt(Clocks):
    """Hears one answer."""

    # Defaults stand on the class: one object is made for every attempt, and most need few of these.
    lease: Lease | None = None
    head = tail = b""
    """Lines of the answer's head for the caller; the last events, which go out with the end."""
    script: Transcript | None = None
    """What a stream has said; None while the answer is none."""
    seam: Seam | None = None
    """Joins this answer to what was said before by another."""
    is_relaying = is_over = False
    is_made_stream = False
    """The caller asked for no stream, but the backend was."""
    resumed_at = 0
    """After how many characters it was asked to go on."""
    _held_bytes = 0
    usage: Usage | None = None
    """What the backend counted, if it said so; of a stream, `script` knows."""

    def __init__(self, ear: Ear, send: Send, pool: Pool, has_choices: bool, now: float) -> None:
        self.send = send
        self.sent_at = now
        self.start_clocks(now)
        self.ear, self.pool = ear, pool
        self.has_choices = has_choices
        self.held: list[bytes] = []

    @property
    def events(self) -> int:
        """How many events of a stream held a token or a finish."""
        return 0 if self.script is None else self.script.events

    def ask(self, path: bytes, body: bytes) -> None:
        """Send the request; what comes of it is heard later."""
        pool = self.pool
        head = b"%bX-Request-Id: %b\r\n%bContent-Length: %d\r\n\r\n" % (
            pool.head(path), self.ear.request_id, self.ear.trace_line, len(body),
        )  # fmt: skip
        pool.send(self, (head, body))

    def relay(self) -> bytes:
        """Pass on what comes from now on; give what was held back."""
        self.is_relaying = True
        if self.script is not None:
            self.script.is_committed = True
        held, self.held = b"".join(self.held), []
        return held

    def abandon(self) -> None:
        """Want no more of it, and tell nobody."""
        self.is_over = True
        if self.lease is not None:
            self.lease.cancel()
            self.lease = None

    # -- clocks ------------------------------------------------------------------------------

    def overdue(self, now: float) -> None:
        """Tell what clocks say: too slow, parked, or late."""
        while not self.is_over and (rung := self.ring(now)) is not None:
            self.ear.heard(self, *rung)

    def stalled(self, silent_s: float) -> None:
        """Hear that no token came for too long."""
        if self.script is not None and self.script.is_finished:
            self.ear.heard(self, DONE)  # All was said; only the farewell is missing.
        else:
            self._break(f"silent for {silent_s:g} s")

    def _live(self) -> None:
        """Note a sign of life without a token."""
        if not self._sign_at:
            self.note_sign(self.ear.clock())
            self.ear.due = min(self.ear.due, self.due)

    # -- what the backend does ---------------------------------------------------------------

    def on_answer(self, connection: Connection, body: bytes, is_complete: bool) -> None:
        """Hear more of an answer."""
        if not self.status:
            self._read_head(connection)
        if is_complete:
            self.lease = None
        if self.is_relaying:
            self._pass_on(body, is_complete)
            return
        if body:
            self._has_byte = True
        if self.script is not None:
            self._hold_until_token(self.script, body, is_complete)
        else:
            self._hold_until_whole(connection, body, is_complete)

    def on_lost(self, reason: str, fact: Fact) -> None:
        """Hear that the answer will not come to its end."""
        self.lease = None
        if not self.is_relaying:
            if fact is LOST and self._was_parked():
                fact = OVERLOADED
            self._fail(fact, reason)
        elif self.script is not None and self.script.is_finished:
            self.ear.heard(self, DONE)  # All was said; only the connection's farewell is missing.
        else:
            self._break(reason)

    def _read_head(self, connection: Connection) -> None:
        self.status = connection.status
        kind = connection.content_type
        if self.status == 200 and kind.lower().startswith(_EVENT_STREAM):
            self.script = Transcript(self.has_choices, self.seam)
        elif self.is_made_stream and self.status == 200:
            self.expect_whole()  # It answers as the caller had asked.
        head = b"content-type: " + (kind or b"application/json") + b"\r\nx-request-id: "
        head += self.ear.request_id + b"\r\n" + self.pool.identity
        if connection.headers:
            head += b"".join(connection.headers)
        self.head = head

    # -- an answer that is no stream ---------------------------------------------------------

    def _hold_until_whole(self, connection: Connection, body: bytes, is_complete: bool) -> None:
        """Hold an answer that is not a stream; too large to hold, it is committed as it is."""
        fact = fact_of_status(self.status)
        if not is_complete:
            self._hold(body)
            if self._held_bytes > HELD_BYTES_MAX:
                self._outgrow(fact)
            elif body and not body.strip():
                self._live()
            return
        if self.held:
            body = b"".join([*self.held, body])
        self.held = [body]
        if fact is not DONE:
            self._refuse(fact_of_status(status_of_body(body, self.status)), body, connection)
        elif self.ear.is_begun or self.seam is not None:
            self._fail(FAILED, "it answered without a stream")
        elif body and not body.strip():
            fact = OVERLOADED if self._was_parked() else LOST
            self._fail(fact, "its answer is nothing but blank lines")
        else:
            is_answer, self.usage = openai.read_answer(body)
            if is_answer:
                self.ear.heard(self, DONE)
            else:
                self._fail(FAILED, "its answer is not a JSON object without an error")

    def _outgrow(self, fact: Fact) -> None:
        """Commit, or give up, what is too large to be held."""
        if fact is not DONE:
            self._fail(FAILED, f"HTTP {self.status} with {self._held_bytes} bytes and more")
        elif self.ear.is_begun or self.seam is not None:
            self._fail(FAILED, "it answered without a stream")
        else:
            self.ear.heard(self, FIRST_TOKEN)

    def _refuse(self, fact: Fact, body: bytes, connection: Connection) -> None:
        """Tell of a status that is no success."""
        if fact is REJECTED:
            self._reject(body)
        else:
            self._fail(fact, f"HTTP {self.status}", connection.retry_after_s)

    def _reject(self, body: bytes) -> None:
        """Tell of a refusal of the request itself, and have it ready for the caller."""
        fact = self.ear.fact_of_refusal(self, body)
        if fact is not REJECTED:
            self._fail(fact, f"HTTP {self.status}: it does not take the request in this form")
            return
        shaped = openai.shaped_error(body, self.status, self.ear.request_id.decode())
        if shaped is not None:
            body = shaped
            self.head = JSON_HEAD + self.head.partition(b"\r\n")[2]
        self.held = [body]
        self.ear.heard(self, REJECTED)

    # -- a stream before its first token -----------------------------------------------------

    def _hold_until_token(self, script: Transcript, body: bytes, is_complete: bool) -> None:
        """Hold a stream until the model says something, or shows that it never will."""
        self._hold(script.take(body))
        if script.wrong is None and is_complete:
            self._hold(script.end())
        if script.wrong is not None:
            self._give_up(*script.wrong, script.wrong_event)
        elif script.has_begun():
            if script.is_empty and not self.ear.believes_silence():
                self._fail(EMPTY, "its answer has no token")
                return
            self.ear.heard(self, FIRST_TOKEN)
            if is_complete and not self.is_over:
                self._end_stream(script)
        elif is_complete:
            fact = OVERLOADED if self._was_parked() else LOST
            self._fail(fact, "its stream ended without a token")
        elif self._held_bytes > HELD_BYTES_MAX:
            self._fail(FAILED, f"{HELD_BYTES_MAX} bytes without a token")
        elif body:
            self._live()

    def _give_up(self, fact: Fact, reason: str, event: bytes) -> None:
        """Tell of a stream that ends before its first token with an error."""
        if fact is not REJECTED:
            self._fail(fact, reason)
            return
        # The caller sees the refusal as it would have been without a stream.
        self.status = status_of_event(event)
        self.head = JSON_HEAD + self.head.partition(b"\r\n")[2]
        if self.lease is not None:
            self.lease.cancel()
            self.lease = None
        self._reject(error_object(event))

    # -- an answer that is passed on ---------------------------------------------------------

    def _pass_on(self, body: bytes, is_complete: bool) -> None:
        """Give what came, a stream only up to the end of its last event."""
        script, is_progress = self.script, True
        if script is not None:
            before = script.events
            body = script.take(body)
            if script.wrong is not None:
                self._end_wrong(script, body)
                return
            is_progress = script.events > before
        if not is_complete:
            if body:
                self.ear.give(body, is_progress)
            return
        self.tail = body  # Goes out together with the end.
        if script is not None:
            self.tail += script.end()
            self._end_stream(script)
        else:
            self.ear.heard(self, DONE)

    def _end_stream(self, script: Transcript) -> None:
        """Decide whether a stream that ended in good order was whole."""
        if script.is_finished:
            self.ear.heard(self, DONE)
            return
        if self.tail:
            tail, self.tail = self.tail, b""
            self.ear.give(tail, True)
        self._break("its stream ended without a finish reason")

    def _end_wrong(self, script: Transcript, good: bytes) -> None:
        """End a stream at an event that makes it none; what came before it is good."""
        assert script.wrong is not None
        fact, reason = script.wrong
        if good:
            self.ear.give(good, True)
        if fact is not UNJOINED:
            fact = self._fact_of_break()
            if fact is BROKEN and script.wrong_event:
                self.ear.show(script.wrong_event)
        self._fail(fact, reason)

    # -- within ------------------------------------------------------------------------------

    def _hold(self, body: bytes) -> None:
        if body:
            self.held.append(body)
            self._held_bytes += len(body)

    def _was_parked(self) -> bool:
        return self._sign_at > 0 and self.queued_s(self.ear.clock()) > 0

    def _fact_of_break(self) -> Fact:
        if self.script is None or self.script.is_finished:
            return BROKEN
        return self.ear.fact_of_break()

    def _break(self, reason: str) -> None:
        self._fail(self._fact_of_break(), reason)

    def _fail(self, fact: Fact, reason: str, retry_after_s: float = 0.0) -> None:
        self.ear.heard(self, fact, reason, retry_after_s)
