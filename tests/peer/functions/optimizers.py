"""tf_keras models that are trained, saved, loaded and trained on."""

from __future__ import annotations

import numpy as np


def data(distinct):
    """Rows of ids and targets; the ids may repeat, and some never come."""
    random = np.random.RandomState(5)
    ids = random.permutation(20)[:18] if distinct else random.randint(0, 8, size=18)
    return ids.reshape(6, 3), random.normal(size=(6, 2))


def model():
    """A table and two dense layers, as `test_round_trip.py` has it in Keras 3."""
    import tf_keras

    layers = tf_keras.layers
    return tf_keras.Sequential(
        [
            layers.Input((3,)),
            layers.Embedding(20, 4, name="table"),
            layers.Flatten(name="flat"),
            layers.Dense(5, "tanh", name="hidden"),
            layers.Dense(2, name="out"),
        ]
    )


def train(trained, steps, distinct):
    """Takes steps and returns the weights after each."""
    ids, targets = data(distinct)
    found = []
    for _ in range(steps):
        trained.train_on_batch(ids, targets)
        found.append([np.array(weight) for weight in trained.get_weights()])
    return found


def _optimizer(class_name, arguments, kind):
    import tf_keras

    module = tf_keras.optimizers
    if kind == "legacy":
        module = module.legacy
    arguments = dict(arguments)
    schedule = arguments.pop("schedule", None)
    if schedule:
        name, values = schedule
        cls = getattr(tf_keras.optimizers.schedules, name)
        arguments["learning_rate"] = cls(**values)
    return getattr(module, class_name)(**arguments)


def write(folder, class_name, arguments, kind, distinct, scaled=False):
    """Saves a model after three steps; returns its weights after three more."""
    import tf_keras

    tf_keras.utils.set_random_seed(1)
    written = model()
    optimizer = _optimizer(class_name, arguments, kind)
    if scaled:
        optimizer = tf_keras.mixed_precision.LossScaleOptimizer(optimizer)
    written.compile(optimizer, "mse")
    train(written, 3, distinct)
    written.save(folder / "saved_model", save_format="tf")
    written.save(folder / "model.h5")
    return train(written, 3, distinct)


def load_and_train(path, distinct):
    """Returns weights after each of three steps, the iterations, and the class."""
    import tf_keras

    loaded = tf_keras.models.load_model(path)
    found = train(loaded, 3, distinct)
    return found, int(loaded.optimizer.iterations), type(loaded.optimizer).__name__
