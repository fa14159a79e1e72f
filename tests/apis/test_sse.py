"""A stream of events is cut only where an event ends, however its bytes arrive."""

from itertools import pairwise
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.apis.sse import EVENT_BYTES_MAX, EventTooLongError, Splitter, data_of, events
from tests import FUZZ

LINE_ENDS = (b"\n", b"\r\n", b"\r")
LINES = st.sampled_from(
    [b"data: a", b"data:b", b"data: ", b"data", b": comment", b":", b"event: x", b"id: 1", b"\xff"]
)
MIXED = st.lists(st.one_of(LINES, st.sampled_from(LINE_ENDS)).filter(bool), max_size=60).map(
    b"".join
)
"""Lines and line ends in any order: torn events, empty ones, ends of every kind."""


def cut(data, places):
    """Give the bytes in pieces, cut at places taken modulo the length."""
    marks = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(marks)]


def meaning(whole):
    """Give the data of the events, those without any left out."""
    return [data for event in events(whole) if (data := data_of(event)) is not None]


def reference(stream):
    """Read a stream by the standard's own words: line by line, dispatch at each empty line."""
    found, lines = [], None
    for line in stream.splitlines():
        if not line and lines is not None:
            found.append(b"\n".join(lines))
            lines = None
        elif line.startswith(b"data:"):
            lines = [*(lines or []), line[5:].removeprefix(b" ")]
    return found


@FUZZ
@given(MIXED, st.lists(st.integers(min_value=0)))
def test_nothing_is_lost_or_changed(stream, places):
    """What was given back and what is kept are, put together, what was fed."""
    splitter = Splitter()
    out = b"".join(splitter.feed(piece) for piece in cut(stream, places))

    assert stream == out + splitter.rest


@FUZZ
@given(MIXED, st.lists(st.integers(min_value=0)))
def test_outputs_end_where_an_event_ends(stream, places):
    """Whatever is given back ends with an empty line, so nobody sees half an event."""
    splitter = Splitter()
    outputs = [splitter.feed(piece) for piece in cut(stream, places)]

    assert all(out.endswith((b"\n\n", b"\n\r\n", b"\r\r")) for out in outputs if out)


@FUZZ
@given(st.lists(LINES, max_size=20), st.lists(st.integers(min_value=0)), st.data())
def test_cuts_do_not_change_the_events(lines, places, data):
    """The events of a stream are those that the standard reads, for any cuts and line ends."""
    ends = st.sampled_from(LINE_ENDS)
    written = [
        line + data.draw(ends) + (data.draw(ends) if data.draw(st.booleans()) else b"")
        for line in lines
    ]
    stream = b"".join(written) + b"\n\n"
    splitter = Splitter()
    outputs = [splitter.feed(piece) for piece in cut(stream, places)]

    assert reference(stream) == [one for out in outputs for one in meaning(out)]


@pytest.mark.parametrize("end", LINE_ENDS)
def test_an_event_leaves_with_its_last_byte(end):
    """An event is given back as soon as it is whole, not when the next one begins."""
    event = b"data: a" + end + end
    splitter = Splitter()

    assert splitter.feed(event[:-1]) == b""
    assert event == splitter.feed(event[-1:])
    assert splitter.rest == b""


def test_events_come_apart():
    """Each event is given with its own empty line; what stands between is not lost."""
    whole = b": hi\n\ndata: a\r\n\r\ndata: b\r\rdata: c\ndata: d\n\n"
    expected = [b": hi\n\n", b"data: a\r\n\r\n", b"data: b\r\r", b"data: c\ndata: d\n\n"]

    assert expected == list(events(whole))


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (b"data: a\n\n", b"a"),
        (b"data:a\n\n", b"a"),
        (b"data:  a\n\n", b" a"),
        (b"data:\n\n", b""),
        (b"data: a\ndata: b\n\n", b"a\nb"),
        (b"event: x\r\nid: 1\r\ndata: a\r\n\r\n", b"a"),
        (b"data: a\xe2\x80\xa8b\x0bc\n\n", b"a\xe2\x80\xa8b\x0bc"),
        (b": data: a\n\n", None),
        (b"database: a\n\n", None),
        (b"\n\n", None),
    ],
)
def test_data(event, expected):
    """An event's data is its `data` lines and nothing else; only CR and LF end a line."""
    assert expected == data_of(event)


def test_an_event_of_the_largest_size_passes():
    """The bound is on the incomplete event: exactly at it, nothing is refused."""
    splitter = Splitter()
    line = b"data: " + b"x" * (EVENT_BYTES_MAX - 6)

    assert splitter.feed(line) == b""
    assert line + b"\n\n" == splitter.feed(b"\n\n") + splitter.rest


@pytest.mark.parametrize("size", [1 << 10, 1 << 16, EVENT_BYTES_MAX + 1])
def test_an_endless_event_is_refused(size):
    """A megabyte without an end raises, however it was cut."""
    splitter = Splitter()

    with pytest.raises(EventTooLongError):
        for _ in range(EVENT_BYTES_MAX // size + 1):
            splitter.feed(b"x" * size)


def test_whole_events_do_not_count_towards_the_bound():
    """A read may hold more than the bound as long as its events are whole."""
    splitter = Splitter()
    stream = b"data: a\n\n" * (EVENT_BYTES_MAX // 8) + b"data"

    assert stream == splitter.feed(stream) + splitter.rest
    assert splitter.rest == b"data"


def test_single_bytes_are_no_burden():
    """Two megabytes that come byte by byte cost time in proportion, not squared."""
    event = b"data: " + b"x" * 999_992 + b"\n\n"
    splitter = Splitter()
    start = process_time()
    out = b"".join(splitter.feed(bytes([byte])) for byte in event * 2)

    assert event * 2 == out
    assert process_time() - start < 15  # squared, it would be minutes
