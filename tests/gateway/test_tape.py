"""The tape of a live gateway: replayed with the same decisions, bounded, and never in the way."""

import asyncio
import logging
import stat
import threading
from pathlib import Path

import pytest

from baseload.config.fleet import Queue
from baseload.core.facts import Call
from baseload.core.tape import CLOSED
from baseload.errors import BaseloadError
from baseload.gateway import tape as taping
from baseload.gateway.tape import Recorder
from baseload.sim.replay import replay
from tests.gateway.harness import chat, on_both_loops, on_uvloop, start_gateway, token, until
from tests.gateway.provider import (
    CLOSE,
    Asked,
    Provider,
    Script,
    ask,
    backends,
    begin,
    chunk,
    healthy,
    refusal,
    whole,
)

MB = 1024 * 1024
SECRET = "the cook hides the chocolate"


def recorded(gateway, path: Path, bytes_max: int = MB) -> Recorder:
    """Begin a tape of a gateway."""
    return Recorder(gateway.driver, gateway.setup, path, bytes_max)


def _troubled(asked: Asked) -> Script:
    """Answer looks and every second call well, and each of the others in another bad way."""
    if asked.method == "GET":
        return [whole({"data": []})]
    troubles = [
        [CLOSE],
        [refusal(429)],
        [begin(), chunk(token("hel")), 0.005, CLOSE],
        [refusal(503)],
        [begin(), chunk(b": keep-alive\n\n"), 0.3, CLOSE],
    ]
    trouble = [0.03, *healthy(asked)]
    return troubles[asked.number // 2 % len(troubles)] if asked.number % 2 else trouble


@on_both_loops
async def test_a_live_gateway_decides_again_from_its_tape(tmp_path_factory):
    """Calls over real sockets that fail over, break, wait and are shed are decided the same."""
    path = tmp_path_factory.mktemp("live") / "tape"
    limits = {"concurrency": 2, "probe_s": 0.02}
    async with (
        Provider(play=_troubled) as first,
        Provider(play=_troubled) as second,
        start_gateway(
            first, second, backends=backends(first, second, **limits),
            queue=Queue(size=3, wait_s=0.4),
        ) as gateway,
    ):  # fmt: skip
        with recorded(gateway, path):
            for is_up in (True, False, True):
                gateway.driver.announce("b0", is_up=is_up)
                streams = (chat(stream=number % 2 == 0, user=SECRET) for number in range(9))
                await asyncio.gather(*(ask(gateway, data) for data in streams))

    verdict = replay(path)
    assert (CLOSED, None, []) == (verdict.end, verdict.difference, verdict.failures)
    assert verdict.calls == verdict.outcomes.total() == 27
    assert {"done", "shed"} <= set(verdict.outcomes)
    assert 0 < verdict.last - verdict.first < 30
    assert SECRET.encode() not in path.read_bytes()


@on_uvloop
async def test_what_was_announced_before_is_on_the_tape(tmp_path: Path):
    """A gateway announces its engines as down before anybody listens; a replay knows it too."""
    async with Provider() as first, Provider() as second, start_gateway(first, second) as gateway:
        gateway.driver.announce("b0", is_up=False)
        with recorded(gateway, tmp_path / "tape"):
            assert "b1" == (await ask(gateway)).headers["x-baseload-backend"]

    verdict = replay(tmp_path / "tape")
    assert (None, ["b1"]) == (verdict.difference, list(verdict.uses))


@on_uvloop
async def test_a_tape_is_for_the_owners_eyes(tmp_path: Path):
    """The file can be read by nobody else, and its writer is gone at the end."""
    async with Provider() as only, start_gateway(only) as gateway:
        with recorded(gateway, tmp_path / "tape") as recorder:
            assert gateway.driver.tape is not None
        recorder.close()

        assert gateway.driver.tape is None
        assert not recorder._writer.is_alive()
    assert 0o600 == stat.S_IMODE((tmp_path / "tape").stat().st_mode)


@on_uvloop
async def test_what_is_written_survives_a_kill(tmp_path: Path):
    """A moment after an event it is in the file, without any end."""
    path = tmp_path / "tape"
    async with Provider() as only, start_gateway(only) as gateway:
        with recorded(gateway, path):
            await until(lambda: path.stat().st_size > 0)
            head_size = path.stat().st_size
            await ask(gateway)
            await until(lambda: path.stat().st_size > head_size)

            assert 1 == replay(path).outcomes.total()
            assert "cut" == replay(path).end


@on_uvloop
async def test_a_full_tape_ends_and_the_gateway_goes_on(tmp_path: Path, monkeypatch, caplog):
    """At its bound a tape says that it is full; one line is logged, and calls are answered."""
    monkeypatch.setattr(taping, "FLUSH_S", 0.001)
    path = tmp_path / "tape"
    async with Provider() as only, start_gateway(only) as gateway:
        with caplog.at_level(logging.WARNING), recorded(gateway, path, 4096):
            while gateway.driver.tape is not None:
                await ask(gateway)
            assert 200 == (await ask(gateway)).status

    verdict = replay(path)
    assert verdict.end.startswith("it is full, at ")
    assert verdict.difference is None
    assert verdict.calls > 5
    assert 2048 < path.stat().st_size <= 4096
    assert 1 == sum("ends here: it is full" in line for line in caplog.messages)


@on_uvloop
async def test_a_full_disk_ends_the_tape_and_the_gateway_goes_on(monkeypatch, caplog):
    """An error of the disk is one line in the log, and calls are answered."""
    monkeypatch.setattr(taping, "FLUSH_S", 0.001)
    async with Provider() as only, start_gateway(only) as gateway:
        with caplog.at_level(logging.WARNING), recorded(gateway, Path("/dev/full")):
            await until(lambda: gateway.driver.tape is None)
            assert 200 == (await ask(gateway)).status

    expected = "tape /dev/full ends here: it cannot be written: No space left on device"
    assert [f"{expected}; the gateway goes on"] == caplog.messages


@on_uvloop
async def test_an_error_at_the_very_end_is_logged(caplog):
    """A tape whose last part could not be written does not end as if it had been."""
    async with Provider() as only, start_gateway(only) as gateway:
        with caplog.at_level(logging.WARNING), recorded(gateway, Path("/dev/full")):
            pass

    assert 1 == len(caplog.messages)
    assert "/dev/full" in caplog.messages[0]


@on_uvloop
async def test_a_disk_that_hangs_keeps_nobody_waiting(tmp_path: Path, monkeypatch, caplog):
    """When flushes pile up before the disk the tape ends; the event loop never waited for it."""
    monkeypatch.setattr(taping, "FLUSH_S", 0.001)
    monkeypatch.setattr(taping, "WAITING_MAX", 2)
    disk, is_written = threading.Event(), threading.Event()
    async with Provider() as only, start_gateway(only) as gateway:
        with caplog.at_level(logging.WARNING), recorded(gateway, tmp_path / "tape") as recorder:
            write = recorder._file.write

            def hang(data: bytes) -> int:
                is_written.set()
                disk.wait(10)
                return write(data)

            monkeypatch.setattr(recorder, "_file", _Hanging(recorder._file, hang))
            gateway.driver.tape.ticked(gateway.driver.clock())
            await until(is_written.is_set)
            while gateway.driver.tape is not None:
                assert 200 == (await ask(gateway)).status
            disk.set()

    assert 1 == sum("the disk is too slow" in line for line in caplog.messages)
    assert None is replay(tmp_path / "tape").difference


class _Hanging:
    """A file whose writes are done by another."""

    def __init__(self, file, write) -> None:
        self.write, self.close = write, file.close


@on_uvloop
async def test_an_event_that_cannot_be_written_ends_the_tape(tmp_path: Path, monkeypatch, caplog):
    """A number too large for a tape disturbs nobody: what came before can be replayed."""
    monkeypatch.setattr(taping, "FLUSH_S", 0.001)
    async with Provider() as only, start_gateway(only) as gateway:
        with caplog.at_level(logging.WARNING), recorded(gateway, tmp_path / "tape"):
            await ask(gateway)
            await asyncio.sleep(0.01)
            gateway.driver.tape.began(Call(99, "m", 1.0, answer_tokens=10**30), 0.0)
            await until(lambda: gateway.driver.tape is None)
            assert 200 == (await ask(gateway)).status

    verdict = replay(tmp_path / "tape")
    assert (1, None) == (verdict.calls, verdict.difference)
    assert verdict.end.startswith("an event cannot be written: Began: ")
    assert 1 == len(caplog.messages)


@on_uvloop
async def test_the_tape_before_is_kept(tmp_path: Path):
    """A restart does not lose the tape of the run before: it is beside the new one."""
    path = tmp_path / "tape"
    async with Provider() as only, start_gateway(only) as gateway:
        for _ in range(3):
            with recorded(gateway, path):
                await ask(gateway)
            kept = path.read_bytes()
            with recorded(gateway, path):
                pass

            assert kept == (tmp_path / "tape.1").read_bytes()


@on_uvloop
async def test_no_other_file_is_overwritten(tmp_path: Path):
    """A path that holds something else, or cannot be written, is refused at once."""
    other, small = tmp_path / "fleet.yaml", tmp_path / "small"
    other.write_text("listen: 127.0.0.1:0\n")
    async with Provider() as only, start_gateway(only) as gateway:
        with pytest.raises(BaseloadError, match="is no tape; name another file"):
            recorded(gateway, other)
        with pytest.raises(BaseloadError, match="cannot be written: Is a directory"):
            recorded(gateway, tmp_path)
        with pytest.raises(BaseloadError, match="cannot be written: No such file"):
            recorded(gateway, tmp_path / "no" / "tape")
        with pytest.raises(BaseloadError, match="the fleet alone takes"):
            recorded(gateway, small, 300)

        assert gateway.driver.tape is None
        assert not small.exists()
        assert "listen: 127.0.0.1:0\n" == other.read_text()
