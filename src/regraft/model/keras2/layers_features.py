"""`DenseFeatures` and `SequenceFeatures`: feature columns as layers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from regraft import _compat
from regraft.errors import FormatError, MismatchError, UnsupportedError
from regraft.model.keras2.composite_rows import sparse_rows
from regraft.model.keras2.feature_column_configs import dense_column, sequence_column
from regraft.model.keras2.feature_columns import Column, Embedding
from regraft.model.keras2.host_layers import HostLayer, InputLayer, replayed
from regraft.model.keras2.host_values import POOL, Array, device_dtype, host_array
from regraft.model.keras2.registration import registered
from regraft.model.keras2.sequence_columns import Steps


@dataclass(frozen=True)
class _Columns:
    """Columns in the order of their names, and as the file has them.

    Keras takes no interest in what is inside.
    """

    columns: tuple[Any, ...]
    entries: tuple[Any, ...]


@registered
class DenseFeatures(HostLayer):
    """Feature columns of a dict of features, side by side.

    Args:
        feature_columns: Their configs, as Keras 2 writes them.
        partitioner: Without meaning here.
    """

    finishes_on_device = True
    reads_sparse = True
    _column: Callable[[Any], Column] = staticmethod(dense_column)

    def __init__(
        self, feature_columns: Any, partitioner: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(feature_columns, list | tuple):
            raise FormatError(
                f"`feature_columns` of layer '{self.name}' is no list",
                received=type(feature_columns).__name__,
            )
        entries = tuple(feature_columns)
        columns = [self._column(entry) for entry in entries]
        columns.sort(key=lambda column: column.name)
        names = [column.name for column in columns]
        if len(set(names)) < len(names) or not names:
            raise FormatError(
                f"The columns of layer '{self.name}' need names of their own",
                received=", ".join(names),
            )
        self._held = _Columns(tuple(columns), entries)

    @property
    def columns(self) -> tuple[Any, ...]:
        """The columns, in the order of the output."""
        return self._held.columns

    def feature_inputs(self, shapes: Any) -> dict[str, keras.layers.InputLayer]:
        """Makes an input for each feature that the columns read.

        Args:
            shapes: By name, where a file has them.
        """
        read: dict[str, tuple[int, str, tuple[int, ...]]] = {}
        for column in self.columns:
            for key, dtype, lengths in column.reads():
                # Numbers are read from whole numbers too, ids from these alone; a
                # cross doesn't say what it reads.
                rank = 2 * (dtype == "int64") + (dtype == "string")
                if key not in read or read[key][0] < rank:
                    read[key] = rank, dtype, lengths
        made = {}
        for key, (_, dtype, lengths) in read.items():
            shape = shapes.get(key) if isinstance(shapes, Mapping) else None
            shape = (None, *lengths) if shape is None else tuple(shape)
            cls = InputLayer if dtype == "string" else keras.layers.InputLayer
            name = key.replace("/", "__")
            made[key] = cls(batch_shape=shape, dtype=dtype, name=name)
        return made

    def build(self, input_shape: Any = None) -> None:
        """Makes the tables of embeddings."""
        for column in self.columns:
            embedding = column.column if isinstance(column, Steps) else column
            if isinstance(embedding, Embedding):
                table = self.add_weight(
                    name="embedding_weights",
                    shape=embedding.table_shape,
                    initializer=_initializer(embedding.initializer),
                    trainable=embedding.trainable,
                )
                setattr(self, _table(column), table)
        self.built = True

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if replayed() or any(
            isinstance(leaf, keras.KerasTensor) or _compat.is_traced(leaf)
            for leaf in keras.tree.flatten(inputs)
        ):
            return super().__call__(inputs, *args, **kwargs)
        features = self._given(inputs)
        if not self.built:
            self.build()
        with POOL.scope():
            return self._finished(self._on_device(self.compute(features)))

    def _given(self, inputs: Any) -> Any:
        found = {}
        for key, item in self._features(inputs).items():
            rows = sparse_rows(item, key)
            found[key] = host_array(item) if rows is None else rows
        return found

    def _features(self, inputs: Any) -> Mapping[str, Any]:
        if not isinstance(inputs, Mapping):
            raise MismatchError(
                f"Layer '{self.name}' reads a dict of features. Received: "
                f"{type(inputs).__name__}"
            )
        return inputs

    def compute(self, inputs: Any) -> list[Array]:
        features = self._features(inputs)
        return [column.codes(features) for column in self.columns]

    def output_shape_of(self, shape: Any) -> tuple[int | None, ...]:
        """Shape of the codes."""
        counts = [column.count(shape) for column in self.columns]
        return _rows(shape), sum(counts)

    def call(self, inputs: Any) -> Any:
        shapes = _shapes(self._features(inputs))
        codes = super().call(inputs)
        if not isinstance(codes, list):  # Side by side, from the host.
            ends = np.cumsum([column.count(shapes) for column in self.columns])
            codes = ops.split(codes, ends[:-1].tolist(), axis=1)
        return self._finished(codes)

    def _finished(self, codes: list[Any]) -> Any:
        parts = [
            column.dense(part, getattr(self, _table(column), None))
            for column, part in zip(self.columns, codes, strict=True)
        ]
        return ops.cast(ops.concatenate(parts, axis=-1), self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return _rows(input_shape), sum(column.width for column in self.columns)

    def compute_output_spec(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        shapes = _shapes(self._features(inputs))
        return keras.KerasTensor(self.compute_output_shape(shapes), self.compute_dtype)

    @property
    def device_dtype(self) -> str:
        """Dtype of the codes."""
        return "float32"

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["feature_columns"] = copy.deepcopy(list(self._held.entries))
        config["partitioner"] = None
        return config


@registered
class SequenceFeatures(DenseFeatures):
    """Feature columns of a dict of sequences, side by side, and the sequences' lengths.

    Its features are sparse, of shape (batch, steps) or (batch, steps, values of a
    step). It gives numbers of shape (batch, steps, width), and lengths of shape
    (batch,).

    Args:
        feature_columns: Their configs, as Keras 2 writes them.
        partitioner: Without meaning here.
    """

    _column = staticmethod(sequence_column)

    def compute(self, inputs: Any) -> list[Array]:
        codes = super().compute(inputs)
        lengths = [column.lengths(inputs) for column in self.columns]
        for column, part, found in zip(self.columns, codes, lengths, strict=True):
            same = len(found) == len(lengths[0]) and (found == lengths[0]).all()
            if not same or part.shape[1] != codes[0].shape[1]:
                raise MismatchError(
                    f"The columns of layer '{self.name}' need sequences of the same "
                    f"lengths. Received: {_lengths(lengths[0], codes[0])} of column "
                    f"'{self.columns[0].name}', {_lengths(found, part)} of column "
                    f"'{column.name}'"
                )
        return [lengths[0], *codes]

    def output_shape_of(self, shape: Any) -> tuple[int | None, ...]:
        """Is asked for where the codes would be made within a compiled step."""
        raise UnsupportedError(
            f"Layer '{self.name}' reads sequences that other layers make; it takes "
            "them from the inputs of the model alone."
        )

    def call(self, inputs: Any) -> Any:
        return self._finished(HostLayer.call(self, inputs))

    def _finished(self, codes: list[Any]) -> Any:
        lengths, *codes = codes
        return super()._finished(codes), lengths

    def compute_output_shape(self, input_shape: Any) -> Any:
        rows, width = super().compute_output_shape(input_shape)
        return (rows, None, width), (rows,)

    def compute_output_spec(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        values, lengths = self.compute_output_shape(_shapes(self._features(inputs)))
        return (
            keras.KerasTensor(values, self.compute_dtype),
            keras.KerasTensor(lengths, device_dtype("int64")),
        )


def _lengths(lengths: Array, codes: Array) -> str:
    return f"{lengths.tolist()} in {codes.shape[1]} steps"


def _shapes(features: Mapping[str, Any]) -> dict[str, tuple[int | None, ...]]:
    return {key: tuple(item.shape) for key, item in features.items()}


def _rows(shapes: Any) -> int | None:
    rows: int | None = next(iter(shapes.values()))[0]
    return rows


def _table(column: Column) -> str:
    """Keras 2's edge in the object graph, and the attribute."""
    return f"{column.name}/embedding_weights"


def _initializer(entry: Any) -> keras.Initializer:
    """What a new table begins with; a user's own class has no meaning in a file."""
    if isinstance(entry, Mapping) and isinstance(entry.get("config"), Mapping):
        cls = vars(keras.initializers).get(str(entry.get("class_name")))
        config = {key: v for key, v in entry["config"].items() if key != "dtype"}
        if isinstance(cls, type) and issubclass(cls, keras.Initializer):
            with suppress(TypeError, ValueError):
                return cls(**config)
    return keras.initializers.TruncatedNormal()
