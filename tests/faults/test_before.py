"""Faults before the first token: the caller sees nothing of them but who answered in the end."""

import pytest

from baseload.core.resting import PAUSE_S_MIN
from tests.faults.double import (
    FAREWELL,
    KEEP_ALIVE,
    ROLE,
    SILENCE,
    STOP,
    coded,
    completion,
    error_event,
    event,
    said,
    thought,
    twin,
)
from tests.faults.stage import Fault, Seen, cases, play, question, see, stage
from tests.gateway.harness import on_uvloop, request
from tests.gateway.provider import (
    CLOSE,
    END,
    HALF,
    RESET,
    Asked,
    Script,
    ask,
    begin,
    chunk,
    drip,
    refusal,
    whole,
)

WAITING = (*(KEEP_ALIVE, 0.05) * 8,)
"""Comments for longer than it takes to see that a call is queued at the provider."""
JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
ANSWERED = Seen(backend="b0", attempts=1)


# -- another backend answers at once -------------------------------------------------------------

STATUSES = {
    "busy": Fault(first=(refusal(429),), fact="busy"),
    "busy_for_a_while": Fault(first=(refusal(429, head="retry-after: 30\r\n"),), fact="busy"),
    "quota_spent": Fault(first=(coded(429, "insufficient_quota"),), fact="denied"),
    "balance_used_up": Fault(first=(refusal(402, "Insufficient Balance"),), fact="denied"),
    "key_refused": Fault(first=(refusal(401),), fact="denied"),
    "forbidden": Fault(first=(refusal(403),), fact="forbidden"),
    "not_offered": Fault(first=(refusal(404),), fact="absent"),
    "timed_out_itself": Fault(first=(refusal(408),), fact="failed"),
    "failed": Fault(first=(refusal(500),), fact="failed"),
    "bad_gateway": Fault(first=(whole(b"<html>502</html>", 502),), fact="unreachable"),
    "overloaded": Fault(first=(refusal(503),), fact="overloaded"),
    "every_worker_busy": Fault(first=(refusal(529),), fact="busy"),
}
CONNECTIONS = {
    "closed_before_headers": Fault(first=(0.02, CLOSE), fact="lost"),
    "reset_before_headers": Fault(first=(0.02, RESET), fact="lost"),
    "half_closed_before_headers": Fault(first=(HALF, SILENCE), fact="lost", is_hung_up=True),
    "reset_inside_the_headers": Fault(first=(begin()[:40], 0.02, RESET), fact="lost"),
    "reset_after_headers": Fault(first=(begin(), 0.02, RESET), fact="lost"),
    "half_closed_after_headers": Fault(
        first=(begin(), 0.02, HALF, SILENCE), fact="lost", is_hung_up=True
    ),
    "reset_after_a_role": Fault(first=(begin() + ROLE, 0.02, RESET), fact="lost"),
    "reset_inside_the_first_event": Fault(first=(said(1)[:-30], 0.02, RESET), fact="lost"),
    "no_http": Fault(first=(b"SSH-2.0-OpenSSH_9.2\r\n", SILENCE), fact="lost", is_hung_up=True),
}
STREAMS = {
    "comments_then_close": Fault(first=(begin(), *WAITING, END), fact="overloaded"),
    "comments_then_reset": Fault(first=(begin(), *WAITING, RESET), fact="overloaded"),
    "no_resource": Fault(
        first=(begin() + ROLE + event(finish="insufficient_system_resource"), FAREWELL),
        fact="overloaded",
    ),
    "empty_stop": Fault(first=(begin() + ROLE + STOP + FAREWELL,), fact="empty"),
    "ended_without_a_token": Fault(first=(begin() + ROLE + END,), fact="lost"),
    "done_without_a_token": Fault(first=(begin() + ROLE + FAREWELL,), fact="lost"),
    "malformed": Fault(
        first=(begin() + chunk(b'data: {"choices":[{"index":\n\n'), SILENCE),
        fact="failed",
        is_hung_up=True,
    ),
    "error_that_says_busy": Fault(
        first=(begin() + error_event(429, kind="rate_limit_error"), SILENCE),
        fact="busy",
        is_hung_up=True,
    ),
    "error_that_says_overloaded": Fault(
        first=(begin() + ROLE + error_event(503, "Server is busy"), SILENCE),
        fact="overloaded",
        is_hung_up=True,
    ),
    "error_that_says_nothing": Fault(
        first=(begin() + ROLE + error_event(None, "oops"), SILENCE),
        fact="failed",
        is_hung_up=True,
    ),
}
CLOCKS = {
    "no_headers": Fault(
        first=(SILENCE,), fact="slow", clock_s=0.2, is_hung_up=True, options={"headers_s": 0.2}
    ),
    "headers_only": Fault(
        first=(begin(), SILENCE),
        fact="slow",
        clock_s=0.3,
        is_hung_up=True,
        options={"first_byte_s": 0.3},
    ),
    "a_slow_first_token": Fault(
        first=(begin() + ROLE, SILENCE),
        fact="slow",
        clock_s=0.4,
        is_hung_up=True,
        options={"first_token_s": 0.4, "headers_s": 0.3, "first_byte_s": 0.3},
    ),
    "comments_for_ever": Fault(
        first=(begin(), *(KEEP_ALIVE, 0.05) * 400),
        fact="slow",
        clock_s=0.5,
        is_hung_up=True,
        options={"first_token_s": 0.5},
    ),
    "roles_for_ever": Fault(
        first=(begin(), *(ROLE, 0.05) * 400),
        fact="slow",
        clock_s=0.5,
        is_hung_up=True,
        options={"first_token_s": 0.5},
    ),
    "a_head_that_drips": Fault(
        first=(*drip(begin("x-slow: " + "x" * 400 + "\r\n"), 1, 0.01),),
        fact="slow",
        clock_s=0.3,
        is_hung_up=True,
        options={"headers_s": 0.3},
    ),
}
WHOLE_ANSWERS = {
    "empty_lines_then_end": Fault(
        first=(JSON, *(chunk(b"\n"), 0.05) * 8, END),
        stream=None,
        fact="overloaded",
        options={"assemble": False},
    ),
    "length_too_long": Fault(
        first=(whole(completion()).replace(b"content-length: ", b"content-length: 1"), CLOSE),
        stream=None,
        fact="lost",
        options={"assemble": False},
    ),
    "length_too_short": Fault(
        first=(
            JSON.replace(b"transfer-encoding: chunked", b"content-length: 40")
            + whole(completion()).partition(b"\r\n\r\n")[2],
        ),
        stream=None,
        fact="failed",
        options={"assemble": False},
    ),
    "error_with_status_200": Fault(
        first=(whole({"error": {"message": "busy", "code": 429}}),), stream=None, fact="failed",
        options={"assemble": False},
    ),
}  # fmt: skip
ELSEWHERE = STATUSES | CONNECTIONS | STREAMS | CLOCKS | WHOLE_ANSWERS


