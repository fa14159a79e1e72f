"""Faults after the first token: the answer is joined, or ends in an error that can be seen."""

import pytest

from tests.faults.double import (
    FAREWELL,
    KEEP_ALIVE,
    SILENCE,
    THOUGHT,
    TOKENS,
    TOOL,
    Play,
    chunk,
    error_event,
    event,
    in_turn,
    refuses_prefill,
    said,
    thought,
    twin,
    unchunked,
    words,
)
from tests.faults.stage import Fault, Seen, cases, play, stage
from tests.gateway.harness import on_uvloop, request, until
from tests.gateway.provider import CLOSE, END, HALF, RESET, ask, begin, refusal

COUNT = 7
SAID = "".join(TOKENS[:COUNT])
BEGUN = (said(COUNT), 0.05)
"""The beginning of the answer in every fault here; it is read before anything else is said."""
SHORT = unchunked(COUNT, f"content-length: {len(unchunked(COUNT)) - len(unchunked(0))}\r\n")
SAME = ("w", "w")
CONTINUES = {"continue_final_message": True, "add_generation_prompt": False}

# The first provider's script, the fact that it is, and whether it must be hung up on.
FAULTS = {
    "reset_between_events": ((*BEGUN, RESET), "cut", False),
    "closed_between_events": ((*BEGUN, CLOSE), "cut", False),
    "reset_inside_an_event": ((*BEGUN, event(content=" lazy")[:-40], RESET), "cut", False),
    "reset_inside_a_letter": (
        (*BEGUN, event(content="🦊").partition(b"\x8a")[0], RESET), "cut", False,
    ),
    "half_closed": ((*BEGUN, HALF, SILENCE), "cut", True),
    "closed_without_framing": ((unchunked(COUNT), 0.05, CLOSE), "cut", False),
    "length_too_long": (
        (unchunked(COUNT, "content-length: 99999\r\n"), 0.05, CLOSE), "cut", False,
    ),
    "length_too_short": ((SHORT + words(content=" lazy"),), "cut", False),
    "no_finish_reason": ((*BEGUN, END), "cut", False),
    "no_finish_reason_but_a_terminator": ((*BEGUN, FAREWELL), "cut", False),
    "silence": ((*BEGUN, SILENCE), "cut", True),
    "comments_for_ever": ((*BEGUN, *(KEEP_ALIVE, 0.05) * 400), "cut", True),
    "empty_deltas_for_ever": ((*BEGUN, *(event(content=""), 0.05) * 400), "cut", True),
    "no_resource": (
        (*BEGUN, event(finish="insufficient_system_resource") + FAREWELL), "cut", False,
    ),
    "malformed": ((*BEGUN, chunk(b'data: {"choices":[{"ind\n\n'), SILENCE), "cut", True),
    "error_event": ((*BEGUN, error_event(500), SILENCE), "cut", True),
    "error_event_and_end": ((*BEGUN, error_event("overloaded") + FAREWELL), "cut", False),
}  # fmt: skip
OPTIONS = {"stall_s": 0.3}


def _fault(name: str, **fields) -> Fault:
    steps, fact, is_hung_up = FAULTS[name]
    whole = {"first": steps, "fact": fact, "is_hung_up": is_hung_up, "options": OPTIONS}
    return Fault(**(whole | fields))


# -- the same model goes on elsewhere ------------------------------------------------------------

RESUMED = {
    name: _fault(
        name,
        weights=SAME,
        backend={"prefill": "continue_final_message"},
        stream=Seen(backend="b0", attempts=1),
        whole=Seen(backend="b0", attempts=1, resumed="b1"),
        begun={"content": SAID},
        gets=CONTINUES,
    )
    for name in FAULTS
}


@on_uvloop
@pytest.mark.parametrize(("name", "is_stream"), cases(RESUMED))
async def test_the_same_model_goes_on_elsewhere(name, is_stream):
    """The caller has one normal answer, joined at the letter, under the id it began with."""
    await play(RESUMED[name], is_stream=is_stream)


@on_uvloop
async def test_a_caller_who_looks_finds_the_seam():
    """A comment at the end of the stream tells where the answer was resumed, and by whom."""
    async with stage(RESUMED["reset_between_events"]) as (gateway, _, _):
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
        answer = await ask(gateway, request(body))

        note = f": baseload: resumed at character {len(SAID)} by b1\n\ndata: [DONE]\n\n"
        assert answer.body.decode().endswith(note)


