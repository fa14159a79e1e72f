"""One call between its caller and the backends: the hands of its flow.

The flow asks; here it is done. An attempt is made, or two beside each other; the first token of
either commits the answer, and the other is left at once. What was held goes out and bytes then pass
as they came. If the answer breaks, what the caller has been given is known, and another backend is
asked to go on from there; the caller sees one answer, or an error that it cannot overlook.

A caller who wanted no stream is answered from one all the same, so that its answer can be watched
while it grows, and asked for anew until it is whole.

Not here: what one backend says (`attempt`), what the caller is given (`answering`), and what is
decided about it (`core`).
"""

from math import inf

from baseload.apis import openai
from baseload.apis.assemble import AssemblyError, to_stream
from baseload.apis.resume import continuation
from baseload.apis.seam import Seam
from baseload.config.fleet import Model
from baseload.core.facts import (
    BROKEN,
    DONE,
    FIRST_TOKEN,
    GONE,
    GRANTED,
    LATE,
    LIMITED,
    OVERDUE,
    PARKED,
    REJECTED,
    UNPREFILLED,
    WITHDRAWN,
    Call,
    Fact,
    Hedge,
    Relay,
    Reply,
    Send,
    Told,
)
from baseload.core.flow import Flow
from baseload.core.quota import Verdict
from baseload.gateway.answering import Answering, Caller, Plane
from baseload.gateway.attempt import Attempt
from baseload.gateway.books import taken_by
from baseload.gateway.connection import Connection
from baseload.gateway.tenants import Tenant


