"""What models without symbolic inputs are called with, and accept."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops

import regraft
from interop.examples import make_example
from interop.models import Row
from interop.readers import COLUMNS, peers, read
from regraft.saving.trace_inputs import model_inputs


class Towers(keras.Model):
    """Ids and numbers by name."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.items = L.Embedding(9, 3)
        self.dense = L.Dense(2)

    def call(self, inputs, training=None):
        return self.dense(self.items(inputs["item"])) * inputs["weight"][:, None]


class Pair(keras.Model):
    """A list of inputs."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.towers = [L.Dense(3, activation="relu"), L.Dense(3)]

    def call(self, inputs, training=None):
        left, right = inputs
        return ops.concatenate([self.towers[0](left), self.towers[1](right)], axis=-1)


def _towers():
    model = Towers()
    rng = np.random.default_rng(0)
    given = {
        "item": rng.integers(0, 9, (4,)).astype("int32"),
        "weight": rng.normal(size=(4,)).astype("float32"),
    }
    model(given)
    return model, given, given


def _pair():
    model = Pair()
    rng = np.random.default_rng(0)
    given = [rng.normal(size=(4, n)).astype("float32") for n in (3, 5)]
    model(given)
    return model, dict(zip(("input_1", "input_2"), given, strict=True)), given


def test_ids_of_a_subclassed_model_are_integers():
    model, _, _ = _towers()
    dtypes = {name: tensor.dtype for name, tensor in model_inputs(model).items()}
    assert dtypes == {"item": "int32", "weight": "float32"}


@pytest.mark.peer
@pytest.mark.parametrize("make", [_towers, _pair])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_tensorflow_and_tf_keras_take_what_the_model_takes(make, tmp_path):
    model, inputs, given = make()
    example = make_example(Row("", lambda: (model, inputs, given)), tmp_path)
    with peers() as ask:
        for reader in ("saved_model", "regraft", "tf_keras"):
            if reader == "tf_keras" and isinstance(given, list):
                # What its `fit` and `predict` make of a list.
                example.given = tuple(given)
            for column, cell in read(reader, example, ask).items():
                assert cell.holds(1e-5 * COLUMNS[column]), (column, cell)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_quantized_model_comes_back_from_its_configuration(tmp_path):
    tokens = keras.Input((6,), dtype="int32")
    x = L.Dense(8, activation="relu")(L.Embedding(20, 8)(tokens))
    model = keras.Model(tokens, L.Dense(3)(L.Flatten()(x)))
    with pytest.warns(UserWarning, match="does not have a `quantize` method"):
        model.quantize("int8")
    with pytest.warns(UserWarning, match="Keras 2 has no quant"):
        regraft.save_model(model, tmp_path / "model")
    again = regraft.load_model(tmp_path / "model")
    given = np.random.default_rng(0).integers(0, 20, (4, 6)).astype("int32")
    np.testing.assert_array_equal(model(given), again(given))
    config = again.layers[2].quantization_config
    assert config.activation_quantizer.output_dtype == "int8"
