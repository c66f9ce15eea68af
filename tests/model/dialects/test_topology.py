"""Networks of every shape come back as what real TensorFlows wrote.

Expected values: `golden/topologies-*.json.gz` and `golden/op_layers-*.json.gz`.
"""

from __future__ import annotations

import random
from typing import Any

import keras
import numpy as np
import pytest

from model.dialects import golden_cases
from model.dialects.golden_cases import array, arrays
from peer import Peer
from regraft import _compat
from regraft.errors import FormatError, LimitError, UnsupportedError
from regraft.model.dialects.context import BuildContext
from regraft.model.dialects.describe_topology import (
    describe_keras3,
    describe_network,
)
from regraft.model.dialects.dialect import KERAS_2, KERAS_3, Dialect
from regraft.model.dialects.names import original_name
from regraft.model.dialects.topology import build_layer, build_network

# TensorFlow 1 took batch moments for a frozen layer; its files say the same as
# TensorFlow 2.0's, which didn't.
FIRST_GENERATION_ONLY = {("1.15", "partly_frozen")}


def _topologies(versions: tuple[str, ...], every: int = 1) -> list[Any]:
    chosen = random.Random(2)
    rows = []
    for version in versions:
        for case in golden_cases.cases(f"topologies-{version}"):
            marks = [] if chosen.randrange(every) == 0 else [pytest.mark.slow]
            name = f"{version} {case['expression']}"
            rows.append(pytest.param(version, case, id=name, marks=marks))
    return rows


def _build(case: dict[str, Any]) -> keras.Model:
    dialect = Dialect.from_keras_version(case["keras_version"])
    return build_network(case["config"], BuildContext(dialect))


def _run(model: keras.Model, case: dict[str, Any], training: bool) -> list[Any]:
    inputs: Any = arrays(case["inputs"])
    if case["expression"] == "dict_inputs":
        inputs = dict(zip("ab", inputs, strict=True))
    elif len(inputs) == 1:
        (inputs,) = inputs
    return keras.tree.flatten(model(inputs, training=training))


def _assert_equal(actual: list[Any], expected: list[Any], name: str) -> None:
    tolerance = 1e-2 if "mixed" in name else 1e-4
    for value, wanted in zip(actual, expected, strict=True):
        assert value.shape == wanted.shape
        np.testing.assert_allclose(
            np.asarray(value), wanted, rtol=tolerance, atol=tolerance
        )


@pytest.mark.parametrize(
    ("version", "case"), _topologies(("1.15", "2.3", "2.6", "2.21"), 10)
)
def test_network_comes_back(version, case):
    model, name = _build(case), case["expression"]
    model.set_weights(arrays(case["weights"]))
    assert [original_name(layer) for layer in model.layers] == case["layers"]
    assert len(model.trainable_weights) == len(case["trainable"])
    _assert_equal(_run(model, case, False), arrays(case["outputs"]), name)
    random_or_stateful = name in ("masked_recurrent", "stateful_rnn")
    if not random_or_stateful and (version, name) not in FIRST_GENERATION_ONLY:
        _assert_equal(_run(model, case, True), arrays(case["training"]), name)


@pytest.mark.parametrize(("version", "case"), _topologies(("2.21",), 5))
def test_network_goes_back_to_keras_2(version, case, peer: Peer):
    notes: list[Any] = []
    config = describe_network(_build(case), KERAS_2, notes)
    assert not notes
    outputs = peer.call(
        "dialects.run", config, arrays(case["weights"]), arrays(case["inputs"])
    )
    _assert_equal(outputs, arrays(case["outputs"]), case["expression"])


@pytest.mark.parametrize(("version", "case"), _topologies(("2.6",), 8))
def test_network_is_exactly_itself_in_keras_3s_words(version, case):
    model = _build(case)
    again = build_network(describe_keras3(model), BuildContext(KERAS_3))
    weights = arrays(case["weights"])
    model.set_weights(weights)
    again.set_weights(weights)
    expected = [np.asarray(value) for value in _run(model, case, False)]
    _assert_equal(_run(again, case, False), expected, case["expression"])


