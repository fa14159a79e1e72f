"""Tests of quantising with the real model: llama.cpp reads, serves, and the gate judges.

The text is a short part of the one that ships, so intervals are wider than a user's and the
threshold is, too. What the whole text says of INT8 is in docs/quantising.md, and not proven here.
"""

import asyncio
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from typer.testing import CliRunner

from baseload.cli import app
from baseload.config.fleet import Backend
from baseload.engines.quantising import report, speed
from baseload.engines.quantising.header import read_header
from baseload.engines.quantising.job import Wish, quantise
from baseload.engines.quantising.scoring import score
from baseload.engines.quantising.targets import TARGETS
from baseload.engines.quantising.workshop import workshop
from baseload.engines.weights import find_weights
from baseload.errors import EngineError
from tests.engines.engine_kit import MODEL, WAIT_MAX_S, running, until
from tests.engines.quantising_kit import converted, names, short_yardstick, spoil

pytestmark = pytest.mark.usefixtures("real_engine")

MAX_LOSS = 0.05


@pytest.fixture(scope="module")
def made(real_engine, tmp_path_factory):
    """INT8 made from the shipped weights, by the whole path with a round of speed."""
    folder = tmp_path_factory.mktemp("made")
    yardstick = short_yardstick(folder)
    out, heard = folder / "int8.gguf", []
    wish = Wish(model=MODEL, to=TARGETS["int8"], out=out, max_loss=MAX_LOSS, rounds=1, **yardstick)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "ANSWER_TOKENS", 4)  # Enough to see that all are served.
        patch.setattr(speed, "PROMPT_CHARS", 200)
        found = asyncio.run(quantise(wish, lambda what, part: heard.append((what, part))))
    return SimpleNamespace(report=found, out=out, heard=heard, yardstick=yardstick, folder=folder)


def test_int8_passes_and_is_published(made):
    """The file is under its name, loads, is a quarter of FP32, and nothing else was left behind."""
    verdict, sizes = made.report.verdict, [each.size_bytes for each in made.report.variants]

    assert verdict.passed, verdict.reason
    assert str(made.out) == made.report.published
    assert sizes[2] == made.out.stat().st_size
    assert 3.5 < sizes[0] / sizes[2] < 4
    assert ["int8.gguf", "tasks.json", "text.txt"] == names(made.folder)


def test_the_report_has_fp32_bf16_and_the_target_side_by_side(made):
    """Each was read, asked and served; speeds, memory and losses are there for all three."""
    variants = made.report.variants
    losses = [each.loss for each in variants]
    memory = [each.speed.memory_bytes for each in variants]

    assert ["fp32", "bf16", "int8"] == [each.name for each in variants]
    assert "fp32" == made.report.reference
    assert (0.0, 0.0, 0.0) == (losses[0].value, losses[0].low, losses[0].high)
    assert abs(losses[1].value) < abs(losses[2].high) < MAX_LOSS
    assert all(5 < each.perplexity.value < 60 for each in variants)
    assert all(each.tasks.value > 0.5 for each in variants)  # By chance it would be a quarter.
    assert all(each.speed.tokens_s > 1 and each.speed.prefill_tokens_s > 1 for each in variants)
    assert memory[0] > memory[1] > memory[2] > made.out.stat().st_size
    assert any("is quantised already (Q4_1 x 210" in note for note in made.report.notes)


def test_the_report_says_what_becomes_of_the_claim(made):
    """Both halves of "3 times faster, under 1 % loss" are answered, and BF16 stands beside it."""
    page = report.markdown(made.report)

    assert "fp32 to int8 here: " in page
    assert '"3 times faster, under 1% loss": the speed is ' in page
    assert "Beside BF16" in page
    assert page.count("| int8 |") == 2


def test_progress_is_told_and_never_runs_over(made):
    """Each step is named, and its part lies between 0 and 1."""
    assert {"writing int8", "reading with fp32", "measuring speed"} <= {w for w, _ in made.heard}
    assert all(0 <= part <= 1 for _, part in made.heard)


def test_the_tokenizer_and_all_else_is_kept(made):
    """Every pair of the real model's metadata is the same to the byte, but the kind of file."""
    before, after = (read_header(path).fields for path in (find_weights(MODEL), made.out))

    assert before.keys() == after.keys()
    assert ["general.file_type"] == [name for name in before if before[name] != after[name]]


