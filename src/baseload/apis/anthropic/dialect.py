"""The Messages API as a dialect, and the speech of those who are given it as it came.

Where a backend speaks Anthropic's API itself, nothing is translated: `NativeMessagesSpeech` passes
its words on, and only what the gateway says on its own account is put into them.
"""

from baseload.apis import openai
from baseload.apis.anthropic.errors import error_body, error_event
from baseload.apis.anthropic.request import fields_of, to_chat
from baseload.apis.anthropic.speech import PING, MessagesSpeech
from baseload.apis.dialect import NativeSpeech
from baseload.apis.estimate import BYTES_PER_TOKEN
from baseload.apis.openai import ERROR


class NativeMessagesSpeech(NativeSpeech):
    """The way of an answer that is in Anthropic's words already."""

    def feed(self, whole: bytes) -> bytes:
        """Give events as they came; a comment to say that we live becomes a ping."""
        self._is_over = whole.startswith(b"event: error\n")
        return PING if whole.startswith(b":") and whole.count(b"\n\n") == 1 else whole

    def end(self, last: bytes) -> bytes:
        """The same for the last ones; the gateway's own error is put into Anthropic's words."""
        if last.startswith(b"data:") and openai.read_event(last)[0] is ERROR:
            return b"" if self._is_over else error_event(last)
        return last


class Messages:
    """`POST /v1/messages`."""

    def read(self, body: bytes) -> tuple[bytes, MessagesSpeech]:
        """Give a request as a chat's; raises `BadRequestError` with a sentence for the caller."""
        fields = fields_of(body)
        chat = to_chat(fields)
        stops = fields.get("stop_sequences") or []
        prompt_tokens = 1 + len(body) // BYTES_PER_TOKEN
        is_stream = fields.get("stream") is True
        return chat, MessagesSpeech(stops, prompt_tokens, is_stream=is_stream)

    def error(self, status: int, body: bytes) -> bytes:
        """Put an error into Anthropic's shape."""
        return error_body(status, body)


MESSAGES = Messages()
