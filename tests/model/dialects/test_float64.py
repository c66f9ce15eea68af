"""Layers of float64 compute what Keras 2 did, to the precision of float64."""

from __future__ import annotations

import json
import random
from typing import Any

import keras
import numpy as np
import pytest

from model.dialects import golden_cases
from model.dialects.golden_cases import arrays
from peer import Peer
from regraft.model.dialects.context import BuildContext
from regraft.model.dialects.describe_topology import describe_network
from regraft.model.dialects.dialect import KERAS_2
from regraft.model.dialects.topology import build_network

# TensorFlow has no kernel of float64 for their forward pass on a CPU.
WITHOUT_KERNEL = ("MaxPooling3D", "AveragePooling3D")
# Where Keras 2 itself computed, or kept constants, in float32.
ROUNDED = {
    "gelu": "tf.nn.gelu rounds its constants to float32",
    "bilinear": "TensorFlow resizes float64 in float32",
    "Resizing(7, 3)": "TensorFlow resizes float64 in float32",
    "crop_to_aspect_ratio": "TensorFlow resizes float64 in float32",
    "RandomCrop": "TensorFlow resizes float64 in float32",
}


def _cases() -> list[Any]:
    chosen = random.Random(0)
    rows = []
    for case in golden_cases.cases("layers-2.21"):
        expression = case["expression"]
        if any(name in expression for name in WITHOUT_KERNEL):
            continue
        marks: list[Any] = [] if chosen.randrange(20) == 0 else [pytest.mark.slow]
        marks += [
            pytest.mark.xfail(strict=True, reason=reason)
            for name, reason in ROUNDED.items()
            if name in expression
        ]
        rows.append(pytest.param(case, id=expression, marks=marks))
    return rows


def _wide(value: np.ndarray) -> np.ndarray:
    return value.astype("float64") if value.dtype.kind == "f" else value


def _compare(config: dict[str, Any], weights: Any, inputs: Any, peer: Peer) -> None:
    expected = peer.call("dialects.run", config, weights, inputs)
    model = build_network(config, BuildContext(KERAS_2))
    model.set_weights(weights)
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()
    got = model(inputs if len(inputs) > 1 else inputs[0], training=False)
    for value, wanted in zip(keras.tree.flatten(got), expected, strict=True):
        np.testing.assert_allclose(np.asarray(value), wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("case", _cases())
def test_layer_of_float64(case: dict[str, Any], peer: Peer) -> None:
    config = json.loads(json.dumps(case["config"]).replace('"float32"', '"float64"'))
    weights = [_wide(value) for value in arrays(case["weights"])]
    _compare(config, weights, [_wide(value) for value in arrays(case["inputs"])], peer)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("scale", [1 / 255, [0.1, 0.2, 0.3]])
@pytest.mark.parametrize("policy", ["float64", {"name": "float64"}])
def test_rescaling_rounds_its_scale_to_float32(
    scale: Any, policy: Any, peer: Peer
) -> None:
    """`tf.cast` makes a tensor of float32 of Python's numbers, whatever it casts to."""
    if isinstance(policy, dict):
        policy = {"class_name": "Policy", "config": policy}
    layer = {"scale": scale, "offset": 0.1, "dtype": policy, "name": "scaled"}
    given = {"batch_input_shape": [None, 4, 3], "dtype": "float64", "name": "given"}
    config = {
        "class_name": "Sequential",
        "config": {
            "name": "model",
            "layers": [
                {"class_name": "InputLayer", "config": given},
                {"class_name": "Rescaling", "config": layer},
            ],
        },
    }
    x = np.random.default_rng(0).uniform(0, 255, (2, 4, 3))
    _compare(config, [], [x], peer)
    model = build_network(config, BuildContext(KERAS_2))
    described = describe_network(model, KERAS_2, [])["config"]["layers"][1]
    assert described["class_name"] == "Rescaling"
    assert described["config"]["scale"] == scale
