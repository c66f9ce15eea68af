"""Sparse and ragged inputs of models, of which a batch is some rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from regraft.errors import MismatchError
from regraft.graph import ir
from regraft.graph.runtime import composites
from regraft.model.keras2.host_values import Array, host_array, is_text


class CompositeRows:
    """A sparse or ragged tensor as its parts, from which rows can be taken.

    Args:
        spec: Of a sparse tensor of at least one axis, or of a ragged tensor.
        parts: Arrays; text as objects.

    Attributes:
        parts: As given: indices, values and dense shape, or flat values and row
            splits from the outermost on.
    """

    def __init__(self, spec: ir.TypeSpec, parts: Sequence[Array]) -> None:
        self._spec = spec
        self.parts = tuple(parts)
        self._is_sparse = composites.is_sparse(spec)

    def __len__(self) -> int:
        if self._is_sparse:
            return int(self.parts[2][0])
        return len(self.parts[1]) - 1

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Lengths of the axes; `None` where rows differ."""
        if self._is_sparse:
            return tuple(map(int, self.parts[2]))
        flat, *splits = self.parts
        return (len(self), *[None] * len(splits), *flat.shape[1:])

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> Any:
        """Of its values."""
        return self.parts[1 if self._is_sparse else 0].dtype

    def __getitem__(self, rows: Any) -> CompositeRows:
        """Returns the rows that a slice or an array of numbers names."""
        places = np.arange(len(self))[rows]
        take = _sparse_rows if self._is_sparse else _ragged_rows
        return CompositeRows(self._spec, take(self.parts, places))

    def padded(self) -> tuple[Array, Array]:
        """Returns a sparse tensor as a dense one, and where it has values.

        Everywhere else is zero, or empty text.
        """
        indices, found, shape = self.parts
        places = tuple(indices.T)
        present = np.zeros(tuple(shape), bool)
        present[places] = True
        dense = np.full(present.shape, b"" if is_text(found) else 0, found.dtype)
        dense[places] = found
        return dense, present


def _ragged_rows(parts: Sequence[Array], places: Array) -> list[Array]:
    flat, *splits = parts
    taken = []
    for split in splits:
        places, starts = _within(split, places)
        taken.append(starts.astype(split.dtype))
    return [flat[places], *taken]


def _sparse_rows(parts: Sequence[Array], places: Array) -> list[Array]:
    indices, found, shape = parts
    # The rows of the indices are in order, as everywhere in TensorFlow.
    split = np.searchsorted(indices[:, 0], np.arange(int(shape[0]) + 1))
    inside, starts = _within(split, places)
    taken = indices[inside]
    taken[:, 0] = np.repeat(np.arange(len(places)), np.diff(starts))
    return [taken, found[inside], np.array([len(places), *shape[1:]], shape.dtype)]


def _within(split: Array, places: Array) -> tuple[Array, Array]:
    """Returns the numbers of what is in some rows, and where each row starts."""
    counts = np.diff(split)[places]
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    shift = np.repeat(np.asarray(split)[places] - starts[:-1], counts)
    return np.arange(starts[-1]) + shift, starts


def composite_rows(spec: ir.TypeSpec, value: Any, name: str) -> CompositeRows:
    """Returns what a user gave for a sparse or ragged input.

    Args:
        spec: What the input takes.
        value: What `regraft.graph.runtime.composites.components` takes, or, for a
            ragged input, nested lists of rows or a dense array.
        name: Of the input, for messages.

    Raises:
        MismatchError: It isn't a value of the spec.
    """
    if isinstance(value, CompositeRows):
        return value
    specs = composites.component_specs(spec)
    if not composites.is_sparse(spec) and _are_rows(value):
        parts: tuple[Any, ...] | None = _parts_of_rows(value, specs, name)
    else:
        parts = composites.components(spec, value)
    if parts is None:
        raise MismatchError(
            f"Input '{name}' takes a {composites.described(spec)} tensor: "
            + (
                "a tuple of indices, values and dense shape, a matrix of scipy.sparse "
                "or a BCOO"
                if composites.is_sparse(spec)
                else "lists of rows, or a tuple of flat values and row splits"
            )
            + f". Received: {type(value).__name__}"
        )
    arrays = [host_array(part) for part in parts]
    text = any(one.dtype.name == "string" for one in specs)
    if any(map(is_text, arrays)) != text:
        raise MismatchError(f"Input '{name}' takes {'text' if text else 'numbers'}.")
    ranks = [None if s.shape.dims is None else len(s.shape.dims) for s in specs]
    for array, rank in zip(arrays, ranks, strict=True):
        if rank is not None and array.ndim != rank:
            raise MismatchError(
                f"A part of input '{name}' has another number of axes. "
                f"Expected: {rank}. Received: {array.ndim}."
            )
    wrong = composites.difference(spec, tuple(arrays)) or _bad_splits(spec, arrays)
    if wrong:
        raise MismatchError(
            f"Input '{name}' takes a {composites.described(spec)} tensor. "
            f"Received: {wrong}."
        )
    return CompositeRows(spec, arrays)


def sparse_rows(value: Any, name: str) -> CompositeRows | None:
    """Returns what was given of a sparse tensor of any shape; `None` if it is none.

    Raises:
        MismatchError: Its parts contradict one another.
    """
    if isinstance(value, list | CompositeRows):
        return None if isinstance(value, list) else value
    parts = composites.components(
        composites.sparse_spec(ir.TensorShape(None), ir.NO_TYPE), value
    )
    if parts is None:
        return None
    found, shape = host_array(parts[1]), host_array(parts[2])
    dtype = "string" if is_text(found) else str(found.dtype)
    lengths = ir.TensorShape((None,) * shape.size)
    spec = composites.sparse_spec(lengths, ir.DataType.of(dtype))
    return composite_rows(spec, parts, name)


def _are_rows(value: Any) -> bool:
    return isinstance(value, list) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _parts_of_rows(
    value: Any, specs: Sequence[ir.TensorSpec], name: str
) -> tuple[Any, ...]:
    splits = []
    rows = list(value)
    for spec in specs[1:]:
        if not all(isinstance(row, (list, tuple, np.ndarray)) for row in rows):
            raise MismatchError(f"Input '{name}' takes lists of rows, each a list.")
        lengths = np.array([0, *map(len, rows)], np.int64)
        splits.append(np.cumsum(lengths).astype(spec.dtype.name))
        rows = [item for row in rows for item in row]
    flat = specs[0]
    dims = flat.shape.dims or (None,)
    if not rows:
        known = [0 if dim is None else dim for dim in dims[1:]]
        dtype = object if flat.dtype.name == "string" else flat.dtype.name
        return (np.zeros((0, *known), dtype), *splits)
    array = host_array(rows)
    if not is_text(array) and flat.dtype.name != "string":
        array = array.astype(flat.dtype.name, casting="same_kind", copy=False)
    return (array, *splits)


def _bad_splits(spec: ir.TypeSpec, arrays: Sequence[Array]) -> str | None:
    """Returns what is wrong about the parts of a ragged tensor."""
    if composites.is_sparse(spec):
        indices, _, shape = arrays
        if len(indices) and (
            (indices < 0).any()
            or (indices >= shape).any()
            or (np.diff(indices[:, 0]) < 0).any()
        ):
            return "indices outside of its shape or not in order"
        return None
    count = len(arrays[0])
    for split in reversed(arrays[1:]):
        if (
            not len(split)
            or split[0]
            or split[-1] != count
            or (np.diff(split) < 0).any()
        ):
            return "row splits that don't fit its values"
        count = len(split) - 1
    return None
