"""Gateways that run batches, with doubles behind them and a real database beside them."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from baseload.config.tenancy import Jobs
from baseload.gateway.backoffice import BackOffice
from baseload.gateway.gateway import Gateway
from tests.gateway.harness import start_gateway

Open = Callable[..., Any]


def lines(count: int, **body: Any) -> bytes:
    """Give a file of requests, each with its number as its prompt."""
    return b"".join(
        json.dumps(
            {
                "custom_id": f"line-{number}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": "m", "messages": [{"role": "user", "content": str(number)}]}
                | body,
            }
        ).encode()
        + b"\n"
        for number in range(count)
    )


@pytest.fixture
def office(tmp_path: Path) -> Open:
    """Open a gateway whose batches are kept in this test's folder."""

    @asynccontextmanager
    async def open_(
        *backends: Any, jobs: Jobs | None = None, **more: Any
    ) -> AsyncIterator[Gateway]:
        async with start_gateway(*backends, **more) as gateway:
            back = BackOffice(jobs or Jobs(), f"sqlite:///{tmp_path}/jobs.db", gateway.reception)
            back.start()
            gateway.office = back  # type: ignore[attr-defined]  # for tests that look inside
            try:
                yield gateway
            finally:
                back.pause()
                await back.stop()

    return open_
