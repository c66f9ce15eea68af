"""Models that train with scales of float8 go on from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import regraft
from saving.kinds_of_files import save_as


@pytest.mark.filterwarnings("ignore:.*Keras 2 has no")
@pytest.mark.filterwarnings("ignore:.*isn't linear, so TensorFlow derives it")
@pytest.mark.parametrize("name", ["model", "keras2.h5", "keras3.h5", "Keras 3.h5"])
@pytest.mark.parametrize("later", [False, True])
def test_model_that_trains_in_float8_goes_on(
    later: bool, name: str, tmp_path: Path
) -> None:
    keras.utils.set_random_seed(0)
    policy: Any = "float32" if later else "float8_from_float32"
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(8, dtype=policy), layers.Dense(2)]
    )
    if later:
        model.layers[0].quantize("float8")
    model.compile(keras.optimizers.Adam(0.05), "mse")
    x = np.random.default_rng(0).random((8, 6), dtype="float32")
    y = np.zeros((8, 2), "float32")
    for _ in range(3):
        model.train_on_batch(x, y)

    loaded = regraft.load_model(save_as(model, name, tmp_path))

    assert not regraft.load_report(loaded).notes
    for _ in range(3):
        found = {v.path.split("/", 1)[-1]: v for v in loaded.variables}
        for variable in model.variables:
            other = found[variable.path.split("/", 1)[-1]]
            np.testing.assert_array_equal(other, variable, err_msg=variable.path)
        loaded.train_on_batch(x, y)
        model.train_on_batch(x, y)
