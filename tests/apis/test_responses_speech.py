"""A chat's answer as a Response: every event is one that the official client's model knows.

Chats are written by hand in the shapes that DeepSeek, vLLM and OpenAI send. Each event is checked
against the client's own types, strictly, which the client itself does not do.
"""

import json

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from baseload.apis.dialect import SpeechError
from baseload.apis.responses.speech import Responses

DONE = b"data: [DONE]\n\n"
EVENT = TypeAdapter(ResponseStreamEvent)
HEAD = {"id": "chatcmpl-a1", "object": "chat.completion.chunk", "created": 7, "model": "served"}
USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 5,
    "total_tokens": 14,
    "prompt_cache_hit_tokens": 4,
    "completion_tokens_details": {"reasoning_tokens": 2},
}
COUNTED = b"data: " + json.dumps({**HEAD, "choices": [], "usage": USAGE}).encode() + b"\n\n"


def delta(finish=None, logprobs=None, **fields):
    """Give one event of a chat's stream."""
    choice = {"index": 0, "delta": fields, "finish_reason": finish, "logprobs": logprobs}
    return b"data: " + json.dumps({**HEAD, "choices": [choice]}).encode() + b"\n\n"


def called(index, arguments, name=None):
    """Give one piece of a call."""
    function = {"arguments": arguments} | ({"name": name} if name else {})
    call = {"index": index, "function": function}
    return delta(tool_calls=[call | ({"id": f"c{index}", "type": "function"} if name else {})])


def speech(**fields):
    """Give a speech for a request."""
    return Responses().read(json.dumps({"model": "m", "input": "hi"} | fields).encode())[1]


def told(stream, **fields):
    """Give the Response's events for a chat's stream, each checked."""
    spoken = speech(**fields)
    return read(spoken.feed(stream) + spoken.end(b""))


def read(data):
    """Take a Response's events apart and check each."""
    events = []
    for event in data.decode().split("\n\n")[:-1]:
        if event.startswith(":"):
            continue
        first, second = event.split("\n")
        found = json.loads(second.removeprefix("data: "))
        assert first == f"event: {found['type']}"
        EVENT.validate_python(found)
        if "response" in found:
            Response.model_validate(found["response"])
        events.append(found)
    assert list(range(len(events))) == [event["sequence_number"] for event in events]
    return events


def kinds(events):
    """Give the kinds of events, shortened, and repeated ones once."""
    short = [event["type"].removeprefix("response.") for event in events]
    return [kind for kind, before in zip(short, ["", *short], strict=False) if kind != before]


def text_of(response):
    """Give a Response's words."""
    return Response.model_validate(response).output_text


FRAME = ["created", "in_progress"]
THINKING = ["output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done", "content_part.done", "output_item.done"]  # fmt: skip
SAYING = ["output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done", "output_item.done"]  # fmt: skip
CALLING = ["output_item.added", "function_call_arguments.delta"]
CALLED = ["function_call_arguments.done", "output_item.done"]
WHOLE = (
    delta(role="assistant", content="")
    + delta(reasoning_content="th")
    + delta(reasoning_content="ink")
    + delta(content="Hel")
    + delta(content="lo")
    + called(0, "", "f")
    + called(0, '{"a"')
    + called(1, "", "g")
    + called(1, "{}")
    + called(0, ":1}")
    + delta(finish="tool_calls")
    + COUNTED
    + DONE
)

# -- streams -------------------------------------------------------------------------------------


def test_every_event_of_an_answer():
    """Thoughts, words and calls open and close in order; calls stay open until the end."""
    events = told(WHOLE)

    calls = CALLING + CALLING + CALLED + CALLED
    assert [*FRAME, *THINKING, *SAYING, *calls, "completed"] == kinds(events)


