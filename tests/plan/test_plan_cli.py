"""`baseload plan` as a user meets it; a double stands in for the planner."""

import csv
import io
import json
import sys
import types
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from baseload.cli import app
from baseload.errors import BaseloadError
from baseload.plan.load import Load, Objectives
from baseload.plan.request import TENURES, Machine, Request
from baseload.plan.result import Formula, Plan
from tests.plan import sample

ASKED = ("--model", "deepseek-v3", "--rps", "4")


class PlannerDouble:
    """Stands in for the planner: keeps what it was asked, and gives a handmade plan."""

    def __init__(self) -> None:
        self.answer: Plan | BaseloadError = sample.plan()
        self.requests: list[Request] = []

    def make(self, request: Request, on_step: Any) -> Plan:
        """Give the plan that was prepared."""
        self.requests.append(request)
        on_step("weighing ways", 1, 2)
        if isinstance(self.answer, BaseloadError):
            raise self.answer
        return self.answer


@pytest.fixture
def planner(monkeypatch) -> PlannerDouble:
    """Put the double where the planner would be."""
    double = PlannerDouble()
    _stand_in(monkeypatch, "baseload.plan.planning", make=double.make)
    return double


def _stand_in(monkeypatch, name: str, **parts: Any) -> None:
    module = types.ModuleType(name)
    module.__dict__.update(parts)
    monkeypatch.setitem(sys.modules, name, module)


def _run(*words: str) -> Result:
    env = {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    return CliRunner().invoke(app, ["plan", *words], env=env)


def _said(result: Result) -> str:
    """Give what stands on stderr in one line, without the frame around it."""
    signs = {ord(sign): " " for sign in "│╭╮╰╯─"}
    return " ".join(result.stderr.translate(signs).split())


def test_a_plan_is_shown_and_ends_with_0(planner):
    """The answer comes first, and the exit code says that there is one."""
    result = _run(*ASKED)

    assert (0, "") == (result.exit_code, result.stderr)
    assert result.stdout.startswith("Run 1 ")
    assert "Ways, cheapest first" in result.stdout


def test_nothing_that_does_ends_with_1(planner):
    """Which objective fails, by how much and what is nearest stands on stdout; the code is 1."""
    planner.answer = sample.nothing()
    result = _run(*ASKED)
    said = " ".join(result.stdout.split())

    assert 1 == result.exit_code
    assert "fails on first token, p95: 1.31 s (31 % over), wanted 1 s." in said
    assert "What would do: 3.2 requests/s, or 1.4 s." in said


def test_json_is_the_plan(planner):
    """What is printed as JSON is read back as the same plan, also where nothing does."""
    for answer, code in ((sample.plan(), 0), (sample.nothing(), 1), (sample.hostile(), 0)):
        planner.answer = answer
        result = _run(*ASKED, "--json")

        assert code == result.exit_code
        assert answer == msgspec.json.decode(result.stdout, type=Plan)


def test_a_page_is_written(planner, tmp_path):
    """The page is written beside what is printed."""
    file = tmp_path / "report.html"
    result = _run(*ASKED, "--html", str(file))

    assert 0 == result.exit_code
    assert result.stdout.startswith("Run 1 ")
    assert file.read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("path", "words"), [("no/such/report.html", "there is no folder"), (".", "is a folder")]
)
def test_a_page_that_cannot_be_written_is_said_before_planning(planner, tmp_path, path, words):
    """Nobody waits for a plan that then is lost."""
    result = _run(*ASKED, "--html", str(tmp_path / path))

    assert 2 == result.exit_code
    assert "--html" in _said(result)
    assert words in _said(result)
    assert [] == planner.requests


def test_a_page_that_turns_out_not_to_be_writable_is_said(planner):
    """A place that takes no files gives one sentence, no traceback."""
    result = _run(*ASKED, "--html", "/proc/report.html")

    assert 2 == result.exit_code
    assert "/proc/report.html: it cannot be written" in _said(result)


def test_explaining_prints_formulas_with_their_numbers(planner):
    """`--explain` adds each formula after the tables."""
    plain, explained = _run(*ASKED), _run(*ASKED, "--explain")

    assert explained.stdout.startswith(plain.stdout)
    assert "KV cache for a token = 2 * layers * kv heads * head * bytes" in explained.stdout
    assert "= 262,144 B" in explained.stdout


