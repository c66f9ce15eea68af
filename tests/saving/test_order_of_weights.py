"""The optimizer goes on in tf_keras where nobody has the class of a layer."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers as L

import regraft
from peer import Peer

pytestmark = pytest.mark.peer


class Mixed(L.Layer):
    """Sets weights of one shape by themselves, in lists and in dicts, in turns.

    What it finds of layers inside is its own, too, as in wrappers.
    """

    def build(self, shape):
        def weight(name):
            return self.add_weight(shape=(shape[-1],), name=name)

        self.parts = [weight("a"), weight("b")]
        self.alone = weight("c")
        self.table = {"z": weight("d"), "y": weight("e")}
        self.inner = L.Dense(3)
        self.inner.build(shape)
        self.wrapped = {"kernel": self.inner.kernel}
        self.last = weight("f")
        self.groups = [L.Dense(3), weight("g")]
        self.groups[0].build(shape)
        self.found = self.groups[0].bias

    def call(self, x):
        (a, b), c, (d, e) = self.parts, self.alone, self.table.values()
        y = x * a + 2 * b + 3 * x * c + 4 * x * x * d + keras.ops.sin(x) * e
        y = y + keras.ops.cos(x) * self.last + 5 * self.groups[1]
        return self.inner(y) * self.groups[0](x)

    def compute_output_shape(self, shape):
        return (*shape[:-1], 3)


@pytest.mark.parametrize("again", [False, True])
def test_slots_are_those_of_the_weights_in_a_layer_without_class(
    again: bool, tmp_path: Path, peer: Peer
) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Mixed()(inputs))
    model.compile(keras.optimizers.Adam(0.05), "mse")
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(5, n)).astype("float32") for n in (4, 3))
    for _ in range(3):
        model.train_on_batch(x, y)
    regraft.save_model(model, tmp_path / "m")
    if again:
        model = regraft.load_model(tmp_path / "m")
        regraft.save_model(model, tmp_path / "m")
    got = peer.call("unusual_models.steps_of", str(tmp_path / "m"), x, y, 4)
    wanted = []
    for _ in range(4):
        model.reset_metrics()
        wanted.append(float(np.ravel(model.train_on_batch(x, y))[0]))
    np.testing.assert_allclose(got, wanted, rtol=1e-4)
