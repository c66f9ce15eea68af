"""Signatures of TensorFlow 1 that take and give sparse and ragged tensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
import pytest
import scipy.sparse
from jax.experimental.sparse import BCOO

import regraft
from data import archive
from peer import Peer
from regraft.errors import MismatchError, UnsupportedError

ARCHIVE = Path(archive.__file__).parent / "tensorflow1" / "files.tar.xz"
PLACES = np.array([[0, 1], [0, 3], [2, 0]])


def _sparse(values: Any, rows: int = 3) -> tuple[Any, Any, Any]:
    return PLACES, np.array(values), np.array([rows, 4])


GIVEN = {
    "fixed": _sparse([1.5, -2.0, 0.5]),
    "rows": _sparse([3.0, 0.25, -1.0]),
    "free": _sparse([4, 5, 7], 6),
    "words": (np.array([b"a", b"bcd", b"e"], object), np.array([0, 1, 1, 3])),
    "deep": (np.ones((3, 2), "float32"), np.array([0, 1, 3]), np.array([0, 0, 1, 3])),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archive.unpack(ARCHIVE, tmp_path_factory.mktemp("tensorflow1"))


def _parts(value: Any) -> list[Any]:
    return [np.asarray(part) for part in keras.tree.flatten(value)]


@pytest.fixture(scope="module")
def sixteen(files: Path) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Of TensorFlow 1.15: the model, what to give it, what it gives."""
    with np.load(files / "composites.npz") as found:
        arrays = dict(found)
    given: dict[str, Any] = {"ragged": (arrays["flat"], arrays["splits"])}
    for name in ("fixed", "rows", "free"):
        names = ("indices", "values", "shape")
        given[name] = tuple(arrays[f"in/{name}/{part}"] for part in names)
    expected: dict[str, list[Any]] = {}
    for name in sorted(n for n in arrays if n.startswith("out/")):
        expected.setdefault(name.split("/")[1], []).append(arrays[name])
    return regraft.load(files / "composites"), given, expected