# -- nobody can go on ----------------------------------------------------------------------------

BROKEN = Seen(200, SAID, "stream_broken", "b0", 1)
ENDED = {
    name: _fault(
        name,
        weights=SAME,
        fact="broken",
        asked=(1, 0),
        stream=BROKEN,
        whole=None,
        options=OPTIONS | {"resume": "off"},
    )
    for name in FAULTS
}


@on_uvloop
@pytest.mark.parametrize(("name", "is_stream"), cases(ENDED))
async def test_what_may_not_be_resumed_ends_in_an_error(name, is_stream):
    """What was said stands, then one typed error event: never as if nothing had happened."""
    await play(ENDED[name], is_stream=is_stream)


OVERDUE = Fault(
    first=(*BEGUN, SILENCE),
    stream=BROKEN._replace(end="deadline_exceeded"),
    whole=Seen(504, "", "deadline_exceeded", "b0", 1),
    asked=(1, 0),
    weights=SAME,
    clock_s=0.4,
    is_hung_up=True,
    options={"total_s": 0.4},
)


@on_uvloop
@pytest.mark.parametrize(("name", "is_stream"), cases({"overdue": OVERDUE}))
async def test_a_call_that_takes_too_long_is_not_continued(name, is_stream):
    """The call's own deadline is the end of it, and nobody else is asked to go on."""
    await play(OVERDUE, is_stream=is_stream)


CALLING = {"index": 0, "id": "1", "type": "function", "function": {"name": "look", "arguments": ""}}
ARGUMENTS = {"index": 0, "function": {"arguments": '{"wh'}}
CUT = (*BEGUN, RESET)
CUT_CALL = (said(0) + event(tool_calls=[CALLING]) + event(tool_calls=[ARGUMENTS]), 0.05, RESET)
SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}


def _lost(steps: tuple, text: str = SAID, **asks) -> Fault:
    seen = BROKEN._replace(text=text)
    return Fault(
        first=steps, stream=seen, whole=None, asked=(1, 0), fact="broken", weights=SAME, asks=asks
    )


UNCONTINUABLE = {
    "tool_calls_in_flight": _lost(CUT_CALL, "", tools=[TOOL]),
    "tool_calls_that_nobody_offered": _lost(CUT_CALL, ""),
    "text_before_tool_calls": _lost(CUT, tools=[TOOL]),
    "several_answers": _lost(CUT, n=2),
    "a_schema": _lost(CUT, response_format=SCHEMA),
    "a_grammar": _lost(CUT, guided_regex="[a-z ]+"),
    "log_probabilities": _lost(CUT, logprobs=True),
}


@on_uvloop
@pytest.mark.parametrize(("name", "is_stream"), cases(UNCONTINUABLE))
async def test_what_cannot_be_continued_ends_in_an_error(name, is_stream):
    """Half a tool call, or half a schema, is never patched up: an error, and no second attempt."""
    await play(UNCONTINUABLE[name], is_stream=is_stream)


WHOLE_AGAIN = {name: _fault(name, stream=None) for name in FAULTS} | {
    "tool_calls_in_flight": Fault(first=CUT_CALL, stream=None, asks={"tools": [TOOL]}, fact="cut"),
    "a_schema": Fault(first=CUT, stream=None, asks={"response_format": SCHEMA}, fact="cut"),
}


@on_uvloop
@pytest.mark.parametrize(("name", "is_stream"), cases(WHOLE_AGAIN))
async def test_an_answer_that_nobody_has_seen_begins_again_anywhere(name, is_stream):
    """Who wants the answer whole gets it whole, from another model if need be, and only once."""
    await play(WHOLE_AGAIN[name], is_stream=is_stream)


# -- ways to go on -------------------------------------------------------------------------------

JOINED = Seen(backend="b0", attempts=1)
ONCE_MORE = 'The quick brown fox sleeps. That is a "pangram"? No.'


def _way(prefill: str = "auto", play: Play | None = None, **fields) -> Fault:
    whole = {"first": CUT, "fact": "cut", "weights": SAME, "stream": JOINED, "whole": None}
    whole |= {"backend": {"prefill": prefill}, "second": play or twin()}
    return Fault(**(whole | fields))


