"""One of several processes that share the port: a gateway, and a line to its foreman.

All that it needs it is handed: its part of the fleet, open sockets, where engines are, and what
operators ordered. It reads no file, so all workers serve the same. It does what the foreman asks;
when the foreman is gone, nobody would tell it anything any more, and it drains.

Ctrl-C in a terminal reaches every process, and here it is ignored: the foreman passes it on.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import MutableMapping
from pathlib import Path

import msgspec

from baseload.cli.channel import Channel, ChannelError
from baseload.cli.making import Plant
from baseload.cli.merging import families_of
from baseload.cli.service import GARBAGE_THRESHOLD, SWITCH_S
from baseload.config.fleet import Fleet
from baseload.errors import BaseloadError
from baseload.gateway import status
from baseload.gateway.live.part import Look, take_part
from baseload.gateway.live.view import View
from baseload.gateway.tape import Recorder

WORKER = "BASELOAD_WORKER"
"""The variable that makes a process a worker: the number of the file with its orders."""

logger = logging.getLogger("baseload.cli")


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is handed at its start."""

    index: int
    count: int
    sharers: int
    fleet: Fleet
    concurrency: dict[str, int]
    engines: dict[str, str]
    """Where those engines are that are ready."""
    orders: dict[str, str]
    socket_fds: list[int]
    channel_fd: int
    tape: str | None
    tape_bytes: int


class Ready(msgspec.Struct, frozen=True):
    """What a worker says when it serves."""

    address: tuple[str, int]
    is_open: bool
    """Callers need no key."""


class Change(msgspec.Struct, frozen=True):
    """What a reload brings."""

    fleet: Fleet
    concurrency: dict[str, int]


def work_for_us(env: MutableMapping[str, str]) -> Work | None:
    """Take what the foreman handed us, if there is one."""
    text = env.pop(WORKER, None)
    if text is None:
        return None
    try:
        with open(int(text), "rb") as file:  # noqa: PTH123 - it has a number and no path
            file.seek(0)
            return msgspec.msgpack.decode(file.read(), type=Work)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise BaseloadError(f"{WORKER} is for baseload itself; unset it ({error})") from error


class Worker:
    """One worker, from its start to the end of its drain."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._stop = asyncio.Event()
        self._is_succeeded = False
        self._channel = Channel(socket.socket(fileno=work.channel_fd), self._answer)
        self._plant = Plant(work.fleet, work.concurrency, work.sharers, work.count)
        self._gateway = self._plant.gateway
        self._gateway.pulse.keep_timings()
        self._view = View(self._gateway)

    async def run(self) -> None:
        """Serve until told to stop, and drain."""
        work, gateway = self._work, self._gateway
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
            loop.add_signal_handler(number, lambda: None)
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        await self._channel.open()
        hearing = asyncio.ensure_future(self._hear())
        with self._taping():
            for name, url in work.engines.items():
                gateway.announce(name, url)
            for name, order in work.orders.items():
                with contextlib.suppress(BaseloadError):
                    gateway.operate(name, order)
            await self._plant.start([socket.socket(fileno=fd) for fd in work.socket_fds])
            gc.collect()
            gc.freeze()
            gc.set_threshold(GARBAGE_THRESHOLD)
            sys.setswitchinterval(SWITCH_S)
            await self._say_ready()
            await self._stop.wait()
            left = await self._plant.drain(is_succeeded=self._is_succeeded)
        with contextlib.suppress(ChannelError):
            await self._channel.ask("drained", str(left).encode())
        self._channel.close()
        await asyncio.wait({hearing})

    async def _say_ready(self) -> None:
        ready = Ready(self._gateway.address, self._gateway.tenants.is_open)
        with contextlib.suppress(ChannelError):  # The foreman has just gone, and so do we.
            await self._channel.ask("ready", msgspec.msgpack.encode(ready))

    async def _hear(self) -> None:
        await self._channel.run()
        if not self._stop.is_set():
            logger.warning("worker %d: its foreman is gone; it drains", self._work.index)
        self._stop.set()

    def _taping(self) -> contextlib.AbstractContextManager[object]:
        work, gateway = self._work, self._gateway
        if work.tape is None:
            return contextlib.nullcontext()
        path = Path(f"{work.tape}.worker-{work.index}")
        return Recorder(gateway.driver, gateway.setup, path, work.tape_bytes)

    async def _answer(self, what: str, body: bytes) -> bytes:
        """Tell the foreman what it asks for, or do it."""
        shown = self._shown(what, body)
        return self._done(what, body) if shown is None else msgspec.msgpack.encode(shown)

    def _shown(self, what: str, body: bytes) -> object:
        """Give what is to be shown; None if something is to be done."""
        match what:
            case "status":
                return status.take(self._gateway, alarms=self._plant.alarms())
            case "metrics":
                return families_of(self._plant.registry)
            case "live":
                look = msgspec.msgpack.decode(body, type=Look)
                return take_part(self._gateway, self._view, look, self._plant.alarms())
        return None

    def _done(self, what: str, body: bytes) -> bytes:
        gateway = self._gateway
        match what:
            case "ping":
                pass
            case "operate":
                backend, order = msgspec.msgpack.decode(body, type=tuple[str, str])
                self._view.forget()
                return gateway.operate(backend, order).encode()
            case "engine":
                name, url = msgspec.msgpack.decode(body, type=tuple[str, str | None])
                gateway.announce(name, url)
            case "reload":
                change = msgspec.msgpack.decode(body, type=Change)
                return msgspec.msgpack.encode(gateway.reload(change.fleet, change.concurrency))
            case "weigh":
                rates = msgspec.msgpack.decode(body, type=dict[str, float])
                return msgspec.msgpack.encode(gateway.books.weigh(rates))
            case "idle":
                return b"yes" if all(pool.is_empty for pool in gateway.retired) else b""
            case "drain":
                self._is_succeeded = body == b"succeeded"
                self._stop.set()
            case "hurry":
                gateway.hurry()
            case _:
                raise BaseloadError(f"worker {self._work.index} (pid {os.getpid()}): {what}?")
        return b""
