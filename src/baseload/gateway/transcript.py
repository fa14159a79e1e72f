"""What a streamed answer has said so far, and whether it may go on.

Bytes go in, whole events come out, cut only where events end. Plain tokens are counted without a
look inside; everything else (finish reasons, usage, errors, comments) is read. An event that makes
the stream no answer stops it: `wrong` then says what it is and why, and nothing from that event on
is given out.

Where the answer continues another, its events go through a seam, which drops what was said before.

What an event means depends on what the backend speaks. The *wire* knows: the module `apis.openai`
for chats, an object of its own for each answer of a backend that speaks another API itself.

Not here: connections and clocks (`attempt`), and who is given the events.
"""

from typing import Protocol

from baseload.apis import openai
from baseload.apis.chunks import END_EVENT
from baseload.apis.openai import END, ERROR, FINISH, GARBAGE, TOKEN, Event, Usage
from baseload.apis.seam import Seam, SeamError
from baseload.apis.sse import EventTooLongError, Splitter, events
from baseload.core.facts import FAILED, OVERLOADED, UNJOINED, Fact, fact_of_status

_NO_RESOURCE = "insufficient_system_resource"
"""DeepSeek's finish reason for an answer that it breaks off for want of machines."""


CHOICES_MAX = 128
"""Answers in one stream that are told apart: as many as OpenAI's `n` allows."""


class Wire(Protocol):
    """What a backend speaks. The module `apis.openai` is one."""

    END_EVENT: bytes
    """What ends a stream."""

    def count_plain(self, whole: bytes) -> int:
        """Count whole events if they are all plain tokens, else give -1."""

    def read_event(self, event: bytes) -> tuple[Event, Usage | None]:
        """Say what an event is, and the usage in it if there is one."""

    def read_finish(self, event: bytes) -> tuple[str, bool]:
        """Give the finish reason in an event, and whether the model also says something in it."""

    def read_answer(self, body: bytes) -> tuple[bool, Usage | None]:
        """Say whether a body is an answer that is no stream, and the usage that it reports."""

    def status_of_event(self, event: bytes) -> int:
        """Give the status that an error inside a stream would have had in its place."""


class Transcript:
    """One stream as it is heard."""

    # Defaults stand on the class: there is one for every attempt, and most need few of these.
    events = 0
    """Events with a token or a finish in them."""
    usage: Usage | None = None
    is_finished = has_end = is_empty = is_committed = False
    """`is_empty`: it finished in good order without a token. `is_committed`: a part was given on,
    so an event of unknown form no longer makes it fail."""
    seam: Seam | None = None
    wrong: tuple[Fact, str] | None = None
    """What makes it no answer, as before its first token, and in words."""
    wrong_event = b""
    _finishes = 0
    """Finish reasons seen; of several answers in one stream, each has its own."""
    _open: frozenset[str] = frozenset()
    """Answers of several that have begun and not ended."""
    _last = b""
    """The newest events that were only counted."""

    def __init__(self, has_choices: bool, seam: Seam | None, wire: Wire = openai) -> None:
        self._splitter = Splitter()
        self.has_choices = has_choices
        self.wire = wire
        if seam is not None:
            self.seam = seam

    def take(self, body: bytes) -> bytes:
        """Take the next bytes; give the whole events that may go to the caller, maybe none."""
        try:
            whole = self._splitter.feed(body)
        except EventTooLongError as error:
            self.wrong = FAILED, str(error)
            return b""
        if not whole:
            return b""
        if self.events and not self.has_choices and self.seam is None:
            plain = self.wire.count_plain(whole)
            if plain > 0:
                self.events += plain
                self._last = whole
                return whole
        return self._read(whole)

    def end(self) -> bytes:
        """Hear that no more will come; give what is whole all the same.

        Some servers leave out the last empty line. And where one event holds several choices, an
        end can hide among plain tokens: see `count_plain`.
        """
        rest = self._splitter.rest
        more = self._read(rest + b"\n\n") if rest else b""
        self._look_back()
        if self._finishes and not self._open:
            self.is_finished = True
        return more if self.is_finished else b""

    def has_begun(self) -> bool:
        """Say whether there is something to commit: a token, or an end."""
        if self.seam is not None:
            return self.seam.joined or self.is_finished
        return self.events > 0

    # -- within ------------------------------------------------------------------------------

    def _read(self, whole: bytes) -> bytes:
        """Read events one by one; give those that may be passed on."""
        good = []
        for event in events(whole):
            kind, usage = self.wire.read_event(event)
            self.usage = usage or self.usage
            if self.has_choices and (kind is TOKEN or kind is FINISH):
                self._note_choices(event)
            if kind is TOKEN:
                self.events += 1
            elif kind is FINISH:
                self._read_finish(event)
            elif kind is END:
                self._read_end()
            elif kind is ERROR:
                self.wrong_event = event
                status = self.wire.status_of_event(event)
                self.wrong = fact_of_status(status), "its stream holds an error"
            elif kind is GARBAGE and not (self.is_committed and openai.is_json(event)):
                self.wrong = FAILED, "its stream holds an event that is no JSON"
            if self.wrong is not None:
                break
            good.append(event)
        if self.seam is not None:
            return self._join(b"".join(good))
        return whole if self.wrong is None else b"".join(good)

    def _read_finish(self, event: bytes) -> None:
        """Note an end; that of an answer which never began is none to be proud of."""
        if _NO_RESOURCE.encode() in event and self.wire.read_finish(event)[0] == _NO_RESOURCE:
            self.wrong = OVERLOADED, f"it finished with `{_NO_RESOURCE}`"
            return
        if not self.events and not self.has_choices and self.seam is None:
            reason, says_something = self.wire.read_finish(event)
            self.is_empty = reason == "stop" and not says_something
        self.events += 1
        self._finishes += 1
        if not self.has_choices:
            self.is_finished = True

    def _note_choices(self, event: bytes) -> None:
        """Note which answers of several have begun, and which have ended."""
        for index, is_finished in openai.read_choices(event):
            if is_finished:
                self._open = self._open - {index}
            elif len(self._open) < CHOICES_MAX:
                self._open = self._open | {index}

    def _read_end(self) -> None:
        """Believe the terminator only if a finish reason came before it."""
        self.has_end = True
        self._look_back()
        if self._finishes and not self._open:
            self.is_finished = True
        elif self.events or self.seam is not None:
            self.wrong = FAILED, "its stream ended without a finish reason"

    def _look_back(self) -> None:
        """Look for an end among the events that were only counted."""
        last, self._last = self._last, b""
        if not self._finishes and last:
            for event in events(last):
                if self.wire.read_event(event)[0] is FINISH:
                    self._finishes += 1
                    self.is_finished = True

    def _join(self, good: bytes) -> bytes:
        """Lay a second answer over the first; the terminator is not its to give."""
        assert self.seam is not None
        self.has_end = False
        try:
            return self.seam.feed(good).replace(END_EVENT, b"")
        except SeamError as error:
            self.wrong = UNJOINED, str(error)
            return b""
