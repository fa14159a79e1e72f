"""`baseload up --workers`: several processes that look like one, from outside."""

import asyncio
import os
import re
import signal
import sys
from collections import Counter
from pathlib import Path

from tests.cli.load import PIECES, Load, slowly
from tests.cli.running import ADMIN, Running, fleet_file, up, with_processes
from tests.cli.test_up_restart import verb
from tests.gateway.harness import Backend, chat, raw, request, until

MODELS = request(method="GET", path="/v1/models")
CALLS = 40


async def workers(running: Running) -> dict[int, int]:
    """Give each worker's pid, as status tells it."""
    status = (await running.look("/status")).json()
    found = [re.match(r"worker (\d+): pid (\d+),", line) for line in status["workers"]]
    return {int(one.group(1)): int(one.group(2)) for one in found if one}


async def all_workers(running: Running) -> dict[int, int]:
    """Wait until both workers serve; give their pids."""
    while len(found := await workers(running)) < 2:  # noqa: ASYNC110 - of things elsewhere
        await asyncio.sleep(0.05)
    return found


@with_processes
async def test_all_serve_and_one_page_shows_them(tmp_path_factory):
    """Calls are spread, status adds them up, and metrics say which worker counted what."""
    folder: Path = tmp_path_factory.mktemp("up")
    async with Backend() as backend:
        file = fleet_file(folder, backend)
        async with up(file, "--workers", "2") as running:
            answers = [(await raw(running.port, chat()))[0].status for _ in range(CALLS)]
            status = (await running.look("/status")).json()
            metrics = (await running.look("/metrics")).body.decode()
            pids = await workers(running)

    counts = re.findall(r'baseload_calls_total\{.*worker="(\d)"\} (\d+)', metrics)
    by_worker = {int(worker): int(float(count)) for worker, count in counts}
    assert [200] * CALLS == answers
    assert {0, 1} == set(by_worker) == set(pids)
    assert CALLS == sum(by_worker.values())
    assert min(by_worker.values()) >= CALLS // 8
    assert ("serving", 256, "up") == (
        status["state"], status["backends"][0]["limit"], status["backends"][0]["state"],
    )  # fmt: skip
    assert any("counts limits for itself" in line for line in running.lines)


@with_processes
async def test_a_worker_that_dies_is_replaced(tmp_path_factory):
    """Meanwhile the other one serves, and who waits at the dead one's door is let in by the next."""
    folder: Path = tmp_path_factory.mktemp("up")
    async with Backend() as backend:
        file = fleet_file(folder, backend)
        async with up(file, "--workers", "2") as running:
            before = await workers(running)
            os.kill(before[0], signal.SIGKILL)
            answers = [(await raw(running.port, chat()))[0].status for _ in range(CALLS)]
            after = await all_workers(running)

    assert [200] * CALLS == answers
    assert before[1] == after[1]
    assert before[0] != after[0]


@with_processes
async def test_a_reload_reaches_all(tmp_path_factory):
    """After SIGHUP every worker serves the new file; a bad one changes none of them."""
    folder: Path = tmp_path_factory.mktemp("up")
    async with Backend() as first, Backend() as second:
        file = fleet_file(folder, first)
        async with up(file, "--workers", "2") as running:
            fleet_file(folder, second)
            running.tell(signal.SIGHUP)
            await running.said(r"reloaded by 2 workers: backends: ~b0")
            for _ in range(10):
                await raw(running.port, chat())
            file.write_text(file.read_text() + "nonsense: 1\n")
            running.tell(signal.SIGHUP)
            await running.said(r"nothing was reloaded: .*nonsense")
            os.kill((await workers(running))[0], signal.SIGKILL)
            await running.said("worker 0, pid .* ended with -9")
            for _ in range(10):
                await raw(running.port, chat())
            await all_workers(running)

    assert (0, 20) == (len(first.asked), len(second.asked))


@with_processes
async def test_nobody_notices_a_restart_of_all(tmp_path_factory):
    """A successor with workers of its own takes over under load: not one failure."""
    folder: Path = tmp_path_factory.mktemp("up")
    async with Backend(slowly) as backend:
        file = fleet_file(folder, backend)
        async with up(file, "--workers", "2") as running:
            load = Load(running.port)
            asking = asyncio.ensure_future(load.run(new=4, kept=4, streams=4))
            await asyncio.sleep(0.3)
            code, _ = await verb(file, "restart")
            await asyncio.sleep(0.3)
            load.stop()
            await asking
            await running.said("Drained")
            pids = await workers(running)

        assert (0, 2) == (code, len(pids))
        assert [] == load.failures
        assert load.done["new"] > 20
        assert load.stale <= 1


@with_processes
async def test_without_the_foreman_workers_leave(tmp_path_factory):
    """A foreman that is killed leaves nobody behind who serves without being minded."""
    folder: Path = tmp_path_factory.mktemp("up")
    async with Backend() as backend:
        file = fleet_file(folder, backend)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "baseload", "up", "-c", str(file), "--workers", "2",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        running = Running(process, folder)
        reading = asyncio.ensure_future(running.read())
        await running.said("2 workers share the port")
        process.kill()
        await reading  # It ends when nobody is left who could print.

    said = Counter(line.partition("WARNING")[2] for line in running.lines if "WARNING" in line)
    assert sum(count for line, count in said.items() if "its foreman is gone" in line) == 2


@with_processes
async def test_workers_that_cannot_start_are_an_error(tmp_path_factory):
    """What each of them would fail at is said once, and nothing stays behind."""
    folder: Path = tmp_path_factory.mktemp("up")
    async with Backend() as backend:
        itself = str(fleet_file(folder, backend))  # A file that is there, and no certificate.
        file = fleet_file(folder, backend, tls={"cert": itself, "key": itself})
        code, said = await verb(file, "up", "--workers", "2")

    assert 1 == code
    assert 1 == said.count("cannot start: tls: ")


