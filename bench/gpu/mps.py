"""What two processes gain on one GPU when they share it by MPS instead of taking turns.

    python3 bench/gpu/mps.py [--json FILE] [--seconds S] [--gpu N]

Needs torch and NVIDIA's `nvidia-cuda-mps-control`, nothing of this project, no network, and less
than two minutes. Each process repeats steps like those of a model that writes for few callers: a
chain of small kernels, or of weights read from memory, or, of the last pair, one process reads a
long prompt meanwhile. Steps are replayed from CUDA graphs, as engines do, so that the GPU sets the
pace and not the launching of kernels from Python. They are measured alone, both at once taking
turns, both at once under MPS, and under MPS with half of the threads each. One MPS daemon is
started, in a folder of its own, and ended. No setting of the GPU is changed: no clocks, no compute
mode, no MIG, no power.

It says how many steps each did, and says nothing about a real engine's calls. Exit code 0:
measured; 2: it cannot be measured here, with the reason in one line.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PROGRAM = "nvidia-cuda-mps-control"
READY_MAX_S = 60.0
START_MAX_S = 10.0
LAYERS = 32
SHAPES = {  # rows of x, width of the weights, layers
    "small kernels": (8, 1024, LAYERS),
    "memory": (4, 4096, LAYERS),
    "prompt": (4096, 4096, 4),
}
PAIRS = {
    "two that write, small kernels": ("small kernels", "small kernels"),
    "two that write, bound by memory": ("memory", "memory"),
    "one writes, one reads a prompt": ("memory", "prompt"),
}
STEPS_AHEAD = 16
"""Steps between two looks at the clock, so that the GPU always has work in its queue."""
STEPS_BEFORE = 3
"""Steps before one is captured: libraries allocate and load in the first ones, which no capture
allows; three on a stream other than the default one are what PyTorch asks for."""


def child():
    """Take orders from standard input: a shape and a time; answer with steps a second."""
    import torch  # noqa: PLC0415 - only where there is a GPU

    weights = {}
    for name, (_, width, layers) in SHAPES.items():
        size = (layers, width, width)
        weights[name] = torch.randn(size, device="cuda", dtype=torch.float16) / width**0.5
    inputs = {
        name: torch.randn((rows, width), device="cuda", dtype=torch.float16)
        for name, (rows, width, _) in SHAPES.items()
    }

    def step(name):
        x = inputs[name]
        for weight in weights[name]:
            x = torch.relu(x @ weight)
        return x

    graphs = {name: captured(torch, name, step) for name in SHAPES}
    print("ready", torch.cuda.get_device_name(), flush=True)
    for line in sys.stdin:
        name, seconds = line.rsplit(maxsplit=1)
        done, ends_at = 0, time.perf_counter() + float(seconds)
        began_at = time.perf_counter()
        while time.perf_counter() < ends_at:
            for _ in range(1 if name == "prompt" else STEPS_AHEAD):
                graphs[name].replay()
                done += 1
            torch.cuda.synchronize()
        print(done / (time.perf_counter() - began_at), flush=True)


def captured(torch, name, step):
    """Give a CUDA graph of one step, which has been seen to compute something."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())  # for weights and inputs
    with torch.cuda.stream(side):
        for _ in range(STEPS_BEFORE):
            step(name)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, stream=side):
            result = step(name)
    except RuntimeError as error:
        give_up(f"a step of {name!r} cannot be captured as a CUDA graph: {error}")
    result.zero_()
    graph.replay()
    torch.cuda.synchronize()
    if not result.any():
        give_up(f"the CUDA graph of a step of {name!r} computes nothing")
    return graph


class Worker:
    """One process on the GPU."""

    def __init__(self, variables):
        command = [sys.executable, __file__, "--child"]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | variables,
        )
        self._overdue = threading.Timer(READY_MAX_S, self.process.kill)
        self._overdue.start()

    def ready(self):
        """Wait until it is on the GPU; give the GPU's name."""
        line = self.process.stdout.readline()
        self._overdue.cancel()
        if not line.startswith("ready "):
            give_up("a process did not come up on the GPU; its words are above")
        return line.removeprefix("ready ").strip()

    def ask(self, shape, seconds):
        """Have it repeat steps of a shape; `told` gives how many a second."""
        self.process.stdin.write(f"{shape} {seconds}\n")
        self.process.stdin.flush()

    def told(self):
        """Wait for the answer to the last question."""
        return float(self.process.stdout.readline() or "nan")

    def end(self):
        """See it gone."""
        self._overdue.cancel()
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def give_up(why):
    print(f"not measured: {why}", file=sys.stderr)
    sys.exit(2)


