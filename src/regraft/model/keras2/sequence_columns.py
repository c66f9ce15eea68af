"""Feature columns of TensorFlow whose features are sequences: one row of codes a step.

As in `feature_columns`, but codes are of shape (batch, steps, codes of a step), and a
column also tells how many steps each example has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from keras import ops

from regraft.errors import MismatchError
from regraft.model.keras2.feature_columns import (
    Categorical,
    Column,
    Embedding,
    Features,
    Indicator,
    Read,
    given_values,
)
from regraft.model.keras2.host_values import Array, is_text


class SequenceColumn(Column, Protocol):
    """A column of `SequenceFeatures`."""

    def lengths(self, features: Features) -> Array:
        """How many steps each example has."""


def _last(present: Array) -> Array:
    """How many steps there are up to the last that has a value."""
    count, steps = present.shape[:2]
    some = present.reshape(count, steps, -1).any(axis=2)
    numbers = np.arange(1, steps + 1) * some
    return np.asarray(numbers.max(axis=1, initial=0), "int64")


@dataclass(frozen=True)
class SequenceNumeric:
    """Numbers as they are, some for each step.

    Attributes:
        key: Of the feature.
        shape: Of a step.
        default: What stands where the feature has nothing.
    """

    key: str
    shape: tuple[int, ...]
    default: float

    @property
    def name(self) -> str:
        return self.key

    @property
    def width(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def reads(self) -> Iterator[Read]:
        yield self.key, "float32", ()

    def codes(self, features: Features) -> Array:
        values, present = given_values(features, self.key)
        rows = values.size // max(len(values), 1)
        if is_text(values) or rows % self.width:
            raise MismatchError(
                f"The numeric column {self.key!r} reads {self.width} numbers for each "
                f"step. Received: {values.dtype} of shape {values.shape}"
            )
        values = np.where(present, values.astype("float32"), np.float32(self.default))
        return values.reshape(len(values), rows // self.width, self.width)

    def lengths(self, features: Features) -> Array:
        _, present = given_values(features, self.key)
        found = _last(present)
        return -(-found // self.width) if present.ndim == 2 else found

    def dense(self, codes: Any, table: Any) -> Any:
        return codes


@dataclass(frozen=True)
class SequenceCategorical:
    """Values of one feature to ids, some for each step."""

    categorical: Categorical

    @property
    def name(self) -> str:
        return self.categorical.name

    @property
    def buckets(self) -> int:
        return self.categorical.buckets

    def reads(self) -> Iterator[Read]:
        yield self.categorical.key, self.categorical.dtype, ()

    def ids(self, features: Features) -> Array:
        """Ids of a batch, -1 where there is no value or none with an id."""
        found = self.categorical.ids(features)
        return found[..., None] if found.ndim == 2 else found

    def lengths(self, features: Features) -> Array:
        """How many steps each example has."""
        return _last(self.categorical.present(features))


@dataclass(frozen=True)
class Steps:
    """An indicator or an embedding, for each step."""

    column: Indicator | Embedding

    @property
    def name(self) -> str:
        return self.column.name

    @property
    def width(self) -> int:
        return self.column.width

    def reads(self) -> Iterator[Read]:
        yield from self.column.reads()

    def codes(self, features: Features) -> Array:
        return self.column.codes(features)

    def lengths(self, features: Features) -> Array:
        found: Array = self.column.categorical.lengths(features)
        return found

    def dense(self, codes: Any, table: Any) -> Any:
        steps = tuple(codes.shape[:2])
        flat = ops.reshape(codes, (-1, codes.shape[2]))
        return ops.reshape(self.column.dense(flat, table), (*steps, self.width))
