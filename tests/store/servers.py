"""A real PostgreSQL for tests: on a socket of its own, in a folder of its own, killed at the end."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg

from tests.needs import give_up

USER = "postgres"
PORT = 5432
"""Part of the socket's name; nothing listens on a port."""
SETTINGS = ("fsync=off", "listen_addresses=", "max_connections=40")


def _bin() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        give_up("postgresql")
    return found[-1].parent


class Postgres:
    """One server. It may be killed and started again; what was committed stays."""

    def __init__(self) -> None:
        self._bin = _bin()
        self._folder = Path(tempfile.mkdtemp(prefix="baseload-pg-"))
        self._names = 0
        if os.geteuid() == 0:  # It refuses to run as root.
            shutil.chown(self._folder, USER)
        self._run("initdb", "-D", str(self._data), "-A", "trust", "-U", USER, "-E", "UTF8")
        self.start()

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _run(self, name: str, *arguments: str) -> None:
        as_user = ["runuser", "-u", USER, "--"] if os.geteuid() == 0 else []
        subprocess.run(
            [*as_user, str(self._bin / name), *arguments],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )

    def start(self) -> None:
        """Start, and wait until it can be asked."""
        options = [f"-k {self._folder}", f"-p {PORT}", *(f"-c {item}" for item in SETTINGS)]
        log = str(self._folder / "log")
        self._run(
            "pg_ctl", "-D", str(self._data), "-l", log, "-o", " ".join(options), "-w", "start"
        )

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")

    def pause(self) -> None:
        """Let it answer nothing."""
        for pid in self._pids():
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it answer again."""
        for pid in self._pids():
            os.kill(pid, signal.SIGCONT)

    def _pids(self) -> list[int]:
        parent = int((self._data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text()
        return [parent, *map(int, children.split())]

    def url(self, name: str) -> str:
        """Give the URL of a database."""
        return f"postgresql://{USER}@/{name}?host={self._folder}&port={PORT}"

    def new(self) -> str:
        """Make a database; give its URL."""
        self._names += 1
        name = f"ledger{self._names}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        return self.url(name)

    def end(self) -> None:
        """Stop, and leave nothing."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
