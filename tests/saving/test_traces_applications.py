"""The graphs of whole architectures are as small as tf_keras' own."""

from __future__ import annotations

import keras
import pytest

import regraft

# Every model of `keras.applications`.
NAMES = tuple(
    name
    for name in sorted(dir(keras.applications))
    if isinstance(getattr(keras.applications, name), type(lambda: None))
)
SHAPE = (96, 96, 3)
MOST_OPS = 1.3


def _compare(name, peer, path):
    model = getattr(keras.applications, name)(weights=None, input_shape=SHAPE)
    regraft.save_model(model, path)
    ours, theirs, our_bytes, their_bytes = peer.call(
        "saved_functions.application_ops", str(path), name, SHAPE
    )
    print(
        f"{name}: {sum(ours.values())} ops of {sum(theirs.values())}, "
        f"{our_bytes} bytes of {their_bytes}"
    )
    assert sum(ours.values()) <= MOST_OPS * sum(theirs.values())
    assert our_bytes <= their_bytes


def test_graph_of_a_small_architecture_is_as_small_as_tf_keras_own(peer, tmp_path):
    _compare("MobileNet", peer, tmp_path / "model")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_graph_is_as_small_as_tf_keras_own(name, peer, tmp_path):
    _compare(name, peer, tmp_path / "model")
    keras.utils.clear_session()
