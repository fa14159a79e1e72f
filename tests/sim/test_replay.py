"""Replay: the same decisions from the same events, and a clear word on every tape that lies."""

from collections import Counter
from functools import cache
from math import inf
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from baseload.core.facts import Hedge, Relay, Reply, Send
from baseload.core.records import (
    Announced,
    Began,
    Ended,
    Event,
    Heard,
    Replied,
    Saw,
    Sent,
    TapeError,
    Ticked,
    Waited,
)
from baseload.core.tape import CLOSED, TITLE, TITLES, block
from baseload.sim import replay as replaying
from baseload.sim.replay import CUT, Verdict, replay
from tests.core.records import RECORDS
from tests.sim.tapes import END, HEAD, SETUP, change, put_together, record, run, taken_apart, write

FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@cache
def small() -> bytes:
    """Give the tape of a hundred busy calls."""
    return record(1, 8.0, 100)[0]


def played(folder: Path, data: bytes, call_id: int | None = None) -> Verdict:
    """Replay a tape from its bytes."""
    return replay(write(folder / "tape", data), call_id)


def lines(*of_call_1: object) -> bytes:
    """Give a closed tape of one call and a few lines more."""
    return put_together(HEAD, [_of_model("m"), *of_call_1, Ended(CLOSED)])


SENT = Sent(1, "good", "at-good", 30.0, 30.0, 30.0, inf, False)
"""What is decided for the call of `lines`."""


def _of_model(name: str) -> Began:
    return Began(1.0, 1, name, 60.0, True, "k", 1, 10, 10, 0, False)


# -- the same decisions --------------------------------------------------------------------------


@pytest.mark.parametrize("per_s", [2.0, 8.0, 40.0])
def test_thousands_of_calls_are_decided_again(tmp_path: Path, per_s: float):
    """Queues, hedges, retries, resumes, sights, backends that come and go: all is the same."""
    data, driver = record(3, per_s, 3000)
    verdict = played(tmp_path, data)

    outcomes = Counter(ask.fact.label for _, ask in driver.journal if isinstance(ask, Reply))
    assert verdict.difference is None
    assert (CLOSED, 3000, []) == (verdict.end, verdict.calls, verdict.failures)
    assert outcomes == verdict.outcomes


def test_what_was_asked_of_backends_is_counted(tmp_path: Path):
    """Attempts, hedges, continued answers and relays are counted where they were made."""
    data, driver = record(3, 2.0, 3000)
    uses = played(tmp_path, data).uses

    asks = [ask.send if isinstance(ask, Hedge) else ask for _, ask in driver.journal]
    sent = [ask for ask in asks if isinstance(ask, Send)]
    assert Counter(ask.target.backend for ask in sent) == {
        name: use.attempts for name, use in uses.items()
    }
    hedges = sum(isinstance(ask, Hedge) for _, ask in driver.journal)
    resumed = sum(ask.is_resumed for ask in sent)
    relays = sum(isinstance(ask, Relay) for ask in asks)
    assert min(hedges, resumed, relays) > 0
    assert (hedges, resumed, relays) == tuple(
        sum(getattr(use, what) for use in uses.values()) for what in ("hedges", "resumed", "relays")
    )


def test_a_recording_changes_no_decision():
    """A run with a tape has the journal of a run without."""
    assert run(5, 8.0, 500).journal == record(5, 8.0, 500)[1].journal


def test_the_story_of_one_call(tmp_path: Path):
    """The lines of one call, and only they, come with their times and in order."""
    data = small()
    verdict = played(tmp_path, data, 17)

    own = [
        line
        for line in taken_apart(data)[1]
        if 17 in (getattr(line, "call_id", 0), getattr(line, "id", 0))
    ]
    assert own == [line for _, line in verdict.story]
    assert isinstance(own[0], Began)
    assert isinstance(own[-1], Replied)
    times = [now for now, _ in verdict.story]
    assert times == sorted(times)


