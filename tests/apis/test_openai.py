"""What the gateway reads of OpenAI's format, and the one value that it replaces."""

import json
from types import NoneType

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from baseload.apis import openai
from baseload.apis.openai import BadRequestError, Event, Usage
from baseload.apis.sse import events
from tests import FUZZ

# -- requests ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"m"}', ("m", None)),
        (b'{"model":"m","stream":true,"messages":[{"role":"user","content":5}]}', ("m", True)),
        (b' {"stream" : null , "model" : "\\u006d\xc3\xa9" } ', ("mé", None)),
        (b'{"mod\\u0065l":"m"}', ("m", None)),
        (b'{"model":"","stream":false}', ("", False)),
    ],
)
def test_request(body, expected):
    """The model and the wish for a stream are read, whatever stands around them."""
    request = openai.read_request(body)

    assert expected == (request.model, request.stream)


@pytest.mark.parametrize(
    ("body", "message", "param"),
    [
        (b"", "The body is not valid JSON: the body is empty.", None),
        (b"{}", "The request has no `model`.", "model"),
        (b'{"stream":true}', "The request has no `model`.", "model"),
        (b'{"model":5}', "Expected `str`, got `int` - at `$.model`.", "model"),
        (b'{"model":null}', "Expected `str`, got `null` - at `$.model`.", "model"),
        (b'{"model":["m"]}', "Expected `str`, got `array` - at `$.model`.", "model"),
        (
            b'{"model":"m","stream":"yes"}',
            "Expected `bool | null`, got `str` - at `$.stream`.",
            "stream",
        ),
        (b"[]", "Expected `object`, got `array`.", None),
        (b'"m"', "Expected `object`, got `str`.", None),
        (b"null", "Expected `object`, got `null`.", None),
    ],
)
def test_bad_request(body, message, param):
    """What is no request is refused with a sentence, and with the field at fault if it is one."""
    with pytest.raises(BadRequestError) as raised:
        openai.read_request(body)

    assert (message, param) == (str(raised.value), raised.value.param)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"model":"m"',
        b'{"model":"m"}}',
        b"{'model':'m'}",
        b'{"model":"m",}',
        b'{"model":"\xff"}',
        b'{"model":"a\nb"}',
        b"model=m",
        b"\xef\xbb\xbf{}",
        b"\x00",
        b'{"model":"m","messages":' + b"[" * 100_000,
    ],
)
def test_body_that_is_no_json(body):
    """Broken JSON of any kind is the caller's mistake, never an exception of another type."""
    with pytest.raises(BadRequestError, match=r"^The body is .*\.$") as raised:
        openai.read_request(body)

    assert isinstance(raised.value.param, NoneType)


@FUZZ
@given(st.binary(max_size=200) | st.text().map(str.encode))
def test_any_body_is_read_or_refused(body):
    """Any bytes are a request or a `BadRequestError`."""
    try:
        request = openai.read_request(body)
    except BadRequestError:
        return

    assert json.loads(body)["model"] == request.model


# -- another name for the model ------------------------------------------------------------------

NAMES = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ["m", "model", 'a"b', "a\\", "deepseek-ai/DeepSeek-V3", "模型", "\\u006d"]
)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | NAMES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.just("model") | st.just('"model":"m"') | NAMES, inner, max_size=3)
    ),
    max_leaves=12,
)
LAYOUTS = st.fixed_dictionaries(
    {
        "ensure_ascii": st.booleans(),
        "indent": st.sampled_from([None, 0, 2, "\t"]),
        "separators": st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " \t: ")]),
    }
)


