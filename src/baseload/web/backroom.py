"""Where does work that blocks go, so that the operator's loop never waits for a disk?

Into a few threads behind a short queue. Whoever waits does so for a bounded time; work whose waiter
has gone is dropped if it has not begun. The threads are daemons: a database that hangs cannot keep
the process from ending.

Not here: what is done there. A store that is slow or full is a 503 to its asker and nothing else.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import ParamSpec, TypeVar

from baseload.store.database import DatabaseError

THREADS = 2
"""One that is stuck leaves another; more would only queue at the store's own lock."""
QUEUE_MAX = 32
"""Pieces of work that may wait; an operator's port has few askers."""
WAIT_S = 6.0
"""Longest wait for a piece of work: a little more than a SQLite file may be busy."""

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Job = Callable[[], None]


class Backroom:
    """Threads for work that blocks, begun when first needed."""

    def __init__(self) -> None:
        self._jobs: queue.Queue[_Job | None] = queue.Queue(QUEUE_MAX)
        self._threads: list[threading.Thread] = []

    async def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Do a piece of work in a thread; raises `DatabaseError` if that takes too long."""
        self._begin()
        done: Future[_T] = Future()
        try:
            self._jobs.put_nowait(partial(_perform, done, partial(work, *args, **kwargs)))
        except queue.Full:
            raise DatabaseError("the store is busy: too much waits for it already") from None
        try:
            async with asyncio.timeout(WAIT_S):
                return await asyncio.wrap_future(done)
        except TimeoutError:
            raise DatabaseError(f"the store has not answered for {WAIT_S:g} s") from None

    def close(self) -> None:
        """Let the threads end when they have done what waits."""
        for _ in self._threads:
            try:
                self._jobs.put_nowait(None)
            except queue.Full:
                return  # They are stuck; as daemons they hold nothing up.
        self._threads = []

    def _begin(self) -> None:
        while len(self._threads) < THREADS:
            thread = threading.Thread(target=_serve, args=(self._jobs,), name="store", daemon=True)
            self._threads.append(thread)
            thread.start()


def _serve(jobs: "queue.Queue[_Job | None]") -> None:
    while (job := jobs.get()) is not None:
        job()


def _perform(done: "Future[_T]", work: Callable[[], _T]) -> None:
    if not done.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to who asked
        done.set_exception(error)
    else:
        done.set_result(result)
