"""Who may do what on the operator's port?

Whoever shows the token. Without one configured, whoever is on this machine, and then two tricks of
foreign web pages in an operator's browser must fail as well: a page may not send a change here
(*CSRF*), and a name that its owner suddenly points at 127.0.0.1 may not be used to read from here
(*DNS rebinding*). Both are answered without cookies, by what a browser does not let a page forge:

- A change needs `content-type: application/json` or `x-baseload-admin: 1`. A page can only send
  either after asking first (a preflight), and the answer here never permits it.
- `Origin` and `Sec-Fetch-Site`, where a browser sent them, must say that it is this page's own.
- On loopback, `Host` must be an address, `localhost`, or the name in the fleet file's `admin`. An
  address cannot be rebound. Whoever shows the token may use any name, as behind a proxy.

Wrong tokens are counted. A guesser gains nothing from speed, since a token has 16 signs at least;
the bound is for the log's sake, and it never keeps out whoever shows the right one.

Not here: what a request wants (`door`). This module decides on headers alone, and does no I/O.
"""

import hmac
import logging
import re
from collections.abc import Callable
from hashlib import sha256
from ipaddress import ip_address

import msgspec
from starlette.datastructures import Headers

from baseload.config.addresses import is_loopback
from baseload.web.problem import ProblemError

ADMIN_HEADER = "x-baseload-admin"
"""With the value 1 it says that no plain web form sent this."""
WRONG_TOKENS_MAX = 20
"""Wrong tokens that are answered 401 in a row; then 429, until some time has passed."""
WRONG_TOKENS_S = 3.0
"""One more wrong token is answered 401 after each of these."""
_JSON = "application/json"
_HOST = re.compile(r"(?:\[(?P<address>[^\[\]]*)\]|(?P<name>[^:@\[\]]+))(?::[0-9]{1,5})?")
_OWN_SITES = ("same-origin", "none")

logger = logging.getLogger("baseload.web")


class Who(msgspec.Struct, frozen=True):
    """Who sent a request: `token` or `loopback`, and the address it came from."""

    name: str
    address: str


class Guard:
    """The rules of one port. `clock` gives seconds from anywhere."""

    def __init__(
        self, listen_host: str, token: Callable[[], str | None], clock: Callable[[], float]
    ) -> None:
        """`token` is asked each time: a reload of the fleet file may have changed it."""
        self._token = token
        self._listen_host = listen_host
        self._is_local = is_loopback(listen_host)
        self._clock = clock
        self._wrong = 0.0
        self._wrong_at = 0.0

    def let_in(self, headers: Headers, address: str, *, is_change: bool, is_open: bool) -> Who:
        """Say who it is; raises `ProblemError` if the request may not go on."""
        token = self._token()
        has_token = token is not None and _shows(headers, token)
        self._check_host(headers, has_token=has_token)
        if not is_open and token is not None and not has_token:
            raise self._unauthorised(headers)
        if not is_open and token is None and not is_loopback(address):
            # Such a fleet file does not start, but a running one may lose its token by a reload.
            raise ProblemError(403, "without `admin_token`, only this machine is served")
        if is_change:
            _check_site(headers)
        return Who("token" if has_token else "loopback", address)

    # -- within ------------------------------------------------------------------------------

    def _unauthorised(self, headers: Headers) -> ProblemError:
        if "authorization" not in headers:
            return ProblemError(
                401,
                "show the fleet file's `admin_token`: `Authorization: Bearer TOKEN`",
                headers={"www-authenticate": 'Bearer realm="baseload"'},
            )
        now = self._clock()
        self._wrong = max(0.0, self._wrong - (now - self._wrong_at) / WRONG_TOKENS_S)
        self._wrong_at = now
        if self._wrong + 1 > WRONG_TOKENS_MAX:
            return ProblemError(
                429,
                "too many wrong tokens; the right one is let in at any time",
                headers={"retry-after": f"{WRONG_TOKENS_S:.0f}"},
            )
        self._wrong += 1
        if self._wrong + 1 > WRONG_TOKENS_MAX:
            logger.warning("operator's port: %d wrong tokens lately", WRONG_TOKENS_MAX)
        return ProblemError(
            401,
            "this is not the token",
            headers={"www-authenticate": 'Bearer realm="baseload", error="invalid_token"'},
        )

    def _check_host(self, headers: Headers, *, has_token: bool) -> None:
        if not self._is_local or has_token:
            return
        hosts = headers.getlist("host")
        if not hosts:  # Old probes send none; browsers always do.
            return
        name = _host_name(hosts[0]) if len(hosts) == 1 else ""
        if not (name == self._listen_host or is_loopback(name) or _is_address(name)):
            raise ProblemError(
                403,
                "this `Host` is not this machine's: use localhost, or the name in `admin`",
            )


def _check_site(headers: Headers) -> None:
    """Refuse a change that a page of another origin may have sent."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON and (
        headers.get(ADMIN_HEADER) != "1"
    ):
        raise ProblemError(
            403, f"a change needs `content-type: {_JSON}` or the header `{ADMIN_HEADER}: 1`"
        )
    host = headers.get("host", "").lower()
    for origin in headers.getlist("origin"):
        if not host or origin.lower().partition("://")[2] != host:
            raise ProblemError(403, "`Origin` is another page than this")
    if headers.get("sec-fetch-site", "none") not in _OWN_SITES:
        raise ProblemError(403, "`Sec-Fetch-Site` is another page than this")


def _shows(headers: Headers, token: str) -> bool:
    shown = headers.getlist("authorization")
    if len(shown) != 1:
        return False
    scheme, _, word = shown[0].partition(" ")
    # Digests have one length, so that the comparison tells nothing of the token's.
    is_equal = hmac.compare_digest(_digest(word.strip()), _digest(token))
    return is_equal and scheme.lower() == "bearer"


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()


def _host_name(host: str) -> str:
    """Give the name in a `Host` header, without its port and an address's brackets.

    What is more than that, or less, names nothing.
    """
    match = _HOST.fullmatch(host)
    return "" if match is None else (match["address"] or match["name"]).lower()


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
