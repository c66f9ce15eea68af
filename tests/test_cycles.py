"""Models that go from hand to hand end equal, and a second save says the same."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import regraft
from interop_models import MODELS, STEPS_BEFORE
from test_interop_tf_keras import (
    PREDICT_TOLERANCE,
    STEPS_TOLERANCE,
    as_list,
    trained,
    weights_of,
    worst,
)

FORMATS = ("traces", "plain", "h5")
ORDERS = list(itertools.permutations(FORMATS))
CHAINS = [
    pytest.param(
        name, order, id=f"{name} {' '.join(order)}",
        marks=[] if (name, order) == ("dense", ORDERS[3]) else pytest.mark.slow,
    )
    for name in MODELS
    for order in ORDERS
]  # fmt: skip


def save(model: Any, path: Path, name: str) -> None:
    if name == "h5":
        regraft.save_model(model, path, save_format="h5")
    else:
        regraft.save_model(model, path, save_traces=name == "traces")


@pytest.mark.parametrize(("name", "order"), CHAINS)
def test_model_that_goes_from_hand_to_hand_ends_equal(
    name: str, order: tuple[str, ...], peer: Any, tmp_path: Path
) -> None:
    """Regraft saves, tf_keras trains and saves, Regraft loads and saves, and again."""
    example = trained(name, "SGD-nesterov")
    first, second, third = (tmp_path / str(number) for number in range(3))
    save(example.model, first, order[0])
    batch, last = example.batches[STEPS_BEFORE : STEPS_BEFORE + 2]
    peer.call("keras_models.train_and_resave", str(first), str(second), order[1], batch)
    example.model.train_on_batch(*batch)
    between = regraft.load_model(second)
    save(between, third, order[2])
    again = regraft.load_model(third)

    theirs = peer.call(
        "keras_models.load_predict_train", str(third), example.inputs, [last]
    )

    ours = as_list(example.model.predict(example.inputs, verbose=0))
    tolerance = PREDICT_TOLERANCE.get(name, 1e-5)
    assert worst(theirs["predictions"], ours) < tolerance
    assert worst(as_list(again.predict(example.inputs, verbose=0)), ours) < tolerance
    example.model.train_on_batch(*last)
    again.train_on_batch(*last)
    expected = weights_of(example.model)
    for kind, values in expected.items():
        limit = STEPS_TOLERANCE.get(name, 1e-4)
        assert worst(theirs["weights"][kind], values) < limit, kind
        assert worst(weights_of(again)[kind], values) < limit, kind


def _content(path: Path) -> dict[str, Any]:
    """Everything in an HDF5 file, by path."""
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        found[name] = {
            key: np.asarray(value).tolist() for key, value in item.attrs.items()
        }
        if isinstance(item, h5py.Dataset):
            found[name][""] = item[()].tolist()

    with h5py.File(path) as file:
        visit("/", file)
        file.visititems(visit)
    return found


SLOW = ("convnet", "recurrent")
SECOND_SAVES = [
    pytest.param(name, marks=pytest.mark.slow if name in SLOW else [])
    for name in MODELS
]


@pytest.mark.parametrize("name", SECOND_SAVES)
def test_second_save_says_the_same(name: str, tmp_path: Path) -> None:
    _assert_same_twice(trained(name, "Adam").model, tmp_path)


def _assert_same_twice(
    model: keras.Model, folder: Path, formats: Any = FORMATS
) -> None:
    for kind in formats:
        first, second = folder / f"{kind}1", folder / f"{kind}2"
        save(model, first, kind)
        save(regraft.load_model(first), second, kind)
        if kind == "h5":
            assert _content(first) == _content(second)
            continue
        files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
        assert files == sorted(
            p.relative_to(second) for p in second.rglob("*") if p.is_file()
        )
        for file in files:
            assert (first / file).read_bytes() == (second / file).read_bytes(), file


def test_second_save_after_no_step(tmp_path: Path) -> None:
    """An optimizer that has seen no variables yet has seen none when it comes back."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(keras.optimizers.Adam(0.1), "mse")
    _assert_same_twice(model, tmp_path)
    again = regraft.load_model(tmp_path / "plain1")
    x, y = np.ones((4, 3)), np.ones((4, 2))
    assert again.train_on_batch(x, y) == model.train_on_batch(x, y)
    np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])


@keras.saving.register_keras_serializable("test_cycles")
class Mixed(keras.layers.Layer):
    """Keras names all layers in it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first = keras.layers.Dense(4, activation="relu")
        self.network = keras.Sequential(
            [keras.layers.Dense(4), keras.layers.Dropout(0.5), keras.layers.Dense(4)]
        )
        self.listed = [keras.layers.Dense(4), keras.layers.LayerNormalization()]

    def call(self, inputs: Any, training: Any = None) -> Any:
        outputs = self.network(self.first(inputs), training=training)
        for layer in self.listed:
            outputs = layer(outputs)
        return outputs


@keras.saving.register_keras_serializable("test_cycles")
class MixedModel(keras.Model):
    """A model that has no name in its config."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mixed = Mixed()
        self.last = keras.layers.Dense(2)

    def call(self, inputs: Any, training: Any = None) -> Any:
        return self.last(self.mixed(inputs, training=training))


def _mixed(subclassed: bool) -> keras.Model:
    keras.layers.Dense(1)  # Keras counts on.
    if subclassed:
        model = MixedModel()
        model(np.ones((1, 4), "float32"))
    else:
        inputs = keras.Input((4,))
        model = keras.Model(inputs, keras.layers.Dense(2)(Mixed()(inputs)))
    model.compile("adam", "mse")
    model.train_on_batch(np.ones((2, 4)), np.ones((2, 2)))
    return model


@pytest.mark.parametrize("subclassed", [False, True])
def test_second_save_has_the_names_that_keras_counted(
    subclassed: bool, tmp_path: Path
) -> None:
    model = _mixed(subclassed)
    formats = FORMATS[:2] if subclassed else FORMATS
    _assert_same_twice(model, tmp_path, formats)
    again = regraft.load_model(tmp_path / "plain2")
    assert [w.path for w in again.weights] == [w.path for w in model.weights]


@pytest.mark.parametrize("offset", [0, 1, 3])
def test_layers_that_a_class_makes_find_their_weights(
    offset: int, tmp_path: Path
) -> None:
    """Whatever number Keras counts from: `dense_1` was the second, now the first."""
    model = _mixed(False)
    x = np.arange(8.0).reshape(2, 4)
    expected = model.predict(x, verbose=0)
    for kind in FORMATS:
        save(model, tmp_path / kind, kind)
        keras.backend.clear_session()
        for _ in range(offset):
            keras.layers.Dense(1)
        again = regraft.load_model(tmp_path / kind)
        np.testing.assert_array_equal(again.predict(x, verbose=0), expected)


def test_weights_go_to_a_network_of_other_counts(tmp_path: Path) -> None:
    def made() -> keras.Model:
        return keras.Sequential(
            [keras.Input((4,)), *(keras.layers.Dense(4) for _ in range(3))]
        )

    keras.backend.clear_session()
    keras.layers.Dense(1)
    saved = made()
    for kind in FORMATS:
        save(saved, tmp_path / kind, kind)
        keras.backend.clear_session()
        model = made()
        assert model.layers[1].name == saved.layers[0].name
        regraft.load_weights(model, tmp_path / kind)
        for one, other in zip(model.weights, saved.weights, strict=True):
            np.testing.assert_array_equal(one, other)
