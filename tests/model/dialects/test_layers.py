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
from regraft.model.dialects.topology import build_layer, build_network
from regraft.model.keras2.activations import linear_fifth_hard_sigmoid

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


def _decoder(layer: dict[str, Any], states: int) -> dict[str, Any]:
    """A masked sequence into a recurrent layer, beside the states it begins with."""
    names = [f"state_{index}" for index in range(states)]

    def given(name: str, length: int) -> dict[str, Any]:
        config = {"batch_input_shape": [None, length], "dtype": "float32", "name": name}
        config["sparse"] = config["ragged"] = False
        return _entry("InputLayer", config, [])

    embedding = {"input_dim": 9, "output_dim": 4, "mask_zero": True, "name": "words"}
    calls = [[[name, 0, 0, {}] for name in ("words", *names)]]
    return _entry(
        "Functional",
        {
            "name": "decoder",
            "layers": [
                given("sequence", 6),
                *(given(name, 3) for name in names),
                _entry("Embedding", embedding, [[["sequence", 0, 0, {}]]]),
                {**layer, "name": layer["config"]["name"], "inbound_nodes": calls},
            ],
            "input_layers": [[name, 0, 0] for name in ("sequence", *names)],
            "output_layers": [[layer["config"]["name"], 0, 0]],
        },
    )


def _entry(class_name: str, config: dict[str, Any], calls: Any = None) -> Any:
    entry = {"class_name": class_name, "config": config, "name": config["name"]}
    return entry if calls is None else {**entry, "inbound_nodes": calls}


def _recurrent(class_name: str) -> dict[str, Any]:
    config = {"name": "cell", "units": 3, "return_sequences": True}
    if class_name == "GRU":
        config["reset_after"] = True
    return _entry(class_name, config)


@pytest.mark.parametrize(
    ("layer", "states"),
    [
        (_recurrent("LSTM"), 2),
        (_recurrent("GRU"), 1),
        (_recurrent("SimpleRNN"), 1),
        (_entry("Bidirectional", {"name": "both", "layer": _recurrent("LSTM")}), 4),
    ],
    ids=["LSTM", "GRU", "SimpleRNN", "Bidirectional"],
)
def test_mask_of_the_sequence_counts_beside_states(layer, states, peer: Peer):
    rng = np.random.default_rng(3)
    config = _decoder(layer, states)
    model = build_network(config, BuildContext(KERAS_2))
    weights = [rng.normal(size=w.shape).astype("float32") for w in model.get_weights()]
    model.set_weights(weights)
    sequence = np.array([[3, 0, 5, 0, 0, 8], [0, 2, 2, 0, 1, 0]], "float32")
    inputs = [sequence]
    inputs += [rng.normal(size=(2, 3)).astype("float32") for _ in range(states)]
    expected = peer.call("dialects.run", config, weights, inputs)
    _assert_equal(model(inputs, training=False), expected)
    in_keras_3 = keras.models.model_from_json(model.to_json())
    in_keras_3.set_weights(weights)
    _assert_equal(in_keras_3(inputs, training=False), expected)
    again = describe_network(model, KERAS_2, [])
    _assert_equal(peer.call("dialects.run", again, weights, inputs), expected)


@pytest.mark.parametrize(
    ("class_name", "config"),
    [
        ("Permute", {"dims": [1, 2]}),
        ("Reshape", {"target_shape": [6, 4]}),
        ("Cropping1D", {"cropping": [0, 0]}),
    ],
)
@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.filterwarnings("ignore:.*does not support masking:UserWarning")
def test_layer_with_nothing_to_do_ends_the_mask(
    class_name, config, sequential, peer: Peer
):
    nothing = _entry(class_name, {**config, "name": "nothing"})
    network = _decoder(_recurrent("LSTM"), 0)
    *given, last = network["config"]["layers"]
    if sequential:
        network["class_name"] = "Sequential"
        network["config"] = {"name": "chain", "layers": [*given, nothing, last]}
    else:
        nothing["inbound_nodes"] = [[["words", 0, 0, {}]]]
        last["inbound_nodes"] = [[["nothing", 0, 0, {}]]]
        network["config"]["layers"].insert(-1, nothing)
    model = build_network(network, BuildContext(KERAS_2))
    rng = np.random.default_rng(3)
    weights = [rng.normal(size=w.shape).astype("float32") for w in model.get_weights()]
    model.set_weights(weights)
    sequence = np.array([[3, 0, 5, 0, 0, 8], [0, 2, 2, 0, 1, 0]], "float32")
    expected = peer.call("dialects.run", network, weights, [sequence])
    _assert_equal([model(sequence, training=False)], expected)
    _assert_equal([model.predict(sequence, verbose=0)], expected)
    in_keras_3 = keras.models.model_from_json(model.to_json())
    in_keras_3.set_weights(weights)
    _assert_equal([in_keras_3(sequence, training=False)], expected)
    again = describe_network(model, KERAS_2, [])
    _assert_equal(peer.call("dialects.run", again, weights, [sequence]), expected)


def test_function_of_a_package_is_found_by_its_own_name():
    """Keras 3 writes the word `function` where a registered name would stand."""
    layer = keras.layers.Dense(2, activation=linear_fifth_hard_sigmoid)
    entry = keras.saving.serialize_keras_object(layer)
    assert entry["config"]["activation"]["registered_name"] == "function"
    dialect = Dialect.from_keras_version("3.12.0")
    built = build_layer(entry, BuildContext(dialect))
    assert built.activation is linear_fifth_hard_sigmoid
