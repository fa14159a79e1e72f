"""Helpers for tests of safetensors: written and read by hand, so that no library of ours judges."""

import json

import numpy as np

DTYPES = {"BF16": np.uint16, "F16": np.float16, "F32": np.float32, "I8": np.int8}


def bf16(weights):
    """Cut weights to BF16, as the bits that it is: numpy has no such type."""
    return (weights.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def write_safetensors(path, tensors):
    """Write arrays by name; an array of uint16 is BF16."""
    header, data = {}, b""
    for name, values in tensors.items():
        dtype = next(dtype for dtype, kind in DTYPES.items() if values.dtype == kind)
        end = len(data) + values.nbytes
        header[name] = {"dtype": dtype, "shape": values.shape, "data_offsets": [len(data), end]}
        data += values.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def read_safetensors(path):
    """Read a file's arrays by name; BF16 comes as uint16."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, data = json.loads(data[8 : 8 + length]), data[8 + length :]
    return {
        name: np.frombuffer(data[slice(*each["data_offsets"])], DTYPES[each["dtype"]]).reshape(
            each["shape"]
        )
        for name, each in header.items()
        if name != "__metadata__"
    }
