"""Layers that two networks inside of a model share."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers as L

import regraft


def _model():
    """Two networks that begin with the same layers; a step was trained."""
    keras.utils.set_random_seed(1)
    common, norm = L.Dense(4, activation="tanh", name="common"), L.BatchNormalization()
    one, other, x = (keras.Input((3,)) for _ in range(3))
    first = keras.Model(one, norm(common(one)), name="first")
    second = keras.Model(other, L.Dense(4)(norm(common(other))), name="second")
    model = keras.Model(x, L.Dense(1)(L.Add()([first(x), second(x)])))
    model.compile("adam", "mse")
    data = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    model.train_on_batch(data, data[:, :1])
    return model, data


def _opened(model, data, path, peer):
    """Saves a model, which tf_keras and Regraft open as it is, and loads it."""
    expected = model.predict(data, verbose=0)
    regraft.save_model(model, path)
    found = peer.call("saved_functions.revive", str(path), data)
    np.testing.assert_allclose(found[0][0], expected, atol=1e-5)
    loaded = regraft.load_model(path)
    np.testing.assert_allclose(loaded.predict(data, verbose=0), expected, atol=1e-6)
    return loaded


@pytest.mark.parametrize("traces", [True, False])
def test_stay_shared_and_train_on(tmp_path, traces):
    model, data = _model()
    regraft.save_model(model, tmp_path / "m", save_traces=traces)
    loaded = regraft.load_model(tmp_path / "m")
    first, second = (loaded.get_layer(name) for name in ("first", "second"))
    assert first.get_layer("common") is second.get_layer("common")
    for each in (model, loaded):
        each.train_on_batch(data, data[:, :1])
    np.testing.assert_array_equal(
        loaded.predict(data, verbose=0), model.predict(data, verbose=0)
    )


@pytest.mark.peer
@pytest.mark.parametrize("name", ["m", "m.h5"])
def test_tf_keras_opens_both_networks(tmp_path, peer, name):
    model, data = _model()
    _opened(model, data, tmp_path / name, peer)


@pytest.mark.peer
def test_a_layer_inside_a_wrapper_and_alone(tmp_path, peer):
    x = keras.Input((5, 3))
    dense = L.Dense(3, name="dense")
    model = keras.Model(x, L.TimeDistributed(dense)(dense(x)))
    model.compile("adam", "mse")
    data = np.random.default_rng(0).normal(size=(8, 5, 3)).astype("float32")
    model.train_on_batch(data, data)
    _opened(model, data, tmp_path / "m.h5", peer)


@pytest.mark.peer
@pytest.mark.parametrize("name", ["m", "m.h5"])
@pytest.mark.parametrize("network", [False, True])
def test_a_layer_alone_and_before_that_inside_a_wrapper(tmp_path, peer, network, name):
    inner = L.Dense(3, name="inner")
    if network:
        rows = keras.Input((None, 3))
        inner = keras.Model(rows, L.Dense(3)(inner(rows)), name="rows")
    x = keras.Input((5, 4, 3))
    model = keras.Model(x, inner(L.Reshape((20, 3))(L.TimeDistributed(inner)(x))))
    model.compile("adam", "mse")
    data = np.random.default_rng(0).normal(size=(8, 5, 4, 3)).astype("float32")
    batch = data, data.reshape(8, 20, 3)
    model.train_on_batch(*batch)
    loaded = _opened(model, data, tmp_path / name, peer)
    for each in (model, loaded):
        each.train_on_batch(*batch)
    expected = model.predict(data, verbose=0)
    np.testing.assert_allclose(loaded.predict(data, verbose=0), expected, atol=1e-6)


def _outside_too():
    """A network whose layer the model around it calls once more; a step was trained."""
    keras.utils.set_random_seed(2)
    common = L.Dense(3, activation="tanh", name="common")
    inside, x = keras.Input((3,)), keras.Input((3,))
    first = keras.Model(inside, L.Dense(3)(common(inside)), name="first")
    model = keras.Model(x, common(first(x)))
    model.compile("adam", "mse")
    data = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    model.train_on_batch(data, data)
    return model, data


@pytest.mark.peer
@pytest.mark.parametrize("name", ["m", "m.h5"])
def test_a_network_and_the_model_around_it_share_a_layer(tmp_path, peer, name):
    model, data = _outside_too()
    loaded = _opened(model, data, tmp_path / name, peer)
    if name == "m.h5":  # Names alone say nothing of what networks share.
        return
    assert loaded.layers[-1] is loaded.get_layer("first").get_layer("common")
    for each in (model, loaded):
        each.train_on_batch(data, data)
    np.testing.assert_array_equal(
        loaded.predict(data, verbose=0), model.predict(data, verbose=0)
    )


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore:.*ReversibleEmbedding:UserWarning")
def test_tied_embeddings_of_a_network_inside_open_in_tf_keras(tmp_path, peer):
    embedding = L.ReversibleEmbedding(12, 6, name="tokens")
    inside, ids = (keras.Input((5,), dtype="int32", name="ids") for _ in range(2))
    body = keras.Model(inside, L.Dense(6)(embedding(inside)), name="body")
    model = keras.Model(ids, embedding(body(ids), reverse=True))
    data = np.random.default_rng(0).integers(0, 12, (3, 5)).astype("int32")
    expected = model.predict(data, verbose=0)
    regraft.save_model(model, tmp_path / "m")
    found = peer.call("saved_functions.revive", str(tmp_path / "m"), data)
    np.testing.assert_allclose(found[0][0], expected, atol=1e-5)


class Named(keras.Model):
    """Layers under several names, in lists, and inside of a network."""

    def __init__(self):
        super().__init__()
        self.kept, self.other, x = L.Dense(3), L.Dense(3), keras.Input((3,))
        self.inner = keras.Model(x, self.kept(x))
        self.again = self.kept
        self.stages = [self.kept, self.other, self.kept]
        self.by_name = {"kept": self.kept}

    def call(self, x):
        for stage in (*self.stages, self.inner):
            x = stage(x)
        return x


@pytest.mark.peer
def test_a_layer_keeps_all_its_names(tmp_path, peer):
    model, data = Named(), np.ones((2, 3), "float32")
    expected = model(data)
    for path in (tmp_path / "once", tmp_path / "twice"):
        regraft.save_model(model, path)
        names = ["kept", "again", "stages.0", "stages.2", "by_name.kept", "other"]
        assert peer.call("saved_functions.same", str(path), [*names, "stages.1"]) == [
            *(0, 0, 0, 0, 0),
            *(5, 5),
        ]
        model = regraft.load_model(path)
        assert model.again is model.kept is model.inner.layers[1]
        assert model.stages[0] is model.stages[2] is model.by_name["kept"] is model.kept
        assert model.stages[1] is model.other
        np.testing.assert_allclose(model(data), expected, rtol=1e-6)