def test_a_long_story_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of a call without end only so many lines are kept."""
    monkeypatch.setattr(replaying, "STORY_LINES_MAX", 2)

    assert 2 == len(played(tmp_path, small(), 17).story)


# -- differences ---------------------------------------------------------------------------------


def test_tapes_of_the_form_before_are_read(tmp_path: Path):
    """They had neither orders nor reloads, and are decided as they were."""
    data, _ = record(5, 5.0, 200)
    verdict = replay(write(tmp_path / "old", TITLES[0] + data.removeprefix(TITLE)))

    assert (CLOSED, None) == (verdict.end, verdict.difference)


def test_a_changed_decision_is_found(tmp_path: Path):
    """The first attempt that went elsewhere is named, with both ways, its call and its event."""

    def alter(head, lines):
        at = [at for at, line in enumerate(lines) if isinstance(line, Sent)][20]
        found.append((at, lines[at]))
        lines[at] = msgspec.structs.replace(lines[at], backend="moon")

    found = []
    verdict = played(tmp_path, change(small(), alter))

    at, actual = found[0]
    events = [line for line in taken_apart(small())[1][:at] if isinstance(line, Event)]
    differs = verdict.difference
    assert (len(events), actual.call_id) == (differs.event, differs.call_id)
    assert (events[-1].now, "moon", actual) == (
        differs.now,
        differs.expected.backend,
        differs.actual,
    )
    assert events[-1].now == verdict.last


def test_the_smallest_change_of_a_clock_is_found(tmp_path: Path):
    """Decisions are compared to the last bit."""

    def alter(head, lines):
        at = next(at for at, line in enumerate(lines) if isinstance(line, Sent))
        longer_s = lines[at].first_token_s * (1 + 1e-15)
        lines[at] = msgspec.structs.replace(lines[at], first_token_s=longer_s)

    assert played(tmp_path, change(small(), alter)).difference is not None


def test_other_dice_are_found(tmp_path: Path):
    """With another seed at the head, some decision comes out otherwise."""
    data, _ = record(3, 40.0, 2000)

    def alter(head, lines):
        setup = msgspec.structs.replace(head.setup, seed=1)
        return msgspec.structs.replace(head, setup=setup)

    assert played(tmp_path, change(data, alter)).difference is not None


def test_a_notice_that_the_gate_did_not_give_is_found(tmp_path: Path):
    """A call that is told it was admitted, when the gate did not say so, is a difference."""
    verdict = played(tmp_path, lines(SENT, Heard(1, "admitted", 2.0, 0.0, "", 0.0, 0)))

    differs = verdict.difference
    assert (2, 1, None) == (differs.event, differs.call_id, differs.actual)
    assert "admitted" == differs.expected.fact


def test_a_notice_that_was_not_recorded_is_found(tmp_path: Path):
    """What the gate said and nobody was told is a difference at a closed tape's end."""

    def alter(head, lines):
        at = next(
            at
            for at, line in enumerate(lines)
            if isinstance(line, Heard) and line.fact == "admitted"
        )
        found.append(lines[at])
        lines[at:] = [Ended(CLOSED)]

    found = []
    differs = played(tmp_path, change(small(), alter)).difference

    assert (found[0].call_id, None) == (differs.call_id, differs.expected)
    assert ("admitted", found[0].now) == (differs.actual.fact, differs.actual.now)


@pytest.mark.parametrize("more", [[Ticked(2.0)], []])
def test_a_decision_that_was_not_recorded_is_found(tmp_path: Path, more):
    """A flow that asks where the recorded one did not is a difference."""
    differs = played(tmp_path, lines(*more)).difference

    assert (1, 1, None, SENT) == (
        differs.event,
        differs.call_id,
        differs.expected,
        differs.actual,
    )


def test_a_decision_too_many_is_found(tmp_path: Path):
    """A recorded ask that nothing led to is a difference."""
    differs = played(tmp_path, lines(SENT, Waited(1))).difference

    assert (Waited(1), None) == (differs.expected, differs.actual)


def test_a_defect_of_ours_is_kept(tmp_path: Path):
    """Where core raised an error and nothing was decided then, it does again, and that is said."""
    verdict = played(tmp_path, lines(SENT, Ticked(0.5)))

    assert verdict.difference is None
    assert ["event 2: AssertionError('time ran backwards')"] == verdict.failures


# -- tapes that are not whole --------------------------------------------------------------------


