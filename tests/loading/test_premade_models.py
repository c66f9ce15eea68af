"""Models that Keras 2 has ready-made, saved again, as tf_keras opens them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import regraft
from peer import Peer
from promises.checks import Found, again, assert_same_outputs

pytestmark = pytest.mark.peer


def _saved(peer: Peer, case: str, path: Path, **keywords: Any) -> Found:
    return peer.call("premade_models.save", case, str(path), **keywords)


def _assert_tf_keras_opens(peer: Peer, path: Path, theirs: Found) -> None:
    """It predicts, and takes the next step, as the first model did."""
    found = peer.call(
        *("keras_models.load_predict_train", str(path), theirs["inputs"]),
        [theirs["batch"]],
    )
    (outputs,) = found["predictions"]
    np.testing.assert_allclose(outputs, theirs["outputs"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["losses"], [theirs["loss"]], rtol=1e-5)


@pytest.mark.parametrize("functional", [False, True])
def test_networks_in_a_wide_and_deep_model_are_in_keras_2s_words(
    functional: bool, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(
        *(peer, "wide_and_deep_of_networks", tmp_path / "m.h5"),
        save_format="h5",
        functional=functional,
    )
    path = tmp_path / "again.h5"
    saved = again(regraft.load_model(tmp_path / "m.h5"), path)
    assert_same_outputs(saved, theirs, training=False)
    _assert_tf_keras_opens(peer, path, theirs)
    with h5py.File(path, "a") as file:  # Keras 3's words
        del file.attrs["regraft"]
    model = regraft.load_model(path)
    assert_same_outputs(model, theirs, training=False)
    loss = np.ravel(model.train_on_batch(*theirs["batch"]))[0]
    np.testing.assert_allclose(loss, theirs["loss"], rtol=1e-5)
