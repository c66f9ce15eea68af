"""Every layer class of Keras 2 computes here what it did there.

Expected values: `golden/layers-*.json.gz`, written by real TensorFlows with
`golden/make_layers.py`.
"""

from __future__ import annotations

import random
from typing import Any

import jax
import keras
import numpy as np
import pytest

from model.dialects import golden_cases
from model.dialects.golden_cases import arrays
from peer import Peer
from regraft.model.dialects.context import BuildContext
from regraft.model.dialects.describe_topology import describe_network
from regraft.model.dialects.dialect import KERAS_2, Dialect
from regraft.model.dialects.topology import build_network

VERSIONS = ("1.15", "2.6", "2.21")
# Where Keras 3 by itself would train otherwise; the rest is slow.
TRAINED_HERE = (
    "L.BatchNormalization()",
    "L.TimeDistributed(L.BatchNormalization",
    "L.Dense(3, activation='hard_sigmoid'",
    "L.LocallyConnected2D(2, 2)",
)


def _rows(versions: tuple[str, ...], every: int) -> list[Any]:
    """A seeded share of the cases of some files; the rest is slow."""
    chosen = random.Random(0)
    rows = []
    for version in versions:
        for case in golden_cases.cases(f"layers-{version}"):
            marks = [] if chosen.randrange(every) == 0 else [pytest.mark.slow]
            name = f"{version} {case['expression']}"
            rows.append(pytest.param(case, id=name, marks=marks))
    return rows


def _build(case: dict[str, Any]) -> keras.Model:
    dialect = Dialect.from_keras_version(case["keras_version"])
    model = build_network(case["config"], BuildContext(dialect))
    model.set_weights(arrays(case["weights"]))
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()
    return model


def _given(case: dict[str, Any]) -> Any:
    inputs = arrays(case["inputs"])
    return inputs if len(inputs) > 1 else inputs[0]


def _assert_equal(actual: Any, expected: list[np.ndarray]) -> None:
    for value, wanted in zip(keras.tree.flatten(actual), expected, strict=True):
        value = np.asarray(value)
        assert value.shape == wanted.shape
        tolerance = 1e-2 if wanted.dtype == np.float16 else 2e-5
        np.testing.assert_allclose(value, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", _rows(VERSIONS, 30))
@pytest.mark.filterwarnings("ignore:.*does not support masking:UserWarning")
def test_layer_computes_what_keras_2_did(case):
    model = _build(case)
    _assert_equal(model(_given(case), training=False), arrays(case["outputs"]))


def _trained() -> list[Any]:
    rows = []
    for row in _rows(("2.21",), 1):
        (case,) = row.values
        if "trained" in case:
            here = any(word in case["expression"] for word in TRAINED_HERE)
            marks = [] if here else [pytest.mark.slow]
            rows.append(pytest.param(case, id=row.id, marks=marks))
    return rows


@pytest.mark.parametrize("case", _trained())
def test_layer_trains_as_keras_2_did(case):
    model = _build(case)

    def loss(trainable, other, given):
        outputs, other = model.stateless_call(trainable, other, given, training=True)
        flat = keras.tree.flatten(outputs)
        return sum((value.astype("float32") ** 2).sum() for value in flat), other

    trainable = [variable.value for variable in model.trainable_variables]
    other = [variable.value for variable in model.non_trainable_variables]
    step = jax.value_and_grad(loss, has_aux=True)
    (_, other), gradients = step(trainable, other, _given(case))
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        variable.assign(variable.value - 0.01 * gradient)
    for variable, value in zip(model.non_trainable_variables, other, strict=True):
        variable.assign(value)
    for actual, wanted in zip(
        model.get_weights(), arrays(case["trained"]), strict=True
    ):
        tolerance = 2e-3 if wanted.dtype == np.float16 else 2e-4
        np.testing.assert_allclose(actual, wanted, rtol=tolerance, atol=tolerance)


def _masked() -> list[Any]:
    rows = _rows(("2.21",), 16)
    return [row for row in rows if "masked" in row.values[0]]


@pytest.mark.parametrize("case", _masked())
@pytest.mark.filterwarnings("ignore:.*does not support masking:UserWarning")
def test_layer_treats_masks_as_keras_2_did(case):
    layer, expected = _build(case).layers[-1], case["masked"]
    given = keras.layers.Masking(0.0)(golden_cases.array(expected["input"]))
    outputs = keras.tree.flatten(layer(given))
    _assert_equal(outputs, arrays(expected["outputs"]))
    for output, mask in zip(outputs, expected["masks"], strict=True):
        actual = getattr(output, "_keras_mask", None)
        assert (actual is None) == (mask is None)
        if mask is not None:
            np.testing.assert_array_equal(actual, golden_cases.array(mask))


@pytest.mark.peer
@pytest.mark.parametrize("case", _rows(("2.21",), 10))
def test_layer_goes_back_to_keras_2(case, peer: Peer):
    notes: list[Any] = []
    config = describe_network(_build(case), KERAS_2, notes)
    assert not notes
    outputs = peer.call(
        "dialects.run", config, arrays(case["weights"]), arrays(case["inputs"])
    )
    _assert_equal(outputs, arrays(case["outputs"]))


@pytest.mark.parametrize("case", _rows(("2.21", "1.15"), 40))
def test_layer_is_the_same_after_its_own_description(case):
    model = _build(case)
    first = describe_network(model, KERAS_2, [])
    again = build_network(first, BuildContext(KERAS_2))
    assert describe_network(again, KERAS_2, []) == first