@pytest.fixture(scope="module")
def served(made, tmp_path_factory):
    """The published file in the engine that callers use; gives its address."""
    backend = Backend(name="cpu", engine="llama.cpp", model=str(made.out))
    with running(backend, tmp_path_factory.mktemp("state")) as state:
        yield "http://{}:{}".format(*state.address)


def test_llamacpp_serves_what_was_written(served):
    """The published file answers a chat."""
    chat = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
    answer = httpx.post(f"{served}/v1/chat/completions", json=chat, timeout=WAIT_MAX_S)

    assert 200 == answer.status_code
    assert answer.json()["choices"][0]["message"]["content"]


def test_what_a_token_costs_is_what_the_server_says(made, served, tmp_path):
    """llama.cpp's server, asked for the next token, gives the probability that was read here."""
    (tmp_path / "text.txt").write_text("The capital of France is Paris")
    text = {"text": tmp_path / "text.txt", "tasks": made.yardstick["tasks"]}
    read = asyncio.run(score(made.out, **text))
    body = {"prompt": "The capital of France is", "n_predict": 1, "n_probs": 20}
    answer = httpx.post(f"{served}/completion", json=body, timeout=WAIT_MAX_S)
    told = {
        each["token"]: each["logprob"]
        for each in answer.json()["completion_probabilities"][0]["top_logprobs"]
    }

    assert told[" Paris"] == pytest.approx(-read.losses[-1], abs=0.05)


@pytest.fixture(scope="module")
def refused(made, tmp_path_factory):
    """INT4, by the verb, of the model with outliers in every block: that rounds badly."""
    folder = tmp_path_factory.mktemp("refused")
    spoilt = spoil(converted(find_weights(MODEL), "fp32", folder / "spoilt.gguf"))
    command = ["quantize", str(spoilt), "--to", "int4", "--out", str(folder / "bad.gguf")]
    command += ["--json", "--keep", "--reference", "source", "--rounds", "0"]
    command += ["--max-loss", str(MAX_LOSS), "--text", str(made.yardstick["text"])]
    result = CliRunner().invoke(app, [*command, "--tasks", str(made.yardstick["tasks"])])
    spoilt.unlink()
    said = json.loads(result.stdout)
    return SimpleNamespace(code=result.exit_code, said=said, folder=folder)


def test_a_spoilt_model_computes_the_same_before_it_is_rounded(made, refused):
    """The outliers alone change nothing, so what the gate refuses is the rounding."""
    fp32 = made.report.variants[0].perplexity.value
    source = refused.said["variants"][0]

    assert "source" == source["name"]
    assert source["perplexity"]["value"] == pytest.approx(fp32, rel=1e-3)


def test_what_has_lost_too_much_is_refused_and_not_published(refused):
    """The verb exits with 1 and says why; `--keep` leaves the file under another name only."""
    said = refused.said

    assert 1 == refused.code
    assert not said["verdict"]["passed"]
    assert "more than 5.00%" in said["verdict"]["reason"]
    assert said["published"] is None
    assert said["variants"][1]["loss"]["low"] > MAX_LOSS
    assert ["bad.gguf.refused"] == names(refused.folder)


def test_a_killed_run_leaves_nothing_under_the_name(tmp_path):
    """SIGKILL while it writes: the name is free, and the next run clears what is left."""
    out = tmp_path / "out.gguf"
    folder = tmp_path / ".out.gguf.quantising"
    command = [sys.executable, "-m", "baseload", "quantize", MODEL, "--to", "int8"]
    with subprocess.Popen([*command, "--out", str(out)], stderr=subprocess.DEVNULL) as child:
        until(lambda: list(folder.glob("*.gguf")))
        with pytest.raises(EngineError, match="somebody is writing"), workshop(out):
            pass
        child.send_signal(signal.SIGKILL)

    assert not out.exists()
    assert list(folder.glob("*.gguf"))
    with workshop(out) as mine:
        assert ["lock"] == names(mine)
    assert [] == names(tmp_path)


def test_ctrl_c_is_heard_while_it_writes(tmp_path):
    """Writing has no await, so who writes has to look; the next piece is not written."""
    heard = []

    def tell(what, _):
        heard.append(what)
        os.kill(os.getpid(), signal.SIGINT)

    wish = Wish(model=MODEL, to=TARGETS["int8"], out=tmp_path / "out.gguf")
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(quantise(wish, tell))

    assert ["writing fp32"] == heard
    assert [] == names(tmp_path)


