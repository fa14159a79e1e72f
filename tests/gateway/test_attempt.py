"""One attempt alone: which fact it tells for what a backend does, and which clock ran out.

The ear, the pool and the connection are doubles that note what they are given; no bytes travel.
"""

import json
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest

from baseload.config.fleet import Target
from baseload.core.facts import Call, Fact, Send
from baseload.gateway.attempt import HELD_BYTES_MAX, Attempt
from baseload.gateway.clocks import PARKED_S
from tests.gateway.harness import DONE, token

TARGET = Target(backend="b0", model="m")
CALL = Call(1, "m", 1e9)
SEND = Send(CALL, TARGET, 1.0, 2.0, 3.0)
ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
COMMENT = b": keep-alive\n\n"
STOP = token("", "stop")
SHORT_OF_MACHINES = token("", "insufficient_system_resource")


class Ear:
    """A double of an exchange: it notes facts, and relays on a first token."""

    def __init__(self, *, can_continue: bool = False, is_trusting: bool = False) -> None:
        self.request_id, self.due, self.is_begun = b"r", inf, False
        self.trace_line = b""
        self.now = 0.0
        self.facts: list[tuple[Fact, str]] = []
        self.given = b""
        self.shown = b""
        self.can_continue, self.is_trusting = can_continue, is_trusting

    def clock(self) -> float:
        return self.now

    def heard(self, attempt: Attempt, fact: Fact, reason: str = "", retry_after_s=0.0) -> None:
        self.facts.append((fact, reason))
        if fact is Fact.FIRST_TOKEN:
            self.given += attempt.relay()
        elif fact not in {Fact.PARKED, Fact.LATE}:
            attempt.abandon()

    def give(self, whole: bytes, is_progress: bool) -> None:
        self.given += whole

    def show(self, event: bytes) -> None:
        self.shown += event

    def fact_of_break(self) -> Fact:
        return Fact.CUT if self.can_continue else Fact.BROKEN

    def fact_of_refusal(self, attempt: Attempt, body: bytes) -> Fact:
        return Fact.REJECTED

    def believes_silence(self) -> bool:
        return self.is_trusting


def _attempt(ear: Ear, send: Send = SEND, *, has_choices: bool = False) -> Attempt:
    pool: Any = SimpleNamespace(identity=b"x-baseload-backend: b0\r\n")
    return Attempt(ear, send, pool, has_choices, 0.0)


def _connection(status: int = 200, kind: bytes = b"text/event-stream") -> Any:
    return SimpleNamespace(status=status, content_type=kind, headers=[], retry_after_s=7.0)


def _hear(ear: Ear, *parts: bytes, has_choices: bool = False, is_complete: bool = True) -> Attempt:
    """Play a stream in so many reads; the last one ends it, unless told otherwise."""
    attempt, connection = _attempt(ear, has_choices=has_choices), _connection()
    for number, part in enumerate(parts, 1):
        attempt.on_answer(connection, part, is_complete and number == len(parts))
        if attempt.is_over:
            break
    return attempt


def _facts(ear: Ear) -> list[Fact]:
    return [fact for fact, _ in ear.facts]


# -- streams -------------------------------------------------------------------------------------


def _error(**fields) -> bytes:
    return b"data: " + json.dumps({"error": fields}).encode() + b"\n\n"


