"""Layers that treat masks as Keras 2's.

Of those that merge: Keras 2 computes with every value, masked or not, and gives the
output the steps that no input masks. Keras 3 leaves masked values out of products and
extremes, and gives the output the steps that any input has.

Of those that know no masks: Keras 2 makes another tensor always. Keras 3 returns the
one that it was given where there is nothing to do, and its mask hangs on it.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import keras
from keras import ops

from regraft import _compat
from regraft.graph.runtime.kernels import kinks
from regraft.model.dialects.registry import is_builtin
from regraft.model.keras2.registration import registered


def without_mask(tensor: Any) -> Any:
    """The same values in a tensor that no mask hangs on."""
    return tensor if _compat.keras_mask(tensor) is None else ops.copy(tensor)


def _spec(item: Any) -> Any:
    """What an input is to Keras 3, which infers no shape of a constant's.

    One row of a constant goes with any number of examples.
    """
    if isinstance(item, keras.KerasTensor):
        return item
    shape = tuple(item.shape)
    if shape[:1] in ((), (1,)):
        shape = (None, *shape[1:])
    return keras.KerasTensor(shape, keras.backend.standardize_dtype(item.dtype))


class _Merge(keras.layers.Layer):
    """Put before a merging layer in a class' bases."""

    def compute_output_spec(self, inputs: Any) -> Any:
        return super().compute_output_spec([_spec(item) for item in inputs])

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
    """Maximum with Keras 2's masks, and TensorFlow's gradient where inputs agree."""

    def _merge_function(self, inputs: Any) -> Any:
        return reduce(kinks.maximum, inputs)


@registered
class Minimum(_Merge, keras.layers.Minimum):
    """Minimum with Keras 2's masks, and TensorFlow's gradient where inputs agree."""

    def _merge_function(self, inputs: Any) -> Any:
        return reduce(kinks.minimum, inputs)


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


class _Apart(keras.layers.Layer):
    """Put before a layer that may return its input in a class' bases."""

    def call(self, inputs: Any) -> Any:
        return without_mask(super().call(inputs))


@registered
class Permute(_Apart, keras.layers.Permute):
    """Permute that ends masks."""


@registered
class Reshape(_Apart, keras.layers.Reshape):
    """Reshape that ends masks."""


@registered
class Flatten(_Apart, keras.layers.Flatten):
    """Flatten that ends masks."""


@registered
class Cropping1D(_Apart, keras.layers.Cropping1D):
    """Cropping1D that ends masks."""


_APART: dict[type[keras.layers.Layer], type[keras.layers.Layer]] = {
    keras.layers.Permute: Permute,
    keras.layers.Reshape: Reshape,
    keras.layers.Flatten: Flatten,
    keras.layers.Cropping1D: Cropping1D,
}


def end_masks(layer: keras.layers.Layer) -> None:
    """Lets a layer that is called with masks, and knows none, hand on no mask.

    Most are never called so, and stay Keras' own.
    """
    # Other layers and the file's shared objects may refer to it: it stays one object.
    if type(layer) in _APART:
        layer.__class__ = _APART[type(layer)]


def makes_masks(layer: keras.layers.Layer) -> bool:
    """Whether a layer, or one in it, may give a mask where its input has none."""
    return any(map(_makes_masks, _compat.all_layers(layer)))


def _makes_masks(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, keras.layers.Masking) or getattr(layer, "mask_zero", False):
        return True
    overrides = type(layer).compute_mask is not keras.layers.Layer.compute_mask
    return overrides and not is_builtin(type(layer))


CLASSES: dict[str, type[keras.layers.Layer]] = {
    cls.__name__: cls
    for cls in (Add, Subtract, Multiply, Average, Maximum, Minimum, Concatenate)
}
