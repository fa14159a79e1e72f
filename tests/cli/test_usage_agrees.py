"""The page's table of keys, the admin API and `baseload usage` tell the same of the same traffic."""

import asyncio
import json
from hashlib import sha256
from typing import Any

from typer.testing import CliRunner

from baseload.cli import app
from tests.cli.running import fleet_file, up, with_processes
from tests.gateway.harness import Backend, call_up, raw, request

KEYS = {"team-a": "sk-a", "team-b": "sk-b"}
PRICE = {
    "backend": "b0", "model": "m", "since": "2020-01-01", "input_usd_mtok": 3.0,
    "output_usd_mtok": 7.0,
}  # fmt: skip
FIELDS = ("calls", "prompt_tokens", "cached_tokens", "completion_tokens", "unpriced")
HI = [{"role": "user", "content": "hi"}]
ASKS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("chat/completions", {"messages": HI}),
    ("chat/completions", {"messages": HI, "stream": True}),
    ("messages", {"messages": HI, "max_tokens": 9}),
    ("messages", {"messages": HI, "max_tokens": 9, "stream": True}),
    ("responses", {"input": "hi"}),
    ("embeddings", {"input": "hi"}),
)


def told(rows: list[dict[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """Give by key what each of them says."""
    return {
        row["by"]["key"]: (*(row[name] for name in FIELDS), round(row["cost_usd"] or 0.0, 6))
        for row in rows
    }


async def look(port: int, path: str) -> Any:
    """Ask the operator's port, by the name that it goes by here."""
    lines = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    async with call_up(port) as caller:
        await caller.send(lines.encode())
        return (await caller.answer("GET")).json()


@with_processes
async def test_three_places_tell_the_same(tmp_path):
    """Calls, tokens and money of each key, whichever API they came by and however they ended."""
    keys = [
        {"name": name, "sha256": sha256(secret.encode()).hexdigest(), "rpm": 9}
        for name, secret in KEYS.items()
    ]
    tiers = [{"b1": {"model": "x"}}]
    async with Backend() as priced, Backend() as unpriced:
        models = {"m": {"tiers": [{"b0": {"model": "m"}}]}, "unpriced": {"tiers": tiers}}
        file = fleet_file(tmp_path, priced, unpriced, models=models, keys=keys, prices=[PRICE])
        async with up(file) as running:
            for name, secret in KEYS.items():
                for path, body in ASKS:
                    for model in ("m", "unpriced") if name == "team-a" else ("m",):
                        head = f"Authorization: Bearer {secret}\r\n"
                        data = request(body | {"model": model}, f"/v1/{path}", head=head)
                        await raw(running.port, data)
            async with call_up(running.port) as gone:
                await gone.send(request({"model": "m", "messages": HI, "stream": True}, head=head))
                await gone.head()
            page: list[dict[str, Any]] = []
            while sum(row["day"]["calls"] for row in page) < 16:
                live = await look(running.admin, "/api/v1/live")
                page = live["state"]["keys"]
            asked: dict[str, Any] = {"rows": []}
            while sum(row["calls"] for row in asked["rows"]) < 16:  # Written a moment later.
                asked = await look(running.admin, "/api/v1/usage?by=key&since=1h")
            words = ["usage", "--by", "key", "--since", "1h", "--json", "-c", str(file)]
            cli = await asyncio.to_thread(CliRunner().invoke, app, words)

    rows = json.loads(cli.stdout)
    shown = [{"by": {"key": row["name"]}} | row["day"] for row in page]
    assert set(KEYS) == set(told(rows)), live
    assert told(rows) == told(asked["rows"]) == told(shown), asked
    assert told(rows) == told([{"by": {"key": row["name"]}} | row["hour"] for row in page])
    assert {"team-a": 9, "team-b": 7} == {row["by"]["key"]: row["calls"] for row in rows}
