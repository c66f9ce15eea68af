"""Low-rank updates of weights (LoRA) are loaded, wherever their layers are."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers as L

import regraft

# What Keras 2 can't say it is told of.
pytestmark = pytest.mark.filterwarnings("ignore:.*lora_:UserWarning")

NO_TRACES = {"save_traces": False}

X = np.random.default_rng(5).normal(size=(4, 3)).astype("float32")


class Block(L.Layer):
    """Makes a layer inside, whose update its own config knows nothing of."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.inner = L.Dense(units, name="inner")

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        return keras.ops.tanh(self.inner(x))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def _with_update(model, layer, alpha):
    layer.enable_lora(2, lora_alpha=alpha)
    layer.lora_kernel_b.assign(np.full(layer.lora_kernel_b.shape, 0.3))
    model.compile("sgd", "mse")
    return model


def _holds(loaded, layer, model, alpha):
    assert (layer.lora_rank, layer.lora_alpha) == (2, alpha)
    np.testing.assert_allclose(loaded(X), model(X), atol=1e-6)
    target = np.ones((4, 5), "float32")
    for each in (loaded, model):
        each.train_on_batch(X, target)
    assert [v.path for v in loaded.trainable_variables] == [
        v.path for v in model.trainable_variables
    ]
    np.testing.assert_allclose(loaded(X), model(X), atol=1e-6)


@pytest.mark.parametrize("alpha", [2, 8])
@pytest.mark.parametrize("name", ["m", "m.h5"])
def test_update_of_a_layer_keeps_its_scale(name, alpha, tmp_path):
    model = keras.Sequential([keras.Input((3,)), L.Dense(5)])
    _with_update(model, model.layers[0], alpha)
    regraft.save_model(model, tmp_path / name)
    loaded = regraft.load_model(tmp_path / name)
    _holds(loaded, loaded.layers[0], model, alpha)


@pytest.mark.peer
@pytest.mark.parametrize("alpha", [2, 8])
def test_update_inside_a_layer_of_ones_own(alpha, tmp_path, peer):
    model = keras.Sequential([keras.Input((3,)), Block(5)])
    _with_update(model, model.layers[0].inner, alpha)
    regraft.save_model(model, tmp_path / "m")
    got, _ = peer.call("saved_functions.call", str(tmp_path / "m"), X)
    loaded = regraft.load_model(tmp_path / "m", custom_objects={"Block": Block})
    np.testing.assert_allclose(loaded(X), got[0], atol=1e-6)
    _holds(loaded, loaded.layers[0].inner, model, alpha)


@pytest.mark.parametrize("name", ["m", "m.h5"])
def test_updates_without_functions(name, tmp_path):
    model = keras.Sequential([keras.Input((3,)), Block(4), Block(5)])
    model.layers[0].inner.enable_lora(1, lora_alpha=3)
    _with_update(model, model.layers[1].inner, 8)
    regraft.save_model(model, tmp_path / name, **{} if "." in name else NO_TRACES)
    loaded = regraft.load_model(tmp_path / name, custom_objects={"Block": Block})
    assert loaded.layers[0].inner.lora_alpha == 3
    _holds(loaded, loaded.layers[1].inner, model, 8)
