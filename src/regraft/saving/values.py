"""The variables of a live model as tensors to write."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


class KerasVariableTensor:
    """A `StoredTensor` that reads a Keras variable when it is written."""

    def __init__(self, variable: keras.Variable) -> None:
        self.variable = variable

    @property
    def dtype(self) -> str:
        return str(keras.backend.standardize_dtype(self.variable.dtype))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.variable.shape)

    def read(self) -> np.ndarray[Any, Any]:
        values = keras.ops.convert_to_numpy(self.variable.value)
        # JAX without x64 holds a variable of a 64-bit dtype in 32 bits.
        return values if str(values.dtype) == self.dtype else values.astype(self.dtype)
