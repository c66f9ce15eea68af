"""Keras' layers inside of a model whose class is gone, once and saved again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as L

import regraft
from peer import Peer
from regraft.model.dialects.describe_topology import describe_layer
from regraft.model.dialects.dialect import KERAS_2_WITH_FUNCTIONS
from regraft.model.dialects.keras2_words import missing_words
from regraft.model.dialects.registry import is_builtin
from saving.layer_cases import CASES


class Gone(keras.Model):
    """Calls layers one after another."""

    def __init__(self, *stages: keras.Layer) -> None:
        super().__init__()
        self.stages = list(stages)

    def call(self, x: Any) -> Any:
        for stage in self.stages:
            x = stage(x)
        return x


class Scaled(keras.Layer):
    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(
            shape=shape[-1:], initializer="ones", regularizer="l2", name="scale"
        )

    def call(self, x: Any) -> Any:
        return x * self.scale


def test_keras_layers_are_taken_for_keras(tmp_path: Path) -> None:
    stages = [
        *(L.Embedding(5, 4), L.SpatialDropout1D(0.1), L.SeparableConv1D(4, 2)),
        *(L.LSTM(3, return_sequences=True), L.GRU(3, return_sequences=True)),
        L.RNN(L.StackedRNNCells([L.GRUCell(3), L.SimpleRNNCell(2)])),
    ]
    model = Gone(*stages)
    tokens = np.arange(10, dtype="int32").reshape(2, 5) % 5
    expected = model(tokens)
    regraft.save_model(model, tmp_path / "model")
    loaded = regraft.load_model(tmp_path / "model")
    np.testing.assert_allclose(loaded(tokens), expected, rtol=1e-5, atol=1e-6)
    rows = {row.name: row for row in regraft.load_report(loaded).layers}
    for stage in stages:
        assert rows[stage.name].source == "config", stage.name


def test_words_of_every_layer_say_whose_it_is() -> None:
    missed = {}
    for case in CASES:
        layer = case.make()
        if is_builtin(type(layer)):
            entry = describe_layer(layer, KERAS_2_WITH_FUNCTIONS, [])
            words = missing_words(
                entry["class_name"], entry["config"], from_keras3=True
            )
            missed.update({case.name: words} if words else {})
    assert not missed


def _evaluated_three_times(model: keras.Model, folder: Path, peer: Peer) -> Any:
    """Yields what it evaluates to; then tf_keras' and Regraft's, after each save."""
    x, y = np.ones((2, 4), "float32"), np.zeros((2, 3), "float32")
    model(x)
    model.compile("sgd", "mse")
    yield model.evaluate(x, y, verbose=0)
    for times in (1, 2, 3):
        path = folder / str(times)
        regraft.save_model(model, path)
        theirs = peer.call("interop.tf_keras", str(path), x, y)
        model = regraft.load_model(path)
        yield theirs["evaluated"], model.evaluate(x, y, verbose=0)


@pytest.mark.peer
def test_each_regularizer_counts_once_however_often_it_is_saved(
    tmp_path: Path, peer: Peer
) -> None:
    keras.utils.set_random_seed(0)
    inner = keras.Sequential([Scaled(), L.Dense(4, kernel_regularizer="l2")])
    model = Gone(inner, L.Dense(3, bias_regularizer="l1", kernel_regularizer="l2"))
    expected, *found = _evaluated_three_times(model, tmp_path, peer)
    for theirs, ours in found:
        assert theirs == pytest.approx(expected, rel=1e-5)
        assert ours == pytest.approx(expected, rel=1e-5)


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore:layer 'rms'. Keras 2 has no layer class")
@pytest.mark.parametrize("kind", ["Sequential", "Functional"])
def test_networks_are_called_layer_by_layer_however_often_they_are_saved(
    kind: str, tmp_path: Path, peer: Peer
) -> None:
    keras.utils.set_random_seed(0)
    inner = keras.Sequential([L.Dense(4), L.RMSNormalization(name="rms")])
    if kind == "Functional":
        given = keras.Input((4,))
        inner = keras.Model(given, L.Add()([inner(given), given]))
    expected, *found = _evaluated_three_times(Gone(inner, L.Dense(3)), tmp_path, peer)
    for theirs, ours in found:
        assert theirs == pytest.approx(expected, rel=1e-5)
        assert ours == pytest.approx(expected, rel=1e-5)


@pytest.mark.peer
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_is_kept_however_often_it_is_saved(
    policy: str, tmp_path: Path, peer: Peer
) -> None:
    keras.utils.set_random_seed(0)
    model = Gone(L.Dense(4, dtype=policy), L.Dense(3, dtype="float32"))
    model.dtype_policy = keras.DTypePolicy(policy)
    expected, *found = _evaluated_three_times(model, tmp_path, peer)
    for theirs, _ in found:
        assert theirs == pytest.approx(expected, rel=2e-2)


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore:Explicitly requested dtype")
def test_weights_of_64_bits_are_read_as_such(tmp_path: Path, peer: Peer) -> None:
    keras.utils.set_random_seed(0)
    given = keras.Input((4,), dtype="float64", name="x")
    x = L.BatchNormalization(dtype="float64")(given)
    model = keras.Model(given, L.Dense(3, dtype="float64")(x))
    regraft.save_model(model, tmp_path / "m")
    rows = np.ones((2, 4))
    served = peer.call("saved_functions.serve", str(tmp_path / "m"), {"x": rows})
    for outputs in served:
        (found,) = outputs.values()
        np.testing.assert_allclose(found, model(rows), rtol=1e-5)


@pytest.mark.filterwarnings("ignore:optimizer. Keras 2 has no 'gradient_accumulation")
def test_optimizer_that_accumulates_gradients_comes_back(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), L.Dense(2)])
    model.compile(keras.optimizers.Adam(gradient_accumulation_steps=2), "mse")
    x, y = np.ones((4, 3), "float32"), np.zeros((4, 2), "float32")
    model.train_on_batch(x, y)
    regraft.save_model(model, tmp_path / "model")
    loaded = regraft.load_model(tmp_path / "model")
    for _ in range(3):
        np.testing.assert_array_equal(loaded(x), model(x))
        loaded.train_on_batch(x, y)
        model.train_on_batch(x, y)
