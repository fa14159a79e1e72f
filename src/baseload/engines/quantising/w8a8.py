"""How does a folder of safetensors become INT8 for vLLM, weights and activations?

Each row of a matrix gets one scale, its largest weight over 127; activations are rounded by vLLM
while it computes, with a scale for each token. That is the scheme that `compressed-tensors` calls
`int-quantized`, and the config says so in its words. The output layer, embeddings, norms and
routers of experts are copied. Only whole numbers and scales are written, so numpy does it, row by
row, without a GPU.

What this does to a model's answers only vLLM can tell, and `vllm.job` asks it: here errors of
weights are reckoned, not of answers. Outliers of activations, which SmoothQuant and GPTQ of
`llmcompressor` treat, are left.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod, sqrt
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from baseload.engines.weights import safetensors
from baseload.errors import EngineError

CHUNK_WEIGHTS = 1 << 22
LARGEST = 127
SPARE_BYTES = 64_000_000
BYTES = {"BF16": 2, "F16": 2, "F32": 4}
DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
"""What vLLM calls them."""
COPIED = {".json", ".txt", ".model", ".jinja", ".md"}
"""Endings of other files that a model needs; nothing that could hold code or pickles."""

INDEX = "model.safetensors.index.json"
NO_LINEAR = ("embed", "norm", "lm_head", ".gate.", "_gate.", "router")
"""Parts of names of matrices that are copied. `gate` alone, and Qwen's `shared_expert_gate`, choose
experts; `gate_proj` is a layer like others."""

SCHEME = {
    "quant_method": "compressed-tensors",
    "format": "int-quantized",
    "ignore": ["re:.*lm_head", "re:.*[._]gate$", "re:.*router"],
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {
                "num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel",
                "dynamic": False,
            },
            "input_activations": {
                "num_bits": 8, "type": "int", "symmetric": True, "strategy": "token",
                "dynamic": True,
            },
        }
    },
}  # fmt: skip
"""What vLLM 0.24 has been seen to take for a model of such a shape, with made-up weights."""


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What was written, and how far its weights are from those they stand for."""

    published: str
    """Where it is."""
    matrices: int
    size_bytes: int
    source_bytes: int
    error: float
    """Root mean square of all rounded matrices' errors over that of their weights."""
    worst_error: float
    worst: str
    """The matrix with the largest such error."""


class _Tensor(msgspec.Struct, frozen=True):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]

    @property
    def size_bytes(self) -> int:
        return self.data_offsets[1] - self.data_offsets[0]


@dataclass(frozen=True, slots=True)
class Source:
    """A folder of safetensors that has been looked at."""

    folder: Path
    config: dict[str, Any]
    shards: dict[Path, tuple[dict[str, _Tensor], int]]
    """Each file's tensors, and where their bytes begin."""

    @property
    def size_bytes(self) -> int:
        """Of its files of weights."""
        return sum(path.stat().st_size for path in self.shards)

    @property
    def kinds(self) -> str:
        """Say of which types it is made, the most frequent first."""
        counts = Counter(tensor.dtype for _, tensor in self._tensors())
        return ", ".join(f"{dtype} x {count}" for dtype, count in counts.most_common())

    @property
    def dtype(self) -> str:
        """The type that most weights of its matrices are in, by vLLM's name."""
        weights: Counter[str] = Counter()
        for name, tensor in self._tensors():
            if _rounds(name, tensor):
                weights[tensor.dtype] += prod(tensor.shape)
        return DTYPES[weights.most_common(1)[0][0]]

    def bytes_with(self, matrix_bytes: int, other_bytes: int) -> int:
        """Reckon its size with so many bytes for each weight of matrices, and of what else."""
        total = 0
        for name, tensor in self._tensors():
            each = matrix_bytes if _rounds(name, tensor) else other_bytes
            is_weights = tensor.dtype in BYTES
            total += prod(tensor.shape) * each if is_weights else tensor.size_bytes
        return total

    def _tensors(self) -> Iterator[tuple[str, _Tensor]]:
        for tensors, _ in self.shards.values():
            yield from tensors.items()


