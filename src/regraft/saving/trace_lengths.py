"""Keras' layers that want to know lengths, without that.

Some of Keras' layers loop over a length in Python. While a model is traced, the length
may have a name instead; then they compute the same in another way.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from regraft.graph.tracing.tracer import active
from regraft.model.state_tree import call_signature


def _time_distributed(
    layer: keras.layers.TimeDistributed, inputs: Any, training: Any, mask: Any
) -> Any:
    """Calls the layer inside once, with all steps of all examples as its batch."""
    batch, steps = ops.shape(inputs)[:2]
    inner: Any = layer.layer
    kwargs: dict[str, Any] = {}
    if mask is not None and _takes(inner, "mask"):
        kwargs["mask"] = _joined(mask)
    if _takes(inner, "training"):
        kwargs["training"] = training
    outputs = inner.call(_joined(inputs), **kwargs)
    return keras.tree.map_structure(
        lambda x: ops.reshape(x, (batch, steps, *ops.shape(x)[1:])), outputs
    )


def _joined(tensor: Any) -> Any:
    """Puts the steps of all examples into one axis."""
    batch, steps, *rest = ops.shape(tensor)
    return ops.reshape(tensor, (batch * steps, *rest))


def _takes(layer: keras.Layer, name: str) -> bool:
    return name in call_signature(layer).parameters


@contextmanager
def named_lengths() -> Iterator[None]:
    """Makes Keras' layers take lengths that have a name instead of a number."""
    layer = keras.layers.TimeDistributed
    original: Callable[..., Any] = layer.call

    @functools.wraps(original)
    def call(self: Any, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        if active() is None or isinstance(inputs.shape[1], int):
            return original(self, inputs, training=training, mask=mask)
        return _time_distributed(self, inputs, training, mask)

    layer.call = call
    try:
        yield
    finally:
        layer.call = original