@FUZZ
@given(st.dictionaries(NAMES, TREES, max_size=4), NAMES, NAMES, LAYOUTS, st.integers(0, 4))
@example({"a": {"model": "m"}}, "m", "new", {}, 0)
@example({"a": {"model": "m"}}, "m", "new", {}, 1)
@example({"a": '{"model":"m"}'}, "m", 'quo"te', {}, 1)
@example({"a": "model"}, "m", "\\1", {"separators": (",", ":")}, 1)
def test_only_the_requests_own_model_is_renamed(fields, old, new, layout, place):
    """Read as JSON, the body is the caller's with the one field replaced, however it was written."""
    pairs = [pair for pair in fields.items() if pair[0] != "model"]
    pairs.insert(place, ("model", old))
    body = json.dumps(dict(pairs), **layout).encode()

    assert {**dict(pairs), "model": new} == json.loads(openai.rename_model(body, old, new))


@FUZZ
@given(st.dictionaries(NAMES, NAMES | st.integers(), max_size=4), NAMES, LAYOUTS, st.integers(0, 4))
def test_other_bytes_stay_as_they_came(fields, new, layout, place):
    """If the field stands there once and plainly, no byte outside its value is touched."""
    pairs = [pair for pair in fields.items() if pair[0] != "model"]
    pairs.insert(place, ("model", "plain-name"))
    body = json.dumps(dict(pairs), **layout).encode()
    assume(body.count(b'"model"') == body.count(b'"plain-name"') == 1)
    assume(b"\\u006" not in body)  # an escape in which a letter of `model` could hide
    before, after = body.split(b'"plain-name"')
    renamed = openai.rename_model(body, "plain-name", new)

    assert renamed.startswith(before)
    assert renamed.endswith(after)
    assert new == json.loads(renamed[len(before) : len(renamed) - len(after)])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"mod\\u0065l":"s"}', {"model": "n"}),
        (b'{"mod\\u0065l":"s","x":{"model":"s"}}', {"model": "n", "x": {"model": "s"}}),
        (b'{"x":{"model":"s"},"\\u006Dodel":"s"}', {"model": "n", "x": {"model": "s"}}),
        (b'{"x":{"model":"s"},"model":"\\u0073"}', {"model": "n", "x": {"model": "s"}}),
        (b'{"model":"\\u0073","x":"\\"model\\":\\"s\\""}', {"model": "n", "x": '"model":"s"'}),
        (b'{"x":["model"],"model":"s"}', {"model": "n", "x": ["model"]}),
        (b'{"model":"s","model":"s"}', {"model": "n"}),
        (b'{"model":"s","x":1e400}', {"model": "n", "x": float("inf")}),
    ],
)
def test_model_written_in_an_odd_way(body, expected):
    """Escapes and doubled keys neither hide the request's model nor put another in its place."""
    assert expected == json.loads(openai.rename_model(body, "s", "n"))


def test_body_that_cannot_be_taken_apart():
    """A body with a name that is not UTF-8 goes out as it came: its backend will refuse it."""
    body = b'{"\xff":1,"model":"m","x":{"model":"m"}}'

    assert openai.read_request(body).model == "m"
    assert body == openai.rename_model(body, "m", "n")


# -- answers -------------------------------------------------------------------------------------


def chunk(choices="", rest=""):
    """Give one event with such choices, as compact JSON."""
    return f'data: {{"id":"c","choices":[{choices}]{rest}}}\n\n'.encode()


def choice(delta="", finish="null", index=0):
    """Give one choice with such a delta."""
    return f'{{"index":{index},"delta":{{{delta}}},"finish_reason":{finish}}}'