class Exchange(Answering):
    """What is known and held of one call while it is in flight."""

    flow: Flow
    due = inf
    # Defaults stand on the class: most calls need one attempt and few of these.
    has_choices = False
    """Several answers in one stream: then one finish reason is not the end of all."""
    is_beta = False
    """The caller used DeepSeek's beta address."""
    _attempt: Attempt | None = None
    _second: Attempt | None = None
    _unstreamed: frozenset[str] = frozenset()
    """Backends that refused this call in a way that may mean the stream which we asked for."""
    _is_relaying = False
    _stall_s = _quiet_s = inf

    def __init__(  # noqa: PLR0913, PLR0917 - all that one call is
        self, gateway: Plane, caller: Caller, call: Call, tenant: Tenant, model: Model,
        path: bytes, body: bytes, request_id: bytes, now: float,
    ) -> None:  # fmt: skip
        self.call = call
        self.tenant = tenant
        self.caller: Caller | None = caller
        self.request_id = request_id
        self._gateway = gateway
        self.path, self.body = path, body
        self.started_at = self._heard_at = now
        if call.is_stream:
            self.keepalive_s = model.keepalive_s or inf
        elif model.assemble and not call.is_whole:
            self.is_assembled = True

    # -- what the flow asks ------------------------------------------------------------------

    def reserve(self) -> Told | None:
        """Set aside a part of the key's limits."""
        assert self.hold is not None
        verdict = self._gateway.books.reserve(self.hold, self._judged)
        return None if verdict is None else self._told(verdict)

    def _judged(self, verdict: Verdict) -> None:
        """Hear later whether the call may go on; it may have ended since."""
        self._gateway.driver.tell(self, self._told(verdict))

    def _told(self, verdict: Verdict) -> Told:
        self.verdict = verdict
        told = GRANTED if verdict.is_granted else LIMITED
        return Told(told, self.clock(), verdict.retry_after_s)

    def wait(self) -> None:
        """Keep the caller; the gate watches the clock."""
        if self._is_relaying and self._attempt is not None:
            self._gateway.books.spend(self, self._attempt)
        self._stop_attempts()
        self.due = self._next_due()

    def send(self, ask: Send) -> None:
        """Make an attempt."""
        if self._is_relaying and self._attempt is not None:
            self._gateway.books.spend(self, self._attempt)
        self._stop_attempts()
        if self._reason:
            self._went_on(ask)
        self.backend = ask.target.backend
        self._attempt = self._make(ask)
        if self.keepalive_s < inf:
            self.due = self._next_due()

    def hedge(self, ask: Hedge) -> None:
        """Make a second attempt beside the first."""
        self._gateway.telemetry.hedges += 1
        self.is_hedged = True
        self._second = self._make(ask.send)
        self.due = self._next_due()

    def relay(self, ask: Relay) -> None:
        """Commit: from here on what comes is the caller's."""
        attempt = self._attempt
        assert attempt is not None
        held = attempt.relay()
        now = self._gateway.gate.now
        self._is_relaying = True
        self.backend = ask.target.backend
        self._stall_s = ask.stall_s
        self._quiet_s = min(ask.stall_s, self.keepalive_s)
        self._heard_at = now
        self.due = min(now + self._quiet_s, self.call.deadline)
        if not self.first_token_at:
            self.first_token_at = now
            self._gateway.telemetry.first_tokens[self.backend].add(now - self.started_at)
        if queued_s := attempt.queued_s(now):
            series = self._gateway.telemetry.series(self.call.model, self.backend)
            series.queued_s.add(queued_s)
        self._keep(attempt)
        if self.is_assembled and attempt.script is not None:
            self._gather(held)
        elif self.caller is not None:
            if self._is_paused and isinstance(attempt.lease, Connection):
                attempt.lease.pause()
                self.due = self.call.deadline
            self._commit(attempt, held)

    def reply(self, reply: Reply) -> None:
        """End the call: give back what is lent, answer the caller, count."""
        fact, attempt = reply.fact, self._attempt
        is_relaying = self._is_relaying
        self._stop_attempts()
        self._attempt = None  # They know each other: a ring would wait for the collector.
        self.due = inf
        now = max(self._gateway.gate.now, self.started_at)  # A limited call never met the gate.
        self._gateway.books.settle(self, fact, attempt, is_relaying or fact is DONE, now)
        caller, self.caller = self.caller, None
        if caller is None:
            return
        if fact is DONE and is_relaying:
            assert attempt is not None
            self._finish(caller, attempt)
        elif fact is DONE or fact is REJECTED:
            assert attempt is not None
            self._give_whole(caller, attempt)
        else:
            self._refuse(caller, reply)

    # -- attempts ----------------------------------------------------------------------------

    def _make(self, ask: Send) -> Attempt:
        """Make an attempt, worded for its backend."""
        gateway, target, path, body = self._gateway, ask.target, self.path, self.body
        now = gateway.gate.now
        if not self.attempts:
            self.sent_at = now
        attempt = Attempt(self, ask, gateway.pools[target.backend], self.has_choices, now)
        gateway.telemetry.attempts[target.backend] += 1
        self.attempts += 1
        if self.native is not None and self.native.asks(attempt):
            self.due = min(attempt.due, self.call.deadline)
            return attempt
        if target.model != self.call.model:
            body = openai.rename_model(body, self.call.model, target.model)
        if ask.is_resumed:
            path, body = self._continue(attempt, path, body)
        elif self.is_assembled:
            body = self._begin_anew(attempt, body)
        elif not self.call.is_stream:
            attempt.expect_whole()
        else:
            assert self._kept is None, "a text that was begun cannot begin again"
        name, manners = target.backend, gateway.manners
        if name in manners.told or name in manners.kinds or target.thinking is not None:
            path, body = manners.fit(target, path, body, is_beta=self.is_beta)
        attempt.ask(path, body)
        due, deadline = attempt.due, self.call.deadline
        self.due = due if due < deadline else deadline  # noqa: FURB136 - min() costs more
        return attempt

    def _begin_anew(self, attempt: Attempt, body: bytes) -> bytes:
        """Ask for a stream that nobody has seen anything of."""
        self._kept = self.spent = None
        self._notes = self._head = b""
        backend = attempt.send.target.backend
        is_able = self._gateway.manners.streams(backend, attempt.sent_at)
        if not is_able or backend in self._unstreamed:
            attempt.expect_whole()
            return body
        attempt.is_made_stream = True
        return to_stream(body)

    def _continue(self, attempt: Attempt, path: bytes, body: bytes) -> tuple[bytes, bytes]:
        """Ask for the rest of what was said."""
        backend = attempt.send.target.backend
        said = self._kept.said() if self._kept is not None else None
        found = None
        if said is not None:
            way = self._gateway.manners.way(backend, attempt.sent_at)
            found = continuation(path, body, said, way)
        if said is None or found is None:
            assert self.is_assembled, "told that it can be continued, and it cannot"
            return path, self._begin_anew(attempt, body)
        attempt.seam = Seam(said, found.way, is_sure=self._gateway.manners.goes_on(backend))
        attempt.is_made_stream = not self.call.is_stream
        attempt.resumed_at = len(said.reasoning) + len(said.content)
        return found.path, found.body

    def _stop_attempts(self) -> None:
        """Leave the attempts that are out; what one has passed on is counted."""
        attempt, second = self._attempt, self._second
        if attempt is None:
            return
        if self._is_relaying:
            self._is_relaying = False
            backend = attempt.send.target.backend
            self._gateway.telemetry.series(self.call.model, backend).events += attempt.events
        if not attempt.is_over:
            attempt.abandon()
        if second is not None:
            second.abandon()
            self._second = None

    # -- what attempts say -------------------------------------------------------------------

    def clock(self) -> float:
        """Give the time."""
        return self._gateway.driver.clock()

    def heard(
        self, attempt: Attempt, fact: Fact, reason: str = "", retry_after_s: float = 0.0
    ) -> None:
        """Tell the flow what an attempt has come to."""
        if attempt.is_over:
            return
        backend = attempt.send.target.backend
        if fact is DONE and self._is_relaying and self.is_assembled:
            fact, reason = self._assemble(attempt)
        if reason:
            self.backend, self._reason = backend, reason
            self._gateway.note_failure(backend, fact, reason, self.request_id)
        if self._second is None:
            backend = ""
            if fact.is_retryable:
                attempt.abandon()
        elif fact is not PARKED and fact is not LATE:
            self._decide(attempt, fact)
        driver = self._gateway.driver
        now = driver.clock()
        if fact is FIRST_TOKEN:
            told = Told(fact, now, 0.0, backend, attempt.queued_s(now))
        elif fact is DONE:
            if attempt.script is None and (name := attempt.send.target.backend) in self._unstreamed:
                self._gateway.manners.refused_stream(name, now)
            told = Told(fact, now, 0.0, backend, 0.0, taken_by(attempt, self.call))
        else:
            told = Told(fact, now, retry_after_s, backend)
        driver.tell(self, told)

    def _decide(self, attempt: Attempt, fact: Fact) -> None:
        """Of two attempts one has failed, or has decided the call."""
        other = self._attempt if attempt is self._second else self._second
        assert other is not None
        self._second = None
        if fact.is_retryable:
            attempt.abandon()
            self._attempt = other
        else:
            other.abandon()
            self._attempt = attempt
            self.backend = attempt.send.target.backend

    def give(self, whole: bytes, is_progress: bool) -> None:
        """Give whole events on, and keep them if they may be needed."""
        if is_progress:
            self._heard_at = now = self._gateway.driver.clock()
            due, deadline = now + self._quiet_s, self.call.deadline
            self.due = due if due < deadline else deadline  # noqa: FURB136 - min() costs more
        kept = self._kept
        if kept is not None:
            if self.is_assembled:
                self._gather(whole)
                return
            kept.add(whole)
        if self.caller is not None:
            self.caller.write(whole)

    def fact_of_refusal(self, attempt: Attempt, body: bytes) -> Fact:
        """Say whose fault a refusal is; what a backend cannot do is remembered."""
        manners, backend = self._gateway.manners, attempt.send.target.backend
        if attempt.seam is not None and not attempt.seam.is_restart:
            manners.refused_start(backend, self.clock())
            return UNPREFILLED
        if attempt.is_made_stream and attempt.status in (400, 422) and b"stream" in body.lower():
            self._unstreamed |= {backend}  # Remembered once it answers without one.
            return UNPREFILLED
        return REJECTED

    def _gather(self, whole: bytes) -> None:
        """Keep what will be given as one piece."""
        assert self._kept is not None
        try:
            self._kept.add(whole)
        except AssemblyError as error:
            assert self._attempt is not None
            self.heard(self._attempt, BROKEN, str(error))

    # -- what operators and the caller do ----------------------------------------------------

    def withdraw(self, backend: str) -> None:
        """Give up what is out at a backend, if somebody else can go on with it at once."""
        for attempt in (self._attempt, self._second):
            if attempt is None or attempt.is_over or attempt.send.target.backend != backend:
                continue
            if self.can_break(attempt) and self._gateway.gate.can_move(self.call, backend):
                self.heard(attempt, WITHDRAWN)

    def caller_gone(self) -> None:
        """The caller left: nobody wants the answer any more."""
        self.caller = None
        self._tell(GONE)

    def pause(self) -> None:
        """The caller reads slower than the backend writes; its silence is then no stall."""
        self._is_paused = True
        attempt = self._attempt
        if self._is_relaying and attempt is not None and isinstance(attempt.lease, Connection):
            attempt.lease.pause()
            self.due = self.call.deadline

    def resume(self) -> None:
        """The caller reads again."""
        self._is_paused = False
        attempt = self._attempt
        if self._is_relaying and attempt is not None and isinstance(attempt.lease, Connection):
            attempt.lease.resume()
            self._heard_at = self.clock()
        self.due = self._next_due()

    # -- what the clock does -----------------------------------------------------------------

    def overdue(self, now: float) -> None:
        """Notice which clock ran out: the call's, an attempt's, or the caller's."""
        attempt = self._attempt
        is_out = attempt is not None and not attempt.is_over
        if is_out and now >= self.call.deadline:
            self._tell(OVERDUE)
            return
        if attempt is not None and self._is_relaying:
            if not self._is_paused and now >= self._heard_at + self._stall_s:
                attempt.stalled(self._stall_s)
        else:
            for one in (attempt, self._second):
                if one is not None and not one.is_over and now >= one.due:
                    one.overdue(now)
        if now >= self._silent_until():
            self._say_alive(now)
        self.due = self._next_due()

    def _next_due(self) -> float:
        """Give the earliest clock of all; while the call waits, the gate minds the others."""
        due = self._silent_until()
        attempt, second = self._attempt, self._second
        if attempt is None or attempt.is_over:
            return due
        due = min(due, self.call.deadline)
        if self._is_relaying:
            return due if self._is_paused else min(due, self._heard_at + self._stall_s)
        due = min(due, attempt.due)
        return due if second is None else min(due, second.due)

    def _tell(self, fact: Fact) -> None:
        self._gateway.driver.tell(self, Told(fact, self.clock()))
