"""How several workers' parts become one page."""

import msgspec
from msgspec import structs

from baseload.cli.channel import FRAME_BYTES_MAX
from baseload.cli.merging_live import Whole, merged_live
from baseload.gateway.live.buckets import EDGES_S, Buckets, percentiles, steps
from baseload.gateway.live.happenings import KEPT_MAX, REASON_MAX, Happening
from baseload.gateway.live.headline import ModelView, Place
from baseload.gateway.live.part import Look, Part, Tally, take_part
from baseload.gateway.live.pulse import ERRORS_MAX, SAMPLES_MAX, Error, Sample, Timing
from baseload.gateway.live.spending import KEYS_MAX, OTHERS, KeyView, Spent
from baseload.gateway.live.standing import BackendView
from baseload.gateway.live.view import State, View
from tests.gateway.harness import chat, on_uvloop, raw, start_gateway
from tests.gateway.provider import Provider, stream

NOW = 1_000_000
"""The second that is over."""


def _card(**fields) -> BackendView:
    whole = {
        "name": "a", "where": "http://a", "state": "up", "tone": "good", "words": "Well.",
        "light": "green", "why": "", "in_flight": 1, "limit": 4, "limit_most": 8, "parked": 0,
        "queued_s": 0.0, "portion": 1.0, "share": 1.0, "attempts_s": 2.0, "error_rate": 0.0,
        "failures": 0, "first_token": None, "breaker": "closed", "probes_in_s": None,
        "errors": [], "engine": None, "is_usable": True,
    }  # fmt: skip
    return BackendView(**(whole | fields))


def _state(*cards: BackendView, **fields) -> State:
    cards = cards or (_card(),)
    whole = {
        "boot": "x", "tick": 7, "at": NOW + 1.0, "version": "0", "listen": "127.0.0.1:1",
        "uptime_s": 5.0, "state": "serving", "connections": 2, "in_flight": 3, "waiting": 1,
        "queue_size": 50, "lag_s": 0.01, "troubles": [], "backends": list(cards),
        "models": [ModelView("m", is_served=True, tiers=[[Place("a", "m", 1)]])], "keys": [],
    }  # fmt: skip
    return State(**(whole | fields))


def _part(*samples: Sample, state: State | None = None, **fields) -> Part:
    whole = {
        "state": state or _state(),
        "first": int(samples[0].at) if samples else NOW + 2,
        "samples": list(samples),
        "timings": [Timing((), ()) for _ in samples],
        "happenings": [],
        "tallies": {"a": Tally(0, 0, [])},
        "alarms": [],
    }
    return Part(**(whole | fields))


def _sample(at: float, answered: int = 0, **fields) -> Sample:
    return Sample(1, at, fields.pop("span_s", 1.0), answered, **fields)


def _merge(*parts: Part, **fields):
    whole = {
        "boot": "all", "tick": NOW, "since": 0, "at": NOW + 1.5, "error_rate": 0.05,
        "count": len(parts), "missing": {}, "notes": (),
    }  # fmt: skip
    return merged_live(dict(enumerate(parts)), Whole(**(whole | fields)))


# -- second by second ------------------------------------------------------------------------------


def test_what_ended_in_the_same_second_is_added_up():
    """Counts, refusals and what stands open are sums; the tick is the second."""
    one = _sample(NOW + 0.1, 3, failed=1, in_flight=2, refusals={"limit": 1}, refused=1)
    other = _sample(NOW + 0.9, 4, in_flight=5, refusals={"limit": 2, "not allowed": 1}, refused=3)
    (sample,) = _merge(_part(one), _part(other)).samples

    assert (NOW, 1.0, 7, 1, 4, 7) == (
        sample.tick, sample.span_s, sample.answered, sample.failed, sample.refused,
        sample.in_flight,
    )  # fmt: skip
    assert {"limit": 3, "not allowed": 1} == sample.refusals