@pytest.mark.parametrize(("version", "case"), _topologies(("2.21",), 10))
def test_building_runs_where_variables_wait_for_their_values(version, case):
    with _compat.deferred_variables():
        model = _build(case)
    assert len(model.weights) == len(case["weights"])


def _operations(version: str, every: int) -> list[Any]:
    data = golden_cases.load(f"op_layers-{version}")
    chosen = random.Random(1)
    rows = []
    for case in data["cases"]:
        marks = [] if chosen.randrange(every) == 0 else [pytest.mark.slow]
        name = f"{version} {case['expression']}"
        rows.append(pytest.param(version, case, id=name, marks=marks))
    return rows


# Keras 2 wrote files of these that it could not read itself.
LOST_BY_KERAS_2 = ("x == y", "x != y", "tf.einsum(", "tf.meshgrid(")
# The expression's own constants fix the batch, which the graph leaves open.
FIXED_BATCH = (
    "tf.math.in_top_k",
    "tf.broadcast_to",
    "tf.fill",
    "tf.math.segment_sum",
    "tf.math.unsorted_segment_sum",
    "tf.scatter_nd",
)
# `tf.image.resize` takes cubic weights from a table of 1024 entries.
COARSE = ('method="bicubic"',)


@pytest.mark.parametrize(
    ("version", "case"), _operations("2.21", 15) + _operations("2.3", 30)
)
def test_operation_computes_what_tensorflow_did(version, case):
    expression = case["expression"]
    if expression.startswith((*LOST_BY_KERAS_2, *FIXED_BATCH)):
        pytest.skip("The file does not say what it should, or fixes the batch.")
    try:
        model = _build(case)
    except (NotImplementedError, ValueError) as error:
        if isinstance(error, (UnsupportedError, FormatError)):
            pytest.skip(f"not on the list: {error}"[:90])
        raise
    data = golden_cases.load(f"op_layers-{version}")
    outputs = keras.tree.flatten(model([array(v) for v in data["inputs"].values()]))
    tolerance = 1e-3 if any(word in expression for word in COARSE) else 2e-5
    for value, wanted in zip(outputs, arrays(case["outputs"]), strict=True):
        assert value.shape == wanted.shape
        np.testing.assert_allclose(value, wanted, rtol=tolerance, atol=tolerance)


def _dense(name: str, calls: Any) -> dict[str, Any]:
    return {
        "class_name": "Dense",
        "name": name,
        "config": {"name": name, "units": 2},
        "inbound_nodes": calls,
    }


def _model(*layers: dict[str, Any], output: Any) -> dict[str, Any]:
    first = {
        "class_name": "InputLayer",
        "name": "x",
        "config": {"batch_input_shape": [None, 3], "dtype": "float32", "name": "x"},
        "inbound_nodes": [],
    }
    config = {
        "name": "m",
        "layers": [first, *layers],
        "input_layers": [["x", 0, 0]],
        "output_layers": [output],
    }
    return {"class_name": "Functional", "config": config}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"class_name": "Dense"}, "Invalid layer entry"),
        (_model(output=["y", 0, 0]), "has no output_layers"),
        (_model(output=["x", 1, 0]), "a call that it doesn't record"),
        (_model(output=["x", 0, 5]), "has no output 5"),
        (
            _model(
                _dense("a", [[["b", 0, 0, {}]]]),
                _dense("b", [[["a", 0, 0, {}]]]),
                output=["a", 0, 0],
            ),
            "called on a tensor that nothing makes",
        ),
        (
            _model(_dense("a", []), _dense("a", []), output=["x", 0, 0]),
            "a layer name twice",
        ),
    ],
)
def test_malformed_network_is_a_format_error(entry, message):
    with pytest.raises(FormatError, match=message):
        build_layer(entry, BuildContext(KERAS_2))


