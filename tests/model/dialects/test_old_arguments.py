"""Configs that are written here name no argument that old TensorFlows lack.

Facts: `golden/arguments-*.json`, written by real TensorFlows with
`golden/make_old_arguments.py`.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

import keras
import pytest

from model.dialects import golden_cases
from regraft.model.compile import describe_loss, describe_metric
from regraft.model.dialects.context import BuildContext, Note
from regraft.model.dialects.describe_topology import describe_network
from regraft.model.dialects.dialect import KERAS_2, Dialect
from regraft.model.dialects.topology import build_network

_PATH = pathlib.Path(__file__).parent / "golden" / "arguments-2.4.json"
FACTS = json.loads(_PATH.read_text())
# Keys that `from_config` of TensorFlow 2.4 takes beside the constructor's.
_TAKEN = {
    "InputLayer": {"batch_input_shape"},
    "MultiHeadAttention": {"query_shape", "key_shape", "value_shape"},
    "Lambda": {"function_type", "module", "output_shape_type", "output_shape_module"},
}
# Keras has it since 3.14.
_HAS_RENORM = hasattr(keras.layers.BatchNormalization(), "renorm")
# Arguments that these losses and metrics need.
_NEEDED: dict[str, dict[str, Any]] = {
    "MeanIoU": {"num_classes": 2},
    "PrecisionAtRecall": {"recall": 0.5},
    "RecallAtPrecision": {"precision": 0.5},
    "SensitivityAtSpecificity": {"specificity": 0.5},
    "SpecificityAtSensitivity": {"sensitivity": 0.5},
}


def _unknown(kind: str, entry: Any) -> set[str]:
    name = entry["class_name"]
    known = {*FACTS[kind][name].split(), *_TAKEN.get(name, ())}
    return set(entry["config"]) - known


def _described(case: dict[str, Any]) -> list[Any]:
    dialect = Dialect.from_keras_version(case["keras_version"])
    model = build_network(case["config"], BuildContext(dialect))
    return describe_network(model, KERAS_2, [])["config"]["layers"]


def test_layers_say_what_tensorflow_2_4_takes() -> None:
    refused = []
    for case in golden_cases.cases("layers-2.21"):
        if "renorm=True" in case["expression"] and not _HAS_RENORM:
            continue  # Such files are refused by name.
        known = (e for e in _described(case) if e["class_name"] in FACTS["layers"])
        keys = {key for entry in known for key in _unknown("layers", entry)}
        # What the case asks for can't be left out.
        keys = {key for key in keys if f"{key}=" not in case["expression"]}
        refused += [(case["expression"], keys)] if keys else []
    assert not refused


def _both(kind: str, module: Any, base: type) -> list[str]:
    return [
        name
        for name in FACTS[kind]
        if isinstance(found := getattr(module, name, None), type)
        and issubclass(found, base)
        and found is not base
        and not name.startswith(("Mean", "Sum")) | (name == "MeanIoU")
    ]


@pytest.mark.parametrize("name", _both("losses", keras.losses, keras.losses.Loss))
def test_losses_say_what_tensorflow_2_4_takes(name: str) -> None:
    loss = getattr(keras.losses, name)()
    assert not _unknown("losses", describe_loss(loss, KERAS_2, []))


@pytest.mark.parametrize("name", _both("metrics", keras.metrics, keras.metrics.Metric))
def test_metrics_say_what_tensorflow_2_4_takes(name: str) -> None:
    metric = getattr(keras.metrics, name)(**_NEEDED.get(name, {}))
    assert not _unknown("metrics", describe_metric(metric, KERAS_2, []))


def test_axis_of_the_sparse_crossentropy_is_noted_and_left_out() -> None:
    try:
        loss = keras.losses.SparseCategoricalCrossentropy(axis=1)
    except TypeError:
        pytest.skip("only Keras 3.15 and newer has the argument")
    notes: list[Note] = []
    entry = describe_loss(loss, KERAS_2, notes)
    assert "axis" not in entry["config"]
    assert any("axis" in str(note) for note in notes)
