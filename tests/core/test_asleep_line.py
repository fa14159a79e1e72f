"""The line of those who wait for a backend at zero: its bounds, its pace, and who else stands there."""

from random import Random

import pytest

from baseload.config.fleet import Model, Queue, Target
from baseload.core.facts import (
    DONE,
    EXPIRED,
    FIRST_TOKEN,
    INTERACTIVE,
    QUEUED,
    SHED,
    UNREACHABLE,
    Call,
    Sight,
    Told,
)
from baseload.core.gate import Gate
from baseload.core.setup import Setup
from tests.core.test_asleep import COLD_S, asleep, notices, sleepy
from tests.core.worlds import calls, fail, model


@pytest.mark.parametrize("is_seen", [True, False])
def test_a_cold_start_says_nothing_of_how_fast_the_line_moves(is_seen: bool):
    """After a minute's sleep, calls that find a line are not told that they would wait for hours.

    So it is whether a look has woken it, or the answer to one who was sent to see.
    """
    desk, first = asleep(limit=1, size=20, wait_s=5.0, cold_start_s=50.0)
    for number in range(1, 10):
        desk.offer(Call(number, "m", 1000.0), 11.0)
    if is_seen:
        desk.observe("z", Sight(60.0), 60.0)
    else:
        desk.tick(60.0)
        desk.heard(first, Told(FIRST_TOKEN, 60.3))
    desk.heard(first, Told(DONE, 60.5))
    facts = desk.offer(Call(10, "m", 1000.0), 60.6)

    assert QUEUED is facts


def test_others_who_expire_are_told_what_they_were():
    """A call that waited for a full backend, and for no sleeper, has expired."""
    desk, ids = sleepy({"a": 1}, {"z": 1}, limit=1, wait_s=5.0), calls()
    desk.seats["z"].is_up = False
    desk.offer(next(ids), 10.0)
    waiting = next(ids)
    desk.offer(waiting, 10.0)
    desk.tick(15.0)

    assert [(waiting.id, EXPIRED)] == notices(desk)


def test_the_queue_still_bounds_who_waits():
    """A sleeper makes nobody wait beyond the line's size."""
    desk = sleepy(size=1)
    first = Call(0, "m", 1000.0)
    desk.offer(first, 10.0)
    fail(desk, first, UNREACHABLE, 10.0)

    assert "shed" == desk.offer(Call(1, "m", 1000.0), 10.0).label
    assert 1 == len(desk.line)


def test_who_finds_the_line_full_of_sleepers_callers_is_told_when_they_may_be_gone():
    """Nobody knows how fast such a line will move: not at once, as its pace until then may say."""
    desk, _ = asleep(size=1)
    refused = Call(1, "m", 1000.0)
    fact = desk.offer(refused, 20.0)

    assert SHED is fact
    assert COLD_S - 10.0 <= desk.retry_after_s(refused, SHED)


def full_of_sleepers_callers(**fields) -> Gate:
    """Give a gate whose line is full of calls for `z`, model `m`; `a`, for `n`, has no permit."""
    target = Target(backend="a", model="a")
    setup = Setup(
        models={"m": model({"z": 1}), "n": Model(name="n", tiers=({"a": target},))},
        concurrency={"a": 1, "z": 1},
        cold_starts={"z": COLD_S},
        queue=Queue(size=3, wait_s=5.0),
    )
    desk = Gate(setup, Random(7))
    desk.offer(Call(0, "n", 1000.0), 10.0)
    desk.offer(Call(1, "m", 1000.0), 10.0)
    fail(desk, Call(1, "m", 1000.0), UNREACHABLE, 10.0)
    for number in (2, 3):
        desk.offer(Call(number, "m", 1000.0, **fields), 10.0)
    return desk


def test_a_model_at_zero_does_not_fill_the_line_for_others():
    """For one who waits for somebody that is there, the newest who waits for nobody goes."""
    desk = full_of_sleepers_callers()
    facts = [
        desk.offer(Call(number, model, 1000.0), 11.0) for number, model in ((4, "n"), (5, "m"))
    ]

    assert [QUEUED, SHED] == facts
    assert [(3, SHED)] == notices(desk)
    assert 3 == len(desk.line)


def test_who_is_more_urgent_keeps_its_place():
    """Also while it waits for nobody."""
    desk = full_of_sleepers_callers(priority=INTERACTIVE)
    facts = [desk.offer(Call(number, "n", 1000.0), 11.0) for number in (4, 5)]

    assert [QUEUED, SHED] == facts
    assert [(1, SHED)] == notices(desk)
