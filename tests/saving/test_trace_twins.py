"""Layers that compute the same are traced once; layers that don't never share."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers as L

from regraft.saving.trace_layers import trace_model
from regraft.saving.trace_twins import likeness


def _built(layer, shape=(None, 4)):
    layer.build(shape)
    return layer


def _adapted(value):
    layer = L.Normalization()
    layer.adapt(np.full((3, 4), value, "float32") * np.arange(1, 4)[:, None])
    return layer


ALIKE = {
    "Dense": lambda: _built(L.Dense(3, activation="relu")),
    "BatchNormalization": lambda: _built(L.BatchNormalization()),
    "ReLU": lambda: L.ReLU(6.0),
    "other initial values": lambda: _built(L.Dense(3, kernel_initializer="ones")),
    "Dropout": lambda: L.Dropout(0.5),
}


@pytest.mark.parametrize("make", ALIKE.values(), ids=ALIKE)
def test_equal_layers_are_alike(make):
    assert likeness(make()) == likeness(make()) is not None


def _changed(attribute, value):
    layer = _built(L.Dense(3))
    setattr(layer, attribute, value)
    return layer


UNLIKE = {
    "other activation": lambda: _built(L.Dense(3, activation="tanh")),
    "other dtype": lambda: _built(L.Dense(3, dtype="mixed_bfloat16")),
    "other shape": lambda: _built(L.Dense(4)),
    "frozen": lambda: _changed("trainable", False),
    "activation set later": lambda: _changed("activation", keras.ops.sin),
    "call set later": lambda: _changed("call", lambda x: x),
    "activity regularizer": lambda: _built(L.Dense(3, activity_regularizer="l2")),
}


@pytest.mark.parametrize("make", UNLIKE.values(), ids=UNLIKE)
def test_layers_that_differ_are_unlike(make):
    assert likeness(make()) != likeness(_built(L.Dense(3)))


def test_constants_of_adapt_make_layers_unlike():
    assert likeness(_adapted(1.0)) != likeness(_adapted(2.0))


def test_classes_of_a_caller_and_nests_are_like_nothing():
    class Mine(L.Dense):
        pass

    nest = keras.Sequential([keras.Input((4,)), L.Dense(3)])
    assert likeness(_built(Mine(3))) is None
    assert likeness(nest) is None


def test_alike_layers_are_traced_once_and_keep_their_own_variables(monkeypatch):
    runs = []
    call = L.Dense.call
    monkeypatch.setattr(
        L.Dense,
        "call",
        lambda s, x, training=None: runs.append(s) or call(s, x, training),
    )
    model = keras.Sequential(
        [keras.Input((4,))] + [L.Dense(4, name=f"d{i}") for i in range(5)]
    )
    runs.clear()
    traces = trace_model(model)
    assert len(runs) == 2  # in training and in inference
    for layer in model.layers:
        saved = traces.layers[id(layer)].call.concrete_functions
        captured = {tuple(map(id, function.captures)) for function in saved}
        assert captured == {(id(layer.kernel), id(layer.bias))}
