"""`baseload keys`: who may call, made and ended in the database that the gateway looks at.

No gateway has to run. One that does hears of a change by itself, within about a second, wherever it
runs, as long as it looks at the same database (`store.ledger` in the fleet file).

A secret is shown once. On a terminal it stands in a frame that says so; where the output is read by
a program it stands alone, so that it can go straight to where it will be kept.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from baseload.cli.common import Config, fail, load_fleet_to_ask
from baseload.cli.keytable import draw_all, draw_one
from baseload.cli.keyterms import (
    Concurrency,
    Expires,
    Label,
    ModelLimit,
    Models,
    Priority,
    Rpm,
    Tpm,
    Unset,
    UsdDay,
    UsdMonth,
    terms_of,
)
from baseload.cli.spans import seconds_of
from baseload.config.fleet import Fleet
from baseload.config.tenancy import Key, Terms
from baseload.errors import BaseloadError
from baseload.store.database import Database, shown
from baseload.store.keys import KeyRecord, KeyStore, UnknownKeyError, is_there

keys = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Make, list, change and end callers' keys; they are kept in the fleet's database.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Whom the key belongs to.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the secret and nothing else.")]


@keys.command()
def create(  # noqa: PLR0913, PLR0917 - all that a key may be given
    name: Name, config: Config = None, model: Models = None, rpm: Rpm = None, tpm: Tpm = None,
    concurrency: Concurrency = None, usd_day: UsdDay = None, usd_month: UsdMonth = None,
    limit: ModelLimit = None, priority: Priority = None, expires: Expires = None,
    label: Label = None, quiet: Quiet = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Make a key and show its secret, this once.

    For example:

    `baseload keys create team-a --rpm 600 --tpm 1000000 --usd-month 200`

    `baseload keys create night-jobs --priority batch --model deepseek-chat --expires 30d`

    `baseload keys create ci --quiet | gh secret set BASELOAD_KEY`
    """
    with _store(config, makes=True) as (fleet, store):
        terms = terms_of(
            fleet, models=model, rpm=rpm, tpm=tpm, concurrency=concurrency, usd_day=usd_day,
            usd_month=usd_month, per_model=limit, priority=priority, expires=expires, labels=label,
        )  # fmt: skip
        _not_in_file(fleet, name)
        record, secret = store.create(name, **terms)
        _tell(fleet, record, secret, quiet=quiet, as_json=as_json)


