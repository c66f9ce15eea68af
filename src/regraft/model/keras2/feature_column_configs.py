"""The configs that Keras 2 writes of feature columns → feature columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from regraft.errors import FormatError, MismatchError, UnsupportedError
from regraft.graph.runtime.kernels import hashing
from regraft.model.keras2.feature_columns import (
    Bucketized,
    Categorical,
    Crossed,
    DenseColumn,
    Embedding,
    Indicator,
    Numeric,
    Weighted,
)
from regraft.model.keras2.sequence_columns import (
    SequenceCategorical,
    SequenceColumn,
    SequenceNumeric,
    Steps,
)

# What TensorFlow begins a cross of columns with where no key is given.
_HASH_KEY = 0xDECAFCAFFE
# Codes travel as float32, which holds whole numbers up to here.
_LARGEST = 1 << 24


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
    if not hasattr(found, "dense") or _is_of_steps(found):
        raise FormatError(
            "A column of categories or of sequences is no dense column",
            received=_short(entry),
        )
    dense: DenseColumn = found
    return dense


def sequence_column(entry: Any) -> SequenceColumn:
    """Makes a column of `SequenceFeatures` of its entry.

    Raises:
        FormatError: The entry makes no sense.
        UnsupportedError: There is no such column here.
    """
    found = _parse(entry)
    if not hasattr(found, "dense") or not _is_of_steps(found):
        raise FormatError("This is no column of sequences", received=_short(entry))
    return found if isinstance(found, SequenceNumeric) else Steps(found)


def _is_of_steps(column: Any) -> bool:
    kept = getattr(column, "categorical", column)
    return isinstance(kept, SequenceNumeric | SequenceCategorical)


def _parse(entry: Any) -> Any:
    config = _Config(entry)
    make = _CLASSES.get(config.class_name)
    if make is None:
        raise UnsupportedError(
            f"Feature columns of class {config.class_name!r} have no equal here. Pass "
            "a layer for them in `custom_objects`."
        )
    return make(config)


def _numeric_parts(config: _Config) -> tuple[str, tuple[int, ...]]:
    """Key and shape of a column of numbers."""
    if config.get("normalizer_fn") is not None:
        raise UnsupportedError(
            f"The numeric column {config.text('key')!r} is normalized by a Python "
            "function. Pass a layer for it in `custom_objects={'DenseFeatures': …}` "
            "(or `'SequenceFeatures'`)."
        )
    shape = config.items("shape")
    if any(type(length) is not int or length < 1 for length in shape):
        raise config.bad("shape", "positive whole numbers")
    config.id_count(math.prod(shape))
    return config.text("key"), tuple(shape)


def _numeric(config: _Config) -> Numeric:
    return Numeric(*_numeric_parts(config))


def _sequence_numeric(config: _Config) -> SequenceNumeric:
    default = config.get("default_value")
    if isinstance(default, bool) or not isinstance(default, int | float | None):
        raise config.bad("default_value", "a number")
    return SequenceNumeric(*_numeric_parts(config), default or 0.0)


def _sequence_categorical(config: _Config) -> SequenceCategorical:
    return SequenceCategorical(config.column("categorical_column", Categorical))


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
        if 0 <= value < buckets:
            return int(value)
        if default is not None:
            return int(default)
        if value < 0:  # An embedding or an indicator passes it by.
            return -1
        raise MismatchError(
            f"The column {key!r} has {buckets} ids and no default for others. "
            f"Received: {value!r}"
        )

    if default is not None and (type(default) is not int or default < 0):
        raise config.bad("default_value", "a whole number")
    rule = {"kind": "identity", "default": -1 if default is None else default}
    return Categorical(key, buckets, place, "int64", rule)


def _hash(value: Any) -> int:
    data = value if isinstance(value, bytes) else str(int(value)).encode()
    return hashing.fingerprint64(data)


def _hashed(config: _Config) -> Categorical:
    buckets = config.positive("hash_bucket_size")
    dtype = "string" if config.get("dtype") in (None, "string") else "int64"
    return Categorical(
        config.text("key"),
        buckets,
        lambda value: _hash(value) % buckets,
        dtype,
        {"kind": "hashed"},
    )


def _vocabulary(config: _Config) -> Categorical:
    words = config.items("vocabulary_list")
    if not all(isinstance(word, str | int) for word in words):
        raise config.bad("vocabulary_list", "texts or whole numbers")
    keys = [word.encode() if isinstance(word, str) else word for word in words]
    ids = {key: index for index, key in enumerate(keys)}
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

    dtype = "string" if isinstance(words[0], str) else "int64"
    rule = {
        "kind": "vocabulary",
        "tokens": keys,
        "is_text": dtype == "string",
        "default": default,
        "others": max(others, 0),
    }
    return Categorical(config.text("key"), count, place, dtype, rule)


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


_OF_IDS = (Categorical, Crossed, Weighted, Bucketized, SequenceCategorical)


def _indicator(config: _Config) -> Indicator:
    return Indicator(config.column("categorical_column", *_OF_IDS))


def _embedding(config: _Config) -> Embedding:
    combiner, norm = config.get("combiner"), config.get("max_norm")
    if combiner not in ("mean", "sqrtn", "sum"):
        raise config.bad("combiner", "'mean', 'sqrtn' or 'sum'")
    if norm is not None and not (isinstance(norm, int | float) and norm > 0):
        raise config.bad("max_norm", "a positive number")
    return Embedding(
        config.column("categorical_column", *_OF_IDS),
        config.positive("dimension"),
        combiner,
        config.get("initializer"),
        norm,
        bool(config.get("trainable")),
    )


_CLASSES: Mapping[str, Callable[[_Config], Any]] = {
    "NumericColumn": _numeric,
    "SequenceNumericColumn": _sequence_numeric,
    "SequenceCategoricalColumn": _sequence_categorical,
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
