"""Checkpoints that `save_weights` of Keras 2 wrote, and weights that aren't one."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import regraft
from peer import Peer
from peer.functions import weight_files
from regraft.errors import MismatchError
from regraft.storage.hdf5_file import is_hdf5_file, is_keras3_weights_file
from regraft.weights import load_weights

INPUTS = (np.arange(24) % 9).reshape(4, 6).astype("int32")


def test_checkpoint_gives_a_model_its_weights(peer: Peer, tmp_path: Path) -> None:
    prefix, file = tmp_path / "weights", tmp_path / "model.h5"
    expected = peer.call("keras_models.save_checkpoint", str(prefix), str(file), INPUTS)
    model = regraft.load_model(file)
    model.set_weights([weight * 0 for weight in model.get_weights()])
    load_weights(model, prefix)
    np.testing.assert_allclose(
        model.predict(INPUTS, verbose=0), expected, rtol=1e-5, atol=1e-6
    )


def test_keras_own_method_reads_a_checkpoint(peer: Peer, tmp_path: Path) -> None:
    """Promise 72: `load_weights` takes a pathlib prefix of a checkpoint, and HDF5."""
    prefix, file = tmp_path / "weights", tmp_path / "model.h5"
    expected = peer.call("keras_models.save_checkpoint", str(prefix), str(file), INPUTS)
    model = regraft.load_model(file)
    model.set_weights([weight * 0 for weight in model.get_weights()])
    regraft.install()
    try:
        model.load_weights(prefix)
        again = regraft.load_model(file)
        again.set_weights([weight * 0 for weight in again.get_weights()])
        again.load_weights(file)
    finally:
        regraft.uninstall()
    np.testing.assert_allclose(
        again.predict(INPUTS, verbose=0), expected, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        model.predict(INPUTS, verbose=0), expected, rtol=1e-5, atol=1e-6
    )


def _predicted(model: keras.Model) -> Any:
    return model.predict(weight_files.INPUTS, verbose=0)


@pytest.mark.parametrize("file", ["w.h5", "w"])
@pytest.mark.parametrize("name", weight_files.NAMES)
def test_weights_of_tf_keras_come_here(
    name: str, file: str, peer: Peer, tmp_path: Path
) -> None:
    """Also those of a subclass, some of whose networks are in others of its."""
    expected, following = peer.call("weight_files.save", name, str(tmp_path))
    model = weight_files.build(keras, name)
    regraft.load_weights(model, tmp_path / file)
    np.testing.assert_allclose(_predicted(model), expected, rtol=1e-5, atol=1e-6)
    if file == "w":  # A checkpoint has the optimizer's state, too.
        model.train_on_batch(weight_files.INPUTS, weight_files.TARGETS)
        np.testing.assert_allclose(_predicted(model), following, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("file", ["w.h5", "w"])
@pytest.mark.parametrize("name", weight_files.NAMES)
def test_weights_saved_here_go_to_tf_keras(
    name: str, file: str, peer: Peer, tmp_path: Path
) -> None:
    model = weight_files.build(keras, name)
    model.fit(weight_files.INPUTS, weight_files.TARGETS, epochs=3, verbose=0)
    regraft.save_weights(model, tmp_path / file)
    got, following = peer.call("weight_files.load", name, str(tmp_path / file))
    np.testing.assert_allclose(got, _predicted(model), rtol=1e-5, atol=1e-6)
    if file == "w":  # A checkpoint has the optimizer's state, too.
        model.train_on_batch(weight_files.INPUTS, weight_files.TARGETS)
        np.testing.assert_allclose(following, _predicted(model), rtol=1e-4, atol=1e-5)


class WithoutConfig(keras.Layer):
    """Its argument is in no config."""

    def __init__(self, units: int) -> None:
        super().__init__(name="without_config")
        self.inner = keras.layers.Dense(units, name="inner")

    def call(self, inputs: Any) -> Any:
        return self.inner(inputs)


def _small(*, seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    own = WithoutConfig(2)
    return keras.Sequential([keras.Input((4,)), own, keras.layers.Dense(2)])


class Around(keras.Model):
    def __init__(self, seed: int) -> None:
        super().__init__()
        keras.utils.set_random_seed(seed)
        self.own = WithoutConfig(2)

    def call(self, inputs: Any) -> Any:
        return self.own(inputs)


@pytest.mark.parametrize("save_format", ["tf", "h5"])
def test_weights_of_layers_without_config_are_saved(
    save_format: str, tmp_path: Path
) -> None:
    for name, model, other in (
        ("network", _small(), _small(seed=1)),
        ("subclass", Around(0), Around(1)),
    ):
        expected, _ = _predicted(model), _predicted(other)
        path = tmp_path / "new" / name
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            regraft.save_weights(model, path, save_format=save_format)
        regraft.load_weights(other, path)
        np.testing.assert_array_equal(_predicted(other), expected)


def test_methods_of_keras_save_weights_as_keras_2_did(tmp_path: Path) -> None:
    model, other = _small(), _small(seed=1)
    regraft.install()
    try:
        model.save_weights(tmp_path / "w")
        model.save_weights(tmp_path / "w.hdf5")
        model.save_weights(tmp_path / "asked", save_format="h5")
        model.save_weights(tmp_path / "own.weights.h5")
        other.load_weights(tmp_path / "w")
    finally:
        regraft.uninstall()
    np.testing.assert_array_equal(_predicted(other), _predicted(model))
    assert is_keras3_weights_file(tmp_path / "own.weights.h5")
    for name in ("w.hdf5", "asked"):
        assert is_hdf5_file(tmp_path / name)
        assert not is_keras3_weights_file(tmp_path / name)


def test_a_checkpoint_is_replaced_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, other = _small(), _small(seed=1)
    regraft.save_weights(model, tmp_path / "w")
    monkeypatch.setattr("builtins.input", lambda _: "n")
    regraft.save_weights(other, tmp_path / "w", overwrite=False)
    found = _small(seed=2)
    regraft.load_weights(found, tmp_path / "w")
    np.testing.assert_array_equal(_predicted(found), _predicted(model))
    monkeypatch.setattr("builtins.input", lambda _: "y")
    regraft.save_weights(other, tmp_path / "w", overwrite=False)
    regraft.load_weights(found, tmp_path / "w")
    np.testing.assert_array_equal(_predicted(found), _predicted(other))


def test_what_no_weights_file_can_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'tf' or 'h5'"):
        regraft.save_weights(_small(), tmp_path / "w", save_format="keras")
    with pytest.raises(ValueError, match="Leave the ending out"):
        regraft.save_weights(_small(), tmp_path / "w.h5", save_format="tf")
    with pytest.raises(ValueError, match="not been built"):
        regraft.save_weights(keras.Sequential([keras.layers.Dense(2)]), tmp_path / "w")

    class Twice(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.parts = [keras.layers.Dense(4, name="same") for _ in range(2)]

        def call(self, inputs: Any) -> Any:
            return self.parts[1](self.parts[0](inputs))

    twice = Twice()
    twice(weight_files.INPUTS)
    with pytest.raises(ValueError, match="Two layers are named 'same'"):
        regraft.save_weights(twice, tmp_path / "w.h5")
    assert list(tmp_path.iterdir()) == []


def test_progress_of_a_checkpoint_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    options = regraft.SaveOptions(progress=lambda *step: told.append(step))
    regraft.save_weights(_small(), tmp_path / "w", options=options)
    assert told[-1][1] == told[-1][2] > 0


def test_an_optimizer_without_its_weights_keeps_its_state(tmp_path: Path) -> None:
    model = weight_files.build(keras, "network")
    model.fit(weight_files.INPUTS, weight_files.TARGETS, verbose=0)
    regraft.save_weights(model, tmp_path / "w")
    more = keras.Sequential([model, keras.layers.Dense(2, name="new")])
    more.compile("adam", "mse")
    more.build((None, 4))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        regraft.load_weights(more, tmp_path / "w", skip_mismatch=True)
    assert "keeps its state" in str(told[-1].message)
    assert int(more.optimizer.iterations) == 0


def test_a_model_is_found_in_a_checkpoint_of_several_objects(
    peer: Peer, tmp_path: Path
) -> None:
    """`tf.train.Checkpoint(net=model, optimizer=…, step=…)`."""
    prefix, (expected, following) = peer.call(
        "weight_files.save_with_step", "network", str(tmp_path), other="counting"
    )
    model = weight_files.build(keras, "network")
    regraft.load_weights(model, prefix)
    np.testing.assert_allclose(_predicted(model), expected, rtol=1e-5, atol=1e-6)
    model.train_on_batch(weight_files.INPUTS, weight_files.TARGETS)
    np.testing.assert_allclose(_predicted(model), following, rtol=1e-4, atol=1e-5)


def test_a_name_decides_between_models_that_are_alike(
    peer: Peer, tmp_path: Path
) -> None:
    model = weight_files.build(keras, "functional")
    untrained = _predicted(model)
    for key in ("average", model.name):
        prefix, (trained, _) = peer.call(
            "weight_files.save_with_step",
            "functional",
            str(tmp_path),
            **{key: model.name},
        )
        if key == "average":
            with pytest.raises(MismatchError, match="functional': average, net"):
                regraft.load_weights(model, prefix)
    assert not np.allclose(trained, untrained)
    model.set_weights([weight * 0 for weight in model.get_weights()])
    regraft.load_weights(model, prefix)
    np.testing.assert_allclose(_predicted(model), untrained, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["w.h5", "folder/w"])
def test_weights_go_to_remote_places(name: str) -> None:
    model, other = _small(), _small(seed=1)
    regraft.save_weights(model, f"memory://weights/{name}")
    regraft.load_weights(other, f"memory://weights/{name}")
    np.testing.assert_array_equal(_predicted(other), _predicted(model))
