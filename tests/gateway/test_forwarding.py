"""What a backend is sent, and what of its answer's head the caller sees."""

import pytest

from baseload.config.fleet import Target
from tests.gateway.harness import COMPLETION, chat, on_uvloop, request, start_gateway, token
from tests.gateway.provider import (
    END,
    FINISH,
    Provider,
    ask,
    backends,
    begin,
    chunk,
    refusal,
    whole,
)


def _renamed(*names: str) -> dict[str, object]:
    """Give a model whose tiers know it under these names."""
    tiers = [{f"b{n}": Target(backend=f"b{n}", model=name)} for n, name in enumerate(names)]
    return {"tiers": tuple(tiers)}


# -- the body ------------------------------------------------------------------------------------

BODIES = {
    "plain": (b'{"model":"m","messages":[]}', b'{"model":"deepseek/v3","messages":[]}'),
    "spaced": (b' {\n "model" :\t"m" , "x": 1.50 }\n', b' {\n "model" :\t"deepseek/v3" , "x": 1.50 }\n'),
    "last": (b'{"messages":[],"model":"m"}', b'{"messages":[],"model":"deepseek/v3"}'),
    "quoted_in_the_prompt": (
        b'{"messages":[{"role":"user","content":"say {\\"model\\":\\"m\\"} \\u00fc"}],"model":"m"}',
        b'{"messages":[{"role":"user","content":"say {\\"model\\":\\"m\\"} \\u00fc"}],"model":"deepseek/v3"}',
    ),
    "nested": (
        b'{"metadata":{"model":"m"},"model":"m","seed":1e2}',
        b'{"metadata":{"model":"m"},"model":"deepseek/v3","seed":1e2}',
    ),
    "escaped": (b'{"model":"\\u006d","n":1.0}', b'{"model":"deepseek/v3","n":1.0}'),
    "big_numbers": (
        b'{"model":"m","seed":123456789012345678901234567890,"t":0.10}',
        b'{"model":"deepseek/v3","seed":123456789012345678901234567890,"t":0.10}',
    ),
}  # fmt: skip


@on_uvloop
@pytest.mark.parametrize("name", BODIES)
async def test_a_tier_is_asked_for_its_own_name_of_the_model(name):
    """The name is replaced in the caller's own bytes, and every other byte stays."""
    body, expected = BODIES[name]
    async with (
        Provider() as provider,
        start_gateway(provider, model=_renamed("deepseek/v3")) as gateway,
    ):
        assert (await ask(gateway, request(body))).status == 200

        assert [asked.body for asked in provider.asked] == [expected]


@on_uvloop
@pytest.mark.parametrize("name", BODIES)
async def test_a_body_is_forwarded_as_it_came(name):
    """Where the tier knows the model under the caller's name, the body's bytes are the caller's."""
    body, _ = BODIES[name]
    async with Provider() as provider, start_gateway(provider) as gateway:
        assert (await ask(gateway, request(body))).status == 200

        assert [asked.body for asked in provider.asked] == [body]


@on_uvloop
async def test_each_tier_has_its_own_name():
    """After a failure the next tier is asked for its own name, not the one before."""
    async with Provider(refusal(500)) as first, Provider(refusal(500)) as second:
        async with Provider() as third:
            model = _renamed("one", "m", "three")
            async with start_gateway(first, second, third, model=model) as gateway:
                assert (await ask(gateway)).status == 200

        asked = [provider.asked[0].json()["model"] for provider in (first, second, third)]
        assert asked == ["one", "m", "three"]


@on_uvloop
async def test_a_chunked_request_is_forwarded_whole():
    """A body that came in chunks goes out with its length, and the same bytes."""
    pieces = [b'{"model":"m",', b'"messages":[]', b"}"]
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with Provider() as provider, start_gateway(provider) as gateway:
        answer = await ask(gateway, head + b"".join(chunk(piece) for piece in pieces) + END)

        assert answer.status == 200
        assert provider.asked[0].body == b"".join(pieces)
        assert "transfer-encoding" not in provider.asked[0].headers


