"""Metrics of Keras 2 where Keras 3 computes something else, or has none.

Crossentropies are taken from logits where the output remembers them, see
`keras2.losses`.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

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


CLASSES: dict[str, type[keras.metrics.Metric]] = {
    cls.__name__: cls
    for cls in (
        BinaryCrossentropy,
        CategoricalCrossentropy,
        SparseCategoricalCrossentropy,
        MeanRelativeError,
    )
}
