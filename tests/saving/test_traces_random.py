"""Random numbers that are drawn in loops, in layers whose classes nobody has."""

from __future__ import annotations

import json

import keras
import numpy as np
from keras import layers as L
from keras import ops

import regraft
from peer import fresh_process

STEPS = """\
import json, os, sys
os.environ["KERAS_BACKEND"] = "jax"
import numpy as np
import regraft

path, given = sys.argv[1:]
x = np.load(given)
model = regraft.load_model(path)
losses = [float(model.train_on_batch(x, x)) for _ in range(3)]
outputs = [model(x, training=True) for _ in range(2)]
print(json.dumps([losses, [np.asarray(y).tolist() for y in outputs]]))
"""


class Rejected(L.Layer):
    """Draws by rejection: nobody knows how many rounds that takes."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed = keras.random.SeedGenerator(3)

    def call(self, x, training=False):
        if not training:
            return x
        shape = ops.shape(x)
        weight = keras.random.beta(shape, 2.0, 3.0, seed=self.seed)
        return x * weight + keras.random.binomial(shape, 5.0, 0.5, seed=self.seed)


def test_a_compiled_step_draws_anew(tmp_path):
    x = keras.Input((5,))
    model = keras.Model(x, Rejected()(L.Dense(5)(x)))
    # Large steps would make losses equal soonest.
    model.compile(keras.optimizers.SGD(0.0), "mse")
    regraft.save_model(model, tmp_path / "m")
    given = np.random.default_rng(0).normal(size=(64, 5)).astype("float32")
    np.save(tmp_path / "x.npy", given)
    script = fresh_process(STEPS, str(tmp_path / "m"), str(tmp_path / "x.npy"))
    losses, outputs = json.loads(script.stdout.splitlines()[-1])
    assert len(set(losses)) == 3
    first, second = map(np.asarray, outputs)
    assert np.any(first != second)
    # Its mean is 0.4 times the input and 2.5 more.
    noise = np.concatenate([first, second]) - 0.4 * np.tile(
        np.asarray(model(given)), (2, 1)
    )
    assert abs(noise.mean() - 2.5) < 0.2
