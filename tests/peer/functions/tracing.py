"""Runs TensorFlow functions that Regraft wrote."""

from __future__ import annotations

from typing import Any

import numpy as np


def run_functions(requests: list[dict[str, Any]]) -> list[Any]:
    """Runs functions on values.

    Args:
        requests: Each has `library`, a serialized `FunctionDefLibrary`; `name` of the
            function; `calls`, lists of arrays; `variables`, by position among the
            arguments the value that a variable holds.

    Returns:
        Per request the results of each call and what its variables hold then, or
        the text of the error.
    """
    return [_guarded(request) for request in requests]


def _guarded(request: dict[str, Any]) -> Any:
    try:
        return _run(**request)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _run(library: bytes, name: str, calls: list, variables: dict[int, Any]) -> Any:
    import tensorflow as tf
    from tensorflow.core.framework import function_pb2
    from tensorflow.python.eager import context, execute

    proto = function_pb2.FunctionDefLibrary.FromString(library)
    eager = context.context()
    eager.ensure_initialized()
    (main,) = (f for f in proto.function if f.signature.name == name)
    for function in proto.function:
        eager.add_function_def(function)
    try:
        results = []
        for arrays in calls:
            given = iter(arrays)
            held = {i: tf.Variable(value) for i, value in variables.items()}
            inputs = [
                _held(held[i], arg)
                if i in held
                else tf.constant(next(given), _dtype(arg))
                for i, arg in enumerate(main.signature.input_arg)
            ]
            outputs = execute.execute(
                name.encode(),
                num_outputs=len(main.signature.output_arg),
                inputs=inputs,
                attrs=("executor_type", "", "config_proto", b""),
                ctx=eager,
            )
            after = {i: variable.numpy() for i, variable in held.items()}
            results.append(([np.asarray(o.numpy()) for o in outputs], after))
        return results
    finally:
        for function in proto.function:
            eager.remove_function(function.signature.name)


def _held(variable: Any, arg: Any) -> Any:
    """The variable, or its value, where a function takes that: a large constant."""
    is_resource = _dtype(arg) == variable.handle.dtype
    return variable.handle if is_resource else variable.read_value()


def _dtype(arg: Any) -> Any:
    import tensorflow as tf

    return tf.dtypes.as_dtype(arg.type)


def shape_arithmetic(path):
    """Saves a model that computes shapes of the shapes of its input.

    Returns:
        Inputs of several lengths, and what the model gives for each.
    """
    import tensorflow as tf
    import tf_keras

    x = tf_keras.Input((None, 4), name="x")
    shape = tf.shape(x)
    batch, length = shape[0], shape[1]
    flat = tf.reshape(x, tf.stack([batch * length, 2, shape[2] // 2]))
    back = tf.reshape(flat, [batch, length * 2, -1])
    mean = tf.reduce_sum(x) / tf.cast(tf.size(x), tf.float32)
    joined = tf.concat([shape[:1], tf.constant([1, 4])], axis=0)
    spread = tf.broadcast_to(mean, joined) + tf.zeros((batch, 1, 1))
    counted = x + tf.cast(length + 1, tf.float32)
    model = tf_keras.Model(x, [back, spread, counted])
    mae = tf_keras.losses.MeanAbsoluteError()
    model.add_loss(mae(x[:, :, :1], x[:, :, 1:2]))
    model.save(path, save_format="tf")
    random = np.random.default_rng(0)
    found = []
    for lengths in ((1, 3, 4), (5, 2, 4)):
        value = random.normal(size=lengths).astype("float32")
        found.append((value, [part.numpy() for part in model(value)]))
    return found
