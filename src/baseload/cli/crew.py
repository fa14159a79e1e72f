"""The workers: started, watched, started again, asked all at once, and seen off.

A worker that dies is replaced after a pause that grows; one that never comes to serve is given up
after a few tries, and the sockets that only it had are closed, so that no caller waits for nobody.
Workers talk to nobody but us. Not here: what they are asked, and why (`foreman`).
"""

import asyncio
import contextlib
import logging
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Container

import msgspec

from baseload.cli.channel import ASK_S_MAX, Channel, ChannelError
from baseload.cli.sockets import Sockets, copies
from baseload.cli.worker import WORKER, Ready, Work
from baseload.engines.restarts import Record
from baseload.errors import BaseloadError

START_S_MAX = 60.0
"""From a worker's start to its serving; one that takes longer hangs."""
PING_S = 5.0
SILENT_S_MAX = 30.0
"""A worker that serves and has answered nothing for so long is stuck, and is replaced."""

logger = logging.getLogger("baseload.cli")

MakeWork = Callable[[int, list[int], int], Work]
"""Gives what a worker is handed: its index, its sockets' numbers, its line's number."""


class Member:
    """One life of one worker."""

    def __init__(self, index: int, channel: Channel, pid: int) -> None:
        self.index, self.channel, self.pid = index, channel, pid
        self.ready_at: float | None = None
        self.told: Ready | None = None
        self.left = 0
        """Answers that had to be told to stop at its end."""


