"""What one engine is given at once: tokens in its cache, prompts being read, and who may pass."""

from itertools import count
from random import Random

import msgspec
import pytest

from baseload.config.fleet import Queue
from baseload.config.serving import Batch
from baseload.core.desk import PASSES_MAX
from baseload.core.facts import ADMITTED, BATCH, INTERACTIVE, QUEUED, Call, Fact, Sight, Told
from baseload.core.filling import (
    ANSWERS_MIN,
    KV_SHARE,
    KV_SHARE_MIN,
    PREFILL_TOKENS,
    PREFILL_TOKENS_MIN,
    Filling,
)
from baseload.core.gate import Gate
from baseload.core.limits import AdaptiveLimit
from baseload.core.setup import Setup
from tests.core.worlds import model

IDS = count(1)
KV = Batch(kv_tokens=1000)
READS = Batch(prefill_tokens=1000)


def call(prompt: int = 10, answer: int = 10, **fields) -> Call:
    """Give a call of that size."""
    return Call(next(IDS), "m", 1000.0, prompt_tokens=prompt, answer_tokens=answer, **fields)


def desk(batch: Batch | None, limit: int = 8, **fields) -> Gate:
    """Give a gate with one backend `a`, or two, that is given as much as `batch` says."""
    setup = Setup(
        models={"m": model({"a": 1})},
        concurrency={"a": limit},
        batches={} if batch is None else {"a": batch},
        queue=Queue(size=50, wait_s=500.0),
        **fields,
    )
    return Gate(setup, Random(7))


def told(of: Gate) -> dict[int, str]:
    """Fetch what the gate has to say, by call."""
    notices = {one.id: fact.label for one, fact in of.notices}
    of.notices.clear()
    return notices


def test_calls_wait_for_room_in_the_cache():
    """What prompt and answer will take is kept for each; who finds no room waits, and is let in."""
    gate, first, second, third = desk(KV), call(400, 100), call(300, 100), call(300, 100)
    facts = [gate.offer(one, 1.0) for one in (first, second, third)]
    gate.leave(first, 2.0)

    assert [ADMITTED, ADMITTED, QUEUED] == facts
    assert {third.id: "admitted"} == told(gate)


def test_an_empty_engine_takes_any_call():
    """One that is too large for the whole cache is sent when it is alone: the engine judges."""
    gate, large = desk(KV), call(5000, 5000)

    assert ADMITTED == gate.offer(large, 1.0)
    assert QUEUED == gate.offer(call(), 1.0)
    gate.leave(large, 2.0)
    assert ["admitted"] == list(told(gate).values())


def test_who_comes_later_does_not_pass_calls_of_its_size():
    """Room that is too little for the first of them is no newcomer's; a much shorter one may go."""
    gate = desk(KV)
    sizes = (500, 450, 300, 10)

    assert [ADMITTED, QUEUED, QUEUED, ADMITTED] == [gate.offer(call(one), 1.0) for one in sizes]


def test_the_engine_may_tell_how_much_it_holds():
    """Without the operator's number the engine's own is gone by, and nothing before it is known."""
    gate = desk(Batch())
    before = [gate.offer(call(400, 100), 1.0) for _ in range(3)]
    gate.observe("a", Sight(2.0, kv_tokens=1500), 2.0)

    assert [ADMITTED] * 3 == before
    assert QUEUED == gate.offer(call(), 3.0)


def test_prompts_that_are_read_are_metered():
    """So many tokens at once, until a first token comes; then the next is let in."""
    gate, first, second = desk(READS), call(900), call(200)
    facts = [gate.offer(one, 1.0) for one in (first, second)]
    gate.attempt(first)
    gate.heard(first, Told(Fact.FIRST_TOKEN, 2.0))

    assert [ADMITTED, QUEUED] == facts
    assert {second.id: "admitted"} == told(gate)
    assert 200 == gate.seats["a"].filling.reading


def test_a_failure_gives_all_room_back():
    """Also one before the first token, and a caller who leaves."""
    gate = desk(msgspec.structs.replace(READS, kv_tokens=1000))
    for fact in (Fact.REJECTED, Fact.GONE):
        one = call(500, 100)
        gate.offer(one, 1.0)
        gate.attempt(one)
        gate.heard(one, Told(fact, 1.0))
        gate.leave(one, 1.0)
    filling = gate.seats["a"].filling

    assert (0, 0, 0) == (filling.calls, filling.kv_out, filling.reading)


def test_a_short_prompt_passes_a_long_one_and_not_for_ever():
    """A long one waits while short ones fit beside what is read; after some, room is kept for it.

    Short ones come without end here, and each is read before the next but one comes.
    """
    gate, reader, long = desk(READS, limit=100), call(600), call(900)
    gate.offer(reader, 1.0)
    waits = gate.offer(long, 1.0)
    inside, passed = [reader], 0
    for step in range(50):
        now = 2.0 + step
        short = call(50)
        if gate.offer(short, now) is ADMITTED:
            passed += 1
            inside.append(short)
        elif long.id in told(gate):
            break
        done = inside.pop(0) if inside else None
        if done is not None:
            gate.leave(done, now + 0.5)
        inside += [one for one, _ in gate.notices if one is not long]
        if long.id in told(gate):
            break

    assert QUEUED is waits
    assert long.id not in gate.line.waiting
    assert 1 <= passed <= PASSES_MAX + 2


