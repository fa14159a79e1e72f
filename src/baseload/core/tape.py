"""How is what the gate and the flows were fed, and what they decided, kept as bytes?

Think of a flight recorder. All that enters `core` passes one place in order: calls, facts, news of
backends, the ring of the one timer. Written down with the setup that the gate was made from, that
is enough to take every decision again, and the decisions are written beside it to compare with.
What callers and models said never enters `core`, so no tape can hold it.

A tape is a line that names its form, and then blocks: a small head with the length, the number of
records and a checksum, and the records in msgpack. The first block holds the `Head`. Blocks end
where the recording was flushed, so a recording that was killed is whole up to its last block.

Not here: files and their bounds (`gateway.tape`), and taking the decisions again (`sim.replay`).
"""

from struct import Struct as Layout
from typing import Any
from zlib import crc32

import msgspec

from baseload.core.facts import (
    Ask,
    Call,
    Hedge,
    Relay,
    Reply,
    Reserve,
    Send,
    Sight,
    Told,
    Wait,
    Watch,
)
from baseload.core.records import (
    Announced,
    Began,
    Decision,
    Heard,
    Hedged,
    Line,
    Ordered,
    Reconfigured,
    Record,
    Relayed,
    Replied,
    Reserved,
    Saw,
    Sent,
    TapeError,
    Ticked,
    Time,
    Waited,
    Watched,
)
from baseload.core.setup import Setup

FORM = 2
NAME = b"baseload tape "
TITLE = NAME + b"%d\n" % FORM
TITLES = (NAME + b"1\n", TITLE)
"""What can be read, all of one length: form 1 had neither operators' orders nor reloads."""
BLOCK_BYTES = 64 * 1024
"""A block that has grown to this is closed."""
BLOCK_BYTES_MAX = 1 << 24
"""A block that claims to be larger is damaged; the head alone may be, up to its own bound. Most of
it is for reloads: a setup may take a few times what its fleet file does."""
HEAD_BYTES_MAX = 1 << 26
CLOSED = "closed"
"""Why a tape ended that has all there was."""

_LAYOUT = Layout("<III")  # the block's length in bytes, its records, its checksum
BLOCK_HEAD_BYTES = _LAYOUT.size


class Head(msgspec.Struct, frozen=True, array_like=True):
    """What a tape begins with. `unix_s` is the calendar's time at `now`."""

    version: str
    unix_s: float
    now: Time
    setup: Setup


_encode_into = msgspec.msgpack.Encoder().encode_into
_head_decoder = msgspec.msgpack.Decoder(list[Head])
_decoder = msgspec.msgpack.Decoder(list[Line])


def decision(call_id: int, ask: Ask | Reply) -> Decision:
    """Give the record of what a flow asked for, or of its end."""
    kind = type(ask)
    if kind is Send:
        return _sent(Sent, call_id, ask)  # type: ignore[arg-type]
    if isinstance(ask, Relay):
        return Relayed(call_id, ask.target.backend, ask.target.model, ask.stall_s)
    if isinstance(ask, Reply):
        return Replied(call_id, ask.fact.label, ask.retry_after_s)
    if isinstance(ask, Hedge):
        return _sent(Hedged, call_id, ask.send)
    return _BARE[type(ask)](call_id)


_BARE: dict[type, type[Reserved | Waited | Watched]] = {
    Reserve: Reserved,
    Wait: Waited,
    Watch: Watched,
}
"""Asks that say nothing but whose they are."""


def _sent(kind: type[Sent], call_id: int, ask: Send) -> Sent:
    target = ask.target
    return kind(
        call_id, target.backend, target.model, ask.headers_s, ask.first_byte_s, ask.first_token_s,
        ask.late_s, ask.is_resumed,
    )  # fmt: skip


# -- writing ---------------------------------------------------------------------------------------


