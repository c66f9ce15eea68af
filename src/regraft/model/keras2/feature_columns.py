"""Feature columns of TensorFlow.

A column does two things with a batch of features: on the host it makes *codes*, rows
of numbers (values, numbers of buckets, ids; -1 where nothing is), and on the device
it makes its part of the layer's output of them, with an embedding's table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from keras import ops

from regraft.errors import MismatchError, UnsupportedError
from regraft.graph.runtime.kernels.sparse import sparse_cross
from regraft.model.keras2.composite_rows import CompositeRows
from regraft.model.keras2.host_lookup import each
from regraft.model.keras2.host_values import Array, is_text

Features = Mapping[str, Array | CompositeRows]
Shapes = Mapping[str, tuple[int | None, ...]]
# Name of a feature, its dtype, the lengths of its rows.
Read = tuple[str, str, tuple[int, ...]]


class Column(Protocol):
    """A column that has a place in the output of a layer."""

    @property
    def name(self) -> str:
        """By which columns are ordered."""

    @property
    def width(self) -> int:
        """How many numbers of a row, or of a step, of the output are its own."""

    def reads(self) -> Iterator[Read]:
        """The features that it reads, as far as its config tells."""

    def codes(self, features: Features) -> Array:
        """The codes of a batch."""

    def dense(self, codes: Any, table: Any) -> Any:
        """Its part of the output."""


class DenseColumn(Column, Protocol):
    """A column of `DenseFeatures`."""

    def count(self, shapes: Shapes) -> int:
        """How many codes a row has."""


def _feature(features: Features, key: str) -> Array | CompositeRows:
    if key not in features:
        raise MismatchError(
            f"A feature column reads the feature {key!r}, which is not among the "
            f"layer's inputs. Received: {', '.join(sorted(features))}."
        )
    found = features[key]
    return found[:, None] if found.ndim == 1 else found


def given_values(features: Features, key: str) -> tuple[Array, Array]:
    """The values of a feature, and where there are any."""
    found = _feature(features, key)
    if isinstance(found, CompositeRows):
        return found.padded()
    return found, ~_is_missing(found)


def _are_rows_of(values: Array, width: int) -> bool:
    return not is_text(values) and values.size == len(values) * width


def _length(shapes: Shapes, key: str) -> int:
    shape = tuple(shapes.get(key, ()))
    lengths = shape[1:] or (1,)
    if len(lengths) > 1 or lengths[0] is None:
        raise UnsupportedError(
            f"A feature column reads the feature {key!r} of shape {shape}; its rows "
            "need one known length. Give the model's input that shape."
        )
    return int(lengths[0])


def _is_missing(values: Array) -> Array:
    """Where TensorFlow drops a value of a dense feature: empty text, -1."""
    if is_text(values):
        return np.asarray(values == b"", bool)
    if values.dtype.kind in "iu":
        return np.asarray(values == -1)
    return np.asarray(values == 0)


# ---------------------------------------------------------------- numbers


@dataclass(frozen=True)
class Numeric:
    """Numbers as they are."""

    key: str
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        return self.key

    @property
    def width(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def reads(self) -> Iterator[Read]:
        yield self.key, "float32", self.shape

    def count(self, shapes: Shapes) -> int:
        return self.width

    def codes(self, features: Features) -> Array:
        values = _feature(features, self.key)
        if isinstance(values, CompositeRows) or not _are_rows_of(values, self.width):
            raise MismatchError(
                f"The numeric column {self.key!r} reads rows of {self.width} numbers. "
                f"Received: {values.dtype} of shape {values.shape}"
            )
        return values.reshape(len(values), self.width).astype("float32")

    def dense(self, codes: Any, table: Any) -> Any:
        return codes


@dataclass(frozen=True)
class Bucketized:
    """Between which boundaries a number is, one of as many zeros and ones."""

    source: Numeric
    boundaries: tuple[float, ...]

    @property
    def name(self) -> str:
        return f"{self.source.name}_bucketized"

    @property
    def buckets(self) -> int:
        return (len(self.boundaries) + 1) * self.source.width

    width = buckets

    def reads(self) -> Iterator[Read]:
        yield from self.source.reads()

    def count(self, shapes: Shapes) -> int:
        return self.source.width

    def codes(self, features: Features) -> Array:
        values = self.source.codes(features)
        edges = np.array(self.boundaries, "float32")
        return np.searchsorted(edges, values, side="right").astype("float32")

    def present(self, features: Features) -> Array:
        """Where a value is."""
        return np.ones(self.codes(features).shape, bool)

    def ids(self, features: Features) -> Array:
        """Ids of all buckets of all numbers of a row."""
        first = np.arange(self.source.width) * (len(self.boundaries) + 1)
        return self.codes(features).astype("int64") + first

    def dense(self, codes: Any, table: Any) -> Any:
        count = len(self.boundaries) + 1
        chosen = ops.one_hot(ops.cast(codes, "int32"), count, dtype="float32")
        return ops.reshape(chosen, (-1, self.width))


# ---------------------------------------------------------------- categories


@dataclass(frozen=True)
class Categorical:
    """Values of one feature to ids.

    Attributes:
        key: Of the feature.
        buckets: Number of ids.
        place: The id of a value.
        dtype: Of the feature.
        rule: What `place` does, as plain data: its `kind` and what that needs.
    """

    key: str
    buckets: int
    place: Callable[[Any], int]
    dtype: str
    rule: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def name(self) -> str:
        return self.key

    def reads(self) -> Iterator[Read]:
        yield self.key, self.dtype, (1,)

    def count(self, shapes: Shapes) -> int:
        return _length(shapes, self.key)

    def present(self, features: Features) -> Array:
        """Where a value is, be it one that has no id."""
        return given_values(features, self.key)[1]

    def ids(self, features: Features) -> Array:
        """Ids of a batch, -1 where there is no value or none with an id."""
        values, present = given_values(features, self.key)
        found = np.full(values.shape, -1, "int64")
        found[present] = each(self.place, values[present], "int64")
        return found


@dataclass(frozen=True)
class Crossed:
    """Combinations of values to ids."""

    keys: tuple[Any, ...]
    buckets: int
    hash_key: int

    def leaves(self) -> Iterator[Any]:
        """Features by name and columns, those of crosses within it, too."""
        for key in self.keys:
            if isinstance(key, Crossed):
                yield from key.leaves()
            else:
                yield key

    @property
    def name(self) -> str:
        names = [leaf if isinstance(leaf, str) else leaf.name for leaf in self.leaves()]
        return "_X_".join(sorted(names))

    def reads(self) -> Iterator[Read]:
        for leaf in self.leaves():
            if isinstance(leaf, str):
                yield leaf, "string", (1,)
            else:
                yield from leaf.reads()

    def count(self, shapes: Shapes) -> int:
        found = 1
        for leaf in self.leaves():
            text = isinstance(leaf, str)
            found *= _length(shapes, leaf) if text else leaf.count(shapes)
        return found

    def ids(self, features: Features) -> Array:
        """Ids of all combinations of a row, -1 where there are fewer."""
        # TensorFlow takes the columns first, then the features.
        indices: list[Any] = []
        values: list[Any] = []
        shapes: list[Any] = []
        dense: list[Any] = []
        size, widest = 0, 1
        for leaf in self.leaves():
            if isinstance(leaf, str):
                found = _feature(features, leaf)
                parts = found.parts if isinstance(found, CompositeRows) else None
            else:
                found = leaf.ids(features)
                kept = np.argwhere(leaf.present(features))
                shape = np.array(found.shape, "int64")
                parts = kept, found[tuple(kept.T)], shape
            if parts is None:
                dense.append(found)
            else:
                for items, part in zip((indices, values, shapes), parts, strict=True):
                    items.append(part)
            size, widest = len(found), widest * int(found.shape[1] or 0)
        places, crossed, _ = sparse_cross(
            *(indices, values, shapes, dense),
            hashed_output=True,
            num_buckets=self.buckets,
            hash_key=self.hash_key,
        )
        out = np.full((size, widest), -1, "int64")
        out[tuple(places.T)] = crossed
        return out


@dataclass(frozen=True)
class Weighted:
    """Ids of which each has a weight, in a feature of its own."""

    categorical: Categorical | Crossed
    weight_key: str

    @property
    def name(self) -> str:
        return f"{self.categorical.name}_weighted_by_{self.weight_key}"

    @property
    def buckets(self) -> int:
        return self.categorical.buckets

    def reads(self) -> Iterator[Read]:
        yield from self.categorical.reads()
        yield self.weight_key, "float32", (1,)

    def count(self, shapes: Shapes) -> int:
        return 2 * self.categorical.count(shapes)

    def ids(self, features: Features) -> Array:
        """Ids, and beside them their weights."""
        ids = self.categorical.ids(features)
        weights, _ = given_values(features, self.weight_key)
        if weights.shape != ids.shape:
            raise MismatchError(
                f"The column {self.name!r} needs a weight for each id. Received "
                f"shapes: {ids.shape} and {weights.shape}"
            )
        return np.concatenate([ids.astype("float32"), weights.astype("float32")], 1)


@dataclass(frozen=True)
class _OfCategories:
    """What an indicator and an embedding share."""

    categorical: Any

    def reads(self) -> Iterator[Read]:
        yield from self.categorical.reads()

    def count(self, shapes: Shapes) -> int:
        return int(self.categorical.count(shapes))

    def codes(self, features: Features) -> Array:
        found: Array = self.categorical.ids(features)
        return found.astype("float32")

    def _split(self, codes: Any) -> tuple[Any, Any]:
        """Ids and weights; the weight of no id is zero."""
        if not isinstance(self.categorical, Weighted):
            return codes, ops.cast(codes >= 0, "float32")
        ids, weights = ops.split(codes, 2, axis=1)
        return ids, ops.where(ids >= 0, weights, 0.0)


@dataclass(frozen=True)
class Indicator(_OfCategories):
    """How often each id is there."""

    @property
    def name(self) -> str:
        return f"{self.categorical.name}_indicator"

    @property
    def width(self) -> int:
        return int(self.categorical.buckets)

    def dense(self, codes: Any, table: Any) -> Any:
        ids, weights = self._split(codes)
        chosen = ops.one_hot(ops.cast(ids, "int32"), self.width, dtype="float32")
        return ops.sum(chosen * ops.expand_dims(weights, -1), axis=1)


@dataclass(frozen=True)
class Embedding(_OfCategories):
    """The rows of a trained table for the ids, put together."""

    dimension: int
    combiner: str
    initializer: Any
    max_norm: float | None
    trainable: bool

    @property
    def name(self) -> str:
        return f"{self.categorical.name}_embedding"

    @property
    def width(self) -> int:
        return self.dimension

    @property
    def table_shape(self) -> tuple[int, int]:
        return int(self.categorical.buckets), self.dimension

    def dense(self, codes: Any, table: Any) -> Any:
        ids, weights = self._split(codes)
        if self.combiner != "sum":
            weights = ops.maximum(weights, 0.0)
        rows = ops.take(table, ops.cast(ops.maximum(ids, 0), "int32"), axis=0)
        if self.max_norm is not None:
            # The root has no slope at zero.
            squares = ops.sum(ops.square(rows), axis=-1, keepdims=True)
            norms = ops.sqrt(ops.where(squares > 0, squares, 1.0))
            norms = ops.where(squares > 0, norms, 0.0)
            rows = rows * (self.max_norm / ops.maximum(norms, self.max_norm))
        found = ops.sum(rows * ops.expand_dims(weights, -1), axis=1)
        if self.combiner == "sum":
            return found
        total = weights if self.combiner == "mean" else ops.square(weights)
        total = ops.sum(total, axis=1, keepdims=True)
        total = ops.where(total > 0, total, 1.0)
        return found / (total if self.combiner == "mean" else ops.sqrt(total))
