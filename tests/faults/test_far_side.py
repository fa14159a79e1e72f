"""Faults of the road to a provider: sockets that are deaf, half shut, cut under TLS, or flap."""

import asyncio
import shutil
from time import monotonic

import pytest

from baseload.config import fleet
from tests.faults.double import FAREWELL, STOP, TEXT, TOKENS, Deaf, event, in_turn, said, twin
from tests.faults.stage import MESSAGES, Fault, Seen, play, question, see, stage
from tests.gateway.harness import on_uvloop, request, start_gateway
from tests.gateway.provider import CLOSE, HALF, RESET, Provider, ask, begin, refusal
from tests.gateway.test_tls_ipv6 import Papers, shown
from tests.needs import give_up

SWITCH_S = 0.05
"""What it may take from a failure to the next provider's having the request."""
TRIES = 8
LARGE = 16 << 20
"""More than the kernel takes of a request for somebody who does not read it."""


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    """Make a certificate authority once."""
    if shutil.which("openssl") is None:
        give_up("openssl, to make certificates with")
    return Papers(tmp_path_factory.mktemp("papers"))


# -- TLS -----------------------------------------------------------------------------------------


@on_uvloop
@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("how", [RESET, CLOSE, HALF])
async def test_tls_that_is_cut_in_the_middle(how, is_stream, papers):
    """A cut below TLS, with or without its farewell, is a cut: the answer goes on elsewhere."""
    good = papers.tls("good", "IP:127.0.0.1")
    fault = Fault(
        first=(said(7), 0.02, how, 20.0),
        stream=Seen(backend="b0", attempts=1),
        whole=Seen(backend="b0", attempts=1, resumed="b1"),
        fact="cut",
        weights=("w", "w"),
        backend={"prefill": "assistant", "ca": papers.ca},
        begun={"content": "".join(TOKENS[:7])},
        is_hung_up=how is HALF,
    )
    await play(fault, is_stream=is_stream, tls=shown(good))


# -- a provider that never reads -----------------------------------------------------------------


@on_uvloop
@pytest.mark.parametrize("size", [100, LARGE])
async def test_a_provider_that_never_reads_the_request(size):
    """It takes the connection and nothing else; the next one has the whole request in time."""
    async with Deaf() as deaf, Provider(play=twin()) as second:
        places = {
            f"b{number}": fleet.Backend(name=f"b{number}", url=one.url, probe_s=0)
            for number, one in enumerate((deaf, second))
        }
        options = {"headers_s": 0.5}
        async with start_gateway(deaf, second, model=options, backends=places) as gateway:
            asks = {"metadata": "x" * size, "messages": MESSAGES, "model": "m", "stream": True}
            answer = await ask(gateway, request(asks))

            assert Seen() == see(answer)
            assert (1, asks) == (len(second.asked), second.asked[0].json())
            assert "slow" == gateway.failures["b0"].fact


# -- how fast ------------------------------------------------------------------------------------

PROMPT = {
    "busy": (refusal(429),),
    "overloaded": (refusal(503),),
    "key_refused": (refusal(401),),
    "reset": (begin(), 0.02, RESET),
    "empty": (begin() + STOP + FAREWELL,),
    "cut_after_tokens": (said(7), 0.02, RESET),
}


@on_uvloop
@pytest.mark.parametrize("name", PROMPT)
async def test_the_next_provider_is_asked_at_once(name):
    """From a failure to the next attempt it takes no pause; other work on the machine is left out."""
    gaps = []
    fault = Fault(first=PROMPT[name], weights=("w", "w"))
    for _ in range(TRIES):
        async with stage(fault) as (gateway, first, second):
            answer = await ask(gateway, request(question(fault, is_stream=True)))

            assert TEXT == see(answer).text
            gaps.append(second.asked[0].at - first.asked[0].over_at)
            if gaps[-1] < SWITCH_S:
                break

    assert min(gaps) < SWITCH_S, gaps


# -- a provider that comes and goes --------------------------------------------------------------

FLAPS = [
    twin("a"),
    (refusal(503),),
    (said(4), RESET),
    twin("a"),
    (begin(), CLOSE),
    (refusal(429),),
    (said(9), event(content="", finish="insufficient_system_resource") + FAREWELL),
    (RESET,),
]
FLAPPING_S = 1.5
BACK_S_MAX = 15.0
"""A provider that is well again gets calls again within this."""


@on_uvloop
@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_provider_that_flaps(is_stream):
    """However it fails, every caller has the whole answer; once it is well it gets calls again."""
    fault = Fault(
        first=lambda asked: in_turn(FLAPS[asked.number % len(FLAPS)])(asked), weights=("w", "w")
    )
    body = question(fault, is_stream=is_stream)
    async with stage(fault) as (gateway, first, second):
        until_s = monotonic() + FLAPPING_S
        ends = set()
        while monotonic() < until_s:
            seen = see(await ask(gateway, request(body)))
            ends.add((seen.status, seen.text, seen.end))
        assert {(200, TEXT, "stop")} == ends
        assert first.asked
        assert second.asked

        first.play = twin("a")
        async with asyncio.timeout(BACK_S_MAX):
            while see(await ask(gateway, request(body))).backend != "b0":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
