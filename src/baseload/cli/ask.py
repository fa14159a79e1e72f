"""`baseload ask`: one question through the running gateway, the answer as it is written."""

import http.client
import os
import ssl
import time
import urllib.parse
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from baseload.apis.sse import Splitter, data_of, events
from baseload.cli.common import Config, base_url, fail, load_fleet_to_ask

WAIT_S_MAX = 600.0
KEY_VARIABLE = "BASELOAD_API_KEY"
"""Not an option: other users of the machine can read a command line."""
READ_BYTES = 64 * 1024


def ask(
    question: Annotated[str, typer.Argument(help="What to ask.")],
    config: Config = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Default: the fleet's first.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="The gateway, if not the fleet file's `listen`.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 512,
) -> None:
    """Ask a model and print its answer as it comes; who answered goes to stderr.

    Where callers need a key, it is taken from the variable BASELOAD_API_KEY.

    Example: baseload ask "Why is the sky blue?" -m deepseek-chat
    """
    fleet = load_fleet_to_ask(config)
    url = url or base_url(fleet.listen, is_tls=fleet.tls is not None)
    tls = None
    if url.startswith("https:"):
        tls = ssl.create_default_context(cafile=fleet.tls.cert if fleet.tls else None)
    body = {
        "model": model or next(iter(fleet.models)),
        "messages": [{"role": "user", "content": question}],
        "max_tokens": max_tokens,
        "stream": True,
    }
    try:
        _print_answer(url, tls, msgspec.json.encode(body))
    except (OSError, http.client.HTTPException) as error:
        fail(f"{url}: no answer: {error}; is `baseload up` running?")


def _print_answer(url: str, tls: ssl.SSLContext | None, body: bytes) -> None:
    parts = urllib.parse.urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port
    connection = (
        http.client.HTTPSConnection(host, port, timeout=WAIT_S_MAX, context=tls)
        if tls
        else http.client.HTTPConnection(host, port, timeout=WAIT_S_MAX)
    )
    started = time.monotonic()
    connection.request("POST", "/v1/chat/completions", body, _headers())
    answer = connection.getresponse()
    if answer.status != 200:
        fail(_reason(answer.read()))
    first_s, served = 0.0, ""
    out, err = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False)
    for chunk in _chunks(answer):
        if "error" in chunk:
            out.print()
            fail(_reason(msgspec.json.encode(chunk)))
        served = chunk.get("model") or served
        for choice in chunk.get("choices", []):
            delta = choice.get("delta", {})
            thought, text = delta.get("reasoning_content"), delta.get("content")
            first_s = first_s or (time.monotonic() - started if thought or text else 0.0)
            if thought:
                out.print(thought, style="dim", end="", markup=False)
            if text:
                out.print(text, end="", markup=False)
    out.print()
    backend = answer.getheader("x-baseload-backend")
    total_s = time.monotonic() - started
    err.print(
        f"{served} at {backend}: first token after {first_s:.2f} s, done after {total_s:.2f} s",
        style="dim",
    )


def _headers() -> dict[str, str]:
    headers = {"content-type": "application/json"}
    if key := os.environ.get(KEY_VARIABLE):
        if not all("!" <= sign <= "~" for sign in key):
            fail(f"{KEY_VARIABLE} holds signs that no key has")
        headers["authorization"] = f"Bearer {key}"
    return headers


def _chunks(answer: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    splitter = Splitter()
    while data := answer.read1(READ_BYTES):
        for event in events(splitter.feed(data)):
            text = data_of(event)
            if text and text != b"[DONE]":
                yield msgspec.json.decode(text)


def _reason(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body)["error"]["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return body.decode("utf-8", "replace")[:500]
