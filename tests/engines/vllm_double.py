"""A double of `vllm serve`: takes its flags, says its lines, and answers its paths.

It loads nothing and computes nothing. What it does not prove: that vLLM takes the values of these
flags, how long it loads, what it really prints (its lines here are those of vLLM 0.24.0, written down),
and how its cores end. Its behaviour is told by variables:

DOUBLE_OOM_ABOVE: dies for lack of a GPU's memory if asked for a larger part;
DOUBLE_KV_ABOVE: refuses a longer context, and says that this one would fit;
DOUBLE_DEAF: a process that it starts outlives it and takes no SIGTERM; its number goes to this file;
DOUBLE_ONCE_TAKEN: as if its port were taken, as long as this file is not there; then makes it;
DOUBLE_SAYS: prints this line when it is asked for `/says`;
DOUBLE_HANGS: while this file is there, no chat is answered, and health is; DOUBLE_WORKS: tokens are
counted all the same, as if others had them.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CORE = "(EngineCore_DP0 pid=271) "
STAMP = "11-26 10:00:00 [core.py:708] "


def say(line):
    """Print a line at once."""
    os.write(1, f"{line}\n".encode())


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("serve", choices=["serve"])
    parser.add_argument("model")
    parser.add_argument("--served-model-name", nargs="+", required=True)
    for name in ("host", "kv-cache-dtype", "dtype", "quantization", "speculative-config"):
        parser.add_argument(f"--{name}")
    for name in ("port", "tensor-parallel-size", "pipeline-parallel-size", "max-num-seqs"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("max-model-len", "shutdown-timeout"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--gpu-memory-utilization", type=float, required=True)
    parser.add_argument("--enable-prefix-caching", action=argparse.BooleanOptionalAction)
    return parser.parse_args()


def die(kind: str, text: str) -> None:
    """End as vLLM does: the cause from the core, then its echo from the server."""
    say(f"{CORE}ERROR {STAMP}EngineCore failed to start.")
    say(f"{CORE}ERROR {STAMP}Traceback (most recent call last):")
    say(f"{CORE}ERROR {STAMP}{kind}: {text}")
    say("(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above.")
    sys.exit(1)


def misbehave(asked: argparse.Namespace) -> None:
    """Do what the variables say."""
    if asked.gpu_memory_utilization > float(os.environ.get("DOUBLE_OOM_ABOVE", "1")):
        die("torch.OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.00 GiB.")
    longest = int(os.environ.get("DOUBLE_KV_ABOVE", "0"))
    if longest and asked.max_model_len > longest:
        die("ValueError", "To serve at least one request (4.00 GiB KV cache is needed, which is "
            "larger than the available KV cache memory (0.65 GiB). Based on the available memory, "
            f"the estimated maximum model length is {longest}.")  # fmt: skip
    file = os.environ.get("DOUBLE_ONCE_TAKEN")
    if file and not Path(file).exists():
        Path(file).touch()
        die("OSError", "[Errno 98] Address already in use")
    if file := os.environ.get("DOUBLE_DEAF"):
        script = (
            "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        )
        core = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
        Path(file).write_text(str(core.pid))


class Handler(BaseHTTPRequestHandler):
    names: tuple[str, ...] = ()
    tokens = 0

    def do_GET(self):
        paths = {"/health": {}, "/version": {"version": "0.24.0"}}
        if self.path == "/says":
            say(os.environ["DOUBLE_SAYS"])
        if self.path == "/metrics":
            Handler.tokens += "DOUBLE_WORKS" in os.environ
            page = f'vllm:generation_tokens_total{{engine="0"}} {Handler.tokens}.0\n'
            self.send(200, page.encode())
            return
        self.answer(200 if self.path in paths else 404, paths.get(self.path, {}))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = os.environ.get("VLLM_API_KEY")
        if key and self.headers["Authorization"] != f"Bearer {key}":
            self.answer(401, {"error": "Unauthorized"})
        elif body["model"] not in self.names:
            self.answer(404, {"error": f"The model {body['model']} does not exist."})
        else:
            while Path(os.environ.get("DOUBLE_HANGS") or "-").exists():
                time.sleep(0.05)
            Handler.tokens += 1
            choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}}
            usage = {"completion_tokens": 1}
            self.answer(200, {"model": self.names[0], "choices": [choice], "usage": usage})

    def answer(self, status, body):
        self.send(status, json.dumps(body).encode())

    def send(self, status, data):
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def main() -> None:
    asked = options()
    visible = os.environ["CUDA_VISIBLE_DEVICES"]
    say(f"(APIServer pid=1) INFO {STAMP}double on GPU {visible}: {json.dumps(vars(asked))}")
    misbehave(asked)
    Handler.names = asked.served_model_name
    say(f"{CORE}INFO {STAMP}GPU KV cache size: 123,456 tokens")
    server = ThreadingHTTPServer((asked.host, asked.port), Handler)
    server.serve_forever()


if __name__ == "__main__":
    main()
