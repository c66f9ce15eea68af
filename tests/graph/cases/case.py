"""A row of the op tests: inputs and attributes of one op.

Rows are read by two programs: `golden/make.py`, which lets real TensorFlow compute
what the op gives, and `test_kernels.py`. Neither TensorFlow nor Regraft is imported
here. Random numbers come from NumPy's oldest generator, whose stream never changes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """One op with values.

    Attributes:
        op: Name of the op.
        inputs: By the op's own names; a list for a list input.
        attrs: By name: dtypes as text, shapes as lists.
        label: Tells rows of one op apart.
        tolerance: Allowed difference, relative to the largest expected value.
        fixed: Inputs that must be known while compiling, though not in every row.
        compare: Makes results comparable where several are right (signs of
            eigenvectors); applied to the list of results of both sides.
    """

    op: str
    inputs: dict[str, Any]
    attrs: dict[str, Any] = field(default_factory=dict)
    label: str = ""
    tolerance: float = 2e-6
    fixed: tuple[str, ...] = ()
    compare: Callable[[list[Any]], list[Any]] | None = None

    @property
    def id(self) -> str:
        return f"{self.op}-{self.label}" if self.label else self.op


@dataclass(frozen=True)
class Program:
    """Several ops in a graph: control flow, lists, variables, tables.

    Attributes:
        name: Of the row.
        build: Makes the graph in TensorFlow: gets the `tensorflow` module and one
            placeholder per input, returns the tensors to fetch.
        inputs: Values of the placeholders.
        random: Whether the results are random: then only shapes and types count.
        eager_only: Why it cannot be compiled; empty if it can.
    """

    name: str
    build: Callable[..., Any]
    inputs: tuple[Any, ...] = ()
    random: bool = False
    eager_only: str = ""
    tolerance: float = 2e-6


def _random(*shape: int) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(repr(shape).encode()) & 0x7FFFFFFF)


def normal(*shape: int, dtype: str = "float32", salt: int = 0) -> Any:
    """Normal numbers; the same for the same shape and salt."""
    return _random(*shape, salt).normal(size=shape).astype(dtype)


def uniform(low: float, high: float, *shape: int, dtype: str = "float32") -> Any:
    """Numbers between two bounds; the same for the same shape."""
    return _random(*shape, 1).uniform(low, high, size=shape).astype(dtype)


def integers(low: int, high: int, *shape: int, dtype: str = "int32") -> Any:
    """Whole numbers from `low` to below `high`; the same for the same shape."""
    return _random(*shape, 2).randint(low, high, size=shape).astype(dtype)


def i32(*items: Any) -> Any:
    """A vector of int32, or a scalar for one number that is no list."""
    return np.array(items[0] if len(items) == 1 else items, np.int32)


def i64(*items: Any) -> Any:
    """As `i32`, of int64."""
    return np.array(items[0] if len(items) == 1 else items, np.int64)


def f32(*items: Any) -> Any:
    """As `i32`, of float32."""
    return np.array(items[0] if len(items) == 1 else items, np.float32)


def texts(*items: Any) -> Any:
    """An array of `bytes`."""
    flat = items[0] if len(items) == 1 and isinstance(items[0], list) else items
    shape = np.shape(np.array(flat, dtype=object))
    out = np.empty(shape, object)
    out.reshape(-1)[:] = [
        t.encode() if isinstance(t, str) else t
        for t in np.array(flat, dtype=object).reshape(-1)
    ]
    return out


def text(item: str) -> Any:
    """A scalar of text."""
    out = np.empty((), object)
    out[()] = item.encode()
    return out
