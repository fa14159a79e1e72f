"""A disk that is really full: a file system of one megabyte, where one may be mounted.

Elsewhere SQLite is told to let the file grow no further, which gives the same error by another way.
"""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from baseload.store import ledger as module
from baseload.store.database import Database
from baseload.store.ledger import Ledger
from tests.store.rows import entry, ids, until

ROWS = 20_000
"""More than a megabyte has room for."""


@contextmanager
def _small_disk(folder: Path) -> Iterator[bool]:
    """Mount a file system of 1 MB; give whether that worked."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    is_mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", str(folder)], check=True)


def _make_room(folder: Path, ledger: Ledger, *, is_mounted: bool) -> Callable[[], None]:
    """Give what makes room again."""
    if is_mounted:
        command = ["mount", "-o", "remount,size=64m", str(folder)]
        return lambda: subprocess.run(command, check=True) and None
    ledger._database.run("PRAGMA max_page_count = 64")
    return lambda: ledger._database.run("PRAGMA max_page_count = 1000000") and None


def test_a_full_disk_stops_nothing(tmp_path, monkeypatch, caplog):
    """Rows wait, an alarm says why; with room again all are written, once and in order."""
    monkeypatch.setattr(module, "RETRY_S", 0.02)
    folder = tmp_path / "disk"
    url = f"sqlite:///{folder}/ledger.db"
    with _small_disk(folder) as is_mounted:
        ledger = Ledger(url)
        make_room = _make_room(folder, ledger, is_mounted=is_mounted)
        for number in range(ROWS):
            ledger.enter(entry(number, at=float(number)))
        until(lambda: ledger.alarm is not None)
        reason, written = ledger.alarm.reason, ledger.written
        assert len(ids(url)) == written, "what counts as written is there, and can be read"
        make_room()
        until(lambda: ledger.written == ROWS)
        until(lambda: ledger.alarm is None)
        ledger.close()

        assert "full" in reason
        assert [f"r{number}" for number in range(ROWS)] == ids(url)
        assert 0 == ledger.lost
        with closing(Database(url)) as database:
            assert [("ok",)] == database.run("PRAGMA integrity_check")
    assert 1 == caplog.text.count("the ledger cannot be written")


def test_closing_on_a_full_disk_tells_what_is_lost(tmp_path, caplog):
    """Nobody made room: what is written stays written, the rest is counted."""
    folder = tmp_path / "disk"
    url = f"sqlite:///{folder}/ledger.db"
    with _small_disk(folder) as is_mounted:
        ledger = Ledger(url)
        _make_room(folder, ledger, is_mounted=is_mounted)
        for number in range(ROWS):
            ledger.enter(entry(number))
        until(lambda: ledger.alarm is not None)
        ledger.close(wait_s=0.1)

        assert ROWS == ledger.written + ledger.lost
        assert ledger.written == len(ids(url))
        assert f"{ledger.lost} rows are lost" in caplog.text
