"""TensorFlow computes what every function of `keras.ops` computes."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from graph.tracing.operations import COVERED, NAMES, OPERATIONS, REFUSED, WITHOUT_ROW
from graph.tracing.test_lowerings import assert_near, traced_row
from regraft.saving.trace_composites import composites

# These once went wrong.
FAST = (
    *(
        "argmax:zeros",
        "argmin:zeros",
        "corrcoef",
        "eig",
        "eig:vectors",
        "gcd",
        "histogram",
        "lcm",
        "lu_factor",
        "moments",
    ),
    *("nextafter", "repeat:each", "scatter_update:mul", "segment_prod", "slogdet"),
    *("slogdet:any", "trace"),
)
# With the ops that TensorFlow has for whole computations, and without.
WAYS = ("marked", "plain")


def _traced(case, way):
    if way == "plain":
        return traced_row(case)
    with composites():
        return traced_row(case, marks=True)


def _results(names, peer):
    requests, errors = {}, {}
    for case in OPERATIONS:
        if case.name not in names:
            continue
        for way in WAYS:
            try:
                requests[case.name, way] = _traced(case, way)
            except Exception as error:
                errors[case.name, way] = error
    for request in requests.values():
        request.pop("ops")
    answers = peer.call("tracing.run_functions", list(requests.values()))
    return dict(zip(requests, answers, strict=True)), requests, errors


def _check(case, way, results):
    answers, requests, errors = results
    if (case.name, way) in errors:
        raise errors[case.name, way]
    answer = answers[case.name, way]
    assert not isinstance(answer, str), answer
    calls = requests[case.name, way]["calls"]
    for arrays, (outputs, _) in zip(calls, answer, strict=True):
        expected = jax.tree.leaves(case.function(*map(jax.numpy.asarray, arrays)))
        assert len(expected) == len(outputs)
        for want, got in zip(map(np.asarray, expected), outputs, strict=True):
            assert want.shape == got.shape
            assert_near(got, want, case)


@pytest.fixture(scope="module")
def fast_results(peer):
    return _results(FAST, peer)


@pytest.fixture(scope="module")
def all_results(peer):
    """What TensorFlow computes, for all rows at once."""
    return _results({case.name for case in OPERATIONS}, peer)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FAST)
def test_tensorflow_computes_what_was_hard(name, way, fast_results):
    (case,) = (case for case in OPERATIONS if case.name == name)
    _check(case, way, fast_results)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", OPERATIONS, ids=lambda case: case.name)
def test_tensorflow_computes_what_keras_computes(case, way, all_results):
    _check(case, way, all_results)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_bits_are_not_asked_for_the_largest_number(name):
    (case,) = (case for case in OPERATIONS if case.name == name)
    assert "Bitcast" in _traced(case, "plain")["ops"]
    assert "Bitcast" not in _traced(case, "marked")["ops"]


def test_every_function_has_a_row_or_a_reason():
    assert set(NAMES) == COVERED.keys() | WITHOUT_ROW.keys() & set(NAMES) | set(REFUSED)
    assert not COVERED.keys() & (WITHOUT_ROW.keys() | REFUSED.keys())
