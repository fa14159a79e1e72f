"""The page in a real browser: nothing forbidden, nothing fetched, nothing too wide."""

import pytest

from baseload.plan.report import page
from tests.plan import sample
from tests.web.browser import Watched, chromium


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    """Write the page to a file, as a user would."""
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(page.html(sample.plan()), "utf-8")
    return file.as_uri()


def test_a_browser_shows_it_without_complaint(address):
    """Its own policy lets it work, at a desk and on a phone, and pointing at a plot reads it off."""
    with chromium() as browser:
        phone = Watched(browser, address, 360)
        desk = Watched(browser, address, 1280, scheme="dark")
        plot = desk.page.locator("#cost .wide svg")
        plot.hover(position={"x": 400, "y": 200})
        readout = desk.page.locator("#cost .wide .readout").inner_text()

        assert ([], []) == (phone.wrongs(), desk.wrongs())
        for watched, width in ((phone, 360), (desk, 1280)):
            assert width == watched.page.evaluate("document.documentElement.scrollWidth")
        assert "requests a day:" in readout
        assert "1 p5.48xlarge, spot $" in readout
        assert desk.page.locator("#cost .wide svg").is_visible()
        assert phone.page.locator("#cost .narrow svg").is_visible()
        assert not phone.page.locator("#cost .wide svg").is_visible()
