"""`baseload plan` for real: a process of its own, with the planner behind it."""

import os
import subprocess
import sys

import msgspec
import pytest
from typer.testing import CliRunner

from baseload.cli import app
from baseload.cli.plan_wishes import Traffic, load_of
from baseload.plan.result import Plan
from tests.plan import plans

ASKED = (
    "--model", plans.QWEN_7B, "--cloud", "north", "--rps", "2", "--no-spot",
    "--catalog", str(plans.catalogue()),
)  # fmt: skip


def _run(*words):
    command = [sys.executable, "-m", "baseload", "plan", *ASKED, *words]
    env = os.environ | {"COLUMNS": "100", "NO_COLOR": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=60, check=False)


def test_a_plan_as_data_in_a_process_of_its_own():
    """It ends with 0, and its standard output is one plan and nothing else."""
    done = _run("--json")
    plan = msgspec.json.decode(done.stdout, type=Plan)

    assert (0, "") == (done.returncode, done.stderr)
    assert plan.mix.is_optimal
    assert 2.0 == plan.load.rps
    assert {"on_demand", "reserved_1y", "serverless"} == {way.tenure for way in plan.ways}


def _invoked(*words):
    env = {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    return CliRunner().invoke(app, ["plan", *ASKED, *words], env=env)


def test_nothing_that_does_ends_with_one():
    """What comes nearest is said, with what would do."""
    result = _invoked("--ttft-p95", "0.0001")

    assert 1 == result.exit_code
    assert result.stdout.startswith("Nothing keeps the objectives. north-big comes nearest")
    assert "What would do: --ttft-p95" in result.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "owned.peu=1"), "did you mean `owned.pue`"),
        (("--region", "moon"), "--region moon: not in the catalogue"),
        (("--prompt", "900000"), "knows contexts of 131,072 tokens"),
        (("--hardware", "8xbigg"), "did you mean `big`"),
    ],
)
def test_a_mistake_ends_with_two(words, said):
    """It is a sentence on stderr, without a traceback; nothing is on stdout."""
    result = _invoked(*words)

    assert (2, "") == (result.exit_code, result.stdout)
    assert said in result.stderr


def test_what_a_trace_lacks_is_told(tmp_path):
    """Notes of who read the trace come with the plan; another rate than its own is told too."""
    file = tmp_path / "calls.csv"
    rows = [f"2026-01-01 00:00:{second:02},900,120" for second in range(60)]
    file.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "\n".join(rows) + "\n")
    result = _invoked("--trace", str(file), "--json")
    plan = msgspec.json.decode(result.stdout, type=Plan)

    assert plan.notes[1].startswith("calls.csv: 60 calls in 59.0 seconds")
    assert "calls.csv is taken at 2 requests/s in the busiest hour, not its own 1.02." in plan.notes


def test_options_go_over_what_a_trace_says(tmp_path):
    """A rate, a cache share and a day's factor take the place of its own; all else stays."""
    file = tmp_path / "calls.csv"
    rows = [f"2026-01-01 00:00:{second:02},{900 + second},120" for second in range(60)]
    file.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "\n".join(rows) + "\n")
    load, _ = load_of(Traffic(None, None, None, None, None, file))
    changed, _ = load_of(Traffic(8.0, None, None, 0.5, 0.3, file))

    assert (900, 959) == (load.prompts[0], load.prompts[-1])
    assert msgspec.structs.replace(load, rps=8.0, cached=0.5, day_factor=0.3) == changed


def test_serving_loads_no_planner():
    """The verbs that plan are known by name, and loaded only when one of them is asked for."""
    asked = "import sys, baseload.cli; print([n for n in sys.modules if 'baseload.plan' in n])"
    out = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)

    assert "[]\n" == out.stdout
