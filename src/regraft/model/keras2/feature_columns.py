"""Feature columns of TensorFlow, from the configs that Keras 2 writes of them.

A column does two things with a batch of features: on the host it makes *codes*, rows
of numbers (values, numbers of buckets, ids; -1 where nothing is), and on the device
it makes its part of the layer's output of them, with an embedding's table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from keras import ops

from regraft.errors import FormatError, MismatchError, UnsupportedError
from regraft.graph.runtime.kernels import hashing
from regraft.graph.runtime.kernels.sparse import sparse_cross
from regraft.model.keras2.host_lookup import each
from regraft.model.keras2.host_values import Array, is_text

Features = Mapping[str, Array]
Shapes = Mapping[str, tuple[int | None, ...]]

# What TensorFlow begins a cross of columns with where no key is given.
_HASH_KEY = 0xDECAFCAFFE
# Codes travel as float32, which holds whole numbers up to here.
_LARGEST = 1 << 24


class DenseColumn(Protocol):
    """A column that has a place in the output of `DenseFeatures`."""

    @property
    def name(self) -> str:
        """By which columns are ordered."""

    @property
    def width(self) -> int:
        """How many numbers of a row of the output are its own."""

    def count(self, shapes: Shapes) -> int:
        """How many codes a row has."""

    def codes(self, features: Features) -> Array:
        """The codes of a batch."""

    def dense(self, codes: Any, table: Any) -> Any:
        """Its part of the output."""


def _feature(features: Features, key: str) -> Array:
    if key not in features:
        raise MismatchError(
            f"A feature column reads the feature {key!r}, which is not among the "
            f"layer's inputs. Received: {', '.join(sorted(features))}."
        )
    found = features[key]
    return found[:, None] if found.ndim == 1 else found


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

    def count(self, shapes: Shapes) -> int:
        return self.width

    def codes(self, features: Features) -> Array:
        values = _feature(features, self.key)
        if is_text(values) or values.size != len(values) * self.width:
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
    """

    key: str
    buckets: int
    place: Callable[[Any], int]

    @property
    def name(self) -> str:
        return self.key

    def count(self, shapes: Shapes) -> int:
        return _length(shapes, self.key)

    def present(self, features: Features) -> Array:
        """Where a value is, be it one that has no id."""
        return ~_is_missing(_feature(features, self.key))

    def ids(self, features: Features) -> Array:
        """Ids of a batch, -1 where there is no value or none with an id."""
        values = _feature(features, self.key)
        found = each(self.place, values, "int64")
        return np.where(_is_missing(values), -1, found)


@dataclass(frozen=True)
class Crossed:
    """Combinations of values to ids."""

    keys: tuple[Any, ...]
    buckets: int
    hash_key: int

    def _leaves(self) -> Iterator[Any]:
        for key in self.keys:
            if isinstance(key, Crossed):
                yield from key._leaves()
            else:
                yield key

    @property
    def name(self) -> str:
        names = [
            leaf if isinstance(leaf, str) else leaf.name for leaf in self._leaves()
        ]
        return "_X_".join(sorted(names))

    def count(self, shapes: Shapes) -> int:
        found = 1
        for leaf in self._leaves():
            text = isinstance(leaf, str)
            found *= _length(shapes, leaf) if text else leaf.count(shapes)
        return found

    def ids(self, features: Features) -> Array:
        """Ids of all combinations of a row, -1 where there are fewer."""
        # TensorFlow takes the columns first, then the features.
        indices, values, shapes, dense = [], [], [], []
        size, widest = 0, 1
        for leaf in self._leaves():
            if isinstance(leaf, str):
                found = _feature(features, leaf)
                dense.append(found)
            else:
                found = leaf.ids(features)
                kept = np.argwhere(leaf.present(features))
                indices.append(kept)
                values.append(found[tuple(kept.T)])
                shapes.append(np.array(found.shape, "int64"))
            size, widest = len(found), widest * found.shape[1]
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

    def count(self, shapes: Shapes) -> int:
        return 2 * self.categorical.count(shapes)

    def ids(self, features: Features) -> Array:
        """Ids, and beside them their weights."""
        ids = self.categorical.ids(features)
        weights = _feature(features, self.weight_key)
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


