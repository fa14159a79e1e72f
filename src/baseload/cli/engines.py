"""`baseload engines`: what would be started here, with which flags, and why these?

Nothing is started. Engines are gone through in the order of the fleet file, and each takes its part
of the GPUs from those after it. With a plan, what the file leaves open is taken from there: split
and precision of the plan's first way that runs on machines.
"""

import shlex
import shutil
from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_args

import msgspec
import typer
from msgspec import structs
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from baseload.cli.common import Config, fail, load_fleet_to_ask, path_of
from baseload.config.fleet import Backend, Fleet
from baseload.config.serving import Serve
from baseload.engines.hardware.found import Hardware
from baseload.engines.kinds import kind_of
from baseload.engines.kinds.facts import Facts, facts_of, weights_bytes_of
from baseload.engines.kinds.launch import PORT_LATER, Launch, Order
from baseload.engines.mps import MISSING, PROGRAM
from baseload.engines.sharing import faults, share_of, shares_of
from baseload.engines.weights.store import store_path
from baseload.engines.world import look
from baseload.errors import EngineError
from baseload.plan.result import Plan, Way

PLAN_BYTES_MAX = 64 * 1024 * 1024
HIDDEN = "***"

engines = typer.Typer(rich_markup_mode="rich", add_completion=False)


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """What would become of one backend's engine."""

    backend: str
    engine: str
    launch: Launch | None = None
    mistakes: tuple[str, ...] = ()
    """Why it could not be started."""
    notes: tuple[str, ...] = ()


@engines.command()
def show(
    config: Config = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            "--plan", metavar="FILE", help="What `baseload plan --json` printed: split, precision."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead, reasons included.")
    ] = False,
) -> None:
    """Show which engines would be started on this machine, how, and why so; start nothing.

    Exits 0 if all could be started, and 1 if a program is missing, a model does not fit, or a file
    has a mistake.

    Example: `baseload engines -c fleet.yaml --json`
    """
    fleet, source = load_fleet_to_ask(config), str(path_of(config) or "the built-in fleet")
    way = _way(plan) if plan else None
    starts = []
    found = hardware = look()
    store = store_path(None, fleet.state_dir)
    for backend in fleet.backends.values():
        if backend.engine is not None:
            start = start_of(backend, hardware, way, store)
            hardware = left_by(start.launch, hardware) if start.launch else hardware
            starts.append(shared(start, fleet, found, store))
    if as_json:
        _print_json(source, starts)
    else:
        _draw(source, starts)
    raise typer.Exit(1 if any(start.mistakes for start in starts) else 0)


def start_of(
    backend: Backend, hardware: Hardware, way: Way | None = None, store: Path | None = None
) -> Start:
    """Say how a backend's engine would be started on this hardware, or why it could not be."""
    notes: tuple[str, ...] = ()
    if way is not None and backend.engine in ("vllm", "sglang"):
        serve, notes = with_plan(backend.serve, way)
        backend = structs.replace(backend, serve=serve)
    launch, mistakes = None, []
    try:
        kind = kind_of(backend)
        if (missing := kind.missing(backend)) is not None:
            mistakes.append(missing)
        facts = Facts(path="")
        if kind.name != "external":
            facts = facts_of(backend.model or "", may_fetch=kind.needs_gpu, store=store)
        launch = kind.launch(Order(backend=backend, facts=facts, hardware=hardware))
    except EngineError as error:
        mistakes.append(str(error))
    return Start(
        backend=backend.name,
        engine=backend.engine or "",
        launch=launch,
        mistakes=tuple(mistakes),
        notes=notes,
    )


def shared(start: Start, fleet: Fleet, hardware: Hardware, store: Path | None) -> Start:
    """Add why an engine could not share its GPUs by MPS, where the file asks for that."""
    backend = fleet.backends[start.backend]
    if start.launch is None or backend.serve.mps_threads is None:
        return start
    weights_bytes = partial(weights_bytes_of, store=store)
    own = share_of(backend, weights_bytes, start.launch)
    others = shares_of(fleet.backends.values(), weights_bytes)
    together = [own, *(one for one in others if one.name != own.name)]
    mistakes = [str(fault) for fault in faults(together, hardware.gpus)]
    if shutil.which(PROGRAM) is None:
        mistakes.append(MISSING)
    return structs.replace(start, mistakes=(*start.mistakes, *mistakes))


