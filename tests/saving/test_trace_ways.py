"""A layer that can't be traced costs its own functions, not those of others."""

from __future__ import annotations

import jax
import keras
import pytest
from keras import layers as L

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
