"""When does a watched file count as changed?"""

import os
from pathlib import Path

from baseload.cli.watch import Watch


def _write(path: Path, text: str, at: int) -> None:
    """Write a file as of a second."""
    path.write_text(text)
    os.utime(path, (at, at))


def test_nothing_happens_while_nothing_changes(tmp_path: Path):
    """A file that is as it was is never reported."""
    file = tmp_path / "f"
    _write(file, "a", 1)
    watch = Watch(file)

    assert [False] * 3 == [watch.has_changed() for _ in range(3)]


def test_a_change_counts_once_it_is_stable(tmp_path: Path):
    """Not at the look that finds it, but at the next one, and then once."""
    file = tmp_path / "f"
    _write(file, "a", 1)
    watch = Watch(file)
    _write(file, "b", 2)

    assert [False, True, False, False] == [watch.has_changed() for _ in range(4)]


def test_a_file_that_is_still_being_written_is_waited_for(tmp_path: Path):
    """As long as every look finds it otherwise, it is not read."""
    file = tmp_path / "f"
    _write(file, "a", 1)
    watch = Watch(file)
    seen = []
    for turn in range(3):
        _write(file, "b" * turn, 2 + turn)
        seen.append(watch.has_changed())
    seen.append(watch.has_changed())

    assert [False, False, False, True] == seen


def test_another_file_in_its_place_is_a_change(tmp_path: Path):
    """Editors rename a new file over the old: same size, same time, another inode."""
    file, other = tmp_path / "f", tmp_path / "g"
    _write(file, "a", 1)
    watch = Watch(file)
    _write(other, "b", 1)
    other.replace(file)

    assert [False, True] == [watch.has_changed() for _ in range(2)]


def test_a_file_that_is_gone_is_waited_for(tmp_path: Path):
    """Between two steps there may be none; what comes then counts, if it is another."""
    file = tmp_path / "f"
    _write(file, "a", 1)
    watch = Watch(file)
    file.unlink()
    gone = [watch.has_changed() for _ in range(2)]
    _write(file, "b", 2)

    assert [False, False] == gone
    assert [False, True] == [watch.has_changed() for _ in range(2)]


def test_a_change_that_was_taken_back_is_none(tmp_path: Path):
    """A touched time is a change; the very same file is not."""
    file = tmp_path / "f"
    _write(file, "a", 1)
    watch = Watch(file)
    os.utime(file, (2, 2))
    first = watch.has_changed()
    os.utime(file, (1, 1))

    assert [False, False, False] == [first, watch.has_changed(), watch.has_changed()]
