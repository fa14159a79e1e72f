"""`baseload plan`: what to run, where, and what it costs.

The verb reads options into a request, has a plan made, and shows it: in the terminal, as one page
(`--html`), or as data (`--json`). It exits with 0 if there is a plan, with 1 if nothing keeps the
objectives (it then says which one fails, by how much, and what comes nearest), and with 2 if it was
asked in a way that it cannot understand.

Not here: reading options (`plan_wishes`), what fits (`plan_fit`), loading and moving (`plan_move`),
`score` and `claims` (`plan_checks`), drawing (`baseload.plan.report`).
"""

import sys
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Annotated, Self

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from baseload.cli import plan_wishes as wishes
from baseload.cli.plan_checks import claims, score
from baseload.cli.plan_fit import fit
from baseload.cli.plan_move import move
from baseload.errors import BaseloadError
from baseload.plan.catalog.rows import BITS
from baseload.plan.report import explain as explaining
from baseload.plan.report import page, terminal
from baseload.plan.request import MONTHS, WAYS, Request
from baseload.plan.result import Plan

NOTHING_DOES = 1
UNUSABLE = 2
BAR_AFTER_S = 0.5

plan = typer.Typer(rich_markup_mode="rich", subcommand_metavar="[fit|move|score|claims]")
plan.command()(fit)
plan.command()(move)
plan.command()(score)
plan.command()(claims)

Model = Annotated[
    str | None,
    typer.Option(metavar="NAME|FILE", help="A model's name, or the path of its config.json."),
]
Rps = Annotated[
    float | None, typer.Option(metavar="N", help="Requests a second in the busiest hour.")
]
Prompt = Annotated[
    float | None,
    typer.Option(metavar="TOKENS", help=f"Mean size of a prompt; {wishes.PROMPT:g} when absent."),
]
Answer = Annotated[
    float | None,
    typer.Option(metavar="TOKENS", help=f"Mean size of an answer; {wishes.ANSWER:g} when absent."),
]
Ttft = Annotated[
    float, typer.Option("--ttft-p95", metavar="S", help="First token, for 95 of 100 calls.")
]
Tpot = Annotated[
    float, typer.Option("--tpot-p95", metavar="S", help="Between tokens, for 95 of 100 calls.")
]
Months = Annotated[int, typer.Option(min=1, max=240, help="The horizon.")]
Trace = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", exists=True, dir_okay=False, help="Recorded traffic, instead of --rps."
    ),
]
Cached = Annotated[
    float | None,
    typer.Option(metavar="0..1", help="Part of prompts' tokens that a prefix cache has."),
]
DayFactor = Annotated[
    float | None, typer.Option(metavar="0..1", help="A day's mean load over its busiest hour's.")
]
Precision = Annotated[
    str | None, typer.Option(metavar="|".join(BITS), help="The only precision of weights.")
]
Hardware = Annotated[
    list[str] | None,
    typer.Option(metavar="8xh100", help="Machines that you own or would buy; may be repeated."),
]
Cloud = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Only this cloud (aws, azure, tencent); may be repeated."),
]
Region = Annotated[str | None, typer.Option(metavar="NAME", help="Only this region.")]
Tenures = Annotated[
    list[str] | None,
    typer.Option("--tenure", metavar="WORD", help="Only owned, spot, api, ...; may be repeated."),
]
Spot = Annotated[bool, typer.Option("--spot/--no-spot", help="Whether spot may be used.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=N", help="An input of the costs: owned.pue=1.3; may be repeated."
    ),
]
Survive = Annotated[
    int, typer.Option(min=0, max=100, help="Machines that may fail with objectives kept.")
]
Catalogue = Annotated[
    Path | None,
    typer.Option(
        "--catalog", metavar="FILE", exists=True, dir_okay=False, help="Your own rows and prices."
    ),
]
AnyModel = Annotated[
    bool, typer.Option("--any-model", help="Let APIs answer with other weights, too.")
]
Ways = Annotated[int, typer.Option(min=1, max=1000, help="How many ways to list, cheapest first.")]
Html = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write one self-contained page too.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the plan as data.")]
Explain = Annotated[bool, typer.Option("--explain", help="Print each formula with its numbers.")]


