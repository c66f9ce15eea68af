"""Keras 2's own functions that it records on symbolic tensors, not TensorFlow's.

`model.add_loss(keras.losses.binary_crossentropy(x, y))` is a chain of such calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from regraft import _compat
from regraft.model.keras2 import losses
from regraft.model.keras2.logits import remember_logits


def convert_to_tensor(
    value: Any, dtype: Any = None, dtype_hint: Any = None, name: Any = None
) -> Any:
    """`tf.convert_to_tensor`: what it is given, if that is a tensor."""
    # The same object, for which an activation may have remembered logits.
    if hasattr(value, "dtype") and dtype is None:
        return value
    return ops.convert_to_tensor(value, dtype=dtype)


def batch_flatten(x: Any) -> Any:
    """One vector per example."""
    return ops.reshape(x, (ops.shape(x)[0], -1))


def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Any:
    """Of each element."""
    logits = losses.logits_for(output, "sigmoid", from_logits, False)
    return losses.binary_of_each(ops.cast(target, output.dtype), output, logits)


def categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Any:
    """Of each distribution over `axis`."""
    return losses.categorical_crossentropy(target, output, from_logits, 0.0, axis)


def sparse_categorical_crossentropy(
    target: Any,
    output: Any,
    from_logits: bool = False,
    axis: int = -1,
    ignore_class: int | None = None,
) -> Any:
    """Of each distribution, with indices as targets."""
    return losses.sparse_categorical_crossentropy(
        target, output, from_logits, ignore_class, axis
    )


def categorical_focal_crossentropy(
    target: Any,
    output: Any,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    axis: int = -1,
) -> Any:
    """Of each distribution, less where the model is sure."""
    return keras.losses.categorical_focal_crossentropy(
        target, output, alpha, gamma, from_logits, axis=axis
    )


def remember_logits_for(target: Callable[..., Any], output: Any) -> None:
    """Lets the layer that makes an output remember logits for its crossentropy."""
    if target not in _USE_LOGITS or not isinstance(output, keras.KerasTensor):
        return
    layer, node, _ = _compat.keras_history(output)
    while getattr(layer, "function", "") == "convert_to_tensor":
        layer, node, _ = _compat.keras_history(node.input_tensors[0])
    remember_logits([layer])


_USE_LOGITS = (
    binary_crossentropy,
    categorical_crossentropy,
    sparse_categorical_crossentropy,
)

SYMBOLS: Mapping[str, Callable[..., Any]] = {
    "convert_to_tensor": convert_to_tensor,
    "keras.backend.batch_flatten": batch_flatten,
    "keras.backend.binary_crossentropy": binary_crossentropy,
    "keras.backend.categorical_crossentropy": categorical_crossentropy,
    "keras.backend.categorical_focal_crossentropy": categorical_focal_crossentropy,
    "keras.backend.sparse_categorical_crossentropy": sparse_categorical_crossentropy,
    "keras.metrics.hinge": losses.hinge,
    "keras.metrics.squared_hinge": keras.losses.squared_hinge,
}
