"""What a file asks for and nobody has is told by Regraft's own errors."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import regraft
from regraft.errors import FormatError


class Doubling(keras.layers.Layer):
    """A layer of the user's."""

    def call(self, x: Any) -> Any:
        return 2 * x


class Own(keras.Model):
    """A model of the user's."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.dense = keras.layers.Dense(2)

    def call(self, x: Any) -> Any:
        return self.dense(x)


class Refusing(Own):
    """One that can't be called on what the file describes."""

    def call(self, x: Any) -> Any:
        raise ValueError("No such input.")


def _network(path: Path) -> None:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, Doubling()(keras.layers.Dense(2)(inputs)))
    regraft.save_model(model, path, save_traces=False)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    model = Own()
    model(np.zeros((1, 3), "float32"))
    regraft.save_model(model, tmp_path / "own", save_traces=False)
    return tmp_path / "own"


def test_an_unknown_model_class_is_named(own: Path) -> None:
    with pytest.raises(regraft.UnknownNameError, match=r"Own.*custom_objects"):
        regraft.load_model(own)


def test_an_unknown_layer_class_is_named(tmp_path: Path) -> None:
    _network(tmp_path / "saved")
    with pytest.raises(regraft.UnknownNameError, match=r"Doubling.*custom_objects"):
        regraft.load_model(tmp_path / "saved")


def test_a_class_that_cannot_be_called_as_the_file_says(own: Path) -> None:
    with pytest.raises(regraft.MismatchError, match="Pass a class whose `call`"):
        regraft.load_model(own, custom_objects={"Own": Refusing})


@pytest.mark.parametrize("load", [regraft.load, regraft.load_model])
def test_a_saved_model_without_its_folder_of_values_says_so(
    load: Any, tmp_path: Path
) -> None:
    path = tmp_path / "model"
    regraft.save_model(
        keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), path
    )
    for file in (path / "variables").iterdir():
        shutil.move(file, path)
    message = r"Put variables\.data-00000-of-00001 and variables\.index.* into it"
    with pytest.raises(regraft.FormatError, match=message):
        load(path)
    for file in path.glob("variables.*"):
        file.unlink()
    with pytest.raises(regraft.FormatError, match="copy it with all its folders"):
        load(path)
    load(path, options=regraft.LoadOptions(experimental_skip_checkpoint=True))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (b'"dtype": "float32"', b'"dtype": "float33"'),
        (b'"units": 2', b'"units": -2'),
        (b'"activation": "linear"', b'"activation": "nothing"'),
    ],
)
def test_values_that_keras_refuses_make_no_plain_error(
    right: bytes, wrong: bytes, tmp_path: Path
) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    regraft.save_model(model, tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        del file.attrs["regraft"]
        said = file.attrs["model_config"].encode()
        assert right in said
        file.attrs["model_config"] = said.replace(right, wrong)
    with pytest.raises(regraft.RegraftError):
        regraft.load_model(tmp_path / "model.h5")


def test_the_errors_are_what_keras_promises() -> None:
    assert issubclass(regraft.UnknownNameError, ValueError)
    assert issubclass(regraft.UnknownNameError, regraft.RegraftError)


def test_errors_hold_no_codes_for_terminals() -> None:
    text = "Exception when calling \x1b[1mDense.call()\x1b[0m"
    error = FormatError(f"Can't be built: {text}", path="m.h5")
    assert str(error).startswith("Can't be built: Exception when calling Dense.call().")
