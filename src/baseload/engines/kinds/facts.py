"""What must be known of a model to start an engine for it: bytes, precision, KV cache, context.

Read from a folder as Hugging Face has them (`config.json` and the sizes of its `.safetensors`), or
from a GGUF file's header. What cannot be read is 0 or empty, and is never guessed: an engine is
then given fewer flags.
"""

import re
from pathlib import Path
from typing import Any

import msgspec

from baseload.engines.kinds import ggufmeta
from baseload.engines.weights import find_weights, formats
from baseload.engines.weights.pieces import PICKLES
from baseload.errors import EngineError

CONFIG_MAX_BYTES = 10_000_000
NUMBER_MAX = 1 << 30
"""Above every layer, head, width and context there is: what is larger, or negative, is no number
that anything may be reckoned with."""

BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0, "int4": 0.5}
"""Of one weight."""
_DTYPES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "float8_e4m3fn": "fp8"}
_HUB = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
_FOUR_BITS = {"awq", "gptq", "awq_marlin", "gptq_marlin", "mxfp4"}


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """One model. 0 and empty mean unknown."""

    path: str
    """A folder, a .gguf file, or a name that the engine looks up itself."""
    form: str = ""
    """`gguf`, `safetensors`, or empty."""
    weights_bytes: int = 0
    native: str = ""
    """Precision of its weights as they come."""
    layers: int = 0
    heads: int = 0
    kv_width: int = 0
    """Numbers in the KV cache for one token in one layer, keys and values together."""
    context_max: int = 0
    """What it was made for, in tokens."""

    def kv_bytes_token(self, kv: str) -> float:
        """Bytes of the KV cache for one token; 0 if that is not known."""
        width = {"fp8": 1.0, "q8_0": 34 / 32, "q4_0": 18 / 32}.get(kv, 2.0)  # ggml's block sizes.
        return self.layers * self.kv_width * width


def facts_of(model: str, *, may_fetch: bool, store: Path | None = None) -> Facts:
    """Read what there is to know of a model of the fleet file; `store` is the store of weights.

    With `may_fetch` a name of the form `org/name` that is no path is left to the engine. Raises
    EngineError with what is wrong and how to mend it.
    """
    path = Path(model).expanduser()
    if "/" in model and path.is_dir():
        return _folder(path)
    if may_fetch and not path.exists() and _HUB.fullmatch(model) and not model.endswith(".gguf"):
        return Facts(path=model)
    found = find_weights(model, store)
    return _folder(found) if found.is_dir() else _gguf(found)


def weights_bytes_of(model: str, store: Path | None = None) -> int | None:
    """Give how large a model's weights are; None if that is not known, or anything is wrong."""
    try:
        return facts_of(model, may_fetch=True, store=store).weights_bytes or None
    except EngineError:
        return None  # Its own start says what is wrong with it.


def _folder(path: Path) -> Facts:
    file = path / "config.json"
    try:
        with file.open("rb") as opened:
            data = opened.read(CONFIG_MAX_BYTES)
        config = msgspec.json.decode(data, type=dict[str, Any])
        weights_bytes = _weights_bytes(path)
    except OSError as error:
        raise EngineError(
            f"cannot read {file}: {error.strerror}: is it a model's folder?"
        ) from None
    except msgspec.DecodeError as error:
        raise EngineError(f"{file} is not a model's configuration: {error}") from None
    try:
        return _shaped(str(path), config, weights_bytes)
    except (AttributeError, TypeError, ValueError, KeyError, OverflowError) as error:
        raise EngineError(f"{file} has something that is no number: {error}") from None


def _weights_bytes(path: Path) -> int:
    """Give how large a folder's safetensors are; raises EngineError for what no engine may get.

    A folder without weights may be one for an engine that makes them up; but with pickles alone an
    engine would run them.
    """
    files = sorted(path.glob("*.safetensors"))
    for file in files:
        if (wrong := formats.fault(file)) is not None:
            raise EngineError(f"the model file {file} {wrong}; pull or copy it again")
    pickles = () if files else (each for each in path.iterdir() if each.name.endswith(PICKLES))
    if (pickle := next(iter(pickles), None)) is not None:
        raise EngineError(
            f"{pickle} is a pickle, a program that runs when it is loaded: it is given to no "
            "engine; look for the model in safetensors or GGUF"
        )
    return sum(file.stat().st_size for file in files)


def _shaped(path: str, config: dict[str, Any], weights_bytes: int) -> Facts:
    text = config.get("text_config") or config  # Models that also see have it one level down.

    def number(name: str) -> int:
        return _believed(int(text.get(name) or 0))

    heads, hidden = number("num_attention_heads"), number("hidden_size")
    kv_heads = number("num_key_value_heads") or heads
    width = 2 * kv_heads * (number("head_dim") or (hidden // heads if heads else 0))
    if number("kv_lora_rank"):  # Latent attention: one vector for all heads, and its position.
        width = number("kv_lora_rank") + number("qk_rope_head_dim")
    return Facts(
        path=path,
        form="safetensors",
        weights_bytes=weights_bytes,
        native=_native(config, text),
        layers=number("num_hidden_layers"),
        heads=heads,
        kv_width=width,
        context_max=number("max_position_embeddings"),
    )


def _believed(value: int) -> int:
    return value if 0 <= value <= NUMBER_MAX else 0


def _native(config: dict[str, Any], text: dict[str, Any]) -> str:
    quantised = config.get("quantization_config") or text.get("quantization_config") or {}
    method = str(quantised.get("quant_method") or "").lower()
    if method in _FOUR_BITS:
        return "int8" if quantised.get("bits") == 8 else "int4"
    if method == "fp8":
        return "fp8"
    if method == "compressed-tensors":
        groups = quantised.get("config_groups") or {}
        weights = next((one.get("weights") or {} for one in groups.values()), {})
        kind = f"{weights.get('type')}{weights.get('num_bits')}"
        return {"int8": "int8", "float8": "fp8", "int4": "int4"}.get(kind, "")
    if method:
        return ""
    dtype = text.get("torch_dtype") or text.get("dtype") or config.get("torch_dtype")
    return _DTYPES.get(str(dtype), "")


def _gguf(path: Path) -> Facts:
    try:
        meta, weights_bytes = ggufmeta.read(path), path.stat().st_size
    except OSError as error:
        raise EngineError(f"cannot read {path}: {error.strerror}") from None
    kind = str(meta.get("general.architecture", ""))

    def number(name: str) -> int:
        value = meta.get(f"{kind}.{name}", 0)
        return _believed(value) if isinstance(value, int) else 0

    heads = number("attention.head_count")
    head = number("embedding_length") // heads if heads else 0
    key = number("attention.key_length") or head
    value = number("attention.value_length") or head
    return Facts(
        path=str(path),
        form="gguf",
        weights_bytes=weights_bytes,
        layers=number("block_count"),
        heads=heads,
        kv_width=(number("attention.head_count_kv") or heads) * (key + value),
        context_max=number("context_length"),
    )
