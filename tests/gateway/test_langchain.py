"""LangChain's client for OpenAI against the gateway, by chats and by Responses.

LangChain and the client below it are real, and so are both sockets; only the model behind them is a
script.
"""

import json
from typing import Any, Self

import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from tests.gateway.harness import on_uvloop, start_gateway, until
from tests.gateway.provider import CLOSE, Asked, Provider, Script, begin, chunk, refusal, whole
from tests.gateway.test_responses_sdk import ANY, CALLING, HELLO, delta, streamed

BOTH = pytest.mark.parametrize("by_responses", [False, True])
PATIENT = ANY | {"first_token_s": 0.1}


class Client:
    """LangChain's models, which try no call again by themselves; at the end all is closed."""

    def __init__(self, gateway: Any, by_responses: bool) -> None:
        self.url = f"http://127.0.0.1:{gateway.address[1]}/v1"
        self.by_responses = by_responses

    async def __aenter__(self) -> Self:
        self.http = openai.DefaultAsyncHttpxClient(timeout=10)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    def model(self, **fields: Any) -> ChatOpenAI:
        """Give a model; LangChain would share its own connections between loops."""
        return ChatOpenAI(
            model="m",
            base_url=self.url,
            api_key="sk-caller",
            max_retries=0,
            use_responses_api=self.by_responses,
            http_async_client=self.http,
            **fields,
        )


def multiply(a: int) -> int:
    """Multiply a number by two."""
    return a * 2


class Point(BaseModel):
    """What an answer is to look like."""

    x: int


def calling(asked: Asked) -> Script:
    """Call a function at first, and answer when its result is there."""
    return HELLO if asked.number else CALLING


@on_uvloop
@BOTH
async def test_invoke_stream_and_batch(by_responses):
    """Answers come whole, in pieces and many at once."""
    async with (
        Provider(*HELLO) as provider,
        start_gateway(provider, model=ANY) as gateway,
        Client(gateway, by_responses) as client,
    ):
        model = client.model()
        answer = await model.ainvoke("hi")
        pieces = [piece async for piece in model.astream("hi")]
        batch = await model.abatch(["a", "b", "c"])

        assert "hello" == answer.text == "".join(piece.text for piece in pieces)
        assert 2 <= len([piece for piece in pieces if piece.text])
        assert ["hello"] * 3 == [each.text for each in batch]
        assert 14 == answer.usage_metadata["total_tokens"]
        assert {"/v1/chat/completions"} == {asked.path for asked in provider.asked}


@on_uvloop
@BOTH
async def test_tools(by_responses):
    """A tool is called, and its result handed back, over two calls."""
    async with (
        Provider(play=calling) as provider,
        start_gateway(provider, model=ANY) as gateway,
        Client(gateway, by_responses) as client,
    ):
        model = client.model().bind_tools([multiply])
        first = await model.ainvoke([HumanMessage("q")])
        (call,) = first.tool_calls
        told = ToolMessage("42", tool_call_id=call["id"])
        second = await model.ainvoke([HumanMessage("q"), first, told])

        assert ("f", {"a": 1}, "c1") == (call["name"], call["args"], call["id"])
        assert "hello" == second.text
        user, turn, result = provider.asked[1].json()["messages"]
        assert ("user", "assistant", "tool") == (user["role"], turn["role"], result["role"])
        assert "c1" == turn["tool_calls"][0]["id"] == result["tool_call_id"]
        assert "multiply" == provider.asked[0].json()["tools"][0]["function"]["name"]


@on_uvloop
@BOTH
async def test_tools_in_a_stream(by_responses):
    """The pieces of a call add up to it."""
    async with (
        Provider(*CALLING) as provider,
        start_gateway(provider, model=ANY) as gateway,
        Client(gateway, by_responses) as client,
    ):
        model = client.model().bind_tools([multiply])
        whole: Any = None
        async for piece in model.astream("q"):
            whole = piece if whole is None else whole + piece

        assert [("f", {"a": 1})] == [(call["name"], call["args"]) for call in whole.tool_calls]


@on_uvloop
@BOTH
async def test_structured_output(by_responses):
    """An answer of a given form is parsed; the form reached the backend."""
    script = streamed(delta(content='{"x"'), delta(content=":4}"), delta("stop"))
    async with (
        Provider(*script) as provider,
        start_gateway(provider, model=ANY) as gateway,
        Client(gateway, by_responses) as client,
    ):
        model = client.model().with_structured_output(Point)

        assert Point(x=4) == await model.ainvoke("q")
        assert "json_schema" == provider.asked[0].json()["response_format"]["type"]


@on_uvloop
async def test_thoughts():
    """By Responses LangChain shows thoughts, in a stream if it asks for their summary."""
    script = streamed(delta(reasoning_content="h"), delta(reasoning_content="m"), delta(content="x"), delta("stop"))  # fmt: skip
    async with (
        Provider(*script) as provider,
        start_gateway(provider, model=ANY) as gateway,
        Client(gateway, True) as client,
    ):
        answer = await client.model().ainvoke("q")
        asking = client.model(reasoning={"effort": "low", "summary": "auto"})
        whole: Any = None
        async for piece in asking.astream("q"):
            whole = piece if whole is None else whole + piece

        assert "hm" == answer.content[0]["content"][0]["text"]
        assert "hm" == whole.content[0]["summary"][0]["text"]
        assert "low" == provider.asked[-1].json()["reasoning_effort"]