# ---------------------------------------------------------------- configs


class _Config:
    """A column's entry, whose values are checked as they are read."""

    def __init__(self, entry: Any) -> None:
        if not isinstance(entry, Mapping) or not isinstance(
            entry.get("config"), Mapping
        ):
            raise FormatError("Invalid feature column", received=_short(entry))
        self.class_name = str(entry.get("class_name"))
        self._config = entry["config"]

    def bad(self, key: str, expected: str) -> FormatError:
        return FormatError(
            f"Invalid `{key}` of a {self.class_name}",
            expected=expected,
            received=_short(self._config.get(key)),
        )

    def get(self, key: str) -> Any:
        return self._config.get(key)

    def text(self, key: str) -> str:
        found = self._config.get(key)
        if not isinstance(found, str):
            raise self.bad(key, "a text")
        return found

    def positive(self, key: str) -> int:
        found = self._config.get(key)
        if type(found) is not int or found < 1:
            raise self.bad(key, "a positive whole number")
        return self.id_count(found)

    def id_count(self, found: int) -> int:
        if found > _LARGEST:
            raise UnsupportedError(
                f"A {self.class_name} has {found} ids or lengths; at most {_LARGEST} "
                "are supported."
            )
        return found

    def items(self, key: str) -> list[Any]:
        found = self._config.get(key)
        if isinstance(found, Mapping) and found.get("class_name") == "__tuple__":
            found = found.get("items")
        if not isinstance(found, list | tuple) or not found:
            raise self.bad(key, "a list")
        return list(found)

    def column(self, key: str, *kinds: type) -> Any:
        found = _parse(self._config.get(key))
        if not isinstance(found, kinds):
            raise self.bad(key, "another kind of column")
        return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else text[:77] + "..."


def dense_column(entry: Any) -> DenseColumn:
    """Makes a column of `DenseFeatures` of its entry.

    Raises:
        FormatError: The entry makes no sense.
        UnsupportedError: There is no such column here.
    """
    found = _parse(entry)
    if not hasattr(found, "dense"):
        raise FormatError(
            "A column of categories is no dense column", received=_short(entry)
        )
    dense: DenseColumn = found
    return dense


def _parse(entry: Any) -> Any:
    config = _Config(entry)
    make = _CLASSES.get(config.class_name)
    if make is None:
        raise UnsupportedError(
            f"Feature columns of class {config.class_name!r} have no equal here. Pass "
            "a layer for them in `custom_objects`."
        )
    return make(config)


def _numeric(config: _Config) -> Numeric:
    if config.get("normalizer_fn") is not None:
        raise UnsupportedError(
            f"The numeric column {config.text('key')!r} is normalized by a Python "
            "function. Pass a layer for it in `custom_objects={'DenseFeatures': …}`."
        )
    shape = config.items("shape")
    if any(type(length) is not int or length < 1 for length in shape):
        raise config.bad("shape", "positive whole numbers")
    found = Numeric(config.text("key"), tuple(shape))
    config.id_count(found.width)
    return found


def _bucketized(config: _Config) -> Bucketized:
    boundaries = config.items("boundaries")
    if any(isinstance(b, bool) or not isinstance(b, int | float) for b in boundaries):
        raise config.bad("boundaries", "numbers")
    if boundaries != sorted(boundaries):
        raise config.bad("boundaries", "ascending numbers")
    return Bucketized(config.column("source_column", Numeric), tuple(boundaries))


