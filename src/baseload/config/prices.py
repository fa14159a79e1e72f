"""What do a fleet's backends charge, as far as it is known?

Prices of providers' own APIs come with the program: `prices.toml` beside this file, each row with
the day from which it holds, where it was read and when. A backend gets those of its URL's host.
What the fleet file says of a backend's model takes the place of all of them for that model; of
self-hosted models nothing is known but what the file says, and what is not known has no cost
rather than none.

Not here: what a call costs (`core.rates`).
"""

import tomllib
from functools import cache
from importlib import resources

import msgspec

from baseload.config.addresses import parse_url
from baseload.config.fleet import Backend, Fleet
from baseload.config.tenancy import Peak, Price, Since, Usd

FILE = "prices.toml"


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of the file; fields are those of `Price`, for a host instead of a backend."""

    host: str
    models: tuple[str, ...]
    since: Since
    input_usd_mtok: Usd
    cached_usd_mtok: Usd
    output_usd_mtok: Usd
    peak: Peak | None = None
    source: str
    seen: str


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    price: tuple[Row, ...]


@cache
def known_rows() -> tuple[Row, ...]:
    """Give the prices that come with the program."""
    text = resources.files("baseload.config").joinpath(FILE).read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), _File).price


def prices_of(fleet: Fleet) -> tuple[Price, ...]:
    """Give all that is known of what a fleet's backends charge."""
    said = {(price.backend, price.model) for price in fleet.prices}
    known = [
        Price(
            backend=name, model=model, since=row.since, input_usd_mtok=row.input_usd_mtok,
            cached_usd_mtok=row.cached_usd_mtok, output_usd_mtok=row.output_usd_mtok, peak=row.peak,
        )
        for name, backend in fleet.backends.items()
        for row in known_rows()
        if row.host == _host(backend)
        for model in row.models
        if (name, model) not in said
    ]  # fmt: skip
    return (*known, *fleet.prices)


def _host(backend: Backend) -> str:
    return parse_url(backend.url).host.lower() if backend.url else ""
