"""The graphs of whole architectures are as small as tf_keras' own."""

from __future__ import annotations

import keras
import pytest

import regraft

NAMES = (
    "MobileNetV3Small",
    "ResNet50",
    "EfficientNetB0",
    "ConvNeXtTiny",
    "DenseNet121",
)


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_graph_is_as_small_as_tf_keras_own(name, peer, tmp_path):
    shape = (96, 96, 3)
    make = getattr(keras.applications, name)
    model = make(weights=None, input_shape=shape)
    regraft.save_model(model, tmp_path / "model")
    ours, theirs, our_bytes, their_bytes = peer.call(
        "saved_functions.application_ops", str(tmp_path / "model"), name, shape
    )
    assert sum(ours.values()) <= 1.0 * sum(theirs.values())
    assert our_bytes <= their_bytes
