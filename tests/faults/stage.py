"""A fault as one row of a table, and the play of it: two providers, a gateway, one caller.

`Seen` is what the caller was given, in one form for streamed and whole answers. Reading one checks
what must hold for every answer whatever went wrong: a stream has one id, ends either with one
finish reason and the terminator or with one typed error event, and nothing comes after its end.
"""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from baseload.config import fleet
from baseload.config.fleet import Target
from baseload.gateway.gateway import Gateway
from tests.faults.double import TEXT, Play, in_turn, twin
from tests.gateway.harness import Answer, request, start_gateway, until
from tests.gateway.provider import Asked, Provider, ask

SWITCH_S_MAX = 1.0
"""The next attempt follows a failure within this, on a machine that is busy with other things."""
CLOCK_S_MAX = 1.0
"""A clock is noticed at most this late, on such a machine."""
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "A pangram?"}]


# -- what the caller sees ------------------------------------------------------------------------


class Seen(NamedTuple):
    """What a caller was given. `end` is the finish reason of a whole answer, else the error's code.

    `backend`, `attempts` and `resumed` are what the answer's head says: who gave the beginning of
    the answer, how many attempts that took, and who went on with it. The head of a stream goes out
    with its first token, so it can tell nothing of what came later.
    """

    status: int = 200
    text: str = TEXT
    end: str | None = "stop"
    backend: str = "b1"
    attempts: int = 2
    thought: str = ""
    resumed: str = ""


SECOND = Seen()
"""The whole answer, from the second provider."""


def see(answer: Answer) -> Seen:
    """Read an answer as a caller would, and check that it is an honest one."""
    assert answer.headers["x-request-id"]
    if answer.headers["content-type"].startswith("text/event-stream"):
        text, end, thought = _see_stream(answer)
    else:
        text, end, thought = _see_whole(answer)
    return Seen(
        answer.status,
        text,
        end,
        answer.headers.get("x-baseload-backend", ""),
        int(answer.headers.get("x-baseload-attempts", 1)),
        thought,
        answer.headers.get("x-baseload-resumed", ""),
    )


def _see_whole(answer: Answer) -> tuple[str, str | None, str]:
    """Give what a whole answer says, how it ended, and what was thought."""
    whole = answer.json()
    if "error" in whole:
        assert {"message", "type", "param", "code"} <= whole["error"].keys()
        return "", str(whole["error"]["code"]), ""
    (choice,) = whole["choices"]
    message = choice["message"]
    assert ("chat.completion", "assistant") == (whole["object"], message["role"])
    thought = message.get("reasoning_content") or ""
    return message["content"] or "", choice["finish_reason"], thought


def _see_stream(answer: Answer) -> tuple[str, str | None, str]:
    """Give what a stream said, how it ended, and what was thought."""
    said = {"content": "", "reasoning_content": ""}
    ends: list[str] = []
    ids: set[str] = set()
    *events, last = answer.events()
    for data in events if last == "[DONE]" else [*events, last]:
        chunk = json.loads(data)
        if "error" in chunk:
            if data is last:
                assert answer.headers["x-request-id"] == chunk["error"]["request_id"]
                ends.append(str(chunk["error"]["code"]))
            else:
                assert data is events[-1], "only our own error follows a provider's"
            continue
        ids.add(chunk["id"])
        for choice in chunk["choices"]:
            for name in said.keys() & choice["delta"].keys():
                assert not ends or not choice["delta"][name], "something follows the end"
                said[name] += choice["delta"][name] or ""
            ends += [choice["finish_reason"]] if choice["finish_reason"] else []
    assert len(ids) <= 1, f"several answers: {ids}"
    assert len(ends) <= 1, f"several ends: {ends}"
    assert ("error" in last) is (last != "[DONE]"), "the terminator is missing"
    return said["content"], ends[0] if ends else None, said["reasoning_content"]


