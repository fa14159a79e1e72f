"""The budget of extra attempts."""

import pytest

from baseload.core.budget import Budget


@pytest.mark.parametrize(
    ("share", "least", "live", "most"),
    [(0.2, 3, 0, 3), (0.2, 3, 15, 3), (0.2, 3, 100, 20), (0.0, 0, 100, 0), (0.5, 0, 3, 1)],
)
def test_extra_attempts_are_a_share_of_live_calls(share, least, live, most):
    """So many may be out at once: the share of live calls, rounded down, or the least."""
    budget = Budget(share, least)
    while budget.can_take(live):
        budget.take()

    assert most == budget.out


def test_what_is_released_can_be_taken_again():
    """An attempt that is over makes room for another."""
    budget = Budget(0.0, 1)
    budget.take()
    is_full = not budget.can_take(1000)
    budget.release()

    assert is_full
    assert budget.can_take(0)
