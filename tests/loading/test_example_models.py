"""Models as the examples of Keras' documentation build them, without their classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import regraft
from peer import Peer
from promises.checks import again, assert_same

pytestmark = pytest.mark.peer


def _saved(peer: Peer, case: str, path: Path, **keywords: Any) -> dict[str, Any]:
    return peer.call("example_models.save", case, str(path), **keywords)


@pytest.mark.parametrize(
    ("loss", "arguments", "save_format"),
    [
        ("Huber", {"delta": 0.3}, "tf"),
        ("LogCosh", {}, "h5"),
        ("MeanSquaredError", {}, "h5"),
        ("Poisson", {"reduction": "sum"}, "tf"),
    ],
)
def test_loss_of_masked_sequences_is_saved_again(
    loss: str,
    arguments: dict[str, Any],
    save_format: str,
    tmp_path: Path,
    peer: Peer,
) -> None:
    ending = ".h5" if save_format == "h5" else ""
    path = tmp_path / f"m{ending}"
    keywords = {"loss": loss, "save_format": save_format, **arguments}
    theirs = _saved(peer, "masked_sequences", path, **keywords)
    model = regraft.load_model(path)
    assert_same(again(model, tmp_path / f"again{ending}"), theirs)
    assert_same(model, theirs)
