"""What callers see while they wait: signs of life of our own, a second attempt, no dead air."""

import asyncio

import pytest

from baseload.core.pace import SAMPLES_MIN
from baseload.core.resting import PAUSE_S_MIN
from tests.faults.double import (
    FAREWELL,
    KEEP_ALIVE,
    SILENCE,
    STOP,
    TEXT,
    Play,
    in_turn,
    said,
    twin,
)
from tests.faults.stage import MESSAGES, Fault, Seen, cases, play, question, see, stage
from tests.gateway.harness import call_up, on_uvloop, request, until
from tests.gateway.provider import RESET, ask, begin, refusal

SIGN = b": keep-alive"
KEPT = {"keepalive_s": 0.1, "first_token_s": 0.5}
OPENED = Seen(backend="", attempts=1)
"""The head went out before it was known who answers."""
WAITING = (begin(), *(KEEP_ALIVE, 0.05) * 400)

# -- signs of life -------------------------------------------------------------------------------

KEPT_ALIVE = {
    "parked_then_elsewhere": Fault(
        first=WAITING, stream=OPENED, fact="slow", clock_s=0.5, is_hung_up=True, options=KEPT
    ),
    "silent_then_elsewhere": Fault(
        first=(SILENCE,), stream=OPENED, fact="slow", clock_s=0.5, is_hung_up=True, options=KEPT
    ),
    "parked_then_nobody_else": Fault(
        first=WAITING,
        stream=OPENED._replace(text="", end="first_token_timeout"),
        whole=Seen(504, "", "first_token_timeout", "b0", 1),
        is_alone=True,
        asked=(1, 0),
        fact="slow",
        clock_s=0.5,
        is_hung_up=True,
        options=KEPT | {"first_token_s": 0.25},
    ),
    "a_refusal_after_a_while": Fault(
        first=(0.3, refusal(400, "too long")),
        stream=OPENED._replace(text="", end="None"),
        whole=Seen(400, "", "None", "b0", 1),
        asked=(1, 0),
        options=KEPT,
    ),
    "resting_before_a_retry": Fault(
        first=in_turn((refusal(429, head="retry-after: 1\r\n"),), twin("a")),
        stream=OPENED,
        whole=Seen(backend="b0"),
        is_alone=True,
        asked=(2, 0),
        fact="busy",
        gap_s=1.0,
        options=KEPT,
    ),
    "silent_between_tokens": Fault(
        first=(said(5), 0.4, said(16).removeprefix(said(5)), STOP, FAREWELL),
        stream=Seen(backend="b0", attempts=1),
        whole=Seen(backend="b0", attempts=1),
        asked=(1, 0),
        options=KEPT,
    ),
}


@on_uvloop
@pytest.mark.parametrize(("name", "is_stream"), cases(KEPT_ALIVE))
async def test_a_waiting_caller_hears_that_we_live(name, is_stream):
    """Comments until the answer or a typed error; who wants no stream sees a real status."""
    answer = await play(KEPT_ALIVE[name], is_stream=is_stream)

    signs = answer.body.split(b"\n\n").count(SIGN)
    assert signs >= 2 if is_stream else SIGN not in answer.body


@on_uvloop
async def test_no_comments_unless_wanted():
    """With the silence set to none, the first byte a caller sees is the answer's."""
    fault = Fault(first=(0.3, said(16) + STOP + FAREWELL), options={"keepalive_s": 0})
    async with stage(fault) as (gateway, _, _):
        answer = await ask(gateway, request(question(fault, is_stream=True)))

        assert Seen(backend="b0", attempts=1) == see(answer)
        assert SIGN not in answer.body


# -- a second attempt beside the first -----------------------------------------------------------

SAMPLES = SAMPLES_MIN
"""Calls after which it is known how fast a provider usually is. One more could itself be late, where
the machine is busy, and would then have a second attempt, too."""


def _usually(*plays: Play | tuple) -> Play:
    """Play a healthy provider first, then the scripts in turn."""
    return in_turn(*[twin("a")] * SAMPLES, *plays)