def test_the_whole_response():
    """At the end all items are there, with ids, usage and what the request had set."""
    fields = {"instructions": "i", "metadata": {"k": "v"}, "temperature": 0.5, "store": True}
    response = told(WHOLE, **fields)[-1]["response"]

    thought, message, first, second = response["output"]
    assert ("resp_a1", 7, "served", "completed") == tuple(response[key] for key in ("id", "created_at", "model", "status"))  # fmt: skip
    assert [{"type": "reasoning_text", "text": "think"}] == thought["content"]
    assert "Hello" == message["content"][0]["text"] == text_of(response)
    assert ("c0", "f", '{"a":1}') == (first["call_id"], first["name"], first["arguments"])
    assert ("c1", "g", "{}") == (second["call_id"], second["name"], second["arguments"])
    assert 4 == len({item["id"] for item in response["output"]})
    assert ({"k": "v"}, 0.5, "i", False) == tuple(response[key] for key in ("metadata", "temperature", "instructions", "store"))  # fmt: skip
    usage = response["usage"]
    assert (9, 5, 14) == (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"])
    assert 4 == usage["input_tokens_details"]["cached_tokens"]
    assert 2 == usage["output_tokens_details"]["reasoning_tokens"]


def test_thoughts_in_place_of_their_summary():
    """Who asks for a summary of thoughts is given the thoughts as one."""
    stream = delta(reasoning="hm") + delta(content="x", finish="stop") + DONE
    events = told(stream, reasoning={"summary": "auto"})

    summary = ["reasoning_summary_part.added", "reasoning_summary_text.delta", "reasoning_summary_text.done", "reasoning_summary_part.done"]  # fmt: skip
    assert ["output_item.added", *summary, "output_item.done"] == kinds(events)[2:8]
    assert [{"type": "summary_text", "text": "hm"}] == events[-1]["response"]["output"][0][
        "summary"
    ]


def test_a_refusal():
    """A refusal is a part of its message, after what was said before."""
    events = told(
        delta(content="well") + delta(refusal="n") + delta(refusal="o", finish="stop") + DONE
    )

    (message,) = events[-1]["response"]["output"]
    assert ["output_text", "refusal"] == [part["type"] for part in message["content"]]
    assert "no" == message["content"][1]["refusal"]
    assert ["n", "o"] == [e["delta"] for e in events if e["type"] == "response.refusal.delta"]


def test_log_probabilities():
    """Each delta has those of its own tokens, the whole has all."""
    token = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [{"token": "a", "logprob": -0.5, "bytes": [97]}]}  # fmt: skip
    stream = delta(content="a", logprobs={"content": [token]})
    events = told(stream + delta(content="b", logprobs={"content": [token]}, finish="stop") + DONE)

    deltas = [e["logprobs"] for e in events if e["type"] == "response.output_text.delta"]
    assert [[token], [token]] == deltas
    assert [token, token] == events[-1]["response"]["output"][0]["content"][0]["logprobs"]


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("length", "max_output_tokens"), ("content_filter", "content_filter")],
)
def test_an_answer_cut_at_a_bound(finish, reason):
    """A bound makes the Response and its last item incomplete, and is named."""
    events = told(delta(reasoning_content="h") + delta(content="x") + delta(finish=finish) + DONE)

    assert "response.incomplete" == events[-1]["type"]
    response = events[-1]["response"]
    assert ("incomplete", {"reason": reason}) == (
        response["status"],
        response["incomplete_details"],
    )
    assert ["completed", "incomplete"] == [item["status"] for item in response["output"]]


def test_comments_stay_comments():
    """Keep-alives pass, also before anything else, and are no events."""
    spoken = speech()

    assert b": keep-alive\n\n" == spoken.feed(b": keep-alive\n\n")
    said = spoken.feed(b": keep-alive\r\n\r\n" + delta(content="x").replace(b"\n", b"\r\n"))
    assert said.startswith(b": keep-alive\n\nevent: response.created\n")
    assert b"\n\n: resumed\n\n" in spoken.feed(delta(content="y") + b": resumed\n\n")
    assert b'"type":"response.completed"' in spoken.end(delta(finish="stop"))


def test_only_the_first_choice_is_told():
    """Whoever asks for several answers by other means is given the first."""
    other = delta(content="b").replace(b'"index": 0', b'"index": 1')
    events = told(delta(content="a") + other + delta(finish="stop") + DONE)

    assert "a" == text_of(events[-1]["response"])


def test_an_answer_without_a_token():
    """An answer may be empty; then so is the Response."""
    events = told(delta(role="assistant", content="") + delta(finish="stop") + DONE)

    assert [*FRAME, "completed"] == kinds(events)
    assert ([], "") == (events[-1]["response"]["output"], text_of(events[-1]["response"]))


# -- broken streams ------------------------------------------------------------------------------

BROKEN = {"message": "it broke", "type": "backend_error", "code": "stream_broken", "param": None, "request_id": "r"}  # fmt: skip


