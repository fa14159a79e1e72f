"""OpenAI's files and batches: what the requests say and how the objects look.

A batch is a file of lines, each a request with a name of the caller's choice (`custom_id`), and in
the end one or two files of lines with what came of them. The format:
platform.openai.com/docs/api-reference/batch.

Not here: where files are kept, and who runs the lines.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from baseload.apis.openai import BadRequestError
from baseload.apis.unreadable import UNREADABLE

LINES_MAX = 50_000
"""As in OpenAI's API."""
LINE_ENDS_MAX = 4 * LINES_MAX
"""Each line may end with two signs and be followed by an empty one."""
ERRORS_MAX = 100
"""Mistakes of a file that are told; one who has more will find the rest."""
METADATA_MAX = 16
WINDOW_S = 86_400
"""The one completion window there is: a day."""
ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")

Short = Annotated[str, Meta(max_length=512)]


class NewBatch(msgspec.Struct):
    """A request for a batch."""

    input_file_id: Short
    endpoint: str
    completion_window: str
    metadata: Annotated[dict[Annotated[str, Meta(max_length=64)], Short],
                        Meta(max_length=METADATA_MAX)] | None = None  # fmt: skip


class Line(msgspec.Struct):
    """One line of a batch's file."""

    custom_id: Annotated[str, Meta(min_length=1, max_length=512)]
    method: str
    url: str
    body: msgspec.Raw


class _Body(msgspec.Struct):
    model: str
    stream: bool | None = None


_decode_new = msgspec.json.Decoder(NewBatch).decode
_decode_line = msgspec.json.Decoder(Line).decode
_decode_body = msgspec.json.Decoder(_Body).decode
_encode = msgspec.json.encode


def read_batch(body: bytes) -> NewBatch:
    """Read a request for a batch; raises `BadRequestError`."""
    try:
        new = _decode_new(body)
    except (*UNREADABLE, msgspec.ValidationError) as error:
        raise BadRequestError(f"This is no request for a batch: {error}.") from None
    if new.endpoint not in ENDPOINTS:
        known = ", ".join(ENDPOINTS)
        raise BadRequestError(f"`endpoint` must be one of {known}.", "endpoint")
    if new.completion_window != "24h":
        raise BadRequestError("`completion_window` must be `24h`.", "completion_window")
    return new


class Mistake(msgspec.Struct):
    """What is wrong with one line of a file, counted from 1."""

    code: str
    message: str
    line: int | None
    param: str | None = None


def read_lines(content: bytes, endpoint: str) -> tuple[list[Line], list[Mistake]]:
    """Give the requests in a file, and what is wrong with it; with a mistake none will be run."""
    lines: list[Line] = []
    wrong: list[Mistake] = []
    seen: set[str] = set()
    if content.count(b"\n") + content.count(b"\r") > LINE_ENDS_MAX:
        return lines, [Mistake("too_many_requests", f"More than {LINES_MAX} lines.", None)]
    for number, text in enumerate(content.splitlines(), 1):
        if not text.strip():
            continue
        if len(lines) >= LINES_MAX:
            wrong.append(Mistake("too_many_requests", f"More than {LINES_MAX} lines.", number))
            break
        try:
            line = _decode_line(text)
            code, message = _judge(line, endpoint, seen)
        except (*UNREADABLE, msgspec.ValidationError) as error:
            code, message = "invalid_json_line", f"This is no request: {error}."
        if code:
            wrong.append(Mistake(code, message, number))
            if len(wrong) >= ERRORS_MAX:
                break
        else:
            seen.add(line.custom_id)
            lines.append(line)
    if not lines and not wrong:
        wrong.append(Mistake("empty_file", "The file has no lines.", None))
    return lines, wrong


def _judge(line: Line, endpoint: str, seen: set[str]) -> tuple[str, str]:
    """Say what is wrong with a line: a code and a sentence, empty if nothing is."""
    if line.custom_id in seen:
        return "duplicate_custom_id", f"Another line has the `custom_id` {line.custom_id[:64]}."
    if line.method != "POST":
        return "invalid_method", "`method` must be `POST`."
    if line.url != endpoint:
        return "mismatched_endpoint", f"`url` must be the batch's endpoint, {endpoint}."
    if _decode_body(line.body).stream:
        return "stream_not_supported", "`stream` cannot be true in a batch."
    return "", ""


def file_object(id_: str, name: str, purpose: str, size: int, created_at: int) -> dict[str, Any]:
    """Give a file as OpenAI's clients expect it."""
    return {
        "id": id_, "object": "file", "bytes": size, "created_at": created_at, "filename": name,
        "purpose": purpose, "status": "processed",
    }  # fmt: skip


def list_object(items: list[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """Give a page of a list."""
    return {
        "object": "list", "data": items, "has_more": has_more,
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
    }  # fmt: skip


def result_line(id_: str, custom_id: str, status: int, request_id: str, body: bytes) -> bytes:
    """Give the line that says what came of one request; a body that is no JSON becomes text."""
    try:
        raw: Any = msgspec.Raw(msgspec.json.format(body, indent=-1))  # It must fit in one line.
    except UNREADABLE:
        raw = body.decode("utf-8", "replace")
    response = {"status_code": status, "request_id": request_id, "body": raw}
    return _encode({"id": id_, "custom_id": custom_id, "response": response, "error": None})