def look(source: Path) -> Source:
    """Look at a model's folder; raises EngineError if it is none that can be rounded."""
    config = _config(source)
    shards = {path: _header(path) for path in _files(source)}
    if not any(_rounds(*pair) for tensors, _ in shards.values() for pair in tensors.items()):
        raise EngineError(f"no .safetensors in {source} hold a matrix that could be rounded")
    return Source(source, config, shards)


def check_room(source: Source, where: Path) -> None:
    """Raise EngineError if the disk of a folder has no room for what would be written."""
    needed = source.size_bytes
    if shutil.disk_usage(where).free < needed + SPARE_BYTES:
        raise EngineError(f"{where} has no room for up to {needed / 1e9:.2f} GB")


def make(
    source: Source, folder: Path, on_part: Callable[[float], None] = lambda _: None
) -> Written:
    """Write the model to a new folder, file by file; what fails leaves a part of it.

    Raises EngineError if a weight is no finite number.
    """
    done, total = 0, source.size_bytes

    def hear(size_bytes: int) -> None:
        nonlocal done
        done += size_bytes
        on_part(done / total)

    folder.mkdir()
    errors: dict[str, tuple[float, float]] = {}
    for path, found in source.shards.items():
        errors |= _shard(path, found, folder / path.name, hear)
    _rest(source.folder, folder, source.config, source.shards)
    worst = max(errors, key=lambda name: _part(*errors[name]))
    return Written(
        published=str(folder),
        matrices=len(errors),
        size_bytes=sum(path.stat().st_size for path in folder.glob("*.safetensors")),
        source_bytes=source.size_bytes,
        error=_part(sum(lost for lost, _ in errors.values()), sum(of for _, of in errors.values())),
        worst_error=_part(*errors[worst]),
        worst=worst,
    )


def _config(source: Path) -> dict[str, Any]:
    try:
        config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EngineError(f"{source} has no config.json that can be read: {error}") from error
    if not isinstance(config, dict):
        raise EngineError(f"the config.json in {source} is no object")
    if "quantization_config" in config:
        raise EngineError(f"{source} is quantised already; give the model that it was made of")
    return config


def _files(source: Path) -> list[Path]:
    """Give the files of weights: those that the index names; without one, all that are there."""
    index = source / INDEX
    if not index.exists():
        return sorted(source.glob("*.safetensors"))
    try:
        names = sorted(safetensors.shards_of(index))
    except (OSError, ValueError) as error:
        raise EngineError(f"{index} cannot be read: {error}") from error
    if not names:
        raise EngineError(f"{index} names no file")
    for name in names:
        if Path(name).name != name:
            raise EngineError(f"{index} names {name!r:.80}, which is no file beside it")
        if not (source / name).is_file():
            raise EngineError(f"{source} lacks {name}, which its index names; pull it again")
    return [source / name for name in names]


def _header(path: Path) -> tuple[dict[str, _Tensor], int]:
    """Return a file's tensors, and where their bytes begin."""
    if (wrong := safetensors.fault(path)) is not None:
        raise EngineError(f"{path} {wrong}")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        pairs = msgspec.json.decode(file.read(length), type=dict[str, msgspec.Raw])
    pairs.pop("__metadata__", None)
    found = {name: msgspec.json.decode(raw, type=_Tensor) for name, raw in pairs.items()}
    for name, tensor in found.items():
        if tensor.dtype not in BYTES and _rounds(name, tensor):
            raise EngineError(f"{name} in {path} is in {tensor.dtype}: only from BF16, FP16, FP32")
    return found, 8 + length


def _rounds(name: str, tensor: _Tensor) -> bool:
    is_matrix = len(tensor.shape) == 2 and prod(tensor.shape) > 0 and name.endswith(".weight")
    return is_matrix and not any(part in name for part in NO_LINEAR)


