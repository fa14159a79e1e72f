"""`baseload quantize`: a smaller, faster model, published only if it has lost little enough.

Exits with 0 if the result was published, with 1 if it was refused or something failed, and with 2
if it was asked in a way that it cannot understand.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from baseload.cli.common import fail
from baseload.engines.quantising import report as reporting
from baseload.engines.quantising import w8a8
from baseload.engines.quantising.gate import MAX_LOSS
from baseload.engines.quantising.job import Wish, quantise
from baseload.engines.quantising.report import Report
from baseload.engines.quantising.speed import ROUNDS
from baseload.engines.quantising.targets import TARGETS
from baseload.engines.quantising.tasks import TASKS, TEXT
from baseload.engines.weights import served_name
from baseload.errors import BaseloadError

REFUSED = 1

quantize = typer.Typer(rich_markup_mode="rich", add_completion=False)

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A known name, the path of a GGUF file, or, for vLLM, a folder of safetensors.",
    ),
]
To = Annotated[
    Literal["fp32", "bf16", "fp16", "int8", "int4", "fp8"],
    typer.Option("--to", help="int8 is Q8_0 and int4 is Q4_1 in GGUF; fp8 needs no file."),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Default: ./NAME-PRECISION.gguf"),
]
MaxLoss = Annotated[
    float,
    typer.Option(min=0.0, max=10.0, help="Loss of perplexity that is allowed, as a part of 1."),
]
Reference = Annotated[
    Literal["fp32", "source"],
    typer.Option(help="What it is compared with; `source` where FP32 would not fit."),
]
Rounds = Annotated[int, typer.Option(min=0, max=100, help="Of measuring speed; 0: do not.")]
Keep = Annotated[bool, typer.Option("--keep", help="Keep a refused result, as FILE.refused.")]
Force = Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")]
Text = Annotated[
    Path, typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Your own text.",
                       show_default="the one that ships"),
]  # fmt: skip
Tasks = Annotated[
    Path, typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Your own tasks.",
                       show_default="those that ship"),
]  # fmt: skip
Unmeasured = Annotated[
    bool,
    typer.Option("--unmeasured", help="For vLLM: publish, though no accuracy could be measured."),
]
Page = Annotated[
    Path | None, typer.Option("--report", metavar="FILE.md", help="Write the report there, too.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")]

FP8 = """Nothing is to be converted: vLLM rounds weights to FP8 itself while it loads a model.
Say in the fleet file, on a GPU of compute capability 8.9 or more (Ada, Hopper):

    engine: vllm
    serve: {precision: fp8}"""


@quantize.command()
def run(  # noqa: PLR0913, PLR0917 - each is an option
    model: Model, to: To, out: Out = None, max_loss: MaxLoss = MAX_LOSS,
    reference: Reference = "fp32", rounds: Rounds = ROUNDS, keep: Keep = False,
    force: Force = False, unmeasured: Unmeasured = False, text: Text = TEXT,
    tasks: Tasks = TASKS, page: Page = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Write a model in another precision, measure what that costs, and publish it if it is little.

    FP32, BF16 and the result are compared: size, memory, speed, perplexity, tasks. Exits with 1
    if the loss is not proven to be within --max-loss; nothing is published then.

    Example: baseload quantize smollm2-135m-instruct --to int8 --report int8.md
    """
    if to == "fp8":
        Console().out(FP8, highlight=False)
        return
    if Path(model).is_dir():
        if page is not None:
            fail("of a model for vLLM nothing is measured, so there is no --report; see --json")
        _for_vllm(Path(model), to, out, unmeasured=unmeasured, as_json=as_json)
        return
    wish = Wish(
        model=model, to=TARGETS[to], out=out or Path(f"{served_name(model)}-{to}.gguf"),
        max_loss=max_loss, reference=reference, rounds=rounds, keep=keep, force=force,
        text=text, tasks=tasks,
    )  # fmt: skip
    _see_page(page, wish.out)
    try:
        report = _quantise(wish)
        if page is not None:
            page.write_text(reporting.markdown(report), encoding="utf-8")
    except BaseloadError as error:
        fail(str(error))
    except OSError as error:
        fail(f"the disk fails: {error}")
    if as_json:
        Console().out(msgspec.json.format(msgspec.json.encode(report)).decode(), highlight=False)
    else:
        _draw(report)
    raise typer.Exit(0 if report.verdict.passed else REFUSED)


def _see_page(page: Path | None, out: Path) -> None:
    """Refuse, before the work, a place where the report cannot be written or would hurt."""
    if page is None:
        return
    if not page.parent.is_dir() or page.is_dir():
        fail(f"the report cannot be written to {page}: there is no such folder, or it is one")
    if page.suffix in {".gguf", ".safetensors"} or page.absolute() == out.absolute():
        fail(f"the report would be written over a model, {page}; give another --report")


def _for_vllm(source: Path, to: str, out: Path | None, *, unmeasured: bool, as_json: bool) -> None:
    """Write INT8 for vLLM. The gate cannot look at it, so the person who asks must say so."""
    if to != "int8":
        fail(f"a folder of safetensors can become int8 or fp8 here, not {to}")
    if not unmeasured:
        fail(
            "what INT8 costs in vLLM can only be measured with vLLM on a GPU, so the gate cannot "
            "let it pass; add --unmeasured to have it written all the same"
        )
    try:
        with _told() as tell:
            to_folder = out or Path(f"{source.resolve().name}-int8")
            written = w8a8.write(source, to_folder, lambda part: tell("writing int8", part))
    except BaseloadError as error:
        fail(str(error))
    except ImportError:
        fail("numpy is not installed: run `pip install 'baseload[quantize]'`")
    except OSError as error:
        fail(f"the disk fails: {error}")
    console = Console()
    if as_json:
        console.out(msgspec.json.format(msgspec.json.encode(written)).decode(), highlight=False)
        return
    console.out(
        f"{written.published}: {written.matrices} matrices in INT8, "
        f"{written.source_bytes / 1e6:,.0f} MB before and {written.size_bytes / 1e6:,.0f} MB now. "
        f"Weights are off by {written.error:.2%} (root mean square; the worst, {written.worst}: "
        f"{written.worst_error:.2%}). What answers lose was not measured.",
        highlight=False,
    )


def _quantise(wish: Wish) -> Report:
    with _told() as tell:
        return asyncio.run(quantise(wish, tell))


@contextmanager
def _told() -> Iterator[Callable[[str, float], None]]:
    """Give who draws what is being done, and which part of it is, on a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with bar:
        task = bar.add_task("looking", total=1.0)
        yield lambda what, part: bar.update(task, description=what, completed=part)


def _draw(report: Report) -> None:
    console = Console()
    for heads, rows in reporting.tables(report):
        table = Table(*heads, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for sentence in reporting.sentences(report):
        console.print(sentence, highlight=False, markup=False)
    where = report.published
    console.print(f"Published as {where}." if where else "Nothing was published.", markup=False)
