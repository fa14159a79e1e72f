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
    """The data plane of one running baseload, asked from another thread.

    `live`, `operate` and `reload` are called in the gateway's loop; what is not given is no part of
    this baseload, and whoever asks for it is told so.
    """

    def __init__(
        self,
        gateway: Gateway,
        engines: Callable[[], dict[str, str]],
        stop: asyncio.Event,
        *,
        live: Callable[[int], object] | None = None,
        live_type: type = dict,
        operate: Callable[[str, Action], Moved] | None = None,
        reload: Callable[[], Awaitable[Reloaded]] | None = None,
    ) -> None:
        """`engines` says what each engine's supervisor knows; `stop` begins the drain."""
        self.shapes = Shapes(status=status.Status, backend=status.BackendStatus, live=live_type)
        self._gateway = gateway
        self._engines = engines
        self._stop = stop
        self._live = live
        self._operate = operate
        self._reload = reload

    def status(self) -> Awaitable[status.Status]:
        """Take a snapshot."""
        return self._asked(lambda: status.take(self._gateway, self._engines()))

    def live(self, since: int) -> Awaitable[object]:
        """Give what the page shows."""
        if (live := self._live) is None:
            raise NotBuiltError("this baseload keeps no live data")
        return self._asked(lambda: live(since))

    def operate(self, backend: str, action: Action) -> Awaitable[Moved]:
        """Enable, drain or disable a backend."""
        if (operate := self._operate) is None:
            raise NotBuiltError(f"this baseload cannot {action} backends while it runs")
        return self._asked(lambda: operate(backend, action))

    def reload(self) -> Awaitable[Reloaded]:
        """Read the fleet file again."""
        if (reload := self._reload) is None:
            raise NotBuiltError("this baseload reads its fleet file at the start only")

        async def begin() -> Reloaded:
            return await reload()

        return self._put(begin())

    def drain(self) -> Awaitable[None]:
        """Begin to stop."""
        return self._asked(self._stop.set)

    def _asked(self, question: Callable[[], _T]) -> Awaitable[_T]:
        async def ask() -> _T:
            return question()

        return self._put(ask())

    def _put(self, question: Coroutine[Any, Any, _T]) -> Awaitable[_T]:
        """Put a question to the gateway's loop; the answer may be awaited in any other."""
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(question, self._gateway.loop))
