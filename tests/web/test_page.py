"""The operator's page in a real browser, before a real gateway with doubles behind it.

A test plays the operator: looks, waits, presses keys. What it does not show: how the page looks
(see `docs/`).
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from baseload.core.facts import FAILED
from tests.web.browser import Watched, chromium
from tests.web.stage import HOSTILE, Stage

HEADLINE = "#headline-words"
SEEN_S_MAX = 5


@pytest.fixture(scope="module", name="browser")
def _browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(name="stage")
def _stage() -> Iterator[Stage]:
    with Stage() as stage:
        yield stage


def _says(words: str) -> str:
    return f"document.querySelector('{HEADLINE}').textContent.includes({words!r})"


def _card(name: str) -> str:
    return f"article[aria-label='Backend {name}']"


def test_a_failing_backend_is_the_headline_within_five_seconds(browser: Browser, stage: Stage):
    """Within five of the gateway's seconds the page names the backend, and says why.

    They are counted by the gateway's own looks, one a second, so that a slow machine proves nothing.
    """
    stage.begin_traffic(8)
    watched = Watched(browser, stage.url)
    watched.wait(_says("All is well"))
    stage.doubles["deepseek"].mode = "failing"
    begun = stage.gateway.pulse.tick
    watched.wait(f"/^deepseek is .*503/.test(document.querySelector('{HEADLINE}').textContent)")

    assert stage.gateway.pulse.tick - begun <= SEEN_S_MAX
    watched.wait("document.querySelector('#feed').textContent.includes('went to edge')")
    watched.wait("document.querySelector('#announce').textContent.startsWith('deepseek is')")
    assert "deepseek is" in watched.page.title()
    assert [] == watched.wrongs()


def test_charts_and_numbers_move(browser: Browser, stage: Stage):
    """With traffic all four charts are drawn, and the numbers beside their names are there."""
    stage.begin_traffic(10)
    watched = Watched(browser, stage.url)
    watched.wait(
        "[...document.querySelectorAll('.chart')].slice(0, 3)"
        ".every(chart => /[1-9]/.test(chart.querySelector('dd').textContent))"
    )
    watched.wait(
        f"""document.querySelector("{_card("deepseek")} [data-part=share]").textContent > '1'"""
    )
    watched.wait("document.querySelectorAll('#keys tr').length === 1")
    painted = watched.page.evaluate(
        "[...document.querySelectorAll('.chart canvas')].map(canvas => canvas.getContext('2d')"
        ".getImageData(0, 0, canvas.width, canvas.height).data.some(value => value > 0))"
    )

    assert [True] * 4 == painted
    assert [] == watched.wrongs()


def test_draining_is_one_click(browser: Browser, stage: Stage):
    """Drain is asked for at once; the card then says so, and offers to enable again."""
    watched = Watched(browser, stage.url)
    with watched.page.expect_request("**/api/v1/backends/edge/drain") as asked:
        watched.page.click(f"{_card('edge')} [data-action=drain]")
    watched.wait(_says("edge is drained by an operator"))
    watched.page.click(f"{_card('edge')} [data-action=enable]")
    watched.wait(_says("All is well"))
    headers = asked.value.headers

    assert ("POST", "1", "application/json") == (
        asked.value.method, headers["x-baseload-admin"], headers["content-type"],
    )  # fmt: skip
    assert [("edge", "drain"), ("edge", "enable")] == stage.pressed
    assert [] == watched.wrongs()


def test_disabling_asks_first_and_warns_of_the_last(browser: Browser, stage: Stage):
    """Disabling asks; for the last backend of a model it says which, and Escape does nothing."""
    watched = Watched(browser, stage.url)
    page = watched.page
    page.click(f"{_card('deepseek')} [data-action=disable]")
    assert page.is_hidden("#confirm-warning")
    page.click("#confirm-yes")
    watched.wait(_says("deepseek is disabled"))
    page.click(f"{_card('edge')} [data-action=drain]")
    warning = watched.text("#confirm-warning")
    page.keyboard.press("Escape")

    assert "last usable backend of deepseek-reasoner" in warning
    assert page.is_hidden("#confirm")
    assert [("deepseek", "disable")] == stage.pressed
    assert [] == watched.wrongs()


def test_all_of_it_works_by_keyboard(browser: Browser, stage: Stage):
    """Shortcuts go to a backend, disable and enable it; dialogs hold the focus; Tab reaches all."""
    watched = Watched(browser, stage.url)
    page, keyboard = watched.page, watched.page.keyboard
    watched.wait("document.querySelectorAll('.card').length === 3")
    keyboard.press("?")
    assert page.is_visible("#shortcuts")
    keyboard.press("Enter")
    assert page.is_hidden("#shortcuts")
    keyboard.press("b")
    keyboard.press("b")
    focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
    keyboard.press("x")
    at_first = page.evaluate("document.activeElement.textContent")
    keyboard.press("Tab")
    keyboard.press("Enter")
    watched.wait(_says("edge is disabled"))
    keyboard.press("e")
    watched.wait(_says("All is well"))

    assert ("Backend edge", "Cancel") == (focused, at_first)
    assert [("edge", "disable"), ("edge", "enable")] == stage.pressed
    assert {"Drain deepseek", "Disable spare", "Last day"} <= _reached_by_tab(watched)
    assert [] == watched.wrongs()


def _reached_by_tab(watched: Watched) -> set[str]:
    """Go through the page by Tab; whatever has the focus must show it."""
    watched.page.evaluate("document.activeElement.blur()")
    reached = set()
    for _ in range(60):
        watched.page.keyboard.press("Tab")
        name, style, width = watched.page.evaluate(
            "(() => { const node = document.activeElement, style = getComputedStyle(node);"
            " return [node.getAttribute('aria-label') ?? node.textContent, style.outlineStyle,"
            " style.outlineWidth]; })()"
        )
        reached.add(name)
        if watched.page.evaluate("document.activeElement !== document.body"):
            assert (name, "solid", "2px") == (name, style, width)
    return reached


@pytest.mark.parametrize("width", [360, 768, 1280, 1920])
def test_no_width_scrolls_sideways(browser: Browser, stage: Stage, width: int):
    """From a phone to a large screen nothing is wider than the page, in trouble, too."""
    stage.begin_traffic(8, keys="a-key-with-quite-a-long-name-for-a-phone b")
    stage.doubles["deepseek"].mode = "failing"
    watched = Watched(browser, stage.url, width)
    watched.wait("document.querySelector('#headline').dataset.tone === 'bad'")
    watched.wait("document.querySelectorAll('#feed li, #keys tr').length > 1")

    assert width >= watched.page.evaluate("document.documentElement.scrollWidth")
    assert [] == watched.wrongs()


def test_dark_and_light(browser: Browser, stage: Stage):
    """The page follows the system, can be told otherwise, and remembers; text can be read in both."""
    grounds = []
    stage.begin_traffic(8)
    stage.doubles["deepseek"].mode = "failing"
    for scheme in ("light", "dark"):
        watched = Watched(browser, stage.url, scheme=scheme)
        watched.wait(_says("deepseek is"))
        grounds.append(_ground(watched))
        assert 4.5 <= _least_contrast(watched)
        watched.page.keyboard.press("t")
        if scheme == "light":
            watched.page.keyboard.press("t")
        chosen = _ground(watched)
        watched.page.reload()
        watched.wait(_says("deepseek is"))

        assert chosen == _ground(watched)
        assert chosen != grounds[-1]
        assert 4.5 <= _least_contrast(watched)
        assert [] == watched.wrongs()
    assert grounds[0] != grounds[1]


def _ground(watched: Watched) -> str:
    color: str = watched.page.evaluate("getComputedStyle(document.body).backgroundColor")
    return color


def _least_contrast(watched: Watched) -> float:
    """Give the least contrast of a text to what it stands on, as WCAG works it out."""
    least: float = watched.page.evaluate("""() => {
      const parse = (color) => {
        const [r, g, b, a] = color.match(/[\\d.]+/g).map(Number);
        return { rgb: [r, g, b], alpha: a ?? 1 };
      };
      const light = (rgb) => rgb.map((v) => v / 255)
        .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
      let least = 21;
      for (const node of document.querySelectorAll("main *, .bar *")) {
        const hasText = [...node.childNodes].some((c) => c.nodeType === 3 && c.nodeValue.trim());
        if (!hasText || !node.offsetParent || node.closest("button:disabled, .unseen")) continue;
        let ground = node;
        while (ground && parse(getComputedStyle(ground).backgroundColor).alpha < 1)
          ground = ground.parentElement;
        if (!ground) continue;
        const [a, b] = [light(parse(getComputedStyle(node).color).rgb),
          light(parse(getComputedStyle(ground).backgroundColor).rgb)].sort((x, y) => y - x);
        least = Math.min(least, (a + 0.05) / (b + 0.05));
      }
      return least;
    }""")
    return least


def test_it_survives_the_gateway(browser: Browser, stage: Stage):
    """While nobody answers the page says for how long; afterwards it goes on by itself."""
    watched = Watched(browser, stage.url)
    watched.wait(_says("All is well"))
    stage.close_port()
    watched.wait(_says("No answer from the gateway for"))
    silent = watched.page.evaluate("document.body.dataset.silent")
    stage.open_port()
    watched.wait(_says("All is well"))

    assert "yes" == silent
    assert [] == watched.wrongs()


def test_another_process_is_noticed(browser: Browser, stage: Stage):
    """After a restart the page begins anew with what the new process knows, and charts go on."""
    stage.begin_traffic(6)
    watched = Watched(browser, stage.url)
    watched.wait("document.querySelectorAll('#keys tr').length === 1")
    stage.close_port()
    url = stage.url
    with Stage() as other:
        other.close_port()
        other.port = stage.port
        other.open_port()
        watched.wait("document.querySelectorAll('#keys tr').length === 0")
        watched.wait(_says("All is well"))

        assert url == other.url
    assert [] == watched.wrongs()


def test_the_token_is_asked_for(browser: Browser, stage: Stage):
    """Without the admin token the page asks, says when it is wrong, and keeps it for the tab."""
    stage.token = "right-token-of-an-operator"
    watched = Watched(browser, stage.url)
    page = watched.page
    page.fill("#token-value", "wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("#token-warning:has-text('not accepted')")
    page.fill("#token-value", stage.token)
    page.keyboard.press("Enter")
    watched.wait(_says("All is well"))
    page.reload()
    watched.wait(_says("All is well"))

    assert [] == watched.wrongs()
    assert stage.token not in page.content()
    assert "null" == page.evaluate("String(localStorage.getItem('baseload-admin-token'))")


def test_what_backends_say_is_text(browser: Browser, stage: Stage):
    """Words that a backend chose are shown as they are, wherever they are shown, and never run."""
    watched = Watched(browser, stage.url)
    watched.wait(_says("All is well"))

    async def speak() -> None:
        pulse = stage.gateway.pulse
        for _ in range(3):
            stage.gateway.note_failure("edge", FAILED, HOSTILE, b"req-1")
        pulse.happenings.moved("failover", "edge", "spare", HOSTILE)
        stage.gateway.telemetry.failures["edge", FAILED.label] += 3
        stage.gateway.books.spending.add(HOSTILE, 1, 1, 1, None)

    stage.call(speak())
    watched.wait(_says("<img src=x"))
    watched.wait("document.querySelector('#feed').textContent.includes('<script>')")
    watched.wait("document.querySelector('#keys').textContent.includes('onerror')")

    assert HOSTILE in watched.text(_card("edge") + " .failures")
    assert watched.page.evaluate("window.hacked === undefined")
    assert 0 == watched.page.locator("main img, main script").count()
    assert [] == watched.wrongs()