def _parts(name: str, tensor: _Tensor) -> dict[str, tuple[str, list[int], int]]:
    """Give what a tensor becomes, by name: type, shape and bytes of each."""
    if not _rounds(name, tensor):
        return {name: (tensor.dtype, tensor.shape, tensor.size_bytes)}
    height = tensor.shape[0]
    return {
        name: ("I8", tensor.shape, prod(tensor.shape)),
        f"{name}_scale": ("F32", [height, 1], 4 * height),
    }


def _shard(
    path: Path,
    found: tuple[dict[str, _Tensor], int],
    out: Path,
    hear: Callable[[int], None],
) -> dict[str, tuple[float, float]]:
    """Write one file; return what `_round` does for each rounded matrix."""
    tensors, begin = found
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, tensor in tensors.items():
        for part, (dtype, shape, size_bytes) in _parts(name, tensor).items():
            offsets = [at, at + size_bytes]
            header[part] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
            at += size_bytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    errors = {}
    with path.open("rb") as source, out.open("xb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, tensor in tensors.items():
            source.seek(begin + tensor.data_offsets[0])
            if _rounds(name, tensor):
                errors[name] = _round(name, tensor, source, file, hear)
            else:
                for size_bytes in _sizes(tensor.size_bytes, CHUNK_WEIGHTS):
                    file.write(source.read(size_bytes))
                    hear(size_bytes)
    return errors


def _round(
    name: str, tensor: _Tensor, source: BinaryIO, file: BinaryIO, hear: Callable[[int], None]
) -> tuple[float, float]:
    """Write a matrix and its scales; return the sums of squares, of errors and weights."""
    import numpy as np  # noqa: PLC0415 - only this needs it

    height, width = tensor.shape
    scales, lost, of = [], 0.0, 0.0
    for rows in _sizes(height, max(1, CHUNK_WEIGHTS // width)):
        data = source.read(rows * width * BYTES[tensor.dtype])
        weights = _floats(data, tensor.dtype).reshape(rows, width)
        largest = np.abs(weights).max(axis=1, keepdims=True)
        if not np.isfinite(largest).all():
            raise EngineError(f"{name} holds a weight that is no finite number")
        scale = (largest / LARGEST).astype(np.float32)
        scale[scale == 0] = 1  # Of zeros, and of what is too small for a scale.
        whole = np.clip(np.rint(weights / scale), -LARGEST, LARGEST).astype(np.int8)
        file.write(whole.tobytes())
        scales.append(scale)
        lost += float(np.square(whole * scale - weights, dtype=np.float64).sum())
        of += float(np.square(weights, dtype=np.float64).sum())
        hear(len(data))
    file.write(np.concatenate(scales).tobytes())
    return lost, of


def _floats(data: bytes, dtype: str) -> Any:
    import numpy as np  # noqa: PLC0415

    if dtype == "BF16":  # The upper half of a float's bits.
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(data, "<f2" if dtype == "F16" else "<f4").astype(np.float32)


def _rest(source: Path, folder: Path, config: dict[str, Any], shards: dict[Path, Any]) -> None:
    """Write config and index, and copy what else belongs to the model."""
    for path in source.iterdir():
        if path.is_file() and path.suffix in COPIED and path.name not in {"config.json", INDEX}:
            shutil.copyfile(path, folder / path.name)
    text = json.dumps(config | {"quantization_config": SCHEME}, indent=2)
    (folder / "config.json").write_text(text, encoding="utf-8")
    if (source / INDEX).exists():
        places, size_bytes = {}, 0
        for path, (tensors, _) in shards.items():
            for name, tensor in tensors.items():
                for part, (_, _, part_bytes) in _parts(name, tensor).items():
                    places[part] = path.name
                    size_bytes += part_bytes
        index = {"metadata": {"total_size": size_bytes}, "weight_map": places}
        (folder / INDEX).write_text(json.dumps(index, indent=2), encoding="utf-8")


def _sizes(total: int, most: int) -> Iterator[int]:
    """Cut a total into parts of at most so much."""
    for at in range(0, total, most):
        yield min(most, total - at)


def _part(lost: float, of: float) -> float:
    return sqrt(lost / of) if of else 0.0
