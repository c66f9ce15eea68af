"""A composite as one primitive: JAX can run it, batch it and derive it."""

from __future__ import annotations

import gc

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import regraft
from regraft.graph.tracing.composite import Composite, primitive


def _square(x):
    return (x * x + jnp.sum(x),)


def _alike(x):
    return [(x.shape, x.dtype)]


def _call(x):
    composite = Composite("square", (), _square, _alike)
    return primitive.bind(x, composite=composite)[0]


X = np.arange(6, dtype="float32").reshape(2, 3)


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: f,
        jax.jit,
        jax.vmap,
        lambda f: jax.vmap(f, in_axes=1, out_axes=1),
        lambda f: jax.grad(lambda x: jnp.sum(f(x) * x)),
        lambda f: jax.jit(jax.vmap(jax.grad(lambda x: jnp.sum(f(x))))),
    ],
)
def test_transformed_composites_compute_the_same(transform):
    expected = transform(lambda x: _square(x)[0])(X)
    np.testing.assert_allclose(transform(_call)(X), expected, rtol=1e-6)


def test_its_inside_is_not_traced():
    jaxpr = jax.make_jaxpr(_call)(X)
    assert [e.primitive.name for e in jaxpr.eqns] == ["regraft_composite"]


class Mapped(keras.layers.Layer):
    """Normalizes each example by itself, and differentiates through it."""

    def call(self, x):
        def each(row):
            mean, variance = keras.ops.moments(row, axes=0, keepdims=True)
            return keras.ops.softmax((row - mean) / keras.ops.sqrt(variance + 1.0))

        slope = jax.vmap(jax.grad(lambda row: keras.ops.sum(each(row) * row)))
        return keras.ops.vectorized_map(each, x) + slope(x)


def test_composites_inside_of_transformations_are_saved(tmp_path):
    model = keras.Sequential([keras.Input((4,)), Mapped()])
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    expected = model(x)
    regraft.save_model(model, tmp_path / "model")
    loaded = regraft.load(tmp_path / "model")
    found = next(iter(loaded.signatures["serving_default"](x).values()))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def _garbage_of_a_save(layer_count, path):
    layers = [keras.layers.Dense(4, activation="relu") for _ in range(layer_count)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    regraft.save_model(model, path / "first")
    gc.collect()
    gc.disable()
    try:
        regraft.save_model(model, path / "again")
        return gc.collect()
    finally:
        gc.enable()


def test_what_a_save_leaves_to_the_garbage_collector_does_not_grow(tmp_path):
    # Hundreds of objects per layer, where JAX keeps an error for each length.
    small = _garbage_of_a_save(5, tmp_path / "small")
    large = _garbage_of_a_save(25, tmp_path / "large")
    assert large - small < 20 * 50
