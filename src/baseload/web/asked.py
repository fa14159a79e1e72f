"""What does a request say, and can it be read? Bytes become values, or a problem names the field.

Everything is bounded before it is read: the body's bytes and the time it may take. A value that is
not as described is refused with the way to it; nothing is guessed, nothing unknown is passed over.

Not here: who sent it (`guard`).
"""

import asyncio
import re
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec
from starlette.requests import Request

from baseload.web.guard import Who
from baseload.web.problem import ProblemError

BODY_BYTES_MAX = 64 * 1024
"""A key's terms with every bound used up are less."""
BODY_S_MAX = 10.0
"""Longest time a body may take."""
EXACT_MAX = 2.0**53
"""Beyond it, not every integer has a float of its own."""
REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_CLOSE = {"connection": "close"}
_AT = re.compile(r"^(?P<what>.*?) - at `(?:key in )?\$\.?(?P<field>[^`]*)`$")
_NAMED = re.compile(r"field `(?P<field>[^`]*)`")


class Asked(msgspec.Struct, kw_only=True):
    """One request that was let in and read."""

    who: Who
    request_id: str
    name: str = ""
    """The path's last part in braces: a backend's or a key's name."""
    query: Any = None
    body: Any = None


def read_name(quoted: str, pattern: re.Pattern[str], noun: str) -> str:
    """Give a name from a path; one that nothing can have is not there."""
    try:
        name = unquote_to_bytes(quoted).decode()
    except UnicodeDecodeError:
        name = ""
    if pattern.fullmatch(name) is None:
        raise ProblemError(404, f"there is no such {noun}: it is not even a name")
    return name


def read_query(request: Request, kind: type[msgspec.Struct] | None) -> Any:
    """Give the query's values; without a kind, none may be there."""
    pairs = request.query_params.multi_items()
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ProblemError(400, "a query parameter is there twice")
    if kind is None:
        if values:
            raise ProblemError(400, "no query parameter is known here", field=next(iter(values)))
        return None
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _unfit(error) from None


async def read_body(request: Request, kind: type[msgspec.Struct], *, is_optional: bool) -> Any:
    """Give the body's values. An optional body that is empty has its defaults."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await _bytes(request)
    if is_optional and not body:
        return kind()
    if content_type != "application/json":
        raise ProblemError(415, "send `content-type: application/json`")
    try:
        return msgspec.convert(_whole(msgspec.json.decode(body)), kind)
    except msgspec.ValidationError as error:
        raise _unfit(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProblemError(400, f"the body is not JSON: {error}") from None


def _whole(value: Any) -> Any:
    """Make integers of numbers like 60.0: to JSON they are the same, and some programs write so."""
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT_MAX:
        return int(value)
    if isinstance(value, list):
        return [_whole(one) for one in value]
    if isinstance(value, dict):
        return {name: _whole(one) for name, one in value.items()}
    return value


async def _bytes(request: Request) -> bytes:
    too_large = ProblemError(413, f"a body has {BODY_BYTES_MAX} bytes at most", headers=_CLOSE)
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told[:20]) > BODY_BYTES_MAX:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S_MAX):
            async for chunk in request.stream():
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    raise too_large
    except TimeoutError:
        text = f"the body was not there after {BODY_S_MAX:g} s"
        raise ProblemError(408, text, headers=_CLOSE) from None
    return bytes(body)


def _unfit(error: msgspec.ValidationError) -> ProblemError:
    """Say which field is at fault, and how."""
    text = str(error)
    if at := _AT.match(text):
        return ProblemError(400, f"{at['what']}", field=at["field"])
    named = _NAMED.search(text)
    return ProblemError(400, text, field=named["field"] if named else "")
