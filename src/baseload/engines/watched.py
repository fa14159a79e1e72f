"""Is an engine that somebody else started up and answering? It is looked at, and never touched.

Ready once it has really answered a chat, down when its health has been silent for a while, ready
again as soon as it answers again. It has no restarts, because they are not ours to make, and it is
never given up. The same words as of an engine of our own tell of it (`state`), and the same two
methods run and stop it.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable

from baseload.config.fleet import Backend
from baseload.engines.asking import PLAIN, Access, Address, access_of, ask, chat_fault
from baseload.engines.idling import Warmer
from baseload.engines.kinds import kind_of
from baseload.engines.speaking import Speaker
from baseload.engines.state import PATIENCE, EngineState, Patience, Phase
from baseload.errors import EngineError

FOUND, UNKNOWN = 200, 404
REFUSED = (401, 403)

logger = logging.getLogger("baseload.engines")


class Watched:
    """An engine at a URL, watched by `run()` until `stop()`."""

    def __init__(
        self,
        backend: Backend,
        on_state: Callable[[EngineState], None],
        *,
        patience: Patience = PATIENCE,
    ) -> None:
        """Prepare to look; raises EngineError if the backend has no model or no URL."""
        if backend.url is None:
            raise EngineError(f"backends.{backend.name}: needs a `url`")
        self.kind = kind_of(backend)
        self.name = backend.name
        self.served_model = backend.model or ""
        self.slots = self.kind.slots(backend)
        self._backend, self._url = backend, backend.url
        self._on_state = on_state
        self._patience = patience
        self._address: Address = ("", 0)
        self._access: Access = PLAIN
        self.warmer = Warmer(backend)
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()
        self.state = EngineState(self.name, "down", reason="not looked at", is_ours=False)

    async def run(self) -> None:
        """Watch until `stop()` or cancellation."""
        self._ended.clear()
        watching = asyncio.create_task(self._watch())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not watching.done():
                self._tell("down", "not watched any longer")
            elif (error := watching.exception()) is not None:
                self._tell("failed", f"watching it failed: {type(error).__name__}")
                raise error
        finally:
            watching.cancel()
            stopping.cancel()
            await asyncio.wait({watching})
            self._ended.set()

    async def stop(self) -> None:
        """Stop looking, and wait until `run()` is through."""
        self._stopping.set()
        await self._ended.wait()

    async def _watch(self) -> None:
        try:
            ca, key = self._backend.ca, self._backend.api_key or ""
            self._address, self._access = access_of(self._url, key, ca)
        except (OSError, ssl.SSLError) as error:
            self._tell("failed", f"backends.{self.name}.ca: {error.strerror or error}")
            return
        self._tell("starting")
        while True:
            fault = await self._fault()
            if fault is None:
                logger.info("engine %s answers at its url", self.name)
                self._tell("ready")
                async with self.warmer.keeping(self._speaker()):
                    fault = await self._until_silent()
            if self.state.phase != "down" or self.state.reason != fault:
                logger.warning("engine %s is down: %s", self.name, fault)
                self._tell("down", fault)
            await asyncio.sleep(self._patience.ping_every_s)

    async def _fault(self) -> str | None:
        """Say why it cannot be used; None once it has answered a chat."""
        if (fault := await self._ill()) is not None:
            return fault
        stated = self._patience.ready_max_s or self._backend.serve.ready_max_s
        wait_max_s = stated or self.kind.ready_max_s
        try:
            return await self.warmer.first(
                self._speaker(),
                lambda: chat_fault(
                    self._address, self.served_model, wait_max_s, self._access, is_named=False
                ),
                None,  # Others may be served by it: one chat at a time.
            )
        except OSError as error:
            return f"no answer to a chat: {error.strerror or type(error).__name__}"

    def _speaker(self) -> Speaker:
        return Speaker(self._address, self.served_model, self._access)

    async def _until_silent(self) -> str:
        """Return why, when it has not been well for `liveness_max_s`."""
        patience, clock = self._patience, asyncio.get_running_loop().time
        heard_at, fault = clock(), ""
        while clock() - heard_at < patience.liveness_max_s:
            await asyncio.sleep(patience.ping_every_s)
            found = await self._ill()
            if found is None:
                heard_at = clock()
            fault = found or fault
        return f"{fault}, for {patience.liveness_max_s:g} s"

    async def _ill(self) -> str | None:
        """Ask its health, or where it knows no such question, for its models."""
        root = self._access.prefix.removesuffix("/v1")
        told = 0
        for path in (f"{root}/health", f"{self._access.prefix}/models"):
            with contextlib.suppress(OSError):
                status, _ = await ask(
                    self._address, path, b"", self._patience.ping_max_s, self._access
                )
                if status == FOUND:
                    return None
                if status in REFUSED:
                    return f"it refuses the key (status {status})"
                told = status if told in (0, UNKNOWN) else told
        return f"health answers {told}" if told else "no answer to a look at its health"

    def _tell(self, phase: Phase, reason: str = "") -> None:
        is_ready = phase == "ready"
        self.state = EngineState(
            name=self.name,
            phase=phase,
            address=self._address if is_ready else None,
            reason=reason,
            url=self._url if is_ready else "",
            slots=self.slots,
            context=self._backend.serve.context or 0,
            is_ours=False,
        )
        self._on_state(self.state)