class Packer:
    """Makes blocks of what it hears; a driver's `tape`. `take` gives what was made since.

    What cannot be written ends it: `failure` says why, and nothing is added any more. It never
    raises, because a recording may not disturb what it records.
    """

    def __init__(self, head: Head) -> None:
        self.failure = ""
        self._blocks = [TITLE, block([head])]
        self._open = bytearray()
        self._count = 0

    def began(self, call: Call, now: float) -> None:
        """A call came."""
        self._add(
            Began(
                now, call.id, call.model, call.deadline, call.is_stream, call.key, call.priority,
                call.prompt_tokens, call.answer_tokens, call.prefix, call.is_whole,
                call.is_limited,
            )
        )  # fmt: skip

    def told(self, call_id: int, told: Told) -> None:
        """A flow was told something."""
        # A nought as an integer takes one byte instead of nine, and is read as the same.
        self._add(
            Heard(
                call_id, told.fact.label, told.now, told.retry_after_s or 0, told.backend,
                told.queued_s or 0, told.tokens,
            )
        )  # fmt: skip

    def announced(self, backend: str, is_up: bool, now: float) -> None:
        """A backend came up or went down."""
        self._add(Announced(now, backend, is_up))

    def saw(self, backend: str, sight: Sight, now: float) -> None:
        """A look at a backend showed something."""
        self._add(Saw(now, backend, *msgspec.structs.astuple(sight)))

    def ticked(self, now: float) -> None:
        """The gate's timer rang."""
        self._add(Ticked(now))

    def ordered(self, backend: str, is_open: bool, now: float) -> None:
        """An operator closed a backend, or opened it."""
        self._add(Ordered(now, backend, is_open))

    def reconfigured(self, setup: Setup, now: float) -> None:
        """The fleet became another one; a block of its own, for it may be large."""
        if self._count:
            self._close()
        self._add(Reconfigured(now, setup))

    def asked(self, call_id: int, ask: Ask | Reply) -> None:
        """A flow asked for something, or ended."""
        self._add(decision(call_id, ask))

    def take(self) -> bytes:
        """Give the blocks made since, the open one included; it is closed by that."""
        if self._count:
            self._close()
        blocks, self._blocks = b"".join(self._blocks), []
        return blocks

    def _add(self, record: Record) -> None:
        if self.failure:
            return
        opened = self._open
        try:
            _encode_into(record, opened, -1)
        except (OverflowError, TypeError, ValueError) as error:
            self.failure = f"{type(record).__name__}: {error}"
            opened.clear()  # Half a record may stand at its end.
            self._count = 0
            return
        self._count += 1
        if len(opened) > BLOCK_BYTES_MAX:
            self.failure = f"{type(record).__name__}: it takes {len(opened)} bytes"
            opened.clear()
            self._count = 0
        elif len(opened) >= BLOCK_BYTES:
            self._close()

    def _close(self) -> None:
        self._blocks.append(_block(bytes(self._open), self._count))
        self._open.clear()
        self._count = 0


def block(records: list[Any]) -> bytes:
    """Give records as one block."""
    body = bytearray()
    for record in records:
        _encode_into(record, body, -1)
    return _block(bytes(body), len(records))


def _block(body: bytes, count: int) -> bytes:
    return _LAYOUT.pack(len(body), count, _checksum(body, count)) + body


def _checksum(body: bytes, count: int) -> int:
    return crc32(body, count)


# -- reading ---------------------------------------------------------------------------------------


def block_length(head: bytes, most: int = BLOCK_BYTES_MAX) -> int:
    """Give how many bytes follow a block's head; raises TapeError if that cannot be."""
    length, count, _ = _LAYOUT.unpack(head)
    if not 0 < count <= length <= most:
        raise TapeError("it is not the beginning of a block")
    return int(length)


def read_head(head: bytes, body: bytes) -> Head:
    """Give what stands in a tape's first block; raises TapeError."""
    try:
        (found,) = _head_decoder.decode(_array(head, body))
    except (msgspec.MsgspecError, ValueError) as error:
        raise TapeError(f"its head cannot be read{_by_whom(head, body)}: {error}") from error
    return found


def _by_whom(head: bytes, body: bytes) -> str:
    """Say who wrote a head that may be sound, and only have another form than ours."""
    try:
        match msgspec.msgpack.decode(_array(head, body)):
            case [[str(version), *_]]:
                return f" (written by baseload {version[:40]})"
    except (msgspec.MsgspecError, ValueError):
        pass
    return ""


def read_block(head: bytes, body: bytes) -> list[Line]:
    """Give the records in a block; raises TapeError."""
    try:
        return _decoder.decode(_array(head, body))
    except (msgspec.MsgspecError, ValueError) as error:
        raise TapeError(f"a record cannot be read: {error}") from error


def _array(head: bytes, body: bytes) -> bytes:
    """Give a block in the form of one msgpack array."""
    _, count, checksum = _LAYOUT.unpack(head)
    if _checksum(body, count) != checksum:
        raise TapeError("its checksum is wrong")
    return b"\xdd%b%b" % (count.to_bytes(4, "big"), body)
