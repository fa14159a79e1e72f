"""A backend as the gate sees it: what its evidence teaches its account's limit."""

from math import inf

from msgspec import structs

from baseload.config.fleet import Overload, Target
from baseload.core.breaker import FAILURES_MAX, OPEN_S_MAX
from baseload.core.facts import Call, Fact, Sight, Told
from baseload.core.limits import HOLD_S_MIN, AdaptiveLimit
from baseload.core.seat import Account, Permit, Seat
from tests.core.worlds import calls, gate

TARGET = Target(backend="a", model="m")


def _seat(limit: int, most: int) -> Seat:
    seat = Seat("a", Account(AdaptiveLimit(limit, most)), Overload())
    seat.limit.learn(Fact.BUSY.limit, limit, 0.0, 0.0)  # From here on growth counts time.
    return seat


def _taken(seat: Seat, number: int, now: float) -> list[tuple[Call, Permit]]:
    calls = [Call(id_, "m", 1000.0) for id_ in range(number)]
    return [(call, seat.take(call, TARGET, now)) for call in calls]


def _grown(parked: int) -> int:
    """Give a limit of ten after ten calls, of which the provider parks some, for two seconds."""
    seat = _seat(10, 100)
    begun = HOLD_S_MIN
    out = _taken(seat, 10, begun)
    for _, permit in out[:parked]:
        seat.parked_one(permit, begun + 0.3)
    for step, (call, permit) in enumerate(out[parked:]):
        now = begun + 0.5 * (step + 1)
        seat.began(call, permit, Told(Fact.FIRST_TOKEN, now))
    return seat.limit.limit


def test_calls_in_the_providers_queue_do_not_make_the_limit_grow():
    """A limit is used by what the provider works on; what it keeps waiting proves the contrary."""
    assert _grown(parked=0) > 10
    assert 10 == _grown(parked=4)


def _strained(
    queued_s: float, still_parked: int, sight: Sight | None = None, looks_until: float = inf
) -> int:
    """Give a limit of forty after first tokens that took long, and had been queued so long.

    Looks show `sight` until some time; from then on there are none.
    """
    seat = _seat(40, 40)
    seat.saw(sight or Sight(9.0), 9.0)
    for number in range(60):
        call = Call(number, "m", 1000.0)
        now = 10.0 + number
        if sight is not None and now < looks_until:
            seat.saw(structs.replace(sight, at=now), now)
        late = number >= 30
        permit = seat.take(call, TARGET, now - (8.0 if late else 0.2))
        seat.parked = still_parked if late else 0
        seat.began(call, permit, Told(Fact.FIRST_TOKEN, now, queued_s=queued_s if late else 0.0))
        seat.release(call, permit)
    return seat.limit.limit


def test_strain_from_a_queue_that_is_gone_is_no_news():
    """A backend that is slow, or still keeps calls waiting, gets less; one that has caught up not."""
    slow, queues, caught_up = _strained(0.0, 0), _strained(7.0, 1), _strained(7.0, 0)

    assert slow < 40
    assert queues < 40
    assert 40 == caught_up


def test_strain_takes_no_calls_from_an_engine_that_tells_its_own():
    """An engine that is slower for each of thirty calls is not made quicker by keeping them here."""
    silent = _strained(0.0, 0)
    tells = _strained(0.0, 0, Sight(9.0, waiting=0, running=30))
    half = _strained(0.0, 0, Sight(9.0, running=30))
    told_once = _strained(0.0, 0, Sight(9.0, waiting=0, running=30), looks_until=20.0)

    assert silent < 40
    assert 40 == tells
    assert half < 40
    assert told_once < 40


def _slow(others_at: float) -> bool:
    """Say whether a backend may be asked after five parked calls were too slow, sent at 10."""
    seat = _seat(40, 40)
    [(other, permit)] = _taken(seat, 1, 1.0)
    seat.began(other, permit, Told(Fact.FIRST_TOKEN, others_at))
    for call, slow in _taken(seat, FAILURES_MAX, 10.0):
        seat.parked_one(slow, 10.3)
        seat.release(call, slow)
        seat.ended(call, slow, Fact.SLOW, 20.0)
    return seat.is_usable()


def test_a_full_provider_is_not_a_broken_one():
    """Calls that waited in vain in its queue open the breaker only if nobody had a token."""
    assert _slow(others_at=15.0)
    assert not _slow(others_at=9.0)


def test_a_probe_that_hangs_does_not_keep_a_backend_closed():
    """While a probe hears nothing, the next call may probe in its stead, at an announced time."""
    desk = gate({"a": 1}, limit=10)
    each = calls()
    for _ in range(FAILURES_MAX):
        call = next(each)
        desk.offer(call, 0.0)
        desk.heard(call, Told(Fact.LOST, 0.0))
        desk.leave(call, 0.0)
    desk.tick(OPEN_S_MAX)
    probe, waiting = next(each), next(each)
    desk.offer(probe, OPEN_S_MAX)
    desk.attempt(probe)
    desk.offer(waiting, OPEN_S_MAX)
    due = desk.deadline()
    desk.tick(due)

    assert OPEN_S_MAX < due < 2 * OPEN_S_MAX
    assert [(waiting, Fact.ADMITTED)] == list(desk.notices)
