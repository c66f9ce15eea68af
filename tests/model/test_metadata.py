"""Keras' JSON dialect, against texts that TensorFlow wrote."""

from __future__ import annotations

import json

import numpy as np
import pytest

from regraft.errors import FormatError, LimitError
from regraft.model import metadata
from regraft.model.metadata import TensorShape, TypeSpec

# From saved models of TensorFlow 2.6 (list) and 2.21 (tuple).
SPECS = (
    '{"class_name": "TypeSpec", "type_spec": "tf.TensorSpec", "serialized": '
    '[{"class_name": "TensorShape", "items": [null, 3]}, "float32", "dense_input"]}',
    '{"class_name": "TypeSpec", "type_spec": "tf.TensorSpec", "serialized": '
    '{"class_name": "__tuple__", "items": [{"class_name": "TensorShape", "items": '
    '[null, 6]}, "float32", "a"]}}',
)


@pytest.mark.parametrize("text", SPECS)
def test_type_spec_knows_its_shape_dtype_and_label(text: str) -> None:
    spec = metadata.decode(json.loads(text))
    assert isinstance(spec, TypeSpec)
    assert spec.name == "tf.TensorSpec"
    assert spec.shape in ((None, 3), (None, 6))
    assert spec.dtype == "float32"
    assert spec.label in ("dense_input", "a")


@pytest.mark.parametrize(
    "value",
    [
        (None, 3),
        TensorShape((None, 2)),
        TensorShape(None),
        TypeSpec("tf.RaggedTensorSpec", (TensorShape((None, None)), "int64", 1)),
        {"a": [1, 2.5, None, True], "b": ("x", (1,))},
        Ellipsis,
        b"\xff\x00text",
        [float("inf")],
    ],
)
def test_encoding_comes_back(value: object) -> None:
    assert metadata.decode(json.loads(metadata.dump(value))) == value


def test_numpy_values_become_plain() -> None:
    assert metadata.encode({"a": np.float32(0.5), "b": np.arange(2)}) == {
        "a": 0.5,
        "b": [0, 1],
    }


def test_value_that_json_cannot_say_is_an_error() -> None:
    with pytest.raises(TypeError, match="get_config"):
        metadata.encode({"layer": object()})


def test_a_config_named_like_a_spelling_is_left_alone() -> None:
    entry = {"class_name": "TensorShape", "config": {"name": "layer"}}
    assert metadata.decode(entry) == entry


@pytest.mark.parametrize("depth", [250, 100_000])
def test_deep_json_is_a_limit_error(depth: int) -> None:
    with pytest.raises(LimitError, match="nested too deeply"):
        metadata.parse_json("[" * depth + "]" * depth, path="p", object_path="root")


@pytest.mark.parametrize("text", ["{", "", "\xff", b"\xff\xfe{", "9" * 10_000])
def test_broken_json_is_a_format_error(text: str | bytes) -> None:
    with pytest.raises(FormatError, match=r"root.*file 'p'|Invalid JSON"):
        metadata.parse_json(text, path="p", object_path="root")
