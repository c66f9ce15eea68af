"""Models of own classes and at kinks, where libraries choose a gradient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import regraft
from peer import Peer
from promises.checks import assert_same

pytestmark = pytest.mark.peer


def _saved(peer: Peer, case: str, path: Path, **keywords: Any) -> dict[str, Any]:
    return peer.call("own_models.save", case, str(path), **keywords)


@pytest.mark.parametrize(
    ("case", "save_format"),
    [
        ("kinks_in_a_layer", "tf"),
        ("kinks_in_operations", "tf"),
        ("kinks_in_operations", "h5"),
        ("kink_of_leaky_units", "tf"),
        ("kink_of_leaky_units", "h5"),
    ],
)
def test_model_computes_and_steps_as_it_did(
    case: str, save_format: str, tmp_path: Path, peer: Peer
) -> None:
    path = tmp_path / ("m.h5" if save_format == "h5" else "m")
    theirs = _saved(peer, case, path, save_format=save_format)
    assert_same(regraft.load_model(path), theirs)


@pytest.mark.parametrize(
    "loss", ["mae", "MAPE", "cosine_similarity", "mean_absolute_error", "hinge"]
)
def test_loss_where_an_output_is_right_has_tensorflows_gradient(
    loss: str, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "outputs_that_are_right", tmp_path / "m", loss=loss)
    assert_same(regraft.load_model(tmp_path / "m"), theirs)
