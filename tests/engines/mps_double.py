"""A double of `nvidia-cuda-mps-control`, for machines without a GPU.

`-f` stays in the foreground and listens on a socket named `control` in CUDA_MPS_PIPE_DIRECTORY, as
the real one does; without options it sends each line of its input there, and fails where nobody
listens. It knows `get_server_list` and `quit`. Each start is noted in a file `starts` beside it,
with the variables that it saw. With a file `refuse` beside it, it does not come up.

It proves when a daemon is started, asked and stopped, and where. It proves nothing about CUDA: not
that MPS takes these variables, nor that anything is gained.
"""

import os
import socket
import sys
from pathlib import Path

BESIDE = Path(__file__).parent
PIPE = os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/nonexistent")
CONTROL = f"{PIPE}/control"


def serve():
    seen = {name: value for name, value in os.environ.items() if name.startswith("CUDA_")}
    with (BESIDE / "starts").open("a") as file:
        file.write(f"{os.getpid()} {seen}\n")
    if (BESIDE / "refuse").exists():
        sys.exit("no room for a daemon")
    Path(CONTROL).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(CONTROL)
        listening.listen()
        while True:
            client, _ = listening.accept()
            with client:
                if client.recv(1000).strip() == b"quit":
                    break
    Path(CONTROL).unlink()


def tell():
    for line in sys.stdin:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(CONTROL)
            except OSError:
                sys.exit("Cannot find MPS control daemon process")
            client.sendall(line.encode())
            client.recv(1)


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["-f"] else tell()