def test_nesting_has_a_limit():
    entry: dict[str, Any] = {"class_name": "Dense", "config": {"units": 1}}
    for _ in range(100):
        entry = {"class_name": "TimeDistributed", "config": {"layer": entry}}
    with pytest.raises(LimitError, match="nested more than"):
        build_layer(entry, BuildContext(KERAS_2))


@pytest.mark.parametrize(
    ("shape", "class_name", "config"),
    [
        (
            [10**4, 10**4, 3],
            "LocallyConnected2D",
            {"filters": 2, "kernel_size": [9, 9]},
        ),
        (
            [10**5, 3],
            "LocallyConnected1D",
            {"filters": 2, "kernel_size": [3], "implementation": 2},
        ),
        ([1], "IntegerLookup", {"vocabulary": [1, 2], "num_oov_indices": 10**9}),
    ],
)
def test_what_a_few_bytes_ask_for_has_a_limit(shape, class_name, config):
    given = {"batch_input_shape": [None, *shape], "dtype": "float32", "name": "x"}
    layers = [
        {"class_name": "InputLayer", "config": given},
        {"class_name": class_name, "config": {"name": "huge", **config}},
    ]
    entry = {"class_name": "Sequential", "config": {"name": "s", "layers": layers}}
    with pytest.raises(LimitError, match="more"):
        build_network(entry, BuildContext(KERAS_2))


@pytest.mark.parametrize(
    ("function", "arguments"),
    [("split", {"num_or_size_splits": 10**8, "axis": 1}), ("unstack", {"axis": 1})],
)
def test_results_of_an_operation_have_a_limit(function, arguments):
    given = {"batch_input_shape": [None, 10**8], "dtype": "float32", "name": "x"}
    operation = {
        "class_name": "TFOpLambda",
        "config": {"name": "cut", "function": function},
        "inbound_nodes": [["x", 0, 0, arguments]],
    }
    entry = _model({**operation, "name": "cut"}, output=["cut", 0, 0])
    entry["config"]["layers"][0]["config"] = given
    with pytest.raises(LimitError, match="more than"):
        build_network(entry, BuildContext(KERAS_2))


def test_long_chain_of_calls_builds():
    layers = [_dense("d0", [[["x", 0, 0, {}]]])]
    for index in range(1, 1000):
        layer = _dense(f"d{index}", [[[f"d{index - 1}", 0, 0, {}]]])
        layer["class_name"] = "Flatten"
        layer["config"] = {"name": f"d{index}"}
        layers.append(layer)
    model = build_network(_model(*layers, output=["d999", 0, 0]), BuildContext(KERAS_2))
    assert len(model.layers) == 1001


def test_names_that_keras_3_refuses_have_stand_ins():
    entry = _model(
        _dense("a/b", [[["x", 0, 0, {}]]]),
        _dense("a__b", [[["a/b", 0, 0, {}]]]),
        output=["a__b", 0, 0],
    )
    context = BuildContext(KERAS_2)
    model = build_network(entry, context)
    assert [layer.name for layer in model.layers] == ["x", "a__b_1", "a__b"]
    assert context.original_names == {"a__b_1": "a/b"}
    described = describe_network(model, KERAS_2, [])
    assert [layer["name"] for layer in described["config"]["layers"]] == [
        "x",
        "a/b",
        "a__b",
    ]


def test_unknown_class_names_the_way_out():
    entry = {"class_name": "Mine", "config": {"name": "m"}}
    with pytest.raises(ValueError, match=r"'Mine' of layer 'm'.*custom_objects"):
        build_layer(entry, BuildContext(KERAS_2))


def test_unknown_class_is_revived_where_somebody_can():
    made = keras.layers.Layer()
    context = BuildContext(KERAS_2, revive=lambda *_: made)
    entry = {"class_name": "Mine", "config": {"name": "m"}}
    assert build_layer(entry, context) is made


