"""Keras' layers that want to know lengths, without that.

Some of Keras' layers loop over a length in Python. While a model is traced, the length
may have a name instead; then they compute the same in another way.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import keras
from keras import ops

from regraft.graph.tracing.tracer import active
from regraft.model.state_tree import call_signature
from regraft.saving.trace_marks import Function, is_float
from regraft.saving.trace_sizes import random_crop


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


def _rolled(original: Function) -> Function:
    """Returns a recurrent layer's call: over a named length it can't be unrolled."""

    @functools.wraps(original)
    def call(self: Any, sequences: Any, *args: Any, **kwargs: Any) -> Any:
        if active() is None or isinstance(sequences.shape[1], int) or not self.unroll:
            return original(self, sequences, *args, **kwargs)
        self.unroll = False
        try:
            return original(self, sequences, *args, **kwargs)
        finally:
            self.unroll = True

    return call


def _step_by_step(original: Function) -> Function:
    @functools.wraps(original)
    def call(self: Any, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        if active() is None or isinstance(inputs.shape[1], int):
            return original(self, inputs, training=training, mask=mask)
        return _time_distributed(self, inputs, training, mask)

    return call


def _cut(original: Function) -> Function:
    """Returns a random crop's call: Keras wants to know where to cut."""

    @functools.wraps(original)
    def call(self: Any, data: Any, training: Any = True) -> Any:
        if active() is None or isinstance(data, dict):
            return original(self, data, training=training)
        return random_crop(self, data) if training else data

    return call


def _upsampled(original: Function) -> Function:
    """Returns the call of a layer that repeats pixels, which is a way to resize."""

    @functools.wraps(original)
    def call(self: Any, inputs: Any) -> Any:
        tracing = active()
        plain = self.interpolation == "nearest" and self.data_format == "channels_last"
        if tracing is None or not plain or not is_float(inputs):
            return original(self, inputs)
        run = functools.partial(original, self)
        return tracing.composite("resize", run, inputs, interpolation="nearest")

    return call


def _one_by_one(original: Function) -> Function:
    """Returns a scan that JAX halves again and again, for which it wants a number."""

    @functools.wraps(original)
    def scanned(
        fn: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0
    ) -> Any:
        arrays = [jnp.asarray(x) for x in jax.tree.leaves(elems)]
        lengths = [x.shape[axis] for x in arrays]
        if active() is None or all(isinstance(n, int) for n in lengths):
            return original(fn, elems, reverse=reverse, axis=axis)
        structure = jax.tree.structure(elems)

        def step(before: Any, rows: list[Any]) -> tuple[Any, list[Any]]:
            is_first, last = before
            here = [jnp.expand_dims(x, axis) for x in rows]
            pair = [jax.tree.unflatten(structure, x) for x in (last, here)]
            done = zip(here, jax.tree.leaves(fn(*pair)), strict=True)
            after = [jnp.where(is_first, x, y) for x, y in done]
            return (jnp.array(False), after), [jnp.squeeze(x, axis) for x in after]

        if reverse:
            arrays = [jnp.flip(x, axis) for x in arrays]
        firsts = [jax.lax.slice_in_dim(x, 0, 1, axis=axis) for x in arrays]
        rows = [jnp.moveaxis(x, axis, 0) for x in arrays]
        # TensorFlow gathers no results of a loop without steps.
        _, rest = jax.lax.scan(step, (jnp.array(True), firsts), rows)
        found = [jnp.moveaxis(x, 0, axis) for x in rest]
        if reverse:
            found = [jnp.flip(x, axis) for x in found]
        return jax.tree.unflatten(structure, found)

    return scanned


_CALLS: dict[type[keras.Layer], Callable[[Function], Function]] = {
    keras.layers.TimeDistributed: _step_by_step,
    keras.layers.RNN: _rolled,
    keras.layers.RandomCrop: _cut,
    keras.layers.UpSampling2D: _upsampled,
}


@contextmanager
def named_lengths() -> Iterator[None]:
    """Makes Keras' layers take lengths that have a name instead of a number."""
    scan = jax.lax.associative_scan
    jax.lax.associative_scan = _one_by_one(scan)
    before = {layer: layer.__dict__.get("call") for layer in _CALLS}
    for layer, replaced in _CALLS.items():
        layer.call = replaced(layer.call)
    try:
        yield
    finally:
        jax.lax.associative_scan = scan
        for layer, original in before.items():
            if original is None:
                del layer.call
            else:
                layer.call = original
