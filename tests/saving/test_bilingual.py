"""One HDF5 file for both generations: tf_keras 2.21 and Keras 3's own loader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import regraft
from interop_models import MODELS, Example
from peer import Peer

# Keras 3's own loader has no words for these in an HDF5 file, see docs/format.md.
CANNOT_MEET = {"attention", "op_layers"}
# Nested models: only where each of their calls may be listed twice.
NEEDS_BOTH = {"multi_io"}
MEETS = sorted(set(MODELS) - CANNOT_MEET - NEEDS_BOTH)
TOLERANCE = {"mixed_precision": 2e-2}


def _trained(name: str) -> Example:
    keras.utils.set_random_seed(1)
    example = MODELS[name]()
    example.model.compile(keras.optimizers.Adam(0.003), example.loss)
    for x, y in example.batches[:2]:
        example.model.train_on_batch(x, y)
    return example


def _as_list(outputs: Any) -> list[np.ndarray]:
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def _saved(name: str, path: Path, dialect: str | None) -> tuple[Example, list[Any]]:
    example = _trained(name)
    options = None if dialect is None else regraft.SaveOptions(dialect=dialect)
    regraft.save_model(example.model, path, options=options)
    return example, _as_list(example.model.predict(example.inputs, verbose=0))


@pytest.mark.filterwarnings("ignore")  # What Keras' own loader says is Keras' own.
@pytest.mark.parametrize(
    ("name", "dialect"),
    [(name, None) for name in MEETS] + [(name, "both") for name in sorted(NEEDS_BOTH)],
)
def test_keras_3_own_loader_opens_the_file(
    tmp_path: Path, name: str, dialect: str | None
) -> None:
    path = tmp_path / "m.h5"
    example, expected = _saved(name, path, dialect)
    loaded = keras.saving.load_model(path)
    found = _as_list(loaded.predict(example.inputs, verbose=0))
    for ours, theirs in zip(expected, found, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert type(loaded.optimizer).__name__ in ("Adam", "LossScaleOptimizer")
    inner = getattr(loaded.optimizer, "inner_optimizer", loaded.optimizer)
    assert float(inner.learning_rate) == pytest.approx(0.003)


@pytest.mark.parametrize("name", sorted(set(MODELS) - CANNOT_MEET))
def test_tf_keras_reads_the_file_of_both(tmp_path: Path, name: str, peer: Peer) -> None:
    path = tmp_path / "m.h5"
    example, expected = _saved(name, path, "both")
    found = peer.call("keras_models.load_predict_train", str(path), example.inputs, [])[
        "predictions"
    ]
    scale = max(float(np.max(np.abs(array))) for array in expected)
    for ours, theirs in zip(expected, found, strict=True):
        difference = np.max(np.abs(np.asarray(ours, "float32") - theirs))
        assert difference < TOLERANCE.get(name, 1e-5) * max(scale, 1.0)


@pytest.mark.parametrize("dialect", ["both", "keras3"])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_regraft_reads_every_dialect_exactly(
    tmp_path: Path, name: str, dialect: str
) -> None:
    path = tmp_path / "m.h5"
    example, expected = _saved(name, path, dialect)
    loaded = regraft.load_model(path)
    found = _as_list(loaded.predict(example.inputs, verbose=0))
    for ours, theirs in zip(expected, found, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert int(loaded.optimizer.iterations.value) == 2


def _attention() -> keras.Model:
    inputs = keras.Input((4, 6))
    return keras.Model(inputs, keras.layers.Attention()([inputs, inputs]))


def _sequence_inside() -> keras.Model:
    inner = keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(2)])
    return keras.Sequential([keras.Input((4, 6)), keras.layers.TimeDistributed(inner)])


def _two_axes() -> keras.Model:
    inputs = keras.Input((4, 6))
    found = keras.layers.LayerNormalization(axis=[1, 2])(inputs)
    return keras.Model(inputs, keras.layers.Softmax(axis=[1, 2])(found))


@pytest.mark.filterwarnings("ignore")  # What Keras' own loader says is Keras' own.
@pytest.mark.parametrize("dialect", [None, "both"])
@pytest.mark.parametrize("make", [_attention, _sequence_inside, _two_axes])
def test_keras_3_own_loader_takes_no_word_for_another(
    tmp_path: Path, make: Callable[[], keras.Model], dialect: str | None, peer: Peer
) -> None:
    model, path = make(), tmp_path / "m.h5"
    options = None if dialect is None else regraft.SaveOptions(dialect=dialect)
    regraft.save_model(model, path, options=options)
    x = np.random.RandomState(0).normal(size=(3, 4, 6)).astype("float32")
    expected = model.predict(x, verbose=0)
    loaded = keras.saving.load_model(path)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)
    (found,) = _as_list(peer.call("keras_models.predict", str(path), x))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore")  # What Keras' own loader says is Keras' own.
def test_keras_3_own_loader_compiles_what_short_names_said(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse", metrics=["mae"])
    batch = np.ones((4, 3), "float32"), np.zeros((4, 2), "float32")
    options = regraft.SaveOptions(dialect="keras3")
    regraft.save_model(model, tmp_path / "m.h5", options=options)
    loaded = keras.saving.load_model(tmp_path / "m.h5")
    assert loaded.evaluate(*batch, verbose=0) == model.evaluate(*batch, verbose=0)


@pytest.mark.filterwarnings("ignore:.*Keras 2 has no layer class")
@pytest.mark.parametrize("dialect", ["both", "keras3"])
def test_layer_that_was_given_a_list_is_saved(tmp_path: Path, dialect: str) -> None:
    layer = keras.layers.RandomColorDegeneration(0.3, value_range=[0, 1])
    model = keras.Sequential([keras.Input((4, 4, 3)), layer])
    options = regraft.SaveOptions(dialect=dialect)
    regraft.save_model(model, tmp_path / "m.h5", options=options)
    assert regraft.load_model(tmp_path / "m.h5").get_config() == model.get_config()


@pytest.mark.filterwarnings("ignore")  # What Keras' own loader says is Keras' own.
def test_layer_that_holds_a_variable_of_the_one_inside_opens_both_ways(
    tmp_path: Path,
) -> None:
    inner = keras.layers.Conv2DTranspose(2, 2)
    layer = keras.layers.SpectralNormalization(inner)
    model = keras.Sequential([keras.Input((6, 5, 4)), layer])
    layer.trainable = False
    x = np.random.RandomState(0).normal(size=(2, 6, 5, 4)).astype("float32")
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "own.h5")
    options = regraft.SaveOptions(dialect="keras3")
    regraft.save_model(model, tmp_path / "ours.h5", options=options)
    for loaded in (
        regraft.load_model(tmp_path / "own.h5"),
        regraft.load_model(tmp_path / "ours.h5"),
        keras.saving.load_model(tmp_path / "ours.h5"),
    ):
        np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)
