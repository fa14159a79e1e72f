"""What one caller sees when backends fail: an answer from the next one, or one clear error."""

import asyncio
import logging

import pytest

from baseload.config.fleet import Overload, Target
from baseload.core import breaker
from baseload.core.gate import ATTEMPTS_MAX
from tests.gateway.harness import (
    COMPLETION,
    call_up,
    chat,
    on_both_loops,
    on_uvloop,
    request,
    start_gateway,
    until,
)
from tests.gateway.provider import (
    CLOSE,
    RESET,
    Provider,
    ask,
    ask_each_once,
    backends,
    begin,
    black_hole,
    chunk,
    ended,
    healthy,
    in_turn,
    nowhere,
    refusal,
    stream,
    whole,
)

ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
OPEN_S = 0.3


def _named(name: str) -> bytes:
    return whole(COMPLETION | {"model": name})


# -- before anything was sent --------------------------------------------------------------------


@on_both_loops
async def test_an_unreachable_backend_is_passed_over():
    """When nobody listens at the first tier, the second answers and says who it is."""
    async with (
        nowhere() as gone,
        Provider(_named("second")) as second,
        start_gateway(gone, second) as gateway,
    ):
        answer = await ask(gateway)

        assert (answer.status, answer.headers["x-baseload-backend"]) == (200, "b1")
        assert answer.json()["model"] == "second"
        assert ended(gateway) == {"b0": "unreachable", "b1": "done"}


@on_both_loops
async def test_a_connection_that_takes_too_long_is_given_up():
    """After `connect_s` without a connection the next tier is asked."""
    loop = asyncio.get_running_loop()
    async with black_hole() as hole, Provider() as second:
        places = backends(hole, second, connect_s=0.1)
        async with start_gateway(hole, second, backends=places) as gateway:
            began = loop.time()
            answer = await ask(gateway)

            assert 0.09 < loop.time() - began < 2.9  # 3 s is the default.
            assert answer.headers["x-baseload-backend"] == "b1"
            assert gateway.failures["b0"].reason == "no connection within 0.1 s"


# -- statuses ------------------------------------------------------------------------------------

STATUSES = {
    401: "denied", 402: "denied", 403: "forbidden", 404: "absent", 405: "absent", 408: "failed",
    429: "busy", 500: "failed", 501: "absent", 502: "unreachable", 503: "overloaded", 504: "failed",
    529: "busy", 600: "failed", 999: "failed",
}  # fmt: skip


@on_uvloop
@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("status", STATUSES)
async def test_a_status_that_is_the_backends_fault_goes_to_the_next_tier(status, is_stream):
    """The caller is not shown the first backend's trouble, only the second one's answer."""
    async with (
        Provider(refusal(status)) as first,
        Provider() as second,
        start_gateway(first, second) as gateway,
    ):
        answer = await ask(gateway, chat(stream=is_stream))

        assert (answer.status, answer.headers["x-baseload-backend"]) == (200, "b1")
        assert (answer.text() == "hello") if is_stream else (answer.json() == COMPLETION)
        assert ended(gateway) == {"b0": STATUSES[status], "b1": "done"}
        assert (first.accepts, len(first.asked)) in ((1, 1), (2, 1))


@on_uvloop
@pytest.mark.parametrize("status", [400, 413, 415, 422])
async def test_the_callers_own_mistake_is_shown_to_the_caller(status):
    """A refusal of the request itself is passed on as it is, and blames no backend."""
    refused = refusal(status, "max_tokens: ünsinn", "x-ratelimit-limit-requests: 5\r\n")
    async with (
        Provider(refused) as first,
        Provider() as second,
        start_gateway(first, second) as gateway,
    ):
        for _ in range(20):
            answer = await ask(gateway)
            assert answer.status == status
            assert refused.endswith(b"\r\n\r\n" + answer.body)
            assert answer.headers["x-ratelimit-limit-requests"] == "5"

        assert len(first.asked) == 20
        assert second.asked == []
        assert ended(gateway) == {"b0": "rejected"}
        assert gateway.failures == {}


# -- nobody answers ------------------------------------------------------------------------------

ALL_FAIL = {
    "lost": ((CLOSE,), 502, "backend_lost"),
    "failed": ((refusal(500),), 502, "backend_failed"),
    "busy": ((refusal(429, head="retry-after: 7\r\n"),), 429, "backend_busy"),
    "denied": ((refusal(401, "wrong key sk-backend"),), 502, "backend_denied"),
    "absent": ((refusal(404),), 404, "not_offered"),
    "slow": ((5.0,), 504, "first_token_timeout"),
}
SECRETS = ("sk-backend", "sk-caller", "a secret plan", "chocolate")