@on_uvloop
@pytest.mark.parametrize(("name", "is_stream"), cases(ELSEWHERE))
async def test_another_backend_answers(name, is_stream):
    """Each is one attempt, given up as soon as it shows; the next backend gives the whole answer."""
    await play(ELSEWHERE[name], is_stream=is_stream)


# -- what is no fault ----------------------------------------------------------------------------

SOUND = {
    "slow_but_in_time": Fault(
        first=(begin(), *WAITING, said(16).removeprefix(begin()), STOP, FAREWELL),
        stream=ANSWERED,
        whole=ANSWERED,
        asked=(1, 0),
        options={"first_token_s": 3.0},
    ),
    "empty_lines_then_the_answer": Fault(
        first=(
            JSON, *(chunk(b"\n"), 0.05) * 8,
            chunk(whole(completion()).partition(b"\r\n\r\n")[2]) + END,
        ),
        stream=None,
        whole=ANSWERED,
        asked=(1, 0),
        options={"assemble": False},
    ),
    "not_streamed_though_asked_to": Fault(
        first=(whole(completion()),), stream=None, whole=ANSWERED, asked=(1, 0)
    ),
    "content_filter": Fault(
        first=(said(3) + event(finish="content_filter") + FAREWELL,),
        stream=Seen(200, "The quick brown", "content_filter", "b0", 1),
        whole=Seen(200, "The quick brown", "content_filter", "b0", 1),
        asked=(1, 0),
    ),
    "content_filter_at_once": Fault(
        first=(begin() + ROLE + event(finish="content_filter") + FAREWELL,),
        stream=Seen(200, "", "content_filter", "b0", 1),
        whole=Seen(200, "", "content_filter", "b0", 1),
        asked=(1, 0),
    ),
    "cut_at_the_callers_own_limit": Fault(
        first=(thought(2) + event(finish="length") + FAREWELL,),
        stream=Seen(200, "", "length", "b0", 1, "The user"),
        whole=Seen(200, "", "length", "b0", 1, "The user"),
        asked=(1, 0),
    ),
    "a_model_that_is_silent": Fault(
        first=(begin() + ROLE + STOP + FAREWELL,),
        second=twin(says=""),
        stream=Seen(200, "", "stop", "b1", 2),
        whole=Seen(200, "", "stop", "b1", 2),
        fact="empty",
    ),
    "no_terminator": Fault(
        first=(said(16) + STOP + END,), stream=ANSWERED, whole=ANSWERED, asked=(1, 0)
    ),
    "closed_instead_of_a_terminator": Fault(
        first=(said(16) + STOP, 0.02, CLOSE), stream=ANSWERED, whole=ANSWERED, asked=(1, 0)
    ),
    "silent_instead_of_a_terminator": Fault(
        first=(said(16) + STOP, SILENCE),
        stream=ANSWERED,
        whole=ANSWERED,
        asked=(1, 0),
        is_hung_up=True,
        options={"stall_s": 0.3},
    ),
}  # fmt: skip