def test_who_was_passed_too_often_is_next_even_before_newcomers():
    """A newcomer who would fit waits, too, once room is kept for another."""
    gate, reader, long = desk(READS, limit=100), call(600), call(900)
    gate.offer(reader, 1.0)
    gate.offer(long, 1.0)
    facts = [gate.offer(call(1), 2.0) for _ in range(PASSES_MAX)]
    later = gate.offer(call(1), 3.0)

    assert [ADMITTED] * PASSES_MAX == facts
    assert QUEUED == later


def test_the_more_urgent_are_not_kept_waiting_for_the_less():
    """Room that is kept for one call does not hold up an interactive one."""
    gate, reader, long = desk(READS, limit=100), call(600), call(900)
    gate.offer(reader, 1.0)
    gate.offer(long, 1.0)
    for _ in range(PASSES_MAX):
        gate.offer(call(1), 2.0)
    gate.observe("a", Sight(2.5), 2.5)

    assert QUEUED == gate.offer(call(1), 3.0)
    assert ADMITTED == gate.offer(call(1, priority=INTERACTIVE), 3.0)


def test_nobody_is_pushed_out_for_room_that_would_still_be_lacking():
    """An interactive call takes a batch call's permit only if it can use it."""
    gate = desk(Batch(kv_tokens=1000), limit=2)
    small, other = call(10, 10, priority=BATCH), call(800, 50)
    for one in (small, other):
        gate.offer(one, 1.0)
        gate.attempt(one)
    fact = gate.offer(call(500, 100, priority=INTERACTIVE), 2.0)

    assert (QUEUED, {}) == (fact, told(gate))
    assert 2 == gate.seats["a"].in_flight


def test_answers_are_expected_as_they_were():
    """Callers who allow thousands and take a few are counted for a few, and a bound stays one."""
    filling = Filling(Batch(), AdaptiveLimit(8, 8))
    before = filling.need(call(100, 4000))
    for _ in range(10 * ANSWERS_MIN):
        filling.answered(call(100, 4000), 300)

    assert 4100 == before
    assert 300 <= filling.need(call(100, 4000)) <= 330
    assert 105 == filling.need(call(100, 5))


def test_answers_longer_than_said_are_expected_to_be():
    """Where what callers say is no bound, more is kept for them."""
    filling = Filling(Batch(), AdaptiveLimit(8, 8))
    for _ in range(10 * ANSWERS_MIN):
        filling.answered(call(100, 200), 100 + 600)

    assert 650 <= filling.need(call(100, 200)) <= 750


def test_young_and_old_calls_do_not_need_their_most_at_once():
    """Of calls that are at their ends and others that begin, more fit than if all began now."""
    fits = []
    for is_staggered in (False, True):
        filling = Filling(Batch(kv_tokens=2000), AdaptiveLimit(99, 99))
        filling._each_per_s = 10.0
        taken = 0
        for number in range(20):
            one, now = call(10, 200), (2.0 if is_staggered else 0.0) * number
            if not filling.has_room(one):
                break
            filling.began(filling.take(one, now), 0.0, now)
            taken += 1
        fits.append(taken)

    assert 9 == fits[0]
    assert fits[0] < fits[1] <= 18


def test_calls_that_were_thrown_out_teach_caution():
    """Each look that shows it takes a part of the cache away, down to a floor; time gives back."""
    filling, shares = Filling(Batch(), AdaptiveLimit(8, 8)), []
    for at, preemptions in [(1.0, 5), (2.0, 6), (3.0, 6), (500.0, 6)]:
        filling.saw(Sight(at, kv_tokens=9, preemptions=preemptions), at)
        shares.append(filling.kv_share)
    for at in range(501, 600):
        filling.saw(Sight(float(at), kv_tokens=9, preemptions=at), float(at))

    assert KV_SHARE == shares[0] > shares[2] > shares[1] > KV_SHARE_MIN
    assert KV_SHARE == shares[3]
    assert KV_SHARE_MIN == filling.kv_share


@pytest.mark.parametrize(
    ("tokens_s", "expected"), [(100, PREFILL_TOKENS_MIN), (8000, 8000), (50_000, 50_000)]
)
def test_the_meter_follows_the_speed_of_reading(tokens_s: int, expected: int):
    """As many tokens as are read within half of what callers find quick; a slow engine's least."""
    filling, now = Filling(Batch(), AdaptiveLimit(99, 99)), 0.0
    before = filling.prefill_tokens
    for _ in range(40):
        filled = filling.take(call(1024), now)
        now += 1024 / tokens_s
        filling.began(filled, 1024 / tokens_s, now)
        now += 5.0  # Nothing is read, which says nothing of the speed.

    assert PREFILL_TOKENS == before
    assert expected == pytest.approx(filling.prefill_tokens, rel=0.01)


