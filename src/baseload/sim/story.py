"""What does a line of a tape say to a person?

One sentence a line, so that the lines of one call read as its story. Not here: when it happened,
and whether it is what was recorded (`replay`).
"""

from collections.abc import Callable
from math import inf
from typing import Any

from baseload.core.facts import Priority
from baseload.core.records import (
    Announced,
    Began,
    Ended,
    Heard,
    Hedged,
    Line,
    Relayed,
    Replied,
    Saw,
    Sent,
    Ticked,
    Waited,
    Watched,
)


def sentence(line: Line) -> str:
    """Say in a few words what a line means."""
    return _SENTENCES[type(line)](line)


def _began(line: Began) -> str:
    names = {int(priority): priority.name.lower() for priority in Priority}
    return (
        f"call {line.id} came: model {line.model}, {'streamed' if line.is_stream else 'whole'}, "
        f"{names.get(line.priority, line.priority)}, key {line.key or 'none'}, "
        f"about {line.prompt_tokens}+{line.answer_tokens} tokens, "
        f"{line.deadline - line.now:g} s to live"
    )


def _heard(line: Heard) -> str:
    more = [
        f"of {line.backend}" * bool(line.backend),
        f"again after {line.retry_after_s:g} s" * bool(line.retry_after_s),
        f"queued there for {line.queued_s:g} s" * bool(line.queued_s),
        f"{line.tokens} tokens" * bool(line.tokens),
    ]
    return ", ".join([f"is told {line.fact}", *filter(None, more)])


def _sight(line: Saw) -> str:
    names = ("kv_usage", "waiting", "running", "slots", "ping_s")
    shown = ((name, getattr(line, name)) for name in names)
    return ", ".join(f"{name} {value:g}" for name, value in shown if value is not None) or "nothing"


def _sent(line: Sent) -> str:
    late = "" if line.late_s == inf else f", late after {line.late_s:g} s"
    return (
        f"to {line.backend} (model {line.model}), first token within {line.first_token_s:g} s, "
        f"head within {line.headers_s:g} s, first byte within {line.first_byte_s:g} s{late}"
    )


def _asks_to_send(line: Sent) -> str:
    return f"asks to {'continue the answer' if line.is_resumed else 'send'}: {_sent(line)}"


def _asks_to_relay(line: Relayed) -> str:
    where = f"{line.backend} (model {line.model})"
    return f"asks to relay from {where}, silent for at most {line.stall_s:g} s"


def _replied(line: Replied) -> str:
    again = f", worth another try after {line.retry_after_s:g} s" * bool(line.retry_after_s)
    return f"ends: {line.fact}{again}"


_SENTENCES: dict[type[Line], Callable[[Any], str]] = {
    Began: _began,
    Heard: _heard,
    Announced: lambda line: f"backend {line.backend} came {'up' if line.is_up else 'down'}",
    Saw: lambda line: f"a look at backend {line.backend}: {_sight(line)}",
    Ticked: lambda _: "the gate's timer rang",
    Waited: lambda _: "asks to wait for the gate",
    Sent: _asks_to_send,
    Hedged: lambda line: f"asks for a second attempt beside the first: {_sent(line)}",
    Watched: lambda _: "asks to go on with what is out",
    Relayed: _asks_to_relay,
    Replied: _replied,
    Ended: lambda line: f"the recording ended: {line.why}",
}