@on_uvloop
@pytest.mark.parametrize(("name", "is_stream"), cases(SOUND))
async def test_what_is_no_fault_is_no_reason_to_ask_twice(name, is_stream):
    """An odd but whole answer is passed on, in the one form that every caller understands."""
    await play(SOUND[name], is_stream=is_stream)


@on_uvloop
async def test_a_provider_that_cannot_stream_is_asked_as_the_caller_asked():
    """It is asked once more at once, and from then on in the caller's own words only."""

    def play(asked: Asked) -> Script:
        is_stream = asked.json().get("stream")
        return [refusal(400, "`stream` is not supported") if is_stream else whole(completion())]

    fault = Fault(first=play, is_alone=True)
    async with stage(fault) as (gateway, first, _):
        for asked, seen in ((2, Seen(backend="b0")), (3, ANSWERED)):
            data = request(question(fault, is_stream=False))
            assert seen == see(await ask(gateway, data))
            assert asked == len(first.asked)
            assert data.endswith(first.asked[-1].body)
        assert first.asked[1].at - first.asked[0].over_at < PAUSE_S_MIN / 2


# -- the caller's own mistakes -------------------------------------------------------------------

LENGTH = "context_length_exceeded"
FILTERED = "content_filter"
MISTAKES = {
    "too_long": ((coded(400, LENGTH),), 400, LENGTH),
    "filtered": ((coded(400, FILTERED),), 400, FILTERED),
    "unprocessable": ((coded(422, "bad"),), 422, "bad"),
    "too_long_in_the_stream": ((begin() + ROLE + error_event(LENGTH), SILENCE), 400, LENGTH),
    "refused_in_the_stream": ((begin() + error_event(400), SILENCE), 400, "400"),
}


@on_uvloop
@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("name", MISTAKES)
async def test_the_callers_own_mistake_is_shown_at_once(name, is_stream):
    """One attempt, the provider's own words with a real status, and nobody is to blame."""
    steps, status, code = MISTAKES[name]
    seen = Seen(status, "", code, "b0", 1)
    fault = Fault(first=steps, stream=seen, whole=seen, asked=(1, 0), is_hung_up=SILENCE in steps)
    await play(fault, is_stream=is_stream)
