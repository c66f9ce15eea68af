"""Large constants that functions use stand in a file once."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops

import regraft
from peer import fresh_process
from regraft.storage.proto import messages

LARGE = 1024
ROWS = np.random.default_rng(0).normal(size=(40, 20)).astype("float32")
AGAIN = """\
import os, sys
os.environ["KERAS_BACKEND"] = "jax"
import numpy as np
import regraft

path, again, given, found = sys.argv[1:]
regraft.save_model(regraft.load_model(path), again)
np.save(found, regraft.load_model(again).predict(np.load(given), verbose=0))
"""
X = np.random.default_rng(1).integers(0, 40, (5, 3)).astype("int32")


class ByRows(keras.regularizers.Regularizer):
    def __call__(self, kernel):
        return ops.sum(kernel @ ROWS.T)

    def get_config(self):
        return {}


class Table(L.Layer):
    """Rows that nobody trains, which are no variable; and what training does."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.rows = ops.convert_to_tensor(ROWS)
        self.dense = L.Dense(20, kernel_regularizer=ByRows())

    def build(self, shape):
        self.dense.build((*shape, 20))

    def call(self, ids, training=False):
        rows = ops.take(self.rows, ids, axis=0)
        self.add_loss(ops.mean(rows @ ROWS.T))
        return self.dense(rows if training else rows * 2.0)


def _model():
    ids = keras.Input((3,), dtype="int32", name="ids")
    hidden = L.Add()([Table(name="one")(ids), Table(name="other")(ids)])
    return keras.Model(ids, L.LSTM(4)(hidden))


def _constants(path):
    """Bytes of large constants, of the main graph and of functions."""
    meta = messages.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    graph = meta.meta_graphs[0].graph_def
    inside = [node for f in graph.library.function for node in f.node_def]
    return [
        sorted(
            size
            for node in nodes
            if node.op == "Const"
            and (size := len(node.attr["value"].tensor.tensor_content)) > LARGE
        )
        for nodes in (graph.node, inside)
    ]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    keras.utils.set_random_seed(4)
    model = _model()
    model.compile(keras.optimizers.SGD(0.1), "mse")
    path = tmp_path_factory.mktemp("constants") / "model"
    regraft.save_model(model, path)
    return path, model


def test_each_stands_in_the_main_graph_once(saved):
    # The rows, and the same transposed.
    assert _constants(saved[0]) == [[ROWS.nbytes] * 2, []]


def test_tensorflow_keras_and_the_signature_agree(saved, peer):
    path, model = saved
    expected = np.asarray(model(X))
    outputs = peer.call("saved_functions.call", str(path), X, training=False)[0]
    np.testing.assert_allclose(outputs[0], expected, rtol=1e-5, atol=1e-6)
    for served in peer.call("saved_functions.serve", str(path), {"ids": X}):
        np.testing.assert_allclose(*served.values(), expected, rtol=1e-5, atol=1e-6)
    got, losses, _, _ = peer.call("saved_functions.revive", str(path), X)
    np.testing.assert_allclose(got[0], expected, rtol=1e-5, atol=1e-6)
    model(X)
    np.testing.assert_allclose(sorted(losses), sorted(model.losses), rtol=1e-4)


def test_they_are_shared_after_a_second_save_too(saved, tmp_path):
    path, model = saved
    np.save(tmp_path / "x.npy", X)
    again, given, found = (str(tmp_path / n) for n in ("again", "x.npy", "y.npy"))
    fresh_process(AGAIN, str(path), again, given, found)
    assert _constants(tmp_path / "again") == _constants(path)
    expected = np.asarray(model(X))
    np.testing.assert_allclose(np.load(found), expected, rtol=1e-5, atol=1e-6)
