"""Tests of the daemon's coming and going, with a double of NVIDIA's program (`mps_double`)."""

import asyncio
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from baseload.config.fleet import Backend
from baseload.config.serving import Serve
from baseload.engines import mps as module
from baseload.engines.hardware.found import Gpu
from baseload.engines.mps import PATH_MAX_BYTES, PIPES, PROGRAM, Mps
from baseload.engines.sharing import Share
from baseload.engines.supervisor import Engine
from baseload.engines.world import World
from baseload.errors import EngineError
from tests.engines.engine_kit import MODEL, WAIT_MAX_S, States, is_alive, until

DOUBLE = Path(__file__).with_name("mps_double.py")
GPUS = [
    Gpu(
        index=0,
        uuid="GPU-0",
        name="H100",
        vendor="NVIDIA",
        memory_bytes=80 << 30,
        free_bytes=0,
        driver="1",
        compute=(9, 0),
    )
]
A, B = (Share(name=name, threads=50, memory=0.4) for name in "ab")


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Put the double on the PATH; give the folder in which it makes its notes."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / PROGRAM).write_text(f"#!{sys.executable}\n{DOUBLE.read_text()}")
    (folder / PROGRAM).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.delenv(PIPES, raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    monkeypatch.setattr(module, "THEIRS", str(tmp_path / "theirs"))
    with tempfile.TemporaryDirectory(prefix="mps") as short:  # tmp_path may be long for sockets
        monkeypatch.setattr(module, "_temporary", lambda: Path(short))
        yield folder


def starts(program):
    """Give the process id of each daemon that was started."""
    notes = program / "starts"
    return (
        [int(line.split()[0]) for line in notes.read_text().splitlines()] if notes.exists() else []
    )


def test_one_daemon_comes_with_the_first_engine_and_goes_with_the_last(tmp_path, program):
    """Both engines are clients of the same daemon, whose directories are gone afterwards."""

    async def main():
        mps = Mps(tmp_path / "state", GPUS)
        first = await mps.environment("a", A, [A, B])
        second = await mps.environment("b", B, [A, B])
        (pid,) = starts(program)
        await mps.leave("a")
        between = is_alive(pid)
        await mps.leave("b")
        return first, second, between, pid

    first, second, between, pid = asyncio.run(main())

    assert first[PIPES] == second[PIPES]
    assert "50" == first["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"]
    assert "'CUDA_DEVICE_ORDER': 'PCI_BUS_ID'" in (program / "starts").read_text()
    assert "CUDA_VISIBLE_DEVICES" not in (program / "starts").read_text()
    assert (True, False) == (between, is_alive(pid))
    assert not Path(first[PIPES]).exists()


def test_a_daemon_that_died_is_told_and_started_again(tmp_path, program, caplog):
    """The log says whose GPU it was; the next start of an engine finds a new daemon."""

    async def main():
        mps = Mps(tmp_path / "state", GPUS)
        await mps.environment("a", A)
        os.kill(starts(program)[0], signal.SIGKILL)
        await asyncio.to_thread(until, lambda: mps.deaths)
        await mps.environment("a", A)
        pids = starts(program)
        alive = is_alive(pids[-1])
        await mps.leave("a")
        return pids, alive

    pids, alive = asyncio.run(main())

    assert (2, True, False) == (len(pids), alive, is_alive(pids[-1]))
    assert "the MPS daemon died (killed by SIGKILL): a share GPUs by it" in caplog.text
    assert 1 == caplog.text.count("the MPS daemon died")


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from baseload.engines.mps import Mps
from tests.engines.test_mps import A, GPUS

async def main():
    await Mps(Path(sys.argv[1]), GPUS).environment("a", A)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def test_a_killed_gateway_leaves_no_daemon(tmp_path, program):
    """Nobody needs it: the engines that shared by it end at the same time."""
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "s")], check=False)
    (pid,) = starts(program)

    assert -signal.SIGKILL == killed.returncode
    until(lambda: not is_alive(pid))


def test_a_daemon_that_does_not_come_up_is_an_error_that_may_pass(tmp_path, program):
    """Its own last words are in the error; once it can, it comes up."""
    (program / "refuse").touch()

    async def main():
        mps = Mps(tmp_path / "state", GPUS)
        with pytest.raises(OSError, match="did not come up: exit code 1: no room for a daemon"):
            await mps.environment("a", A)
        assert {} == mps.joined
        (program / "refuse").unlink()
        await mps.environment("a", A)
        await mps.leave("a")

    asyncio.run(main())

    assert [False, False] == [is_alive(pid) for pid in starts(program)]