FIRST = {
    "token": ((token("a"),), Fact.FIRST_TOKEN),
    "reasoning": ((b'data: {"choices":[{"delta":{"reasoning_content":"h"}}]}\n\n',), Fact.FIRST_TOKEN),
    "rate_limit": ((_error(code=429, message="slow down"),), Fact.BUSY),
    "rate_limit_by_name": ((_error(type="rate_limit_error"),), Fact.BUSY),
    "spent": ((_error(code="insufficient_quota"),), Fact.DENIED),
    "overloaded": ((_error(type="overloaded_error"),), Fact.OVERLOADED),
    "busy": ((_error(message="The server is busy."),), Fact.OVERLOADED),
    "code_503": ((_error(code="503"),), Fact.OVERLOADED),
    "context": ((_error(code="context_length_exceeded"),), Fact.REJECTED),
    "filter": ((ROLE, _error(code="content_filter")), Fact.REJECTED),
    "unknown": ((_error(message="oops"),), Fact.FAILED),
    "no_json": ((b"data: <html>\n\n",), Fact.FAILED),
    "token_then_error_at_once": ((token("a") + _error(message="oops"),), Fact.FAILED),
    "no_machines": ((ROLE, SHORT_OF_MACHINES), Fact.OVERLOADED),
    "empty": ((ROLE, STOP + DONE), Fact.EMPTY),
    "length_without_token": ((ROLE, token("", "length")), Fact.FIRST_TOKEN),
    "ended": ((ROLE,), Fact.LOST),
    "only_done": ((DONE,), Fact.LOST),
    "endless_comments": ((COMMENT * (HELD_BYTES_MAX // 10), COMMENT), Fact.FAILED),
}  # fmt: skip


@pytest.mark.parametrize("name", FIRST)
def test_what_a_stream_begins_with(name: str):
    """The first thing of weight in a stream decides what is told of it."""
    parts, fact = FIRST[name]
    ear = Ear()
    _hear(ear, *parts, is_complete=len(parts) == 1 or name != "endless_comments")

    assert fact is _facts(ear)[0]


def test_a_refusal_inside_a_stream_becomes_a_real_one():
    """The caller sees the status and the body that it would have had without a stream."""
    ear = Ear()
    attempt = _hear(ear, _error(code="context_length_exceeded", message="too long"))

    assert [Fact.REJECTED] == _facts(ear)
    assert 400 == attempt.status
    assert b"too long" in attempt.held[0]
    assert attempt.head.startswith(b"content-type: application/json\r\n")


LAST = {
    "finish": ((STOP,), Fact.DONE),
    "finish_and_done": ((STOP + DONE,), Fact.DONE),
    "done_only": ((DONE,), Fact.CUT),
    "nothing": ((COMMENT,), Fact.CUT),
    "no_machines": ((SHORT_OF_MACHINES + DONE,), Fact.CUT),
    "error": ((_error(message="oops"),), Fact.CUT),
    "no_json": ((b"data: <html>\n\n",), Fact.CUT),
    "error_after_the_finish": ((STOP, _error(message="oops")), Fact.BROKEN),
    "unknown_json": ((b'data: {"choices":"none"}\n\n', STOP), Fact.DONE),
}


@pytest.mark.parametrize("name", LAST)
@pytest.mark.parametrize("can_continue", [True, False])
def test_how_a_stream_ends_after_a_token(name: str, can_continue: bool):
    """Only a finish reason makes it whole; else it is cut if it can be gone on with."""
    parts, fact = LAST[name]
    ear = Ear(can_continue=can_continue)
    _hear(ear, token("a"), *parts)
    expected = fact if can_continue or fact is not Fact.CUT else Fact.BROKEN

    assert [Fact.FIRST_TOKEN, expected] == _facts(ear)
    assert ear.given.startswith(token("a"))
    assert b"error" not in ear.given


def test_a_backends_own_error_is_shown_only_where_nothing_follows():
    """Where the answer goes on elsewhere, the caller never hears of it."""
    hidden, shown = Ear(can_continue=True), Ear()
    for ear in (hidden, shown):
        _hear(ear, token("a"), _error(message="oops"))

    assert b"" == hidden.shown
    assert b"oops" in shown.shown


def test_what_is_short_of_machines_is_not_given_on():
    """The finish of a broken-off answer would end the caller's stream, so it stays here."""
    ear = Ear(can_continue=True)
    _hear(ear, token("a"), token("b") + SHORT_OF_MACHINES)

    assert token("a") + token("b") == ear.given


def test_the_second_silence_is_believed():
    """An answer without a token is an answer if it is to be believed."""
    ear = Ear(is_trusting=True)
    _hear(ear, ROLE, STOP + DONE)

    assert [Fact.FIRST_TOKEN, Fact.DONE] == _facts(ear)


def test_a_lost_connection():
    """It is the call's loss before a token, a cut after one, and no matter after the finish."""
    told = []
    for parts in ((ROLE,), (token("a"),), (token("a"), STOP)):
        ear = Ear(can_continue=True)
        _hear(ear, *parts, is_complete=False).on_lost("reset", Fact.LOST)
        told.append(_facts(ear)[-1])

    assert [Fact.LOST, Fact.CUT, Fact.DONE] == told


# -- answers that are no streams -------------------------------------------------------------------

BODIES = {
    "answer": (200, b'{"choices":[]}', Fact.DONE),
    "answer_behind_blank_lines": (200, b'\n\n\n{"choices":[]}', Fact.DONE),
    "blank": (200, b"\n\n\n", Fact.LOST),
    "nothing": (200, b"", Fact.FAILED),
    "error": (200, b'{"error":{"message":"x"}}', Fact.FAILED),
    "busy": (429, b'{"error":{"message":"x"}}', Fact.BUSY),
    "spent": (429, b'{"error":{"code":"insufficient_quota"}}', Fact.DENIED),
    "balance": (429, b'{"error":{"type":"balance_error"}}', Fact.DENIED),
    "no_json": (429, b"<html>", Fact.BUSY),
    "forbidden": (403, b"", Fact.FORBIDDEN),
    "overloaded": (503, b"", Fact.OVERLOADED),
    "refused": (422, b'{"detail":"x"}', Fact.REJECTED),
}


@pytest.mark.parametrize("name", BODIES)
def test_what_a_whole_answer_means(name: str):
    """Its status decides, and a 429 says by its code whether it is a limit or a spent balance."""
    status, body, fact = BODIES[name]
    ear = Ear()
    attempt = _attempt(ear)
    attempt.on_answer(_connection(status, b"application/json"), body, True)

    assert [fact] == _facts(ear)


# -- clocks --------------------------------------------------------------------------------------


def test_each_clock_says_which_it_was():
    """No head, no byte, no token: each has its own time and its own words."""
    reasons = []
    for heard, now in (
        ((), 1.0),
        ((b"",), 2.0),
        ((COMMENT,), 3.0),
    ):
        ear = Ear()
        attempt, connection = _attempt(ear), _connection()
        ear.now = 0.5
        for part in heard:
            attempt.on_answer(connection, part, False)
        attempt.overdue(now - 0.01)
        before = [fact for fact in _facts(ear) if fact is not Fact.PARKED]
        attempt.overdue(now)
        reasons.append((before, ear.facts[-1]))

    assert [
        ([], (Fact.SLOW, "no head within 1 s")),
        ([], (Fact.SLOW, "no byte within 2 s")),
        ([], (Fact.SLOW, "no token within 3 s; it has been saying keep-alive for 2.5 s")),
    ] == reasons


def test_signs_without_a_token_mean_a_queue():
    """Told once, not before its time; the wait is told with the first token, roles cost nothing."""
    ear = Ear()
    attempt, connection = _attempt(ear), _connection()
    ear.now = 0.1
    attempt.on_answer(connection, ROLE, False)
    due = ear.due
    attempt.overdue(0.1 + PARKED_S - 0.01)
    early = _facts(ear)
    for now in (0.1 + PARKED_S, 0.5, 0.6):
        attempt.overdue(now)

    assert (0.1 + PARKED_S, [], [Fact.PARKED]) == (due, early, _facts(ear))
    assert 0.0 == attempt.queued_s(0.1 + PARKED_S - 0.01)
    assert 0.6 == pytest.approx(attempt.queued_s(0.7))


def test_a_parked_call_that_is_dropped_was_not_lost_but_turned_away():
    """Minutes of comments and then a close say that the backend has no room."""
    facts = []
    for now in (0.1, 5.0):
        ear = Ear()
        attempt = _hear(ear, COMMENT, is_complete=False)
        attempt.note_sign(0.05)
        ear.now = now
        attempt.on_lost("it closed the connection", Fact.LOST)
        facts += _facts(ear)

    assert [Fact.LOST, Fact.OVERLOADED] == facts


def test_late_is_told_once_and_only_while_there_is_no_token():
    """It is a reason to ask somebody else beside it, and ends nothing."""
    ear = Ear()
    send = Send(CALL, TARGET, 9.0, 9.0, 9.0, late_s=0.5)
    attempt = _attempt(ear, send)
    due = attempt.due
    for now in (0.4, 0.5, 0.6, 8.9):
        attempt.overdue(now)

    assert (0.5, [Fact.LATE], 9.0) == (due, _facts(ear), attempt.due)


def test_an_answer_that_comes_whole_has_no_clocks_but_may_be_parked():
    """Nothing is heard of it before its end, so only the call's own deadline holds."""
    ear = Ear()
    attempt = _attempt(ear, Send(CALL, TARGET, 1.0, 1.0, 1.0, late_s=0.5))
    attempt.expect_whole()
    attempt.overdue(100.0)
    silent = _facts(ear)
    ear.now = 100.0
    attempt.on_answer(_connection(200, b"application/json"), b"\n", False)
    attempt.overdue(101.0)

    assert ([], [Fact.PARKED]) == (silent, _facts(ear))
    assert inf == attempt.due


def test_whoever_was_abandoned_says_nothing():
    """A clock that is looked at too late tells nobody of an attempt that is over."""
    ear = Ear()
    attempt = _attempt(ear)
    attempt.abandon()
    attempt.overdue(1e6)

    assert [] == _facts(ear)