@keys.command()
def change(  # noqa: PLR0913, PLR0917 - all that a key may be given
    name: Name, config: Config = None, model: Models = None, rpm: Rpm = None, tpm: Tpm = None,
    concurrency: Concurrency = None, usd_day: UsdDay = None, usd_month: UsdMonth = None,
    limit: ModelLimit = None, priority: Priority = None, expires: Expires = None,
    label: Label = None, unset: Unset = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Change what a key's holder may do; what is not named stays. The secret stays, too.

    Example: `baseload keys change team-a --rpm 1200 --unset usd_month`
    """
    with _store(config) as (fleet, store):
        terms = terms_of(
            fleet, models=model, rpm=rpm, tpm=tpm, concurrency=concurrency, usd_day=usd_day,
            usd_month=usd_month, per_model=limit, priority=priority, expires=expires, labels=label,
            unset=unset,
        )  # fmt: skip
        _not_in_file(fleet, name)
        _show(store.update(name, **terms), as_json=as_json)


@keys.command("list")
def list_(
    config: Config = None,
    revoked: Annotated[
        bool, typer.Option("--revoked", help="Also those that were revoked lately.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List all keys, those in the fleet file too. Secrets are not among what is known of them.

    Example: `baseload keys list --json`
    """
    fleet = load_fleet_to_ask(config)
    stored: tuple[KeyRecord, ...] = ()
    if _is_there(fleet):
        with _store(config) as (_, store):
            stored = store.list(with_revoked=revoked)
    if as_json:
        rows = [*({"kept": "file"} | _plain(key) for key in fleet.keys)]
        rows += [{"kept": "store"} | _plain(record) for record in stored]
        _say(msgspec.json.format(msgspec.json.encode(rows)).decode())
    elif fleet.keys or stored:
        draw_all(fleet.keys, stored)
    else:
        _say(f"no keys, neither in the fleet file nor in {shown(fleet.store.ledger)}")


@keys.command()
def show(name: Name, config: Config = None, as_json: Json = False) -> None:
    """Show one key: what its holder may do, and how its secrets begin.

    Example: `baseload keys show team-a`
    """
    fleet = load_fleet_to_ask(config)
    for key in fleet.keys:
        if key.name == name:
            _show(key, as_json=as_json)
            return
    with _store(config) as (_, store):
        _show(store.get(name), as_json=as_json)


@keys.command()
def rotate(
    name: Name,
    config: Config = None,
    grace: Annotated[
        str, typer.Option(metavar="SPAN", help="How long the old secret stays valid, as `1h`.")
    ] = "0s",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Give a key a new secret, shown this once. Name, limits and spending stay.

    Example: `baseload keys rotate team-a --grace 1h`
    """
    try:
        grace_s = seconds_of(grace)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--grace") from None
    with _store(config) as (fleet, store):
        _not_in_file(fleet, name)
        record, secret = store.rotate(name, grace_s)
        _tell(fleet, record, secret, quiet=quiet, as_json=as_json)


@keys.command()
def revoke(name: Name, config: Config = None, as_json: Json = False) -> None:
    """End a key now. Answers under way are finished; its name may be given anew.

    Example: `baseload keys revoke team-a`
    """
    with _store(config) as (fleet, store):
        _not_in_file(fleet, name)
        record = store.revoke(name)
    if as_json:
        _say(_json(record))
    else:
        _say(f"{name}: revoked; a running gateway refuses it within a second")


# -- within --------------------------------------------------------------------------------------


@contextmanager
def _store(config: Config, *, makes: bool = False) -> Iterator[tuple[Fleet, KeyStore]]:
    """Open the database that the fleet file names; what cannot be done ends with one sentence."""
    fleet = load_fleet_to_ask(config)
    try:
        if not makes and not is_there(fleet.store.ledger):
            raise UnknownKeyError(f"{shown(fleet.store.ledger)}: there is no such database yet")
        database = Database(fleet.store.ledger)
        try:
            yield fleet, KeyStore(database)
        finally:
            database.close()
    except BaseloadError as error:
        fail(str(error))


def _is_there(fleet: Fleet) -> bool:
    try:
        return is_there(fleet.store.ledger)
    except BaseloadError as error:
        fail(str(error))


def _not_in_file(fleet: Fleet, name: str) -> None:
    if any(key.name == name for key in fleet.keys):
        fail(f"{name}: this key stands in the fleet file; change it there")


def _tell(fleet: Fleet, record: KeyRecord, secret: str, *, quiet: bool, as_json: bool) -> None:
    """Show a secret, alone where a program reads it."""
    console = Console()
    if as_json:
        _say(msgspec.json.format(msgspec.json.encode(_plain(record) | {"secret": secret})).decode())
    elif quiet or not console.is_terminal:
        _say(secret)
    else:
        words = (
            "This is shown once and kept nowhere: put it where it is to stay. Callers send it as"
            " `Authorization: Bearer …` or `x-api-key: …`, and a running gateway knows it within a"
            f" second. What is kept, in {shown(fleet.store.ledger)}, is its hash."
        )
        console.print(Panel(escape(words), title=f"the key of {escape(record.name)}", width=72))
        console.out(secret, highlight=False)


def _show(key: KeyRecord | Key, *, as_json: bool) -> None:
    if as_json:
        _say(_json(key))
    else:
        draw_one(key)


def _json(key: Terms) -> str:
    return msgspec.json.format(msgspec.json.encode(_plain(key))).decode()


def _plain(key: Terms) -> dict[str, Any]:
    """Give a key as plain data; a hash in the file is nobody's business either."""
    plain: dict[str, Any] = msgspec.to_builtins(key)
    plain.pop("sha256", None)
    return plain


def _say(text: str) -> None:
    Console().out(text, highlight=False)
