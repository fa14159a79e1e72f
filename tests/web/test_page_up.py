"""The operator's page of a real `baseload up`: what is pressed in a browser reaches the gateway.

Nothing stands between but what is shipped: page, admin API with its token, plane, gateway, routing.
The backends are the scripted doubles of the gateway's tests; see there what these do not prove.
"""

import asyncio
import json
import sys
from pathlib import Path

from tests.cli.running import Running, fleet_file, up, with_processes
from tests.gateway.harness import Backend, chat, raw
from tests.web.browser import Watched, chromium

TOKEN = "correct-horse-battery-staple"
UPDATES_MAX = 5
CARD = "article[aria-label='Backend b0']"


def _press(watched: Watched, action: str, shown: str) -> int:
    """Press a key of the first backend; give how many updates, one a second, its card needs."""
    page = watched.page
    page.evaluate("performance.clearMeasures('update')")
    page.click(f"{CARD} [data-action={action}]")
    watched.wait(f"""document.querySelector("{CARD} .chip").textContent === '{shown}'""")
    return int(page.evaluate("performance.getEntriesByName('update').length"))


async def _verb(running: Running, *words: str) -> str:
    """Ask the gateway by a verb of the command line."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "baseload", *words,
        "--url", f"http://127.0.0.1:{running.admin}", "--token", TOKEN,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, _ = await process.communicate()
    return " ".join(said.decode().split())


@with_processes
async def test_a_click_drains_and_everybody_knows(tmp_path: Path):
    """The card says so within five seconds, as do verbs and audit log; calls go elsewhere, and back."""
    async with Backend() as first, Backend() as second:
        file = fleet_file(tmp_path, first, second, admin_token=TOKEN)
        asked = []

        def look(running: Running) -> list[int]:
            """Play the operator, in a thread of its own."""

            def call() -> None:
                answers = asyncio.run_coroutine_threadsafe(raw(running.port, chat()), loop)
                assert 200 == answers.result()[0].status
                asked.append((len(first.asked), len(second.asked)))

            with chromium() as browser:
                watched = Watched(browser, f"http://127.0.0.1:{running.admin}/")
                watched.page.fill("#token-value", TOKEN)
                watched.page.keyboard.press("Enter")
                watched.page.wait_for_selector(CARD)
                call()
                updates = [_press(watched, "drain", "drained")]
                call()
                drained = asyncio.run_coroutine_threadsafe(_verb(running, "backends"), loop)
                assert "b0 drained" in drained.result()
                updates.append(_press(watched, "enable", "up"))
                call()
                assert [] == watched.wrongs()
            return updates

        loop = asyncio.get_running_loop()
        async with up(file) as running:
            updates = await asyncio.to_thread(look, running)
            enabled = await _verb(running, "backends")
            audit = json.loads(await _verb(running, "audit", "--json"))["changes"]

    assert [(1, 0), (1, 1), (2, 1)] == asked
    assert max(updates) <= UPDATES_MAX
    assert "b0 up" in enabled
    assert [("token", "enable_backend", "b0"), ("token", "drain_backend", "b0")] == [
        (row["who"], row["action"], row["target"]) for row in audit
    ]
