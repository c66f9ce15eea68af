"""Checkpoints that `save_weights` of Keras 2 wrote, and weights that aren't one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import regraft
from peer import Peer
from regraft.weights import load_weights

INPUTS = (np.arange(24) % 9).reshape(4, 6).astype("int32")


def test_checkpoint_gives_a_model_its_weights(peer: Peer, tmp_path: Path) -> None:
    prefix, file = tmp_path / "weights", tmp_path / "model.h5"
    expected = peer.call("keras_models.save_checkpoint", str(prefix), str(file), INPUTS)
    model = regraft.load_model(file)
    model.set_weights([weight * 0 for weight in model.get_weights()])
    load_weights(model, prefix)
    np.testing.assert_allclose(model(INPUTS), expected, rtol=1e-5, atol=1e-6)


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
    np.testing.assert_allclose(again(INPUTS), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model(INPUTS), expected, rtol=1e-5, atol=1e-6)
