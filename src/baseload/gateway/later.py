"""An answer that has to be waited for: a coroutine on one side, a connection on the other.

For what is no call to a model: files, say. The caller may leave at any time, which cancels the
work, and may read slowly, which makes it wait.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Protocol

from baseload.gateway.answering import Caller

logger = logging.getLogger("baseload.gateway")


class Work(Protocol):
    """Makes one answer on a caller; asks `later.writable()` before it gives more."""

    def __call__(self, later: "Later") -> Coroutine[Any, Any, None]:
        """Make it."""


class Later:
    """Whoever makes the answer, as the caller's connection knows it."""

    def __init__(self, caller: Caller, work: Work) -> None:
        self.caller = caller
        self._writable = asyncio.Event()
        self._writable.set()
        caller.busy = self
        self._task = asyncio.get_running_loop().create_task(self._make(work))

    async def writable(self) -> None:
        """Wait until the caller reads."""
        await self._writable.wait()

    async def _make(self, work: Work) -> None:
        """Make the answer; a defect of ours must not leave the caller waiting for ever."""
        try:
            await work(self)
        except Exception as error:  # noqa: BLE001 - whatever it is, there will be no answer
            # Its words may repeat what the caller sent.
            logger.error("an answer could not be made: %s", type(error).__name__)  # noqa: TRY400
            self.caller.abort()

    def caller_gone(self) -> None:
        """The caller left: nobody wants the answer any more."""
        self._task.cancel()

    def pause(self) -> None:
        """The caller does not read."""
        self._writable.clear()

    def resume(self) -> None:
        """The caller reads again."""
        self._writable.set()
