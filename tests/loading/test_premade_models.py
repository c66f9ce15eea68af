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
    found = peer.call("premade_models.reopen", path, theirs["inputs"], theirs["batch"])
    np.testing.assert_allclose(
        found["outputs"], theirs["outputs"], rtol=1e-5, atol=1e-6
    )
    losses = found["evaluated"], found["loss"]
    np.testing.assert_allclose(losses, theirs["loss"], rtol=1e-5)


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


@pytest.mark.parametrize(
    ("case", "keywords"),
    [
        ("linear_over_a_sparse_tensor", {}),
        ("linear_over_a_sparse_tensor", {"regularizer": "l2"}),
        ("wide_and_deep_over_text", {}),
    ],
)
def test_models_over_text_and_sparse_tensors_are_opened_when_saved_again(
    case: str, keywords: dict[str, Any], tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, case, tmp_path / "m", **keywords)
    saved = again(regraft.load_model(tmp_path / "m"), tmp_path / "again")
    regraft.save_model(saved, tmp_path / "third")
    for name in ("m", "again", "third"):
        outputs = regraft.load_model(tmp_path / name)(theirs["inputs"])
        np.testing.assert_allclose(outputs, theirs["outputs"], rtol=1e-5, atol=1e-6)
        _assert_tf_keras_opens(peer, tmp_path / name, theirs)
