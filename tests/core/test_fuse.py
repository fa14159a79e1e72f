"""A helper that is late or fails is left alone, and looked after from time to time."""

from math import inf

from baseload.core.fuse import LATE_MAX, OPEN_S_MAX, OPEN_S_MIN, STEADY, Fuse


def test_a_few_late_answers_in_a_row_blow_it():
    """One in time between them forgives those before."""
    fuse = Fuse()
    for _ in range(LATE_MAX - 1):
        fuse.late(1.0)
    fuse.answered()
    for _ in range(LATE_MAX - 1):
        fuse.late(2.0)

    assert (True, inf) == (fuse.is_whole, fuse.deadline)
    fuse.late(3.0)
    assert (False, 3.0 + OPEN_S_MIN) == (fuse.is_whole, fuse.deadline)


def test_one_failure_blows_it_and_one_answer_mends_it():
    """Nothing else does: time alone only says when to look."""
    fuse = Fuse()
    fuse.failed(1.0)

    assert not fuse.is_whole
    fuse.answered()
    assert (True, inf) == (fuse.is_whole, fuse.deadline)


def test_it_is_left_alone_for_longer_each_time_up_to_a_bound():
    """A long run of answers in time makes it start anew."""
    fuse, pauses = Fuse(), []
    for _ in range(6):
        fuse.failed(0.0)
        pauses.append(fuse.deadline)

    assert [0.25, 0.5, 1.0, 1.0, 1.0, 1.0] == pauses
    assert OPEN_S_MAX == pauses[-1]
    for _ in range(STEADY):
        fuse.answered()
    fuse.failed(0.0)
    assert OPEN_S_MIN == fuse.deadline


def test_a_late_look_keeps_it_blown():
    """Once blown, one late answer is enough to wait again."""
    fuse = Fuse()
    fuse.failed(0.0)
    fuse.late(5.0)

    assert (False, 5.5) == (fuse.is_whole, fuse.deadline)