@pytest.mark.parametrize("spelling", ["Mine", "Custom>Mine", "Pkg>Mine"])
@pytest.mark.parametrize("written", ["Mine", "Custom>Mine", "Pkg>Mine"])
def test_custom_class_is_found_by_any_spelling(spelling, written):
    class Mine(keras.layers.Layer):
        pass

    context = BuildContext(KERAS_2, custom_objects={spelling: Mine})
    entry = {"class_name": written, "config": {"name": "m", "dtype": "float32"}}
    assert type(build_layer(entry, context)) is Mine


@pytest.mark.parametrize(
    ("class_name", "config"),
    [
        ("BatchNormalization", {"axis": [1, 2], "renorm": True}),
        ("DepthwiseConv2D", {"kernel_size": 2, "groups": 2}),
        ("Conv2DTranspose", {"filters": 2, "kernel_size": 2, "groups": 2}),
        ("BatchNormalization", {"virtual_batch_size": 4}),
        ("Dense", {"units": 2, "unheard_of": 1}),
    ],
)
def test_argument_that_changes_the_result_is_never_dropped(class_name, config):
    entry = {"class_name": class_name, "config": {"name": "n", **config}}
    with pytest.raises(UnsupportedError, match=r"'n'.*custom_objects"):
        build_layer(entry, BuildContext(KERAS_2))


def test_shared_object_id_keeps_identity():
    entry = {
        "class_name": "Dense",
        "config": {"name": "d", "units": 2},
        "shared_object_id": 7,
    }
    context = BuildContext(KERAS_2)
    assert build_layer(entry, context) is build_layer(entry, context)


def test_calls_of_a_network_with_a_config_of_its_own_are_counted_from_one() -> None:
    """Its own creation was its first node, though no config of layers says so."""
    entries = [
        {
            "class_name": "InputLayer",
            "config": {"batch_input_shape": [None, 2], "name": "x"},
            "inbound_nodes": [],
        },
        {
            "class_name": "Mine>Backbone",
            "config": {"name": "backbone", "size": 3},
            "inbound_nodes": [[["x", 0, 0, {}]]],
        },
        {
            "class_name": "Dense",
            "config": {"name": "dense", "units": 1},
            "inbound_nodes": [[["backbone", 1, 0, {}]]],
        },
    ]
    config = {
        "name": "model",
        "layers": [{**entry, "name": entry["config"]["name"]} for entry in entries],
        "input_layers": [["x", 0, 0]],
        "output_layers": [["dense", 0, 0]],
    }
    context = BuildContext(
        KERAS_2, revive=lambda *_: keras.layers.Dense(3, name="backbone")
    )
    model = build_network({"class_name": "Functional", "config": config}, context)
    assert model.output_shape == (None, 1)


def test_network_of_a_list_takes_a_dict_in_the_order_of_its_keys() -> None:
    """Keras of TensorFlow 2.6 and before flattened what had other keys than names."""

    def entry(name, class_name, nodes, **config):
        config = {"name": name, **config}
        return {
            "class_name": class_name,
            "name": name,
            "config": config,
            "inbound_nodes": nodes,
        }

    def given(name):
        return entry(name, "InputLayer", [], batch_input_shape=[None, 2])

    pair = [["first", 0, 0, {}], ["second", 0, 0, {}]]
    inner = {
        "layers": [
            given("first"),
            given("second"),
            entry("minus", "Subtract", [pair]),
        ],
        "input_layers": [[["first", 0, 0], ["second", 0, 0]]],
        "output_layers": [["minus", 0, 0]],
    }
    called = {"39": ["x", 0, 0, {}], "37": ["y", 0, 0, {}]}
    config = {
        "name": "model",
        "layers": [
            given("x"),
            given("y"),
            entry("inner", "Functional", [called], **inner),
        ],
        "input_layers": [["x", 0, 0], ["y", 0, 0]],
        "output_layers": [["inner", 1, 0]],
    }
    context = BuildContext(KERAS_2)
    model = build_network({"class_name": "Functional", "config": config}, context)
    x, y = np.ones((1, 2), "float32"), np.full((1, 2), 5, "float32")
    np.testing.assert_array_equal(model.predict([x, y], verbose=0), y - x)