def with_plan(serve: Serve, way: Way) -> tuple[Serve, tuple[str, ...]]:
    """Fill in what a file leaves open from a way of a plan; say what was, as lines for the file."""
    found: dict[str, Any] = {}
    layout = way.layout
    if layout is not None and serve.tensor_parallel is None and serve.pipeline_parallel is None:
        found |= {"tensor_parallel": layout.tp, "pipeline_parallel": layout.pp}
    known = get_args(get_args(Serve.__annotations__["precision"])[0])
    if serve.precision == "auto" and way.precision in known:
        found["precision"] = way.precision
    if not found:
        return serve, ()
    words = ", ".join(f"{name}: {value}" for name, value in found.items())
    notes = [f"from the plan's way `{way.name}`; to keep it: `serve: {{{words}}}`"]
    if layout is not None and layout.dp > 1:
        notes.append(f"the plan has {layout.dp} copies of attention; this start has one")
    return structs.replace(serve, **found), tuple(notes)


def left_by(launch: Launch, hardware: Hardware) -> Hardware:
    """Give the hardware as engines find it that start after this one."""
    share = launch.size.gpu_memory or 0.0
    gpus = tuple(
        structs.replace(gpu, free_bytes=max(0, gpu.free_bytes - int(share * gpu.memory_bytes)))
        if gpu.index in launch.gpus
        else gpu
        for gpu in hardware.gpus
    )
    return structs.replace(hardware, gpus=gpus)


def _way(path: Path) -> Way:
    """Give the way that a plan starts with among those that run on machines."""
    try:
        with path.open("rb") as file:
            plan = msgspec.json.decode(file.read(PLAN_BYTES_MAX), type=Plan)
    except OSError as error:
        fail(f"{path}: cannot be read: {error.strerror}")
    except msgspec.DecodeError as error:
        fail(f"{path}: not a plan as `baseload plan --json` prints it: {error}")
    by_name = {way.name: way for way in plan.ways}
    mixed = [
        by_name[one.way] for one in (plan.mix.shares if plan.mix else ()) if one.way in by_name
    ]
    found = next((way for way in (*mixed, *plan.ways) if way.layout is not None), None)
    if found is None:
        fail(f"{path}: no way of this plan runs on machines, so it says nothing of engines")
    return found


def _shown(launch: Launch) -> dict[str, str]:
    """Give what its environment would hold, secrets without their values."""
    return {**launch.defaults, **launch.environment, **dict.fromkeys(launch.secrets, HIDDEN)}


def _print_json(source: str, starts: list[Start]) -> None:
    shown = [
        structs.replace(
            start,
            launch=structs.replace(
                start.launch, secrets=dict.fromkeys(start.launch.secrets, HIDDEN)
            ),
        )
        if start.launch
        else start
        for start in starts
    ]
    found = {"file": source, "engines": shown}
    typer.echo(msgspec.json.format(msgspec.json.encode(found)).decode())


def _draw(source: str, starts: list[Start]) -> None:
    console = Console()
    if not starts:
        console.out(f"{source}: no backend has an engine", highlight=False)
    for start in starts:
        mark = "[red]✗[/]" if start.mistakes else "[green]●[/]"
        console.print(f"{mark} [bold]{escape(start.backend)}[/] ({start.engine})", highlight=False)
        if start.launch is not None:
            _draw_launch(console, start.launch)
        for text in start.notes:
            console.print(f"  [yellow]{escape(text)}[/]", highlight=False, soft_wrap=True)
        for text in start.mistakes:
            console.print(f"  [red]{escape(text)}[/]", highlight=False, soft_wrap=True)


def _draw_launch(console: Console, launch: Launch) -> None:
    size = launch.size
    parts = [f"{size.slots} calls at once"] if size.slots else []
    if size.context:
        parts.append(f"{size.context} tokens each")
    if launch.kv_tokens:
        parts.append(f"about {launch.kv_tokens} tokens of KV cache")
    if launch.gpus:
        parts.append("GPU " + ", ".join(map(str, launch.gpus)))
    if parts:
        console.print("  " + "; ".join(parts), highlight=False)
    table = Table("flag", "why", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.columns[0].overflow = "fold"
    for reason in launch.reasons:
        what = reason.what.replace(f"--port={PORT_LATER}", "--port=…")
        table.add_row(escape(what), escape(reason.why))
    for name, value in _shown(launch).items():
        table.add_row(escape(f"{name}={shlex.quote(value)}"), "environment")
    console.print(table)
