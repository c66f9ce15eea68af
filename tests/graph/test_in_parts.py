"""Large batches run in parts where that changes nothing, and as in TensorFlow."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import regraft
from peer import Peer
from regraft.graph.runtime import in_parts

pytestmark = pytest.mark.peer

APART = {"network", "two_results"}
FUNCTIONS = (
    *("network", "two_results", "centred", "counted", "numbered", "turned"),
    *("transposed", "running", "pairs", "normal", "joined", "among_rows", "ordered"),
    *("beside_the_first", "shifted", "blocks", "flat", "sum", "without_rows"),
    "counting",
)


@pytest.fixture(scope="module")
def saved(peer: Peer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("large_batches") / "m"
    return path, peer.call("large_batches.save_functions", str(path))


@pytest.fixture
def decisions(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    found: list[bool] = []
    decide = in_parts._Pair.keeps_rows_apart

    def spy(self: Any, *forms: Any) -> bool:
        found.append(decide(self, *forms))
        return found[-1]

    monkeypatch.setattr(in_parts._Pair, "keeps_rows_apart", spy)
    return found


@pytest.mark.parametrize("name", FUNCTIONS)
def test_large_batch_is_computed_as_tensorflow_does(
    name: str, saved: Any, decisions: list[bool]
) -> None:
    path, theirs = saved
    function = getattr(regraft.load(path), name)
    found = keras.tree.flatten(function(theirs["images"]))
    assert len(found) == len(theirs[name])
    for one, expected in zip(found, theirs[name], strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-5, atol=1e-5)
    # What assigns isn't asked about.
    assert decisions == ([] if name == "counting" else [name in APART])


@pytest.mark.parametrize("rows", [16, 31, 32, 40])
def test_batch_that_parts_do_not_make_up_is_computed_whole(
    rows: int, saved: Any, decisions: list[bool]
) -> None:
    path, theirs = saved
    found = regraft.load(path).network(theirs["images"][:rows])
    np.testing.assert_allclose(found, theirs["network"][0][:rows], atol=1e-5)
    assert decisions == ([True] if rows == 32 else [])
