"""Recurrent layers of tf_keras, with their weights in cuDNN's order."""

from __future__ import annotations

import numpy as np


def run(kind, count, bidirectional, x, lengths):
    """Runs a stack of layers on the CPU.

    Args:
        kind: `"lstm"`, `"gru"` or `"rnn_tanh"`.
        count: How many layers.
        bidirectional: Whether each runs both ways.
        x: Batch-major input.
        lengths: Of each sequence; `None` for the whole.

    Returns:
        Outputs of the last layer, the last layer's states, and `params` of cuDNN.
    """
    import tensorflow as tf
    import tf_keras
    from tf_keras.src.layers.rnn import gru_lstm_utils

    tf_keras.utils.set_random_seed(3)
    classes = {
        "lstm": tf_keras.layers.LSTM,
        "gru": tf_keras.layers.GRU,
        "rnn_tanh": tf_keras.layers.SimpleRNN,
    }
    mask = None if lengths is None else tf.sequence_mask(lengths, x.shape[1])
    out, weights, biases = tf.constant(x), [], []
    for _ in range(count):
        layer = classes[kind](
            4,
            return_sequences=True,
            return_state=True,
            bias_initializer="glorot_normal" if kind == "gru" else "normal",
            recurrent_initializer="glorot_normal",
        )
        if bidirectional:
            layer = tf_keras.layers.Bidirectional(layer)
        out, *states = layer(out, mask=mask)
        parts = (
            [layer.forward_layer, layer.backward_layer] if bidirectional else [layer]
        )
        for part in parts:
            kernel, recurrent, bias = part.cell.weights
            found = _gates(tf, kind, kernel, recurrent, bias)
            weights += found[0]
            biases += found[1]
    params = gru_lstm_utils.canonical_to_params(weights, biases, [-1], True)
    return {
        "outputs": out.numpy(),
        "states": [state.numpy() for state in states],
        "params": params.numpy(),
        "weights": [np.transpose(w) for w in weights],
        "biases": [np.asarray(b) for b in biases],
    }


def _gates(tf, kind, kernel, recurrent, bias):
    if kind == "gru":
        # tf_keras has z before r, cuDNN r before z.
        order = [1, 0, 2]
        split = [tf.split(part, 3, axis=1) for part in (kernel, recurrent)]
        sums = [tf.split(row, 3) for row in tf.unstack(bias)]
        return (
            [part[i] for part in split for i in order],
            [part[i] for part in sums for i in order],
        )
    count = 4 if kind == "lstm" else 1
    weights = tf.split(kernel, count, axis=1) + tf.split(recurrent, count, axis=1)
    return weights, tf.split(tf.zeros_like(bias), count) + tf.split(bias, count)
