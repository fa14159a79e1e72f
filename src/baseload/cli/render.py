"""`baseload render`: from the fleet file to Kubernetes, Terraform and monitoring.

The verb reads the file, and a plan if one is named, has everything rendered in memory, and only
then touches the folder: nothing is written where anything is wrong. It exits with 0 if the folder
is as it should be, with 1 if `--diff` shows a difference, and with 2 if the fleet cannot be
rendered, or a file that a person has changed stands in the way.

Not here: what is rendered (`baseload.render`), writing (`rendered`).
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer
from rich.console import Console

from baseload.cli.common import USUAL
from baseload.cli.rendered import compare, write
from baseload.config.mistakes import printable
from baseload.config.reading import read_referring
from baseload.errors import BaseloadError
from baseload.plan.catalog.reading import load, own_file
from baseload.plan.result import Plan
from baseload.render.difference import Step, as_diff
from baseload.render.files import File
from baseload.render.kubernetes import output as kubernetes_output
from baseload.render.monitoring import output as monitoring_output
from baseload.render.picture import Picture
from baseload.render.refusing import Complaints
from baseload.render.settling import settle
from baseload.render.terraform import output as terraform_output

DIFFERENT = 1
REFUSED = 2
PLAN_BYTES_MAX = 64 * 1024 * 1024

render = typer.Typer(rich_markup_mode="rich", no_args_is_help=True, add_completion=False)

Files = tuple[File, ...]
Config = Annotated[
    Path, typer.Option("--config", "-c", metavar="FILE", help="The fleet file.")
]  # fmt: skip
Output = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder.")]
PlanFile = Annotated[
    Path | None,
    typer.Option("--plan", metavar="FILE", help="What `baseload plan --json` printed."),
]
Catalogue = Annotated[
    Path | None,
    typer.Option("--catalog", metavar="FILE", help="Your own rows and prices."),
]
Clouds = Annotated[
    list[str] | None,
    typer.Option("--cloud", metavar="NAME", help="Only this cloud of the file; may be repeated."),
]
Diff = Annotated[bool, typer.Option("--diff", help="Show what would change, and write nothing.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Overwrite files that were edited since, too.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print what becomes of each file as data.")]


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What every subverb is asked."""

    config: Path
    output: Path
    plan: Path | None
    catalog: Path | None
    diff: bool
    overwrite: bool
    as_json: bool


@render.callback()
def about() -> None:
    """Write Kubernetes, Terraform and monitoring from the fleet file."""


