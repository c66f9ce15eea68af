"""Activations that Keras 2 computed otherwise, or that train otherwise at a kink."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from regraft.graph.runtime.kernels import kinks
from regraft.model.keras2.registration import ADDONS, PACKAGE, registered


@registered
def linear_fifth_hard_sigmoid(x: Any) -> Any:
    """Keras 1's and 2's `hard_sigmoid`: clip(0.2 x + 0.5, 0, 1)."""
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


@registered
def selu(x: Any) -> Any:
    """`selu` whose gradient at 0 is that from above, as TensorFlow's."""
    return kinks.selu(x)


@registered
def leaky_relu(x: Any) -> Any:
    """`leaky_relu` whose gradient at 0 is the slope of what is below."""
    return kinks.leaky_relu(x, 0.2)


def _of_addons(name: str, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Registers a function of TensorFlow Addons under its name there, and ours."""
    function.__name__ = f"addons_{name}"
    register = keras.saving.register_keras_serializable(PACKAGE, f"{ADDONS}{name}")
    return register(function)


_ADDONS: dict[str, Callable[[Any], Any]] = {
    "gelu": lambda x: ops.gelu(x, approximate=True),
    "hardshrink": lambda x: ops.hard_shrink(x, threshold=0.5),
    "lisht": lambda x: x * ops.tanh(x),
    "mish": lambda x: x * ops.tanh(ops.softplus(x)),
    "snake": lambda x: x + (1.0 - ops.cos(2.0 * x)) / 2.0,
    "softshrink": lambda x: ops.soft_shrink(x, threshold=0.5),
    "sparsemax": lambda x: ops.sparsemax(x, axis=-1),
    "tanhshrink": lambda x: x - ops.tanh(x),
}

ACTIVATIONS = {
    "selu": selu,
    "leaky_relu": leaky_relu,
    **{f"{ADDONS}{name}": _of_addons(name, found) for name, found in _ADDONS.items()},
}
