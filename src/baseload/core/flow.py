"""The story of one call, told once and performed by every driver.

A flow is a generator: it yields what it asks of the world and is sent what happened. It touches
neither sockets nor clocks, so the gateway performs it with connections, the simulator with a heap
of events and a test with a script, and all three take the same decisions. Chunks of an answer pass
through the driver and never through here.

A cancel is legal at every yield: the driver tells `GONE`, and the story runs to its end.
"""

from collections.abc import Generator

from baseload.core.facts import (
    ADMITTED,
    DONE,
    FIRST_TOKEN,
    GRANTED,
    QUEUED,
    Ask,
    Call,
    Reply,
    Reserve,
    Told,
    Wait,
)
from baseload.core.gate import Gate

Flow = Generator[Ask, Told, Reply]


def carry(call: Call, gate: Gate, now: float) -> Flow:
    """Tell the story of one call; every `yield` asks the world and is told what happened."""
    if call.is_limited:
        told = yield Reserve(call)  # 0 limits: may its key ask for so much now?
        if told.fact is not GRANTED:
            return Reply(call, told.fact, told.retry_after_s)
        now = told.now
    fact = gate.offer(call, now)  # 1 admit: a permit at once, a place in the line, or a refusal
    while True:
        if fact is QUEUED:
            told = yield Wait(call)
            fact, now = told.fact, told.now
        if fact is not ADMITTED:
            break
        ask: Ask | None = gate.attempt(call)  # 2 route
        while ask is not None:
            told = yield ask  # 3 attempt: until a first token, or nobody is left who might say one
            ask = gate.heard(call, told)
        if told.fact is FIRST_TOKEN:
            told = yield gate.relay(call)  # 4 relay: what breaks now can only be continued
            gate.heard(call, told)
        fact, now = told.fact, told.now
        if not fact.is_retryable:
            break
        fact = gate.again(call, told)
    retry_after_s = 0.0 if fact is DONE else gate.retry_after_s(call, fact)
    gate.leave(call, now)  # 5 settle
    return Reply(call, fact, retry_after_s)
