"""tf_keras' side of the sweeps over layers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import tf_keras

from sweep import models, optimizers
from sweep.cases import Case


def write(
    cases: Sequence[Case], directory: str, formats: Sequence[str]
) -> dict[str, Any]:
    """Makes the model of some cases, trains a step, saves it, and goes on.

    Args:
        cases: The branches.
        directory: Where `traces`, `plain` and `h5` go.
        formats: Which of these.

    Returns:
        The data, and what `models.build` and `models.follow` tell.
    """
    tf_keras.backend.clear_session()
    rng = models.random_state(cases)
    model, branches = models.build(tf_keras, cases)
    model.run_eagerly = True  # Nothing to compile for a step or two.
    models.spread(model, rng)
    x = models.given(models.draw(cases, rng))
    y = models.targets(models.as_arrays(model.predict(x, verbose=0)), rng)
    if model.trainable_weights:
        model.train_on_batch(x, y)
    # No format but that with traces holds the states of recurrent layers.
    model.reset_states()
    for name in formats:
        path = os.path.join(directory, name)
        if name == "h5":
            model.save(path, save_format="h5")
        else:
            model.save(path, save_format="tf", save_traces=name == "traces")
    return {"x": x, "y": y, "branches": branches, **models.follow(model, x, y)}


def read(path: str, x: Any, y: Any) -> dict[str, Any]:
    """What a model that tf_keras opens gives."""
    tf_keras.backend.clear_session()
    model = tf_keras.models.load_model(path)
    model.run_eagerly = True
    return models.follow(model, x, y)


def write_optimizer(folder: str, case: optimizers.Case) -> Any:
    """Saves a model after some steps; returns its weights after each of more."""
    tf_keras.backend.clear_session()
    module = tf_keras.optimizers
    names = {
        "O": module.legacy if case.kind == "legacy" else module,
        "S": module.schedules,
    }
    scaled = tf_keras.mixed_precision.LossScaleOptimizer
    optimizer = optimizers.make(case, names, scaled)
    model = optimizers.build(tf_keras, optimizer, case.eager)
    optimizers.train(model, case.clips)
    model.save(os.path.join(folder, "plain"), save_format="tf", save_traces=False)
    model.save(os.path.join(folder, "model.h5"))
    return optimizers.train(model, case.clips)


def read_optimizer(path: str, case: optimizers.Case) -> Any:
    """The weights after each of some steps."""
    tf_keras.backend.clear_session()
    model = tf_keras.models.load_model(path)
    model.run_eagerly = case.eager
    return optimizers.train(model, case.clips)
