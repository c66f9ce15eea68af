"""A layer that can't be traced costs its own functions, not those of others."""

from __future__ import annotations

import jax
import keras
import numpy as np
import pytest
from keras import layers as L

import regraft
from regraft.saving.trace_layers import trace_model


def _odd(x):
    """A reduction by a function, which TensorFlow has no op for."""
    return jax.lax.reduce(x[..., None], 0.0, lambda a, b: a + 2.0 * b, (x.ndim,))


class OddInTraining(L.Layer):
    """Computes in training what TensorFlow has no op for."""

    def call(self, x, training=False):
        return _odd(x) if training else x * 2


class Odd(L.Layer):
    """Computes what TensorFlow has no op for."""

    def call(self, x):
        return _odd(x)


class InTurn(L.Layer):
    """Sums up steps one by one, in Python's words."""

    def call(self, x):
        total = 0.0
        for step in range(x.shape[1] or 1):
            total = 0.5 * total + x[:, step]
        return total

    def compute_output_shape(self, shape):
        return (shape[0], *shape[2:])


def _traced(*layers, shape=(4,)):
    model = keras.Sequential([keras.Input(shape), *layers])
    traces = trace_model(model)
    return model, traces, [name for name, _ in traces.notes]


def _counts(model, traces):
    return [
        len(traces.layers[id(layer)].call.concrete_functions)
        for layer in (model, *model.layers)
        if id(layer) in traces.layers
    ]


def test_other_layers_train_where_one_only_infers():
    model, traces, notes = _traced(OddInTraining(name="odd"), L.Dropout(0.5))
    assert notes == ["odd"]
    assert _counts(model, traces) == [2, 2, 2]
    trained, inferred = (
        {node.op for node in traces.functions[f.name].nodes}
        for f in traces.layers[id(model.layers[1])].call.concrete_functions
    )
    assert "RandomUniform" in trained - inferred


def test_other_layers_keep_functions_where_one_has_none():
    model, traces, notes = _traced(L.Dense(3), Odd(), L.Dropout(0.5))
    assert notes[0] == model.name
    assert {id(layer) for layer in model.layers if not isinstance(layer, Odd)} <= set(
        traces.layers
    )
    assert id(model.layers[1]) not in traces.layers
    assert not traces.signatures


@pytest.mark.parametrize("layer", [L.MixUp, L.CutMix])
def test_shuffles_of_a_batch_of_any_size_are_traced(layer):
    model, traces, notes = _traced(layer(), shape=(8, 8, 3))
    assert not notes
    assert _counts(model, traces) == [2, 2]


def test_no_two_loops_of_a_signature_share_a_function():
    text = keras.Input((None,), dtype="int32")
    x = L.Bidirectional(L.LSTM(3))(L.Embedding(5, 4, mask_zero=True)(text))
    traces = trace_model(keras.Model(text, x))
    function = traces.functions[traces.signatures["serving_default"].function.name]
    loops = [node for node in function.nodes if node.op == "StatelessWhile"]
    assert len(loops) == 2
    assert len({loop.attrs["body"].name for loop in loops}) == 2
    assert len({loop.attrs["cond"].name for loop in loops}) == 2


def test_a_layer_inside_a_wrapper_has_functions_of_its_own():
    x = keras.Input((4,))
    dense = L.Dense(3)
    model = keras.Model(x, L.Dropout(0.5)(L.SpectralNormalization(dense)(x)))
    functions = trace_model(model).layers[id(dense)].call
    takes = dict(functions.function_spec.fullargspec.items)["args"]
    assert takes == ["inputs", "training"]
    for concrete in functions.concrete_functions:
        args, _ = concrete.input_signature
        assert len(args) == len(takes)


@pytest.mark.peer
def test_any_batch_is_taken_where_one_length_is(tmp_path, peer):
    x = keras.Input((None, 3), name="x")
    model = keras.Model(x, L.Dense(2)(InTurn()(x)))
    spec = keras.InputSpec(shape=(None, 6, 3), dtype="float32", name="x")
    signatures = {"six": regraft.export_signature(model, [spec])}
    with pytest.warns(UserWarning, match="lengths of 1 in any batch"):
        regraft.save_model(model, tmp_path / "m", signatures=signatures)
    for batch, length in ((3, 6), (5, 6)):
        given = np.random.default_rng(batch).normal(size=(batch, length, 3))
        given = given.astype("float32")
        expected = model(given)
        arguments = {"x": given}
        found = peer.call("modules.call_signature", tmp_path / "m", "six", arguments)
        np.testing.assert_allclose(*found.values(), expected, atol=1e-5)
        got, _ = peer.call("saved_functions.call", str(tmp_path / "m"), given[:, :1])
        np.testing.assert_allclose(got[0], model(given[:, :1]), atol=1e-5)
