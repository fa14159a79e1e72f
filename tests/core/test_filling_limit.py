"""What an engine's filling does to its limit, and what of it is one worker's."""

import pytest

from baseload.config.serving import Batch
from baseload.core.facts import Call, Fact, Sight
from baseload.core.filling import Filling
from baseload.core.limits import AdaptiveLimit


def test_a_limit_that_was_refused_does_not_jump_to_the_knee():
    """What an engine has refused is not sent again because tokens would be made of it."""
    limit = AdaptiveLimit(8, 64)
    limit.learn(Fact.BUSY.limit, 3, 1.0, 1.0)
    limit.allow(32, 1.5)
    held = limit.limit
    limit.allow(2, 1.6)

    assert (4, 2) == (held, limit.limit)


def test_a_limit_that_is_let_go_feels_its_way_up():
    """When learning ends, an engine is not given at once what was never tried."""
    limit = AdaptiveLimit(64, 64)
    filling = Filling(Batch(), limit)
    filling.saw(Sight(1.0, made_tokens=0), 1.0)
    filling.let_go()

    assert (8, 64) == (limit.limit, limit.most)


def test_a_worker_has_its_part_of_an_engine():
    """What the engine tells is all workers': each has its part of the cache, and of the rate."""
    filling = Filling(Batch(token_s=0.05), AdaptiveLimit(8, 8), workers=2)
    for number in range(8):
        filling.take(Call(number, "m", 1000.0), 0.0)
    for at in range(1, 5):
        filling.saw(Sight(float(at), kv_tokens=1000, made_tokens=at * 1000), float(at))

    assert (500, 1000.0) == (filling.kv_tokens, filling.tokens_per_s)
    assert 500.0 == pytest.approx(filling.knee.rate)
