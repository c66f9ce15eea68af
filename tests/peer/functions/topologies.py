"""Models whose config and weights are in files of their own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tf_keras
from tf_keras import layers


def save(folder: str) -> dict[str, Any]:
    """Saves one model as `model.json` and `weights.h5`, and without them as HDF5."""
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(3)
    inputs = tf_keras.Input((6, 3), name="steps")
    x = layers.Conv1D(4, 3, padding="causal", activation="hard_sigmoid")(inputs)
    x = layers.Bidirectional(layers.GRU(2, return_sequences=True))(x)
    x = layers.BatchNormalization()(layers.LayerNormalization()(x))
    model = tf_keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    given = np.random.default_rng(0).normal(size=(4, 6, 3)).astype("float32")
    model.compile("adam", "mse")
    model.fit(given, np.ones((4, 2), "float32"), verbose=0)
    Path(folder, "model.json").write_text(model.to_json())
    model.save_weights(os.path.join(folder, "weights.h5"))
    model.save(os.path.join(folder, "config.h5"))
    with h5py.File(os.path.join(folder, "config.h5"), "a") as file:
        for name in list(file):
            del file[name]
    return {
        "inputs": given,
        "outputs": model.predict(given, verbose=0),
        "shapes": [weight.shape for weight in model.get_weights()],
    }
