"""Text and 64-bit numbers where the backend has neither.

Inside of a Keras model a tensor of strings is a tensor of *handles*: `uint32` numbers
that stand for strings of a pool. So reshaping, joining and slicing text are what the
backend does with numbers, and a layer that reads text asks the pool.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from regraft.dtypes import HANDLE
from regraft.errors import MismatchError, UnsupportedError

Array = np.ndarray[Any, Any]
_WIDE = ("int64", "uint64", "float64")


class StringPool:
    """Strings by handle, kept while anybody is in `scope`; handle 0 is `b""`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._strings: list[bytes] = [b""]
        self._handles: dict[bytes, int] = {b"": 0}

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Keeps handles valid; after the last such block the strings are forgotten."""
        with self._lock:
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._strings = [b""]
                    self._handles = {b"": 0}

    def handles(self, strings: Array) -> Array:
        """Returns handles for an array of `bytes`."""
        with self._lock:
            found = [self._handle(item) for item in strings.reshape(-1).tolist()]
        return np.array(found, HANDLE).reshape(strings.shape)

    def _handle(self, item: bytes) -> int:
        handle = self._handles.get(item)
        if handle is None:
            handle = self._handles[item] = len(self._strings)
            self._strings.append(item)
        return handle

    def strings(self, handles: Array) -> Array:
        """Returns an array of `bytes` for handles.

        Raises:
            MismatchError: One was never given out.
        """
        out = np.empty(handles.shape, object)
        try:
            out.reshape(-1)[:] = [self._strings[i] for i in handles.reshape(-1)]
        except IndexError:
            raise MismatchError(
                "A layer that reads text got numbers that stand for no text. Give "
                "text to the whole model, not to a part of it."
            ) from None
        return out


POOL = StringPool()


def is_text(value: Any) -> bool:
    """Whether a NumPy array holds strings."""
    return isinstance(value, np.ndarray) and value.dtype.kind == "O"


def host_array(value: Any) -> Array:
    """Returns anything array-like as a NumPy array; strings as `bytes` objects.

    Raises:
        MismatchError: Rows have different lengths, or it holds something else.
    """
    if hasattr(value, "numpy") and not isinstance(value, np.ndarray):
        value = value.detach().cpu() if hasattr(value, "detach") else value
        value = value.numpy()
    try:
        array = np.asarray(value)
    except ValueError:
        raise MismatchError(
            "Rows of different lengths don't make an array. Pad them to one length, "
            "or give each text as one string."
        ) from None
    if array.dtype.kind in "USO":
        return _as_bytes(array)
    return array


def _as_bytes(array: Array) -> Array:
    out = np.empty(array.shape, object)
    out.reshape(-1)[:] = [_raw(item) for item in array.reshape(-1).tolist()]
    return out


def _raw(item: Any) -> bytes:
    if isinstance(item, np.ndarray) and not item.ndim:
        item = item.item()
    if isinstance(item, str):
        return item.encode("utf-8", "surrogateescape")
    if isinstance(item, bytes):
        return item
    raise MismatchError(
        f"Expected text, received {item!r} of type {type(item).__name__}."
    )


def seen(value: Any) -> Array:
    """Returns what a concrete tensor of a model stands for."""
    array: Array = (
        value
        if isinstance(value, np.ndarray)
        else np.asarray(keras.ops.convert_to_numpy(value))
    )
    return POOL.strings(array) if array.dtype == HANDLE else array


def device_dtype(dtype: str) -> str:
    """Returns the dtype that the backend has instead of one that it may lack."""
    if dtype == "string":
        return HANDLE
    if dtype not in _WIDE:
        return dtype
    probe = keras.ops.convert_to_tensor(np.zeros((), dtype))
    return str(keras.backend.standardize_dtype(probe.dtype))


def device_array(array: Array, owner: str) -> Array:
    """Returns a NumPy array as the backend can hold it.

    Raises:
        UnsupportedError: It would lose digits of integers.
    """
    if is_text(array):
        return POOL.handles(array)
    held = device_dtype(str(array.dtype))
    if held == str(array.dtype):
        return array
    if array.dtype.kind in "iu" and array.size:
        limits = np.iinfo(held)
        if array.min() < limits.min or array.max() > limits.max:
            raise UnsupportedError(
                f"'{owner}' has whole numbers that need 64 bits, and this backend "
                f"would cut them to {held}. With JAX, call "
                "`jax.config.update('jax_enable_x64', True)` before the model is "
                "loaded."
            )
    return array.astype(held)