def test_every_option_reaches_the_planner(planner, tmp_path):
    """What is asked is what the planner is told."""
    catalogue = tmp_path / "own.toml"
    catalogue.write_text("")
    _run(
        "--model", "Qwen/Qwen3-32B", "--rps", "4", "--prompt", "1200", "--answer", "400",
        "--ttft-p95", "1.0", "--tpot-p95", "0.05", "--months", "24", "--cached", "0.25",
        "--day-factor", "0.6", "--precision", "fp8", "--hardware", "8xh100", "--hardware",
        "2x4xL40S", "--cloud", "AWS", "--cloud", "azure", "--region", "us-east-1", "--set",
        "owned.pue=1.3", "--set", "owned.usd_kwh = 0.08", "--survive", "2", "--no-spot",
        "--catalog", str(catalogue), "--ways", "5",
    )  # fmt: skip
    (request,) = planner.requests

    assert request == Request(
        model="Qwen/Qwen3-32B",
        load=Load(rps=4.0, prompt=1200.0, answer=400.0, cached=0.25, day_factor=0.6),
        objectives=Objectives(ttft_p95_s=1.0, tpot_p95_s=0.05, survive=2),
        today=request.today,
        months=24,
        tenures=tuple(one for one in TENURES if one != "spot"),
        clouds=("aws", "azure"),
        region="us-east-1",
        precision="fp8",
        hardware=(
            Machine(accelerator="h100", per_machine=8),
            Machine(accelerator="l40s", per_machine=4, machines_max=2),
        ),
        settings={"owned.pue": 1.3, "owned.usd_kwh": 0.08},
        catalogue=catalogue,
        ways_max=5,
    )
    assert 10 == len(request.today)


def test_what_is_left_out_has_its_default(planner):
    """Model and rate are all that has to be given."""
    _run(*ASKED)
    (request,) = planner.requests

    assert request == Request(
        model="deepseek-v3",
        load=Load(rps=4.0, prompt=1000.0, answer=300.0),
        objectives=Objectives(),
        today=request.today,
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--model"),
        (("--model", "deepseek-v3"), "--rps: how much traffic is there?"),
        ((*ASKED[:2], "--rps", "0"), "0 must be a number above 0"),
        ((*ASKED[:2], "--rps", "-3"), "-3 must be a number above 0"),
        ((*ASKED[:2], "--rps", "nan"), "nan must be a number above 0"),
        ((*ASKED[:2], "--rps", "inf"), "inf must be a number above 0"),
        ((*ASKED, "--prompt", "0"), "0 must be at least 1 token"),
        ((*ASKED, "--answer", "nan"), "nan must be at least 1 token"),
        ((*ASKED, "--ttft-p95", "0"), "--ttft-p95: 0 must be a number above 0"),
        ((*ASKED, "--tpot-p95", "nan"), "--tpot-p95: nan must be a number above 0"),
        ((*ASKED, "--cached", "30"), "30 must be between 0 and 1; did you mean 0.3?"),
        ((*ASKED, "--cached", "-0.1"), "-0.1 must be between 0 and 1"),
        ((*ASKED, "--day-factor", "0"), "0 must be between 0 and 1"),
        ((*ASKED, "--months", "0"), "--months"),
        ((*ASKED, "--survive", "-1"), "--survive"),
        ((*ASKED, "--ways", "0"), "--ways"),
        ((*ASKED, "--precision", "fp7"), "`fp7` is none of fp32, bf16, fp8"),
        ((*ASKED, "--hardware", "eight h100"), "write 8xh100 for machines of eight"),
        ((*ASKED, "--hardware", "0xh100"), "counts go from 1"),
        ((*ASKED, "--set", "pue=1.3"), "write a name and a number, as owned.pue=1.3"),
        ((*ASKED, "--set", "owned.pue=cheap"), "write a name and a number"),
        ((*ASKED, "--set", "owned.pue=nan"), "write a name and a number"),
        ((*ASKED, "--tenure", "lease"), "`lease` is none of owned, on_demand"),
        ((*ASKED, "--tenure", "spot", "--no-spot"), "spot is all that --tenure allows"),
        ((*ASKED, "--trace", "no-such.csv"), "'no-such.csv' does not exist"),
        ((*ASKED, "--catalog", "no-such.toml"), "'no-such.toml' does not exist"),
        (("--model", "./no/config.json", "--rps", "4"), "there is no such file"),
    ],
)  # fmt: skip
def test_mistakes_of_use_end_with_2(planner, words, said):
    """Each names the option and what is wrong with it, and nothing is planned."""
    result = _run(*words)

    assert 2 == result.exit_code
    assert said in _said(result)
    assert [] == planner.requests


def test_what_the_planner_cannot_take_ends_with_2(planner):
    """An unknown model is named with the nearest names, in one sentence."""
    sentence = "no model is known as `deepsek-v3`; did you mean deepseek-v3?"
    planner.answer = BaseloadError(sentence)
    result = _run("--model", "deepsek-v3", "--rps", "4")

    assert (2, "", f"{sentence}\n") == (result.exit_code, result.stdout, result.stderr)


def test_tenures_can_be_chosen(planner):
    """Only what is asked for may be used, in the usual order, hyphens or not."""
    _run(*ASKED, "--tenure", "api", "--tenure", "on-demand")

    assert ("on_demand", "api") == planner.requests[0].tenures


def test_sizes_beside_a_trace_are_refused(planner, monkeypatch, tmp_path):
    """A trace has its own sizes, so it is not guessed which ones count."""
    file = tmp_path / "traffic.csv"
    file.write_text("")
    _stand_in(monkeypatch, "baseload.plan.traces", inspect=lambda path: None)
    result = _run("--model", "m", "--trace", str(file), "--prompt", "100")

    assert 2 == result.exit_code
    assert "--prompt: a trace has its own sizes" in _said(result)


