"""Callers who ask the very same thing at the same time share one answer.

To the call that is made for them a crowd is one caller; to each member's connection it is whoever
makes the answer. A crowd is open until its answer begins: whoever comes later has missed a part,
and asks anew. It goes at the pace of its slowest member, who is dropped like any other caller that
leaves an answer unread; when the last one leaves, the call ends.

Only calls with equal bytes, path, key and priority are identical, and only where the fleet file
says so: two answers to one question may differ, and a model that is asked twice may be meant to.
"""

from baseload.gateway.answering import Caller
from baseload.gateway.server import Busy

CROWD_MAX = 256
"""Callers that share one answer; the next one begins another crowd."""

Question = tuple[bytes, bool, str, int, bytes]
"""Path, whether it is the beta one, key, priority and body."""


class Member:
    """One caller of a crowd; to the caller's connection it is who makes the answer."""

    __slots__ = ("client", "crowd", "is_paused", "request_id")

    def __init__(self, crowd: "Crowd", client: Caller, request_id: bytes) -> None:
        self.crowd, self.client, self.request_id = crowd, client, request_id
        self.is_paused = False

    def caller_gone(self) -> None:
        """The caller left; the others are answered."""
        self.crowd.leave(self)

    def pause(self) -> None:
        """The caller does not read: all wait."""
        self.is_paused = True
        self.crowd.mind_pace()

    def resume(self) -> None:
        """The caller reads again."""
        self.is_paused = False
        self.crowd.mind_pace()


class Crowd:
    """All callers of one answer; to the exchange they are one."""

    def __init__(self, crowds: "Crowds", question: Question, request_id: bytes) -> None:
        self.busy: Busy | None = None
        """Whoever makes the answer; set before the call begins."""
        self._crowds, self._question = crowds, question
        self._line = b"x-request-id: %b\r\n" % request_id
        self._members: list[Member] = []
        self._is_paused = False

    def __len__(self) -> int:
        return len(self._members)

    def join(self, client: Caller, request_id: bytes) -> None:
        """Take in one more caller."""
        member = Member(self, client, request_id)
        self._members.append(member)
        client.busy = member

    def leave(self, member: Member) -> None:
        """Let one go; without any the call ends."""
        if member not in self._members:
            return
        self._members.remove(member)
        if self._members:
            self.mind_pace()
        else:
            self._close()
            if self.busy is not None:
                self.busy.caller_gone()

    def mind_pace(self) -> None:
        """Pause while any member is paused."""
        is_paused = any(member.is_paused for member in self._members)
        if is_paused != self._is_paused and self.busy is not None:
            self._is_paused = is_paused
            if is_paused:
                self.busy.pause()
            else:
                self.busy.resume()

    # -- as one caller -----------------------------------------------------------------------

    def answer(self, status: int, head: bytes, body: bytes) -> None:
        """Give all of them a whole answer, each with its own request's id."""
        for member in self._disband():
            member.client.answer(status, self._head_for(member, head), body)

    def begin(self, status: int, head: bytes, first: bytes) -> None:
        """Begin the answer of all."""
        self._close()
        for member in list(self._members):
            member.client.begin(status, self._head_for(member, head), first)

    def write(self, body: bytes) -> None:
        """Give all of them more."""
        for member in list(self._members):
            member.client.write(body)

    def end(self, last: bytes) -> None:
        """End the answer of all."""
        for member in self._disband():
            member.client.end(last)

    def abort(self) -> None:
        """Break off the answer of all."""
        for member in self._disband():
            member.client.abort()

    # -- within ------------------------------------------------------------------------------

    def _head_for(self, member: Member, head: bytes) -> bytes:
        return head.replace(self._line, b"x-request-id: %b\r\n" % member.request_id)

    def _close(self) -> None:
        """Take in nobody any more."""
        self._crowds.forget(self._question, self)

    def _disband(self) -> list[Member]:
        """Let all go: their connections may ask for something else at once."""
        self._close()
        members, self._members, self.busy = self._members, [], None
        return members


class Crowds:
    """The crowds that are open, by what they ask."""

    def __init__(self) -> None:
        self._open: dict[Question, Crowd] = {}

    def find(self, question: Question) -> Crowd | None:
        """Give the crowd to join, if there is one with room."""
        crowd = self._open.get(question)
        return crowd if crowd is not None and len(crowd) < CROWD_MAX else None

    def open(self, question: Question, request_id: bytes) -> Crowd:
        """Begin a crowd; what is asked in the meantime joins it."""
        crowd = self._open[question] = Crowd(self, question, request_id)
        return crowd

    def forget(self, question: Question, crowd: Crowd) -> None:
        """Close a crowd, unless another has taken its place."""
        if self._open.get(question) is crowd:
            del self._open[question]
