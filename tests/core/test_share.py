"""The parts of a limit that replicas may give out by themselves."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.config.tenancy import Limits
from baseload.core.card import Card
from baseload.core.quota import Scope
from baseload.core.share import KNOWN_MAX, Shares, part, share

SCOPE = Scope("s", Limits(rpm=600, tpm=10_000, concurrency=10, usd_day=10.0), "s")


def card() -> Card:
    made = Card(SCOPE.limits)
    made.roll(20_000)
    return made


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6), st.integers(0, 300), st.floats(0, 2))
def test_parts_add_up_to_the_limit(used: list[int], free: int, age: float):
    """Replicas that know the same give out what is left and no more, however old it is."""
    most, replicas = sum(used) + free, len(used)
    parts = [share(most, own, free, age, replicas) for own in used]
    pieces = [part(most, own, free, age, replicas) for own in used]

    assert pytest.approx(most) == sum(parts)
    assert most < replicas or sum(pieces) <= most


def test_at_first_what_was_left_is_divided_and_later_the_whole():
    """From its own use and a part of the rest, to a part of all."""
    assert 200 + 100 == share(600, 200, 200, 0.0, 2)
    assert 300 == share(600, 200, 200, 1.0, 2) == share(600, 600, 0, 7.0, 2)
    assert inf == share(inf, 1, inf, 0.5, 2)


def test_fewer_pieces_than_replicas():
    """Each may have one in the long run, so that somebody may."""
    assert 1 == part(1, 0, 1, 1.0, 3)


def test_in_a_moment_little_of_what_was_left_is_given():
    """One replica that waits while others go on gives out an eighth of its part; in an outage all."""
    shares, one = Shares(60.0), card()
    shares.learn("s", one, 440, 0, 0, 0.0, 0.0, now=5.0, is_late=False)
    shares.narrow(one, SCOPE, 10, 5.0, 2, is_moment=True)

    assert (10, 625, 5) == (one.rpm, one.tpm, one.concurrency)
    shares.lend("s", 50)
    shares.narrow(one, SCOPE, 10, 5.0, 2, is_moment=True)
    assert (9, 575) == (one.rpm, one.tpm)
    shares.narrow(one, SCOPE, 10, 5.0, 2, is_moment=False)
    assert (80, 5000) == (one.rpm, one.tpm)


def test_close_to_a_limit_a_hundredth_is_given_in_a_moment():
    """That is what limits may be off by; of a call's tokens, one call's at least."""
    shares, one = Shares(60.0), card()
    shares.learn("s", one, 590, 9990, 0, 0.0, 0.0, now=5.0, is_late=False)
    shares.narrow(one, SCOPE, 80, 5.0, 2, is_moment=True)

    assert (3, 5) == (one.rpm, one.tpm)


def test_a_replica_alone_has_all_that_is_left():
    """Nobody else can use it up."""
    shares, one = Shares(60.0), card()
    shares.narrow(one, SCOPE, 10, 5.0, 1, is_moment=True)

    assert 600 == one.rpm


def test_what_was_lent_is_forgotten_with_an_answer_that_counts_it():
    """An answer that was late may not know of it."""
    shares, one = Shares(60.0), card()
    shares.lend("s", 50)
    shares.learn("s", one, 440, 0, 0, 0.0, 0.0, now=5.0, is_late=True)
    shares.narrow(one, SCOPE, 10, 5.0, 2, is_moment=True)

    assert 9 == one.rpm
    shares.learn("s", one, 440, 0, 0, 0.0, 0.0, now=6.0, is_late=False)
    shares.narrow(one, SCOPE, 10, 6.0, 2, is_moment=True)
    assert 10 == one.rpm


def test_money_of_others_counts_and_what_they_left_is_divided():
    """Of ten dollars others spent four, so of two replicas each may spend three more."""
    shares, one = Shares(60.0), card()
    shares.learn("s", one, 0, 0, 0, 4.0, 4.0, now=5.0, is_late=False)
    one.spend(1.0)
    shares.narrow(one, SCOPE, 10, 500.0, 2, is_moment=False)

    assert (7.0, 5.0) == (one.usd_day, one.day_usd())
    one.roll(20_001)
    shares.narrow(one, SCOPE, 10, 500.0, 2, is_moment=False)
    assert (5.0, 0.0) == (one.usd_day, one.day_usd())


def test_what_is_known_is_bounded():
    """However many scopes there are, not more than so many are remembered."""
    shares = Shares(60.0)
    for number in range(2 * KNOWN_MAX + 5):
        shares.lend(f"s{number}", 1)

    assert len(shares._known) <= KNOWN_MAX
