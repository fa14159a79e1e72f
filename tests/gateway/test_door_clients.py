"""The official clients at the door: they raise what their users know to handle."""

import anthropic
import openai
import pytest

from tests.gateway.door import EXPIRED, HI, NARROW, WRONG, started
from tests.gateway.harness import Backend, on_uvloop


@on_uvloop
async def test_the_openai_client_raises_what_its_users_expect():
    """AuthenticationError for a wrong or ended key, NotFoundError for a model that is not its own."""
    async with Backend() as backend, started(backend) as gateway:
        base_url = f"http://127.0.0.1:{gateway.address[1]}/v1"

        def client(secret: str) -> openai.AsyncOpenAI:
            return openai.AsyncOpenAI(base_url=base_url, api_key=secret, max_retries=3, timeout=10)

        for secret in (WRONG, EXPIRED, "sk-not-here"):
            async with client(secret) as wrong:
                for ask in (
                    wrong.models.list,
                    lambda c=wrong: c.chat.completions.create(model="m", messages=HI),
                    lambda c=wrong: c.chat.completions.create(model="m", messages=HI, stream=True),
                    lambda c=wrong: c.embeddings.create(model="m", input="x"),
                ):
                    with pytest.raises(openai.AuthenticationError) as caught:
                        await ask()
                    assert "invalid_api_key" == caught.value.code
        async with client(NARROW) as narrow:
            with pytest.raises(openai.NotFoundError) as missing:
                await narrow.chat.completions.create(model="m", messages=HI)
            listed = [model.id async for model in await narrow.models.list()]
            answer = await narrow.chat.completions.create(model="n", messages=HI)

        assert ("model_not_found", "model") == (missing.value.code, missing.value.param)
        assert (["n"], "hello") == (listed, answer.choices[0].message.content)
        assert 3 * 4 == gateway.telemetry.refused[401]


@on_uvloop
async def test_the_anthropic_client_raises_what_its_users_expect():
    """It shows its key as `x-api-key`, or as a bearer token; both are known."""
    async with Backend() as backend, started(backend) as gateway:
        base_url = f"http://127.0.0.1:{gateway.address[1]}"
        for shown_as in ({"api_key": WRONG}, {"auth_token": WRONG}, {"api_key": EXPIRED}):
            async with anthropic.AsyncAnthropic(base_url=base_url, **shown_as) as client:
                with pytest.raises(anthropic.AuthenticationError) as caught:
                    await client.models.list()
                assert WRONG not in str(caught.value)
        for shown_as in ({"api_key": NARROW}, {"auth_token": NARROW}):
            async with anthropic.AsyncAnthropic(base_url=base_url, **shown_as) as client:
                assert ["n"] == [model.id async for model in await client.models.list()]
                with pytest.raises(anthropic.NotFoundError):
                    await client.models.retrieve("secret-project")

        assert 3 == gateway.telemetry.refused[401]
