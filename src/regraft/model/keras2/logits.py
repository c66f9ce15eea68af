"""Logits of `sigmoid` and `softmax`, remembered for the loss.

Keras 2 keeps the logits of these activations on the tensor and computes a
crossentropy from them. Here the activation of a compiled model's output layer is
replaced by one that computes the same and remembers what it was given, for as long
as the output lives. It has the name of Keras' own, so that it is saved as that.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import keras

_logits: dict[int, tuple[str, Any]] = {}


def logits_of(outputs: Any) -> tuple[str, Any] | None:
    """The activation and what it computed an output from, if it remembered that."""
    return _logits.get(id(outputs))


def _remember(outputs: Any, activation: str, logits: Any) -> Any:
    key = id(outputs)
    try:
        weakref.finalize(outputs, _logits.pop, key, None).atexit = False
    except TypeError:  # Symbolic tensors of some backends can't be referred to.
        return outputs
    _logits[key] = (activation, logits)
    return outputs


def sigmoid(x: Any) -> Any:
    """`keras.activations.sigmoid` that remembers its logits."""
    return _remember(keras.activations.sigmoid(x), "sigmoid", x)


def softmax(x: Any, axis: int = -1) -> Any:
    """`keras.activations.softmax` that remembers its logits.

    Before 2.4 that of more than two axes was no op, of which a loss could know them.
    """
    kind = "softmax" if len(x.shape) <= 2 else "softmax of steps"
    return _remember(keras.activations.softmax(x, axis=axis), kind, x)


def _softmax_call(layer: keras.layers.Softmax, inputs: Any, mask: Any = None) -> Any:
    outputs = keras.layers.Softmax.call(layer, inputs, mask)
    # Over any axis as in the latest Keras 2; old ones did so over the last one alone.
    kept = mask is None and isinstance(layer.axis, int)
    return _remember(outputs, "softmax", inputs) if kept else outputs


_REMEMBERING: dict[Callable[..., Any], Callable[..., Any]] = {
    keras.activations.sigmoid: sigmoid,
    keras.activations.softmax: softmax,
}


def remembering(layer: keras.layers.Layer) -> Callable[..., Any] | None:
    """The function that remembers what a layer's activation is computed from.

    `None` for activations without logits, and for recurrent layers: what one gives out
    of its loop has none.
    """
    if isinstance(layer, keras.layers.RNN):
        return None
    activation = getattr(layer, "activation", None)
    # An object of the user's may have no hash.
    known = (made for plain, made in _REMEMBERING.items() if plain is activation)
    return next(known, None)


def remember_logits(layers: Iterable[keras.layers.Layer]) -> None:
    """Lets layers whose activation is `sigmoid` or `softmax` remember its logits.

    A `Softmax` layer has no activation of its own, but its output keeps them as well.
    """
    for layer in layers:
        if type(layer) is keras.layers.Softmax:
            layer.call = partial(_softmax_call, layer)
        if (activation := remembering(layer)) is not None:
            layer.activation = activation
