"""All files below folders, atomic writes, locks, conversion to JSON types, and text on a terminal."""

import errno
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bac_utils._files import is_unfinished, locked, plain, walk_files, written_whole
from bac_utils._terminal import shown

ROOT = Path(__file__).resolve().parents[1]


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names(folder, *paths):
    return [path.relative_to(folder).as_posix() for path in walk_files(paths or [folder])]


def test_order_of_names_within_folders(tmp_path):
    touch(tmp_path, "b/2.dcm", "b/10.dcm", "a.dcm", "c.dcm", ".hidden/d", "b/deep/er/e")
    assert names(tmp_path) == [".hidden/d", "a.dcm", "b/10.dcm", "b/2.dcm", "b/deep/er/e", "c.dcm"]


def test_each_file_once(tmp_path):
    touch(tmp_path, "b/2.dcm", "a.dcm")
    odd = tmp_path / "b" / ".." / "a.dcm"
    assert names(tmp_path, tmp_path, tmp_path / "a.dcm", odd, tmp_path / "b") == ["a.dcm", "b/2.dcm"]
    assert names(tmp_path, tmp_path / "b", tmp_path) == ["a.dcm", "b/2.dcm"]
    assert list(walk_files([odd])) == [odd]  # spelled as given
    with pytest.raises(FileNotFoundError, match="paths: got .*nowhere, must be an existing file or folder"):
        list(walk_files([tmp_path, tmp_path / "nowhere"]))


def test_links_are_followed_once(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    touch(tmp_path, "in/a", "in/sub/b", "out/c", "out/deep/d", "single")
    for name, target in {
        "again": inside / "a", "back": inside, "far": outside, "far again": outside, "farther": outside / "deep",
        "one": tmp_path / "single", "one again": tmp_path / "single", "lost": tmp_path / "nothing",
    }.items():  # fmt: skip
        (inside / name).symlink_to(target)
    (outside / "home").symlink_to(inside)
    assert names(inside) == ["a", "far/c", "far/deep/d", "lost", "one", "sub/b"]


def test_broken_links_are_listed(tmp_path):
    (tmp_path / "in").mkdir()
    for name, target in (("inside", tmp_path / "in" / "gone"), ("outside", tmp_path / "gone")):
        (tmp_path / "in" / name).symlink_to(target)
    assert [path.name for path in walk_files([tmp_path / "in"])] == ["inside", "outside"]


def test_a_folder_that_cannot_be_opened_is_listed(tmp_path, monkeypatch):
    touch(tmp_path, "a/1", "b/2", "c/3")
    scan = os.scandir

    def refuse(path):
        if os.path.basename(path) == "b":
            raise PermissionError("no")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert names(tmp_path) == ["a/1", "b", "c/3"]


def test_folders_are_opened_one_by_one(tmp_path, monkeypatch):
    """So that only the names in one folder and in those above it are kept in memory."""
    touch(tmp_path, *(f"{a}/{b}/{c}" for a in "123" for b in "123" for c in "12"))
    opened, scan = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (opened.append(os.path.relpath(path, tmp_path)), scan(path))[1])
    files = walk_files([tmp_path])
    assert opened == []
    assert [next(files) for _ in range(3)][-1] == tmp_path / "1" / "2" / "1"
    assert opened == [".", "1", os.path.join("1", "1"), os.path.join("1", "2")]
    assert len(list(files)) == 15


def test_plain_json():
    values = {"a": np.float64(0.5), "b": np.array([1, 2]), "c": math.nan, "d": (np.int64(3), None), 5: np.bool_(True)}
    assert plain(values) == {"a": 0.5, "b": [1, 2], "c": None, "d": [3, None], "5": True}


def test_two_writers_of_a_file_do_not_meet(tmp_path):
    path = tmp_path / "deep" / "a.csv"
    with written_whole(path) as one, written_whole(path) as other:
        assert one != other and {one.parent, other.parent} == {path.parent} and one.suffix == ".csv"
        one.write_text("one")
        other.write_text("other")
        assert is_unfinished(one) and not is_unfinished(path)
    assert path.read_text() == "one" and list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("before")
    with pytest.raises(OSError, match="disk full"), written_whole(path) as part:
        part.write_text("half")
        raise OSError("disk full")
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["folder", "new/scores [1].csv"])
def test_a_lock_holds_off_another_process_and_removes_what_killed_ones_left(tmp_path, name):
    target = tmp_path / name
    if name == "folder":
        (target / "sub").mkdir(parents=True)
        where = target / "sub"
    else:
        where = target.parent
        where.mkdir()
    old, new, other = (where / f"part-{k:08d}-scores [1].csv" for k in range(3))
    foreign = where / "part-list.csv"
    for path in (old, new, other, foreign):
        path.touch()
    for path in (old, foreign):
        os.utime(path, (0, 0))
    with locked(target):
        assert not old.exists() and new.exists() and foreign.exists()
        words = [
            sys.executable,
            "-c",
            "import sys; from bac_utils._files import locked\nwith locked(sys.argv[1]): pass",
        ]
        found = subprocess.run([*words, str(target)], cwd=ROOT, capture_output=True, text=True)
        assert f"FileExistsError: {target} is in use by another process" in found.stderr
    with locked(target, wait_s=1):
        pass


def test_text_on_a_terminal():
    assert shown("a\x1b[31mb\r\nc\u202ed\x9b") == "a?[31mb??c?d?"
    assert shown(Path("Künstlich 1/\udcff.dcm")) == "Künstlich 1/\\udcff.dcm"


def test_an_error_that_pydicom_wraps_is_reported_in_one_line(tmp_path):
    with pytest.raises(OSError, match="No space left on device") as caught, written_whole(tmp_path / "a.dcm"):
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise OSError(f"With tag (7FE0,0010) got exception: {error}\nTraceback ...") from error
    assert str(caught.value) == f"[Errno 28] No space left on device: '{tmp_path / 'a.dcm'}'"


def test_a_full_disk_is_reported_with_the_file(tmp_path):
    with pytest.raises(OSError) as caught, written_whole(tmp_path / "a.csv"):
        raise OSError(28, "No space left on device")
    assert str(caught.value) == f"[Errno 28] No space left on device: '{tmp_path / 'a.csv'}'"
    with pytest.raises(OSError) as caught, written_whole(tmp_path / "a.csv") as part:
        (part / "none").write_text("")
    assert caught.value.filename != str(tmp_path / "a.csv")
