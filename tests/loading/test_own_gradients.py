"""Gradients that a file's author wrote, on each backend that trains."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import regraft
from peer import Peer


@pytest.mark.peer
@pytest.mark.parametrize("kind", ["reversal", "straight_through", "captured"])
def test_step_is_taken_along_the_gradients_of_the_file(
    kind: str, tmp_path: Path, peer: Peer
) -> None:
    path = tmp_path / "m"
    theirs = peer.call(
        *("example_models.save", "gradient_of_its_own", str(path)), kind=kind
    )
    model = regraft.load_model(path)
    loss = np.ravel(model.train_on_batch(*theirs["batch"]))[0]
    np.testing.assert_allclose(loss, theirs["loss"], rtol=1e-5)
    for variable, expected in zip(model.weights, theirs["after"], strict=True):
        found = keras.ops.convert_to_numpy(variable)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
