"""Signatures of files that real TensorFlow wrote give what TensorFlow computed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
import pytest

from data.vintage import corpus
from graph.saved_models import OpenModel
from regraft.errors import MismatchError

TOLERANCE = 1e-5  # Of the output's scale, float32.

TRACED = [case for case in corpus.cases() if case.format == "saved_model"]
# TensorFlow 1.15 wrote no signature for it.
WITH_SIGNATURE = [c for c in TRACED if (c.version, c.name) != ("1.15.5", "recurrent")]
KERAS = [case for case in WITH_SIGNATURE if case.name != "session_style"]
NUMERIC = [case for case in KERAS if case.name != "text_and_tables"]

# The tables of the others come back through the object graph only.
SESSION = [case for case in WITH_SIGNATURE if case.name != "text_and_tables"]


def _arrays(case: corpus.Case, root: Path, prefix: str) -> list[Any]:
    with np.load(case.arrays(root)) as file:
        names = [name for name in file if name.startswith(f"{prefix}_")]
        return [file[name] for name in names]


def _distance(found: Sequence[Any], expected: Sequence[Any]) -> float:
    if [np.shape(f) for f in found] != [e.shape for e in expected]:
        return np.inf
    return max(
        float(np.max(np.abs(np.asarray(f) - e)) / np.max(np.abs(e)))
        for f, e in zip(found, expected, strict=True)
    )


def _best(
    run: Callable[..., dict[str, Any]],
    specs: Any,
    inputs: Sequence[Any],
    expected: Sequence[Any],
) -> float:
    """Distance in the best pairing: signatures sort names, the corpus numbers them."""
    best = np.inf
    for order in itertools.permutations(inputs):
        given = dict(zip(specs, order, strict=True))
        try:
            found = list(run(**given).values())
        except MismatchError:
            continue
        for outputs in itertools.permutations(expected):
            best = min(best, _distance(found, outputs))
    return best


@pytest.mark.parametrize("case", KERAS, ids=lambda case: case.id)
def test_signature_gives_the_writers_output(case: corpus.Case, vintage: Path) -> None:
    signature = OpenModel(case.path(vintage)).signature()
    inputs, expected = (_arrays(case, vintage, p) for p in ("in", "out"))
    assert _best(signature, signature.inputs, inputs, expected) < TOLERANCE


@pytest.mark.parametrize(
    "case",
    [c for c in NUMERIC if c.version in ("1.15.5", "2.21.0")],
    ids=lambda c: c.id,
)
def test_compiled_signature_gives_the_same(case: corpus.Case, vintage: Path) -> None:
    signature = OpenModel(case.path(vintage)).signature()
    inputs, expected = (_arrays(case, vintage, p) for p in ("in", "out"))
    # A tracer's type is not changed for it; the corpus has whole numbers as int32.
    inputs = [array.astype(np.float32) for array in inputs]
    compiled = jax.jit(lambda **given: signature(**given))
    assert _best(compiled, signature.inputs, inputs, expected) < TOLERANCE


@pytest.mark.parametrize("case", SESSION, ids=lambda case: case.id)
def test_main_graph_restores_itself_and_gives_the_same(
    case: corpus.Case, vintage: Path
) -> None:
    signature = OpenModel(case.path(vintage)).graph_signature()
    inputs, expected = (_arrays(case, vintage, p) for p in ("in", "out"))
    assert _best(signature, signature.inputs, inputs, expected) < TOLERANCE


def test_gradient_flows_through_a_recurrent_trace(vintage: Path) -> None:
    case = next(c for c in NUMERIC if (c.version, c.name) == ("2.21.0", "recurrent"))
    model = OpenModel(case.path(vintage))
    signature = model.signature()
    (ids,) = _arrays(case, vintage, "in")
    name = next(iter(signature.inputs))
    signature(**{name: ids})
    variables = [v.variable for v in model.variables.values() if hasattr(v, "variable")]

    def loss(held: list[Any]) -> Any:
        with keras.StatelessScope(list(zip(variables, held, strict=True))):
            (out,) = signature(**{name: ids}).values()
        return out.sum()

    gradients = jax.jit(jax.grad(loss))([v.value for v in variables])
    assert all(np.isfinite(g).all() for g in gradients)
    assert all(np.abs(g).max() > 0 for g in gradients)


def test_wrong_arguments_of_a_signature_are_shown(vintage: Path) -> None:
    case = next(c for c in KERAS if c.id == "2.21.0-seed_example-saved_model")
    signature = OpenModel(case.path(vintage)).signature()
    (name,) = signature.inputs
    with pytest.raises(MismatchError, match=r"expected float32\(\?, 3\)") as caught:
        signature(np.zeros((2, 4), np.float32))
    assert "received float32(2, 4)" in str(caught.value)
    with pytest.raises(MismatchError, match=name):
        signature(wrong=np.zeros((2, 3), np.float32))
