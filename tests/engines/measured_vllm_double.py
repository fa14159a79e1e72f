"""A double of vLLM's server that truly reads: a bigram model of bytes, from a folder's safetensors.

What it gives a token depends on the weights that are there. INT8 is undone by the scales that were
written beside it; FP8 and BF16 are rounded here. So a folder that is rounded badly is one that this
predicts badly with, as a model would. What it does not prove: that vLLM takes these files, flags
and questions (they are written down as 0.24.0's sources have them), what INT8 or FP8 cost a real
model, whose activations are rounded, too, and any speed or memory. Told beside vLLM's own flags:

--misbehave WHAT[@DTYPE]: do that, if that is the type that is asked for. `die`: as vLLM does for lack of a
GPU's memory; `hang`: never listen; `stop`: die at the first question; `silent`: never answer one;
`bare`: tell no probabilities; `short`: one too few; `null`, `other`: no number, another token;
`cut`: cut a text into other tokens; `few`: answer fewer tokens than asked for.
"""

import argparse
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from safetensors_kit import read_safetensors

START = 256
EMBEDDING, MATRIX = "model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight"
E4M3_MAX, E4M3_BITS = 448.0, 3


def floats(values, scale=None):
    """Give FP32 of what is stored."""
    if values.dtype == np.uint16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32) * (1 if scale is None else scale)


def fp8(weights):
    """Round as E4M3 does, with one scale for all of them; its smallest numbers are left aside."""
    scale = np.abs(weights).max() / E4M3_MAX
    part, power = np.frexp(weights / scale)
    return np.ldexp(np.rint(part * 2 ** (E4M3_BITS + 1)), power - E4M3_BITS - 1) * scale


class Model:
    def __init__(self, asked):
        found = read_safetensors(Path(asked.model) / "model.safetensors")
        self.embedding = floats(found[EMBEDDING])
        matrix = floats(found[MATRIX], found.get(f"{MATRIX}_scale"))
        if asked.quantization == "fp8":
            matrix = fp8(matrix)
        elif asked.dtype in {"bfloat16", "auto"}:
            matrix = floats((matrix.view(np.uint32) >> 16).astype(np.uint16))
        self.matrix = matrix

    def logs(self, tokens):
        """Give the log-probability of each token but the first."""
        logits = (self.embedding[tokens[:-1]] @ self.matrix.T).astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return logs[np.arange(len(logs)), tokens[1:]].tolist()


def options():
    """Take vLLM's flags, all of which must be there; what is unknown ends it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--dtype", default="auto")  # BF16 is BF16; here nothing else is asked so.
    for name in ("model", "served-model-name", "host", "load-format", "generation-config"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("port", "max-model-len", "max-num-seqs"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--gpu-memory-utilization", type=float, required=True)
    for name in ("no-enable-prefix-caching", "disable-uvicorn-access-log"):
        parser.add_argument(f"--{name}", action="store_true", required=True)
    parser.add_argument("--quantization")
    parser.add_argument("--misbehave", default="")
    return parser.parse_args()


class Handler(BaseHTTPRequestHandler):
    model: Model
    asked: argparse.Namespace
    does: str

    def do_GET(self):
        paths = {"/health": {}, "/version": {"version": "0.24.0"}}
        self.answer(200 if self.path in paths else 404, paths.get(self.path, {}))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.startswith("/v1") and (
            self.headers["Authorization"] != f"Bearer {os.environ['VLLM_API_KEY']}"
        ):
            self.answer(401, {"error": "Unauthorized"})
        elif body["model"] != self.asked.served_model_name:
            self.answer(404, {"error": f"The model {body['model']} does not exist."})
        elif self.path == "/tokenize":
            tokens = [*body["prompt"].encode(), *[7] * (self.does == "cut")]
            self.answer(200, {"tokens": [START] * body["add_special_tokens"] + tokens})
        else:
            self.complete(body)

    def complete(self, body):
        if self.does == "stop":
            os._exit(3)
        if self.does == "silent":
            time.sleep(600)
        tokens, many = body["prompt"], body["max_tokens"]
        if len(tokens) + many > self.asked.max_model_len:
            self.answer(400, {"error": {"message": "This model's maximum context length is less"}})
            return
        choice = {"index": 0, "text": "a" * many, "finish_reason": "length"}
        if body.get("prompt_logprobs") == 0 and self.does != "bare":
            choice["prompt_logprobs"] = self.told(tokens)
        counted = many - (self.does == "few")
        usage = {"prompt_tokens": len(tokens), "completion_tokens": counted}
        self.answer(200, {"model": body["model"], "choices": [choice], "usage": usage})

    def told(self, tokens):
        """Tell of a prompt's tokens what vLLM does: nothing of the first, then an object each."""
        away = int(self.does == "other")
        told = [
            {str(token + away): {"logprob": log, "rank": 1, "decoded_token": "?"}}
            for token, log in zip(tokens[1:], self.model.logs(tokens), strict=True)
        ]
        if self.does == "null":
            told[-1] = {str(tokens[-1]): {"logprob": None, "rank": 1}}
        return [None, *told[self.does == "short" :]]

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 64

    def handle_error(self, request, client_address):
        """Say nothing of who has hung up, as vLLM does not."""


def say(line):
    os.write(1, f"{line}\n".encode())


def main():
    asked = options()
    what, _, part = asked.misbehave.partition("@")
    does = what if part in (asked.dtype, "") else ""
    say("INFO 11-26 10:00:00 [model.py:1] loading")
    if does == "die":
        say("(EngineCore pid=2) ERROR 11-26 10:00:00 [core.py:708] torch.OutOfMemoryError: CUDA "
            "out of memory. Tried to allocate 2.00 GiB.")  # fmt: skip
        sys.exit("RuntimeError: Engine core initialization failed. See root cause above.")
    if does == "hang":
        time.sleep(600)
    Handler.model, Handler.asked, Handler.does = Model(asked), asked, does
    say("INFO 11-26 10:00:00 [gpu_model_runner.py:1] Model loading took 1.50 GiB memory and 0.1 s")
    Server((asked.host, asked.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