def test_a_trace_that_cannot_be_read_is_named(planner, monkeypatch, tmp_path):
    """What is wrong with a trace is said with its file and line."""
    file = tmp_path / "traffic.csv"
    file.write_text("")

    def inspect(path):
        raise BaseloadError("traffic.csv:3: no number of tokens")

    _stand_in(monkeypatch, "baseload.plan.traces", inspect=inspect)
    result = _run("--model", "m", "--trace", str(file))

    assert 2 == result.exit_code
    assert "--trace: traffic.csv:3: no number of tokens" in _said(result)


def test_a_bar_comes_only_if_planning_takes_its_time(monkeypatch):
    """Steps within half a second draw nothing; a later one starts the bar, and the end stops it."""
    verb, now = sys.modules["baseload.cli.plan"], 0.0
    monkeypatch.setattr(verb, "monotonic", lambda: now)
    with verb.Steps() as steps:
        now = 0.4
        steps("reading", 1, 3)
        assert steps._bar is None
        now = 0.6
        steps("weighing [bold]ways", 2, 3)
        (task,) = steps._bar.tasks
        assert ("weighing [bold]ways", 2, 3) == (task.description, task.completed, task.total)

    assert not steps._bar.live.is_started


def test_help_has_examples_and_other_verbs():
    """The help shows how to ask, and what else there is."""
    words = " ".join(_run("--help").stdout.split())

    assert "Example: baseload plan --model deepseek-r1-distill-qwen-32b --rps 4" in words
    for verb in ("fit", "move", "score", "claims"):
        assert verb in words


class GroupDouble(msgspec.Struct):
    """Stands in for what scoring gives."""

    system: str = "h100_sxm"
    backend: str = "vllm"
    model: str = "[bold]Qwen3-32B"
    mode: str = "agg"
    n: int = 1130
    predicted: int = 1120
    tpot_median: float | None = 0.104
    tpot_p90: float | None = 0.31
    ttft_median: float | None = None


def test_scores_are_a_table_or_data(monkeypatch, tmp_path):
    """A row or an object a group, with the errors that could be worked out."""
    file = tmp_path / "points.csv"
    out = io.StringIO()
    csv.writer(out).writerow(["system"])
    file.write_text(out.getvalue())
    _stand_in(monkeypatch, "baseload.plan.speed.score", score=lambda path: [GroupDouble()])
    table, data = _run("score", str(file)), _run("score", str(file), "--json")

    assert (0, 0) == (table.exit_code, data.exit_code)
    assert [
        "h100_sxm",
        "vllm",
        "[bold]Qwen3-32B",
        "agg",
        "1,130",
        "1,120",
        "10",
        "%",
        "31",
        "%",
        "-",
    ] == (table.stdout.splitlines()[-1].split())
    assert [msgspec.to_builtins(GroupDouble())] == json.loads(data.stdout)


def test_a_file_that_cannot_be_scored_is_named(monkeypatch, tmp_path):
    """Neither a missing file nor a wrong one gives a traceback."""
    file = tmp_path / "points.csv"
    file.write_text("")

    def score(path):
        raise BaseloadError("points.csv: there is no column `system`")

    _stand_in(monkeypatch, "baseload.plan.speed.score", score=score)
    missing, wrong = _run("score", "no-such.csv"), _run("score", str(file))

    assert (2, 2) == (missing.exit_code, wrong.exit_code)
    assert "'no-such.csv' does not exist" in _said(missing)
    assert "there is no column `system`" in _said(wrong)


class GivenDouble(msgspec.Struct):
    """Stands in for a claim's input."""

    what: str = "price"
    value: str = "$32.78/h"
    source: str = "the claim"


class ClaimDouble(msgspec.Struct):
    """Stands in for a claim that was worked out."""

    name: str = "Five nodes are cheaper"
    says: str = "37 % below one machine"
    given: tuple[GivenDouble, ...] = (GivenDouble(),)
    steps: tuple[Formula, ...] = (
        Formula(what="rent", formula="hours * price", numbers="26,280 * 32.78", result="$861,458"),
    )
    verdict: str = "does not follow"
    because: str = "the inputs are missing"


def test_claims_are_shown_with_their_steps(monkeypatch):
    """Each claim stands with its verdict, its inputs and its steps."""
    _stand_in(
        monkeypatch, "baseload.plan.claims.examples",
        worked_examples=lambda rows: (ClaimDouble(), ClaimDouble(name="Another")),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "baseload.plan.claims", types.ModuleType("claims"))
    text, data = _run("claims"), _run("claims", "--json")
    words = " ".join(text.stdout.split())

    assert (0, 0) == (text.exit_code, data.exit_code)
    assert "Does not follow: the inputs are missing" in words
    assert "price $32.78/h the claim" in words
    assert "rent hours * price 26,280 * 32.78 $861,458" in words
    assert ["Five nodes are cheaper", "Another"] == [one["name"] for one in json.loads(data.stdout)]
