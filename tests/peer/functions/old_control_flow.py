"""Loops and conditionals of TensorFlow 1, in a main graph and in functions of 2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf


def save(first: Path, second: Path, x: np.ndarray) -> dict:
    """Saves a session's graph, and what TensorFlow 2 makes of it when it saves again.

    Returns:
        Per value of the predicate what the session gives, and its slope by `x`.
    """
    v1 = tf.compat.v1
    tf.compat.v1.disable_control_flow_v2()
    try:
        with tf.Graph().as_default(), v1.Session() as session:
            inputs = v1.placeholder(tf.float32, [None, 2], name="x")
            flag = v1.placeholder_with_default(False, [], name="flag")
            weight = v1.get_variable(
                "w", initializer=[[1.0, 2.0], [3.0, 4.0]], use_resource=True
            )

            def body(i, v):
                return i + 1, v1.cond(v[0, 0] > 0, lambda: tf.tanh(v), lambda: v * 2.0)

            y = v1.cond(
                flag, lambda: tf.matmul(inputs, weight), lambda: tf.sqrt(inputs - 1.0)
            )
            _, z = v1.while_loop(lambda i, v: i < 3, body, [tf.constant(0), y])
            with tf.control_dependencies([v1.Assert(tf.reduce_all(inputs < 1e3), [y])]):
                total = tf.reduce_sum(z, name="total")
            outputs = {"y": y, "z": z, "total": total}
            session.run(v1.global_variables_initializer())
            v1.saved_model.simple_save(
                session, str(first), {"x": inputs, "flag": flag}, outputs
            )
            (slope,) = tf.gradients(y, inputs)
            found = {
                value: session.run(
                    {**outputs, "slope": slope}, {inputs: x, flag: value}
                )
                for value in (True, False)
            }
    finally:
        tf.compat.v1.enable_control_flow_v2()
    loaded = tf.saved_model.load(str(first))
    tf.saved_model.save(loaded, str(second), signatures=loaded.signatures)
    return found
