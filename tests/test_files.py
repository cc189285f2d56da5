import os
import stat

import pytest

from retrac_plugin.files import check_writable, write_atomically


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


@pytest.mark.parametrize("name", ["file", "new/and/newer/file", "old", "x" * 255])
def test_trying_a_place_leaves_nothing(tmp_path, name):
    (tmp_path / "old").write_text("old")
    check_writable(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text() == "old"


@pytest.mark.parametrize(
    ("name", "error"),
    [("file/x", NotADirectoryError), ("file/new/x", NotADirectoryError), (".", IsADirectoryError)],
)
def test_a_place_that_cannot_be_is_told_of(tmp_path, name, error):
    (tmp_path / "file").write_text("")
    with pytest.raises(error):
        check_writable(tmp_path / name)


def test_a_long_name_is_written(tmp_path):
    write_atomically(tmp_path / ("x" * 255), lambda temporary: temporary.write_text("all"))
    assert (tmp_path / ("x" * 255)).read_text() == "all"
