"""How is the operator's port joined to the gateway?

The port lives in a thread of its own, so each question about the gateway is put to the gateway's
loop and awaited from there.

Not here: what is asked (`web/plane`), the store (`office`), and who starts all this (`up`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from baseload.gateway import status
from baseload.gateway.gateway import Gateway
from baseload.web.plane import Action, Moved, NotBuiltError, Reloaded, Shapes

_T = TypeVar("_T")


class StationPlane:
    """The data plane of one running baseload, asked from another thread."""

    shapes = Shapes(status=status.Status, backend=status.BackendStatus, live=dict)

    def __init__(
        self, gateway: Gateway, engines: Callable[[], dict[str, str]], stop: asyncio.Event
    ) -> None:
        """`engines` says what each engine's supervisor knows; `stop` begins the drain."""
        self._gateway = gateway
        self._engines = engines
        self._stop = stop

    def status(self) -> Awaitable[status.Status]:
        """Take a snapshot."""

        async def take() -> status.Status:
            return status.take(self._gateway, self._engines())

        return self._asked(take())

    def live(self, since: float) -> Awaitable[object]:
        """Give what the page shows."""
        raise NotBuiltError("this baseload keeps no live data")

    def operate(self, backend: str, action: Action) -> Awaitable[Moved]:
        """Enable, drain or disable a backend."""
        raise NotBuiltError(f"this baseload cannot {action} backends while it runs")

    def reload(self) -> Awaitable[Reloaded]:
        """Read the fleet file again."""
        raise NotBuiltError("this baseload reads its fleet file at the start only")

    def drain(self) -> Awaitable[None]:
        """Begin to stop."""

        async def begin() -> None:
            self._stop.set()

        return self._asked(begin())

    def _asked(self, question: Coroutine[Any, Any, _T]) -> Awaitable[_T]:
        """Put a question to the gateway's loop; the answer may be awaited in any other."""
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(question, self._gateway.loop))
