"""DeepSeek's habits through the gateway: each attempt is worded for the server that it goes to.

Backends are doubles that are told to be of a kind, as looks at an engine would find out; what they
prove is what the gateway sends, not what such a server makes of it.
"""

import asyncio
import json

import pytest

from baseload.config.fleet import Backend, Target
from baseload.gateway.keeping import Manners
from tests.gateway.harness import DONE, chat, on_uvloop, request, start_gateway, until
from tests.gateway.provider import (
    CLOSE,
    END,
    FINISH,
    Asked,
    Provider,
    Script,
    ask,
    begin,
    chunk,
    refusal,
    whole,
)

ANY = {"resume": "any", "assemble": True}
THINKING_OFF = {"type": "disabled"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TALK = [
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c", "content": "42"},
]


def delta(**fields):
    """Give one event of a thinking model's stream."""
    choice = {"index": 0, "delta": fields, "finish_reason": None}
    return b"data: " + json.dumps({"id": "c", "choices": [choice]}).encode() + b"\n\n"


THOUGHTS = (
    delta(role="assistant") + delta(reasoning_content="2 and") + delta(reasoning_content=" 2")
)
THINKING = begin() + chunk(THOUGHTS + delta(content="4") + FINISH + DONE) + END


def know(gateway, *kinds):
    """Let the gateway know what its backends are."""
    for number, kind in enumerate(kinds):
        gateway.probes.kinds[f"b{number}"] = kind


def texts(answer):
    """Give a stream's thoughts and words."""
    chunks = [json.loads(data) for data in answer.events() if data != "[DONE]"]
    deltas = [choice["delta"] for each in chunks for choice in each["choices"]]
    return tuple(
        "".join(each.get(key) or "" for each in deltas) for key in ("reasoning_content", "content")
    )


# -- thoughts ------------------------------------------------------------------------------------


@on_uvloop
async def test_thoughts_are_returned_in_a_stream_and_put_together():
    """`reasoning_content` arrives as it was sent; without a stream it stands beside the content."""
    async with Provider(THINKING) as provider, start_gateway(provider, model=ANY) as gateway:
        know(gateway, "deepseek")
        streamed = await ask(gateway, chat(stream=True))
        (choice,) = (await ask(gateway, chat())).json()["choices"]

        assert ("2 and 2", "4") == texts(streamed)
        assert ("2 and 2", "4") == (choice["message"]["reasoning_content"], choice["message"]["content"])  # fmt: skip


@on_uvloop
@pytest.mark.parametrize("is_stream", [False, True])
async def test_thoughts_that_broke_off_are_gone_on_with(is_stream):
    """DeepSeek is handed the thoughts so far as a prefix, at its beta address; the caller sees one."""
    rest = delta(reasoning_content=" 2") + delta(content="4") + FINISH + DONE
    broken = [begin(), chunk(delta(reasoning_content="2 and")), 0.02, CLOSE]
    async with (
        Provider(*broken) as first,
        Provider(begin() + chunk(rest) + END) as second,
        start_gateway(first, second, model=ANY) as gateway,
    ):
        know(gateway, "deepseek", "deepseek")
        answer = await ask(gateway, chat(stream=is_stream))

        prefix = {"role": "assistant", "content": "", "prefix": True, "reasoning_content": "2 and"}
        assert ("/beta/chat/completions", prefix) == (second.asked[0].path, second.asked[0].json()["messages"][-1])  # fmt: skip
        message = None if is_stream else answer.json()["choices"][0]["message"]
        found = texts(answer) if is_stream else (message["reasoning_content"], message["content"])
        assert ("2 and 2", "4") == found


@on_uvloop
async def test_thoughts_are_handed_back_in_each_servers_spelling():
    """What fails at DeepSeek and goes on to vLLM is worded anew, from the caller's own bytes."""
    async with (
        Provider(refusal(503)) as first,
        Provider() as second,
        start_gateway(first, second) as gateway,
    ):
        know(gateway, "deepseek", "vllm")
        data = request({"model": "m", "messages": TALK, "thinking": THINKING_OFF, "user_id": "u"})
        answer = await ask(gateway, data)

        there, here = first.asked[0].json(), second.asked[0].json()
        assert 200 == answer.status
        assert (TALK, THINKING_OFF, "u") == (there["messages"], there["thinking"], there["user_id"])
        assert {"thinking": False, "enable_thinking": False} == here["chat_template_kwargs"]
        assert ("hm", "hm") == (here["messages"][1]["reasoning"], here["messages"][1]["reasoning_content"])  # fmt: skip
        assert ("u", False, False) == (here["user"], "thinking" in here, "user_id" in here)


@on_uvloop
async def test_a_renamed_model_is_fitted_too():
    """A tier's own name for the model, and what its server calls things, go into one request."""
    tiers = ({"b0": Target(backend="b0", model="deepseek-v3")},)
    async with (
        Provider() as provider,
        start_gateway(provider, model={"tiers": tiers}) as gateway,
    ):
        know(gateway, "sglang")
        await ask(gateway, chat(reasoning_effort="none"))

        sent = provider.asked[0].json()
        assert ("deepseek-v3", {"thinking": False, "enable_thinking": False}) == (sent["model"], sent["chat_template_kwargs"])  # fmt: skip


@on_uvloop
async def test_a_server_of_unknown_kind_is_sent_the_callers_bytes():
    """Nothing is guessed."""
    body = b'{"model":"m", "messages":[],"thinking":{"type":"disabled"},"user_id":"u"}'
    async with Provider() as provider, start_gateway(provider) as gateway:
        await ask(gateway, request(body))

        assert body == provider.asked[0].body


@pytest.mark.parametrize(
    ("fields", "is_fitted"),
    [
        ({"url": "https://api.deepseek.com/v1"}, False),
        ({"url": "https://api.deepseek.com/v1", "prefill": "off"}, False),
        ({"url": "https://deepseek.com.example/v1"}, False),
        ({"url": "https://api.openai.com/v1"}, True),
        ({"url": "http://gpu/v1", "prefill": "continue_final_message"}, False),
        ({"engine": "llama.cpp", "model": "m"}, True),
    ],
)
def test_kinds_that_the_fleet_file_tells(fields, is_fitted):
    """An address or an engine says what a backend is; how it goes on does not."""
    manners = Manners({"b": Backend(name="b", **fields)}, {})
    body = b'{"model":"m","messages":[],"user_id":"u"}'

    _, found = manners.fit(
        Target(backend="b", model="m"), b"/chat/completions", body, is_beta=False
    )
    assert is_fitted is (b'"user":"u"' in found)
    path, _ = manners.fit(Target(backend="b", model="m"), b"/completions", b"{}", is_beta=False)
    assert ("api.deepseek.com" in fields.get("url", "")) is (b"/beta/completions" == path)


# -- the beta address ----------------------------------------------------------------------------

BEGUN = {"role": "assistant", "content": "Well", "prefix": True}


@on_uvloop
@pytest.mark.parametrize("path", ["/beta/chat/completions", "/beta/v1/chat/completions", "/v1/chat/completions"])  # fmt: skip
async def test_an_answer_begun_by_the_caller(path):
    """DeepSeek is asked at its beta address, and an engine that takes over in its own words."""
    body = {"model": "m", "messages": [TALK[0], BEGUN]}
    async with (
        Provider(refusal(503)) as first,
        Provider() as second,
        start_gateway(first, second) as gateway,
    ):
        know(gateway, "deepseek", "vllm")
        answer = await ask(gateway, request(body, path))

        assert 200 == answer.status
        assert ("/beta/chat/completions", body) == (first.asked[0].path, first.asked[0].json())
        sent = second.asked[0].json()
        assert ("/v1/chat/completions", True, False) == (second.asked[0].path, sent["continue_final_message"], sent["add_generation_prompt"])  # fmt: skip
        assert {"role": "assistant", "content": "Well"} == sent["messages"][-1]


@on_uvloop
async def test_an_answer_begun_by_the_caller_breaks_off():
    """It is asked for anew, with the caller's own beginning, and joined."""
    words = [f"word{number} " for number in range(20)]
    broken = [begin(), *(chunk(delta(content=word)) for word in words[:15]), 0.02, CLOSE]
    again = b"".join(delta(content=word) for word in words)
    async with (
        Provider(*broken) as first,
        Provider(begin() + chunk(again + FINISH + DONE) + END) as second,
        start_gateway(first, second, model=ANY) as gateway,
    ):
        know(gateway, "deepseek", "sglang")
        body = {"model": "m", "messages": [TALK[0], BEGUN], "stream": True}
        answer = await ask(gateway, request(body, "/beta/chat/completions"))

        assert ("", "".join(words)) == texts(answer)
        assert second.asked[0].json()["continue_final_message"] is True


def gaps(asked: Asked) -> Script:
    """Answer a completion."""
    if not asked.path.endswith("/completions"):
        return [refusal(404)]
    choice = {"index": 0, "text": "b", "finish_reason": "stop"}
    return [whole({"id": "c", "object": "text_completion", "choices": [choice]})]


@on_uvloop
async def test_a_gap_is_filled_in():
    """DeepSeek has completions at its beta address; an engine that takes over has its own."""
    body = {"model": "m", "prompt": "a", "suffix": "c"}
    async with (
        Provider(refusal(503)) as first,
        Provider(play=gaps) as second,
        start_gateway(first, second) as gateway,
    ):
        know(gateway, "deepseek", "vllm")
        answer = await ask(gateway, request(body, "/beta/completions"))

        assert "b" == answer.json()["choices"][0]["text"]
        assert ["/beta/completions", "/v1/completions"] == [
            first.asked[0].path,
            second.asked[0].path,
        ]
        assert body == first.asked[0].json() == second.asked[0].json()


@on_uvloop
async def test_a_target_says_whether_it_thinks():
    """Where the caller says nothing of thinking the fleet file does, in each server's words."""
    async with Provider() as deepseek, Provider() as vllm:
        for provider, kind in ((deepseek, "deepseek"), (vllm, "vllm")):
            target = Target(backend="b0", model="m", thinking="disabled")
            model = {"tiers": ({"b0": target},)}
            async with start_gateway(provider, model=model) as gateway:
                know(gateway, kind)
                await ask(gateway, chat())
                await ask(gateway, chat(thinking={"type": "enabled"}))

    assert [THINKING_OFF, {"type": "enabled"}] == [
        asked.json().get("thinking") for asked in deepseek.asked
    ]
    switches = [asked.json()["chat_template_kwargs"] for asked in vllm.asked]
    assert [False, True] == [each["enable_thinking"] for each in switches]


@on_uvloop
async def test_the_beta_address_has_the_list_of_models():
    """A client whose base URL is the beta one finds the models there."""
    async with Provider() as provider, start_gateway(provider) as gateway:
        answer = await ask(gateway, request(None, "/beta/models", "GET"))

        assert ["m"] == [model["id"] for model in answer.json()["data"]]


@on_uvloop
async def test_the_beta_address_and_the_other_share_no_answer():
    """Equal questions at both addresses are two, because DeepSeek may answer them differently."""
    model, both = {"share_identical": True}, asyncio.Event()
    body = {"model": "m", "messages": [TALK[0]]}
    async with Provider(both, whole()) as provider, start_gateway(provider, model=model) as gateway:
        know(gateway, "deepseek")
        asks = [ask(gateway, request(body, path)) for path in ("/beta/chat/completions", "/v1/chat/completions")]  # fmt: skip
        asking = asyncio.gather(*asks)
        await until(lambda: len(provider.asked) == 2)
        both.set()
        await asking

        assert {"/beta/chat/completions", "/v1/chat/completions"} == {
            a.path for a in provider.asked
        }