def _identity(config: _Config) -> Categorical:
    buckets = config.positive("number_buckets")
    default, key = config.get("default_value"), config.text("key")

    def place(value: Any) -> int:
        if 0 <= value < buckets or value == -1:
            return int(value)
        if default is None:
            raise MismatchError(
                f"The column {key!r} has {buckets} ids and no default for others. "
                f"Received: {value!r}"
            )
        return int(default)

    if default is not None and (type(default) is not int or default < 0):
        raise config.bad("default_value", "a whole number")
    return Categorical(key, buckets, place)


def _hash(value: Any) -> int:
    data = value if isinstance(value, bytes) else str(int(value)).encode()
    return hashing.fingerprint64(data)


def _hashed(config: _Config) -> Categorical:
    buckets = config.positive("hash_bucket_size")
    return Categorical(
        config.text("key"), buckets, lambda value: _hash(value) % buckets
    )


def _vocabulary(config: _Config) -> Categorical:
    words = config.items("vocabulary_list")
    if not all(isinstance(word, str | int) for word in words):
        raise config.bad("vocabulary_list", "texts or whole numbers")
    ids = {
        word.encode() if isinstance(word, str) else word: index
        for index, word in enumerate(words)
    }
    others = config.get("num_oov_buckets") or 0
    default = config.get("default_value")
    default = -1 if default is None else default
    for key, value in (("num_oov_buckets", others), ("default_value", default)):
        if type(value) is not int:
            raise config.bad(key, "a whole number")
    count = config.id_count(len(words) + max(others, 0))

    def place(value: Any) -> int:
        if value in ids:
            return ids[value]
        return len(words) + _hash(value) % others if others > 0 else default

    return Categorical(config.text("key"), count, place)


def _vocabulary_file(config: _Config) -> Categorical:
    raise UnsupportedError(
        f"The column {config.text('key')!r} has its vocabulary in a file of its own, "
        "whose path is not opened. Save the model with "
        "`categorical_column_with_vocabulary_list`."
    )


def _crossed(config: _Config) -> Crossed:
    keys: list[Any] = []
    for key in config.items("keys"):
        keys.append(key if isinstance(key, str) else _parse(key))
        if isinstance(keys[-1], Weighted) or not (
            isinstance(key, str) or hasattr(keys[-1], "ids")
        ):
            raise config.bad("keys", "features and columns of categories")
    hash_key = config.get("hash_key")
    hash_key = _HASH_KEY if hash_key is None else hash_key
    if type(hash_key) is not int:
        raise config.bad("hash_key", "a whole number")
    return Crossed(tuple(keys), config.positive("hash_bucket_size"), hash_key)


def _weighted(config: _Config) -> Weighted:
    column = config.column("categorical_column", Categorical, Crossed)
    return Weighted(column, config.text("weight_feature_key"))


def _indicator(config: _Config) -> Indicator:
    kinds = (Categorical, Crossed, Weighted, Bucketized)
    return Indicator(config.column("categorical_column", *kinds))


def _embedding(config: _Config) -> Embedding:
    kinds = (Categorical, Crossed, Weighted, Bucketized)
    combiner, norm = config.get("combiner"), config.get("max_norm")
    if combiner not in ("mean", "sqrtn", "sum"):
        raise config.bad("combiner", "'mean', 'sqrtn' or 'sum'")
    if norm is not None and not (isinstance(norm, int | float) and norm > 0):
        raise config.bad("max_norm", "a positive number")
    return Embedding(
        config.column("categorical_column", *kinds),
        config.positive("dimension"),
        combiner,
        config.get("initializer"),
        norm,
        bool(config.get("trainable")),
    )


_CLASSES: Mapping[str, Callable[[_Config], Any]] = {
    "NumericColumn": _numeric,
    "BucketizedColumn": _bucketized,
    "IdentityCategoricalColumn": _identity,
    "HashedCategoricalColumn": _hashed,
    "VocabularyListCategoricalColumn": _vocabulary,
    "VocabularyFileCategoricalColumn": _vocabulary_file,
    "CrossedColumn": _crossed,
    "WeightedCategoricalColumn": _weighted,
    "IndicatorColumn": _indicator,
    "EmbeddingColumn": _embedding,
}
