"""Weights by order and by name, and the optimizer's (promises 107 to 121)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import regraft
from peer import Peer
from promises.checks import assert_same_weights, saved
from regraft.errors import MismatchError
from regraft.weights import load_weights

X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")


def _model(units: int = 4, *, bias: bool = True, last: str = "last") -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(units, name="first"),
            layers.Dense(2, use_bias=bias, name=last),
        ]
    )


def test_wrong_weights_are_refused(tmp_path: Path) -> None:
    """Promise 107: another number or order of weights is an error, nothing is set."""
    regraft.save_model(_model(), tmp_path / "m.h5")
    for other in (
        keras.Sequential([keras.Input((3,)), layers.Dense(4)]),
        _model(bias=False),
        _model(5),
    ):
        before = other.get_weights()
        with pytest.raises(MismatchError):
            load_weights(other, tmp_path / "m.h5")
        for one, two in zip(before, other.get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)
    loaded = regraft.load_model(tmp_path / "m.h5")
    with pytest.raises(ValueError, match="expecting 4 weights"):
        loaded.set_weights(loaded.get_weights()[:-1])


def _nested() -> keras.Model:
    inner = keras.Sequential(
        [keras.Input((4,)), layers.BatchNormalization(), layers.Dense(4)], name="inner"
    )
    inner.layers[0].trainable = False
    inputs = keras.Input((3,))
    x = layers.Dense(4, name="before")(inputs)
    x = layers.BatchNormalization(name="between")(inner(x))
    return keras.Model(inputs, x)


@pytest.mark.parametrize("build", [_model, _nested])
@pytest.mark.parametrize("name", ["m", "m.h5"])
def test_weights_go_into_a_model_of_the_same_kind(
    build: Any, name: str, tmp_path: Path
) -> None:
    """Promises 110, 111 and 114: Sequential and nested, from a whole model's file."""
    source, target = build(), build()
    for index, variable in enumerate(source.weights):
        variable.assign(np.full(variable.shape, index + 1.0))
    regraft.save_model(source, tmp_path / name)
    load_weights(target, tmp_path / name)
    for one, two in zip(source.weights, target.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(two))


@pytest.mark.parametrize("kind", ["count", "shape"])
def test_weights_by_name(kind: str, tmp_path: Path) -> None:
    """Promises 112 and 113: errors name the layer; `skip_mismatch` loads the rest."""
    source = _model()
    regraft.save_model(source, tmp_path / "m.h5")
    other = _model(4, bias=False) if kind == "count" else _model(5)
    wrong = "last" if kind == "count" else "first"
    before = other.get_layer(wrong).get_weights()
    expected = r"#1 \(named 'last'\)" if kind == "count" else r"'first/"
    with pytest.raises(MismatchError, match=expected):
        load_weights(other, tmp_path / "m.h5", by_name=True)
    with pytest.warns(UserWarning, match="Skipped"):
        load_weights(other, tmp_path / "m.h5", by_name=True, skip_mismatch=True)
    for one, two in zip(before, other.get_layer(wrong).get_weights(), strict=True):
        if kind == "count" or one.shape == two.shape:
            assert one.shape == two.shape
    right = _model(last="another")
    load_weights(right, tmp_path / "m.h5", by_name=True)
    for one, two in zip(
        right.get_layer("first").get_weights(),
        source.get_layer("first").get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)
    regraft.save_model(source, tmp_path / "m")
    with pytest.raises(NotImplementedError, match="HDF5"):
        load_weights(right, tmp_path / "m", by_name=True)


def test_paths_of_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise 121: a trailing slash, relative paths, directories that are missing."""
    monkeypatch.chdir(tmp_path)
    source, target = _model(), _model()
    regraft.save_model(source, "deep/down/m/")
    load_weights(target, "deep/down/m/")
    np.testing.assert_array_equal(
        target.predict(X, verbose=0), source.predict(X, verbose=0)
    )
    regraft.save_model(source, "other/m.h5")
    regraft.load_model(Path("other") / "m.h5")


def test_overwriting_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise 115: `overwrite=False` asks before a file or directory is replaced."""
    asked = []
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or "n")
    for name in ("m", "m.h5"):
        regraft.save_model(_model(), tmp_path / name)
        regraft.save_model(_model(), tmp_path / name, overwrite=False)
    assert len(asked) == 2


@pytest.mark.parametrize("name", ["m", "m.h5"])
def test_optimizer_goes_on_exactly(name: str, tmp_path: Path) -> None:
    """Promises 74 and 118: the next batch's loss, with the slots of the file."""
    model = _model()
    model.compile("rmsprop", "mse")
    y = np.ones((4, 2), "float32")
    model.train_on_batch(X, y)
    regraft.save_model(model, tmp_path / name)
    loaded = regraft.load_model(tmp_path / name)
    # Keras before 3.14 reports the mean since the last reset.
    model.reset_metrics()
    for _ in range(3):
        np.testing.assert_allclose(
            loaded.train_on_batch(X, y), model.train_on_batch(X, y), rtol=1e-6
        )


def test_layers_that_are_new_are_tolerated_where_asked(tmp_path: Path) -> None:
    """Promise 119: layers with and without weights that one side has alone."""
    source = _model()
    regraft.save_model(source, tmp_path / "m")
    regraft.save_model(source, tmp_path / "m.h5")
    more = keras.Sequential([*_model().layers, layers.Dropout(0.5), layers.Dense(3)])
    more.build((None, 3))
    with pytest.raises(MismatchError, match="dense"):
        load_weights(more, tmp_path / "m")
    with pytest.warns(UserWarning, match="Skipped"):
        load_weights(more, tmp_path / "m", skip_mismatch=True)
    load_weights(more, tmp_path / "m.h5", by_name=True)
    np.testing.assert_array_equal(
        more.layers[0].get_weights()[0], source.layers[0].get_weights()[0]
    )


def test_nothing_to_load_is_an_error(tmp_path: Path) -> None:
    """Promise 120: a file in which no variable is found is never taken silently."""
    regraft.save_model(_model(), tmp_path / "m")
    other = keras.Sequential([keras.Input((5, 3)), layers.Conv1D(2, 3, name="other")])
    with pytest.raises(MismatchError, match="other/kernel"):
        load_weights(other, tmp_path / "m")


def test_whole_models_of_tf_keras_give_their_weights(
    tmp_path: Path, peer: Peer
) -> None:
    """Promise 114: from tf_keras' SavedModel and HDF5 file."""
    for name, keywords in (("m", {}), ("m.h5", {"save_format": "h5"})):
        theirs = saved(peer, "two_regularized", tmp_path / name, **keywords)
        target = keras.Sequential([keras.Input((3,)), layers.Dense(5), layers.Dense(2)])
        load_weights(target, tmp_path / name)
        assert_same_weights(target, theirs)
