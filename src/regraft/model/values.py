"""The variables of a live model as tensors that are read when they are written."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import keras
import numpy as np

from regraft.dtypes import name_of


class KerasVariableTensor:
    """A `StoredTensor` over a Keras variable; it copies nothing before `read`."""

    def __init__(self, variable: keras.Variable, dtype: str | None = None) -> None:
        self.variable = variable
        self._dtype = dtype

    @cached_property
    def dtype(self) -> str:
        return self._dtype or str(keras.backend.standardize_dtype(self.variable.dtype))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.variable.shape)

    def read(self) -> np.ndarray[Any, Any]:
        values = host_array(self.variable.value)
        # JAX without x64 holds a variable of a 64-bit dtype in 32 bits.
        return (
            values if name_of(values.dtype) == self.dtype else values.astype(self.dtype)
        )


def host_array(tensor: Any) -> np.ndarray[Any, Any]:
    """Returns a backend's tensor as NumPy array, without a copy where JAX allows."""
    if keras.backend.backend() == "jax":
        return np.asarray(tensor)
    return np.asarray(keras.ops.convert_to_numpy(tensor))
