"""A stage for the operator's page: a real gateway, doubles behind it, callers before it.

The gateway runs in a loop and a thread of its own, as does the operator's port, which is the real
one with its admin API; a test plays the operator in a browser, from its own thread. The doubles
answer as `mode` says; they prove nothing about real providers. How a whole `baseload up` is joined
is not shown here, either (`test_page_up`).
"""

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from random import Random
from typing import Any, Self

import msgspec
from prometheus_client import CollectorRegistry

from baseload.config import fleet
from baseload.config.fleet import Fleet, Model, Target
from baseload.config.tenancy import Key, Price
from baseload.gateway import status
from baseload.gateway.gateway import Gateway
from baseload.gateway.live.view import Live, View
from baseload.store.audit import AuditLog
from baseload.store.database import Database
from baseload.store.entry import Entry
from baseload.store.keys import Pass, digest_of
from baseload.web.operator import Operator, make_app
from baseload.web.pages import page_routes
from baseload.web.plane import Action, Moved, Office, Reloaded, Shapes, UnknownBackendError
from tests.gateway.harness import DONE, call_up, chat, token
from tests.gateway.provider import (
    CLOSE,
    END,
    FINISH,
    Asked,
    Provider,
    Step,
    begin,
    chunk,
    refusal,
    whole,
)

START_S_MAX = 20.0
WORDS = 14
IN_FLIGHT_MAX = 200
MODES = {"drain": "draining", "disable": "disabled"}
HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=2</script>&amp;\'"'
"""What a backend may say of itself, if it means ill."""
USAGE = {
    "prompt_tokens": 900,
    "completion_tokens": 140,
    "total_tokens": 1040,
    "prompt_tokens_details": {"cached_tokens": 512},
}


class Double:
    """One backend: how it does is told by `mode`, which a test may change at any time."""

    def __init__(self, name: str, pace_s: float = 0.02) -> None:
        self.name, self.pace_s = name, pace_s
        self.mode = "well"
        self.words = "the model is overloaded, please retry later"
        self._rng = Random(name)
        self.provider = Provider(play=self.play)

    def play(self, asked: Asked) -> Iterator[Step]:
        """Answer one request."""
        if asked.method == "GET":
            yield whole({"object": "list", "data": []})
            return
        if self.mode == "failing":
            yield refusal(503, self.words)
            return
        if not asked.json().get("stream"):
            yield self.pace_s
            yield whole()
            return
        yield self.pace_s * self._rng.uniform(1.0, 6.0)
        yield begin()
        if self.mode == "queueing":
            for _ in range(8):
                yield chunk(b": keep-alive\n\n")
                yield 0.5
        for number in range(WORDS):
            if self.mode == "breaking" and number == WORDS // 2 and self._rng.random() < 0.3:
                yield CLOSE
                return
            yield chunk(token(f"w{number} "))
            yield self.pace_s * self._rng.uniform(0.4, 1.6)
        yield chunk(FINISH) + chunk(_usage()) + chunk(DONE) + END


def _usage() -> bytes:
    return b"data: " + msgspec.json.encode({"id": "c", "choices": [], "usage": USAGE}) + b"\n\n"


def _key(name: str) -> Key:
    return Key(name=name, sha256=digest_of(name.encode()))


class Shelf:
    """A double of a ledger that counts its lines."""

    def __init__(self) -> None:
        self.lines = 0

    def enter(self, entry: Entry) -> None:
        self.lines += 1


