"""`baseload quantize`: a smaller, faster model, published only if it has lost little enough.

Exits with 0 if the result was published, with 1 if it was refused or something failed, and with 2
if it was asked in a way that it cannot understand.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from baseload.cli.common import fail
from baseload.engines.quantising import report as reporting
from baseload.engines.quantising.comparing import Tell, Terms
from baseload.engines.quantising.gate import MAX_LOSS
from baseload.engines.quantising.job import Wish, quantise
from baseload.engines.quantising.report import Report
from baseload.engines.quantising.speed import ROUNDS
from baseload.engines.quantising.targets import TARGETS
from baseload.engines.quantising.tasks import TASKS, TEXT
from baseload.engines.quantising.vllm import job as vllm_job
from baseload.engines.quantising.vllm.server import program_of
from baseload.engines.weights import served_name
from baseload.errors import BaseloadError

REFUSED = 1
ASKED_WRONGLY = 2

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
    typer.Option("--to", help="int8 is Q8_0 and int4 is Q4_1 in GGUF; fp8, a vLLM's, is no file."),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Default: ./NAME-PRECISION.gguf, or ./NAME-int8"),
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
    typer.Option("--unmeasured", help="For vLLM: publish without measuring anything."),
]
Vllm = Annotated[
    str | None,
    typer.Option(
        "--vllm",
        metavar="PROGRAM",
        help="What starts vLLM, to measure a folder with. Default: `vllm`, or this Python's.",
    ),
]
Page = Annotated[
    Path | None, typer.Option("--report", metavar="FILE.md", help="Write the report there, too.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")]

FP8 = """Nothing is to be converted: vLLM rounds weights to FP8 itself while it loads a model.
Say in the fleet file, on a GPU of compute capability 8.9 or more (Ada, Hopper):

    engine: vllm
    serve: {precision: fp8}"""
NO_FP8 = "Do not use FP8 for this model: the gate has not let it pass."


@quantize.command()
def run(  # noqa: PLR0913, PLR0917 - each is an option
    model: Model, to: To, out: Out = None, max_loss: MaxLoss = MAX_LOSS,
    reference: Reference = "fp32", rounds: Rounds = ROUNDS, keep: Keep = False,
    force: Force = False, vllm: Vllm = None, unmeasured: Unmeasured = False, text: Text = TEXT,
    tasks: Tasks = TASKS, page: Page = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Write a model in another precision, measure what that costs, and publish it if it is little.

    FP32, BF16 and the result are compared: size, memory, speed, perplexity, tasks. A folder of
    safetensors becomes int8 or fp8 for vLLM, and is measured with vLLM on a GPU. Exits with 1 if
    the loss is not proven to be within --max-loss; nothing is published then.

    Example: baseload quantize smollm2-135m-instruct --to int8 --report int8.md

    Example: baseload quantize /models/mine --to int8 --vllm /opt/vllm/bin/vllm
    """
    source = Path(model)
    is_vllm = source.is_dir() or to == "fp8"
    _see_options(
        to,
        {"--report": page is not None, "--unmeasured": unmeasured, "--vllm": vllm is not None,
         "--out": out is not None, "--keep": keep, "--force": force},
        is_vllm=is_vllm,
    )  # fmt: skip
    usual = f"{source.resolve().name}-int8" if is_vllm else f"{served_name(model)}-{to}.gguf"
    terms = Terms(
        out=out or Path(usual), max_loss=max_loss, reference=reference, rounds=rounds, keep=keep,
        force=force, text=text, tasks=tasks,
    )  # fmt: skip
    if is_vllm:
        work = _for_vllm(source, to, terms, vllm, unmeasured=unmeasured, as_json=as_json)
    else:
        work = partial(quantise, Wish(model=model, to=TARGETS[to], **asdict(terms)))
    _see_page(page, source if to == "fp8" else terms.out)
    with _explained():
        with _told() as tell:
            report = asyncio.run(work(tell))
        _show(report, as_json=as_json)
        if page is not None:
            page.write_text(reporting.markdown(report), encoding="utf-8")
    raise typer.Exit(0 if report.verdict.passed else REFUSED)


