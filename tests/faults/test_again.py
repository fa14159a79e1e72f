"""Faults where the same provider is the best there is: it is asked again, but not at once."""

import asyncio

import pytest

from baseload.core.desk import RETRY_SHARE
from baseload.core.gate import ATTEMPTS_MAX
from baseload.core.patience import LAST_PATIENCE
from baseload.core.resting import PAUSE_S_MIN
from tests.faults.double import (
    FAREWELL,
    KEEP_ALIVE,
    ROLE,
    SILENCE,
    STOP,
    error_event,
    in_turn,
    twin,
)
from tests.faults.stage import Fault, Seen, cases, play, question, stage
from tests.gateway.harness import on_uvloop, request
from tests.gateway.provider import CLOSE, END, RESET, ask, begin, refusal

PAUSE_S = PAUSE_S_MIN / 2
"""The shortest first pause: they are drawn from the upper half of what they may be."""
AGAIN = Seen(backend="b0", attempts=2)
DATE = "retry-after: Wed, 21 Oct 2026 07:28:00 GMT\r\n"


def _once(*steps, fact: str, gap_s: float = PAUSE_S, **fields) -> Fault:
    """Give a provider that has a fault once and then is well."""
    whole = {"stream": AGAIN, "whole": AGAIN, "is_alone": True, "asked": (2, 0)}
    whole |= {"first": in_turn(steps, twin("a")), "fact": fact, "gap_s": gap_s}
    return Fault(**(whole | fields))


PASSING = {
    "busy": _once(refusal(429), fact="busy"),
    "busy_for_a_second": _once(refusal(429, head="retry-after: 1\r\n"), fact="busy", gap_s=1.0),
    "busy_until_a_date": _once(refusal(429, head=DATE), fact="busy"),
    "overloaded": _once(refusal(503), fact="overloaded"),
    "overloaded_for_a_second": _once(
        refusal(503, head="retry-after: 1\r\n"), fact="overloaded", gap_s=1.0
    ),
    "failed": _once(refusal(500), fact="failed"),
    "closed": _once(0.02, CLOSE, fact="lost"),
    "reset_after_headers": _once(begin(), 0.02, RESET, fact="lost"),
    "busy_in_the_stream": _once(begin() + error_event(429) + END, fact="busy"),
    "parked_then_closed": _once(
        begin(), *(KEEP_ALIVE, 0.05) * 8, END, fact="overloaded", gap_s=0.5
    ),
    "empty": _once(begin() + ROLE + STOP + FAREWELL, fact="empty"),
    "empty_twice": _once(
        begin() + ROLE + STOP + FAREWELL,
        fact="empty",
        first=in_turn((begin() + ROLE + STOP + FAREWELL,)),
        stream=AGAIN._replace(text=""),
        whole=AGAIN._replace(text=""),
    ),
    "the_other_one_is_out_for_good": _once(
        refusal(429),
        fact="busy",
        is_alone=False,
        second=in_turn((refusal(401),)),
        asked=(2, 1),
        stream=AGAIN._replace(attempts=3),
        whole=AGAIN._replace(attempts=3),
    ),
    "both_are_busy": _once(
        refusal(429),
        fact="busy",
        is_alone=False,
        second=in_turn((refusal(429),)),
        asked=(2, 1),
        stream=AGAIN._replace(attempts=3),
        whole=AGAIN._replace(attempts=3),
    ),
}


@on_uvloop
@pytest.mark.parametrize(("name", "is_stream"), cases(PASSING))
async def test_what_may_pass_is_waited_for(name, is_stream):
    """After a pause, or when the provider said, the same provider is asked and answers."""
    await play(PASSING[name], is_stream=is_stream)


def _always(*steps, seen: Seen, fact: str, **fields) -> Fault:
    """Give a provider that always has a fault."""
    whole = {"stream": seen, "whole": seen, "is_alone": True, "asked": (1, 0)}
    return Fault(first=steps, fact=fact, **(whole | fields))


LASTING = {
    "busy": _always(
        refusal(429),
        seen=Seen(429, "", "backend_busy", "b0", ATTEMPTS_MAX),
        fact="busy",
        asked=(ATTEMPTS_MAX, 0),
        gap_s=PAUSE_S,
        retry_after_s=1,
    ),
    "busy_for_an_hour": _always(
        refusal(429, head="retry-after: 3600\r\n"),
        seen=Seen(429, "", "backend_busy", "b0", 1),
        fact="busy",
        retry_after_s=60,
    ),
    "overloaded_for_a_while": _always(
        refusal(503, head="retry-after: 40\r\n"),
        seen=Seen(503, "", "backend_overloaded", "b0", 1),
        fact="overloaded",
        retry_after_s=39,
    ),
    "key_refused": _always(
        refusal(401), seen=Seen(502, "", "backend_denied", "b0", 1), fact="denied"
    ),
    "balance_used_up": _always(
        refusal(402), seen=Seen(502, "", "backend_denied", "b0", 1), fact="denied"
    ),
    "forbidden": _always(
        refusal(403), seen=Seen(502, "", "backend_forbidden", "b0", 1), fact="forbidden"
    ),
    "not_offered": _always(refusal(404), seen=Seen(404, "", "not_offered", "b0", 1), fact="absent"),
    "slow": _always(
        begin() + ROLE,
        SILENCE,
        seen=Seen(504, "", "first_token_timeout", "b0", 1),
        fact="slow",
        clock_s=0.2 * LAST_PATIENCE,
        is_hung_up=True,
        options={"first_token_s": 0.2},
    ),
    "slow_for_longer_than_a_call_may_take": _always(
        begin() + ROLE,
        SILENCE,
        seen=Seen(504, "", "deadline_exceeded", "b0", 1),
        fact="",
        clock_s=0.3,
        is_hung_up=True,
        options={"total_s": 0.3},
    ),
}


@on_uvloop
@pytest.mark.parametrize(("name", "is_stream"), cases(LASTING))
async def test_what_lasts_is_told_with_a_real_status(name, is_stream):
    """Attempts are bounded, a dead key is not asked twice, and callers hear when to come back."""
    await play(LASTING[name], is_stream=is_stream)


CALLS = 40
RETRIES_MAX = int(RETRY_SHARE * CALLS) * (ATTEMPTS_MAX - 1)


@on_uvloop
async def test_retries_are_a_small_share_of_the_calls():
    """When everybody fails at once only a few try again; all others are told so immediately."""
    fault = Fault(first=(0.1, refusal(503)), is_alone=True, options={"total_s": 2.0})
    data = request(question(fault, is_stream=True))
    async with stage(fault) as (gateway, first, _):
        answers = await asyncio.gather(*(ask(gateway, data) for _ in range(CALLS)))

        assert {503, 504} >= {answer.status for answer in answers}
        assert CALLS < len(first.asked) <= CALLS + RETRIES_MAX
        told = [answer.headers for answer in answers if answer.status == 503]
        assert len(told) >= CALLS - RETRY_SHARE * CALLS
        assert all(int(head["retry-after"]) >= 1 for head in told)