def test_somebody_elses_daemon_is_used_and_left(tmp_path, program, monkeypatch, caplog):
    """Engines become its clients, and it is there when they have gone."""
    caplog.set_level(logging.INFO, "baseload.engines")
    theirs = tmp_path / "t" / "other"
    theirs.mkdir(parents=True)
    monkeypatch.setenv(PIPES, str(theirs))
    with subprocess.Popen([PROGRAM, "-f"]) as daemon:
        until((theirs / "control").exists)

        async def main():
            mps = Mps(tmp_path / "state", GPUS)
            variables = await mps.environment("a", A)
            await mps.leave("a")
            return variables

        variables = asyncio.run(main())
        alive = daemon.poll() is None
        daemon.kill()

    assert str(theirs) == variables[PIPES]
    assert "50" == variables["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"]
    assert alive
    assert 1 == len(starts(program))
    assert f"runs at {theirs}: it is used and left" in caplog.text


def test_the_daemon_of_a_process_that_died_is_ended(tmp_path, program, monkeypatch):
    """What a killed gateway left behind does not stay; a living one's daemon does."""
    mps = Mps(tmp_path / "state", GPUS)
    gone_pid = subprocess.Popen(["true"])
    gone_pid.wait()
    daemons = []
    for pid in (gone_pid.pid, os.getppid()):
        pipe = mps._folder.parent / str(pid) / "pipe"
        pipe.mkdir(parents=True)
        daemons.append(subprocess.Popen([PROGRAM, "-f"], env=os.environ | {PIPES: str(pipe)}))
        until((pipe / "control").exists)

    async def main():
        await mps.environment("a", A)
        await mps.leave("a")

    asyncio.run(main())
    daemons[0].wait(WAIT_MAX_S)
    alive = daemons[1].poll() is None
    daemons[1].kill()
    daemons[1].wait()

    assert alive
    assert [str(os.getppid())] == [path.name for path in mps._folder.parent.iterdir()]


def test_a_long_path_is_not_used_for_sockets(tmp_path, program):
    """A socket's path has 107 bytes, so a deep state folder gives way to a temporary one."""
    deep = tmp_path / ("x" * PATH_MAX_BYTES)
    mps = Mps(deep, GPUS)

    assert not mps._folder.is_relative_to(deep)
    assert mps._folder.is_relative_to(module._temporary())
    assert Mps(Path("/s"), GPUS)._folder == Path(f"/s/mps/{os.getpid()}")


def test_no_mps_is_an_error_with_what_to_do(tmp_path, monkeypatch):
    """Without the program the engine fails at once, and is told to install it or do without."""
    monkeypatch.setattr(shutil, "which", lambda name: None)

    with pytest.raises(EngineError, match=r"is not installed.*or remove `mps_threads`"):
        asyncio.run(Mps(tmp_path, GPUS).environment("a", A))


def test_shares_that_do_not_fit_start_nothing(tmp_path, program):
    """The sum is checked before a daemon is."""
    large = Share(name="b", memory=0.7)

    with pytest.raises(EngineError, match=r"come to 1\.1"):
        asyncio.run(Mps(tmp_path, GPUS).environment("a", A, [A, large]))
    assert [] == starts(program)


def engine(folder, states, script, environment):
    serve = Serve(mps_threads=50)
    backend = Backend(name="a", engine="llama.cpp", model=MODEL, serve=serve)
    command = ["/bin/sh", "-c", script]
    world = World(environment=environment)
    return Engine(backend, folder, states, command=command, world=world)


def test_an_engine_is_started_with_the_variables_that_it_is_given(tmp_path):
    """They are asked for before each start; an OSError then is a start that failed, and passes."""
    states, asked = States(), []

    async def environment(launch):
        asked.append(len(asked))
        if len(asked) == 1:
            raise OSError(0, "the MPS daemon did not come up: no room")
        return {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "50"}

    async def main():
        one = engine(
            tmp_path, states, "echo at $CUDA_MPS_ACTIVE_THREAD_PERCENTAGE; exit 3", environment
        )
        running = asyncio.create_task(one.run())
        first = await states.reach("down")
        second = await states.reach("down")
        await one.stop()
        await running
        return first, second

    first, second = asyncio.run(main())

    assert "the MPS daemon did not come up: no room" in first.reason
    assert "exit code 3: at 50" == second.reason


def test_an_engine_that_cannot_share_has_failed(tmp_path):
    """A sum that does not come out is no use trying again."""
    states = States()

    async def environment(launch):
        raise EngineError("GPU 0 (H100): the parts of its memory come to 1.2")

    asyncio.run(engine(tmp_path, states, "exit 0", environment).run())

    assert ["failed"] == [state.phase for state in states.all]
    assert "come to 1.2" in states.all[0].reason
