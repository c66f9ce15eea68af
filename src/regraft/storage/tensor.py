"""A tensor in a file, of which only dtype and shape are known until it is read."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from regraft import dtypes


class StoredTensor(Protocol):
    """A tensor that can be read when it is needed.

    Attributes:
        dtype: Name of a row of `regraft.dtypes`.
        shape: Length of each dimension.
    """

    @property
    def dtype(self) -> str: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def read(self) -> np.ndarray[Any, Any]:
        """Returns the values: a view of the file where that is possible.

        Strings come as an object array of `bytes`.
        """


class ArrayTensor:
    """A `StoredTensor` whose values are in memory already."""

    def __init__(self, array: Any) -> None:
        self._array = np.asarray(array)

    @property
    def dtype(self) -> str:
        return dtypes.from_numpy(self._array.dtype).name

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    def read(self) -> np.ndarray[Any, Any]:
        return self._array


def nbytes(tensor: StoredTensor) -> int:
    """Size in memory in bytes; of a string tensor, of its pointers."""
    numpy = dtypes.from_name(tensor.dtype).numpy
    return math.prod(tensor.shape) * (numpy.itemsize if numpy is not None else 0)
