"""The page's files: what they may hold, how they are served, and that they are shipped."""

import importlib.util
import re
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

from starlette.applications import Starlette
from starlette.testclient import TestClient

from baseload.web.pages import PAGE, page_routes
from tests.needs import give_up

ROOT = Path(__file__).parent.parent.parent
SCRIPTS = sorted(PAGE.glob("*.js"))
OWN = [*SCRIPTS, PAGE / "app.css", PAGE / "index.html"]
LINES_MAX = 400
BANNED = {
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|setHTML": "text is no markup",
    r"\beval\(|new Function\(|setTimeout\(\s*[\"'`]": "nothing is run that was not shipped",
    r"https?://(?!www\.w3\.org/)": "nothing is loaded from elsewhere",
}


def _client() -> TestClient:
    return TestClient(Starlette(routes=page_routes()))


def test_scripts_are_short_and_hold_nothing_banned():
    """No file is longer than a module may be; none turns text into markup or loads from afar."""
    wrong = [
        f"{path.name}: {why}"
        for path in OWN
        for pattern, why in BANNED.items()
        if re.search(pattern, path.read_text())
    ]

    assert len(SCRIPTS) > 6
    assert [] == wrong
    assert {} == {
        path.name: n for path in OWN if (n := len(path.read_text().splitlines())) > LINES_MAX
    }


def test_nothing_is_inline():
    """The policy forbids scripts and styles inside the document, so there are none."""
    text = (PAGE / "index.html").read_text()

    assert [] == re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", text)


def test_the_vendored_library_is_what_its_note_says():
    """The files of uPlot have the sums that stand beside them, and its licence is there."""
    folder = PAGE / "vendor" / "uplot"
    sums = dict(re.findall(r"`([\w.]+)` \| `([0-9a-f]{64})`", (folder / "README.md").read_text()))

    assert {"uPlot.iife.min.js", "uPlot.min.css"} == set(sums)
    assert sums == {name: sha256((folder / name).read_bytes()).hexdigest() for name in sums}
    assert "MIT License" in (folder / "LICENSE").read_text()


def test_files_come_with_a_policy():
    """The page and its parts forbid all that is not from here."""
    with _client() as client:
        for path in ("/page/", "/page/app.js", "/page/vendor/uplot/uPlot.min.css"):
            answer = client.get(path)

            assert 200 == answer.status_code
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            assert "nosniff" == answer.headers["x-content-type-options"]
        assert client.get("/page/app.js").headers["content-type"].startswith("text/javascript")
        assert client.get("/page/nothing.js").status_code == 404
        assert client.get("/page/../pages.py").status_code == 404
        assert client.get("/").url.path == "/page/"


def test_a_page_is_not_loaded_twice():
    """A browser that has a file is told so."""
    with _client() as client:
        etag = client.get("/page/app.js").headers["etag"]

        assert 304 == client.get("/page/app.js", headers={"if-none-match": etag}).status_code


def test_the_page_is_in_the_wheel(tmp_path: Path):
    """Whoever installs the package has the page, with all its parts."""
    if importlib.util.find_spec("hatchling") is None:
        give_up("hatchling")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    wanted = {str(path.relative_to(ROOT / "src")) for path in PAGE.rglob("*") if path.is_file()}

    assert set() == wanted - names
