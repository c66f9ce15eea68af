"""Cells that Keras 2 had: their configs, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import regraft
from regraft.errors import UnsupportedError
from regraft.model.dialects.context import BuildContext
from regraft.model.dialects.dialect import KERAS_2
from regraft.model.dialects.topology import build_layer
from regraft.model.keras2 import layers_cells as cells


def _model(cell: keras.layers.Layer) -> keras.Model:
    inputs = keras.Input((4, 3))
    return keras.Model(inputs, keras.layers.RNN(cell)(inputs))


def _inputs() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).uniform(-1, 1, (2, 4, 3)).astype("float32")


@pytest.mark.parametrize("form", ["model", "model.h5", "model.keras"])
@pytest.mark.parametrize(
    "cell",
    [
        lambda: cells.PeepholeLSTMCell(2, dropout=0.3, recurrent_dropout=0.2),
        lambda: cells.ResidualWrapper(keras.layers.GRUCell(3)),
        lambda: cells.DeviceWrapper(keras.layers.GRUCell(2), "/cpu:0"),
        lambda: cells.DropoutWrapper(cells.PeepholeLSTMCell(2, use_bias=False)),
    ],
    ids=["peephole", "residual", "device", "dropout"],
)
def test_cell_comes_back_with_its_weights(cell: Any, form: str, tmp_path: Path) -> None:
    model = _model(cell())
    regraft.save_model(model, tmp_path / form)
    again = regraft.load_model(tmp_path / form)
    assert type(again.layers[1].cell) is type(model.layers[1].cell)
    np.testing.assert_array_equal(
        again.predict(_inputs(), verbose=0), model.predict(_inputs(), verbose=0)
    )


def test_words_are_those_of_keras_2(tmp_path: Path) -> None:
    model = _model(cells.ResidualWrapper(cells.PeepholeLSTMCell(3)))
    regraft.save_model(model, tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5") as file:
        entry = json.loads(file.attrs["model_config"])["config"]["layers"][1]
    outer = entry["config"]["cell"]
    inner = outer["config"]["cell"]
    assert outer["class_name"] == "ResidualWrapper"
    assert inner["class_name"] == "PeepholeLSTMCell"
    assert "seed" not in inner["config"]


def test_cell_that_drops_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="output_keep_prob"):
        cells.DropoutWrapper(keras.layers.GRUCell(2), output_keep_prob=0.5)


def test_function_of_a_wrapper_is_refused() -> None:
    cell = {"class_name": "GRUCell", "config": {"units": 3}}
    config = {"cell": cell, "residual_fn": "own", "residual_fn_type": "function"}
    entry = {"class_name": "ResidualWrapper", "config": config}
    with pytest.raises(UnsupportedError, match="residual_fn"):
        build_layer(entry, BuildContext(KERAS_2))
