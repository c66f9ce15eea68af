"""Metrics of Keras 2 where Keras 3 computes something else, or has none.

Crossentropies are taken from logits where the output remembers them, see
`keras2.losses`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from regraft import _compat
from regraft.model.keras2 import losses
from regraft.model.keras2.registration import registered


@registered
class BinaryCrossentropy(keras.metrics.BinaryCrossentropy):
    """`BinaryCrossentropy` of Keras 2."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._fn = losses.binary_crossentropy


@registered
class CategoricalCrossentropy(keras.metrics.CategoricalCrossentropy):
    """`CategoricalCrossentropy` of Keras 2."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._fn = losses.categorical_crossentropy


@registered
class SparseCategoricalCrossentropy(keras.metrics.SparseCategoricalCrossentropy):
    """`SparseCategoricalCrossentropy` of Keras 2."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._fn = losses.sparse_categorical_crossentropy


@registered
class MeanRelativeError(keras.metrics.Mean):
    """`MeanRelativeError` of Keras 2: the mean of |y_true - y_pred| / normalizer."""

    def __init__(self, normalizer: Any, name: Any = None, dtype: Any = None) -> None:
        super().__init__(name=name or "mean_relative_error", dtype=dtype)
        self.normalizer = np.asarray(normalizer, "float32")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        y_true, y_pred = (
            ops.convert_to_tensor(y, self.dtype) for y in (y_true, y_pred)
        )
        normalizer = ops.convert_to_tensor(self.normalizer, self.dtype)
        # A relative error to nothing counts as none.
        errors = ops.divide_no_nan(ops.absolute(y_true - y_pred), normalizer)
        return super().update_state(errors, sample_weight=sample_weight)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "normalizer": self.normalizer.tolist()}


@registered
class MeanTensor(keras.metrics.Metric):
    """`MeanTensor` of Keras 2: the mean of each entry of the tensors that it is given.

    Args:
        name: Of the metric.
        dtype: Of its variables.
        shape: Of the tensors; by default that of the first.
    """

    def __init__(
        self, name: str = "mean_tensor", dtype: Any = None, shape: Any = None
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        # In Keras 2's files by these names.
        self._total: keras.Variable | None = None
        self._count: keras.Variable | None = None
        if shape is not None:
            self.make_variables(shape)

    def make_variables(self, shape: Any) -> None:
        """Makes its two variables, of the shape of the tensors."""
        shape = tuple(int(length) for length in shape)
        self._total, self._count = (
            self.add_variable(shape, keras.initializers.Zeros(), self.dtype, name=name)
            for name in ("total", "count")
        )

    @property
    def total(self) -> keras.Variable | None:
        """The weighted sum so far; `None` before the first tensor."""
        return self._total

    @property
    def count(self) -> keras.Variable | None:
        """The sum of the weights so far; `None` before the first tensor."""
        return self._count

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Adds a tensor, with weights that its first axes have, or all."""
        values = ops.cast(values, self.dtype)
        if self._total is None:
            self.make_variables(values.shape)
        counts = ops.ones_like(values)
        if sample_weight is not None:
            weights = ops.cast(sample_weight, self.dtype)
            if len(weights.shape) == len(values.shape) - 1:
                weights = ops.expand_dims(weights, -1)
            counts = counts * weights
        added_to_each = (values * counts, counts)
        for variable, added in zip(self.variables, added_to_each, strict=True):
            variable.assign_add(added)

    def result(self) -> Any:
        """The means, of the shape of the tensors."""
        if self._total is None:
            raise ValueError("MeanTensor has no value yet: it was given no tensor.")
        return ops.divide_no_nan(self._total, self._count)

    def get_config(self) -> dict[str, Any]:
        shape = None if self._total is None else list(self._total.shape)
        return {"name": self.name, "dtype": self.dtype, "shape": shape}


def make_variables(
    metric: keras.metrics.Metric, shapes: Sequence[tuple[int, ...]]
) -> None:
    """Makes the variables that a metric makes of the first values it is given.

    Args:
        metric: Of any class; one that has its variables stays as it is.
        shapes: Of its variables in a file, in any order.
    """
    if not shapes:
        return
    longest = max(shapes, key=len)
    if not isinstance(metric, MeanTensor):
        _compat.make_metric_variables(metric, longest)
    elif metric.total is None:
        metric.make_variables(longest)


def variable_names(metric: keras.metrics.Metric) -> list[str]:
    """The attributes that a metric's variables are, by which files name them.

    Returns:
        In the order of `metric.variables`; `""` where there is none.
    """
    names = {id(value): name for name, value in vars(metric).items()}
    return [names.get(id(variable), "") for variable in metric.variables]


CLASSES: dict[str, type[keras.metrics.Metric]] = {
    cls.__name__: cls
    for cls in (
        BinaryCrossentropy,
        CategoricalCrossentropy,
        SparseCategoricalCrossentropy,
        MeanRelativeError,
        MeanTensor,
    )
}
