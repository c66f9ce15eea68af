"""Replaces a file or a directory as a whole, or not at all.

What is new is written beside the target under a name of its own, flushed to the
disk, and then swapped in by one system call: a crash at any moment leaves the old
target or the new one, whole. At worst a hidden sibling (`.<name>.<random>.tmp`) stays
behind, which nothing reads.

A directory that exists already is exchanged atomically where the system can
(Linux: `renameat2`, macOS: `renamex_np`). Elsewhere it is moved aside first; a crash
between these two steps leaves the old directory under its sibling name.

Mount points can't be moved, and the current directory shouldn't be: there, what they
contain is swapped entry by entry, in an instant that a crash could still hit.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

__all__ = ["replace_directory", "replace_file", "replace_files"]

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_RENAME_SWAP = 2
# What a system without an exchange, or a file system without one, answers.
_NO_EXCHANGE = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}
_ATTEMPTS = 100
_FLUSHED_AT_ONCE = 16


@contextlib.contextmanager
def replace_file(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yields the path of a new file, which replaces `path` at the end of the block.

    Parents that are missing are made. If the block raises, `path` is untouched and
    the new file is removed. A link is followed: what it points to is replaced.

    Raises:
        IsADirectoryError: `path` is a directory.
    """
    target = os.path.realpath(path)
    if os.path.isdir(target):
        raise IsADirectoryError(
            errno.EISDIR, "Can't replace a directory by a file", os.fspath(path)
        )
    os.makedirs(os.path.dirname(target), exist_ok=True)
    new = _make_sibling(target, _create_file)
    try:
        yield new
        _keep_mode(target, new)
        _flush(new)
        os.replace(new, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise
    _flush_directory(os.path.dirname(target))


@contextlib.contextmanager
def replace_directory(
    path: str | os.PathLike[str], *, replaces: Collection[str] | None = None
) -> Iterator[str]:
    """Yields the path of a new directory, which replaces `path` after the block.

    Parents that are missing are made. If the block raises, `path` is untouched and
    the new directory is removed. A link is followed: what it points to is replaced.

    Args:
        path: The directory; it may be missing.
        replaces: Names in the old directory that belong to what is replaced. All
            other files and directories there stay: the new directory gets them too.
            `None`: nothing stays.

    Raises:
        NotADirectoryError: `path` is a file.
    """
    target = os.path.realpath(path)
    if os.path.lexists(target) and not os.path.isdir(target):
        raise NotADirectoryError(
            errno.ENOTDIR, "Can't replace a file by a directory", os.fspath(path)
        )
    os.makedirs(os.path.dirname(target), exist_ok=True)
    stays = _must_stay(target)
    inside = os.path.join(target, os.path.basename(target) or "root")
    new = _make_sibling(inside if stays else target, os.mkdir)
    try:
        yield new
        if replaces is not None and not stays:
            _keep_others(target, new, replaces)
        _keep_mode(target, new)
        _flush_tree(new)
        if stays:
            leftover: str | None = _swap_entries(new, target, replaces)
        else:
            leftover = _swap_in(new, target)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    _flush_directory(target if stays else os.path.dirname(target))
    if leftover is not None:
        shutil.rmtree(leftover, ignore_errors=True)


@contextlib.contextmanager
def replace_files(
    directory: str | os.PathLike[str], names: Sequence[str]
) -> Iterator[str]:
    """Yields a new directory, whose files replace those in `directory` at the end.

    They do so one by one. If the block raises, all is as it was.

    Args:
        directory: Made if it is missing.
        names: Of the files, in the order in which they come to their places.

    Raises:
        IsADirectoryError: There is a directory of such a name.
    """
    target = os.path.realpath(directory)
    os.makedirs(target, exist_ok=True)
    for name in names:
        if os.path.isdir(os.path.join(target, name)):
            raise IsADirectoryError(
                errno.EISDIR,
                "Can't replace a directory by a file",
                os.path.join(target, name),
            )
    new = _make_sibling(os.path.join(target, names[0]), os.mkdir)
    try:
        yield new
        for name in names:
            _keep_mode(os.path.join(target, name), os.path.join(new, name))
            _flush(os.path.join(new, name))
        for name in names:
            os.replace(os.path.join(new, name), os.path.join(target, name))
        _flush_directory(target)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _make_sibling(target: str, create: Callable[[str], None]) -> str:
    """Creates something new beside the target; returns its path."""
    directory, name = os.path.split(target)
    for _ in range(_ATTEMPTS):
        # Half of the longest name that file systems allow, in bytes.
        short = name.encode("utf-8", "surrogateescape")[:120]
        stem = short.decode("utf-8", "ignore")
        sibling = os.path.join(directory, f".{stem}.{secrets.token_hex(8)}.tmp")
        with contextlib.suppress(FileExistsError):
            create(sibling)
            return sibling
    raise FileExistsError(errno.EEXIST, "No free name for a temporary sibling", target)


def _create_file(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))


