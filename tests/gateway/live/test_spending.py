"""What keys have used: sums over an hour and a day, and bounds."""

from random import Random

from baseload.gateway.live.spending import (
    HOURS,
    KEYS_MAX,
    MINUTE_S,
    MINUTES,
    NOBODY,
    OTHERS,
    Spending,
    Spent,
)


def test_calls_are_summed_by_key():
    """Tokens and money add up; calls without a price are counted apart."""
    spending = Spending()
    spending.add("a", 10, 4, 5, 0.5)
    spending.add("a", 1, 0, 1, None)
    spending.add("", 7, 0, 7, 0.25)
    found = {key.name: key.hour for key in spending.view()}

    assert {"a": Spent(2, 11, 4, 6, 1, 0.5), NOBODY: Spent(1, 7, 0, 7, 0, 0.25)} == found


def test_an_hour_and_a_day_roll_by_the_minute():
    """At any minute the sums are those of the last 60 minutes, and of the last day's hours."""
    rng, spending = Random(5), Spending()
    spending.look(0.0)
    spent: list[int] = []
    for minute in range(26 * MINUTES + 17):
        count = rng.randrange(4)
        for _ in range(count):
            spending.add("a", 1, 0, 0, 0.001)
        spent.append(count)
        if minute % 7 == 3:
            (key,) = spending.view()
            whole_hours = minute // MINUTES - (HOURS - 1)

            assert sum(spent[-MINUTES:]) == key.hour.calls
            assert sum(spent[max(0, whole_hours * MINUTES) :]) == key.day.calls
            assert key.day.cost_usd == round(key.day.calls * 0.001, 6)
        spending.look((minute + 1) * MINUTE_S)


def test_a_key_that_is_quiet_for_a_day_is_no_longer_told():
    """What was used is forgotten after a day."""
    spending = Spending()
    spending.look(0.0)
    spending.add("a", 1, 0, 0, None)
    spending.look((HOURS + 1) * MINUTES * MINUTE_S)

    assert [] == spending.view()


def test_a_clock_that_jumps_far_is_caught_up_with():
    """After a sleep of a month the next minute is a minute away, and nothing is looped over."""
    spending = Spending()
    spending.look(0.0)
    spending.add("a", 1, 0, 0, None)
    spending.look(1e7)
    spending.add("a", 1, 0, 0, None)

    assert [1] == [key.day.calls for key in spending.view()]


def test_keys_are_bounded():
    """Beyond so many keys they share one purse; places of forgotten keys are given out again."""
    spending = Spending()
    spending.look(0.0)
    for number in range(KEYS_MAX + 10):
        spending.add(f"k{number}", 1, 0, 0, None)
    found = {key.name: key.hour.calls for key in spending.view()}
    spending.look((HOURS + 2) * MINUTES * MINUTE_S)
    spending.add("late", 1, 0, 0, None)

    assert (KEYS_MAX + 1, 10) == (len(found), found[OTHERS])
    assert ["late"] == [key.name for key in spending.view()]
