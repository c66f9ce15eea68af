"""Layers of one's own that are handed tensors of another dtype than they compute in."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
from keras import layers as L

import regraft


class Scale(L.Layer):
    """Computes in its own dtype, whatever it is handed."""

    def __init__(self, activation=None, **kwargs):
        super().__init__(**kwargs)
        self.dense = L.Dense(4, activation=activation, dtype=self.dtype_policy)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x, other=None, training=False):
        y = self.dense(keras.ops.cast(x, self.compute_dtype))
        return y if other is None else y + keras.ops.cast(other, y.dtype)


def first_in_mixed(x):
    return L.Dense(2, dtype="float32")(Scale(dtype="mixed_float16")(x))


def float32_head(x):
    return Scale(dtype="float32")(L.Dense(4, dtype="mixed_float16")(x))


def by_name_with_another(x):
    y = L.Dense(4, dtype="mixed_bfloat16")(x)
    return Scale(dtype="float32")(x=y, other=y)


def without_config(x):
    y = L.Dense(4, dtype="mixed_float16")(x)
    return Scale(keras.ops.tanh, dtype="float32")(y)


def network_without_config(x):
    inner = keras.Input((4,))
    network = keras.Model(inner, Scale(keras.ops.tanh, dtype="mixed_float16")(inner))
    return L.Dense(2, dtype="float32")(network(L.Dense(4, dtype="mixed_float16")(x)))


@pytest.mark.peer
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(
    "call",
    [
        first_in_mixed,
        float32_head,
        by_name_with_another,
        without_config,
        network_without_config,
    ],
)
def test_tf_keras_casts_as_the_functions_take_it(tmp_path, peer, call, dtype):
    keras.utils.set_random_seed(0)
    x = keras.Input((3,), dtype=dtype, name="x")
    model = keras.Model(x, call(x))
    data = np.random.default_rng(0).normal(size=(4, 3)).astype(dtype)
    expected = model.predict(data, verbose=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*no config", UserWarning)
        regraft.save_model(model, tmp_path / "m")
        loaded = regraft.load_model(tmp_path / "m")
        regraft.save_model(loaded, tmp_path / "again")
    np.testing.assert_allclose(loaded.predict(data, verbose=0), expected, atol=2e-2)
    for name in ("m", "again"):
        found = peer.call("saved_functions.revive", str(tmp_path / name), data)
        np.testing.assert_allclose(found[0][0], expected, atol=2e-2)
