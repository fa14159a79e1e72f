"""The file that says which process serves: written and read where others may write, too."""

import os
import stat

from baseload.cli import succession
from baseload.cli.succession import PidFile
from baseload.config.fleet import Fleet


def test_it_is_not_written_through_a_link(tmp_path):
    """A link that somebody left under the name of the new file leads nowhere."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    file = PidFile(Fleet(state_dir=str(tmp_path), backends={}, models={}))
    file.path.parent.mkdir()
    file.path.with_suffix(f".{os.getpid()}").symlink_to(victim)

    file.write()

    assert ("precious", os.getpid()) == (victim.read_text(), (file.read() or (0, ""))[0])
    assert 0o600 == stat.S_IMODE(file.path.stat().st_mode)


def test_a_process_of_another_user_is_not_believed(tmp_path, monkeypatch):
    """Whoever can write the file cannot have a signal sent to somebody else's process."""
    file = PidFile(Fleet(state_dir=str(tmp_path), backends={}, models={}))
    file.write()
    mine = file.read()

    found = file.path.stat()
    another = os.stat_result((*found[:4], os.getuid() + 1, *found[5:]))

    def fstat(_: int) -> os.stat_result:
        return another

    monkeypatch.setattr(succession.os, "fstat", fstat)

    assert mine == (os.getpid(), "0")
    assert file.read() is None
