"""A real PostgreSQL for tests: its own folder, its own port, gone afterwards."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.needs import give_up

BIN = Path("/usr/lib/postgresql/15/bin")


@contextmanager
def postgres() -> Iterator[str]:
    """Start a server; give the URL of an empty database in it."""
    if not (BIN / "initdb").exists():
        give_up("postgresql")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # Not pytest's own folder: nobody but root may enter that, and the server does not run as root.
    with tempfile.TemporaryDirectory(prefix="baseload-postgres-") as folder:
        as_user = []
        if os.getuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
            as_user = ["runuser", "-u", "postgres", "--"]

        def do(program: str, *words: str) -> None:
            command = [*as_user, str(BIN / program), "-D", f"{folder}/data", *words]
            subprocess.run(command, check=True, capture_output=True, cwd="/")

        do("initdb", "-A", "trust", "-U", "postgres", "--no-sync")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        do("pg_ctl", "-o", options, "-l", f"{folder}/log", "-w", "start")
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            do("pg_ctl", "-m", "immediate", "-w", "stop")