def test_percentiles_are_those_of_all_calls():
    """They are made from the buckets, not from other percentiles: the slow worker had few calls."""
    fast, slow, both = Buckets(), Buckets(), Buckets()
    for bucket, seconds, count in ((fast, 0.1, 99), (slow, 8.0, 1)):
        for _ in range(count):
            bucket.add(seconds)
            both.add(seconds)
    none = [0] * (len(EDGES_S) + 1)
    parts = [
        _part(
            _sample(NOW + 0.5),
            timings=[Timing(steps(none, one.counts), steps(none, one.counts))],
            tallies={"a": Tally(1, 1, list(steps(none, one.counts)))},
        )
        for one in (fast, slow)
    ]
    live, of_all = _merge(*parts), percentiles(steps(none, both.counts))

    assert of_all == live.samples[0].first_token == live.samples[0].between_tokens
    assert of_all == live.state.backends[0].first_token
    assert of_all is not None
    assert of_all.p95 < 1.0


def test_rates_stay_right_when_looks_and_seconds_do_not_match():
    """Ten calls a second at each worker are twenty, though one looked twice in one second."""
    steady = [_sample(NOW - back + 0.5, 10, in_flight=1) for back in (2, 1, 0)]
    drifting = [
        _sample(at, 10, in_flight=1) for at in (NOW - 1.99, NOW - 0.99, NOW - 0.01)
    ]  # fmt: skip
    samples = _merge(_part(*steady), _part(*drifting)).samples

    assert [20, 30, 10] == [sample.answered for sample in samples]
    assert [20.0] * 3 == [sample.answered / sample.span_s for sample in samples]
    assert [2] * 3 == [sample.in_flight for sample in samples]


def test_before_a_worker_came_it_is_not_counted():
    """The other one's calls of that time are all there were."""
    old = _part(*[_sample(NOW - back + 0.5, 10) for back in (2, 1, 0)])
    samples = _merge(old, _part(_sample(NOW + 0.2, 5))).samples

    assert [10.0, 10.0, 15.0] == [sample.answered / sample.span_s for sample in samples]


def test_a_second_is_shown_when_it_is_over_and_once():
    """What may still grow waits for the next look, and what a page has is not sent again."""
    part = _part(*[_sample(NOW + ahead + 0.5, 1) for ahead in (-1, 0, 1)])

    assert [NOW - 1, NOW] == [sample.tick for sample in _merge(part, part).samples]
    assert [NOW] == [sample.tick for sample in _merge(part, part, since=NOW - 1).samples]


def test_there_is_a_bound():
    """However the seconds fall, no more samples and lines are given than of one process."""
    samples = [_sample(NOW - back + 0.5) for back in range(SAMPLES_MAX - 1, -1, -1)]
    earlier = [structs.replace(one, at=one.at - SAMPLES_MAX / 2) for one in samples]
    lines = [Happening(1, NOW + n / 999, "operator", "note", f"{n}") for n in range(KEPT_MAX)]
    live = _merge(_part(*samples, happenings=lines), _part(*earlier), notes=lines)

    assert (SAMPLES_MAX, NOW) == (len(live.samples), live.samples[-1].tick)
    assert KEPT_MAX == len(live.happenings)


# -- what happened ---------------------------------------------------------------------------------


def test_happenings_are_told_by_time_and_once():
    """The same words in the same second are one line, which says how many workers saw it."""
    red = Happening(3, NOW - 4.5, "level", "bad", "a turned from green to red", "a")
    move = Happening(4, NOW - 2.5, "failover", "warn", "2 calls failed at a", "a", 2)
    note = Happening(0, NOW - 3.5, "operator", "note", "a: an operator ordered to drain it", "a")
    live = _merge(
        _part(happenings=[red, move]),
        _part(happenings=[structs.replace(red, tick=9, at=NOW - 4.1)]),
        notes=[note],
    )

    assert [
        (NOW - 5, "a turned from green to red (2 of 2 workers)", 2),
        (NOW - 4, "a: an operator ordered to drain it", 1),
        (NOW - 3, "2 calls failed at a (worker 0)", 2),
    ] == [(one.tick, one.words, one.count) for one in live.happenings]