SAYS = choice('"content":"hi"')
ENDS = choice("", '"stop"')
USAGE = ',"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}'


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (chunk(choice('"role":"assistant"')), Event.NOTHING),
        (chunk(choice('"role":"assistant","content":""')), Event.NOTHING),
        (chunk(choice('"role":"assistant","content":null')), Event.NOTHING),
        (chunk(choice('"content":null,"reasoning_content":null')), Event.NOTHING),
        (chunk(choice()), Event.NOTHING),
        (chunk(), Event.NOTHING),
        (b'data: {"id":"c"}\n\n', Event.NOTHING),
        (chunk("{}"), Event.NOTHING),
        (b'data: {"choices":null}\n\n', Event.NOTHING),
        (chunk(SAYS, ',"usage":{"prompt_tokens":null}'), Event.TOKEN),
        (chunk(ENDS, ',"usage":"none"'), Event.FINISH),
        (chunk('{"delta":null}'), Event.NOTHING),
        (chunk(choice('"content":"","tool_calls":[]')), Event.NOTHING),
        (chunk(choice("", '""')), Event.NOTHING),
        (chunk(SAYS), Event.TOKEN),
        (chunk(choice('"content":" "')), Event.TOKEN),
        (chunk(choice('"reasoning_content":"hm"')), Event.TOKEN),
        (chunk(choice('"reasoning":"hm"')), Event.TOKEN),
        (chunk(choice('"tool_calls":[{"index":0,"id":"t"}]')), Event.TOKEN),
        (chunk(choice('"function_call":{"name":"f"}')), Event.TOKEN),
        (chunk(choice('"refusal":"no"')), Event.TOKEN),
        (chunk(choice('"audio":{"data":"x"}')), Event.TOKEN),
        (chunk('{"index":0,"text":"hi","finish_reason":null}'), Event.TOKEN),
        (chunk('{"index":0,"text":"","finish_reason":null}'), Event.NOTHING),
        (chunk(choice() + "," + SAYS), Event.TOKEN),
        (chunk(ENDS), Event.FINISH),
        (chunk(choice('"content":"!"', '"length"')), Event.FINISH),
        (chunk(SAYS + "," + ENDS), Event.FINISH),
        (chunk(ENDS + "," + SAYS), Event.FINISH),
        (chunk('{"index":0,"text":"","finish_reason":"stop"}'), Event.FINISH),
        (b"data: [DONE]\n\n", Event.END),
        (b"data:[DONE]\n\n", Event.END),
        (b"data: [DONE] \r\n\r\n", Event.END),
        (b'data: {"error":{"message":"no"}}\n\n', Event.ERROR),
        (b'data: {"error":"no"}\n\n', Event.ERROR),
        (b'data: {"error":null}\n\n', Event.NOTHING),
        (b'event: error\ndata: {"error":{"code":503}}\n\n', Event.ERROR),
        (chunk(SAYS, ',"error":{"message":"no"}'), Event.ERROR),
        (b": keep-alive\n\n", Event.NOTHING),
        (b"\n\n", Event.NOTHING),
        (b"data:\n\n", Event.NOTHING),
        (b"event: ping\n\n", Event.NOTHING),
        (b"data: hello\n\n", Event.GARBAGE),
        (b"data: {\n\n", Event.GARBAGE),
        (b"data: []\n\n", Event.GARBAGE),
        (b"data: \xff\n\n", Event.GARBAGE),
        (b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n', Event.GARBAGE),
        (b'data: {"choices":5}\n\n', Event.GARBAGE),
        (b"data: " + b'{"a":' * 100_000 + b"\n\n", Event.GARBAGE),
        (b'data: {"choices":\ndata: [' + SAYS.encode() + b"]}\n\n", Event.TOKEN),
    ],
)
def test_event(event, expected):
    """An event is what it says of the model: reasoning and tools are tokens, roles are not."""
    assert (expected, None) == openai.read_event(event)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (chunk("", USAGE), Event.NOTHING),
        (chunk(SAYS, USAGE), Event.TOKEN),
        (chunk(ENDS, USAGE), Event.FINISH),
    ],
)
def test_usage_in_an_event(event, expected):
    """Usage is read wherever it comes: alone at the end, with the finish, or with each token."""
    assert (expected, Usage(3, 5)) == openai.read_event(event)


PLAIN = st.sampled_from(
    [SAYS, choice('"content":"\\"finish_reason\\":null"'), choice('"reasoning_content":"x"')]
).map(chunk)
OTHER = st.sampled_from(
    [
        chunk(ENDS),
        chunk(choice('"content":"\\"finish_reason\\":null"', '"stop"')),
        chunk("", USAGE),
        chunk(SAYS.replace(":", ": ")),
        chunk(ENDS.replace(":", ": ")),
        b'data: {"error":{"message":"no"}}\n\n',
        b"data: [DONE]\n\n",
        b": comment\n\n",
        b"event: ping\n\n",
    ]
)


