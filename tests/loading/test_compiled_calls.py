"""What `regraft.load` gives runs compiled, and as TensorFlow runs it.

Each call is made as often as it takes until nothing new is compiled, with states that
go on from call to call; then the same file is run step by step.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import regraft
from peer import Peer
from regraft.errors import MismatchError

X = np.array([[1.0, 2.0], [-3.0, 4.0], [0.5, -2.0]], "float32")
WORDS = np.array([b"A", b"b", b"z"], object)
WIDE = np.array([1 << 40, 5, (1 << 62) // 3], np.int64)
ARGUMENTS: dict[str, list[Any]] = {
    "dense": [X],
    "moving": [X],
    "masked": [X],
    "looped": [np.abs(X) * 4],
    "embedded": [WORDS],
    "labelled": [X],
    "counted": [WORDS],
    "wide": [WIDE],
    "double": [np.array([1.0, 1e9], "float64")],
    "guarded": [np.abs(X)],
    "branched": [X],
    "made": [X],
    "both": [X, WORDS],
    "constants": [X],
}
# Parts that are compiled, and parts that the host runs beside them.
SEGMENTS = {
    "dense": (1, 0),
    "moving": (1, 1),
    "masked": (2, 1),
    "embedded": (1, 1),
    "labelled": (1, 1),
    "counted": (0, 0),
    "wide": (0, 0),
    "double": (1, 1),
    "guarded": (1, 1),
    "branched": (1, 0),
    "looped": (1, 0),
    "made": (2, 1),
    "both": (2, 1),
    "constants": (1, 0),
}


def _calls() -> list[tuple[str, list[Any]]]:
    calls = [
        (name, list(arguments)) for name, arguments in ARGUMENTS.items() for _ in "123"
    ]
    # Other shapes and other values of the same shape.
    calls += [(name, [a[:2] for a in arguments]) for name, arguments in calls]
    return [*calls, ("branched", [-X * 9]), ("looped", [X * 0]), *calls]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: Any, peer: Peer) -> tuple[Path, list[Any]]:
    path = tmp_path_factory.mktemp("compiled") / "module"
    return path, peer.call("modules.save_many_functions", path, _calls())


def _flat(results: Any) -> Iterator[Any]:
    if isinstance(results, dict):
        for key in sorted(results):
            yield from _flat(results[key])
    elif isinstance(results, (list, tuple)):
        for item in results:
            yield from _flat(item)
    else:
        yield results


def _assert_calls_agree(path: Path, expected: list[Any]) -> Any:
    loaded = regraft.load(path)
    for (name, arguments), theirs in zip(_calls(), expected, strict=True):
        found = list(_flat(getattr(loaded, name)(*arguments)))
        assert len(found) == len(theirs)
        for one, other in zip(found, theirs, strict=True):
            one, other = np.asarray(one), np.asarray(other)
            assert one.shape == other.shape, name
            if other.dtype.kind not in "f":
                assert one.tolist() == other.tolist(), name
            else:
                np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
                assert other.dtype != "float64" or one.dtype == "float64"
    return loaded


@pytest.mark.peer
def test_compiled_calls_give_what_tensorflow_gives(saved: Any) -> None:
    loaded = _assert_calls_agree(*saved)
    found = {name: _segments(loaded, name) for name in SEGMENTS}
    assert found == SEGMENTS


@pytest.mark.peer
def test_calls_step_by_step_give_the_same(saved: Any) -> None:
    with jax.disable_jit():
        _assert_calls_agree(*saved)


def _segments(loaded: Any, name: str) -> tuple[int, int]:
    """How many compiled parts a function has by now, and how many the host runs."""
    trace = getattr(loaded, name).traces[0]
    return trace.compiled_parts()


@pytest.mark.peer
def test_checks_of_the_graph_hold_when_compiled(saved: Any) -> None:
    loaded = regraft.load(saved[0])
    for _ in range(3):
        loaded.guarded(np.abs(X))
        with pytest.raises(MismatchError, match="not positive"):
            loaded.guarded(X)


@pytest.mark.peer
def test_wrong_shapes_do_not_end_compiling(saved: Any) -> None:
    loaded = regraft.load(saved[0])
    with pytest.raises(MismatchError):
        loaded.dense(np.ones((2, 3), "float32"))
    loaded.dense(X)
    assert _segments(loaded, "dense") == (1, 0)


@pytest.mark.peer
def test_functions_are_differentiable_through_variables_and_inputs(saved: Any) -> None:
    loaded = regraft.load(saved[0])
    loaded.dense(X)
    found = jax.grad(lambda x: loaded.dense(x)["y"].sum())(jax.numpy.asarray(X))
    weight = np.array([[1.0, -2.0], [0.5, 3.0]])
    expected = (X @ weight > 0) @ weight.T
    np.testing.assert_allclose(found, expected, rtol=1e-6)