# -- how things stand ------------------------------------------------------------------------------


def test_the_house_is_added_up():
    """Connections, calls and places are sums, the loop that is latest counts, and the boot is ours."""
    states = [_state(lag_s=0.3), _state(state="starting", uptime_s=99.0)]
    state = _merge(*[_part(state=one) for one in states]).state

    assert ("all", NOW, "serving", 99.0) == (state.boot, state.tick, state.state, state.uptime_s)
    assert (4, 6, 2, 100, 0.3) == (
        state.connections, state.in_flight, state.waiting, state.queue_size, state.lag_s,
    )  # fmt: skip


def test_a_backend_is_open_if_it_is_for_any_worker():
    """And the worst words are shown, with how many workers feel so."""
    words = "Left alone for a while after failures: boom."
    bad = _card(
        state="open", tone="bad", words=words, breaker="open", probes_in_s=4.0, is_usable=False,
        failures=3, light="red", why="3 of 3 failed", portion=0.0,
        errors=[Error("lost", "boom", 5.0, 3), Error("lost", "old", 1.0)],
    )  # fmt: skip
    good = _card(errors=[Error("lost", "boom", 9.0, 1)], in_flight=4)
    state = _merge(
        _part(state=_state(good), tallies={"a": Tally(30, 9, [])}),
        _part(state=_state(bad), tallies={"a": Tally(10, 0, [])}),
    ).state
    (card,) = state.backends

    assert ("up", "bad", "red", "3 of 3 failed") == (card.state, card.tone, card.light, card.why)
    assert "Left alone for a while after failures: boom (1 of 2 workers)." == card.words
    assert (5, 8, 16, 0.5, 1.0) == (
        card.in_flight, card.limit, card.limit_most, card.portion, card.share,
    )  # fmt: skip
    assert (0.25, 3, "open", 4.0, True) == (
        card.error_rate, card.failures, card.breaker, card.probes_in_s, card.is_usable,
    )  # fmt: skip
    assert [("boom", 9.0, 4), ("old", 1.0, 1)] == [
        (error.reason, error.at, error.count) for error in card.errors
    ]


def test_down_is_what_all_call_down():
    """One worker that has heard of an engine is enough to be up; for none it is down."""
    down = _card(state="down", tone="bad", words="Down: its engine is not ready.", is_usable=False)
    one = _merge(_part(), _part(state=_state(down))).state
    none = _merge(_part(state=_state(down)), _part(state=_state(down))).state

    assert ("up", True) == (one.backends[0].state, one.models[0].is_served)
    assert ("down", "Down: its engine is not ready.") == (
        none.backends[0].state, none.backends[0].words,
    )  # fmt: skip


def test_what_is_wrong_is_found_in_the_sums_and_said_once():
    """Two calls that failed at each worker are four: each alone would have kept quiet."""
    parts = [_part(_sample(NOW + 0.5, 1, failed=2), alarms=["The disk is full."]) for _ in "ab"]
    words = [trouble.words for trouble in _merge(*parts).state.troubles]

    assert ["4 of 6 calls failed for their callers in the last 10 s.", "The disk is full."] == words


def test_a_drained_backend_says_how_many_calls_are_left_in_all():
    """Not how many one of the workers has."""
    card = _card(state="draining", tone="off", words="(of one)", in_flight=1, is_usable=False)
    (merged,) = _merge(_part(state=_state(card)), _part(state=_state(card))).state.backends

    assert "Drained by an operator: no new calls; 2 calls are still open." == merged.words
    assert ("draining", "off", False) == (merged.state, merged.tone, merged.is_usable)


def test_who_does_not_answer_is_said():
    """The worst first; what the others tell is shown all the same."""
    missing = {1: "starting", 2: "silent"}
    state = _merge(_part(), missing=missing, count=3).state

    assert [
        ("bad", "Worker 2 does not answer: what it does is not shown here."),
        ("warn", "Worker 1 is being started."),
    ] == [(trouble.tone, trouble.words) for trouble in state.troubles]