@on_uvloop
@pytest.mark.parametrize("name", ALL_FAIL)
async def test_when_all_fail_the_caller_has_one_clear_error(name, caplog, monkeypatch):
    """The error names the last backend and the reason; no key and no prompt is repeated."""
    steps, status, code = ALL_FAIL[name]
    ask_each_once(monkeypatch)
    caplog.set_level(logging.DEBUG)
    cookie = "authorization: Bearer sk-caller\r\ncookie: chocolate\r\n"
    prompt = {"model": "m", "messages": [{"role": "user", "content": "a secret plan"}]}
    prompt["stream"] = name == "slow"  # Only a stream has a first token to wait for.
    async with Provider(*steps) as first, Provider(*steps) as second:
        places = backends(first, second, api_key="sk-backend")
        fields = {"first_token_s": 0.1}
        async with start_gateway(first, second, model=fields, backends=places) as gateway:
            answer = await ask(gateway, request(prompt, head=cookie))

            error = answer.json()["error"]
            assert (answer.status, error["code"]) == (status, code)
            assert {"message", "type", "param", "code", "request_id"} == error.keys()
            assert "last tried was b1: " in error["message"]
            assert answer.headers["x-request-id"] == error["request_id"]
            assert (name == "absent") is ("retry-after" not in answer.headers)
            assert (
                1 <= int(answer.headers.get("retry-after", 1)) <= 90
            )  # a minute, and up to half of it more
            assert {len(first.asked), len(second.asked)} <= {1, 2}  # a warm connection may be stale
    said = answer.body.decode() + str(answer.headers) + caplog.text
    assert [secret for secret in SECRETS if secret in said] == []


@on_uvloop
async def test_when_nobody_listens_the_caller_is_told_so(monkeypatch):
    """Unreachable everywhere is its own error, and once the breakers open, another."""
    ask_each_once(monkeypatch)
    async with nowhere() as gone, start_gateway(gone, gone) as gateway:
        answers = [await ask(gateway) for _ in range(2 * breaker.FAILURES_MAX + 1)]

        codes = [answer.json()["error"]["code"] for answer in answers]
        assert set(codes[: breaker.FAILURES_MAX]) == {"backend_unreachable"}
        assert codes[-1] == "no_backend"
        assert answers[-1].status == 503
        assert int(answers[-1].headers["retry-after"]) >= 1


@on_uvloop
async def test_attempts_are_bounded():
    """However many tiers there are, one call asks only so many backends."""
    async with Provider(refusal(500)) as provider:
        places = [provider] * (ATTEMPTS_MAX + 2)
        async with start_gateway(*places) as gateway:
            assert (await ask(gateway)).status == 502

            assert len(provider.asked) == ATTEMPTS_MAX


# -- before the first token ----------------------------------------------------------------------

