"""What tests of the Messages API share: chat streams to be retold, and a reader of the retelling.

The reader keeps Anthropic's grammar by hand: one message, blocks opened, filled and closed one
after the other, then the end. It shares no code with the writer.
"""

import json

from baseload.apis.anthropic.dialect import MESSAGES

ASK = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


def chat_of(**fields):
    """Give the chat request that a request of the Messages API becomes."""
    return json.loads(MESSAGES.read(json.dumps(ASK | fields).encode())[0])


def speech(**fields):
    """Give the speech for an answer."""
    return MESSAGES.read(json.dumps(ASK | fields).encode())[1]


def event(delta=None, finish=None, usage=None, **more):
    """Give one event of a chat's stream."""
    chunk = {"id": "chatcmpl-7", "object": "chat.completion.chunk", "model": "served"}
    if delta is not None or finish is not None:
        choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
        chunk["choices"] = [choice | more]
    else:
        chunk["choices"] = []
    if usage is not None:
        chunk["usage"] = usage
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def tool(index, call_id=None, name=None, arguments=None):
    """Give one event with a piece of a tool call."""
    function = {"name": name} if name else {}
    if arguments is not None:
        function["arguments"] = arguments
    call = {"index": index, "type": "function", "function": function}
    return event({"tool_calls": [call | ({"id": call_id} if call_id else {})]})


END = b"data: [DONE]\n\n"
USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 4},
}


def parsed(stream):
    """Give a stream's events as (name, data)."""
    assert stream == b"" or stream.endswith(b"\n\n")
    found = []
    for text in stream.decode().split("\n\n")[:-1]:
        name, data = text.split("\n")
        assert name.startswith("event: ")
        assert data.startswith("data: ")
        found.append((name[7:], json.loads(data[6:])))
        assert found[-1][0] == found[-1][1]["type"]
    return found


def read_message(stream, *, reads_input=True):
    """Give the message that a stream tells, or the error in which it ends.

    `reads_input` says whether what tools are given must be JSON.
    """
    message, block, is_over = None, None, False
    for name, data in parsed(stream):
        assert not is_over, name
        if name == "error":
            return data
        if name == "message_start":
            assert message is None
            message = data["message"]
        elif name == "content_block_start":
            assert block is None
            assert data["index"] == len(message["content"])
            block = data["content_block"]
            message["content"].append(block)
            if block["type"] == "tool_use":
                block["input"] = ""
        elif name == "content_block_delta":
            assert data["index"] == len(message["content"]) - 1
            _grow(block, data["delta"])
        elif name == "content_block_stop":
            assert data["index"] == len(message["content"]) - 1
            block = None
        elif name == "message_delta":
            assert block is None
            message |= data["delta"]
            message["usage"] |= data["usage"]
        elif name == "message_stop":
            is_over = True
        else:
            assert name == "ping"
    assert is_over
    for one in message["content"]:
        if one["type"] == "tool_use" and reads_input:
            one["input"] = json.loads(one["input"] or "{}")
    return message


def _grow(block, delta):
    kinds = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "tool_use"}
    assert block["type"] == kinds[delta["type"]]
    key, source = {
        "text": ("text", "text"),
        "thinking": ("thinking", "thinking"),
        "tool_use": ("input", "partial_json"),
    }[block["type"]]
    block[key] += delta[source]
