"""A real browser for tests of the page: headless Chromium, driven by Playwright.

It writes down whatever a page must not do: errors on its console, what its policy forbids, requests
to anywhere but the gateway.
"""

import contextlib
import shutil
from collections.abc import Iterator
from time import monotonic
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, sync_playwright

from tests.needs import give_up

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
WAIT_MS = 15_000
LOOK_MS = 50
LISTEN = """
window.forbidden = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.forbidden.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Give a browser, or give the test up where there is none."""
    path = shutil.which("chromium")
    if path is None:
        give_up("chromium (Debian package)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page, and what it did wrong."""

    def __init__(
        self, browser: Browser, url: str, width: int = 1280, scheme: str = "light"
    ) -> None:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,  # type: ignore[arg-type]
            reduced_motion="reduce",
        )
        context.add_init_script(LISTEN)
        self.page: Page = context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.errors: list[str] = []
        self.abroad: list[str] = []
        self._home = urlsplit(url).netloc
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.goto(url)

    def _heard(self, message: object) -> None:
        kind, text = message.type, message.text  # type: ignore[attr-defined]
        # A browser itself notes each request that fails; that one does is what some tests are about.
        if kind in {"error", "warning"} and not text.startswith("Failed to load resource"):
            self.errors.append(text)

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "data" and parts.netloc != self._home:
            self.abroad.append(url)

    def wrongs(self) -> list[str]:
        """Give all that the page did and must not do."""
        return [*self.errors, *self.abroad, *self.page.evaluate("window.forbidden")]

    def wait(self, condition: str) -> None:
        """Wait until an expression is true in the page; its policy keeps Playwright's own from it."""
        until = monotonic() + WAIT_MS / 1000
        while not self.page.evaluate(condition):
            assert monotonic() < until, f"never true: {condition}"
            self.page.wait_for_timeout(LOOK_MS)

    def text(self, selector: str) -> str:
        """Give an element's text as it is seen."""
        return self.page.inner_text(selector)