@contextlib.contextmanager
def daemon(folder, gpu):
    """Run an MPS daemon of our own; give the variables of its clients."""
    places = {
        "CUDA_MPS_PIPE_DIRECTORY": f"{folder}/pipe",
        "CUDA_MPS_LOG_DIRECTORY": f"{folder}/log",
    }
    for place in places.values():
        Path(place).mkdir()
    env = os.environ | places
    with subprocess.Popen(
        [PROGRAM, "-f"],
        env=env | {"CUDA_VISIBLE_DEVICES": gpu},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            ends_at = time.monotonic() + START_MAX_S
            while not tell("get_server_list", env):
                if process.poll() is not None or time.monotonic() > ends_at:
                    give_up("the MPS daemon did not come up")
                time.sleep(0.1)
            yield places
        finally:
            tell("quit", env)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def tell(order, env):
    try:
        done = subprocess.run(
            [PROGRAM],
            input=f"{order}\n",
            text=True,
            env=env,
            capture_output=True,
            timeout=10,
            check=False,
        )
    except subprocess.TimeoutExpired:  # Who hangs is ended by its process.
        return False
    return done.returncode == 0


def measured(variables, seconds):
    """Give steps a second of each process of each pair, one variables' mapping a process."""
    workers = [Worker(one) for one in variables]
    try:
        names = [worker.ready() for worker in workers]
        rates = {}
        for pair, shapes in PAIRS.items():
            if len(workers) == 1:  # alone: one after the other
                rates[pair] = []
                for shape in shapes:
                    workers[0].ask(shape, seconds)
                    rates[pair].append(workers[0].told())
                continue
            for worker, shape in zip(workers, shapes, strict=True):
                worker.ask(shape, seconds)
            rates[pair] = [worker.told() for worker in workers]
        return names[0], rates
    finally:
        for worker in workers:
            worker.end()


def main():
    parser = argparse.ArgumentParser(description="What two processes gain on one GPU by MPS.")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="of each reading")
    parser.add_argument("--gpu", default="0", metavar="N", help="number or UUID")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child()
        return 0
    if shutil.which(PROGRAM) is None:
        give_up(f"{PROGRAM} is not installed; it comes with NVIDIA's driver")
    try:
        import torch  # noqa: PLC0415
    except ImportError:
        give_up("torch is not installed")
    if not torch.cuda.is_available():
        give_up("torch sees no GPU")
    seen = {"CUDA_VISIBLE_DEVICES": args.gpu}
    nobody = {"CUDA_MPS_PIPE_DIRECTORY": "/nonexistent"}  # nobody else's daemon either
    ways = {}
    name, ways["alone"] = measured([seen | nobody], args.seconds)
    _, ways["taking turns"] = measured([seen | nobody] * 2, args.seconds)
    with tempfile.TemporaryDirectory(prefix="mps") as folder, daemon(folder, args.gpu) as places:
        client = places | {"CUDA_VISIBLE_DEVICES": "0"}  # the daemon sees one GPU, which is its 0
        half = client | {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "50"}
        _, ways["MPS"] = measured([client] * 2, args.seconds)
        _, ways["MPS, half each"] = measured([half] * 2, args.seconds)
    rows = []
    for pair in PAIRS:
        for way, rates in ways.items():
            parts = [rate / one for rate, one in zip(rates[pair], ways["alone"][pair], strict=True)]
            whole = sum(parts) if way != "alone" else 1.0
            rows.append({"pair": pair, "way": way, "steps_s": rates[pair], "gpus_worth": whole})
            steps = ", ".join(f"{rate:8.1f}" for rate in rates[pair])
            print(f"{pair:34}  {way:15}  {steps} steps/s   {whole:4.2f} GPUs' worth")
    if args.json:
        result = {"gpu": name, "torch": torch.__version__, "cuda": torch.version.cuda, "rows": rows}
        args.json.write_text(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
