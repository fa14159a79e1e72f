"""Helpers for the tests of quantising: small model files, a short yardstick, a spoilt model."""

import json
from pathlib import Path

import gguf
import numpy as np

from baseload.engines.quantising import converting
from baseload.engines.quantising.targets import TARGETS
from baseload.engines.quantising.tasks import TASKS, TEXT

SHORT_CHARACTERS = 2400
"""Of the text that ships: some 520 tokens, so a little more than a window."""


def names(folder):
    """Give the names of what is in a folder, in order."""
    return sorted(path.name for path in folder.iterdir())


def short_yardstick(folder):
    """Write the beginning of the text and a few of the tasks that ship; return their paths."""
    text, tasks = folder / "text.txt", folder / "tasks.json"
    text.write_text(TEXT.read_text(encoding="utf-8")[:SHORT_CHARACTERS], encoding="utf-8")
    tasks.write_text(json.dumps(json.loads(TASKS.read_text(encoding="utf-8"))[:5]))
    return {"text": text, "tasks": tasks}


def write_model(path, tensors):
    """Write a GGUF file with a little metadata and these tensors in FP32."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_string("general.name", "tiny ü")
    writer.add_array("tokenizer.ggml.tokens", ["a", "b", "\n"])
    writer.add_float32("llama.epsilon", 1e-5)
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def planned(source, to):
    """Plan one conversion."""
    return converting.plans(source, [TARGETS[to]])[to]


def converted(source, to, out):
    """Convert a file and return the result's path."""
    converting.convert(planned(source, to), out)
    return out


def values(path):
    """Return each tensor of a GGUF file: its type's name, and its values in FP32."""
    return {
        tensor.name: (
            tensor.tensor_type.name,
            gguf.quants.dequantize(tensor.data, tensor.tensor_type),
        )
        for tensor in gguf.GGUFReader(path).tensors
    }


def fields(path):
    """Return the metadata of a GGUF file, each pair as its bytes."""
    return {
        name: b"".join(part.tobytes() for part in field.parts)
        for name, field in gguf.GGUFReader(path).fields.items()
        if not name.startswith("GGUF.")
    }


def spoil(path: Path, channels_apart=32, times=256.0):
    """Give each block of weights an outlier, without changing what the model computes in FP32.

    Some channels are made smaller in a norm and larger by as much in the matrices that read them.
    By a power of two, so not a bit of the outcome changes; but the other weights of each block must
    now share a scale with one that is far larger. Large models come to be like this by training.
    """
    at = slice(0, None, channels_apart)
    for tensor in gguf.GGUFReader(path, "r+").tensors:
        if tensor.name.endswith(("attn_norm.weight", "ffn_norm.weight")):
            tensor.data[at] /= np.float32(times)
        elif tensor.name.endswith(
            ("attn_q.weight", "attn_k.weight", "attn_v.weight", "ffn_gate.weight", "ffn_up.weight")
        ):
            tensor.data[:, at] *= np.float32(times)
    return path
