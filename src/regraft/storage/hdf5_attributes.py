"""Attributes of an HDF5 file that nobody vouches for: texts, numbers, lists of names.

An attribute is read whole or not at all, and its texts of variable length are
pointers that may all lead to the same one; so its size is looked at first.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from regraft.errors import FormatError, LimitError, UnsupportedError
from regraft.storage.hdf5_safety import SafeFile, default_budget_bytes, typed_errors

try:
    import h5py
except ImportError:  # `hdf5_safety.require_h5py` says so where it is needed.
    h5py = None

# Elements of an attribute; Keras splits lists at 64 KiB.
_MAX_ATTRIBUTE_ELEMENTS = 1 << 20


def read_attribute(
    owner: h5py.Group | h5py.Dataset, name: str, file: SafeFile, place: str
) -> Any:
    """Returns an attribute: text as `str`, arrays as `list`, `None` if missing.

    Raises:
        FormatError: It can't be read, or is longer than its file.
        UnsupportedError: Its type is none that Keras writes.
    """
    here = f"{place}@{name}"
    with typed_errors(file.path, here):
        if name not in owner.attrs:
            return None
        _check_attribute(owner, name, file, here)
        return _plain(owner.attrs[name], file, here)


def _check_attribute(owner: Any, name: str, file: SafeFile, place: str) -> None:
    attribute = owner.attrs.get_id(name)
    stored = attribute.get_type()
    kind = stored.get_class()
    numpy = attribute.dtype
    if kind not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING) and (
        numpy.kind != "b"
    ):
        raise UnsupportedError(
            f"The attribute {place!r} in {file.path!r} has type {numpy}, which no "
            "Keras writes."
        )
    count = math.prod(attribute.shape or ())
    limit = min(file.size // stored.get_size(), _MAX_ATTRIBUTE_ELEMENTS)
    text_bytes = 0
    if kind == h5py.h5t.STRING and stored.is_variable_str():
        text_bytes = file.copies_bytes(count)
    if count > limit:
        raise LimitError(
            "Attribute is too long",
            path=file.path,
            object_path=place,
            expected=f"at most {limit} elements",
            received=f"{count} elements",
        )
    if text_bytes > default_budget_bytes(file.size):
        raise LimitError(
            "Texts of an attribute take too much memory",
            path=file.path,
            object_path=place,
            expected=f"at most {default_budget_bytes(file.size)} bytes",
            received=f"up to {text_bytes} bytes",
        )


def _plain(value: Any, file: SafeFile, place: str) -> Any:
    if isinstance(value, h5py.Empty):
        return None
    if isinstance(value, np.ndarray):
        return [_plain(item, file, place) for item in value.ravel()]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode("utf-8")
    if isinstance(value, str):
        # h5py smuggles bytes that are not UTF-8 through as surrogates.
        value.encode("utf-8")
    return value


def read_names(
    owner: h5py.Group, name: str, file: SafeFile, place: str
) -> list[str] | None:
    """Returns a list of names, which may be split into `<name>0`, `<name>1`, ….

    Raises:
        FormatError: It is no list of names.
    """
    whole = read_attribute(owner, name, file, place)
    if whole is not None:
        return _check_names(whole, file, f"{place}@{name}")
    names: list[str] | None = None
    with typed_errors(file.path, f"{place}@{name}"):
        count = len(owner.attrs)
    for index in range(count):
        part = read_attribute(owner, f"{name}{index}", file, place)
        if part is None:
            break
        names = (names or []) + _check_names(part, file, f"{place}@{name}{index}")
    return names


def _check_names(value: Any, file: SafeFile, place: str) -> list[str]:
    names = value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) for name in names):
        raise FormatError(
            "Attribute is not a list of names",
            path=file.path,
            object_path=place,
            received=repr(names[:3]),
        )
    return names