def _otherwise(text: str) -> Fault:
    """Give a fault after which everybody says something else than was said before."""
    return _way(
        play=twin(says=text),
        first=in_turn(CUT, twin("a", says=text)),
        asked=(2, 1),
        gap_s=0.12,
        fact="unjoined",
        stream=BROKEN,
    )


BETA = "/beta/chat/completions"
PREFIX = {"content": SAID, "prefix": True}
WAYS = {
    "restart": _way(),
    "restart_because_off": _way("off"),
    "prefix": _way("prefix", path=BETA, begun=PREFIX),
    "continue": _way("continue_final_message", begun={"content": SAID}, gets=CONTINUES),
    "assistant": _way("assistant", begun={"content": SAID}),
    "fewer_tokens_left": _way(
        "assistant",
        begun={"content": SAID},
        asks={"max_tokens": 100},
        gets={"max_tokens": 100 - COUNT},
    ),
    "refused_then_restart": _way("assistant", refuses_prefill(twin()), asked=(1, 2)),
    "ignored": _way("assistant", twin(ignores_prefill=True), begun={"content": SAID}),
    "thought_then_prefix": _way(
        "prefix",
        twin(thinks=THOUGHT),
        path=BETA,
        first=(thought(6), SILENCE),
        is_hung_up=True,
        options=OPTIONS,
        begun={
            "content": "",
            "prefix": True,
            "reasoning_content": "The user wants a pangram. There",
        },
        stream=JOINED._replace(thought=THOUGHT),
    ),
    "thought_then_restart": _way(
        "assistant",
        twin(thinks=THOUGHT),
        first=(thought(6), SILENCE),
        is_hung_up=True,
        options=OPTIONS,
        stream=JOINED._replace(thought=THOUGHT),
    ),
    "silent_in_the_middle_of_a_thought": _way(
        first=(thought(6), *(KEEP_ALIVE, 0.05) * 400),
        play=twin(thinks=THOUGHT),
        is_hung_up=True,
        options=OPTIONS,
        stream=JOINED._replace(thought=THOUGHT),
    ),
    "says_something_else": _otherwise(ONCE_MORE),
    "stops_too_early": _otherwise("The quick"),
    "nobody_has_the_weights": _way(
        weights=("w", "v"),
        first=in_turn(CUT, (refusal(401),)),
        asked=(2, 0),
        gap_s=0.12,
        fact="denied",
        stream=BROKEN,
    ),
    "any_model_may_try": _way(
        "assistant", weights=("w", "v"), options={"resume": "any"}, begun={"content": SAID}
    ),
    "the_same_backend_goes_on": _way(
        weights=("w", "v"),
        first=in_turn(CUT, twin()),
        asked=(2, 0),
        gap_s=0.12,
    ),
}


@on_uvloop
@pytest.mark.parametrize(("name", "is_stream"), cases(WAYS))
async def test_each_backend_is_asked_to_go_on_in_the_way_that_it_understands(name, is_stream):
    """Prefix, flag or trailing message; else it begins again and what was said is left out."""
    await play(WAYS[name], is_stream=is_stream)


@on_uvloop
async def test_a_refused_start_is_remembered():
    """A backend that wants no start to be given is asked for one once, and then no more."""
    async with stage(_way("assistant", refuses_prefill(twin()))) as (gateway, _, second):
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
        for asked in (2, 3, 4):
            assert "[DONE]" == (await ask(gateway, request(body))).events()[-1]
            assert asked == len(second.asked)


@on_uvloop
async def test_an_answer_that_breaks_twice_is_joined_twice():
    """Each half is cut off in its turn, and the caller still has one answer."""
    rest = begin() + b"".join(event("b", content=token) for token in TOKENS[COUNT : COUNT + 4])
    fault = _way(
        "assistant",
        in_turn((rest, 0.05, RESET)),
        first=in_turn(CUT, twin("a")),
        asked=(2, 1),
        begun={"content": SAID},
    )
    async with stage(fault) as (gateway, first, second):
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
        answer = await ask(gateway, request(body))

        assert "".join(TOKENS) == answer.text()
        assert (2, 1) == (len(first.asked), len(second.asked))
        await until(lambda: not first.in_flight)
        assert "".join(TOKENS[: COUNT + 4]) == first.asked[1].json()["messages"][-1]["content"]