# -- a fault -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One row: what the first provider does, in which fleet, and what both sides must see of it.

    `stream` and `whole` are what callers see who want a stream and who do not; None: not tried.
    `asked` counts the requests at each provider. `fact` is the last failure noted at the first one,
    empty if it is not to be blamed. `clock_s` is the clock that must have run out, and
    `is_hung_up` says that the first provider is left in the middle of its answer. `gap_s` is the
    least time between the first two requests at the first provider. Of the last request of all,
    `path` is where it goes, `gets` are fields beyond what the caller sent, and `begun` is the answer
    so far that it is to continue. `retry_after_s` is what an error tells the caller at the least.
    """

    first: Play | tuple[Any, ...]
    second: Play = field(default_factory=twin)
    stream: Seen | None = SECOND
    whole: Seen | None = SECOND
    asked: tuple[int, int] = (1, 1)
    fact: str = ""
    clock_s: float = 0.0
    is_hung_up: bool = False
    gap_s: float = 0.0
    path: str = "/v1/chat/completions"
    gets: dict[str, Any] = field(default_factory=dict)
    begun: dict[str, Any] | None = None
    retry_after_s: int = 0
    weights: tuple[str | None, str | None] = (None, None)
    is_alone: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    backend: dict[str, Any] = field(default_factory=dict)
    asks: dict[str, Any] = field(default_factory=dict)


def cases(faults: dict[str, Fault]) -> list[tuple[str, bool]]:
    """Give each fault's name with the callers that it is tried with: True, one who wants a stream."""
    return [
        (name, is_stream)
        for name, fault in faults.items()
        for is_stream, seen in ((True, fault.stream), (False, fault.whole))
        if seen is not None
    ]


def question(fault: Fault, *, is_stream: bool) -> dict[str, Any]:
    """Give the body of the caller's request."""
    return {"model": "m", "messages": MESSAGES, "stream": is_stream} | fault.asks


@asynccontextmanager
async def stage(
    fault: Fault, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Gateway, Provider, Provider]]:
    """Start both providers and the gateway of a fault; with `tls` the first one is behind it."""
    first = Provider(
        play=in_turn(fault.first) if isinstance(fault.first, tuple) else fault.first, tls=tls
    )
    async with first, Provider(play=fault.second) as second:
        used = [first] if fault.is_alone else [first, second]
        names = [f"b{number}" for number in range(len(used))]
        tiers = tuple(
            {name: Target(backend=name, model="m", weights=weights)}
            for name, weights in zip(names, fault.weights, strict=False)
        )
        places = {
            name: fleet.Backend(name=name, url=one.url, probe_s=0, **fault.backend)
            for name, one in zip(names, used, strict=True)
        }
        options = {"tiers": tiers, "resume": "same_weights", "assemble": True} | fault.options
        async with start_gateway(*used, model=options, backends=places) as gateway:
            yield gateway, first, second


async def play(fault: Fault, *, is_stream: bool, tls: ssl.SSLContext | None = None) -> Answer:
    """Play a fault once for one caller and check everything that its row says; give the answer."""
    async with stage(fault, tls) as (gateway, first, second):
        body = question(fault, is_stream=is_stream)
        answer = await ask(gateway, request(body))

        assert (fault.stream if is_stream else fault.whole) == see(answer)
        assert fault.asked == (len(first.asked), len(second.asked))
        assert fault.retry_after_s <= int(answer.headers.get("retry-after", 0))
        failure = gateway.failures.get("b0")
        assert fault.fact == (failure.fact if failure else ""), failure
        _check_bodies(fault, body, [*first.asked, *second.asked])
        await until(lambda: len(first.departures) >= fault.is_hung_up)
        _check_times(fault, first.asked, second.asked)
        assert int(fault.is_hung_up) == len(first.departures)
        return answer


def _check_times(fault: Fault, first: list[Asked], second: list[Asked]) -> None:
    """Check that clocks ran out when they should, and that the next attempt came when it should."""
    if fault.clock_s:
        assert 0 <= first[-1].over_at - first[-1].at - fault.clock_s + 0.01 < CLOCK_S_MAX
        assert not second or second[0].at - first[-1].at > fault.clock_s - 0.01
    if second and not fault.gap_s:
        assert second[0].at - first[-1].over_at < SWITCH_S_MAX
    if fault.gap_s:
        assert fault.gap_s <= first[1].at - first[0].at < fault.gap_s + 2 + SWITCH_S_MAX


def _check_bodies(fault: Fault, body: dict[str, Any], asked: list[Asked]) -> None:
    """Check what the providers were asked: the caller's own words, and what was said so far."""
    for one in asked:
        found = one.json()
        assert MESSAGES == found["messages"][: len(MESSAGES)]
        if not body["stream"] and fault.options.get("assemble", True):
            assert found["stream"] is True
            assert found["stream_options"] == {"include_usage": True}
    first, last = asked[0], asked[-1]
    if body["stream"]:
        assert body == first.json()
    begun = last.json()["messages"][len(MESSAGES) :]
    assert ([] if fault.begun is None else [{"role": "assistant"} | fault.begun]) == begun
    assert fault.gets.items() <= last.json().items()
    assert fault.path == last.path
