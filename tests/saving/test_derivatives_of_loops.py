"""TensorFlow derives loops and branches that have much in common, but not all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from keras import layers as L

import regraft
from peer import Peer

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore:model 'functional.*these layers have no config"),
]


def _scan(x: Any, w: Any, step: Any) -> Any:
    def both(carry: Any, row: Any) -> Any:
        return (step(carry @ w + row),) * 2

    rows = jnp.swapaxes(x, 0, 1)
    return jnp.swapaxes(jax.lax.scan(both, x[:, 0], rows)[1], 0, 1)


def _scans(step: Any) -> Any:
    return lambda x, w: _scan(x, w, step)


def _nested(factor: float) -> Any:
    def rows(x: Any, w: Any) -> Any:
        return jax.lax.map(lambda row: _scan(row[None], w, jnp.tanh)[0] * factor, x)

    return rows


def _chosen(other: Any) -> Any:
    def branches(x: Any, w: Any) -> Any:
        return jax.lax.cond(x.sum() > 99, lambda v: v, lambda v: other(v, w), x)

    return branches


class Computes(L.Layer):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def build(self, shape: Any) -> None:
        self.w = self.add_weight(shape=(3, 3), name="w")

    def compute_output_shape(self, shape: Any) -> Any:
        return shape

    def call(self, x: Any) -> Any:
        return self.function(x, self.w.value)


class Recurrent(L.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.stages = [
            kind(3, return_sequences=True, activation=activation)
            for kind in (L.SimpleRNN, L.LSTM)
            for activation in ("tanh", "sigmoid")
        ]

    def build(self, shape: Any) -> None:
        for stage in self.stages:
            stage.build(shape)

    def call(self, x: Any) -> Any:
        for stage in self.stages:
            x = stage(x)
        return x


@keras.saving.register_keras_serializable()
class Leaning(L.Layer):
    state_size = output_size = 3

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = L.Dense(3)

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(3, 3), name="kernel")
        self.dense.build((None, 3))

    def call(self, x: Any, states: Any) -> Any:
        state = jnp.tanh(x @ self.kernel + states[0])
        return self.dense(state), [state]


def _both_directions() -> list[keras.Layer]:
    rows = L.RNN(Leaning(), return_sequences=True)
    return [L.Dense(3), L.Bidirectional(rows, merge_mode="mul")]


def _one_after_another(*functions: Any) -> Any:
    return lambda: [Computes(function) for function in functions]


def _twice(x: Any, w: Any) -> Any:
    return _scan(_scan(x, w, jnp.tanh), w, jnp.tanh)


def _two(x: Any, w: Any) -> Any:
    return _scan(_scan(x, w, jnp.tanh), w, jnp.sin)


CASES = {
    "twice in a layer": _one_after_another(_twice),
    "two in a layer": _one_after_another(_two),
    "in two layers": _one_after_another(_scans(jnp.tanh), _scans(jnp.sin)),
    "inside of others": _one_after_another(_nested(1.0), _nested(2.0)),
    "branches": _one_after_another(
        _chosen(lambda v, w: jnp.sin(v) * w[0]), _chosen(lambda v, w: jnp.tanh(v @ w))
    ),
    "both directions": _both_directions,
    "Keras' layers": lambda: [Recurrent()],
}


@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_those_of_jax(name: str, tmp_path: Path, peer: Peer) -> None:
    keras.utils.set_random_seed(3)
    given = x = keras.Input((None, 3))
    for layer in CASES[name]():
        x = layer(x)
    model = keras.Model(given, x)
    regraft.save_model(model, tmp_path / "m")
    rows = np.random.default_rng(3).normal(size=(2, 5, 3)).astype("float32")

    rest = [v.value for v in model.non_trainable_variables]

    def total(values: Any) -> Any:
        return jnp.sum(model.stateless_call(values, rest, rows, training=True)[0])

    variables = model.trainable_variables
    expected = jax.grad(total)([v.value for v in variables])
    regraft.save_model(regraft.load_model(tmp_path / "m"), tmp_path / "again")
    for path in (tmp_path / "m", tmp_path / "again"):
        found = peer.call("saved_functions.derivatives", str(path), rows)
        for variable, wanted in zip(variables, expected, strict=True):
            got = next(g for n, g in found.items() if n == f"{variable.path}:0")
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
