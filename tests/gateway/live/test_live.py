"""What an operator is told of a real gateway with doubles behind it."""

import asyncio
import json
from typing import Any

import msgspec

from baseload.config.fleet import Queue
from baseload.gateway.gateway import Gateway
from baseload.gateway.live import happenings, pulse
from baseload.gateway.live.view import Live, View
from tests.gateway.harness import chat, on_uvloop, raw, request, start_gateway
from tests.gateway.provider import CLOSE, FINISH, Provider, begin, chunk, refusal, stream, token


def _look(gateway: Gateway, seconds: float = 1.0) -> None:
    """Let a second be over."""
    watch = gateway.pulse
    assert watch._looked_at is not None
    watch.look(watch._looked_at + seconds, len(gateway.driver))


async def _ask(gateway: Gateway, count: int = 1, **fields: Any) -> list[int]:
    """Ask so many times, one after the other; give the statuses."""
    words = chat(stream=True, **fields)
    return [(await raw(gateway.address[1], words))[0].status for _ in range(count)]


@on_uvloop
async def test_a_quiet_gateway_is_well():
    """With nothing wrong there are no troubles, and every backend says that it is well."""
    async with Provider() as provider, start_gateway(provider) as gateway:
        live = View(gateway).take()

        assert ("serving", []) == (live.state.state, live.state.troubles)
        assert ["Well; it had no calls in the last minute."] == [
            backend.words for backend in live.state.backends
        ]


@on_uvloop
async def test_what_ends_in_a_second_is_one_sample():
    """A sample has the calls that ended, by how, the refusals by why, and percentiles."""
    async with Provider(stream("a", "b", "c")) as provider, start_gateway(provider) as gateway:
        _look(gateway)
        await _ask(gateway, 3)
        await raw(gateway.address[1], request(b"{", path="/v1/chat/completions"))
        _look(gateway, 2.0)
        sample = gateway.pulse.samples[-1]

        assert (3, 0, 1, 0) == (sample.answered, sample.failed, sample.refused, sample.own)
        assert {"bad request": 1} == sample.refusals
        assert 2.0 == sample.span_s
        assert sample.first_token is not None
        assert sample.between_tokens is not None


@on_uvloop
async def test_a_page_is_given_what_it_has_not_had():
    """With `since`, only newer samples come; from another process's tick, all of them."""
    async with Provider() as provider, start_gateway(provider) as gateway:
        for _ in range(5):
            _look(gateway)
        view, now = View(gateway), gateway.pulse.tick

        assert 2 == len(view.take(now - 2).samples)
        assert [] == view.take(now).samples
        assert len(gateway.pulse.samples) == len(view.take(now + 50).samples)


@on_uvloop
async def test_samples_and_happenings_are_bounded():
    """However long it runs, so many seconds and lines are kept."""
    async with Provider() as provider, start_gateway(provider) as gateway:
        for _ in range(pulse.SAMPLES_MAX + 20):
            gateway.pulse.happenings.note("operator", "note", "again")
            _look(gateway)
        for number in range(2 * happenings.PENDING_MAX):
            gateway.pulse.happenings.moved("failover", f"b{number}", "c", "why")
            gateway.pulse.failed("b0", pulse.Fact.FAILED, str(number), 0.0)
        _look(gateway)
        live = View(gateway).take()

        assert (pulse.SAMPLES_MAX, happenings.KEPT_MAX) == (len(live.samples), len(live.happenings))
        assert pulse.ERRORS_MAX == len(live.state.backends[0].errors)


@on_uvloop
async def test_failovers_of_a_second_are_one_line():
    """Calls that went elsewhere are told with their number, from where, to where and why."""
    async with Provider(refusal(503)) as sick, Provider() as well:
        async with start_gateway(sick, well) as gateway:
            statuses = await _ask(gateway, 3)
            _look(gateway)
            (line,) = [one for one in gateway.pulse.happenings.kept if one.kind == "failover"]

            assert [200] * 3 == statuses
            assert (3, "b0", "warn") == (line.count, line.backend, line.tone)
            assert "3 calls failed at b0 and went to b1: HTTP 503" == line.words


@on_uvloop
async def test_a_storm_does_not_wash_the_diary_away():
    """What goes on for a minute is told at once, and then every ten seconds with all that came."""
    async with Provider() as one, start_gateway(one) as gateway:
        diary = gateway.pulse.happenings
        for second in range(60):
            diary.moved("failover", "a", "b", "why")
            diary.look(second, float(second))

        assert [1, 10, 10, 10, 10, 10] == [line.count for line in diary.kept]
        assert [0, 10, 20, 30, 40, 50] == [line.tick for line in diary.kept]


@on_uvloop
async def test_a_resume_is_told():
    """An answer that broke off and went on elsewhere is told once it does."""
    broken = (begin(), chunk(token("hel")), CLOSE)
    rest = begin() + chunk(token("hel")) + chunk(token("lo")) + chunk(FINISH)
    rest += chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    async with Provider(*broken) as sick, Provider(rest) as well:
        async with start_gateway(sick, well, model={"resume": "any"}) as gateway:
            await _ask(gateway)
            _look(gateway)
            lines = {one.kind: one.words for one in gateway.pulse.happenings.kept}

            assert {"resume"} == set(lines)
            assert (
                "An answer that broke off at b0 went on at b1: it closed the connection"
                == (lines["resume"])
            )