def _check(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert set(found) == set(expected)
    for name, value in found.items():
        for ours, theirs in zip(_parts(value), expected[name], strict=True):
            if theirs.dtype.kind in "OS":
                assert ours.tolist() == theirs.tolist()
            else:
                np.testing.assert_allclose(ours, theirs, rtol=1e-5, err_msg=name)


def test_sparse_and_ragged_inputs_of_tensorflow_1_15(sixteen: Any) -> None:
    model, given, expected = sixteen
    found = model.signatures["serving_default"](given)
    _check(found, expected)
    assert found["total"]._fields == ("indices", "values", "dense_shape")
    # What came out goes in again.
    again = model.signatures["serving_default"]({**given, "rows": found["total"]})
    assert not np.array_equal(again["product"], found["product"])


FORMS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "lists": lambda i, v, s: [i.tolist(), v.tolist(), s.tolist()],
    "coo": lambda i, v, s: scipy.sparse.coo_matrix((v, i.T), s),
    "csc": lambda i, v, s: scipy.sparse.csc_matrix((v, i.T), s),
    "array": lambda i, v, s: scipy.sparse.csr_array((v, i.T), s),
    # Entries that repeat add up.
    "twice": lambda i, v, s: scipy.sparse.coo_matrix(
        (np.concatenate([v, v]) / 2, np.concatenate([i, i]).T), s
    ),
    "bcoo": lambda i, v, s: BCOO((v, i), shape=tuple(s.tolist())),
    # JAX fills up with entries that lie outside.
    "padded": lambda i, v, s: BCOO.fromdense(
        scipy.sparse.coo_matrix((v, i.T), s).todense(), nse=9
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_a_sparse_tensor(sixteen: Any, form: str) -> None:
    model, given, expected = sixteen
    rows = FORMS[form](*given["rows"])
    _check(model.signatures["serving_default"]({**given, "rows": rows}), expected)


def test_sparse_values_are_traced_and_differentiated(sixteen: Any) -> None:
    model, given, expected = sixteen
    call = model.signatures["serving_default"]
    indices, values, shape = given["rows"]

    def product(values: Any) -> Any:
        return call({**given, "rows": (indices, values, shape)})["product"]

    np.testing.assert_allclose(
        jax.jit(product)(values), expected["product"][0], rtol=1e-5
    )
    slope = jax.grad(lambda v: product(v).sum())(values)
    (w,) = [v for v in model.variables if v.shape == (5, 3)]
    np.testing.assert_allclose(
        slope, np.asarray(w).sum(axis=1)[indices[:, 1]], rtol=1e-5
    )
    assert np.abs(slope).max() > 0


@pytest.mark.parametrize(
    ("name", "wrong", "words"),
    [
        ("rows", np.zeros((4, 5), "float32"), r"expected sparse float32\(\?, \?\)"),
        ("rows", (np.zeros((1, 2), int), np.zeros(2, "f"), [4, 5]), "1 indices for 2"),
        ("rows", (np.zeros((1, 2), int), np.zeros(1, "f"), [4, 5, 6]), "dense_shape"),
        ("rows", (np.zeros((1, 2), "f"), np.zeros(1, "f"), [4, 5]), "rows'].indices"),
        ("free", (np.zeros((1, 2), int), np.zeros(1, "f"), [4, 5]), "free'].values"),
        ("free", (np.zeros((1, 2), int), [b"a"], [4, 5, 6]), "rank 2 for 3 axes"),
        ("fixed", (np.zeros((1, 2), int), np.zeros(1, "f"), [5, 5]), r"\(5, 5\)"),
        ("rows", (np.zeros((1, 2), int), np.zeros(1, "f"), [4, 6]), "6 columns"),
        ("ragged", np.zeros(3, "float32"), "expected ragged float32"),
        ("ragged", (np.zeros(3, "f"), np.zeros(2, "f")), "row_splits_0"),
    ],
)
def test_what_does_not_fit_is_told(
    sixteen: Any, name: str, wrong: Any, words: str
) -> None:
    model, given, _ = sixteen
    with pytest.raises(MismatchError, match=words):
        model.signatures["serving_default"]({**given, name: wrong})


def test_indices_that_must_be_known_are_asked_for(sixteen: Any) -> None:
    model, given, _ = sixteen
    indices, values, shape = given["rows"]
    call = jax.jit(
        lambda i: model.signatures["serving_default"](
            {**given, "rows": (i, values, shape)}
        )["turned"]
    )
    with pytest.raises(UnsupportedError, match="outside of jit"):
        call(indices)


def test_layer_over_sparse_inputs(sixteen: Any) -> None:
    model, given, expected = sixteen
    _check(model.as_layer()(given), expected)


def test_estimator_takes_features_themselves(files: Path) -> None:
    with np.load(files / "raw_estimator.npz") as found:
        arrays = dict(found)
    model = regraft.load(files / "raw_estimator")
    given = {"num": arrays.pop("in/num"), "ids": arrays.pop("in/ids")}
    parts = [arrays.pop(f"in/cat/{part}") for part in ("indices", "values", "shape")]
    given["cat"] = tuple(parts)
    assert {name.split("/")[0] for name in arrays} == set(model.signatures)
    for name, signature in model.signatures.items():
        expected = {
            key.split("/")[1]: [value]
            for key, value in arrays.items()
            if key.startswith(f"{name}/")
        }
        _check(signature(given), expected)


def test_what_a_file_holds_says_which_tensors_are_sparse(files: Path) -> None:
    (signature,) = regraft.inspect(files / "composites").signatures
    found = {t.name: (t.form, t.dtype, t.shape) for t in signature.inputs}
    assert found == {
        "fixed": ("sparse", "float32", (4, 5)),
        "rows": ("sparse", "float32", (None, None)),
        "free": ("sparse", "string", None),
        "ragged": ("RaggedTensorSpec", "float32", (None, None)),
    }


@pytest.mark.peer
def test_sparse_and_ragged_inputs_of_tensorflow_2(peer: Peer, tmp_path: Path) -> None:
    """Known dense shapes in part; two ragged dimensions; text."""
    given = {
        name: tuple(
            p.astype("float32") if p.dtype == float else p for p in map(np.asarray, v)
        )
        for name, v in GIVEN.items()
    }
    expected = peer.call("composite_signatures.save", tmp_path / "model", given=given)
    model = regraft.load(tmp_path / "model")
    _check(model.signatures["serving_default"](given), expected)
    wrong = (*given["rows"][:2], [3, 5])
    with pytest.raises(MismatchError, match=r"expected sparse float32\(\?, 4\)"):
        model.signatures["serving_default"]({**given, "rows": wrong})
