"""How long one attempt may take until its first token, and what its silence means until then.

Clocks are plain timestamps which somebody looks at now and then; `due` is the earliest. Two of them
end nothing: signs of life without a token that go on for long mean that the call stands in a queue
of the backend's own, and a token that is late may be a reason to ask somebody else as well.

Not here: who looks, and the clocks of an answer that has begun.
"""

from math import inf

from baseload.core.facts import LATE, PARKED, SLOW, Fact, Send

PARKED_S = 0.25
"""Signs of life for so long without a token mean a queue: a role precedes its token by less."""


class Clocks:
    """The clocks of one attempt."""

    # Defaults stand on the class: see `attempt.Attempt`, which is made of this.
    status = 0
    """The answer's status, once there is a head."""
    is_untimed = False
    """Nothing is heard of the answer before it is whole, so only the call's own deadline holds."""
    _is_parked = _is_late = _has_byte = False
    _sign_at = 0.0
    """When the first sign of life without a token came."""

    send: Send
    sent_at: float
    due: float

    def start_clocks(self, now: float) -> None:
        """Begin to run: the request is being sent."""
        send = self.send
        due_s = send.first_token_s
        due_s = min(due_s, send.headers_s)
        due_s = min(due_s, send.first_byte_s)
        self.due = now + (min(due_s, send.late_s))

    def expect_whole(self) -> None:
        """Know that nothing will be heard before the answer is whole."""
        self.is_untimed = True
        self.due = inf

    def queued_s(self, now: float) -> float:
        """Give for how long the backend has kept the call in a queue, with signs of life."""
        waited_s = now - self._sign_at if self._sign_at else 0.0
        return waited_s if waited_s >= PARKED_S else 0.0

    def note_sign(self, now: float) -> None:
        """A sign of life that is no token came: from now on the call may be in a queue."""
        self._sign_at = now
        self.due = min(self.due, now + PARKED_S)

    def ring(self, now: float) -> tuple[Fact, str] | None:
        """Give what a clock says now, with words for a failure; each is said once."""
        if self.is_untimed:
            reason, is_late = "", False
        else:
            waited_s = now - self.sent_at
            reason, is_late = self._exceeded(waited_s, now), waited_s >= self.send.late_s
        if reason:
            return SLOW, reason
        if self._sign_at and not self._is_parked and now >= self._sign_at + PARKED_S:
            self._is_parked = True
            return PARKED, ""
        if is_late and not self._is_late:
            self._is_late = True
            return LATE, ""
        self.due = self._next_due()
        return None

    def _exceeded(self, waited_s: float, now: float) -> str:
        """Say which clock ran out, or nothing."""
        send = self.send
        if not self.status and waited_s >= send.headers_s:
            return f"no head within {send.headers_s:g} s"
        if not self._has_byte and waited_s >= send.first_byte_s:
            return f"no byte within {send.first_byte_s:g} s"
        if waited_s < send.first_token_s:
            return ""
        reason = f"no token within {send.first_token_s:g} s"
        if self._sign_at:
            reason += f"; it has been saying keep-alive for {now - self._sign_at:.1f} s"
        return reason

    def _next_due(self) -> float:
        due, send, sent_at = inf, self.send, self.sent_at
        if self._sign_at and not self._is_parked:
            due = self._sign_at + PARKED_S
        if self.is_untimed:
            return due
        due = min(due, sent_at + send.first_token_s)
        if not self.status:
            due = min(due, sent_at + send.headers_s)
        if not self._has_byte:
            due = min(due, sent_at + send.first_byte_s)
        return due if self._is_late else min(due, sent_at + send.late_s)