KEEP_ALIVE = chunk(b": keep-alive\n\n")
NO_TOKEN = {
    "no_head": ((5.0,), "slow"),
    "head_only": ((begin(), 5.0), "slow"),
    "comments_only": ((begin(), *(KEEP_ALIVE, 0.03) * 50), "slow"),
    "blank_lines_only": ((begin(), *(chunk(b"\n\n"), 0.03) * 50), "slow"),
    "role_only": ((begin(), chunk(ROLE), 5.0), "slow"),
    "role_then_reset": ((begin(), chunk(ROLE), 0.02, RESET), "lost"),
    "role_then_close": ((begin(), chunk(ROLE), CLOSE), "lost"),
    "role_then_end": ((begin(), chunk(ROLE) + b"0\r\n\r\n"), "lost"),
    "role_then_error": ((begin(), chunk(ROLE), chunk(b'data: {"error":{"a":1}}\n\n')), "failed"),
    "error_first": ((begin(), chunk(b'data: {"error":{"message":"busy"}}\n\n')), "overloaded"),
    "error_as_text": ((begin(), chunk(b'event: error\ndata: {"error":"busy"}\n\n')), "overloaded"),
    "no_json": ((begin(), chunk(b"data: <html>\n\n")), "failed"),
    "done_only": ((begin() + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n",), "lost"),
    "done_then_silence": ((begin(), chunk(b"data: [DONE]\n\n"), 5.0), "slow"),
    "empty": ((begin() + b"0\r\n\r\n",), "lost"),
    "too_much": ((begin(), *(chunk(b": " + b"x" * 60_000 + b"\n\n"),) * 20), "failed"),
    "no_event_end": ((begin(), *(chunk(b"data: " + b"x" * 60_000),) * 20), "failed"),
}


@on_uvloop
@pytest.mark.parametrize("name", NO_TOKEN)
async def test_a_stream_without_a_token_goes_to_the_next_tier(name):
    """Until the model says something the caller sees nothing of it, so another can answer."""
    steps, fact = NO_TOKEN[name]
    answered = begin() + chunk(ROLE) + stream("hello").removeprefix(begin())
    async with (
        Provider(*steps) as first,
        Provider(answered) as second,
        start_gateway(first, second, model={"first_token_s": 0.2}) as gateway,
    ):
        answer = await ask(gateway, chat(stream=True))

        assert (answer.status, answer.headers["x-baseload-backend"]) == (200, "b1")
        assert answer.body.count(b'"role"') == 1
        # Who was too slow is left in the middle of its answer, not waited for.
        await until(lambda: len(first.departures) >= (fact == "slow"))
        assert answer.text() == "hello"
        assert ended(gateway) == {"b0": fact, "b1": "done"}


@on_uvloop
async def test_an_error_that_is_not_streamed_is_given_though_a_stream_was_asked_for():
    """A caller's mistake in a streamed request comes back as plain JSON with its status."""
    async with Provider(refusal(400, "too long")) as first, start_gateway(first) as gateway:
        answer = await ask(gateway, chat(stream=True))

        assert (answer.status, answer.headers["content-type"]) == (400, "application/json")
        assert answer.json()["error"]["message"] == "too long"


@on_uvloop
async def test_the_first_token_clock_starts_anew_at_each_attempt():
    """Three slow backends cost three waits, and the fourth still has its own."""
    async with (
        Provider(5.0) as slow,
        Provider(0.05, stream("hello")) as last,
        start_gateway(slow, slow, slow, last, model={"first_token_s": 0.2}) as gateway,
    ):
        answer = await ask(gateway, chat(stream=True))

        assert (answer.text(), answer.headers["x-baseload-backend"]) == ("hello", "b3")
        assert len(slow.departures) == 3


# -- breakers ------------------------------------------------------------------------------------


@on_uvloop
async def test_a_backend_that_keeps_failing_is_left_alone_then_probed_once(monkeypatch):
    """Five failures open the breaker; later one call probes while all others pass by."""
    monkeypatch.setattr(breaker, "OPEN_S_MIN", OPEN_S)
    may_answer = asyncio.Event()
    first = Provider(play=in_turn(*[[refusal(500)]] * 5, [may_answer, whole()]))
    async with first, Provider() as second, start_gateway(first, second) as gateway:
        for _ in range(8):
            assert (await ask(gateway)).headers["x-baseload-backend"] == "b1"
        assert len(first.asked) == 5

        await asyncio.sleep(OPEN_S)
        async with call_up(gateway.address[1]) as prober:
            await prober.send(chat())
            for _ in range(5):
                assert (await ask(gateway)).headers["x-baseload-backend"] == "b1"
            assert len(first.asked) == 6
            may_answer.set()
            assert (await prober.answer()).headers["x-baseload-backend"] == "b0"

        assert (await ask(gateway)).headers["x-baseload-backend"] == "b0"


@on_uvloop
async def test_a_probe_that_fails_opens_the_breaker_for_longer(monkeypatch):
    """One failure while probing is enough, and the next wait is twice as long."""
    monkeypatch.setattr(breaker, "OPEN_S_MIN", OPEN_S)
    async with (
        Provider(refusal(503)) as first,
        Provider() as second,
        start_gateway(first, second) as gateway,
    ):
        for _ in range(5):
            await ask(gateway)
        await asyncio.sleep(OPEN_S)
        assert [(await ask(gateway)).status for _ in range(3)] == [200] * 3
        assert len(first.asked) == 6
        await asyncio.sleep(OPEN_S)
        await ask(gateway)
        assert len(first.asked) == 6
        await asyncio.sleep(OPEN_S)
        await ask(gateway)
        assert len(first.asked) == 7


@on_uvloop
async def test_a_success_in_between_forgives():
    """Failures that are neither in a row nor half of all never open the breaker."""
    play = lambda asked: healthy(asked) if asked.number % 3 else [refusal(500)]  # noqa: E731
    async with (
        Provider(play=play) as first,
        Provider() as second,
        start_gateway(first, second, overload=Overload(error_rate=1.0)) as gateway,
    ):
        for _ in range(30):
            await ask(gateway)

        assert len(first.asked) == 30


# -- shares --------------------------------------------------------------------------------------


def _shares(ninety: int, ten: int) -> dict[str, object]:
    targets = {"b0": ninety, "b1": ten}
    return {"tiers": ({n: Target(backend=n, model="m", share=s) for n, s in targets.items()},)}


@on_uvloop
async def test_shares_are_exact():
    """Nine to one means ninety and ten of a hundred, and one in each ten."""
    async with (
        Provider() as first,
        Provider() as second,
        start_gateway(first, second, model=_shares(90, 10)) as gateway,
    ):
        named = [(await ask(gateway)).headers["x-baseload-backend"] for _ in range(100)]

        tens = [named[start : start + 10].count("b1") for start in range(0, 100, 10)]
        assert tens == [1] * 10
        assert (len(first.asked), len(second.asked)) == (90, 10)


@on_uvloop
async def test_a_share_spills_over_to_the_sibling():
    """When one of a tier fails, its share of the calls is answered beside it."""
    async with (
        Provider(refusal(500)) as first,
        Provider() as second,
        start_gateway(first, second, model=_shares(60, 40)) as gateway,
    ):
        answers = [await ask(gateway, chat(stream=n % 2 > 0)) for n in range(20)]

        assert {answer.status for answer in answers} == {200}
        assert 1 <= len(first.asked) <= breaker.FAILURES_MAX
        assert len(second.asked) == 20