class Crew:
    """All workers."""

    def __init__(self, count: int, sockets: Sockets, make_work: MakeWork) -> None:
        self.count = count
        self.restarts = [0] * count
        self.failed: set[int] = set()
        """Workers that are given up."""
        self.on_ready: Callable[[Member], None] = lambda _member: None
        self.on_ended: Callable[[Member], None] = lambda _member: None
        """Hears that a worker ended that should not have."""
        self.on_failed: Callable[[], None] = lambda: None
        """Hears that the last worker is given up."""
        self._sockets = sockets
        self._make_work = make_work
        self._members: dict[int, Member] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._is_stopping = asyncio.Event()
        self._news = asyncio.Event()
        """Somebody is ready, or died."""
        self._left = 0

    # -- their lives -------------------------------------------------------------------------

    async def start(self) -> None:
        """Start all, and wait until they serve; raises BaseloadError if one does not."""
        self._tasks = [asyncio.ensure_future(self._supervise(at)) for at in range(self.count)]
        while len(self.ready()) < self.count:
            await self._news.wait()
            self._news.clear()
            if any(self.restarts):
                at = next(at for at in range(self.count) if self.restarts[at])
                raise BaseloadError(f"worker {at} ended before it served; its words are above")

    def ready(self) -> list[Member]:
        """Give the workers that serve."""
        return [self._members[at] for at in sorted(self._members) if self._members[at].ready_at]

    def told(self, heard: Container[int]) -> list[str]:
        """Say of each worker how it stands; `heard` are those that answered just now."""
        now, lines = time.monotonic(), []
        for at in range(self.count):
            member, again = self._members.get(at), f", {self.restarts[at]} restarts"
            if at in self.failed:
                lines.append(f"worker {at}: given up{again}")
            elif member is None or member.ready_at is None:
                lines.append(f"worker {at}: starting{again}")
            else:
                up_s = now - member.ready_at
                silence = "" if at in heard else ", does not answer"
                lines.append(f"worker {at}: pid {member.pid}, {up_s:.0f} s up{again}{silence}")
        return lines

    def missing(self, heard: Container[int]) -> dict[int, str]:
        """Say of each worker that did not answer just now why; nobody is missed while all leave.

        It is `given up`, `starting` or `silent`.
        """
        if self._is_stopping.is_set():
            return {}
        serving = {member.index for member in self.ready()}
        return {
            at: "given up" if at in self.failed else "silent" if at in serving else "starting"
            for at in range(self.count)
            if at not in heard
        }

    async def drain(self, *, is_succeeded: bool) -> int:
        """See all off; give how many answers had to be told to stop."""
        self._is_stopping.set()
        await self._ask_or_kill("drain", b"succeeded" if is_succeeded else b"")
        await asyncio.gather(*self._tasks)
        return self._left

    async def hurry(self) -> None:
        """Have nobody wait any longer."""
        await self._ask_or_kill("hurry", b"")

    async def _ask_or_kill(self, what: str, body: bytes) -> None:
        """Ask everyone; who does not serve yet, or hears nothing any more, is not waited for."""
        answers = await self.ask_all(what, body)
        for member in list(self._members.values()):
            if member.index not in answers:
                self.kill(member)

    async def end(self) -> None:
        """End whoever is still there, for a start that failed: a closed line makes them leave."""
        self._is_stopping.set()
        for member in self._members.values():
            member.channel.close()
        await asyncio.gather(*self._tasks)

    async def _supervise(self, index: int) -> None:
        record = Record()
        while not self._is_stopping.is_set() and self._sockets.listen:
            began_at = time.monotonic()
            member, code = await self._live(index)
            self._left += member.left
            if self._is_stopping.is_set():
                break
            ready_s = None if member.ready_at is None else time.monotonic() - began_at
            record = record.after_death(ready_s)
            self.restarts[index] += 1
            logger.error("worker %d, pid %d, ended with %s", index, member.pid, code)
            self.on_ended(member)
            self._news.set()
            if record.is_hopeless():
                self._give_up(index)
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_stopping.wait(), record.pause_s())

    async def _live(self, index: int) -> tuple[Member, int]:
        """Start a worker once, and wait for its end."""
        ours, theirs = socket.socketpair()
        group = copies(self._sockets.of_worker(index, self.count))
        with tempfile.TemporaryFile() as file, theirs, contextlib.ExitStack() as open_:
            for one in group:
                open_.enter_context(one)
            fds = [one.fileno() for one in group]
            work = self._make_work(index, fds, theirs.fileno())
            file.write(msgspec.msgpack.encode(work))
            file.flush()
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *sys.orig_argv[1:],
                pass_fds=[*fds, theirs.fileno(), file.fileno()],
                env=os.environ | {WORKER: str(file.fileno())},
            )
        ours.setblocking(False)
        channel = Channel(ours, lambda what, body: self._answer(index, what, body))
        member = self._members[index] = Member(index, channel, process.pid)
        await channel.open()
        hearing = asyncio.ensure_future(channel.run())
        minding = asyncio.ensure_future(self._mind(member))
        code = await process.wait()
        minding.cancel()
        channel.close()
        await asyncio.wait({hearing})
        del self._members[index]
        return member, code

    async def _mind(self, member: Member) -> None:
        """End a worker that hangs: while it starts, or later."""
        clock = asyncio.get_running_loop().time
        heard_at, most_s = clock(), START_S_MAX
        while clock() - heard_at < most_s:
            await asyncio.sleep(PING_S)
            with contextlib.suppress(ChannelError):
                if member.ready_at is not None:
                    most_s = SILENT_S_MAX
                    await member.channel.ask("ping", wait_s=PING_S)
                    heard_at = clock()
        logger.error("worker %d, pid %d, hangs", member.index, member.pid)
        self.kill(member)

    def kill(self, member: Member) -> None:
        """End a worker at once; another takes its place."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(member.pid, 9)

    def _give_up(self, index: int) -> None:
        self.failed.add(index)
        if len(self._sockets.listen) >= self.count:
            for one in self._sockets.of_worker(index, self.count):
                one.close()
            self._sockets.listen[index] = []
        # Said when its door is closed: whoever comes now is served by the others.
        logger.error("worker %d never served in many starts; it is not started again", index)
        if len(self.failed) == self.count:
            self.on_failed()

    async def _answer(self, index: int, what: str, body: bytes) -> bytes:
        """Hear what a worker says of its own accord."""
        member = self._members.get(index)
        if member is not None and what == "ready":
            member.told = msgspec.msgpack.decode(body, type=Ready)
            member.ready_at = time.monotonic()
            self.on_ready(member)
            self._news.set()
        elif member is not None and what == "drained":
            member.left = int(body)
        return b""

    # -- asking ------------------------------------------------------------------------------

    async def ask_all(
        self, what: str, body: bytes = b"", wait_s: float = ASK_S_MAX
    ) -> dict[int, bytes]:
        """Ask everyone who serves; give the answers. Who gives none is logged and left out."""
        members = self.ready()
        asked = [member.channel.ask(what, body, wait_s) for member in members]
        answers = {}
        for member, answer in zip(
            members, await asyncio.gather(*asked, return_exceptions=True), strict=True
        ):
            if isinstance(answer, bytes):
                answers[member.index] = answer
            elif isinstance(answer, ChannelError):
                logger.warning("worker %d, asked to %s: %s", member.index, what, answer)
            else:
                raise answer
        return answers
