"""Takes the pictures of the operator's page that stand in this folder.

    python docs/shoot.py [seconds]

The gateway, the traffic and what happens in it are real; the backends are doubles that are told to
break off answers, to keep calls waiting and to fail. After so many seconds without trouble (120 by
default) they do, and half a minute later pictures are taken: light, dark, and as wide as a phone.
"""  # noqa: INP001

import struct
import sys
import time
import zlib
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "src"), str(HERE.parent)]

from tests.gateway.harness import raw, request  # noqa: E402
from tests.web.browser import Watched, chromium  # noqa: E402
from tests.web.stage import Stage  # noqa: E402

NAMES = ("deepseek", "edge-gpu", "cpu")
WELL_S = 120.0
HEIGHT_MAX = {1440: 1200, 360: 2600}
BYTES_MAX = 300_000


def main() -> None:
    """Play, and take pictures."""
    well_s = float(sys.argv[1]) if len(sys.argv) > 1 else WELL_S
    with Stage(names=NAMES) as stage, chromium() as browser:
        stage.begin_traffic(14, "deepseek-chat", "search support editor ci nightly")
        stage.begin_traffic(5, "deepseek-reasoner", "research analytics")
        pages = {
            "page-light": Watched(browser, stage.url, 1440),
            "page-dark": Watched(browser, stage.url, 1440, scheme="dark"),
            "page-phone": Watched(browser, stage.url, 360),
        }
        time.sleep(well_s)
        _make_trouble(stage)
        for name, watched in pages.items():
            _shoot(watched, HERE / f"{name}.png")


def _make_trouble(stage: Stage) -> None:
    """Let answers break off, calls wait at their provider, and a backend fail."""
    doubles = stage.doubles
    doubles["edge-gpu"].mode = "breaking"
    for number in range(7):
        body = b"{" if number % 2 else b'{"model": "deepseek-caht"}'
        stage.call(
            raw(stage.gateway.address[1], request(body, head="Authorization: Bearer ci\r\n"))
        )
        time.sleep(1.5)
    doubles["deepseek"].mode = "failing"
    time.sleep(4.0)
    doubles["edge-gpu"].mode = "well"
    time.sleep(3.0)
    doubles["edge-gpu"].mode = "queueing"
    time.sleep(3.5)


def _shoot(watched: Watched, path: Path) -> None:
    page = watched.page
    page.bring_to_front()
    page.wait_for_timeout(1500)
    width = page.viewport_size["width"]
    height = min(page.evaluate("document.documentElement.scrollHeight"), HEIGHT_MAX[width])
    page.screenshot(
        path=path,
        full_page=True,
        clip={"x": 0, "y": 0, "width": width, "height": height},
    )
    path.write_bytes(_pressed(path.read_bytes()))
    size = path.stat().st_size
    sys.stdout.write(f"{path.name}: {size} bytes, wrong: {watched.wrongs()}\n")
    assert size < BYTES_MAX, f"{path} is too large"


def _pressed(png: bytes) -> bytes:
    """Give the same picture in fewer bytes: browsers press for speed."""
    out, pixels, place = png[:8], b"", 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        kind, data = png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        place += 12 + length
        if kind == b"IDAT":
            pixels += data
            continue
        if kind == b"IEND":
            out += _chunk(b"IDAT", zlib.compress(zlib.decompress(pixels), 9))
        out += _chunk(kind, data)
    return out


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


if __name__ == "__main__":
    main()
