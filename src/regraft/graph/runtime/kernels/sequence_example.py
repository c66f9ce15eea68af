"""`tf.train.SequenceExample`s, parsed on the host.

A `SequenceExample` has a context, which is the `Features` of an `Example`, and feature
lists: a map from name to a list of features, one per time step.
Source: TensorFlow `core/example/example.proto`.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regraft.errors import MismatchError
from regraft.graph import ir
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.example import (
    DenseKeys,
    Features,
    SparseKeys,
    array_of,
    columns_of,
    features_in,
    features_of,
    fields_of,
    items_of,
    ragged_features,
)
from regraft.graph.runtime.registry import kernel

Steps = list[list[Any]]


@dataclass(frozen=True)
class _Sequence:
    """A parsed SequenceExample."""

    context: Features
    lists: dict[bytes, Steps]


def _parse(data: bytes) -> _Sequence:
    context: Features = {}
    lists: dict[bytes, Steps] = {}
    try:
        for number, _, content in fields_of(data):
            if number == 1:
                context.update(features_in(content))
                continue
            for _, _, entry in fields_of(content):
                parts = {place: value for place, _, value in fields_of(entry)}
                steps = [items_of(step) for _, _, step in fields_of(parts.get(2, b""))]
                lists[parts.get(1, b"")] = steps
    except (IndexError, TypeError, struct.error):
        raise MismatchError(
            f"Invalid tf.train.SequenceExample: {data[:20]!r}… of {len(data)} bytes."
        ) from None
    return _Sequence(context, lists)


def _sparse_list(rows: list[Steps], dtype: str, batched: bool) -> tuple[Any, Any, Any]:
    """Returns lists of any length in steps of any length as a sparse tensor."""
    places = [
        (i, j, k)
        for i, steps in enumerate(rows)
        for j, step in enumerate(steps)
        for k in range(len(step))
    ]
    found = array_of([x for steps in rows for step in steps for x in step], dtype)
    lengths = [len(step) for steps in rows for step in steps]
    shape = [len(rows), max(map(len, rows), default=0), max(lengths, default=0)]
    indices = np.array(places, np.int64).reshape(-1, 3)
    if not batched:
        indices, shape = indices[:, 1:], shape[1:]
    return indices, found, np.array(shape, np.int64)


def _dense_list(
    key: bytes,
    rows: list[Steps],
    dtype: str,
    shape: ir.TensorShape,
    batched: bool,
) -> tuple[Any, Any]:
    """Returns steps of one shape, filled up to the longest list, and the lengths."""
    known = tuple(int(d or 0) for d in shape.dims or ())
    width = int(np.prod(known, dtype=np.int64))
    lengths = [len(steps) for steps in rows]
    longest = max(lengths, default=0)
    filler: Any = b"" if dtype == "string" else 0
    out = np.full((len(rows), longest, *known), filler, values.numpy_dtype(dtype))
    for row, steps in enumerate(rows):
        for place, step in enumerate(steps):
            if len(step) != width:
                raise MismatchError(
                    f"Step {place} of feature list {key!r} has {len(step)} values, "
                    f"expected {width}."
                )
            out[row, place] = array_of(step, dtype).reshape(known)
    sizes = np.array(lengths, np.int64)
    return (out, sizes) if batched else (out[0], sizes[0])


def _ragged_list(
    rows: list[Steps], dtype: str, split_dtype: str, batched: bool
) -> tuple[Any, Any, Any]:
    """Returns values, where lists end, and where their steps end."""
    numpy = values.numpy_dtype(split_dtype)
    steps = [step for row in rows for step in row]
    inner = np.cumsum([0, *map(len, steps)]).astype(numpy)
    outer = np.cumsum([0, *map(len, rows)]).astype(numpy)
    found = array_of([x for step in steps for x in step], dtype)
    return found, outer if batched else _zero(split_dtype), inner


def _zero(dtype: str) -> Any:
    """Returns what TensorFlow gives for where rows end, where there are no rows."""
    return np.zeros((), values.numpy_dtype(dtype))


class _Batch:
    """Parsed SequenceExamples of which features are asked for."""

    def __init__(self, serialized: Any) -> None:
        self.batched = bool(serialized.ndim)
        self.rows = [_parse(item) for item in serialized.reshape(-1).tolist()]

    def context(
        self, sparse: SparseKeys, dense: DenseKeys, defaults: Sequence[Any]
    ) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
        parsed = [row.context for row in self.rows]
        return features_of(parsed, sparse, dense, defaults, self.batched)

    def steps(self, key: bytes, may_lack: bool = True) -> list[Steps]:
        """Returns the feature list of each row."""
        if not may_lack and any(key not in row.lists for row in self.rows):
            raise MismatchError(f"A SequenceExample has no feature list {key!r}.")
        return [row.lists.get(key, []) for row in self.rows]

    def lists(
        self,
        sparse: SparseKeys,
        dense: DenseKeys,
        may_lack: Sequence[bool],
    ) -> tuple[list[Any], list[Any], list[Any], list[Any], list[Any]]:
        found = (
            _sparse_list(self.steps(key), dtype, self.batched)
            for key, dtype in zip(*sparse, strict=True)
        )
        filled = (
            _dense_list(key, self.steps(key, lacks), dtype, shape, self.batched)
            for key, dtype, shape, lacks in zip(*dense, may_lack, strict=True)
        )
        indices, items, shapes = columns_of(found, 3)
        stacked, lengths = columns_of(filled, 2)
        return indices, items, shapes, stacked, lengths


@kernel(
    "ParseSequenceExampleV2",
    host=True,
    ignored=("Ncontext_sparse", "Nfeature_list_sparse", "Nfeature_list_dense"),
)
def parse_sequence_example_v2(
    serialized: Any,
    debug_name: Any,
    context_sparse_keys: Any,
    context_dense_keys: Any,
    context_ragged_keys: Any,
    feature_list_sparse_keys: Any,
    feature_list_dense_keys: Any,
    feature_list_ragged_keys: Any,
    feature_list_dense_missing_assumed_empty: Any,
    context_dense_defaults: list[Any],
    *,
    Tcontext_dense: tuple[str, ...],
    context_sparse_types: tuple[str, ...],
    context_ragged_value_types: tuple[str, ...],
    context_ragged_split_types: tuple[str, ...],
    context_dense_shapes: tuple[ir.TensorShape, ...],
    feature_list_dense_types: tuple[str, ...],
    feature_list_sparse_types: tuple[str, ...],
    feature_list_ragged_value_types: tuple[str, ...],
    feature_list_ragged_split_types: tuple[str, ...],
    feature_list_dense_shapes: tuple[ir.TensorShape, ...],
) -> tuple[list[Any], ...]:
    """Context and feature lists of serialized SequenceExamples."""
    del debug_name
    batch = _Batch(serialized)
    context = batch.context(
        (context_sparse_keys.tolist(), context_sparse_types),
        (context_dense_keys.tolist(), Tcontext_dense, context_dense_shapes),
        context_dense_defaults,
    )
    ragged = (
        ragged_features(
            [row.context.get(key, []) for row in batch.rows], dtype, split, batched=True
        )
        if batch.batched
        else (array_of(batch.rows[0].context.get(key, []), dtype), _zero(split))
        for key, dtype, split in zip(
            context_ragged_keys.tolist(),
            context_ragged_value_types,
            context_ragged_split_types,
            strict=True,
        )
    )
    lists = batch.lists(
        (feature_list_sparse_keys.tolist(), feature_list_sparse_types),
        (
            feature_list_dense_keys.tolist(),
            feature_list_dense_types,
            feature_list_dense_shapes,
        ),
        feature_list_dense_missing_assumed_empty.tolist(),
    )
    ragged_lists = (
        _ragged_list(batch.steps(key), dtype, split, batch.batched)
        for key, dtype, split in zip(
            feature_list_ragged_keys.tolist(),
            feature_list_ragged_value_types,
            feature_list_ragged_split_types,
            strict=True,
        )
    )
    return (*context, *columns_of(ragged, 2), *lists, *columns_of(ragged_lists, 3))


def _parse_all(
    serialized: Any,
    defaults: Sequence[Any],
    may_lack: Collection[bytes],
    context_sparse: SparseKeys,
    context_dense: DenseKeys,
    lists_sparse: SparseKeys,
    lists_dense: DenseKeys,
) -> tuple[list[Any], ...]:
    """Returns what the ops without ragged tensors give, the lengths of lists last."""
    batch = _Batch(serialized)
    context = batch.context(context_sparse, context_dense, defaults)
    lacking = [key in may_lack for key in lists_dense[0]]
    return (*context, *batch.lists(lists_sparse, lists_dense, lacking))


def _encoded(keys: Iterable[str | bytes]) -> list[bytes]:
    return [key.encode() if isinstance(key, str) else key for key in keys]


def _items(keys: Iterable[Any]) -> list[bytes]:
    return [key.item() for key in keys]


_COUNTS = (
    *("Ncontext_sparse", "Ncontext_dense"),
    *("Nfeature_list_sparse", "Nfeature_list_dense"),
)


@kernel("ParseSequenceExample", host=True, ignored=_COUNTS)
def parse_sequence_example(
    serialized: Any,
    debug_name: Any,
    context_dense_defaults: list[Any],
    *,
    feature_list_dense_missing_assumed_empty: tuple[str, ...],
    context_sparse_keys: tuple[str, ...],
    context_dense_keys: tuple[str, ...],
    feature_list_sparse_keys: tuple[str, ...],
    feature_list_dense_keys: tuple[str, ...],
    context_sparse_types: tuple[str, ...],
    Tcontext_dense: tuple[str, ...],
    feature_list_dense_types: tuple[str, ...],
    context_dense_shapes: tuple[ir.TensorShape, ...],
    feature_list_sparse_types: tuple[str, ...],
    feature_list_dense_shapes: tuple[ir.TensorShape, ...],
) -> tuple[list[Any], ...]:
    """Context and feature lists of serialized SequenceExamples."""
    del debug_name
    return _parse_all(
        serialized,
        context_dense_defaults,
        _encoded(feature_list_dense_missing_assumed_empty),
        (_encoded(context_sparse_keys), context_sparse_types),
        (_encoded(context_dense_keys), Tcontext_dense, context_dense_shapes),
        (_encoded(feature_list_sparse_keys), feature_list_sparse_types),
        (
            _encoded(feature_list_dense_keys),
            feature_list_dense_types,
            feature_list_dense_shapes,
        ),
    )


@kernel("ParseSingleSequenceExample", host=True, ignored=_COUNTS)
def parse_single_sequence_example(
    serialized: Any,
    feature_list_dense_missing_assumed_empty: Any,
    context_sparse_keys: list[Any],
    context_dense_keys: list[Any],
    feature_list_sparse_keys: list[Any],
    feature_list_dense_keys: list[Any],
    context_dense_defaults: list[Any],
    debug_name: Any,
    *,
    context_sparse_types: tuple[str, ...],
    Tcontext_dense: tuple[str, ...],
    feature_list_dense_types: tuple[str, ...],
    context_dense_shapes: tuple[ir.TensorShape, ...],
    feature_list_sparse_types: tuple[str, ...],
    feature_list_dense_shapes: tuple[ir.TensorShape, ...],
) -> tuple[list[Any], ...]:
    """Context and feature lists of one serialized SequenceExample."""
    del debug_name
    *results, _ = _parse_all(
        serialized,
        context_dense_defaults,
        feature_list_dense_missing_assumed_empty.tolist(),
        (_items(context_sparse_keys), context_sparse_types),
        (_items(context_dense_keys), Tcontext_dense, context_dense_shapes),
        (_items(feature_list_sparse_keys), feature_list_sparse_types),
        (
            _items(feature_list_dense_keys),
            feature_list_dense_types,
            feature_list_dense_shapes,
        ),
    )
    return tuple(results)
