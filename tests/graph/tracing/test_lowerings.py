"""TensorFlow computes from our graphs what JAX computes."""

from __future__ import annotations

import contextlib
import re

import jax
import numpy as np
import pytest
from jax import export

from graph.tracing.cases import CASES, Case
from regraft.graph.serde import function_to_proto
from regraft.graph.tracing.function_graph import Mark
from regraft.graph.tracing.tracer import Tracing, trace
from regraft.storage.proto import messages, serialize

_DTYPES = {"f32": "float32", "i32": "int32", "bool": "bool"}
_SIZES = (
    {"b": 2, "c": 5, "t": 4, "h": 7, "w": 6},
    {"b": 3, "c": 4, "t": 1, "h": 8, "w": 5},
)


def assert_near(got: np.ndarray, want: np.ndarray, case: Case) -> None:
    """Compares as a row allows."""
    kind = "complex128" if np.iscomplexobj(want) else "float64"
    np.testing.assert_allclose(
        got.astype(kind), want.astype(kind), rtol=case.rtol, atol=case.atol
    )


def _argument(text: str) -> tuple[str, str]:
    dtype, shape = re.fullmatch(r"(\w+)\[(.*)\]", text).groups()
    return _DTYPES[dtype], shape


def _draw(case: Case, sizes: dict[str, int], seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    arrays = []
    for text in case.arguments:
        dtype, dims = _argument(text)
        shape = [sizes.get(d) or int(d) for d in dims.split(",") if d]
        if dtype == "int32":
            array = rng.integers(int(case.low), int(case.high), shape)
        elif dtype == "bool":
            array = rng.random(shape) > 0.5
        else:
            array = rng.uniform(case.low, case.high, shape)
        arrays.append(np.asarray(array, dtype))
    return arrays


def traced_row(case: Case, marks: bool = False) -> dict:
    """Returns what the peer runs, and the ops that are in it.

    Args:
        case: The row.
        marks: Whether whole computations may be marked, as in a layer's call.
    """
    scope = export.SymbolicScope()
    specs = [
        jax.ShapeDtypeStruct(export.symbolic_shape(dims, scope=scope), dtype)
        for dtype, dims in map(_argument, case.arguments)
    ]
    tracing = Tracing()
    with tracing.activate() if marks else contextlib.nullcontext():
        jaxpr, _ = trace(case.function, *specs)
    count = len(jaxpr.jaxpr.outvars)
    mark = Mark(
        "function",
        "case",
        (),
        inputs=tuple(range(len(specs))),
        outputs=tuple(range(count)),
    )
    called = tracing.add(jaxpr, mark, {}, [True] * count)
    assert not called.lengths
    # Large constants are arguments that follow.
    constants = {len(specs) + i: c.value for i, c in enumerate(called.captures)}
    library = messages.FunctionDefLibrary()
    for function in tracing.library.functions.values():
        function_to_proto(function, library.function.add())
    calls = [_draw(case, sizes, i) for i, sizes in enumerate(_SIZES)]
    return {
        "library": serialize(library),
        "name": called.name,
        "calls": calls,
        "variables": constants,
        "ops": [n.op for f in tracing.library.functions.values() for n in f.nodes],
    }


@pytest.fixture(scope="module")
def results(peer):
    """What TensorFlow computes, for all rows at once."""
    requests, errors = {}, {}
    for case in CASES:
        try:
            requests[case.name] = traced_row(case)
        except Exception as error:
            errors[case.name] = error
    ops = {name: request.pop("ops") for name, request in requests.items()}
    answers = peer.call("tracing.run_functions", list(requests.values()))
    return dict(zip(requests, answers, strict=True)), requests, errors, ops


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_tensorflow_computes_what_jax_computes(case, results):
    answers, requests, errors, ops = results
    if case.name in errors:
        raise errors[case.name]
    answer = answers[case.name]
    assert not isinstance(answer, str), answer
    for arrays, (outputs, _) in zip(requests[case.name]["calls"], answer, strict=True):
        expected = jax.tree.leaves(case.function(*map(jax.numpy.asarray, arrays)))
        assert len(expected) == len(outputs)
        for want, got in zip(expected, outputs, strict=True):
            assert np.shape(want) == got.shape
            assert_near(got, np.asarray(want), case)
    assert set(case.ops) <= set(ops[case.name])
    assert not set(case.not_ops) & set(ops[case.name])
