"""What residual blocks give is computed once, and as TensorFlow does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import regraft
from peer import Peer
from regraft.graph.runtime import compiled

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def saved(peer: Peer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("residuals") / "m"
    return path, peer.call("residual_blocks.save", str(path))


def moved_bytes(saved: Any, monkeypatch: pytest.MonkeyPatch) -> float:
    """Runs the network; returns how much memory XLA's code for it reads and writes."""
    path, theirs = saved
    counts = []
    run = compiled._called

    def spy(form: Any, tensors: Any, ctx: Any, plan: Any) -> Any:
        state = [ctx.read(variable) for variable in form.variables]
        code = form.call.lower(tensors, state).compile()
        counts.append(code.cost_analysis()["bytes accessed"])
        return run(form, tensors, ctx, plan)

    with monkeypatch.context() as patch:
        patch.setattr(compiled, "_called", spy)
        found = regraft.load(path).network(theirs["images"])
    np.testing.assert_allclose(found, theirs["outputs"], rtol=1e-5, atol=1e-5)
    return sum(counts)


def test_values_between_blocks_are_not_computed_again(
    saved: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = moved_bytes(saved, monkeypatch)
    monkeypatch.setattr(compiled, "with_residuals_kept", lambda plan: plan)
    assert once < moved_bytes(saved, monkeypatch)