def error(**fields):
    """Give an error as the gateway puts it into a stream."""
    return b"data: " + json.dumps({"error": BROKEN | fields}).encode() + b"\n\n"


def test_a_broken_stream_fails():
    """It fails with what was said so far, and then raises in clients that look at no events."""
    events = told(delta(content="Hel") + error() + error(message="another") + DONE)

    assert ["failed", "error"] == [each["type"].removeprefix("response.") for each in events[-2:]]
    response = events[-2]["response"]
    assert ("failed", "Hel") == (response["status"], text_of(response))
    assert {"code": "server_error", "message": "it broke"} == response["error"]
    assert "incomplete" == response["output"][0]["status"]
    assert ("stream_broken", "it broke") == (events[-1]["code"], events[-1]["message"])
    assert BROKEN == events[-1]["error"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"code": "queue_full", "type": "overloaded_error"}, "rate_limit_exceeded"),
        ({"code": "rate_limit_exceeded", "type": "requests"}, "rate_limit_exceeded"),
        ({"code": None, "type": "invalid_request_error"}, "invalid_prompt"),
        ({"code": 500, "type": "x"}, "server_error"),
    ],
)
def test_the_codes_that_a_response_knows(fields, code):
    """A Response's error has one of the codes that are known; the other event tells ours."""
    events = told(error(**fields))

    assert [*FRAME, "failed", "error"] == kinds(events)
    assert code == events[-2]["response"]["error"]["code"]


@pytest.mark.parametrize("last", [b"", b"data: [DONE]\n\n", b"data: {\n\n", b"data: 5\n\n", b'data: {"error":"x"}\n\n'])  # fmt: skip
def test_no_end_is_silent(last):
    """A stream without a finish reason, or with what is no event, has failed."""
    events = told(delta(content="x") + last)

    assert ["failed", "error"] == kinds(events)[-2:]


def test_too_many_calls():
    """An answer that calls without a bound has failed, whole or streamed."""
    events = told(
        called(0, "{}", "f") + called(1024, "{}", "g") + delta(finish="tool_calls") + DONE
    )
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}] * 1025
    message = {"role": "assistant", "content": None, "tool_calls": calls}

    assert ["failed", "error"] == kinds(events)[-2:]
    assert "failed" == answered(whole(message=message, finish_reason="tool_calls"))["status"]


# -- answers that were not streamed --------------------------------------------------------------


def whole(**fields):
    """Give a chat completion."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "hi"},
        "finish_reason": "stop",
    }
    return json.dumps({**HEAD, "object": "chat.completion", "choices": [choice | fields], "usage": USAGE}).encode()  # fmt: skip


def answered(body, **fields):
    """Give the Response for a chat completion, checked."""
    response = json.loads(speech(**fields).answer(body))
    Response.model_validate(response)
    return response


def test_a_whole_answer():
    """A chat completion becomes a Response with the same text and usage."""
    response = answered(whole())

    assert ("completed", "hi", 14) == (response["status"], text_of(response), response["usage"]["total_tokens"])  # fmt: skip


def test_a_whole_answer_with_calls():
    """Thoughts and calls that are not numbered become items, too."""
    calls = [{"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}} for n in range(2)]  # fmt: skip
    message = {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": calls}
    response = answered(whole(message=message, finish_reason="tool_calls"))

    assert ["reasoning", "function_call", "function_call"] == [item["type"] for item in response["output"]]  # fmt: skip
    assert ["c0", "c1"] == [item["call_id"] for item in response["output"][1:]]


def test_a_whole_answer_cut_at_a_bound():
    """It is incomplete, as in a stream."""
    response = answered(whole(finish_reason="length"))

    assert ("incomplete", {"reason": "max_output_tokens"}) == (response["status"], response["incomplete_details"])  # fmt: skip


@pytest.mark.parametrize("body", [b"{}", b'{"choices":[]}', whole(finish_reason=None)])
def test_a_whole_answer_that_is_none(body):
    """An answer without a finished choice has failed, and says so."""
    assert "failed" == answered(body)["status"]


def test_errors_keep_their_shape():
    """An error with its status is the same in both."""
    assert b'{"error":{}}' == Responses().error(429, b'{"error":{}}')


def test_a_stream_that_is_none():
    """Who looks for events would find none in a whole answer, and is told so instead."""
    with pytest.raises(SpeechError):
        speech(stream=True).answer(whole())
