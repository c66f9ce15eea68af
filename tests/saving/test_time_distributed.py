"""What Keras 2 trains otherwise than Keras 3, of a `TimeDistributed` of one config."""

from __future__ import annotations

import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import regraft
from peer import Peer

pytestmark = pytest.mark.peer

INNER = {
    "counts its layer's activity regularizer": lambda: layers.Dense(
        2, activity_regularizer="l2"
    ),
    "normalizes all steps as one batch": lambda: keras.Sequential(
        [layers.Dense(2), layers.BatchNormalization()]
    ),
}


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
@pytest.mark.parametrize("words", INNER)
def test_savedmodel_trains_as_keras_3_and_hdf5_says_that_it_does_not(
    words: str, tmp_path: Path, peer: Peer
) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5, 3))
    outputs = layers.TimeDistributed(INNER[words](), name="steps")(inputs)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(4, 5, n)).astype("float32") for n in (3, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        regraft.save_model(model, tmp_path / "m")
    for name in ("m.h5", "plain"):
        with pytest.warns(UserWarning, match=f"'steps': Keras 2's .* {words}"):
            regraft.save_model(model, tmp_path / name, save_traces=False)
    found = {
        name: peer.call("unusual_models.steps_of", str(tmp_path / name), x, y, 3)
        for name in ("m", "m.h5", "plain")
    }
    again = regraft.load_model(tmp_path / "m")
    assert type(again.get_layer("steps")) is layers.TimeDistributed
    expected = []
    for _ in range(3):
        for each in (model, again):
            each.reset_metrics()
            expected.append(float(np.ravel(each.train_on_batch(x, y))[0]))
    assert expected[::2] == expected[1::2]
    np.testing.assert_allclose(found["m"], expected[::2], rtol=1e-5)
    # Else there would be nothing to say.
    for name in ("m.h5", "plain"):
        assert not np.allclose(found[name], expected[::2], rtol=1e-4)
