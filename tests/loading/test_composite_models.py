"""Keras models over ragged and sparse inputs, whose functions the file holds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import regraft
from peer import Peer
from regraft.errors import MismatchError
from regraft.graph import ir
from regraft.graph.runtime import composites
from regraft.model.keras2.composite_rows import composite_rows

Y = np.array([[1.0], [0.0], [2.0]], "float32")
WORDS = (
    np.array([[0, 0], [0, 2], [1, 0], [2, 1]]),
    np.array([b"one", b"two", b"four", b"three"], object),
    np.array([3, 3]),
)
NUMBERS = (
    np.array([[0, 0], [0, 1], [1, 1], [2, 0]]),
    np.array([1, 2, 3, 2]),
    np.array([3, 2]),
)
GIVEN: dict[str, Any] = {
    "ragged": {"ids": [[1, 2, 3], [4], [5, 6]]},
    "deep": [[[[1, 2], [3, 4]], [[5, 0]]], [[[6, 1]]], [[[2, 2]], [[1, 7], [0, 1]]]],
    "sparse": {
        "words": WORDS,
        "numbers": np.array([[1, 2], [3, 4], [5, 6]], "float32"),
    },
    "counted": NUMBERS,
    "looked_up": NUMBERS,
    "subclassed": (
        np.array([[0, 3], [1, 1], [2, 0]]),
        np.array([1, 2, 3], "float32"),
        np.array([3, 4]),
    ),
}


@pytest.mark.peer
@pytest.mark.parametrize("kind", GIVEN)
def test_model_over_composite_inputs(kind: str, peer: Peer, tmp_path: Path) -> None:
    """Promises 31 and 53: it predicts, in batches too, trains, and is saved again."""
    x = GIVEN[kind]
    theirs = peer.call("composite_models.save", tmp_path / "m", kind, given=x, y=Y)
    model = regraft.load_model(tmp_path / "m")
    (note,) = [n for n in regraft.load_report(model).notes if "step by step" in n]
    assert "take sparse or ragged tensors" in note
    for found in (
        model(x),
        model.predict(x, verbose=0),
        model.predict(x, batch_size=2, verbose=0),
    ):
        np.testing.assert_allclose(found, theirs["out"], atol=1e-5)
    regraft.save_model(model, tmp_path / "again")
    again = regraft.load_model(tmp_path / "again")
    np.testing.assert_allclose(again(x), theirs["out"], atol=1e-5)
    for found in peer.call(
        "composite_models.call", tmp_path / "again", kind, x
    ).values():
        np.testing.assert_allclose(found, theirs["out"], atol=1e-5)
    for one in (model, again):
        one.train_on_batch(x, Y)
        np.testing.assert_allclose(one(x), theirs["next"], atol=1e-5)
    history = model.fit(x, Y, batch_size=2, validation_data=(x, Y), verbose=0).history
    assert all(np.isfinite(losses).all() for losses in history.values())
    model.fit(x, Y, validation_split=0.4, verbose=0)


def _ragged(rank: int, dtype: str, *inner: int) -> ir.TypeSpec:
    shape = ir.TensorShape((*[None] * (rank + 1), *inner))
    int64 = ir.DataType.of("int64")
    return composites.ragged_spec(shape, ir.DataType.of(dtype), rank, int64)


ROWS = [[1, 2, 3], [], [5, 6]]
PARTS = (np.array([1, 2, 3, 5, 6]), np.array([0, 3, 3, 5]))


@pytest.mark.parametrize(
    "value",
    [
        ROWS,
        PARTS,
        [np.array(row, "int32") for row in ROWS],
        SimpleNamespace(flat_values=PARTS[0], nested_row_splits=(PARTS[1],)),
        composites.RaggedTensor(PARTS[0], (PARTS[1],)),
    ],
    ids=["lists", "parts", "arrays", "object", "result"],
)
def test_forms_of_a_ragged_tensor_and_its_rows(value: Any) -> None:
    found = composite_rows(_ragged(1, "int64"), value, "x")
    assert (len(found), found.shape) == (3, (3, None))
    for rows in (slice(1, 3), np.array([2, 0]), np.array([1])):
        flat, splits = found[rows].parts
        expected = [ROWS[i] for i in np.arange(3)[rows]]
        assert [p.tolist() for p in np.split(flat, splits[1:-1])] == expected
        assert (splits[0], splits[-1]) == (0, len(flat))


def test_rows_of_deep_text() -> None:
    value = [[["a", "b"], []], [["c"]], []]
    found = composite_rows(_ragged(2, "string"), value, "x")[np.array([1, 0])]
    flat, outer, inner = found.parts
    assert flat.tolist() == [b"c", b"a", b"b"]
    assert (outer.tolist(), inner.tolist()) == ([0, 1, 3], [0, 1, 3, 3])
    empty = composite_rows(_ragged(1, "float32", 2), [[], []], "x")
    assert empty.parts[0].shape == (0, 2)


@pytest.mark.parametrize("rows", [slice(1, 3), np.array([2, 0]), np.array([1, 1])])
def test_rows_of_a_sparse_tensor(rows: Any) -> None:
    dense = np.array([[0, 1, 0], [2, 0, 3], [0, 0, 4]], "float32")
    spec = composites.sparse_spec(ir.TensorShape((None, 3)), ir.DataType.of("float32"))
    found = composite_rows(spec, scipy.sparse.csr_matrix(dense), "x")[rows]
    indices, values, shape = found.parts
    back = np.zeros(shape, "float32")
    back[tuple(indices.T)] = values
    np.testing.assert_array_equal(back, dense[rows])


SPARSE = composites.sparse_spec(ir.TensorShape((None, 3)), ir.DataType.of("float32"))


@pytest.mark.parametrize(
    ("spec", "value", "message"),
    [
        (_ragged(1, "int64"), np.float32(1), "takes a ragged int64"),
        (_ragged(1, "int64"), [1, 2], "lists of rows, each a list"),
        (_ragged(1, "int64"), [["a"]], "takes numbers"),
        (_ragged(1, "string"), [[1]], "takes text"),
        (_ragged(1, "int64"), (np.arange(3), np.array([0, 2])), "row splits"),
        (_ragged(1, "int64"), (np.arange(3), np.array([0, 4, 3])), "row splits"),
        (_ragged(1, "int64"), (np.arange(3), np.array([[0, 3]])), "number of axes"),
        (SPARSE, "text", "indices, values and dense shape"),
        (SPARSE, ([[0, 3]], np.ones(1, "f"), [2, 3]), "outside"),
        (SPARSE, ([[1, 0], [0, 0]], np.ones(2, "f"), [2, 3]), "not in order"),
        (SPARSE, ([[0, 0]], np.ones(1, "f"), [2, 4]), "dense shape"),
    ],
)
def test_what_is_no_value_of_an_input_is_refused(
    spec: ir.TypeSpec, value: Any, message: str
) -> None:
    with pytest.raises(MismatchError, match=message):
        composite_rows(spec, value, "x")
