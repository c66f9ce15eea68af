"""What a variable of a jaxpr stands for while it is lowered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
# A length: an integer, or JAX's symbolic expression.
Dim = Any


@dataclass(eq=False, slots=True)
class Value:
    """A tensor of the function that is being built.

    Exactly one of the last five attributes says what it is.

    Attributes:
        dtype: Name of a row of `regraft.dtypes`.
        shape: Length of each dimension; `None` where nobody asked.
        name: Of the tensor in the function: `argument` or `node:output:index`.
        constant: Its value, where it is known; no node is made before one is needed.
        variable: The TensorFlow variable whose value it is; it is read when needed.
        source: The value that it repeats; TensorFlow mostly repeats by itself, so
            no node is made before one is needed. `dimensions` are the places of
            the source's dimensions.
        key: It is a random generator's key, for which TensorFlow has no tensor.
        dimensions: See `source`.
        wide: The 64-bit tensor that this one was cut from, for what reads all digits.
    """

    dtype: str
    shape: tuple[Dim, ...] | None = None
    name: str | None = None
    constant: Array | None = None
    variable: VariableState | None = None
    source: Value | None = None
    key: bool = False
    dimensions: tuple[int, ...] = ()
    wide: Value | None = None

    @property
    def rank(self) -> int:
        if self.shape is None:
            raise TypeError(f"The rank of '{self.name}' is not known.")
        return len(self.shape)

    @property
    def dims(self) -> tuple[Dim, ...]:
        if self.shape is None:
            raise TypeError(f"The shape of '{self.name}' is not known.")
        return self.shape

    def shaped(self, shape: tuple[Dim, ...]) -> Value:
        """Returns the same value with its shape known."""
        return self if self.shape == shape else replace(self, shape=shape)

    @classmethod
    def of(cls, array: Any, dtype: str) -> Value:
        """Returns a constant."""
        array = np.asarray(array)
        return cls(dtype, array.shape, constant=array)


@dataclass(eq=False, slots=True)
class VariableState:
    """A variable between two writes to it.

    Attributes:
        resource: Argument that holds its handle.
        index: Position of that argument among the function's arguments.
        after: Node that wrote it last; empty for the value at the start.
        read: Tensor that holds its value, once it has been read.
        identity: What the caller knows the variable by.
        held: Dtype that it has in the file. JAX computes in 32 bits where it has 64.
    """

    resource: str
    index: int
    identity: Any = None
    after: str = ""
    read: str | None = None
    held: str = ""


# Dtypes that JAX keeps in fewer bits unless asked to.
_IN_32_BITS = {"float64": "float32", "int64": "int32", "uint64": "uint32"}


def held_dtype(variable: Any, dtype: str) -> str:
    """Returns the dtype that a variable has in the file, where it is traced as one."""
    if dtype not in _IN_32_BITS.values():
        return dtype
    own = str(getattr(variable, "dtype", dtype))
    return own if _IN_32_BITS.get(own) == dtype else dtype


def is_static(shape: tuple[Dim, ...]) -> bool:
    """Whether all lengths are numbers."""
    return all(isinstance(dim, int | np.integer) for dim in shape)


def known(value: Value) -> Array | None:
    """Returns a value that is known, also where it is repeated to a fixed shape."""
    shape = value.shape
    while value.source is not None and value.source.rank == 0:
        value = value.source
    if value.constant is None or shape is None or not is_static(shape):
        return None
    return np.broadcast_to(value.constant, shape)


def same_dim(left: Dim, right: Dim) -> bool:
    """Whether two lengths are equal, as far as can be known."""
    static = isinstance(left, int | np.integer), isinstance(right, int | np.integer)
    if all(static):
        return int(left) == int(right)
    return not any(static) and str(left) == str(right)