def _learnt(batch: Batch, most: int = 64) -> tuple[Filling, AdaptiveLimit]:
    """Give a filling that has seen the engine's total once."""
    limit = AdaptiveLimit(most, most)
    filling = Filling(batch, limit)
    filling.saw(Sight(1.0, made_tokens=1), 1.0)
    return filling, limit


def test_without_a_rate_the_limit_is_as_ever():
    """Looks that tell no tokens leave the limit alone; the first that does begins to learn."""
    limit = AdaptiveLimit(64, 64)
    filling = Filling(Batch(), limit)
    filling.saw(Sight(1.0, running=3), 1.0)
    before = limit.limit
    filling.saw(Sight(2.0, made_tokens=0), 2.0)

    assert (64, 8) == (before, limit.limit)


def test_a_speed_that_is_told_is_as_good_as_a_total():
    """SGLang tells tokens a second instead of counting them as they are written."""
    filling = Filling(Batch(), AdaptiveLimit(64, 64))
    for at in range(1, 5):
        filling.saw(Sight(float(at), tokens_per_s=80.0), float(at))

    assert 80.0 == pytest.approx(filling.tokens_per_s)


def test_an_answer_that_comes_whole_is_not_read_for_as_long_as_it_is_written():
    """Nobody may hear its first token: its prompt counts as read after half of callers' patience."""
    filling, long = Filling(READS, None), call(900, is_stream=False)
    filled = filling.take(long, 0.0)
    room = []
    for at in (0.9, 1.1):
        filling.saw(Sight(at), at)
        room.append(filling.has_room(call(200)))
    filling.left(filled, 4.0)

    assert ([False, True], 0) == (room, filling.reading)


def test_an_embedding_is_read_until_it_ends():
    """All that is done for it is to read it."""
    filling = Filling(READS, None)
    filling.take(call(900, is_stream=False, is_whole=True), 0.0)
    filling.saw(Sight(60.0), 60.0)

    assert 900 == filling.reading


def test_nobody_is_thrown_out_for_who_may_not_come_in():
    """A batch call stays while room is kept for one that was passed too often."""
    gate = desk(KV)
    batch, other = call(300, 10, priority=BATCH), call(500, 10)
    passed, late = call(900, 10, priority=INTERACTIVE), call(200, 10, priority=INTERACTIVE)
    for one in (batch, other):
        gate.offer(one, 1.0)
        gate.attempt(one)
    gate.offer(passed, 2.0)
    gate._stays[passed.id].passes = PASSES_MAX
    fact = gate.offer(late, 3.0)

    assert (QUEUED, {}) == (fact, told(gate))
    assert 2 == gate.seats["a"].in_flight


def test_an_engine_that_was_started_anew_counts_from_nothing():
    """A total that falls begins a new window, and gives no rate below nothing."""
    filling, _ = _learnt(Batch())
    for at, total in [(2.0, 101), (3.0, 5), (4.0, 55)]:
        filling.saw(Sight(at, made_tokens=total), at)

    assert 50.0 == pytest.approx(filling.tokens_per_s)


def test_an_account_that_others_share_keeps_its_limit():
    """One backend's knee is none of its siblings' business; room is still reckoned."""
    gate = desk(Batch(kv_tokens=1000), accounts={"a": "team"})
    gate.observe("a", Sight(1.0, made_tokens=0), 1.0)
    limit = gate.seats["a"].limit.limit

    assert (8, None) == (limit, gate.seats["a"].filling.knee)


def test_a_reload_changes_bounds_and_forgets_no_call():
    """What was given out stays counted, also by who is filled no longer, and learning goes on."""
    gate, one = desk(KV), call(500, 100)
    gate.offer(one, 1.0)
    setups = [
        Setup(models={"m": model({"a": 1})}, concurrency={"a": 8}, batches=batches)
        for batches in ({"a": Batch(kv_tokens=5000)}, {}, {"a": KV})
    ]
    gate.reconfigure(setups[0], 2.0)
    kept = gate.seats["a"].filling.kv_out
    gate.reconfigure(setups[1], 3.0)
    none = gate.seats["a"].filling
    gate.reconfigure(setups[2], 4.0)
    gate.leave(one, 5.0)
    filling = gate.seats["a"].filling

    assert (600, None) == (kept, none)
    assert (0, 0, 0) == (filling.calls, filling.kv_out, filling.reading)


@pytest.mark.parametrize("is_learnt", [False, True])
def test_slow_first_tokens_are_judged_with_what_is_written(is_learnt: bool):
    """Where the rate is known they are the objectives' business, else the limit gives way."""
    gate, now = desk(Batch()), 1.0
    if is_learnt:
        gate.observe("a", Sight(now, made_tokens=0), now)
    for number in range(60):
        one, first_s = call(), 0.1 if number < 40 else 5.0
        gate.offer(one, now)
        gate.attempt(one)
        gate.heard(one, Told(Fact.FIRST_TOKEN, now + first_s))
        gate.leave(one, now + first_s)
        now += first_s

    assert is_learnt == (gate.seats["a"].limit.limit == 8)