@render.command()
def kubernetes(
    output: Output, config: Config = USUAL, plan: PlanFile = None, catalog: Catalogue = None,
    diff: Diff = False, overwrite: Overwrite = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Write Kubernetes manifests: kustomize base and overlays, a Helm chart, a Containerfile.

    Example: baseload render kubernetes -o deploy/
    """
    asked = _asked(config, output, plan, catalog, diff, overwrite, as_json)
    _run(asked, lambda picture: {output: kubernetes_output.render(picture)})


@render.command()
def terraform(  # noqa: PLR0913, PLR0917 - each is an option
    output: Output, config: Config = USUAL, cloud: Clouds = None, plan: PlanFile = None,
    catalog: Catalogue = None, diff: Diff = False, overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Write Terraform for the clouds of the fleet file: AWS, Azure, Tencent Cloud.

    Example: baseload render terraform --cloud aws -o infra/
    """
    asked = _asked(config, output, plan, catalog, diff, overwrite, as_json)
    _run(asked, lambda picture: _terraform(picture, output, tuple(cloud or ())))


@render.command()
def monitoring(
    output: Output, config: Config = USUAL, plan: PlanFile = None, catalog: Catalogue = None,
    diff: Diff = False, overwrite: Overwrite = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Write Prometheus rules and alerts, Alertmanager routes, dashboards, a local stack.

    Example: baseload render monitoring -o monitoring/
    """
    asked = _asked(config, output, plan, catalog, diff, overwrite, as_json)
    _run(asked, lambda picture: {output: monitoring_output.render(picture)})


@render.command(name="all")
def everything(
    output: Output, config: Config = USUAL, plan: PlanFile = None, catalog: Catalogue = None,
    diff: Diff = False, overwrite: Overwrite = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Write all three, each into a folder of its own; Terraform if the file has clouds.

    Example: baseload render all -o out/ --diff
    """
    asked = _asked(config, output, plan, catalog, diff, overwrite, as_json)
    _run(asked, lambda picture: {
        output / "kubernetes": kubernetes_output.render(picture),
        output / "monitoring": monitoring_output.render(picture),
        **(_terraform(picture, output / "terraform", ()) if picture.groups else {}),
    })  # fmt: skip


def _asked(
    config: Path, output: Path, plan: Path | None, catalog: Path | None, diff: bool,
    overwrite: bool, as_json: bool,
) -> _Asked:  # fmt: skip
    return _Asked(
        config=config, output=output, plan=plan, catalog=catalog, diff=diff, overwrite=overwrite,
        as_json=as_json,
    )  # fmt: skip


def _refuse(text: str) -> NoReturn:
    Console(stderr=True).out(text, highlight=False)
    raise typer.Exit(REFUSED)


def _run(asked: _Asked, made: Callable[[Picture], dict[Path, Files]]) -> None:
    """Render, compare all folders, and only then show, refuse or write."""
    try:
        folders = made(_picture(asked))
        compared = {folder: compare(folder, files) for folder, files in folders.items()}
        if asked.diff:
            raise typer.Exit(_show(compared, asked))
        _refuse_edited(compared, asked)
        write(folders, compared)
    except BaseloadError as error:
        _refuse(str(error))
    _tell(compared, asked)


def _picture(asked: _Asked) -> Picture:
    """Read everything, and settle it. Raises BaseloadError."""
    # Prices of APIs depend on the day; nothing that is rendered does.
    today = datetime.now(UTC).date()
    fleet, places, mistakes, variables = read_referring(asked.config)
    catalogue = load(asked.catalog or own_file(asked.config), today=today)
    plan = _plan(asked.plan) if asked.plan else None
    sources = (asked.config.name, *([asked.plan.name] if asked.plan else []))
    return settle(
        fleet, catalogue, Complaints(places, mistakes), plan=plan,
        sources=tuple(printable(name) for name in sources), variables=variables,
    )  # fmt: skip


def _plan(path: Path) -> Plan:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(PLAN_BYTES_MAX), type=Plan)
    except OSError as error:
        raise BaseloadError(f"{path}: cannot be read: {error.strerror}") from None
    except msgspec.DecodeError as error:
        what = "not a plan as `baseload plan --json` prints it"
        raise BaseloadError(f"{path}: {what}: {error}") from None


def _terraform(picture: Picture, output: Path, clouds: tuple[str, ...]) -> dict[Path, Files]:
    """Give each cloud a folder with a record of its own.

    So none loses its code because another is rendered, or because it has left the fleet file:
    without it, what runs there could not be destroyed.
    """
    known = [group.said.name for group in picture.groups]
    if not known:
        raise BaseloadError(
            f"{picture.sources[0]}: deploy.clouds: there are none, so there is nothing to write "
            "(`baseload init` shows what one looks like)"
        )
    for name in clouds:
        if name not in known:
            raise BaseloadError(f"--cloud {printable(name)}: deploy.clouds has {', '.join(known)}")
    return {
        output / name: tuple(
            msgspec.structs.replace(file, path=file.path.removeprefix(f"{name}/"))
            for file in terraform_output.render(picture, (name,))
        )
        for name in clouds or known
    }


def _show(compared: dict[Path, list[Step]], asked: _Asked) -> int:
    changes = [(folder, step) for folder, done in compared.items() for step in done
               if step.what != "same"]  # fmt: skip
    if asked.as_json:
        typer.echo(_json(compared))
    else:
        for folder, step in changes:
            typer.echo(f"{folder / step.path}: {_WHAT.get(step.what, step.what)}\n", nl=False)
            typer.echo(as_diff(step), nl=False)
    return DIFFERENT if changes else 0


def _refuse_edited(compared: dict[Path, list[Step]], asked: _Asked) -> None:
    edited = [
        str(folder / step.path) for folder, done in compared.items() for step in done
        if step.what == "edited"
    ]  # fmt: skip
    if edited and not asked.overwrite:
        what = "not what `baseload render` last wrote there, so nothing was written"
        hint = "see `--diff`; move the change into the fleet file or an overlay, or `--overwrite`"
        _refuse("\n".join(f"{path}: {what}" for path in edited) + f"\n({hint})")


def _tell(compared: dict[Path, list[Step]], asked: _Asked) -> None:
    if asked.as_json:
        typer.echo(_json(compared))
        return
    for folder, done in compared.items():
        counts = {what: sum(step.what == what for step in done) for what in _WORDS}
        said = ", ".join(f"{count} {_WORDS[what]}" for what, count in counts.items() if count)
        typer.echo(f"{folder}: {said}")


_WHAT = {
    "edited": "not what was last rendered there", "edited and gone": "no longer rendered, but "
    "edited: it stays",
}  # fmt: skip
_WORDS = {
    "new": "new", "changed": "changed", "edited": "overwritten", "gone": "removed",
    "edited and gone": "no longer rendered, but edited: left", "same": "unchanged",
}  # fmt: skip


def _json(compared: dict[Path, list[Step]]) -> bytes:
    rows: Iterable[dict[str, str]] = (
        {"folder": str(folder), "path": step.path, "what": step.what}
        for folder, done in compared.items()
        for step in done
    )
    return msgspec.json.encode(list(rows))
