"""Models with both kinds of backends, such as speak Anthropic's API and such as do not.

The client is the official one; a backend that speaks the API is a double, see `messages_kit`.
"""

import pytest

from baseload.config.fleet import Target
from tests.gateway.harness import on_uvloop, token
from tests.gateway.messages_kit import (
    ASK,
    NATIVE_PATH,
    NATIVE_START,
    client_of,
    native_error,
    native_event,
    natively,
    said,
    start_mixed,
    streamed,
    texts,
)
from tests.gateway.provider import (
    RESET,
    Provider,
    begin,
    chunk,
    drip,
    healthy,
    stream,
)

STREAMED = pytest.mark.parametrize("is_stream", [True, False])
SAMPLES = 24
"""Calls after which it is known how fast a backend usually is."""


async def asked(client, *, is_stream, **fields):
    """Ask, with a stream or without one."""
    if is_stream:
        return await said(client, **fields)
    return await client.messages.create(**(ASK | fields))


@on_uvloop
@STREAMED
@pytest.mark.parametrize(
    "step", [native_error(529, "overloaded_error"), RESET, native_error(500, "x")]
)
async def test_from_native_to_chat(step, is_stream):
    """A backend that speaks it fails before its first token; one that does not answers."""
    async with (
        Provider(step) as first,
        Provider(stream("as a ", "chat")) as second,
        start_mixed(first, second, model={"assemble": True}) as gateway,
        client_of(gateway) as client,
    ):
        assert ["as a chat"] == texts(await asked(client, is_stream=is_stream))
        assert [NATIVE_PATH, "/v1/chat/completions"] == [
            one.asked[0].path for one in (first, second)
        ]


@on_uvloop
@STREAMED
async def test_from_chat_to_native(is_stream):
    """And the other way round."""
    async with (
        Provider(begin(), 0.02, RESET) as first,
        Provider(play=natively) as second,
        start_mixed(first, second, natives=(1,), model={"assemble": True}) as gateway,
        client_of(gateway) as client,
    ):
        assert ["native"] == texts(await asked(client, is_stream=is_stream))
        assert "m" == second.asked[0].json()["model"]


@on_uvloop
async def test_a_stream_that_fails_before_its_first_token():
    """Signs of life commit nothing: an error after them goes elsewhere, and means an overload."""
    error = native_event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    async with (
        Provider(streamed(NATIVE_START, error)) as first,
        Provider(play=natively) as second,
        start_mixed(first, second, natives=(0, 1)) as gateway,
        client_of(gateway) as client,
    ):
        assert ["native"] == texts(await said(client))
        assert "busy" == gateway.failures["b0"].fact


@on_uvloop
async def test_pings_are_no_tokens():
    """A backend that only pings has queued the call; the clock for the first token runs."""
    pings = drip(chunk(native_event("ping")) * 40, len(chunk(native_event("ping"))), 0.05)
    async with (
        Provider(begin() + chunk(NATIVE_START), *pings) as first,
        Provider(play=natively) as second,
        start_mixed(first, second, natives=(0, 1), model={"first_token_s": 0.4}) as gateway,
        client_of(gateway) as client,
    ):
        assert ["native"] == texts(await said(client))
        assert "slow" == gateway.failures["b0"].fact


@on_uvloop
async def test_a_chat_that_breaks_is_never_gone_on_with_natively():
    """What was begun as a chat is continued as one, also by a backend that speaks both."""
    first = begin() + chunk(token("The quick brown fox jumps "))
    tiers = tuple({name: Target(backend=name, model="m", weights="w")} for name in ("b0", "b1"))
    rest = stream("The quick brown fox jumps ", "over the lazy dog.")
    async with (
        Provider(first, 0.02, RESET) as broken,
        Provider(rest) as second,
        start_mixed(
            broken, second, natives=(1,), model={"tiers": tiers, "resume": "same_weights"}
        ) as gateway,
        client_of(gateway) as client,
    ):
        assert ["The quick brown fox jumps over the lazy dog."] == texts(await said(client))
        assert ["/v1/chat/completions"] == [one.path for one in second.asked]


@on_uvloop
@pytest.mark.parametrize(("native", "text"), [(0, "hello"), (1, "native")])
async def test_one_beside_the_other(native, text):
    """Of two attempts at once, one native and one not, the first token decides how it is given."""
    usual = [natively if native == 0 else healthy] * SAMPLES
    async with (
        Provider(play=lambda asked: _late(asked, usual)) as first,
        Provider(play=natively if native == 1 else healthy) as second,
        start_mixed(
            first, second, natives=(native,), model={"hedge": 0.5, "first_token_s": 5.0}
        ) as gateway,
        client_of(gateway) as client,
    ):  # fmt: skip
        for _ in range(SAMPLES):
            await said(client)

        assert [text] == texts(await said(client))
        assert (SAMPLES + 1, 1) == (len(first.asked), len(second.asked))


def _late(asked, usual):
    """Answer as usual so many times, then say nothing."""
    return usual[asked.number](asked) if asked.number < len(usual) else [begin(), 5.0]
