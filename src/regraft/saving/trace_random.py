"""Marks of random numbers.

They are marked before a key is drawn, so that no seed's state is touched.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import keras

from regraft.graph.tracing.tracer import Tracing
from regraft.saving.trace_marks import Function, alike, is_float


def _seeded(original: Function, *args: Any, **kwargs: Any) -> Any:
    return original(*args, seed=jax.random.key(0), **kwargs)


def _dtype(dtype: Any) -> Any:
    return dtype or keras.config.floatx()


def _random_uniform(
    tracing: Tracing,
    original: Function,
    shape: Any,
    minval: Any = 0.0,
    maxval: Any = 1.0,
    dtype: Any = None,
    seed: Any = None,
) -> Any:
    def run(low: Any, high: Any) -> Any:
        return _seeded(original, shape, minval=low, maxval=high, dtype=_dtype(dtype))

    return tracing.composite("random_uniform", run, *_scalars(dtype, minval, maxval))


def _scalars(dtype: Any, *values: Any) -> list[Any]:
    return [jnp.asarray(value, _dtype(dtype)) for value in values]


def _random_normal(name: str) -> Function:
    def mark(
        tracing: Tracing,
        original: Function,
        shape: Any,
        mean: Any = 0.0,
        stddev: Any = 1.0,
        dtype: Any = None,
        seed: Any = None,
    ) -> Any:
        def run(mean: Any, stddev: Any) -> Any:
            return _seeded(
                original, shape, mean=mean, stddev=stddev, dtype=_dtype(dtype)
            )

        return tracing.composite(name, run, *_scalars(dtype, mean, stddev))

    return mark


def _random_integers(
    tracing: Tracing,
    original: Function,
    shape: Any,
    minval: Any,
    maxval: Any,
    dtype: Any = "int32",
    seed: Any = None,
) -> Any:
    def run(low: Any, high: Any) -> Any:
        return _seeded(original, shape, low, high, dtype=dtype)

    limits = [jnp.asarray(value, "int32") for value in (minval, maxval)]
    return tracing.composite("random_integers", run, *limits)


def _random_categorical(
    tracing: Tracing,
    original: Function,
    logits: Any,
    num_samples: int,
    dtype: Any = "int32",
    seed: Any = None,
) -> Any:
    def run(logits: Any) -> Any:
        return _seeded(original, logits, num_samples, dtype=dtype)

    return tracing.composite("random_categorical", run, logits, num_samples=num_samples)


def _dropout(
    tracing: Tracing,
    original: Function,
    inputs: Any,
    rate: float,
    noise_shape: Any = None,
    seed: Any = None,
) -> Any:
    if not 0 < rate < 1:
        return original(inputs, rate, noise_shape, seed)

    def run(inputs: Any) -> Any:
        return _seeded(original, inputs, rate, noise_shape)

    shape = tuple(inputs.shape)
    if noise_shape is not None:
        pairs = zip(noise_shape, shape, strict=True)
        shape = tuple(dim if noise is None else noise for noise, dim in pairs)
    if not is_float(inputs):
        return tracing.composite(
            "dropout", run, inputs, rate=float(rate), noise_shape=shape
        )
    return alike(tracing, "dropout", run, inputs, rate=float(rate), noise_shape=shape)


def _random_shuffle(
    tracing: Tracing, original: Function, x: Any, axis: int = 0, seed: Any = None
) -> Any:
    def run(x: Any) -> Any:
        if isinstance(x.shape[axis], int):
            return _seeded(original, x, axis=axis)
        # JAX's own permutation wants to know the length.
        keys = jax.random.uniform(jax.random.key(0), (x.shape[axis],))
        return jnp.take(x, jnp.argsort(keys), axis=axis)

    return tracing.composite("random_shuffle", run, x, axis=axis)


RANDOM_MARKS: dict[str, Function] = {
    "categorical": _random_categorical,
    "dropout": _dropout,
    "normal": _random_normal("random_normal"),
    "randint": _random_integers,
    "shuffle": _random_shuffle,
    "truncated_normal": _random_normal("random_truncated_normal"),
    "uniform": _random_uniform,
}
