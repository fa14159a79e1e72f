"""`baseload catalog`: what can be bought, rented or called, and what it costs, with sources.

Without a verb it lists. A user's own file, `baseload-catalog.toml` beside the fleet file, overrides
what comes along; `refresh` writes it from newer price files. Nothing is fetched but by `refresh`
from a URL that it was given.

Not here: reading and checking files (`baseload.plan.catalog`), drawing (`catalogtable`), fetching
and writing (`catalogfiles`).
"""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from typer.core import TyperGroup

from baseload.cli.catalogfiles import fetch, named, write_file
from baseload.cli.catalogtable import draw, draw_changes, draw_one, marks
from baseload.cli.common import USUAL, fail
from baseload.config.mistakes import nearest, shown
from baseload.errors import BaseloadError
from baseload.plan.catalog.checking import KINDS, Raw, Rows, parse
from baseload.plan.catalog.reading import OWN, load, own_file, rows_of, text_of
from baseload.plan.catalog.refreshing import HEAD, JUMP_MAX, refresh
from baseload.plan.catalog.rows import Row
from baseload.plan.catalog.writing import toml_of

WIDTH = 140
"""Signs in a line where no terminal says how many there may be."""


class _ListsByDefault(TyperGroup):
    """A group whose first word need not be a verb: then it lists."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the verb before arguments that have none."""
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


catalog = typer.Typer(
    cls=_ListsByDefault,
    rich_markup_mode="rich",
    help="List what can be bought, rented or called, with prices and their sources."
    " `baseload catalog instance --cloud aws` is short for `baseload catalog list …`.",
)

Own = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", help=f"Your own rows. Default: ./{OWN}, if there."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


@catalog.command("list")
def list_(
    kind: Annotated[
        str | None, typer.Argument(metavar="[KIND]", help=f"One of {', '.join(KINDS)}.")
    ] = None,
    cloud: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this cloud.")] = None,
    accelerator: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this one, and what has it.")
    ] = None,
    search: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only rows in which this stands.")
    ] = None,
    file: Own = None,
    as_json: Json = False,
) -> None:
    """List rows: of a kind, of a cloud, with an accelerator, or with a word in them.

    Stale prices, and figures from sources that are not first-hand, are marked.

    Example: `baseload catalog instance --cloud aws --accelerator h100`
    """
    today, rows = _today(), _load(file)
    wanted = _kind(kind)
    found = {
        each: kept
        for each, named in rows.items()
        if wanted in (None, each)
        if (kept := [row for row in named.values() if _is_in(row, cloud, accelerator, search)])
    }
    if as_json:
        plain = [_json(each, row, today) for each, kept in found.items() for row in kept]
        _say(msgspec.json.format(msgspec.json.encode(plain)).decode())
    elif found:
        draw(_console(), found, today)
    else:
        _say("nothing in the catalogue is like that")


@catalog.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A row's name.")],
    file: Own = None,
    as_json: Json = False,
) -> None:
    """Show one row with everything that it says, and where that was read.

    Example: `baseload catalog show p5.48xlarge`
    """
    today, rows = _today(), _load(file)
    found = [(kind, named[name]) for kind, named in rows.items() if name in named]
    if not found:
        every = [other for named in rows.values() for other in named]
        hint = nearest(name, every)
        hint = f" ({hint})" if hint.startswith("did you mean") else ""
        fail(f"{shown(name)}: not in the catalogue{hint}")
    if as_json:
        plain = [_json(kind, row, today) for kind, row in found]
        whole: Any = plain[0] if len(plain) == 1 else plain
        _say(msgspec.json.format(msgspec.json.encode(whole)).decode())
    else:
        for kind, row in found:
            draw_one(_console(), kind, row, today)


@catalog.command("refresh")
def refresh_(
    source: Annotated[str, typer.Argument(metavar="FILE_OR_URL", help="Newer rows or prices.")],
    to: Annotated[Path, typer.Option(metavar="PATH", help="The file that is written.")] = Path(OWN),
    seen: Annotated[
        str | None, typer.Option(metavar="DAY", help="When its figures were so; today if absent.")
    ] = None,
    cloud: Annotated[
        str, typer.Option(metavar="NAME", help="Take machines that are new, as of this cloud.")
    ] = "",
    region: Annotated[str, typer.Option(metavar="NAME", help="Of this region, with --cloud.")] = "",
    force: Annotated[
        bool, typer.Option("--force", help=f"Take prices that changed {JUMP_MAX:g}-fold, too.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what changes, no more.")] = False,
) -> None:
    """Take newer prices into your own file, and say what changed.

    A newer file is TOML as the catalogue's own, or a CSV of SkyPilot's catalogue
    (`catalogs/v8/aws/vms.csv`), of which machines are taken that the catalogue has. What stands in
    your file is kept, but not its comments.

    Example: `baseload catalog refresh vms.csv --seen 2026-11-20 --dry-run`
    """
    if bool(cloud) != bool(region):
        raise typer.BadParameter("go together", param_hint="--cloud and --region")
    day = _day(seen)
    try:
        text = fetch(source) if "://" in source else text_of(Path(source))
        own: Raw = parse(text_of(to), str(to)) if to.exists() else {}
        catalogue = load(to if to.exists() else None, today=_today())
        done = refresh(text, named(source), catalogue, own, day, cloud=cloud, region=region)
        draw_changes(_console(), done)
        if jumps := [change for change in done.changes if change.is_jump]:
            names = ", ".join(f"{change.name}.{change.field}" for change in jumps[:5])
            what = f"{len(jumps)} prices changed {JUMP_MAX:g}-fold or more ({names})"
            if not force:
                fail(f"{what}: nothing is written; look again, or say --force")
        if not done.rows:
            fail(f"{named(source)}: nothing in it is in the catalogue")
        said = f"{done.rows} rows, {len(done.changes)} changes"
        if dry_run:
            _say(f"{said}; nothing is written (--dry-run)")
            return
        write_file(to, toml_of(done.raw, HEAD))
        _say(f"{said}; written to {to}")
    except BaseloadError as error:
        fail(str(error))


# -- within --------------------------------------------------------------------------------------


def _today() -> date:
    return datetime.now(UTC).date()


def _day(text: str | None) -> date:
    if text is None:
        return _today()
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("a day is written 2026-11-26", param_hint="--seen") from None
    if day > _today():
        raise typer.BadParameter("lies in the future", param_hint="--seen")
    return day


def _load(file: Path | None) -> Rows:
    try:
        return rows_of(load(file or own_file(USUAL), today=_today()))
    except BaseloadError as error:
        fail(str(error))


def _kind(word: str | None) -> str | None:
    """Give a kind by its name or plural."""
    if word is None or word in KINDS:
        return word
    if word.removesuffix("s") in KINDS:
        return word.removesuffix("s")
    raise typer.BadParameter(f"`{shown(word)}` is none ({nearest(word, KINDS)})", param_hint="KIND")


def _is_in(row: Row, cloud: str | None, accelerator: str | None, search: str | None) -> bool:
    fields = msgspec.structs.asdict(row)
    if cloud is not None and str(fields.get("cloud", "")).lower() != cloud.lower():
        return False
    if accelerator is not None:
        own = row.name if "tdp_w" in fields else fields.get("accelerator")
        if str(own or "").lower() != accelerator.lower():
            return False
    words = " ".join(str(value) for value in fields.values()).lower()
    return search is None or search.lower() in words


def _json(kind: str, row: Row, today: date) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(row)
    return {"table": kind, **fields, "stale": "stale" in marks(row, today)}


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


def _say(text: str) -> None:
    Console().out(text, highlight=False)