@on_uvloop
@BOTH
@pytest.mark.parametrize("script", [[refusal(429)], [CLOSE], [begin(), 30.0], streamed(delta("stop"))])  # fmt: skip
async def test_failover_is_not_seen(script, by_responses):
    """Busy, cut off, stalled or empty before the first token: another backend answers."""
    async with (
        Provider(*script) as first,
        Provider(*HELLO) as second,
        start_gateway(first, second, model=PATIENT) as gateway,
        Client(gateway, by_responses) as client,
    ):
        model = client.model()
        texts = [piece.text async for piece in model.astream("q")]

        assert ("hello", "hello") == ("".join(texts), (await model.ainvoke("q")).text)


@on_uvloop
@BOTH
@pytest.mark.parametrize("last", [[0.02, CLOSE], [30.0]])
async def test_a_break_in_the_middle_is_not_seen(last, by_responses):
    """Cut off or stalled after the first token, the answer goes on elsewhere."""
    broken = [begin(), chunk(delta(content="hel")), *last]
    async with (
        Provider(*broken) as first,
        Provider(*streamed(delta(content="lo"), delta("stop"))) as second,
        start_gateway(first, second, model=ANY | {"stall_s": 0.2}) as gateway,
        Client(gateway, by_responses) as client,
    ):
        gateway.probes.kinds["b1"] = "vllm"
        pieces = [piece async for piece in client.model().astream("q")]

        assert "hello" == "".join(piece.text for piece in pieces)
        assert 1 == gateway.telemetry.resumes


@on_uvloop
@BOTH
async def test_a_broken_stream_raises(by_responses):
    """A stream that nobody can go on with is never taken for a short answer."""
    broken = [begin(), chunk(delta(content="hel")), 0.01, CLOSE]
    async with (
        Provider(*broken) as provider,
        start_gateway(provider) as gateway,
        Client(gateway, by_responses) as client,
    ):
        texts = []
        with pytest.raises((openai.APIError, ValueError), match="broke off in the middle"):
            async for piece in client.model().astream("q"):
                texts.append(piece.text)  # noqa: PERF401 - kept on error

        assert "hel" == "".join(texts)


@on_uvloop
@BOTH
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, openai.RateLimitError),
        (400, openai.BadRequestError),
        (503, openai.InternalServerError),
    ],
)
async def test_refusals_raise_the_clients_own_errors(status, kind, by_responses):
    """LangChain passes on the errors of the client below it."""
    async with (
        Provider(refusal(status)) as provider,
        start_gateway(provider) as gateway,
        Client(gateway, by_responses) as client,
    ):
        with pytest.raises(kind):
            await client.model().ainvoke("q")


@on_uvloop
async def test_the_callers_bound_reaches_deepseek():
    """LangChain says `max_completion_tokens`, which DeepSeek does not know."""
    async with (
        Provider(*HELLO) as provider,
        start_gateway(provider, model=ANY) as gateway,
        Client(gateway, False) as client,
    ):
        gateway.probes.kinds["b0"] = "deepseek"
        await client.model(max_tokens=7).ainvoke("q")
        await until(lambda: bool(provider.asked))

        sent = provider.asked[0].json()
        assert (7, False) == (sent["max_tokens"], "max_completion_tokens" in sent)


@on_uvloop
async def test_embeddings():
    """LangChain's embeddings come from the backend's own path."""
    vector = {"object": "embedding", "index": 0, "embedding": [0.5, 1.0]}
    answer = {"object": "list", "model": "m", "data": [vector], "usage": {"prompt_tokens": 1, "total_tokens": 1}}  # fmt: skip
    async with (
        Provider(whole(answer)) as provider,
        start_gateway(provider) as gateway,
        Client(gateway, False) as client,
    ):
        embed = OpenAIEmbeddings(
            model="m",
            base_url=client.url,
            api_key="sk-caller",
            check_embedding_ctx_length=False,
            http_async_client=client.http,
        )

        assert [[0.5, 1.0]] == await embed.aembed_documents(["x"])
        assert "/v1/embeddings" == provider.asked[0].path
        assert ["x"] == json.loads(provider.asked[0].body)["input"]


@on_uvloop
async def test_a_talk_is_handed_back_by_responses():
    """An answer of LangChain's own, with its blocks, becomes a chat's message again."""
    async with (
        Provider(*HELLO) as provider,
        start_gateway(provider, model=ANY) as gateway,
        Client(gateway, True) as client,
    ):
        model = client.model()
        first = await model.ainvoke("q")
        await model.ainvoke([HumanMessage("q"), first, HumanMessage("and?")])

        assert isinstance(first, AIMessage)
        talk = [(each["role"], each["content"]) for each in provider.asked[1].json()["messages"]]
        assert [("user", "q"), ("assistant", "hello"), ("user", "and?")] == talk