@on_uvloop
async def test_a_resume_names_where_the_answer_broke_off():
    """Backends that were tried in vain before it went on are not where it broke."""
    broken = (begin(), chunk(token("hel")), CLOSE)
    rest = begin() + chunk(token("hel")) + chunk(token("lo")) + chunk(FINISH)
    rest += chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    async with Provider(*broken) as sick, Provider(refusal(503)) as vain, Provider(rest) as well:
        async with start_gateway(sick, vain, well, model={"resume": "any"}) as gateway:
            await _ask(gateway)
            _look(gateway)
            (line,) = gateway.pulse.happenings.kept

            assert "An answer that broke off at b0 went on at b2: it closed the connection" == (
                line.words
            )


@on_uvloop
async def test_a_failing_backend_is_the_headline():
    """A backend that fails is named with its reason, and that others take its calls."""
    async with Provider(refusal(503)) as sick, Provider() as well:
        async with start_gateway(sick, well) as gateway:
            await _ask(gateway, 8)
            _look(gateway)
            state = View(gateway).take().state
            worst, card = state.troubles[0], state.backends[0]

            assert ("bad", "b0") == (worst.tone, worst.backend)
            assert (
                "b0 is left alone for a while after failures: HTTP 503. Others take its calls."
                == worst.words
            )
            assert ("open", "bad", False) == (card.state, card.tone, card.is_usable)
            assert ("overloaded", "HTTP 503") == (card.errors[0].fact, card.errors[0].reason)
            assert card.probes_in_s is not None
            assert 1.0 == card.error_rate
            assert {"breaker", "failover"} <= {one.kind for one in gateway.pulse.happenings.kept}


@on_uvloop
async def test_a_model_that_nobody_serves_comes_first():
    """What callers feel is said before what machines feel."""
    async with Provider(refusal(503)) as sick, start_gateway(sick) as gateway:
        await _ask(gateway, 8)
        _look(gateway)
        troubles = View(gateway).take().state.troubles

        assert troubles[0].words == (
            "No backend can be asked for m: b0 is left alone after failures."
        )
        assert {"bad"} == {trouble.tone for trouble in troubles[:2]}


@on_uvloop
async def test_what_an_operator_did_is_no_trouble_and_is_said():
    """A disabled backend is worth knowing; it is not counted as usable."""
    async with Provider() as one, Provider() as other, start_gateway(one, other) as gateway:
        state = View(gateway).take(modes={"b0": "disabled"}).state

        assert [("note", "b0 is disabled by an operator: it is sent no calls.")] == [
            (trouble.tone, trouble.words) for trouble in state.troubles
        ]
        assert [False, True] == [backend.is_usable for backend in state.backends]


@on_uvloop
async def test_alarms_are_bad():
    """Whatever else is wrong is told in its own words."""
    async with Provider() as one, start_gateway(one) as gateway:
        state = View(gateway).take(alarms=["The ledger cannot be written: disk full."]).state

        assert [("bad", "The ledger cannot be written: disk full.")] == [
            (trouble.tone, trouble.words) for trouble in state.troubles
        ]


@on_uvloop
async def test_refused_calls_are_counted_by_reason():
    """A queue of no size refuses, and the headline says so."""
    hold = asyncio.Event()
    async with Provider(begin(), hold, CLOSE) as slow:
        async with start_gateway(slow, queue=Queue(size=0), model={"stall_s": 1.0}) as gateway:
            gateway.gate.seats["b0"].limit.limit = 1
            first = asyncio.create_task(_ask(gateway))
            await asyncio.sleep(0)
            while not len(gateway.driver):  # noqa: ASYNC110 - of things that announce nothing
                await asyncio.sleep(0.005)
            statuses = await _ask(gateway, 2)
            _look(gateway)
            sample = gateway.pulse.samples[-1]
            words = [trouble.words for trouble in View(gateway).take().state.troubles]
            hold.set()
            await first

            assert [429, 429] == statuses
            assert {"queue full": 2} == sample.refusals
            assert "The queue is full: 2 calls refused in the last 10 s." in words


@on_uvloop
async def test_the_state_is_drawn_once_a_tick():
    """However many pages are open, the work is done once a second; an operator's deed shows at once."""
    async with Provider() as one, start_gateway(one) as gateway:
        view = View(gateway)
        first, second = view.take().state, view.take().state
        view.forget()

        assert first is second
        assert view.take().state is not first


@on_uvloop
async def test_it_is_plain_json():
    """All of it can be encoded and read back as the same."""
    async with Provider(refusal(503)) as sick, start_gateway(sick) as gateway:
        await _ask(gateway, 6)
        _look(gateway)
        live = View(gateway).take()
        text = msgspec.json.encode(live)

        assert live == msgspec.json.decode(text, type=Live)
        assert {"state", "samples", "happenings"} == set(json.loads(text))