def test_what_keys_have_used_is_added_up():
    """The most expensive comes first, and beyond a bound they are one."""
    cheap, dear = Spent(1, 10, 2, 3, 1, 0.5), Spent(2, 20, 4, 6, 0, 0.7)
    one = _state(keys=[KeyView("x", dear, dear), KeyView("y", cheap, cheap)])
    other = _state(keys=[KeyView("y", cheap, cheap)])
    crowds = [
        _state(keys=[KeyView(f"{worker}-{n}", cheap, cheap) for n in range(KEYS_MAX)])
        for worker in "ab"
    ]
    keys = _merge(_part(state=one), _part(state=other)).state.keys
    many = _merge(*[_part(state=crowd) for crowd in crowds]).state.keys

    assert [("y", Spent(2, 20, 4, 6, 2, 1.0)), ("x", dear)] == [(key.name, key.day) for key in keys]
    assert (KEYS_MAX + 1, OTHERS, KEYS_MAX) == (len(many), many[0].name, many[0].day.calls)


def test_workers_with_different_fleets_are_merged_all_the_same():
    """During a reload one has a backend that the other has not: the next look puts it right."""
    new = _state(_card(), _card(name="b"))
    before = _merge(_part(), _part(state=new)).state
    after = _merge(_part(state=new), _part()).state

    assert [["a"], ["a", "b"]] == [[one.name for one in it.backends] for it in (before, after)]


# -- what is sent ----------------------------------------------------------------------------------


@on_uvloop
async def test_a_worker_sends_what_is_new_and_what_it_is_made_of():
    """A part goes through a channel's bytes and is the same again."""
    async with Provider(stream("a", "b")) as provider, start_gateway(provider) as gateway:
        watch = gateway.pulse
        gateway._sweep.cancel()  # Seconds pass here when the test says so.
        watch.samples.clear()
        watch.keep_timings()
        for at in (NOW - 1.5, NOW - 0.5, NOW + 0.5):
            await raw(gateway.address[1], chat(stream=True))
            assert watch._looked_at is not None
            watch.look(watch._looked_at + 1.0, 0, at)
        gateway.operate("b0", "drain")
        part = take_part(gateway, View(gateway), Look(NOW - 2, {}), ["Woe."])
        sent = msgspec.msgpack.decode(msgspec.msgpack.encode(part), type=Part)

    assert part == sent
    assert [NOW - 0.5, NOW + 0.5] == [sample.at for sample in sent.samples]
    assert [1, 1] == [sum(n for _, n in timing.first_token) for timing in sent.timings]
    assert (NOW - 2, ["Woe."], "draining") == (
        sent.first, sent.alarms, sent.state.backends[0].state,
    )  # fmt: skip
    assert (3, 3) == (
        sent.tallies["b0"].attempts,
        sum(n for _, n in sent.tallies["b0"].first_token),
    )


def test_the_largest_part_fits_into_a_frame():
    """A quarter of an hour in which every bucket was hit each second, with 1000 sick backends."""
    every = tuple((place, 70_000) for place in range(len(EDGES_S) + 1))
    reason = "x" * REASON_MAX
    cards = [
        _card(
            name=f"backend-{n}", words=reason, why=reason,
            errors=[Error("lost", reason, float(NOW), 9) for _ in range(ERRORS_MAX)],
        )
        for n in range(1000)
    ]  # fmt: skip
    part = _part(
        *[
            _sample(NOW + n, 9999, refusals=dict.fromkeys("abcdefgh", 9))
            for n in range(SAMPLES_MAX)
        ],
        timings=[Timing(every, every)] * SAMPLES_MAX,
        state=_state(*cards),
        tallies={card.name: Tally(9, 9, list(every)) for card in cards},
        happenings=[Happening(1, NOW, "level", "bad", 2 * reason, "a")] * KEPT_MAX,
    )
    size = len(msgspec.msgpack.encode(part))

    assert size < FRAME_BYTES_MAX / 2
