"""Configs in files of their own: `to_json()`, and HDF5 files without weights."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import regraft
from peer import Peer

LACKS = "weights: the file holds none; all keep their initial values"


@pytest.mark.peer
@pytest.mark.parametrize("name", ["model.json", "config.h5"])
def test_config_alone_takes_the_weights_of_another_file(
    name: str, tmp_path: Path, peer: Peer
) -> None:
    theirs = peer.call("topologies.save", str(tmp_path))
    model = regraft.load_model(tmp_path / name)
    assert [weight.shape for weight in model.get_weights()] == theirs["shapes"]
    assert LACKS in regraft.load_report(model).notes
    # Its own initializers filled them: gamma is one, and no two kernels are equal.
    again = regraft.load_model(tmp_path / name)
    kernels = [each.get_layer("dense").kernel.numpy() for each in (model, again)]
    assert kernels[0].std() > 0.1
    assert not np.array_equal(*kernels)
    assert (model.get_layer("batch_normalization").gamma.numpy() == 1).all()
    regraft.load_weights(model, tmp_path / "weights.h5")
    found = model.predict(theirs["inputs"], verbose=0)
    np.testing.assert_allclose(found, theirs["outputs"], atol=1e-6)


@pytest.mark.peer
def test_hdf5_without_weights_keeps_its_compile_arguments(
    tmp_path: Path, peer: Peer
) -> None:
    peer.call("topologies.save", str(tmp_path))
    model = regraft.load_model(tmp_path / "config.h5")
    assert type(model.optimizer).__name__ == "Adam"
    assert model.loss == "mse"
    assert model.optimizer.iterations == 0


def test_json_of_keras_3_is_in_its_words(tmp_path: Path) -> None:
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2, kernel_regularizer="l2")]
    )
    (tmp_path / "m.json").write_text(model.to_json())
    again = regraft.load_model(tmp_path / "m.json")
    assert again.get_config() == model.get_config()
    contents = regraft.inspect(tmp_path / "m.json")
    assert contents.format == "JSON"
    assert [layer.class_name for layer in contents.layers] == ["InputLayer", "Dense"]


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1}', "\x89HDF"])
def test_other_text_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(text)
    for call in (regraft.load_model, regraft.inspect):
        with pytest.raises(regraft.FormatError, match=r"m\.json"):
            call(path)


def test_missing_file_is_missed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        regraft.load_model(tmp_path / "m.json")


def test_files_without_weights_give_none(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    (tmp_path / "m.json").write_text(model.to_json())
    regraft.save_model(model, tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        del file["model_weights"]
    for name in ("m.json", "m.h5"):
        with pytest.raises(regraft.MismatchError, match="holds no weights"):
            regraft.load_weights(model, tmp_path / name)


def test_config_of_the_first_keras_opens(tmp_path: Path) -> None:
    layers = [
        {
            "class_name": "Dense",
            "config": {
                "name": "dense_1",
                "output_dim": 4,
                "init": "glorot_uniform",
                "batch_input_shape": [None, 3],
                "activation": "relu",
                "W_regularizer": None,
            },
        }
    ]
    config = {"class_name": "Sequential", "keras_version": "1.2.2", "config": layers}
    (tmp_path / "m.json").write_text(json.dumps(config))
    model = regraft.load_model(tmp_path / "m.json")
    assert model.get_layer("dense_1").kernel.shape == (3, 4)
