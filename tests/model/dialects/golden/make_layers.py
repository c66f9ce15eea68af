"""Writes what a TensorFlow's Keras says and computes of every layer configuration.

    python make_layers.py layers-2.21.json.gz

Each row of `layer_cases.ROWS` that this version can make becomes a Functional model
of one layer: its config, weights, inputs, outputs, and the outputs and weights after
one training step of plain gradient descent.
"""

import base64
import gzip
import json
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import numpy as np
import tensorflow as tf

try:
    import tf_keras as keras
except ImportError:
    from tensorflow import keras

if not tf.executing_eagerly():
    tf.compat.v1.enable_eager_execution()



class Layers:
    """`keras.layers`, and what used to be experimental, by the present names."""

    def __getattr__(self, name):
        if hasattr(keras.layers, name):
            return getattr(keras.layers, name)
        return getattr(keras.layers.experimental.preprocessing, name)


SOURCE = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "..", "layer_cases.py"
)
STOCHASTIC = ("Dropout", "Noise", "Random", "dropout")


def rows():
    # Read, not imported: old Pythons don't know its annotations.
    with open(SOURCE) as file:
        text = file.read().replace("from __future__ import annotations", "")
    names = {}
    exec(compile(text, SOURCE, "exec"), names)  # noqa: S102
    return names["ROWS"]


def packed(value):
    value = np.asarray(value)
    data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
    return {"dtype": str(value.dtype), "shape": list(value.shape), "data": data}


def inputs_of(spec, rng):
    found = []
    for item in spec:
        if isinstance(item[0], tuple):
            shape, high = item
            found.append(rng.randint(0, high, (2,) + shape).astype("int32"))
        else:
            value = rng.normal(size=(2,) + item).astype("float32")
            found.append(np.round(value, 2))
    return found


def run(expression, spec):
    keras.backend.clear_session()
    rng = np.random.RandomState(len(expression))
    values = inputs_of(spec, rng)
    if "Masking" in expression:
        values[0][:, 1] = 0
    layer = eval(expression, {"L": Layers(), "keras": keras})  # noqa: S307
    tensors = [
        keras.Input(v.shape[1:], dtype=str(v.dtype), name="in%d" % i)
        for i, v in enumerate(values)
    ]
    model = keras.Model(tensors, layer(tensors if len(tensors) > 1 else tensors[0]))
    config = json.loads(model.to_json())
    # What this Keras makes of its own file is what counts.
    keras.backend.clear_session()
    try:
        model = keras.models.model_from_json(json.dumps(config))
    except Exception as error:
        print("does not read its own", expression, str(error)[:80])
    weights = []
    for weight in model.get_weights():
        new = np.round(rng.uniform(0.1, 0.9, weight.shape), 3)
        weights.append(np.asarray(new, weight.dtype))
    model.set_weights(weights)
    outputs = model([tf.constant(v) for v in values], training=False)
    found = {
        "expression": expression,
        "keras_version": config["keras_version"],
        "config": {"class_name": config["class_name"], "config": config["config"]},
        "weight_names": [w.name for w in model.weights],
        "inputs": [packed(v) for v in values],
        "weights": [packed(w) for w in weights],
        "outputs": [packed(v) for v in tf.nest.flatten(outputs)],
    }
    if len(values) == 1 and values[0].shape[1:] == (3, 4):
        try:
            found["masked"] = masked(model.layers[-1], values[0])
        except Exception as error:
            print("no mask:", expression, "|", (str(error).splitlines() or [""])[0][:90])
    if weights and not any(word in expression for word in STOCHASTIC):
        found["trained"] = [packed(w) for w in train(model, values)]
    return found


def masked(layer, value):
    """What a layer makes of a sequence with a masked step, and of the mask."""
    value = value.copy()
    value[1, 2] = 0
    value[0, 1] = 0
    given = keras.layers.Masking(0.0)(tf.constant(value))
    outputs = tf.nest.flatten(layer(given, training=False) if takes_training(layer) else layer(given))
    masks = [getattr(out, "_keras_mask", None) for out in outputs]
    return {
        "input": packed(value),
        "outputs": [packed(out) for out in outputs],
        "masks": [None if mask is None else packed(mask) for mask in masks],
    }


def takes_training(layer):
    return "training" in layer.call.__code__.co_varnames or hasattr(layer, "cell")


def train(model, values):
    with tf.GradientTape() as tape:
        out = model([tf.constant(v) for v in values], training=True)
        loss = tf.reduce_sum([tf.reduce_sum(v**2) for v in tf.nest.flatten(out)])
    trainable = model.trainable_variables
    for variable, gradient in zip(trainable, tape.gradient(loss, trainable)):
        if gradient is not None:
            variable.assign_sub(0.01 * tf.convert_to_tensor(gradient))
    return model.get_weights()


def main(path):
    found, failed = [], []
    for expression, spec in rows():
        try:
            found.append(run(expression, spec))
        except Exception as error:
            failed.append((expression, (str(error).splitlines() or [""])[0][:150]))
    with open(path, "wb") as file:
        with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed_:
            packed_.write(json.dumps({"cases": found}).encode())
    for expression, error in failed:
        print("not made:", expression, "|", error)
    print(len(found), "cases")


if __name__ == "__main__":
    main(sys.argv[1])
