"""Merging layers that treat masks as Keras 2's.

Keras 2 computes with every value, masked or not, and gives the output the steps that
no input masks. Keras 3 leaves masked values out of products and extremes, and gives
the output the steps that any input has.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from regraft import _compat
from regraft.model.keras2.registration import registered


def without_mask(tensor: Any) -> Any:
    """The same values in a tensor that no mask hangs on."""
    return tensor if _compat.keras_mask(tensor) is None else ops.copy(tensor)


class _Merge(keras.layers.Layer):
    """Put before a merging layer in a class' bases."""

    def call(self, inputs: Any) -> Any:
        return super().call([without_mask(tensor) for tensor in inputs])

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        found = None
        for item in mask or ():
            if item is not None:
                found = item if found is None else ops.logical_and(found, item)
        return found


@registered
class Add(_Merge, keras.layers.Add):
    """Add with Keras 2's masks."""


@registered
class Subtract(_Merge, keras.layers.Subtract):
    """Subtract with Keras 2's masks."""


@registered
class Multiply(_Merge, keras.layers.Multiply):
    """Multiply with Keras 2's masks."""


@registered
class Average(_Merge, keras.layers.Average):
    """Average with Keras 2's masks."""


@registered
class Maximum(_Merge, keras.layers.Maximum):
    """Maximum with Keras 2's masks."""


@registered
class Minimum(_Merge, keras.layers.Minimum):
    """Minimum with Keras 2's masks."""


@registered
class Concatenate(keras.layers.Concatenate):
    """Concatenate with Keras 2's masks."""

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        if mask is None or all(item is None for item in mask):
            return None
        masks = []
        for tensor, item in zip(inputs, mask, strict=True):
            everything = ops.ones_like(tensor, dtype="bool")
            if item is None:
                masks.append(everything)
            elif len(item.shape) < len(tensor.shape):
                spread = ops.expand_dims(item, axis=-1)
                masks.append(ops.logical_and(spread, everything))
            else:
                masks.append(item)
        return ops.all(ops.concatenate(masks, axis=self.axis), axis=-1)


CLASSES: dict[str, type[keras.layers.Layer]] = {
    cls.__name__: cls
    for cls in (Add, Subtract, Multiply, Average, Maximum, Minimum, Concatenate)
}
