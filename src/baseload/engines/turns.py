"""Who may start next? Engines that share a GPU come up one after another.

An engine measures what is free on its GPUs while it loads, and takes its part of that. Two that do
so at once each take the other's memory for their own, and one of them dies. So whoever starts holds
its GPUs until it is ready or dead. An engine that may choose among all GPUs waits for all of them.
"""

import asyncio
from collections.abc import Iterable

ALL = frozenset((-1,))
"""Stands for every GPU there is."""


class Turns:
    """The GPUs on which engines are just starting."""

    def __init__(self) -> None:
        self._held: dict[object, frozenset[int]] = {}
        self._changed = asyncio.Event()

    async def take(self, who: object, gpus: Iterable[int]) -> None:
        """Wait for these GPUs and hold them; each start is bounded, so the wait is too."""
        wanted = frozenset(gpus)
        while any(_overlap(wanted, held) for held in self._held.values()):
            await self._changed.wait()
        self._held[who] = wanted

    def narrow(self, who: object, gpus: Iterable[int]) -> None:
        """Hold only these of what is held."""
        if who in self._held:
            self._held[who] = frozenset(gpus)
            self._tell()

    def give(self, who: object) -> None:
        """Hold nothing any longer; a second time does nothing."""
        if self._held.pop(who, None) is not None:
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _overlap(one: frozenset[int], other: frozenset[int]) -> bool:
    return bool(one and other and (one & other or ALL in (one, other)))
