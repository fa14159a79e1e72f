"""Callers who read slowly, and sockets that are kept small so that a few megabytes fill them."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.gateway.harness import Caller, until


def keep_small(monkeypatch: pytest.MonkeyPatch, size: int, *sides: type[asyncio.Protocol]) -> None:
    """Keep the kernel from growing sockets of these protocols beyond `size` bytes."""

    def made_small(made: Callable) -> Callable:
        def connection_made(self: asyncio.Protocol, transport: asyncio.Transport) -> None:
            pipe = transport.get_extra_info("socket")
            for which in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                pipe.setsockopt(socket.SOL_SOCKET, which, size)
            made(self, transport)

        return connection_made

    for side in sides:
        monkeypatch.setattr(side, "connection_made", made_small(side.connection_made))


@asynccontextmanager
async def slow_caller(port: int, size: int) -> AsyncIterator[Caller]:
    """Give a caller whose own socket holds `size` bytes; it hangs up at the end."""
    pipe = socket.socket()
    pipe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    pipe.setblocking(False)
    await asyncio.get_running_loop().sock_connect(pipe, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=pipe, limit=16 << 10)
    try:
        yield Caller(reader, writer)
    finally:
        writer.transport.abort()
        await until(writer.transport.is_closing)