class Stage:
    """One running gateway with its operator's port, between `with` and its end."""

    shapes = Shapes(status=status.Status, backend=status.BackendStatus, live=Live)

    def __init__(
        self, *, names: tuple[str, ...] = ("deepseek", "edge", "spare"), **overrides: Any
    ) -> None:
        self.doubles = {name: Double(name) for name in names}
        self.pressed: list[tuple[str, str]] = []
        """What the operator asked to be done."""
        self.token: str | None = None
        self.ended: Counter[int] = Counter()
        """Answers that callers had, by status."""
        self.gateway: Gateway
        self.port = 0
        self._overrides = overrides
        self._keys: dict[str, Pass] = {}
        self._loop: asyncio.AbstractEventLoop
        self._is_over: asyncio.Event
        self._is_up = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="stage", daemon=True)
        self._operator: Operator | None = None
        self._database: Database
        self._traffic: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_up.wait(START_S_MAX), "the stage does not start"
        if self._error is not None:
            raise self._error
        self.open_port()
        return self

    def __exit__(self, *_: object) -> None:
        self.close_port()
        self._loop.call_soon_threadsafe(self._is_over.set)
        self._thread.join(START_S_MAX)
        if self._error is not None:
            raise self._error

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.port}/"

    # -- the operator's port -----------------------------------------------------------------

    def open_port(self) -> None:
        """Begin to serve the page; after `close_port` at the same address."""
        self._database = Database("sqlite:///")
        app = make_app(
            self, Office(audit=AuditLog(self._database)), CollectorRegistry(),
            token=lambda: self.token, more=page_routes(),
        )  # fmt: skip
        self._operator = Operator(("127.0.0.1", self.port), app)
        self._operator.start()
        self.port = self._operator.address[1]

    def close_port(self) -> None:
        """Be gone, as far as an operator can see."""
        if self._operator is not None:
            self._operator.stop()
            self._operator = None
            self._database.close()

    async def status(self) -> status.Status:
        """Take a snapshot."""
        return await self._inside(lambda: status.take(self.gateway))

    async def live(self, since: int) -> Live:
        """Give what the page shows."""

        def take() -> Live:
            modes = {name: MODES[order] for name, order in self.gateway.orders.items()}
            return self.view.take(since, modes=modes)

        return await self._inside(take)

    async def operate(self, backend: str, action: Action) -> Moved:
        """Do what an operator pressed."""
        if backend not in self.gateway.fleet.backends:
            raise UnknownBackendError(f"no backend `{backend}`")
        self.pressed.append((backend, action))

        def do() -> str:
            words = self.gateway.operate(backend, action)
            self.view.forget()
            return words

        return Moved(backend, "", await self._inside(do))

    async def reload(self) -> Reloaded:
        """Read no file: there is none."""
        return Reloaded()

    async def drain(self) -> None:
        """Go on: a stage ends with its test."""

    async def _inside(self, do: Callable[[], Any]) -> Any:
        """Run something in the gateway's thread."""

        async def run() -> Any:
            return do()

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(), self._loop))

    def is_over(self) -> bool:
        """Say whether the end has begun; for tasks of the gateway's loop."""
        return self._is_over.is_set()

    def keep(self, task: "asyncio.Task[None]") -> None:
        """Wait for a task at the end."""
        self._traffic.add(task)

    # -- callers -----------------------------------------------------------------------------

    def call(self, main: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine in the gateway's loop, to its end."""
        return asyncio.run_coroutine_threadsafe(main, self._loop).result(START_S_MAX)

    def begin_traffic(self, rate: float, model: str = "deepseek-chat", keys: str = "web") -> None:
        """Let callers call, so many times a second, until the end; `keys` are split by spaces.

        Each key's secret is its name. From now on, callers need a key.
        """

        async def go() -> None:
            self._keys |= {name: Pass(_key(name)) for name in keys.split()}
            self.gateway.tenants.replace(self._keys.values())
            task = asyncio.create_task(self._call_on(rate, model, keys.split()))
            self._traffic.add(task)

        self.call(go())

    async def _call_on(self, rate: float, model: str, keys: list[str]) -> None:
        rng = Random(model)
        async with asyncio.TaskGroup() as group:
            open_: set[asyncio.Task[None]] = set()
            while not self._is_over.is_set():
                await asyncio.sleep(rng.expovariate(rate))
                if len(open_) < IN_FLIGHT_MAX:
                    # Earlier keys call more often than later ones.
                    key = keys[min(int(rng.expovariate(1.2)), len(keys) - 1)]
                    task = group.create_task(self._call_once(model, key))
                    open_.add(task)
                    task.add_done_callback(open_.discard)

    async def _call_once(self, model: str, key: str) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            async with call_up(self.gateway.address[1]) as caller:
                words = chat(model, stream=True)
                await caller.send(
                    words.replace(b"\r\n", b"\r\nauthorization: Bearer %b\r\n" % key.encode(), 1)
                )
                answer = await caller.answer()
                self.ended[answer.status] += 1

    # -- the gateway -------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - it is raised in the test's own thread
            self._error = error
            self._is_up.set()

    async def _serve(self) -> None:
        self._loop, self._is_over = asyncio.get_running_loop(), asyncio.Event()
        async with contextlib.AsyncExitStack() as stack:
            for double in self.doubles.values():
                await stack.enter_async_context(double.provider)
            self.gateway = Gateway(self._fleet(), ledger=Shelf())
            self.view = View(self.gateway)
            await self.gateway.start()
            self._is_up.set()
            await self._is_over.wait()
            await asyncio.gather(*self._traffic)
            await self.gateway.drain()

    def _fleet(self) -> Fleet:
        names = list(self.doubles)
        first = {
            name: Target(backend=name, model="deepseek-v3", share=share, weights="v3")
            for name, share in zip(names[:2], (70, 30), strict=False)
        }
        rest = {name: Target(backend=name, model="small") for name in names[2:]}
        tiers = (first, rest) if rest else (first,)
        whole_: dict[str, Any] = {
            "listen": "127.0.0.1:0",
            "drain_s": 2.0,
            "backends": {
                name: fleet.Backend(
                    name=name, url=double.provider.url, prefill="continue_final_message",
                    probe_s=1.0,
                )
                for name, double in self.doubles.items()
            },
            "models": {
                "deepseek-chat": Model(name="deepseek-chat", tiers=tiers),
                "deepseek-reasoner": Model(name="deepseek-reasoner", tiers=(first,)),
            },
            "prices": tuple(
                Price(
                    backend=name, model="deepseek-v3", since="2026-01-01", input_usd_mtok=0.28,
                    cached_usd_mtok=0.028, output_usd_mtok=0.42,
                )
                for name in names[:2]
            ),
        }  # fmt: skip
        return Fleet(**(whole_ | self._overrides))