@plan.callback(invoke_without_command=True)
def make_plan(  # noqa: PLR0913, PLR0917 - each is an option
    context: typer.Context, model: Model = None, rps: Rps = None, prompt: Prompt = None,
    answer: Answer = None, ttft_p95: Ttft = 2.0, tpot_p95: Tpot = 0.1, months: Months = MONTHS,
    trace: Trace = None, cached: Cached = None, day_factor: DayFactor = None,
    precision: Precision = None, hardware: Hardware = None, cloud: Cloud = None,
    region: Region = None, tenure: Tenures = None, spot: Spot = True, settings: Settings = None,
    survive: Survive = 1, any_model: AnyModel = False, catalog: Catalogue = None,
    ways: Ways = WAYS, html: Html = None, as_json: AsJson = False, explain: Explain = False,
) -> None:  # fmt: skip
    """Say what to run, where, and what it costs.

    Exits with 1 if nothing keeps the objectives, and says which one fails, by how much, and what
    comes nearest.

    Example: baseload plan --model deepseek-r1-distill-qwen-32b --rps 4 --prompt 1200 --answer 400
    --ttft-p95 1.0 --tpot-p95 0.05 --months 36

    Example: baseload plan --model deepseek-v3 --trace traffic.csv --html report.html

    Example: baseload plan --model deepseek-v3 --rps 2 --hardware 8xh200 --set owned.pue=1.3
    """
    if context.invoked_subcommand is not None:
        return
    if precision is not None and precision not in BITS:
        wishes.wrong("--precision", f"`{precision}` is none of {', '.join(BITS)}")
    asked = wishes.model_of(model)
    load, notes = wishes.load_of(wishes.Traffic(rps, prompt, answer, cached, day_factor, trace))
    request = Request(
        model=asked,
        load=load,
        notes=notes,
        objectives=wishes.objectives_of(ttft_p95, tpot_p95, survive),
        today=datetime.now(UTC).date().isoformat(),
        months=months,
        tenures=wishes.tenures_of(tenure or (), may_spot=spot),
        clouds=tuple(name.lower() for name in cloud or ()),
        region=region,
        precision=precision,
        hardware=wishes.machines_of(hardware or ()),
        settings=wishes.settings_of(settings or ()),
        catalogue=catalog,
        any_model=any_model,
        ways_max=ways,
    )
    _check_folder(html)
    made = _make(request)
    if html is not None:
        _write(html, made)
    _show(made, as_json=as_json, explain=explain)
    raise typer.Exit(0 if made.ways else NOTHING_DOES)


def _make(request: Request) -> Plan:
    # Found when wanted: the other verbs need no planner, and it is not small.
    from baseload.plan.planning import make  # noqa: PLC0415

    try:
        with Steps() as steps:
            made: Plan = make(request, steps)
            return made
    except BaseloadError as error:
        Console(stderr=True).out(str(error), highlight=False)
        raise typer.Exit(UNUSABLE) from None


class Steps:
    """A bar on stderr, for people, that comes only if planning takes its time."""

    def __init__(self) -> None:
        self._began = monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that so many of all steps are done."""
        if self._bar is None:
            if monotonic() - self._began < BAR_AFTER_S:
                return
            console = Console(stderr=True)
            columns = (TextColumn("{task.description}", markup=False), BarColumn())
            self._bar = Progress(
                *columns, console=console, transient=True, disable=not console.is_terminal
            )
            self._bar.start()
            self._task = self._bar.add_task(what)
        assert self._task is not None
        self._bar.update(self._task, description=what, completed=done, total=max(total, 1))


def _check_folder(html: Path | None) -> None:
    """Say before planning that the page cannot be written."""
    if html is None:
        return
    if html.is_dir():
        wishes.wrong("--html", f"{html} is a folder; name a file in it")
    if not html.absolute().parent.is_dir():
        wishes.wrong("--html", f"{html}: there is no folder {html.parent}")


def _write(html: Path, made: Plan) -> None:
    try:
        html.write_text(page.html(made), "utf-8")
    except OSError as error:
        wishes.wrong("--html", f"{html}: it cannot be written: {error.strerror or error}")


def _show(made: Plan, *, as_json: bool, explain: bool) -> None:
    if as_json:
        typer.echo(msgspec.json.encode(made))
        return
    console = Console(width=None if sys.stdout.isatty() else terminal.WIDTH, highlight=False)
    console.print(terminal.render(made, console.width))
    if explain:
        console.print(explaining.render(made))