@with_processes
async def test_a_taken_port_is_not_shared_by_mistake(tmp_path_factory):
    """A second gateway with workers on the same port fails like any other."""
    folder: Path = tmp_path_factory.mktemp("up")
    async with Backend() as backend:
        file = fleet_file(folder, backend)
        async with up(file, "--workers", "2") as running:
            other = tmp_path_factory.mktemp("other")
            second = fleet_file(other, backend, listen=f"127.0.0.1:{running.port}")
            code, said = await verb(second, "up", "--workers", "2")
            await until(lambda: bool(running.pids()))

    assert 1 == code
    assert "cannot be listened on" in said


@with_processes
async def test_sigterm_drains_all_and_a_second_one_hurries(tmp_path_factory):
    """Open streams are finished by whoever has them; told twice, they are not waited for."""
    folder: Path = tmp_path_factory.mktemp("up")
    async with Backend(slowly) as backend:
        file = fleet_file(folder, backend)
        async with up(file, "--workers", "2") as running:
            asked = [asyncio.ensure_future(raw(running.port, chat(stream=True))) for _ in range(4)]
            await until(lambda: len(backend.asked) == 4)
            running.tell(signal.SIGTERM)
            answers = [(await one)[0] for one in asked]
            await running.said(r"Drained\.")
        async with up(fleet_file(folder, backend, drain_s=60), "--workers", "2") as running:
            asked = [asyncio.ensure_future(raw(running.port, chat(stream=True)))]
            await until(lambda: len(backend.asked) == 5)
            running.tell(signal.SIGINT)
            await running.said("Draining")
            running.tell(signal.SIGINT)
            await running.said("Drained; 1 answers were told to stop")
            ((cut,),) = await asyncio.gather(*asked)

    assert ["x" * PIECES] * 4 == [answer.text() for answer in answers]
    assert "gateway_stopping" in cut.body.decode()


@with_processes
async def test_a_worker_that_never_comes_is_given_up(tmp_path_factory):
    """It is not started for ever, its door is closed, and the other one serves everybody."""
    folder: Path = tmp_path_factory.mktemp("up")
    code = (
        "import pathlib\n"
        "from baseload.engines import restarts\n"
        "restarts.RESTARTS_MAX, restarts.PAUSE_FIRST_S = 2, 0.01\n"
        "from baseload.cli import worker\n"
        "old = worker.Worker.run\n"
        "async def run(self):\n"
        f"    if self._work.index == 0 and pathlib.Path({str(folder)!r}, 'bad').exists():\n"
        "        raise OSError('it cannot')\n"
        "    await old(self)\n"
        "worker.Worker.run = run\n"
    )
    (folder / "sitecustomize.py").write_text(code)
    async with Backend() as backend:
        file = fleet_file(folder, backend)
        env = {"PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        async with up(file, "--workers", "2", env=env) as running:
            (folder / "bad").touch()
            os.kill((await workers(running))[0], signal.SIGKILL)
            await running.said("worker 0 never served in many starts")
            answers = [(await raw(running.port, chat()))[0].status for _ in range(CALLS)]
            status = (await running.look("/status")).json()

    assert [200] * CALLS == answers
    assert "worker 0: given up, 3 restarts" == status["workers"][0]


@with_processes
async def test_when_no_worker_can_be_kept_alive_it_ends(tmp_path_factory):
    """There is nothing left to mind: the exit code says so."""
    folder: Path = tmp_path_factory.mktemp("up")
    code = (
        "import pathlib\n"
        "from baseload.engines import restarts\n"
        "restarts.RESTARTS_MAX, restarts.PAUSE_FIRST_S = 1, 0.01\n"
        "from baseload.cli import worker\n"
        "old = worker.Worker.run\n"
        "async def run(self):\n"
        f"    if pathlib.Path({str(folder)!r}, 'bad').exists():\n"
        "        raise OSError('it cannot')\n"
        "    await old(self)\n"
        "worker.Worker.run = run\n"
    )
    (folder / "sitecustomize.py").write_text(code)
    async with Backend() as backend:
        file = fleet_file(folder, backend)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "baseload", "up", "-c", str(file), "--workers", "2",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            env=os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        )  # fmt: skip
        running = Running(process, folder)
        reading = asyncio.ensure_future(running.read())
        await running.said("2 workers share the port")
        (folder / "bad").touch()
        running.admin = int((await running.said(ADMIN.pattern)).group(1))
        for pid in (await workers(running)).values():
            os.kill(pid, signal.SIGKILL)
        await reading
        code = await process.wait()

    assert 1 == code
    assert any("no worker could be kept alive" in line for line in running.lines)


@with_processes
async def test_a_worker_that_hangs_is_replaced(tmp_path_factory):
    """Stopped in its tracks, it answers nobody; the foreman ends it, and the next one serves."""
    folder: Path = tmp_path_factory.mktemp("up")
    code = "from baseload.cli import crew\ncrew.PING_S = crew.SILENT_S_MAX = 0.5\n"
    (folder / "sitecustomize.py").write_text(code)
    async with Backend() as backend:
        file = fleet_file(folder, backend)
        env = {"PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        async with up(file, "--workers", "2", env=env) as running:
            before = await workers(running)
            os.kill(before[1], signal.SIGSTOP)
            await running.said("worker 1, pid .* hangs")
            answers = [(await raw(running.port, chat()))[0].status for _ in range(CALLS)]
            after = await all_workers(running)

    assert [200] * CALLS == answers
    assert (before[0], True) == (after[0], before[1] != after[1])