def _keep_mode(target: str, new: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.chmod(new, stat.S_IMODE(os.stat(target).st_mode))


def _keep_others(old: str, new: str, replaces: Collection[str]) -> None:
    """Gives the new directory what of the old one is not replaced."""
    try:
        found = os.scandir(old)
    except FileNotFoundError:
        return
    with found:
        for entry in found:
            if entry.name not in replaces:
                _keep(entry, os.path.join(new, entry.name))


def _keep(entry: os.DirEntry[str], destination: str) -> None:
    if os.path.lexists(destination):
        return
    if entry.is_dir(follow_symlinks=False):
        shutil.copytree(
            entry.path, destination, symlinks=True, copy_function=_link_or_copy
        )
    else:
        _link_or_copy(entry.path, destination)


def _link_or_copy(source: str, destination: str) -> None:
    """Makes a second name for a file, so that the old directory stays whole."""
    try:
        os.link(source, destination, follow_symlinks=False)
    except (OSError, NotImplementedError):
        shutil.copy2(source, destination, follow_symlinks=False)


def _flush(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_directory(path: str) -> None:
    # Windows can't open directories.
    if os.name != "nt":
        _flush(path)


def _flush_tree(root: str) -> None:
    """Flushes all that is in a directory, and the directory itself.

    File systems wait a few milliseconds for others before they commit: what is
    flushed side by side waits once.
    """
    with ThreadPoolExecutor(_FLUSHED_AT_ONCE, "regraft-flush") as pool:
        flushed = []
        for directory, _, names in os.walk(root):
            flushed.append(pool.submit(_flush_directory, directory))
            for name in names:
                path = os.path.join(directory, name)
                if stat.S_ISREG(os.lstat(path).st_mode):
                    flushed.append(pool.submit(_flush, path))
        for future in flushed:
            future.result()


def _must_stay(target: str) -> bool:
    """Whether a directory can't be swapped as a whole."""
    try:
        return os.path.ismount(target) or os.path.samefile(target, os.getcwd())
    except FileNotFoundError:
        return False


def _swap_entries(new: str, target: str, replaces: Collection[str] | None) -> str:
    """Swaps what two directories contain; returns where the old content is."""
    own = set(os.listdir(new))
    for name in os.listdir(target):
        if name != os.path.basename(new) and (replaces is None or name in replaces):
            own.add(name)
    swapped: list[str] = []
    try:
        for name in sorted(own):
            _swap_entry(os.path.join(new, name), os.path.join(target, name))
            swapped.append(name)
    except BaseException:
        for name in swapped:
            _swap_entry(os.path.join(new, name), os.path.join(target, name))
        raise
    return new


def _swap_entry(first: str, second: str) -> None:
    """Exchanges two files or directories, of which one may be missing."""
    if not os.path.lexists(first):
        os.rename(second, first)
    elif not os.path.lexists(second):
        os.rename(first, second)
    elif not _exchange(first, second):
        aside = f"{first}.old"
        os.rename(second, aside)
        os.rename(first, second)
        os.rename(aside, first)


def _swap_in(new: str, target: str) -> str | None:
    """Moves `new` to `target`; returns where the old target is, if there was one."""
    if not os.path.isdir(target):
        try:
            os.rename(new, target)
        except OSError:
            # Another process may have made it meanwhile.
            if not os.path.isdir(target):
                raise
        else:
            return None
    if _exchange(new, target):
        return new
    aside = f"{new}.old"
    os.rename(target, aside)
    try:
        os.rename(new, target)
    except BaseException:
        os.rename(aside, target)
        raise
    return aside


def _exchange(first: str, second: str) -> bool:
    """Swaps two directories atomically; returns whether the system can."""
    if os.name != "posix":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    paths = os.fsencode(first), os.fsencode(second)
    if sys.platform == "linux" and hasattr(library, "renameat2"):
        status = library.renameat2(
            _AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE
        )
    elif sys.platform == "darwin" and hasattr(library, "renamex_np"):
        status = library.renamex_np(paths[0], paths[1], _RENAME_SWAP)
    else:
        return False
    if status == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), first, None, second)
