"""TensorFlow computes from the functions that we trace what the layers compute."""

from __future__ import annotations

import jax
import keras
import numpy as np
import pytest

from regraft.graph.serde import function_to_proto
from regraft.saving.trace_layers import trace_model
from regraft.storage.proto import messages, serialize
from saving.layer_cases import CASES, LayerCase

_BATCHES = (2, 3)
# Of no weight: they cost nothing when the graph runs.
_FREE = {"Const", "ReadVariableOp", "Identity", "NoOp"}


def _model(case: LayerCase) -> keras.Model:
    batch = 2 if "stateful" in case.name else None
    inputs = [
        keras.Input(batch_shape=(batch, *s), dtype=case.dtype) for s in case.shapes
    ]
    layer = case.make()
    together = case.as_list or len(inputs) == 1 or hasattr(layer, "_merge_function")
    if len(inputs) == 1:
        outputs = layer(inputs[0])
    else:
        outputs = layer(inputs) if together else layer(*inputs)
    model = keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs)
    rng = np.random.default_rng(0)
    for variable in model.weights:
        if variable.dtype == "float32":
            low = 0.5 if "variance" in variable.path else -0.5
            variable.assign(rng.uniform(low, 1.0, variable.shape))
    return model


def _draw(case: LayerCase, batch: int) -> list[np.ndarray]:
    rng = np.random.default_rng(batch)
    arrays = []
    for shape in case.shapes:
        dims = (batch, *(7 + 2 * i if d is None else d for i, d in enumerate(shape)))
        if case.dtype == "int32":
            arrays.append(rng.integers(0, case.high, dims).astype("int32"))
        else:
            arrays.append(rng.normal(size=dims).astype("float32"))
    return arrays


def _traced(case: LayerCase) -> dict[bool, dict]:
    """Requests for the peer and what to expect, in inference and in training."""
    model = _model(case)
    traces = trace_model(model)
    assert not traces.notes, traces.notes
    call = traces.layers[id(model)].call
    library = serialize(_library(traces))
    batches = (2,) if "stateful" in case.name else _BATCHES
    calls = [_draw(case, batch) for batch in batches]
    rows = {}
    for training in (False, True):
        traced = call.concrete_functions[0 if training else -1]
        count = len(case.shapes)
        variables = {count + i: _value(v) for i, v in enumerate(traced.captures)}
        request = {
            "library": library,
            "name": traced.name,
            "calls": calls,
            "variables": variables,
        }
        rows[training] = {
            "request": request,
            "expected": [
                _expected(model, arrays, training, traced.captures) for arrays in calls
            ],
            "ops": [n.op for f in _reachable(traces, traced.name) for n in f.nodes],
        }
    return rows


def _library(traces):
    library = messages.FunctionDefLibrary()
    for function in traces.functions.values():
        function_to_proto(function, library.function.add())
    return library


def _expected(model, arrays, training, captures):
    """What the model gives, and what its variables hold then; they are put back."""
    variables = [one for one in captures if isinstance(one, keras.Variable)]
    before = [variable.value for variable in variables]
    output = model(arrays if len(arrays) > 1 else arrays[0], training=training)
    after = [_value(one) for one in captures]
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    return jax.tree.map(np.asarray, keras.tree.flatten(output)), after


def _value(captured):
    """Of a variable or of a large constant."""
    return np.asarray(captured.value)


def _reachable(traces, name):
    found, pending = {}, [name]
    while pending:
        function = traces.functions[pending.pop()]
        if function.name not in found:
            found[function.name] = function
            for node in function.nodes:
                pending += [
                    a.name
                    for a in node.attrs.values()
                    if hasattr(a, "name") and a.name in traces.functions
                ]
    return found.values()


@pytest.fixture(scope="module")
def results(peer):
    done, errors = {}, {}
    for case in CASES:
        try:
            for training, row in _traced(case).items():
                done[case.name, training] = row
        except Exception as error:
            errors[case.name] = error
    answers = peer.call(
        "tracing.run_functions", [row["request"] for row in done.values()]
    )
    return dict(zip(done, answers, strict=True)), done, errors


def _answer(results, case, training):
    answers, done, errors = results
    if case.name in errors:
        raise errors[case.name]
    answer = answers[case.name, training]
    assert not isinstance(answer, str), answer
    return answer, done[case.name, training]


def _assert_equal(case, answer, row):
    for (want, after), (got, held) in zip(row["expected"], answer, strict=True):
        assert len(want) == len(got)
        for left, right in zip(got, want, strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-4, atol=case.atol)
        for left, right in zip(held.values(), after, strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-4, atol=case.atol)


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_inference_is_the_layers(case, results):
    answer, row = _answer(results, case, False)
    _assert_equal(case, answer, row)
    assert set(case.ops) <= set(row["ops"])
    counted = [
        op
        for op in row["ops"]
        if op not in _FREE and not op.endswith("PartitionedCall")
    ]
    if case.most is not None:
        assert len(counted) <= case.most, counted


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_training_is_the_layers(case, results):
    answer, row = _answer(results, case, True)
    if not case.is_random:
        _assert_equal(case, answer, row)
        return
    for (want, _), (got, _) in zip(row["expected"], answer, strict=True):
        for left, right in zip(got, want, strict=True):
            assert left.shape == right.shape
            assert np.isfinite(left).all()


def test_random_numbers_differ_between_calls(peer):
    model = keras.Sequential([keras.Input((50,)), keras.layers.Dropout(0.4)])
    traces = trace_model(model)
    request = {
        "library": serialize(_library(traces)),
        "name": traces.layers[id(model)].call.concrete_functions[0].name,
        "calls": [[np.ones((4, 50), "float32")]] * 2,
        "variables": {},
    }
    [[(first, _), (second, _)]] = peer.call("tracing.run_functions", [request])
    assert (first[0] != second[0]).any()
    assert set(np.unique(first[0]).round(4)) == {0.0, np.float32(1 / 0.6).round(4)}
