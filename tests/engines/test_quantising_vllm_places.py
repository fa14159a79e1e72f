"""Tests of what the gate for vLLM takes and replaces, and of what it says before any work.

Where vLLM is needed at all, it is the double; what that does not prove is on its page.
"""

import os
import shutil
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from baseload.cli import app
from baseload.engines.quantising.vllm.server import program_of
from baseload.errors import EngineError
from tests.engines.measured_vllm_kit import predicting, quantised, vllm
from tests.engines.quantising_kit import names


@pytest.fixture
def source(tmp_path):
    """A folder with a model that predicts."""
    return predicting(tmp_path / "mine")


def test_what_is_there_is_replaced_only_by_force_and_only_a_model(source, tmp_path):
    """Refused before any work; with `--force` a model's folder is, and nothing else ever."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious").write_text("x")
    asked = ["--max-loss", "0.02", "--reference", "source"]
    refused = quantised(source, "int8", *asked, misbehave="hang")
    forced = quantised(source, "int8", *asked, "--force", misbehave="hang")
    itself = quantised(source, "int8", *asked, "--force", "--out", str(source), misbehave="hang")

    assert [1, 1, 1] == [each.code for each in (refused, forced, itself)]
    assert "is there already; give another --out, or --force" in refused.said
    assert "is no model's folder, or the source" in forced.said
    assert "is no model's folder, or the source" in itself.said
    assert ["precious"] == names(out)

    (out / "config.json").write_text("{}")  # Many a program calls its settings so.
    settings = quantised(source, "int8", *asked, "--force", misbehave="hang")
    assert "is no model's folder" in settings.said
    assert ["config.json", "precious"] == names(out)

    (out / "model.safetensors").write_text("")
    assert 0 == quantised(source, "int8", *asked, "--force").code
    assert ["config.json", "model.safetensors", "tokenizer.json"] == names(out)
    assert ["mine", "out"] == names(tmp_path)


@pytest.mark.parametrize("out", [".", "..", "/", "link"])
def test_a_place_that_cannot_be_had_is_refused_before_the_work(source, tmp_path, monkeypatch, out):
    """Not after an hour of measuring, and not by a traceback."""
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to("nowhere")
    found = quantised(source, "int8", "--force", "--out", out, misbehave="hang")

    assert 1 == found.code
    assert 1 == len(found.said.splitlines())
    assert "is no model's folder" in found.said
    assert ["link", "mine"] == names(tmp_path)


def test_what_a_killed_run_left_takes_no_room_from_the_next(source, tmp_path, monkeypatch):
    """It is cleared before room is looked for; `disk_usage` is a double that counts it."""
    left = tmp_path / ".out.quantising" / "model"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_text("x")
    free = lambda _: SimpleNamespace(free=0 if left.exists() else 10**12)  # noqa: E731
    monkeypatch.setattr(shutil, "disk_usage", free)

    options = ["--max-loss", "0.02", "--reference", "source"]
    assert 0 == quantised(source, "int8", *options).code
    assert ["mine", "out"] == names(tmp_path)


def test_unmeasured_replaces_by_force_as_measured_does(source, tmp_path):
    """The same rules hold past the gate."""
    command = ["quantize", str(source), "--to", "int8", "--out", str(tmp_path / "out")]
    done = [
        CliRunner().invoke(app, [*command, "--unmeasured", *more])
        for more in ([], [], ["--force"], ["--force", "--out", str(source)])
    ]

    assert [0, 1, 0, 1] == [each.exit_code for each in done]
    assert "is there already; give another --out, or --force" in done[1].output
    assert "or the source: it is not replaced" in " ".join(done[3].output.split())
    assert ["mine", "out"] == names(tmp_path)


def test_what_was_to_be_replaced_comes_back(source, tmp_path, monkeypatch):
    """Between two renames nothing has the name; who interrupts just there loses nothing."""
    out, rename = tmp_path / "out", Path.rename
    command = ["quantize", str(source), "--to", "int8", "--out", str(out), "--unmeasured"]
    assert 0 == CliRunner().invoke(app, command).exit_code
    (out / "README.md").write_text("the old one")

    def interrupted(self, target):
        if self.name == "model":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    assert 0 != CliRunner().invoke(app, [*command, "--force"]).exit_code
    assert "the old one" == (out / "README.md").read_text()
    assert ["mine", "out"] == names(tmp_path)


def test_a_model_without_a_tokenizer_is_refused_before_the_work(source):
    """VLLM would say so after it has loaded all weights."""
    (source / "tokenizer.json").unlink()

    for to in ("int8", "fp8"):
        found = quantised(source, to, misbehave="hang")
        assert 1 == found.code
        assert "has no tokenizer" in found.said


def test_ctrl_c_is_heard_while_weights_are_written(source, tmp_path, monkeypatch):
    """Writing has no await, so who writes has to look; the next piece is not written."""
    heard = []

    def tell(what, _):
        heard.append(what)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("baseload.cli.quantize._told", lambda: nullcontext(tell))
    found = quantised(source, "int8")

    assert 0 != found.code
    assert ["writing int8"] == heard
    assert ["mine"] == names(tmp_path)


def test_a_report_in_the_place_of_the_result_is_refused(source, tmp_path, monkeypatch):
    """Also where the result's name was not said."""
    monkeypatch.chdir(tmp_path)
    command = ["quantize", str(source), "--to", "int8", "--report", "mine-int8", "--vllm", vllm()]
    result = CliRunner().invoke(app, command)

    assert 1 == result.exit_code
    assert "written over a model" in result.output
    assert ["mine"] == names(tmp_path)


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("mine", ["--to", "fp8", "--out", "x"], "--out would do nothing here: nothing is written"),
        ("mine", ["--to", "fp8", "--keep"], "--keep would do nothing here: nothing is written"),
        ("mine", ["--to", "fp8", "--force"], "--force would do nothing here: nothing is written"),
        (
            "x.gguf",
            ["--to", "int8", "--unmeasured"],
            "--unmeasured would do nothing here: a GGUF is",
        ),
        ("x.gguf", ["--to", "int8", "--vllm", "python"], "--vllm would do nothing here: a GGUF is"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(source, monkeypatch, model, options, words):
    """Nobody believes that it did something."""
    monkeypatch.chdir(source.parent)
    result = CliRunner().invoke(app, ["quantize", model, *options])

    assert 2 == result.exit_code
    assert words in " ".join(result.output.split())


def test_a_name_that_keep_needs_is_asked_for_before_the_work(source, tmp_path):
    """An earlier refused result is not lost."""
    (tmp_path / "out.refused").mkdir()
    found = quantised(source, "int8", "--keep", misbehave="hang")

    assert 1 == found.code
    assert "out.refused is there, and --keep needs" in found.said


def test_which_vllm(monkeypatch, tmp_path):
    """What is said, else the program on PATH, else this Python's module, else none."""
    (tmp_path / "vllm").touch(0o755)
    program = str(tmp_path / "vllm")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert (program, "serve") == program_of(program)
    assert (sys.executable, "a b.py") == program_of(f"{sys.executable} 'a b.py'")
    assert ("vllm", "serve") == program_of(None)
    for wrong in ("nothing-there", "'", ""):
        with pytest.raises(EngineError, match="--vllm"):
            program_of(wrong)

    (tmp_path / "vllm").unlink()
    assert program_of(None) is None
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert (sys.executable, "-m", "vllm.entrypoints.openai.api_server") == program_of(None)


def test_fp8_without_vllm_is_only_told_if_asked_for(source, tmp_path):
    """The lines for the fleet file are the gate's to give; `--unmeasured` goes without it."""
    command = ["quantize", str(source), "--to", "fp8"]
    refused = CliRunner().invoke(app, command, env={"PATH": str(tmp_path)})
    told = CliRunner().invoke(app, [*command, "--unmeasured"])

    assert (1, 0) == (refused.exit_code, told.exit_code)
    assert "what FP8 costs in vLLM only vLLM can measure" in refused.output
    assert "serve: {precision: fp8}" in told.output