def _see_options(to: str, given: dict[str, bool], *, is_vllm: bool) -> None:
    """Refuse an option that would do nothing, lest somebody believes that it did."""
    useless: dict[str, str] = {}
    if not is_vllm:
        useless = dict.fromkeys(("--unmeasured", "--vllm"), "a GGUF is measured with llama.cpp")
    elif to == "fp8":
        useless = dict.fromkeys(("--out", "--keep", "--force"), "nothing is written for FP8")
    for name, why in useless.items():
        if given[name]:
            fail(f"{name} would do nothing here: {why}", ASKED_WRONGLY)
    if given["--unmeasured"] and given["--report"]:
        fail("--unmeasured measures nothing, so there is no --report", ASKED_WRONGLY)


@contextmanager
def _explained() -> Iterator[None]:
    """Say in one line what has gone wrong, and exit."""
    try:
        yield
    except BaseloadError as error:
        fail(str(error))
    except ImportError:
        fail("numpy is not installed: run `pip install 'baseload[quantize]'`")
    except OSError as error:
        fail(f"the disk fails: {error}")


Work = Callable[[Tell], Coroutine[Any, Any, Report]]


def _for_vllm(
    source: Path, to: str, terms: Terms, vllm: str | None, *,
    unmeasured: bool, as_json: bool,
) -> Work:  # fmt: skip
    """Give the work of measuring with vLLM; unmeasured, all is done and over here."""
    if to not in ("int8", "fp8"):
        fail(f"a folder of safetensors can become int8 or fp8 here, not {to}", ASKED_WRONGLY)
    precision: Literal["int8", "fp8"] = "int8" if to == "int8" else "fp8"
    wish = vllm_job.Wish(source=source, to=precision, **asdict(terms))
    if unmeasured:
        if to == "fp8":
            Console().out(FP8, highlight=False)
        else:
            _write_unmeasured(wish, as_json=as_json)
        raise typer.Exit
    if not source.is_dir():
        fail("FP8 is measured with a folder of safetensors; --unmeasured tells what to configure")
    with _explained():
        program = program_of(vllm)
    if program is None:
        fail(
            f"what {to.upper()} costs in vLLM only vLLM can measure, and there is no `vllm`: name "
            "its program with --vllm, or add --unmeasured to go without the gate"
        )
    return partial(vllm_job.quantise, replace(wish, program=program))


def _see_page(page: Path | None, out: Path) -> None:
    """Refuse, before the work, a place where the report cannot be written or would hurt."""
    if page is None:
        return
    if not page.parent.is_dir() or page.is_dir():
        fail(f"the report cannot be written to {page}: there is no such folder, or it is one")
    if page.suffix in {".gguf", ".safetensors"} or page.resolve() == out.resolve():
        fail(f"the report would be written over a model, {page}; give another --report")


def _write_unmeasured(wish: vllm_job.Wish, *, as_json: bool) -> None:
    """Write INT8 for vLLM past the gate, as the person who asks has said."""
    with _explained(), _told() as tell:
        written = vllm_job.write_unmeasured(wish, tell)
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


@contextmanager
def _told() -> Iterator[Callable[[str, float], None]]:
    """Give who draws what is being done, and which part of it is, on a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with bar:
        task = bar.add_task("looking", total=1.0)
        yield lambda what, part: bar.update(task, description=what, completed=part)


def _show(report: Report, *, as_json: bool) -> None:
    console = Console()
    if as_json:
        console.out(msgspec.json.format(msgspec.json.encode(report)).decode(), highlight=False)
        return
    for heads, rows in reporting.tables(report):
        table = Table(*heads, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for sentence in reporting.sentences(report):
        console.print(sentence, highlight=False, markup=False)
    if report.target == "fp8":
        console.out(FP8 if report.verdict.passed else NO_FP8, highlight=False)
        return
    where = report.published
    console.print(f"Published as {where}." if where else "Nothing was published.", markup=False)
