"""What a rendering changes in a folder, and what it may not touch."""

import os
import signal
import subprocess
import sys
import time

import pytest

from baseload.cli.rendered import compare, write
from baseload.errors import BaseloadError
from baseload.render.difference import RECORD, as_diff
from baseload.render.files import File

ONE = File(path="a/one.yaml", text="one: 1\n")
TWO = File(path="two.sh", text="true\n", is_executable=True)


def rendered(folder, *files):
    """Render files into a folder, as the verb does; give what became of each."""
    done = compare(folder, files)
    write({folder: files}, {folder: done})
    return {step.path: step.what for step in done}


def test_new_same_changed_and_gone(tmp_path):
    """Files come, stay, are replaced and leave with the rendering; empty folders leave too."""
    folder = tmp_path / "out"

    assert {"a/one.yaml": "new", "two.sh": "new"} == rendered(folder, ONE, TWO)
    assert {"a/one.yaml": "same", "two.sh": "same"} == rendered(folder, ONE, TWO)
    other = File(path="two.sh", text="false\n", is_executable=True)
    assert {"a/one.yaml": "gone", "two.sh": "changed"} == rendered(folder, other)
    assert [RECORD, "two.sh"] == sorted(path.name for path in folder.iterdir())
    assert os.access(folder / "two.sh", os.X_OK)


def test_what_a_person_changed_is_told_apart(tmp_path):
    """An edited file is seen as such, whether it is still rendered or not; a stranger is not seen."""
    folder = tmp_path / "out"
    rendered(folder, ONE, TWO)
    (folder / "a/one.yaml").write_text("one: 2\n")
    (folder / "two.sh").write_text("mine\n")
    (folder / "terraform.tfstate").write_text("{}")

    newer = File(path="a/one.yaml", text="one: 3\n")
    assert [("a/one.yaml", "edited"), ("two.sh", "edited and gone")] == [
        (step.path, step.what) for step in compare(folder, [newer])
    ]
    rendered(folder, newer)
    assert "mine\n" == (folder / "two.sh").read_text()
    assert "{}" == (folder / "terraform.tfstate").read_text()


def test_a_file_that_was_never_rendered_is_not_overwritten(tmp_path):
    """A file that stood there before the first rendering counts as edited, unless it is the same."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "two.sh").write_text("mine\n")

    assert ["new", "edited"] == [step.what for step in compare(folder, [ONE, TWO])]
    (folder / "two.sh").write_text("true\n")
    assert ["new", "same"] == [step.what for step in compare(folder, [ONE, TWO])]


def test_differences_are_shown_as_people_know_them(tmp_path):
    """A changed file is a unified diff; what comes and goes is one against nothing."""
    folder = tmp_path / "out"
    rendered(folder, ONE, TWO)
    changed, gone = compare(folder, [File(path="a/one.yaml", text="one: 1\ntwo: 2\n")])

    assert "--- a/a/one.yaml\n+++ b/a/one.yaml\n@@ -1 +1,2 @@\n one: 1\n+two: 2\n" == as_diff(
        changed
    )
    assert "--- a/two.sh\n+++ /dev/null\n@@ -1 +0,0 @@\n-true\n" == as_diff(gone)


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]", b"\xff", b'{"made_by": 1, "files": {}}'])
def test_a_broken_record_is_said(tmp_path, text):
    """A record that is none stops everything: what a person changed could not be told."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / RECORD).write_bytes(text)

    with pytest.raises(BaseloadError, match="not what `baseload render` writes"):
        compare(folder, [ONE])


def test_a_file_in_the_place_of_the_folder(tmp_path):
    """An output that is a file, or below one, is refused."""
    (tmp_path / "out").write_text("")

    with pytest.raises(BaseloadError, match="not a folder"):
        compare(tmp_path / "out", [ONE])
    with pytest.raises(BaseloadError):
        compare(tmp_path / "out" / "below", [ONE])


def test_nothing_is_left_of_a_failure(tmp_path):
    """Where a file cannot be written, the folder stays as it was, and no draft stays beside it."""
    folder = tmp_path / "out"
    rendered(folder, ONE)
    bad = File(path="x/\0", text="")

    with pytest.raises((BaseloadError, ValueError)):
        write({folder: [File(path="a/one.yaml", text="new\n"), bad]}, {folder: []})

    assert "one: 1\n" == (folder / "a/one.yaml").read_text()
    assert ["out"] == [path.name for path in tmp_path.iterdir()]


KILLED = """
import sys
from pathlib import Path
from baseload.cli.rendered import compare, write
from baseload.render.files import File

folder = Path(sys.argv[1])
for number in range(10**6):
    files = [File(path=f"{each}.txt", text=f"{number}\\n" * 200) for each in range(40)]
    write({folder: files}, {folder: compare(folder, files)})
    print(number, flush=True)
"""


def test_a_kill_leaves_whole_files(tmp_path):
    """A process killed at any moment leaves no file cut short, and rendering again mends all."""
    folder = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, folder], stdout=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        time.sleep(0.037)
        process.send_signal(signal.SIGKILL)
    texts = [path.read_text().splitlines() for path in folder.glob("*.txt")]

    assert {200} == {len(lines) for lines in texts}
    assert 40 == len(texts)
    assert all(len(set(lines)) == 1 for lines in texts)