@FUZZ
@given(st.data())
def test_a_tape_that_was_cut_is_replayed_up_to_there(tmp_path: Path, data):
    """Wherever a kill cuts it, what is left is the same; without a whole head it is refused."""
    whole = small()
    size = data.draw(st.integers(0, len(whole) - len(END)))
    head_size = len(put_together(HEAD, []))
    if size < head_size:
        with pytest.raises(TapeError, match="ends before its head does"):
            played(tmp_path, whole[:size])
        return
    verdict = played(tmp_path, whole[:size])

    assert (CUT, None) == (verdict.end, verdict.difference)


def test_a_recording_that_gave_up_says_why(tmp_path: Path):
    """A tape that ended early is replayed, and an event whose decision is missing is no lie."""
    began = taken_apart(lines())[1][0]
    verdict = played(tmp_path, put_together(HEAD, [began, Ended("it is full")]))

    assert ("it is full", None, 1) == (verdict.end, verdict.difference, verdict.calls)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"listen: 127.0.0.1:8080\n", "it is no tape"),
        (b"baseload tapf 1\n", "it is no tape"),
        (b"baseload tape 3\nxyz", "a tape of form 3"),
        (TITLE + bytes(40), "not the beginning of a block"),
        (TITLE + block([["0.1.0", 0.0, 0.0, {}]]), r"written by baseload 0\.1\.0"),
        (TITLE + block([Ticked(1.0)]), "its head cannot be read"),
        (put_together(HEAD, [Ticked(1.0), Ticked(2.0)]) + bytes(40), "byte .* the 2 events before"),
        (put_together(HEAD, []) + END + END, "goes on after its own end"),
        (put_together(HEAD, []) + block([[99]]), "damaged at byte"),
        (put_together(HEAD, [Saw(1.0, "moon", 1.0, *[None] * 5)]), "a backend not in its setup"),
        (put_together(HEAD, [Announced(1.0, "moon", True)]), "a backend not in its setup"),
        (put_together(HEAD, [Heard(1, "done", 1.0, 0, "", 0, 0)]), "before it begins"),
        (put_together(HEAD, [Heard(0, "bored", 1.0, 0, "", 0, 0)]), "no such fact"),
        (lines(SENT, taken_apart(lines())[1][0]), "call 1 begins twice"),
        (change(lines(), lambda _, all_: all_.__setitem__(0, _of_model("x"))), "wants a model"),
    ],
)
def test_what_is_no_sound_tape_is_refused(tmp_path: Path, data: bytes, reason: str):
    """Foreign, damaged and lying files are each refused with what is wrong."""
    with pytest.raises(TapeError, match=reason):
        played(tmp_path, data)


def test_a_setup_that_makes_no_gate_is_refused(tmp_path: Path):
    """A model at a backend that the setup does not know is the tape's fault."""
    head = msgspec.structs.replace(HEAD, setup=msgspec.structs.replace(SETUP, concurrency={}))

    with pytest.raises(TapeError, match="no gate can be made"):
        played(tmp_path, put_together(head, []))


@FUZZ
@given(st.data())
def test_a_flipped_byte_is_found_or_harmless(tmp_path: Path, data):
    """A damaged tape is refused, or replayed up to a length that became too large."""
    damaged = bytearray(small())
    at = data.draw(st.integers(0, len(damaged) - 1))
    damaged[at] ^= data.draw(st.integers(1, 255))
    try:
        verdict = played(tmp_path, bytes(damaged))
    except TapeError:
        return

    assert (CUT, None) == (verdict.end, verdict.difference)


@FUZZ
@given(st.booleans(), st.binary(max_size=400))
def test_random_bytes_are_refused_or_cut(tmp_path: Path, has_head, data):
    """Noise, with or without a head before it, never does more than end in a clear error."""
    try:
        verdict = played(tmp_path, (put_together(HEAD, []) if has_head else TITLE) + data)
    except TapeError:
        return

    assert (CUT, 0) == (verdict.end, verdict.events)


@FUZZ
@given(st.data())
def test_random_records_end_in_a_verdict(tmp_path: Path, data):
    """A tape of sound blocks full of nonsense is judged like any other."""
    _, known = taken_apart(small())
    some = data.draw(st.lists(st.one_of(RECORDS, st.sampled_from(known)), max_size=60))
    verdict = None
    try:
        verdict = played(tmp_path, put_together(HEAD, some))
    except TapeError as error:
        assert str(error)  # noqa: PT017

    assert verdict is None or verdict.events <= len(some)
