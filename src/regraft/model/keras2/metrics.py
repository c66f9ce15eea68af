"""Metrics of Keras 2 where Keras 3 computes something else: crossentropies.

They take a crossentropy from logits where the output remembers them, see
`keras2.losses`.
"""

from __future__ import annotations

from typing import Any

import keras

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


CLASSES: dict[str, type[keras.metrics.Metric]] = {
    cls.__name__: cls
    for cls in (
        BinaryCrossentropy,
        CategoricalCrossentropy,
        SparseCategoricalCrossentropy,
    )
}