def test_a_link_in_place_of_the_workshop_is_refused(tmp_path):
    """What a link leads to is neither cleared nor written to."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models/precious.gguf").write_text("x")
    (tmp_path / ".out.gguf.quantising").symlink_to(tmp_path / "models")
    with pytest.raises(EngineError, match="is a link"), workshop(tmp_path / "out.gguf"):
        pass

    assert ["precious.gguf"] == names(tmp_path / "models")


def test_a_disk_that_fills_up_is_one_clear_line(tmp_path):
    """When a write fails in the middle, nothing is left and the sentence says what happened."""

    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000_000, 50_000_000))

    command = [sys.executable, "-m", "baseload", "quantize", MODEL, "--to", "int8"]
    result = subprocess.run(
        [*command, "--out", str(tmp_path / "out.gguf")],
        preexec_fn=small, capture_output=True, text=True, timeout=WAIT_MAX_S, check=False,
    )  # fmt: skip

    assert 1 == result.returncode
    assert "out.gguf: File too large" in result.stderr
    assert 1 == len(result.stderr.splitlines())
    assert [] == names(tmp_path)


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    """What will be written is known from headers; `disk_usage` is a double here."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=900_000_000))
    wish = Wish(model=MODEL, to=TARGETS["int8"], out=tmp_path / "out.gguf")
    with pytest.raises(EngineError, match=r"has 0\.90 GB free, and 0\.96 GB are to be written"):
        asyncio.run(quantise(wish))

    assert [] == names(tmp_path)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["nothing.gguf", "--to", "int8"], 1, "there is no model file nothing.gguf"),
        ([MODEL, "--to", "int8", "--out", "nowhere/x.gguf"], 1, "there is no folder nowhere"),
        ([MODEL, "--to", "int8", "--out", "there.gguf"], 1, "there.gguf is there already"),
        ([MODEL, "--to", "int8", "--out", ".", "--force"], 1, "is a folder"),
        ([MODEL, "--to", "int8", "--out", "there", "--keep"], 1, "there.refused is there, and --k"),
        ([MODEL, "--to", "int8", "--report", "no/r.md"], 1, "cannot be written to no/r.md"),
        ([MODEL, "--to", "int8", "--report", "there.gguf"], 1, "written over a model"),
        ([MODEL, "--to", "int8", "--text", "there.gguf"], 1, "there.gguf cannot be read"),
        ([MODEL, "--to", "int8", "--tasks", "there.gguf"], 1, "there.gguf cannot be read"),
        ([MODEL, "--to", "int7"], 2, "int7"),
        ([MODEL], 2, "--to"),
        ([MODEL, "--to", "fp8"], 1, "FP8 is measured with a folder of safetensors"),
        ([MODEL, "--to", "fp8", "--unmeasured"], 0, "serve: {precision: fp8}"),
        ([MODEL, "--to", "fp8", "--unmeasured", "--report", "r.md"], 2, "there is no --report"),
        (["--help"], 0, "Example: baseload quantize smollm2-135m-instruct"),
    ],
    ids=[
        "no model",
        "no folder",
        "there already",
        "a folder",
        "refused before",
        "no folder for the report",
        "a model for the report",
        "no text",
        "no tasks",
        "no such precision",
        "no precision",
        "fp8",
        "fp8 unmeasured",
        "a report of nothing",
        "help",
    ],
)
def test_what_cannot_be_done_is_said_at_once(tmp_path, monkeypatch, options, code, words):
    """One sentence and the usual exit codes; nothing is written."""
    monkeypatch.chdir(tmp_path)
    Path("there.gguf").write_bytes(b"\xffmine")
    Path("there.refused").touch()
    result = CliRunner().invoke(app, ["quantize", *options])

    assert code == result.exit_code
    assert words in " ".join(result.output.split())
    assert b"\xffmine" == Path("there.gguf").read_bytes()
    assert ["there.gguf", "there.refused"] == names(tmp_path)


def test_without_the_package_the_verb_says_how_to_install_it(monkeypatch):
    """`gguf` is an extra; without it there is one line."""
    monkeypatch.setitem(sys.modules, "gguf", None)
    result = CliRunner().invoke(app, ["quantize", MODEL, "--to", "int8"])

    assert 1 == result.exit_code
    assert "pip install 'baseload[quantize]'" in result.output
