"""Server-sent events, read as they arrive and cut only where an event ends.

A stream is like a roll of stamps: whole stamps may be passed on, a torn one must wait for its
other half. `Splitter.feed` gives back the bytes up to the last perforation and keeps the rest, so
whoever stands behind it never sees, and never forwards, half an event. Bytes are neither decoded
nor changed; the concatenation of everything given back is exactly what was fed.

The format is that of the HTML standard, section 9.2: lines end with LF, CRLF or CR, an event ends
with an empty line, lines that start with a colon are comments.
"""

import re
from collections.abc import Iterator

EVENT_BYTES_MAX = 1 << 20
"""The largest event that is kept while it is incomplete: a megabyte without an end is no event."""

_LINE_END = rb"(?>\r\n|\n|\r)"
_EVENT = re.compile(rb"(?s).*?" + _LINE_END + _LINE_END)
_ENDS = (b"\n\n", b"\n\r\n", b"\r\r")
_REACH = 3
"""An event's end may begin this many bytes before the newest bytes."""


class EventTooLongError(ValueError):
    """More than `EVENT_BYTES_MAX` bytes came without an event's end."""


class Splitter:
    """Cuts a stream of bytes at the ends of events."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = bytearray()

    @property
    def rest(self) -> bytes:
        """The incomplete event at the end, empty when the stream stands at a cut."""
        return bytes(self._rest)

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; give all bytes up to the last event's end, maybe none.

        Raises `EventTooLongError` when an incomplete event outgrows its bound.
        """
        rest = self._rest
        if not rest and data.endswith(b"\n\n"):
            return data  # The common case: a read that ends where an event does.
        start = max(0, len(rest) - _REACH)
        rest += data
        cut = -1
        for end in _ENDS:
            if (found := rest.rfind(end, start)) >= 0:
                cut = max(cut, found + len(end))
        if len(rest) - max(cut, 0) > EVENT_BYTES_MAX:
            raise EventTooLongError(f"an event of more than {EVENT_BYTES_MAX} bytes")
        if cut < 0:
            return b""
        whole = bytes(memoryview(rest)[:cut])
        del rest[:cut]
        return whole


def events(whole: bytes) -> Iterator[bytes]:
    """Give each event of bytes that end with an event's end, its empty line included."""
    return (match.group() for match in _EVENT.finditer(whole))


def data_of(event: bytes) -> bytes | None:
    """Give an event's data, its lines joined with LF; None for comments and other fields."""
    found = None
    for line in event.splitlines():
        if line.startswith(b"data:"):
            value = line[6:] if line.startswith(b"data: ") else line[5:]
            found = value if found is None else found + b"\n" + value
    return found
