"""The story of one call, told to a script."""

import pytest

from baseload.core.facts import Call, Fact, Relay, Reply, Retry, Send, Told, Wait
from baseload.core.flow import carry
from tests.core.worlds import gate, permits_out

ELSEWHERE = (Retry.ELSEWHERE, Retry.ANYWHERE)
CALL = Call(1, "m", 1000.0)


def _story(desk, *facts: Fact, call: Call = CALL) -> list[str]:
    """Play a script against a flow; give what it asked, and its reply."""
    flow, now, asked = carry(call, desk, 0.0), 0.0, []
    try:
        ask = next(flow)
        for fact in facts:
            asked.append(_shown(ask))
            now += 1.0
            ask = flow.send(Told(fact, now))
        asked.append(_shown(ask))
    except StopIteration as end:
        asked.append(_shown(end.value))
    return asked


def _shown(ask: Wait | Send | Relay | Reply) -> str:
    match ask:
        case Wait():
            return "wait"
        case Send(target=target):
            return f"send {target.backend}"
        case Relay(target=target):
            return f"relay {target.backend}"
        case Reply(fact=fact):
            return f"reply {fact.label}"


def test_a_streamed_answer():
    """Send, relay after the first token, reply."""
    story = _story(gate({"a": 1}), Fact.FIRST_TOKEN, Fact.DONE)

    assert ["send a", "relay a", "reply done"] == story


def test_a_whole_answer_needs_no_relay():
    """An answer that is there at once is replied at once."""
    assert ["send a", "reply done"] == _story(gate({"a": 1}), Fact.DONE)


@pytest.mark.parametrize("fact", [fact for fact in Fact if fact.retry in ELSEWHERE])
def test_every_retryable_failure_goes_to_the_next_tier(fact: Fact):
    """Whatever the reason, nothing reached the caller, so another backend is asked."""
    story = _story(gate({"a": 1}, {"b": 1}), fact, Fact.DONE)

    assert ["send a", "send b", "reply done"] == story


@pytest.mark.parametrize("fact", [Fact.REJECTED, Fact.OVERDUE, Fact.GONE])
def test_what_nobody_else_could_mend_is_not_retried(fact: Fact):
    """A caller's own mistake, deadline or leaving ends the story."""
    assert ["send a", f"reply {fact.label}"] == _story(gate({"a": 1}, {"b": 1}), fact)


@pytest.mark.parametrize("fact", [Fact.BROKEN, Fact.OVERDUE, Fact.GONE])
def test_nothing_is_retried_after_the_first_token(fact: Fact):
    """Once the caller has seen a token, the answer's fate is the call's fate."""
    story = _story(gate({"a": 1}, {"b": 1}), Fact.FIRST_TOKEN, fact)

    assert ["send a", "relay a", f"reply {fact.label}"] == story


def test_waiting_and_then_being_served():
    """A queued call is sent when the gate gives notice."""
    desk = gate({"a": 1}, limit=1)
    other = Call(7, "m", 1000.0)
    flow = carry(CALL, desk, 0.0)
    desk.offer(other, 0.0)
    first = next(flow)
    desk.leave(other, 1.0)
    ((call, fact),) = desk.notices
    second = flow.send(Told(fact, 1.0))

    assert ("wait", "send a", CALL) == (_shown(first), _shown(second), call)


def test_a_refusal_says_when_to_come_back():
    """A full line refuses with the fact and a time."""
    desk = gate({"a": 1}, limit=1, size=0)
    desk.offer(Call(7, "m", 1000.0), 0.0)
    with pytest.raises(StopIteration) as end:
        next(carry(CALL, desk, 0.0))

    reply = end.value.value
    assert Fact.SHED is reply.fact
    assert 1.0 <= reply.retry_after_s <= 2.0


SCRIPTS = [
    (Fact.DONE,),
    (Fact.FIRST_TOKEN, Fact.DONE),
    (Fact.FAILED, Fact.FIRST_TOKEN, Fact.BROKEN),
    (Fact.LOST, Fact.SLOW),
]


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("is_queued", [False, True])
def test_a_cancel_is_legal_at_every_yield(script: tuple[Fact, ...], is_queued: bool):
    """Wherever the caller leaves, the story ends with GONE and every permit comes back."""
    for before in range(len(script) + 1):
        desk = gate({"a": 1}, {"b": 1}, limit=1)
        others = [Call(number, "m", 1000.0) for number in (7, 8)] if is_queued else []
        for other in others:
            desk.offer(other, 0.0)
        facts = script[:before]
        if is_queued:
            facts = (Fact.GONE,)
        story = _story(desk, *facts, Fact.GONE)
        for other in others:
            desk.leave(other, 99.0)

        assert "reply gone" == story[-1] or before == len(script)
        assert {"a": 0, "b": 0} == permits_out(desk)
        assert 0 == len(desk.line)
