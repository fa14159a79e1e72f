"""Tests of when a dead engine is started again."""

from baseload.engines.restarts import RESTARTS_MAX, STEADY_S, Record, backoff_s


def test_pauses_double_up_to_a_cap():
    """Pauses start at a quarter of a second and never exceed 15 s."""
    assert [0.25, 0.5, 1, 2, 4, 8, 15, 15] == [backoff_s(attempt) for attempt in range(8)]
    assert 15 == backoff_s(10**9)


def test_a_first_start_does_not_wait():
    """Nothing has gone wrong before the first start."""
    assert 0 == Record().pause_s()


def test_a_server_that_stood_for_a_while_is_trusted_again():
    """A long life resets the pauses; a short one does not."""
    shaken = Record().after_death(1).after_death(1).after_death(1)

    assert 1.0 == shaken.pause_s()
    assert 2.0 == shaken.after_death(STEADY_S - 1).pause_s()
    assert 0.25 == shaken.after_death(STEADY_S).pause_s()


def test_only_starts_that_never_got_ready_add_up_to_a_failure():
    """Eight unready starts in a row are hopeless; one ready moment in between starts the count anew."""
    record = Record()
    for _ in range(RESTARTS_MAX - 1):
        record = record.after_death(None)

    assert not record.is_hopeless()
    assert record.after_death(None).is_hopeless()
    assert not record.after_death(0.1).after_death(None).is_hopeless()