@FUZZ
@given(st.lists(PLAIN | OTHER, max_size=8).map(b"".join), st.sampled_from([b"\n", b"\r\n", b"\r"]))
@example(chunk(ENDS), b"\r\n")
@example(chunk(SAYS), b"\r\n")
@example(chunk(SAYS.replace(":", ": ")), b"\r\n")
def test_counting_agrees_with_reading(whole, end):
    """What counts as plain tokens holds only tokens; with one choice an event, no end is missed.

    Events with several choices can hide an end, which is why a stream's last events are read again
    before it is called broken.
    """
    whole = whole.replace(b"\n", end)
    count = openai.count_plain(whole)
    kinds = [openai.read_event(event)[0] for event in events(whole)]

    assert count in (-1, len(kinds))
    assert count == -1 or set(kinds) <= {Event.TOKEN}


@pytest.mark.parametrize("count", [1, 3, 1000])
def test_plain_events_are_counted_without_being_read(count):
    """The common case takes the short way: a read of plain tokens is counted as it is."""
    assert count == openai.count_plain(chunk(SAYS) * count)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"choices":[]}', (True, None)),
        (b'{"usage":{"prompt_tokens":3,"completion_tokens":5,"x":{}}}', (True, Usage(3, 5))),
        (b'{"usage":{"prompt_tokens":3}}', (True, Usage(3, 0))),
        (b'{"usage":null,"error":null}', (True, None)),
        (b'{"usage":{"prompt_tokens":"3"}}', (True, None)),
        (b'{"error":{"message":"no"}}', (False, None)),
        (b'{"error":"no"}', (False, None)),
        (b'{"error":"\xff"}', (False, None)),
        (b"", (False, None)),
        (b"<html>", (False, None)),
        (b"[]", (False, None)),
        (b'{"choices":[', (False, None)),
        (b'{"a":' * 100_000, (False, None)),
    ],
)
def test_answer(body, expected):
    """An answer is a JSON object without an error; anything else under a 200 is a failure."""
    assert expected == openai.read_answer(body)


# -- what the gateway says itself ----------------------------------------------------------------


def test_error():
    """An error has every field that OpenAI's clients look for, and the request's id."""
    expected = {"message": 'a "b"', "type": "t", "param": None, "code": "c", "request_id": "r"}
    body = openai.error_body('a "b"', "t", "c", None, "r")
    event = openai.error_event('a "b"', "t", "c", "r")

    assert {"error": expected} == json.loads(body)
    assert b"data: " + body + b"\n\n" == event
    assert (Event.ERROR, None) == openai.read_event(event)


def test_models():
    """The list of models and each of them have OpenAI's form."""
    one = {"id": "m", "object": "model", "created": 7, "owned_by": "baseload"}

    assert one == json.loads(openai.model_body("m", 7))
    assert {"object": "list", "data": [one]} == json.loads(openai.models_body(["m"], 7))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ('"max_tokens": 7', 7),
        ('"max_tokens": 7, "max_completion_tokens": 9', 9),
        ("", openai.ANSWER_TOKENS),
        ('"max_tokens": "many"', openai.ANSWER_TOKENS),
        ('"max_tokens": -1', openai.ANSWER_TOKENS),
        ('"max_tokens": true', openai.ANSWER_TOKENS),
        ('"max_tokens": 1e99', openai.ANSWER_TOKENS),
        (f'"max_tokens": {10**30}', openai.ANSWER_TOKENS),
    ],
)
def test_expected_answer_tokens(fields, expected):
    """What a request bounds its answer to; nonsense bounds nothing, and is not our business."""
    body = f'{{"model": "m"{", " if fields else ""}{fields}}}'

    assert expected == openai.read_request(body.encode()).answer_tokens()
