"""Which models come along, and which of them is meant by a name?

`known.toml` beside this file has the fields of each model's own `config.json` that sizes follow
from, with where they were read and when; one reader serves these and files of a user. Names are
matched without regard to case, organisation and endings that do not change the shape
(`-Instruct`); endings that name a precision (`-FP8`, `-NVFP4`) change only the native one.

Not here: reading a config's fields (`huggingface`).
"""

import re
import tomllib
from difflib import get_close_matches
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from baseload.plan.models.huggingface import ModelError, native_precision, shape_from_config
from baseload.plan.models.shape import Shape

FILE = "known.toml"
NEAREST = 4
"""Names that are offered in place of an unknown one."""

PRECISIONS = {
    "bf16": "bf16", "fp16": "bf16", "fp32": "fp32",
    "fp8": "fp8", "fp8-dynamic": "fp8", "w8a8-fp8": "fp8",
    "int8": "int8", "gptq-int8": "int8", "w8a8": "int8", "8bit": "int8",
    "int4": "int4", "awq": "int4", "gptq": "int4", "gptq-int4": "int4", "4bit": "int4",
    "w4a16": "int4",
    "fp4": "fp4", "mxfp4": "fp4", "nvfp4": "fp4", "nvfp4-v2": "fp4",
}  # fmt: skip
"""Endings that name a precision."""
IDLE = (
    "instruct", "chat", "it", "hf", "base", "thinking", "preview", "exp", "terminus", "latest",
    "zero", "v0.1", "v0.3", "0324", "0528", "0905", "2507", "1m",
)  # fmt: skip
"""Endings that change nothing about sizes."""


class Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of the file: names of one shape, and the config that it is read from."""

    names: tuple[str, ...]
    source: str
    seen: str
    verified: bool
    config: dict[str, Any]
    params_b: float
    """What the publisher says there is, in thousands of millions: shapes must agree with it."""
    note: str = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    model: tuple[Known, ...]


@cache
def known() -> tuple[Known, ...]:
    """Give the models that come with the program."""
    text = resources.files("baseload.plan.models").joinpath(FILE).read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), _File).model


def find(name: str) -> Shape:
    """Give the shape of a model by its name, or by the path of a config.json or its folder.

    Raises ModelError with the nearest names if there is none, and for a file that cannot be read.
    """
    path = Path(name)
    if name.endswith(".json") or path.is_dir():
        return from_file(path)
    found, precision = _look_up(name)
    if found is None:
        near = get_close_matches(_plain(name), list(_index()), NEAREST, 0.5)
        names = ", ".join(_index()[each][0] for each in near)
        hint = f"; near it: {names}" if names else ""
        raise ModelError(f"no model is known as `{name}`{hint} (a path to a config.json does too)")
    title, row = found
    shape = shape_from_config(row.config, title, FILE)
    if precision is None or precision == shape.native:
        return shape
    return msgspec.structs.replace(shape, native=precision, native_scales=None)


def from_file(path: Path) -> Shape:
    """Give the shape of a `config.json`, or of the folder that has one.

    Beside it, NVIDIA's `hf_quant_config.json` is heeded. Raises ModelError if it cannot be read.
    """
    file = path / "config.json" if path.is_dir() else path
    config = _read(file)
    title = str(config.get("_name_or_path") or file.resolve().parent.name)
    shape = shape_from_config(config, title, str(file))
    beside = file.with_name("hf_quant_config.json")
    if not beside.is_file():
        return shape
    quantised = _read(beside).get("quantization") or {}
    native, scales = native_precision({"quantization_config": quantised})
    return msgspec.structs.replace(shape, native=native, native_scales=scales)


def _read(file: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise ModelError(f"{file}: {error.strerror or error}") from error
    except msgspec.DecodeError as error:
        raise ModelError(f"{file}: {error}") from error


@cache
def _index() -> dict[str, tuple[str, Known]]:
    """Give names in their plain form, with how they are written and the row."""
    return {_plain(name): (name, row) for row in known() for name in row.names}


def _plain(name: str) -> str:
    """Strip a name of organisation, case and kinds of dashes."""
    return re.sub(r"[\s_:]+", "-", name.strip().rsplit("/", 1)[-1].lower())


def _look_up(name: str) -> tuple[tuple[str, Known] | None, str | None]:
    """Find the longest known name that an ending or more may follow; say which precision it had."""
    plain, precision = _plain(name), None
    while (found := _index().get(plain)) is None:
        if ending := _ending(plain, tuple(PRECISIONS)):
            precision = precision or PRECISIONS[ending]
        elif not (ending := _ending(plain, IDLE)):
            return None, None
        plain = plain[: -len(ending) - 1]
    return found, precision


def _ending(plain: str, endings: tuple[str, ...]) -> str:
    fitting = [ending for ending in endings if plain.endswith(f"-{ending}")]
    return max(fitting, key=len, default="")
