"""Models that users write, without their classes, in all that TensorFlow is asked."""

from __future__ import annotations

import jax
import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops

import regraft
from interop.examples import make_example
from interop.models import Row
from interop.readers import COLUMNS, peers, read
from regraft.saving.trace_layers import trace_model

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def _floats(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


@jax.custom_vjp
def _reversed(x):
    return x * 1.0


_reversed.defvjp(lambda x: (x, None), lambda _, g: (-0.5 * g,))


@ops.custom_gradient
def _straight_through(x):
    def grad(*arguments, upstream=None):
        return arguments[0] if upstream is None else upstream

    return ops.round(x), grad


@jax.custom_jvp
def _steps(x):
    return jax.numpy.floor(x)


_steps.defjvp(lambda at, along: (_steps(*at), 3.0 * along[0]))


@jax.custom_vjp
def _safe_root(x):
    return jax.numpy.sqrt(x)


_safe_root.defvjp(lambda x: (jax.numpy.sqrt(x), x), lambda x, g: (g / x**0.5,))


class OwnDerivatives(L.Layer):
    """Computes what TensorFlow would derive otherwise."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = L.Dense(3)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        y = self.dense(x)
        # An infinite derivative leaves what is computed alone.
        zero = _safe_root(ops.stop_gradient(y) * 0.0)
        return _reversed(y) + _straight_through(3.0 * y) * _steps(2.0 * y) + zero


def own_derivatives():
    x = keras.Input((4,), name="x")
    return keras.Model(x, L.Dense(2)(OwnDerivatives()(x))), {"x": _floats(5, 4)}, None


def steps_of_any_count():
    """Layers that Keras loops over time for, where nobody says how long it is."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = L.Embedding(9, 4, mask_zero=True)(tokens)
    x = L.GRU(4, return_sequences=True)(x)
    x = L.TimeDistributed(L.Dense(3, activation="softmax"))(x)
    ids = np.random.default_rng(0).integers(0, 9, (3, 6)).astype("int32")
    return keras.Model(tokens, x), {"tokens": ids}, None


def neighbours():
    """A graph's nodes and which of them are neighbours, of any count."""

    class Neighbours(L.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[0][-1], 5), name="kernel")

        def call(self, inputs):
            nodes, edges = inputs
            return ops.relu(ops.matmul(edges, ops.matmul(nodes, self.kernel)))

        def compute_output_shape(self, shapes):
            return (*shapes[0][:-1], 5)

    nodes = keras.Input((None, 4), name="nodes")
    edges = keras.Input((None, None), name="edges")
    x = L.GlobalAveragePooling1D()(Neighbours()([nodes, edges]))
    given = {"nodes": _floats(2, 5, 4), "edges": _floats(2, 5, 5)}
    return keras.Model([nodes, edges], L.Dense(2)(x)), given, None


def weights_without_a_name():
    """Of what holds them no attribute of a layer knows, or another one has it now."""

    class Bag:
        pass

    class Owner(L.Layer):
        def build(self, shape):
            self.bag = Bag()
            self.bag.kernel = self.add_weight((shape[-1], 3), name="kernel")
            bias = self.add_weight((3,), name="bias", regularizer="l2")
            self.scale = first = self.add_weight((), name="first")
            self.scale = self.add_weight((), name="scale", regularizer="l2")
            self.add = lambda x: first * x + bias
            self.count = self.add_weight((), name="count", trainable=False)
            self.layers = {L.Dense(3, name="a"), L.Dense(3, name="b")}
            for layer in self.layers:
                layer.build((None, 3))

        def call(self, x, training=False):
            if training:
                self.count.assign_add(1.0)
            y = self.add(ops.matmul(x, self.bag.kernel)) * (self.scale + self.count)
            return sum(layer(y) for layer in self.layers)

    x = keras.Input((4,), name="x")
    return keras.Model(x, L.Dense(2)(Owner()(x))), {"x": _floats(5, 4)}, None


@keras.saving.register_keras_serializable()
class Step(L.Layer):
    """A cell with regularized weights of its own and below it."""

    state_size = output_size = 3

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = L.Dense(3, kernel_regularizer="l2")

    def build(self, shape):
        self.kernel = self.add_weight((shape[-1], 3), name="k", regularizer="l2")
        self.dense.build((None, 3))

    def call(self, x, states):
        state = ops.tanh(ops.matmul(x, self.kernel) + states[0])
        return self.dense(state), [state]


def stacked_cells():
    x = keras.Input((5, 4), name="x")
    cells = [L.GRUCell(4, kernel_regularizer="l2"), Step(), Step()]
    return keras.Model(x, L.RNN(cells)(x)), {"x": _floats(3, 5, 4)}, None


@pytest.mark.peer
@pytest.mark.parametrize(
    "make",
    [
        own_derivatives,
        steps_of_any_count,
        neighbours,
        weights_without_a_name,
        stacked_cells,
    ],
)
def test_readers_agree(make, tmp_path):
    example = make_example(Row("", make), tmp_path)
    with peers() as ask:
        for reader in ("saved_model", "tf_keras", "regraft"):
            for column, cell in read(reader, example, ask).items():
                assert cell.holds(1e-5 * COLUMNS[column]), (column, cell)


@jax.custom_vjp
def _clipped(x):
    return x * 1.0


_clipped.defvjp(lambda x: (x, None), lambda _, g: (jax.numpy.clip(g, -1, 1),))


def test_derivatives_that_are_not_linear_are_noted():
    class Clips(L.Layer):
        def call(self, x):
            return _clipped(x)

    model = keras.Sequential([keras.Input((3,)), Clips()])
    ((_, note),) = trace_model(model).notes
    assert "'_clipped'" in note


@pytest.mark.parametrize(
    ("layer", "note"),
    [
        (L.Cropping1D(3), "at least 32"),
        (L.Cropping1D(1), "at least 4"),
        (L.TimeDistributed(L.BatchNormalization()), None),
    ],
)
def test_lengths_are_as_unknown_as_layers_allow(layer, note):
    model = keras.Sequential([keras.Input((None, 4)), layer])
    notes = [text for _, text in trace_model(model).notes]
    assert [note in text for text in notes] == ([] if note is None else [True])


def operations_of_keras_3():
    """A network of operations that Keras 2 has no words for."""
    x = keras.Input((4,), name="x")
    ids = keras.Input((4,), dtype="int32", name="ids")
    y = ops.normalize(L.Dense(6)(x), axis=-1)
    values, places = ops.top_k(y, 3)
    y = ops.einsum("bi,bj->bij", values, y)
    mixed = ops.cast(places, "float32") + ids[:, :3]
    z = ops.concatenate([ops.reshape(y, (-1, 18)), ops.logaddexp(mixed, 0.5)], -1)
    model = keras.Model([x, ids], [L.Dense(2, name="out")(z), places])
    given = {"x": _floats(5, 4), "ids": np.arange(20, dtype="int32").reshape(5, 4)}
    return model, given, None


@pytest.mark.peer
def test_tf_keras_runs_operations_that_it_has_no_words_for(tmp_path):
    example = make_example(Row("", operations_of_keras_3), tmp_path, trains=False)
    again = regraft.load_model(example.path)
    regraft.save_model(again, tmp_path / "again")
    with peers() as ask:
        for path in (example.path, tmp_path / "again"):
            given = str(path), example.given, example.targets
            found = ask.tensorflow.call("interop.tf_keras", *given)
            for got, expected in zip(found["outputs"], example.outputs, strict=True):
                np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
