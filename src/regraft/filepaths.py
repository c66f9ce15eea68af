"""What a `filepath` is: the format to write, the file or directory to read."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from regraft.errors import FormatError
from regraft.loading.read import (
    is_config,
    open_hdf5,
    read_config,
    read_saved_model,
)
from regraft.model.description import ModelDescription
from regraft.options import LoadOptions
from regraft.storage.filesystem import (
    is_file,
    is_remote,
    is_zip_archive,
    open_seekable,
)
from regraft.storage.saved_model_directory import is_saved_model_directory

_HDF5_ENDINGS = (".h5", ".hdf5")
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


def format_of(filepath: Any, save_format: str | None) -> str:
    """Returns `"tf"`, `"h5"` or `"keras"`: what is asked for, or what the name says."""
    if is_hdf5_object(filepath):
        if save_format not in (None, "h5", "hdf5"):
            raise ValueError(
                f"`save_format={save_format!r}` doesn't go with an h5py.File."
            )
        return "h5"
    name = target_of(filepath)
    if not isinstance(name, str):
        raise TypeError(
            "Invalid `filepath`: expected a str, a Path or an h5py.File. "
            f"Received: {filepath!r} of type {type(filepath).__name__}"
        )
    if save_format is None:
        if name.endswith(".keras"):
            return "keras"
        return "h5" if name.endswith(_HDF5_ENDINGS) else "tf"
    known = {"tf": "tf", "tensorflow": "tf", "h5": "h5", "hdf5": "h5", "keras": "keras"}
    if save_format.lower() not in known:
        raise ValueError(
            "Invalid `save_format`: expected 'tf', 'h5' or 'keras'. "
            f"Received: {save_format!r}"
        )
    chosen = known[save_format.lower()]
    if chosen == "tf" and name.endswith(_HDF5_ENDINGS):
        raise ValueError(
            f"`save_format='tf'` doesn't write HDF5, but '{name}' ends as an HDF5 "
            "file does. Leave the ending out, or the `save_format`."
        )
    return chosen


def require_h5py() -> None:
    """Says how to install h5py where it is missing."""
    try:
        import h5py  # noqa: F401
    except ImportError:
        raise ImportError(
            "Saving to HDF5 needs h5py. Install it with `pip install h5py`."
        ) from None


def is_hdf5_object(filepath: Any) -> bool:
    """Whether it is an `h5py.File`, or a group of one."""
    return type(filepath).__module__.partition(".")[0] == "h5py"


def target_of(filepath: Any) -> Any:
    """Returns a path as text, and all else as it is."""
    if is_hdf5_object(filepath):
        return filepath
    return os.fspath(filepath) if isinstance(filepath, os.PathLike) else filepath


def may_overwrite(filepath: Any) -> bool:
    """Asks whether to replace what is there, as Keras does."""
    if is_hdf5_object(filepath) or not os.path.exists(filepath):
        return True
    answer = input(f"[WARNING] {filepath} already exists - overwrite? [y/n]")
    while answer.strip().lower() not in ("y", "n"):
        answer = input('Enter "y" (overwrite) or "n" (cancel).')
    return answer.strip().lower() == "y"


def open_model(
    target: Any, options: LoadOptions
) -> AbstractContextManager[ModelDescription]:
    """Opens any file or directory of a model; its tensors can be read in the block."""
    if is_hdf5_object(target):
        return open_hdf5(target, options)
    if not isinstance(target, str):
        raise TypeError(
            "Invalid `filepath`: expected a str, a Path or an h5py.File. "
            f"Received: {target!r} of type {type(target).__name__}"
        )
    if is_saved_model_directory(target):
        return nullcontext(read_saved_model(target, options))
    if is_config(target):
        return nullcontext(read_config(target))
    if not is_remote(target):
        check_exists(target)
    return open_hdf5(target, options)


def is_checkpoint(path: str) -> bool:
    """Whether `path` is the prefix of a checkpoint, as `save_weights` takes it."""
    return not os.path.exists(path) and is_file(f"{path}.index")


def check_exists(path: str) -> None:
    """Checks that there is a file that could hold a model; raises what Keras would."""
    if os.path.isdir(path):
        raise OSError(
            f"SavedModel file does not exist at: '{path}': the directory has neither "
            "saved_model.pb nor saved_model.pbtxt."
        )
    if not os.path.exists(path):
        raise OSError(f"No file or directory found at '{path}'.")
    with open_seekable(path) as file:
        magic = file.read(len(_HDF5_MAGIC))
    if magic != _HDF5_MAGIC:
        raise FormatError(
            "This is neither a SavedModel directory nor an HDF5 or `.keras` file",
            path=path,
            offset_bytes=0,
            expected=f"the bytes {_HDF5_MAGIC!r} of HDF5",
            received=magic,
        )


def is_keras_archive(target: Any) -> bool:
    """Whether it is a `.keras` file, which Keras itself reads."""
    if not isinstance(target, str) or is_remote(target) or not os.path.isfile(target):
        return isinstance(target, str) and target.endswith(".keras")
    return is_zip_archive(target)
