"""The page while the gateway is busy: it goes on, and what an operator presses is still done.

A static server in C stands in for all backends, and the bench's load generator for the callers.
What an update costs is measured by `python -m tests.web.measure`; here nothing is timed.
"""

from tests.web.browser import Watched, chromium
from tests.web.measure import BACKENDS, KEYS, busy

LOAD_S = 60.0
"""Longer than the test may take; it is cut short at the end."""
UPDATES = 5
BUSY = 100
"""Requests a second that even a slow machine has no trouble with."""


def test_it_stays_usable_under_load():
    """With 20 backends and 200 keys it draws on, second by second, and drains on a click."""
    with chromium() as browser, busy(LOAD_S) as (stage, _load):
        watched = Watched(browser, stage.url)
        shown = "document.querySelector('.legend dd').textContent.replace(',', '')"
        watched.wait(f"parseInt({shown}) >= {BUSY}")
        watched.wait(f"performance.getEntriesByName('update').length >= {UPDATES}")
        watched.page.click("article[aria-label='Backend backend-07'] [data-action=drain]")
        watched.wait(
            "document.querySelector(\"article[aria-label='Backend backend-07'] .chip\")"
            ".textContent === 'drained'"
        )

        assert [("backend-07", "drain")] == stage.pressed
        assert BACKENDS == watched.page.locator(".card").count()
        assert KEYS <= watched.page.locator("#keys tr").count()
        assert [] == watched.wrongs()
