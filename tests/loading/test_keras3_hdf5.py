"""HDF5 files that Keras 3 wrote, among them those that it can't read itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import regraft

OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "sum of two": lambda x: x + layers.Dense(3)(x),
    "number behind": lambda x: x * 2.5,
    "number before": lambda x: 1.0 - x,
    "quotient": lambda x: x / 2.0,
    "power": lambda x: x**2,
    "sign": lambda x: -x,
    "item": lambda x: x[:, 0],
    "slices": lambda x: x[..., ::2, None],
    "product": lambda x: x @ ops.transpose(x, (0, 2, 1)),
    "largest": lambda x: ops.maximum(x, 0.3),
    "shape": lambda x: ops.reshape(x, (-1, 12)),
    "joined": lambda x: ops.concatenate([x, x], axis=1),
    "stacked": lambda x: ops.stack([x, -x], axis=1),
    "parts": lambda x: ops.split(x, 3, axis=-1)[1],
    "mean": lambda x: ops.mean(x, axis=(1, 2), keepdims=True),
    "average": lambda x: ops.average(x, axis=1),
    "dtype": lambda x: ops.cast(x > 0.5, "float32"),
    "choice": lambda x: ops.where(x > 0.5, x, 0.0),
    "softmax": lambda x: ops.softmax(x, axis=1),
    "einsum": lambda x: ops.einsum("btd,bsd->bts", x, x),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_come_back(name: str, tmp_path: Path) -> None:
    inputs = keras.Input((4, 3))
    model = keras.Model(inputs, OPERATIONS[name](inputs))
    x = np.random.default_rng(0).random((2, 4, 3), dtype="float32")
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "keras3.h5")
    # Keras takes operations for layers; some of these exist by chance.
    if name not in ("joined", "softmax"):
        with pytest.raises((TypeError, ValueError)):
            keras.saving.load_model(tmp_path / "keras3.h5", compile=False)

    loaded = regraft.load_model(tmp_path / "keras3.h5")

    assert not regraft.load_report(loaded).notes
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)


def test_layer_of_ones_own_is_no_operation(tmp_path: Path) -> None:
    class Negative(layers.Layer):
        def call(self, x: Any) -> Any:
            return x + 1

        def get_config(self) -> dict[str, Any]:
            return {"name": self.name}

    inputs = keras.Input((3,))
    model = keras.Model(inputs, Negative()(layers.Dense(2)(inputs)))
    model.save(tmp_path / "own.h5")
    x = np.ones((1, 3), "float32")

    loaded = regraft.load_model(tmp_path / "own.h5", {"Negative": Negative})

    expected = model.predict(x, verbose=0)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)


@pytest.mark.parametrize("name", ["precision", "auc", "AUC", "mse", "hinge"])
def test_metric_under_any_name_that_keras_3_knows(name: str, tmp_path: Path) -> None:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(inputs))
    model.compile("sgd", "binary_crossentropy", metrics=[name])
    x = np.random.default_rng(0).random((8, 3), dtype="float32")
    y = (x[:, :1] > 0.5).astype("float32")
    expected = model.evaluate(x, y, verbose=0, return_dict=True)
    model.save(tmp_path / "metric.h5")

    loaded = regraft.load_model(tmp_path / "metric.h5")

    assert not regraft.load_report(loaded).notes
    found = loaded.evaluate(x, y, verbose=0, return_dict=True)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("factors", [(0.2, 0.3), ((0.1, 0.2), 0.4), (0.0, 0.1)])
def test_shear_whose_config_keras_refuses_itself(factors: Any, tmp_path: Path) -> None:
    layer = layers.RandomShear(*factors)
    with pytest.raises(TypeError, match="number"):
        layers.RandomShear.from_config(layer.get_config())
    keras.Sequential([keras.Input((4, 4, 3)), layer]).save(tmp_path / "m.h5")

    found = regraft.load_model(tmp_path / "m.h5").layers[0]

    assert type(found) is layers.RandomShear
    assert (found.x_factor, found.y_factor) == (layer.x_factor, layer.y_factor)
