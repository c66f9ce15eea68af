"""The architectures of tf_keras.applications, trained a step and saved."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import tf_keras
from tf_keras.src.applications import inception_resnet_v2

BATCH = 4
CLASSES = 5


def names() -> list[str]:
    """Every constructor."""
    return sorted(
        name for name, value in vars(tf_keras.applications).items() if callable(value)
    )


def write(
    name: str, size: int, rate: float, floatx: str, directory: str
) -> dict[str, Any]:
    """Saves a model with random weights after a step of Adam, and takes another.

    The peer computes in `floatx` from then on.

    Returns:
        The data, predictions before and after the second step, and its weights then;
        of a model that draws numbers in training, those before alone.
    """
    tf_keras.backend.clear_session()
    tf_keras.backend.set_floatx(floatx)
    tf_keras.utils.set_random_seed(3)
    make = getattr(tf_keras.applications, name)
    model = make(weights=None, input_shape=(size, size, 3), classes=CLASSES)
    # An epsilon that keeps steps of vanishing gradients from being their sign.
    optimizer = tf_keras.optimizers.Adam(rate, epsilon=1e-3)
    model.compile(optimizer, "categorical_crossentropy")
    rng = np.random.RandomState(5)
    x = rng.uniform(0, 255, (BATCH, size, size, 3))
    y = np.eye(CLASSES)[rng.randint(0, CLASSES, BATCH)]
    model.train_on_batch(x, y)
    model.save(os.path.join(directory, "plain"), save_traces=False)
    model.save(os.path.join(directory, "model.h5"))
    before = model.predict(x, verbose=0)
    # Dropout draws other numbers in each Keras.
    random = any(
        getattr(layer, "rate", 0) or getattr(layer, "drop_path_rate", 0)
        for layer in model._flatten_layers()
    )
    found = {"x": x, "y": y, "before": before, "random": random}
    if random:
        return found
    model.train_on_batch(x, y)
    found["after"] = model.predict(x, verbose=0)
    found["weights"] = {
        layer.name: layer.get_weights() for layer in model.layers if layer.weights
    }
    return found


def write_scaled(path: str) -> None:
    """Saves a network with the layer that InceptionResNetV2 registers as one's own."""
    given = [tf_keras.Input((3,)) for _ in range(2)]
    tf_keras.Model(given, inception_resnet_v2.CustomScaleLayer(0.3)(given)).save(path)


def predict(path: str, inputs: list[Any]) -> Any:
    """Loads a model and predicts."""
    return tf_keras.models.load_model(path).predict(inputs, verbose=0)
