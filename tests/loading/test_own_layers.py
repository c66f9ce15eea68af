"""What only the code of a class says comes back from traces, or is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import regraft
from peer import Peer
from promises.checks import assert_same

pytestmark = pytest.mark.peer


def _saved(peer: Peer, case: str, path: Path, **keywords: Any) -> dict[str, Any]:
    return peer.call("own_layers.save", case, str(path), **keywords)


def _predicts(model: keras.Model, theirs: dict[str, Any]) -> None:
    found = model.predict(theirs["inputs"], verbose=0)
    np.testing.assert_allclose(found, theirs["outputs"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [0, 1, 4])
def test_array_that_grows_in_a_compiled_loop(
    size: int, tmp_path: Path, peer: Peer
) -> None:
    theirs = _saved(peer, "array_that_grows", tmp_path / "m", size=size)
    model = regraft.load_model(tmp_path / "m")
    _predicts(model, theirs)
    assert_same(model, theirs)


def test_list_that_a_compiled_loop_pushes_to(tmp_path: Path, peer: Peer) -> None:
    theirs = _saved(peer, "list_that_is_pushed_to", tmp_path / "m")
    model = regraft.load_model(tmp_path / "m")
    _predicts(model, theirs)
    assert_same(model, theirs)
