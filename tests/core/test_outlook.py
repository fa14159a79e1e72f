"""The most room that calls take together, found for one more without looking at all again."""

from hypothesis import given
from hypothesis import strategies as st

from baseload.core.outlook import Outlook

CALL = st.tuples(st.integers(0, 50), st.integers(0, 50))


def peak(calls: list[tuple[int, int]]) -> int:
    """Give the highest sum by writing token after token, each call up to its end."""
    most = 0
    for step in range(51):
        there = [holds + step for left, holds in calls if left >= step]
        most = max(most, sum(there))
    return most


@given(st.lists(CALL, max_size=8), CALL)
def test_one_more_is_found_as_if_all_were_written_out(calls, more):
    """The sums at the ends are the highest there are, wherever the new one ends."""
    assert peak([*calls, more]) == Outlook(calls).peak(*more)
