"""Activations that Keras 2 computed otherwise, or that train otherwise at a kink."""

from __future__ import annotations

from typing import Any

from keras import ops

from regraft.graph.runtime.kernels import kinks
from regraft.model.keras2.registration import registered


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


ACTIVATIONS = {"selu": selu, "leaky_relu": leaky_relu}
