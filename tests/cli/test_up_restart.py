"""`baseload up` is replaced by a successor while callers keep calling."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import yaml

from tests.cli.load import Load, slowly
from tests.cli.running import fleet_file, up, with_processes
from tests.gateway.harness import Backend, chat, raw, until

RESTARTS = 3


async def verb(file: Path, *words: str) -> tuple[int, str]:
    """Run another verb of the command line; give its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "baseload", *words, "-c", str(file),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


@with_processes
async def test_nobody_notices_restarts(tmp_path_factory):
    """New connections, kept ones and long streams over three restarts: not one failure."""
    folder: Path = tmp_path_factory.mktemp("up")
    async with Backend(slowly) as backend:
        file = fleet_file(folder, backend)
        async with up(file) as running:
            load = Load(running.port)
            asking = asyncio.ensure_future(load.run(new=4, kept=6, streams=8))
            pids = running.pids()
            for _ in range(RESTARTS):
                await asyncio.sleep(0.3)
                code, said = await verb(file, "restart")
                pids += running.pids()

                assert (0, f"process {pids[-1]} serves") == (code, said.partition(";")[0])
            load.stop()
            await asking
            await running.said("Drained", RESTARTS)

        assert [] == load.failures
        assert RESTARTS + 1 == len(set(pids))
        assert load.done["new"] > 50
        assert load.done["kept"] > 100
        assert load.done["stream"] >= 8
        assert load.stale <= 1  # Of hundreds: the one that races with a close.
        assert 0 == running.process.returncode


@with_processes
async def test_a_successor_that_cannot_start_changes_nothing(tmp_path_factory):
    """With a bad file the old process goes on, says so, and the verb fails with the reason."""
    folder: Path = tmp_path_factory.mktemp("up")
    async with Backend() as backend:
        file = fleet_file(folder, backend)
        good = file.read_text()
        async with up(file) as running:
            pids = running.pids()
            file.write_text(good.replace("models:", "models: nonsense\nothers:"))
            running.tell(signal.SIGUSR2)
            line = (await running.said(r"no restart, this process goes on: (.*)")).group(1)
            (answer,) = await raw(running.port, chat())
            after = running.pids()
            file.write_text(good)
            code, _ = await verb(file, "restart")
            await running.said("Drained")

    assert line.startswith("it ended with exit code 1")
    assert (200, pids, 0) == (answer.status, after, code)


@with_processes
async def test_a_successor_whose_engine_cannot_start_says_why(tmp_path_factory):
    """The verb tells the engine's own reason, at once, and the old process goes on."""
    folder: Path = tmp_path_factory.mktemp("up")
    async with Backend() as backend:
        file = fleet_file(folder, backend)
        async with up(file) as running:
            pids = running.pids()
            serve = {"program": ["/no/such/vllm", "serve"]}
            engine = {"engine": "vllm", "model": "org/name", "serve": serve}
            fleet = yaml.safe_load(file.read_text())
            fleet["backends"]["gpu"] = engine
            fleet["models"]["m"]["tiers"].append({"gpu": {"model": "m"}})
            file.write_text(yaml.safe_dump(fleet))
            code, said = await verb(file, "restart")
            (answer,) = await raw(running.port, chat())
            after = running.pids()

    assert (1, 200, pids) == (code, answer.status, after)
    assert "goes on: engine gpu: there is no program `/no/such/vllm`" in said.replace("\n", " ")


@with_processes
async def test_what_operators_ordered_outlives_a_restart(tmp_path_factory):
    """A successor knows which backends are closed."""
    folder: Path = tmp_path_factory.mktemp("up")
    code = (
        "import asyncio, sys\n"
        "from baseload.cli import station\n"
        "old = station.Station._listen\n"
        "async def start(self):\n"
        "    await old(self)\n"
        "    if self.left is None: self.gateway.operate('b0', 'drain')\n"
        "station.Station._listen = start\n"
    )
    (folder / "sitecustomize.py").write_text(code)
    async with Backend() as first, Backend() as second:
        file = fleet_file(folder, first, second)
        env = {"PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        async with up(file, env=env) as running:
            running.tell(signal.SIGUSR2)
            await running.said("Drained")
            (answer,) = await raw(running.port, chat())
            status = (await running.look("/status")).json()

    assert "b1" == answer.headers["x-baseload-backend"]
    assert ["drained", "up"] == [one["state"] for one in status["backends"]]


@with_processes
async def test_sockets_of_systemd_are_served(tmp_path_factory):
    """With socket activation the port is open before there is a process; systemd is told."""
    folder: Path = tmp_path_factory.mktemp("up")
    async with Backend() as backend:
        file = fleet_file(folder, backend)
        with (
            socket.create_server(("127.0.0.1", 0)) as listen,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify,
        ):
            notify.bind(str(folder / "notify"))
            notify.setblocking(False)
            port = listen.getsockname()[1]
            early = asyncio.ensure_future(raw(port, chat()))
            script = (
                f"exec 3<&{listen.fileno()} && export LISTEN_PID=$$ LISTEN_FDS=1 && "
                f"exec {sys.executable} -m baseload up -c {file}"
            )
            process = await asyncio.create_subprocess_exec(
                "bash", "-c", script, pass_fds=[listen.fileno()],
                env=os.environ | {"NOTIFY_SOCKET": str(folder / "notify")},
                stdout=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            (answer,) = await early
            loop = asyncio.get_running_loop()
            told = (await loop.sock_recv(notify, 1000)).decode()
            process.terminate()
            code = await process.wait()
            farewell = (await loop.sock_recv(notify, 1000)).decode()

    assert (200, 0) == (answer.status, code)
    assert f"READY=1\nMAINPID={process.pid}\nSTATUS=serving" == told
    assert farewell.startswith("STOPPING=1")


@with_processes
async def test_sigterm_during_a_restart_stops_both(tmp_path_factory):
    """Whoever is told to stop takes the successor with it that has yet to serve."""
    folder: Path = tmp_path_factory.mktemp("up")
    async with Backend() as backend:
        file = fleet_file(folder, backend)
        async with up(file) as running:
            running.tell(signal.SIGUSR2)
            pid = int((await running.said(r"successor (\d+) is starting")).group(1))
            running.tell(signal.SIGTERM)
            await running.said("Drained")

        await until(lambda: not _lives(pid))


def _lives(pid: int) -> bool:
    """Say whether a process runs; one that has ended and was not fetched does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
