"""Files below folders: all of them, each once, in order, whatever links there are."""

import os
import tracemalloc

import pytest

from bac_utils.listing import walk_files


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
    with pytest.raises(FileNotFoundError, match="nowhere is not there, must be a file or a folder"):
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


def test_a_folder_that_cannot_be_opened_comes_itself(tmp_path, monkeypatch):
    touch(tmp_path, "a/1", "b/2", "c/3")
    scan = os.scandir

    def refuse(path):
        if os.path.basename(path) == "b":
            raise PermissionError("no")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert names(tmp_path) == ["a/1", "b", "c/3"]


def test_memory_does_not_grow_with_the_number_of_files(tmp_path):
    peaks = []
    for folders in (5, 50):
        touch(tmp_path, *(f"{folders}/{k}/{n}.dcm" for k in range(folders) for n in range(40)))
        tracemalloc.start()
        assert sum(1 for _ in walk_files([tmp_path / str(folders)])) == 40 * folders
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 30_000  # bytes; 1,800 more paths take ten times as many
