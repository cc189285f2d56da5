import os
import stat

import pytest

from retrac_plugin.files import write_atomically


def test_a_file_is_written_whole_with_the_usual_mode(tmp_path):
    path = tmp_path / "new" / "file"
    write_atomically(path, lambda temporary: temporary.write_text("all"))
    assert path.read_text() == "all"
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail(temporary):
        temporary.write_text("half")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
