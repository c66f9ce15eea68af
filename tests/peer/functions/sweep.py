"""tf_keras' side of the sweeps over layers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
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


def call_traced(reader: str, path: str, x: Any, factors: Any) -> dict[str, Any]:
    """What the functions in a file give, in inference and in training.

    Args:
        reader: `tf_keras`, or `saved_model` for TensorFlow itself.
        path: The file.
        x: A list of arrays.
        factors: Of the outputs in the sum whose gradients are taken.
    """
    tf_keras.backend.clear_session()
    if reader == "tf_keras":
        model = tf_keras.models.load_model(path)
    else:
        model = tf.saved_model.load(path)
    return {
        str(training): _call_traced(model, reader, x, factors, training)
        for training in (False, True)
    }


def _call_traced(
    model: Any, reader: str, x: Any, factors: Any, training: bool
) -> dict[str, Any]:
    tensors = [tf.constant(array) for array in x]
    floats = [i for i, array in enumerate(x) if array.dtype == "float32"]
    trainable = list(model.trainable_variables)
    before = [(v, v.numpy()) for v in model.variables]
    with tf.GradientTape() as tape:
        tape.watch([tensors[i] for i in floats])
        if reader == "tf_keras":
            outputs = model(models.given(tensors), training=training)
            losses = model.losses
        else:
            call = model.call_and_return_all_conditional_losses
            # As tf_keras' own models pass several inputs on.
            given = tuple(tensors) if len(tensors) > 1 else tensors[0]
            outputs, losses = call(given, training=training)
            losses = [*losses, *(loss() for loss in model.regularization_losses)]
        outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
        total = tf.add_n(
            [
                tf.reduce_sum(tf.cast(value, tf.float32) * factor)
                for value, factor in zip(outputs, factors, strict=True)
            ]
        )
    wanted = (trainable, [tensors[i] for i in floats])
    by_variable, by_input = tape.gradient(total, wanted)
    state = {_name(v): v.numpy().astype("float32") for v, _ in before}
    for variable, value in before:
        variable.assign(value)
    return {
        "outputs": models.as_arrays(outputs),
        "losses": float(
            sum(float(tf.reduce_sum(tf.cast(v, tf.float32))) for v in losses)
        ),
        "gradients": {
            _name(v): models.as_arrays(tf.convert_to_tensor(g))[0]
            for v, g in zip(trainable, by_variable, strict=True)
            if g is not None
        },
        "by_input": {
            place: models.as_arrays(tf.convert_to_tensor(g))[0]
            for place, g in zip(floats, by_input, strict=True)
            if g is not None
        },
        "state": state,
    }


def _name(variable: Any) -> str:
    return variable.name.removesuffix(":0")


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
