"""A target is replaced whole, whatever fails."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from regraft.storage import commit

# Every call by which `commit` changes or flushes what is on the disk.
SYSTEM_CALLS = [
    (os, name)
    for name in (
        *("mkdir", "makedirs", "open", "close", "fsync", "chmod", "link"),
        *("rename", "replace", "unlink", "scandir", "stat", "lstat", "walk"),
    )
] + [(commit, "_exchange"), (shutil, "copytree"), (shutil, "copy2")]

OLD = {"saved_model.pb": b"old", "variables/data": b"old data", "README": b"mine"}
NEW = {"saved_model.pb": b"new", "assets/words": b"new words"}
AFTER = {**NEW, "README": b"mine"}
OWN = {"saved_model.pb", "variables", "assets"}


def fill(directory, files):
    for name, content in files.items():
        path = Path(directory, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def content_of(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in Path(directory).rglob("*")
        if path.is_file()
    }


def save(target):
    with commit.replace_directory(target, replaces=OWN) as new:
        fill(new, NEW)


class Failing:
    """Lets some calls pass, and then fails one."""

    def __init__(self, monkeypatch, passes):
        self.left = passes
        self.failed = None
        for module, name in SYSTEM_CALLS:
            original = getattr(module, name)
            monkeypatch.setattr(module, name, self.wrap(original, name))

    def wrap(self, original, name):
        def call(*arguments, **keywords):
            if self.failed is None:
                self.left -= 1
                if self.left < 0:
                    self.failed = name
                    raise OSError(errno.EIO, "injected", name)
            return original(*arguments, **keywords)

        return call


@pytest.mark.parametrize("old", [OLD, None])
@pytest.mark.parametrize("exchange", [True, False])
def test_failure_of_any_system_call_leaves_old_or_new(
    old, exchange, tmp_path, monkeypatch
):
    outcomes = set()
    for passes in range(200):
        root = tmp_path / str(passes)
        root.mkdir()
        target = root / "model"
        if old is not None:
            fill(target, old)
        with monkeypatch.context() as patch:
            if not exchange:
                patch.setattr(commit, "_exchange", lambda first, second: False)
            failing = Failing(patch, passes)
            try:
                save(target)
            except OSError:
                outcomes.add("raised")
            else:
                outcomes.add("saved")
        found = content_of(target) if target.exists() else None
        whole = AFTER if old is not None else NEW
        assert found in (old, whole), failing.failed
        if failing.failed is None:
            break
    assert outcomes == {"raised", "saved"}
    assert failing.failed is None
    assert os.listdir(root) == ["model"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Needs fork.")
@pytest.mark.parametrize("old", [OLD, None])
def test_crash_at_any_system_call_leaves_old_or_new(old, tmp_path):
    # A process of its own: the test's has threads, with which forks don't mix.
    script = Path(__file__).with_name("crash.py")
    finished = subprocess.run(
        [sys.executable, script, tmp_path, "1" if old else "0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    crashes = sorted(tmp_path.iterdir())
    assert len(crashes) > 15
    for root in crashes:
        target = root / "model"
        found = content_of(target) if target.exists() else None
        assert found in (old, AFTER if old else NEW), root
        # A save after the crash works.
        save(target)
        assert content_of(target) == (AFTER if old else NEW)


def test_exception_of_the_block_leaves_the_old_target(tmp_path):
    fill(tmp_path / "model", OLD)
    (tmp_path / "file").write_bytes(b"old")
    for replace, name in (
        (commit.replace_directory, "model"),
        (commit.replace_file, "file"),
    ):

        def fail(replace=replace, name=name):
            with replace(tmp_path / name) as new:
                assert os.path.dirname(new) == str(tmp_path)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fail()
    assert content_of(tmp_path / "model") == OLD
    assert (tmp_path / "file").read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["file", "model"]


def test_file_is_replaced_and_parents_are_made(tmp_path):
    path = tmp_path / "new" / "parents" / "file"
    for content in (b"first", b"second"):
        with commit.replace_file(path) as new:
            Path(new).write_bytes(content)
        assert path.read_bytes() == content
    assert os.listdir(path.parent) == ["file"]


def test_failure_of_any_system_call_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    for passes in range(50):
        with monkeypatch.context() as patch:
            failing = Failing(patch, passes)
            with (
                contextlib.suppress(OSError),
                commit.replace_file(path) as new,
                open(new, "wb") as stream,
            ):
                stream.write(b"new")
        assert path.read_bytes() in (b"old", b"new")
        if failing.failed is None:
            break
        path.write_bytes(b"old")
    assert failing.failed is None
    assert path.read_bytes() == b"new"


def test_failure_of_any_system_call_never_leaves_the_index_alone_new(
    tmp_path, monkeypatch
):
    names = ("data", "index")
    old, new = ({name: word for name in names} for word in (b"old", b"new"))
    for passes in range(80):
        target = tmp_path / str(passes)
        fill(target, {**old, "other": b"mine"})
        with monkeypatch.context() as patch:
            failing = Failing(patch, passes)
            with (
                contextlib.suppress(OSError),
                commit.replace_files(target, names) as made,
            ):
                for name in names:
                    Path(made, name).write_bytes(b"new")
        found = {name: (target / name).read_bytes() for name in names}
        assert found in (old, new, {"data": b"new", "index": b"old"})
        assert (target / "other").read_bytes() == b"mine"
        if failing.failed is None:
            break
    assert failing.failed is None
    assert found == new
    assert sorted(os.listdir(target)) == ["data", "index", "other"]


def test_files_are_replaced_together_or_not(tmp_path):
    fill(tmp_path, {"data": b"old"})
    (tmp_path / "index").mkdir()
    with (
        pytest.raises(IsADirectoryError),
        commit.replace_files(tmp_path, ("data", "index")),
    ):
        pass

    def fail():
        with commit.replace_files(tmp_path, ("data",)) as new:
            Path(new, "data").write_bytes(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert content_of(tmp_path) == {"data": b"old"}
    assert sorted(os.listdir(tmp_path)) == ["data", "index"]


def test_everything_is_replaced_unless_told_otherwise(tmp_path):
    fill(tmp_path / "model", OLD)
    with commit.replace_directory(tmp_path / "model") as new:
        fill(new, NEW)
    assert content_of(tmp_path / "model") == NEW


def test_links_among_the_kept_files_stay_links(tmp_path):
    fill(tmp_path / "model", OLD)
    (tmp_path / "model" / "link").symlink_to("README")
    (tmp_path / "model" / "broken").symlink_to("nowhere")
    save(tmp_path / "model")
    assert os.readlink(tmp_path / "model" / "link") == "README"
    assert os.readlink(tmp_path / "model" / "broken") == "nowhere"


def test_target_behind_a_link_is_replaced_there(tmp_path):
    fill(tmp_path / "real", OLD)
    (tmp_path / "link").symlink_to("real")
    save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert content_of(tmp_path / "real") == AFTER


def test_kind_of_the_target_is_not_changed(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "directory").mkdir()
    with pytest.raises(NotADirectoryError):
        save(tmp_path / "file")
    with pytest.raises(IsADirectoryError), commit.replace_file(tmp_path / "directory"):
        pass


def test_permissions_are_kept_or_the_usual_ones(tmp_path):
    previous = os.umask(0o027)
    try:
        with commit.replace_file(tmp_path / "file"):
            pass
        save(tmp_path / "model")
    finally:
        os.umask(previous)

    def mode(name):
        return stat.S_IMODE((tmp_path / name).stat().st_mode)

    assert (mode("file"), mode("model")) == (0o640, 0o750)
    os.chmod(tmp_path / "file", 0o604)
    os.chmod(tmp_path / "model", 0o705)
    with commit.replace_file(tmp_path / "file"):
        pass
    save(tmp_path / "model")
    assert (mode("file"), mode("model")) == (0o604, 0o705)


def test_longest_names_are_replaced(tmp_path):
    name = "ä" * 127
    save(tmp_path / name)
    save(tmp_path / name)
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("kind", ["current directory", "mount point"])
def test_directory_that_must_stay_has_its_content_swapped(
    kind, exchange, tmp_path, monkeypatch
):
    target = tmp_path / "model"
    fill(target, OLD)
    before = target.stat().st_ino
    if kind == "current directory":
        monkeypatch.chdir(target)
    else:
        monkeypatch.setattr(os.path, "ismount", lambda path: True)
    if not exchange:
        monkeypatch.setattr(commit, "_exchange", lambda first, second: False)
    for _ in range(2):
        save("." if kind == "current directory" else target)
        assert content_of(target) == AFTER
        assert sorted(os.listdir(target)) == ["README", "assets", "saved_model.pb"]
        assert target.stat().st_ino == before


def test_failing_swap_of_the_content_is_undone(tmp_path, monkeypatch):
    target = tmp_path / "model"
    fill(target, OLD)
    monkeypatch.chdir(target)
    original = os.rename

    def rename(source, destination):
        if source.endswith("variables"):
            raise OSError(errno.EIO, "injected")
        original(source, destination)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(OSError, match="injected"):
        save(".")
    assert content_of(target) == OLD


def test_concurrent_saves_leave_one_of_them_whole(tmp_path):
    def repeat(number):
        for _ in range(20):
            with commit.replace_directory(tmp_path / "model") as new:
                fill(new, {"a": b"%d" % number, "b": b"%d" % number})

    threads = [threading.Thread(target=repeat, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = content_of(tmp_path / "model")
    assert found["a"] == found["b"]
    assert os.listdir(tmp_path) == ["model"]
