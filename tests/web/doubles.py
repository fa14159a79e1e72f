"""Doubles of what the operator's port asks, and a port that asks them.

`DoublePlane` and `DoubleKeys` keep to the protocols of `web/plane` and answer at once from memory.
They show what the port makes of answers and errors; that a gateway or a key store gives such
answers is not proven by them. The audit log is the real one, on a real SQLite file.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
from prometheus_client import CollectorRegistry, Counter

from baseload.config.tenancy import Key
from baseload.errors import BaseloadError
from baseload.gateway.status import BackendStatus, Status
from baseload.store.audit import AuditLog
from baseload.store.database import Database
from baseload.web.operator import Operator, make_app
from baseload.web.plane import (
    KeyShown,
    Moved,
    Office,
    Reloaded,
    SecretShown,
    Shapes,
    UnknownBackendError,
    UsageRow,
)

TOKEN = "correct-horse-battery-staple"
SECRET = "bl-the-secret-that-is-shown-once"


class Live(msgspec.Struct):
    """What a page might be shown."""

    since: int
    calls: list[int] = []


class DoublePlane:
    """A data plane with the backends `edge` and `cpu`."""

    shapes = Shapes(status=Status, backend=BackendStatus, live=Live)

    def __init__(self) -> None:
        self.state = "serving"
        self.states = {"edge": "enabled", "cpu": "enabled"}
        self.report = Reloaded(changed=["models.m.stall_s"])

    async def status(self) -> Status:
        backends = [
            BackendStatus(
                name=name, where="http://127.0.0.1:9/v1", state="up", in_flight=1, limit=8,
                failure=None,
            )
            for name in self.states
        ]  # fmt: skip
        return Status(
            state=self.state, version="0", uptime_s=1.0, listen="127.0.0.1:8080", connections=1,
            in_flight=1, waiting=0, backends=backends, models=[],
        )  # fmt: skip

    async def live(self, since: int) -> Live:
        return Live(since)

    async def operate(self, backend: str, action: str) -> Moved:
        if backend not in self.states:
            raise UnknownBackendError(f"{backend}: there is no such backend")
        was = self.states[backend]
        self.states[backend] = {"enable": "enabled", "drain": "draining"}.get(action, "disabled")
        return Moved(backend, was, self.states[backend])

    async def reload(self) -> Reloaded:
        return self.report

    async def drain(self) -> None:
        self.state = "draining"


class NoSuchKeyError(BaseloadError):
    pass


class TakenError(BaseloadError):
    pass


class TermsError(BaseloadError):
    pass


class DoubleKeys:
    """Keys in memory, with the methods of a key store."""

    def __init__(self) -> None:
        self.kept: dict[str, KeyShown] = {}

    def list(self) -> list[KeyShown]:
        return list(self.kept.values())

    def get(self, name: str) -> KeyShown:
        if name not in self.kept:
            raise NoSuchKeyError(f"{name}: there is no such key")
        return self.kept[name]

    def create(self, name: str, /, **terms: Any) -> tuple[KeyShown, str]:
        if name in self.kept:
            raise TakenError(f"{name}: a key has this name already")
        if name.endswith("\n"):
            raise TermsError("a name is one line")
        self.kept[name] = KeyShown(
            name=name, created_at=1.0, secrets=(SecretShown(shown="bl-the-s", created_at=1.0),),
            **terms,
        )  # fmt: skip
        return self.kept[name], SECRET

    def update(self, name: str, /, **changes: Any) -> KeyShown:
        self.kept[name] = msgspec.structs.replace(self.get(name), **changes)
        return self.kept[name]

    def rotate(self, name: str, grace_s: float = 0.0) -> tuple[KeyShown, str]:
        return self.get(name), SECRET

    def revoke(self, name: str) -> KeyShown:
        key = self.get(name)
        del self.kept[name]
        return msgspec.structs.replace(key, revoked_at=2.0)


class DoubleUsage:
    """A ledger with one row."""

    def totals(self, by: tuple[str, ...], since: float, until: float) -> list[UsageRow]:
        return [
            UsageRow(
                by=dict.fromkeys(by, "x"), calls=3, failed=0, prompt_tokens=1, cached_tokens=0,
                completion_tokens=1, reasoning_tokens=0, cost_usd=0.5, unpriced=0, estimated=0,
            )
        ]  # fmt: skip


STATUSES = {NoSuchKeyError: 404, TakenError: 409, TermsError: 422}


@dataclasses.dataclass
class Port:
    """A served port: what it was made from, and a client that shows its token."""

    plane: DoublePlane
    keys: DoubleKeys
    audit: AuditLog
    client: httpx.Client
    app: Any

    def actions(self) -> list[tuple[str, str, str, str, str]]:
        """Give the audit log in short, oldest first."""
        return [
            (row.action, row.target, row.was, row.became, row.result)
            for row in reversed(self.audit.newest(1000))
        ]


@contextlib.contextmanager
def served(
    place: Path,
    token: str | None = TOKEN,
    host: str = "127.0.0.1",
    audit: Any = None,
    **more: Any,
) -> Iterator[Port]:
    """Serve an operator's port over doubles; with a real audit log, unless another is given."""
    database = Database(f"sqlite:///{place}/audit.db")
    plane, keys = more.pop("plane", None) or DoublePlane(), DoubleKeys()
    file_key = Key(name="from-file", sha256="0" * 64, rpm=60)
    office = Office(
        audit=audit or AuditLog(database), keys=keys, usage=DoubleUsage(),
        file_keys=lambda: (file_key,), statuses=STATUSES,
    )  # fmt: skip
    if (registry := more.pop("registry", None)) is None:
        registry = CollectorRegistry()
        Counter("calls", "Calls.", registry=registry).inc(3)
    app = make_app(plane, office, registry, host=host, token=lambda: token, **more)
    port = Operator(("127.0.0.1", 0), app)
    port.start()
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    try:
        url = f"http://127.0.0.1:{port.address[1]}"
        with httpx.Client(base_url=url, headers=headers, timeout=10, trust_env=False) as client:
            yield Port(plane, keys, AuditLog(database), client, app)
    finally:
        port.stop()
        database.close()