# -- the head ------------------------------------------------------------------------------------

CALLERS_OWN = (
    "Authorization: Bearer sk-caller\r\nCookie: a=b\r\nAccept-Encoding: gzip, br\r\n"
    "X-Api-Key: sk-caller\r\nX-Forwarded-For: 10.0.0.1\r\nX-Request-Id: from-caller-1\r\n"
    "Connection: close\r\nUser-Agent: curl\r\n"
)


@on_uvloop
async def test_a_backend_sees_the_gateways_key_and_nothing_of_the_callers():
    """The backend's own key is the bearer token; the caller's key and cookies stay here."""
    async with Provider() as provider:
        places = backends(provider, api_key="sk-backend")
        async with start_gateway(provider, backends=places) as gateway:
            await ask(gateway, request({"model": "m"}, head=CALLERS_OWN))

        (asked,) = provider.asked
        assert asked.headers.pop("user-agent").startswith("baseload/")
        assert asked.headers == {
            "host": f"127.0.0.1:{provider.port}",
            "authorization": "Bearer sk-backend",
            "content-type": "application/json",
            "accept-encoding": "identity",
            "x-request-id": "from-caller-1",
            "content-length": str(len(asked.body)),
        }


@on_uvloop
async def test_without_a_key_no_authorization_is_sent():
    """A backend without `api_key` is not shown the caller's instead."""
    async with Provider() as provider, start_gateway(provider) as gateway:
        await ask(gateway, request({"model": "m"}, head=CALLERS_OWN))

        assert "authorization" not in provider.asked[0].headers


@on_uvloop
@pytest.mark.parametrize("path", ["chat/completions", "completions", "embeddings"])
async def test_paths_are_appended_to_the_base_url(path):
    """With and without `/v1`, what is asked for stands below the backend's own base URL."""
    async with Provider() as provider:
        places = {
            name: backend.__class__(
                name=name, url=f"http://127.0.0.1:{provider.port}/api/v3", probe_s=0.0
            )
            for name, backend in backends(provider).items()
        }
        async with start_gateway(provider, backends=places) as gateway:
            for prefix in ("/v1/", "/"):
                await ask(gateway, request({"model": "m"}, path=prefix + path))

        assert {(a.method, a.path) for a in provider.asked} == {("POST", f"/api/v3/{path}")}


@on_uvloop
@pytest.mark.parametrize("is_stream", [False, True])
async def test_an_answers_head_is_the_gateways_but_for_what_callers_use(is_stream):
    """Rate limits and the like pass; cookies, servers and identities of backends do not."""
    head = (
        "x-ratelimit-remaining-tokens: 7\r\nopenai-processing-ms: 12\r\nserver: nginx\r\n"
        "set-cookie: a=b\r\nx-request-id: theirs\r\nx-baseload-backend: forged\r\n"
        "connection: keep-alive\r\nkeep-alive: timeout=5\r\ndate: today\r\nalt-svc: h3\r\n"
    )
    streamed = begin(head) + chunk(token("hi")) + chunk(FINISH) + END
    async with (
        Provider(streamed if is_stream else whole(COMPLETION, 200, head)) as provider,
        start_gateway(provider) as gateway,
    ):
        answer = await ask(gateway, chat(stream=is_stream))

        assert answer.headers.pop("x-request-id") not in ("theirs", "")
        assert answer.headers.pop("content-length", "").isdigit() is not is_stream
        assert answer.headers == {
            "content-type": "text/event-stream" if is_stream else "application/json",
            "x-ratelimit-remaining-tokens": "7",
            "openai-processing-ms": "12",
            "x-baseload-backend": "b0",
        } | ({"transfer-encoding": "chunked"} if is_stream else {})