FIRST = Seen(backend="b0")
LATE = {
    "the_second_is_first": Fault(first=_usually((begin(), SILENCE)), is_hung_up=True),
    "the_first_says_only_keep_alive": Fault(first=_usually(WAITING), is_hung_up=True),
    "the_first_is_first_after_all": Fault(
        first=_usually((0.4, said(16) + STOP + FAREWELL)),
        second=in_turn((begin(), SILENCE)),
        stream=FIRST,
        whole=FIRST,
        is_hung_up=True,
    ),
    "the_second_fails": Fault(
        first=_usually((0.4, said(16) + STOP + FAREWELL)),
        second=in_turn((refusal(500),)),
        stream=FIRST,
        whole=FIRST,
    ),
    "the_first_fails_meanwhile": Fault(
        first=_usually((0.3, refusal(500))),
        second=in_turn((0.5, said(16) + STOP + FAREWELL)),
        fact="failed",
    ),
}


@on_uvloop
@pytest.mark.parametrize(("name", "is_stream"), cases(LATE))
async def test_a_late_attempt_gets_a_second_beside_it(name, is_stream):
    """The first token of either decides; whoever lost is hung up on, and the text is said once."""
    fault = Fault(**(vars(LATE[name]) | {"options": {"hedge": 0.5, "first_token_s": 5.0}}))
    body = question(fault, is_stream=is_stream)
    async with stage(fault) as (gateway, first, second):
        for _ in range(SAMPLES):
            assert TEXT == see(await ask(gateway, request(body))).text
        answer = await ask(gateway, request(body))

        assert (fault.stream if is_stream else fault.whole) == see(answer)
        assert (SAMPLES + 1, 1) == (len(first.asked), len(second.asked))
        assert MESSAGES == second.asked[0].json()["messages"]
        assert 0 < second.asked[0].at - first.asked[-1].at < 1.0
        pair = (first, second)
        loser, winner = pair if answer.headers["x-baseload-backend"] == "b1" else reversed(pair)
        await until(lambda: len(loser.departures) >= fault.is_hung_up)
        assert (int(fault.is_hung_up), 0) == (len(loser.departures), len(winner.departures))


# -- callers who leave ---------------------------------------------------------------------------

LEFT = {
    "parked": (Fault(first=WAITING), (1, 0), (1, 0)),
    "in_the_middle": (Fault(first=(said(3), SILENCE), options={"stall_s": 5.0}), (1, 0), (1, 0)),
    "resting": (Fault(first=(refusal(503),), is_alone=True), (1, 0), (0, 0)),
    "gone_on_elsewhere": (
        Fault(
            first=(said(3), 0.05, RESET),
            second=in_turn((begin(), SILENCE)),
            weights=("w", "w"),
        ),
        (1, 1),
        (0, 1),
    ),
    "with_two_attempts_out": (
        Fault(
            first=_usually((begin(), SILENCE)),
            second=in_turn((begin(), SILENCE)),
            options={"hedge": 0.5},
        ),
        (SAMPLES + 1, 1),
        (1, 1),
    ),
}


@on_uvloop
@pytest.mark.parametrize(("name", "is_stream"), [(n, s) for n in LEFT for s in (True, False)])
async def test_a_caller_who_leaves_leaves_nothing_behind(name, is_stream):
    """Whatever was going on for the caller, providers are hung up on and nobody is asked any more."""
    fault, asked, departures = LEFT[name]
    data = request(question(fault, is_stream=is_stream))
    async with stage(fault) as (gateway, first, second):
        for _ in range(asked[0] - 1):
            await ask(gateway, data)
        async with call_up(gateway.address[1]) as caller:
            await caller.send(data)
            await until(lambda: asked == (len(first.asked), len(second.asked)))
            await until(lambda: departures == (first.in_flight, second.in_flight))

        await until(lambda: not len(gateway.driver))
        await until(lambda: departures == (len(first.departures), len(second.departures)))
        await asyncio.sleep(PAUSE_S_MIN)
        assert asked == (len(first.asked), len(second.asked))
