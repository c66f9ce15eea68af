"""Layers whose config can't be written are saved by what they compute."""

from __future__ import annotations

import warnings

import h5py
import keras
import numpy as np
import pytest
from keras import layers as L

import regraft


class Inner(L.Layer):
    """Keras makes no config of an argument that is an object."""

    def __init__(self, activation, **kwargs):
        super().__init__(**kwargs)
        self.activation = activation

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], shape[-1]), name="kernel")

    def call(self, x):
        return self.activation(keras.ops.matmul(x, self.kernel))

    def compute_output_shape(self, shape):
        return shape


class Outer(L.Layer):
    """Has a config, and a layer inside that has none."""

    def __init__(self, units=4, **kwargs):
        super().__init__(**kwargs)
        self.inner = Inner(keras.activations.tanh)
        self.dense = L.Dense(units)

    def call(self, x):
        return self.dense(self.inner(x))


class Broken(Outer):
    def get_config(self):
        return {**super().get_config(), "units": self.unit}


class Held(L.Layer):
    """Its config holds a function as it is."""

    def __init__(self, activation="relu", **kwargs):
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)

    def call(self, x):
        return self.activation(x)

    def get_config(self):
        return {**super().get_config(), "activation": self.activation}


class Subclassed(keras.Model):
    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner
        self.out = L.Dense(1)

    def call(self, x):
        return self.out(self.inner(x))


def _network(*layers):
    x = keras.Input((3,))
    y = x
    for layer in layers:
        y = layer(y)
    return keras.Model(x, L.Dense(1)(y))


def _subclassed():
    model = Subclassed(Outer())
    model(np.zeros((1, 3), "float32"))
    return model


MODELS = {
    "inner": (lambda: _network(Inner(keras.activations.tanh)), "Inner (1)"),
    "below": (lambda: _network(Outer()), "Inner (1)"),
    "broken": (lambda: _network(Broken()), "Broken (1), Inner (1)"),
    "wrapped": (
        lambda: _network(
            L.Reshape((3, 1)), L.TimeDistributed(Inner(keras.activations.relu))
        ),
        "Inner (1)",
    ),
    "model": (_subclassed, "Inner (1), Subclassed (1)"),
}


@pytest.fixture(params=MODELS)
def saved(request, tmp_path):
    """A model, its inputs and outputs, and where it was saved."""
    keras.utils.set_random_seed(1)
    make, classes = MODELS[request.param]
    model = make()
    model.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        regraft.save_model(model, tmp_path / "m")
    (text,) = (str(w.message) for w in warned if w.category is UserWarning)
    assert "no config that can be written, so that" in text
    assert f"bring them back: {classes}. Of" in text
    assert "get_config" not in vars(model.layers[1])
    return model, x, model.predict(x, verbose=0), str(tmp_path / "m")


def test_regraft_brings_them_back_with_and_without_their_classes(saved):
    model, x, y, path = saved
    model.train_on_batch(x, x[:, 0])
    classes = {c.__name__: c for c in (Inner, Outer, Broken, Subclassed)}
    for custom in ({}, classes):
        loaded = regraft.load_model(path, custom_objects=custom)
        np.testing.assert_allclose(loaded.predict(x, verbose=0), y, atol=1e-6)
        loaded.train_on_batch(x, x[:, 0])
        np.testing.assert_allclose(
            loaded.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-5
        )


@pytest.mark.peer
def test_tf_keras_brings_them_back(saved, peer):
    _, x, y, path = saved
    got, _, _, history = peer.call("saved_functions.revive", path, x)
    np.testing.assert_allclose(got[0], y, atol=1e-5)
    assert np.isfinite(history).all()


@pytest.mark.parametrize("name", ["inner", "broken", "wrapped"])
def test_without_functions_their_config_is_needed(name, tmp_path):
    model = MODELS[name][0]()
    for path, options in ((tmp_path / "m", {"save_traces": False}), ("m.h5", {})):
        with pytest.raises(
            regraft.UnsupportedError, match=r"layer '.*save_traces=True"
        ):
            regraft.save_model(model, tmp_path / path, **options)
    assert not list(tmp_path.iterdir())


def test_without_functions_layers_inside_come_from_the_outer_class(tmp_path):
    model = _network(Outer())
    regraft.save_model(model, tmp_path / "m", save_traces=False)
    loaded = regraft.load_model(tmp_path / "m", custom_objects={"Outer": Outer})
    x = np.ones((2, 3), "float32")
    np.testing.assert_array_equal(
        loaded.predict(x, verbose=0), model.predict(x, verbose=0)
    )


def test_functions_in_a_config_are_their_names(tmp_path):
    model = _network(Held(keras.activations.tanh))
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    for name in ("m", "m.h5"):
        regraft.save_model(model, tmp_path / name)
        loaded = regraft.load_model(tmp_path / name, custom_objects={"Held": Held})
        assert loaded.layers[1].activation is keras.activations.tanh
        np.testing.assert_array_equal(
            loaded.predict(x, verbose=0), model.predict(x, verbose=0)
        )
    with h5py.File(tmp_path / "m.h5") as file:
        assert '"activation": "tanh"' in str(file.attrs["model_config"])


def test_layers_of_keras_with_a_policy_have_a_config(tmp_path):
    policy = keras.DTypePolicy("float32")
    model = _network(L.Identity(dtype=policy, name="same"))
    for name in ("m", "m.h5"):
        regraft.save_model(model, tmp_path / name)
        layer = regraft.load_model(tmp_path / name).get_layer("same")
        assert type(layer) is L.Identity
        assert layer.dtype_policy == policy


class Bounded(L.Layer):
    """Constrains a weight, of which its config says nothing."""

    def build(self, shape):
        bounds = keras.constraints.MinMaxNorm(0.1, 0.2, axis=0)
        self.kernel = self.add_weight((shape[-1], 2), name="w", constraint=bounds)

    def call(self, x):
        return keras.ops.matmul(x, self.kernel)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_constraints_of_weights_are_applied_without_the_class(tmp_path):
    model = _network(Bounded())
    model.compile(keras.optimizers.SGD(1.0), "mse")
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    y = np.ones(model(x).shape)
    with pytest.warns(UserWarning, match="tf_keras has no class .* 'bounded/w'"):
        regraft.save_model(model, tmp_path / "m")
    loaded = regraft.load_model(tmp_path / "m")
    for each in (model, loaded):
        each.train_on_batch(x, y)
    np.testing.assert_allclose(
        loaded.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-6
    )
    norms = keras.ops.norm(model.layers[1].kernel.value, axis=0)
    assert float(keras.ops.max(norms)) < 0.201
