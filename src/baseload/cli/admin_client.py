"""How do the verbs ask a running gateway's operators' port, and what do they say if it refuses?

Thin: one request, one answer, and the sentence of a problem on stderr. The token comes from the
command line, the environment or the fleet file, in this order; the file's is only sent to the
file's own address, and none is carried along by a redirect.

Not here: what is asked. Each verb knows its own path.
"""

import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from baseload.cli.common import NOT_SET, base_url, fail, load_fleet_to_ask

WAIT_S_MAX = 15.0
"""More than the port itself waits for anything."""
SHOWN_MAX = 300
WARNING_HEADER = "x-baseload-warning"

Url = Annotated[
    str | None,
    typer.Option("--url", help="The operator's port, if not the fleet file's `admin`."),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="BASELOAD_ADMIN_TOKEN",
        help="The port's token, if not the fleet file's; others can read it in a command line.",
    ),
]


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow nothing."""


class AdminClient:
    """One operator's port, as a verb asks it; every error ends the verb with 1."""

    def __init__(self, config: Path | None, url: str | None, token: str | None) -> None:
        if url is None:
            fleet = load_fleet_to_ask(config)
            url, token = base_url(fleet.admin), token or fleet.admin_token
        if token is not None and NOT_SET in token:
            token = None  # The fleet file names a variable that is not set here.
        self._url = url.rstrip("/")
        self._token = token
        # A proxy from the environment has no business between this machine and itself.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects)

    def get(self, path: str) -> bytes:
        """Give what is at a path."""
        return self._ask("GET", path, None)

    def post(self, path: str) -> Any:
        """Change something; give what came of it. A warning of the port's goes to stderr."""
        return msgspec.json.decode(self._ask("POST", path, b"{}"))

    def _ask(self, method: str, path: str, body: bytes | None) -> bytes:
        where = self._url + path
        headers = {"content-type": "application/json"} if body else {}
        if self._token is not None:
            headers["authorization"] = f"Bearer {self._token}"
        try:
            request = urllib.request.Request(where, body, headers, method=method)  # noqa: S310
            with self._opener.open(request, timeout=WAIT_S_MAX) as answer:
                warn(answer.headers.get(WARNING_HEADER))
                told: bytes = answer.read()
                return told
        except urllib.error.HTTPError as error:
            warn(error.headers.get(WARNING_HEADER))
            fail(f"{where}: {_refusal(error.code, error.read())}")
        except (OSError, ValueError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            fail(f"{where}: no answer: {reason}; is `baseload up` running?")


def warn(text: str | None) -> None:
    """Say on stderr what the port warns of, if it does."""
    if text:
        Console(stderr=True).out(f"warning: {text}", highlight=False)


def _refusal(status: int, body: bytes) -> str:
    """Say why the port refused."""
    try:
        problem = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return f"HTTP {status}: {body.decode('utf-8', 'replace')[:SHOWN_MAX]}"
    lines = [f"HTTP {status}: {problem.get('detail') or problem.get('title') or ''}"]
    lines += [f"  {error}" for error in problem.get("errors", ())]
    if status == 401:
        lines.append("  with --token, or in the variable BASELOAD_ADMIN_TOKEN")
    return "\n".join(lines)
