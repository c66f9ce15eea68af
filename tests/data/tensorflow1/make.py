"""Writes what TensorFlow 1 exported besides Keras' own SavedModels.

    python make.py DIRECTORY    # in an environment with TensorFlow 1.15
    python ../archive.py files.tar.xz DIRECTORY

Per case a SavedModel, and `<case>.npz` with what it was given and what it gave:
`export_saved_model` of Keras, `simple_save` of a session, and the exports of
Estimators over feature columns, which parse examples.
"""

from __future__ import annotations

import base64
import os
import shutil
import sys
import tempfile

import numpy as np
import tensorflow as tf

RNG = np.random.RandomState(0)
X = RNG.normal(size=(8, 5)).astype("float32")
Y = RNG.normal(size=(8, 1)).astype("float32")
FEATURES = {
    "num": RNG.normal(size=8).astype("float32"),
    "cat": np.array([b"a", b"b", b"c", b"zz"] * 2),
    "ids": np.arange(8) % 4,
}


def keras_export(path):
    layers = tf.keras.layers
    inputs = tf.keras.Input((5,), name="x")
    x = layers.Dense(4, activation="relu")(inputs)
    x = layers.BatchNormalization()(x)
    frozen = layers.Dense(3, name="frozen", trainable=False)
    outputs = layers.Dense(1, name="y")(frozen(x))
    model = tf.keras.Model(inputs, outputs)
    model.compile("adam", "mse")
    model.fit(X, Y, epochs=2, verbose=0)
    tf.keras.experimental.export_saved_model(model, path)
    return {"x": X, "y": model.predict(X)}


def recurrent():
    """A trained `Sequential`: its graph holds the training's loops, too."""
    layers = tf.keras.layers
    inner = tf.keras.Sequential([layers.Dense(2, input_shape=(4,))])
    model = tf.keras.Sequential([
        layers.Reshape((5, 1), input_shape=(5,)),
        layers.Bidirectional(layers.LSTM(2)),
        inner,
        layers.Dense(1),
    ])
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    return model


def recurrent_export(path):
    model = recurrent()
    tf.keras.experimental.export_saved_model(model, path)
    return {"x": X, "y": model.predict(X)}


def recurrent_session(path):
    model = recurrent()
    session = tf.keras.backend.get_session()
    tf.compat.v1.saved_model.simple_save(
        session, path, {"x": model.input}, {"y": model.output}
    )
    return {"x": X, "y": model.predict(X)}


def session(path):
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        a = v1.placeholder(tf.float32, [None, 5], name="a")
        with v1.variable_scope("d"):
            w = v1.get_variable("w", [5, 3], use_resource=False)
            b = v1.get_variable("b", [3])
        z = v1.layers.batch_normalization(v1.nn.xw_plus_b(a, w, b), training=False)
        z = tf.identity(z, name="z")
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, path, {"a": a}, {"z": z})
        return {"a": X, "z": session.run(z, {a: X})}


def columns():
    fc = tf.feature_column
    num = fc.numeric_column("num")
    buckets = fc.bucketized_column(fc.numeric_column("num"), [-1.0, 0.0, 1.0])
    words = fc.categorical_column_with_vocabulary_list("cat", ["a", "b", "c"])
    hashed = fc.categorical_column_with_hash_bucket("cat", 7)
    ids = fc.categorical_column_with_identity("ids", 4)
    dense = [
        num,
        buckets,
        fc.indicator_column(words),
        fc.embedding_column(hashed, 3),
        fc.embedding_column(ids, 2),
    ]
    linear = [num, buckets, words, ids, fc.crossed_column([buckets, "cat"], 11)]
    return dense, linear


def dnn(directory):
    dense, _ = columns()
    make = tf.estimator.DNNClassifier
    return make([4], dense, n_classes=3, model_dir=directory), dense, np.arange(8) % 3


def linear(directory):
    _, sparse = columns()
    label = RNG.normal(size=8).astype("float32")
    return tf.estimator.LinearRegressor(sparse, directory), sparse, label


def wide_deep(directory):
    dense, sparse = columns()
    estimator = tf.estimator.DNNLinearCombinedClassifier(
        directory,
        linear_feature_columns=sparse,
        dnn_feature_columns=dense,
        dnn_hidden_units=[4],
    )
    return estimator, dense + sparse, np.arange(8) % 2


def examples():
    rows = []
    for i in range(8):
        example = tf.train.Example()
        feature = example.features.feature
        feature["num"].float_list.value.append(FEATURES["num"][i])
        feature["cat"].bytes_list.value.append(bytes(FEATURES["cat"][i]))
        feature["ids"].int64_list.value.append(int(FEATURES["ids"][i]))
        rows.append(example.SerializeToString())
    return rows


def estimator(make):
    def write(path):
        with tempfile.TemporaryDirectory() as work:
            made, used, label = make(os.path.join(work, "model"))
            data = (FEATURES, label)
            made.train(lambda: tf.data.Dataset.from_tensor_slices(data).batch(4), steps=9)
            spec = tf.feature_column.make_parse_example_spec(used)
            receive = tf.estimator.export.build_parsing_serving_input_receiver_fn(spec)
            shutil.move(made.export_saved_model(os.path.join(work, "out"), receive), path)
        return outputs_of(path)

    return write


def outputs_of(path):
    """What a session gives for examples, per signature and output."""
    rows, found = examples(), {}
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        loaded = v1.saved_model.load(session, ["serve"], path)
        for key, signature in loaded.signature_def.items():
            (given,) = signature.inputs.values()
            names = {name: info.name for name, info in signature.outputs.items()}
            for name, value in session.run(names, {given.name: rows}).items():
                found["%s/%s" % (key, name)] = (
                    value.astype("S") if value.dtype == object else value
                )
    return dict(found, examples=np.array([base64.b64encode(row) for row in rows]))


CASES = {
    "keras_export": keras_export,
    "recurrent_export": recurrent_export,
    "recurrent_session": recurrent_session,
    "session": session,
    "dnn": estimator(dnn),
    "linear": estimator(linear),
    "wide_deep": estimator(wide_deep),
}


def main():
    directory = os.path.abspath(sys.argv[1])
    os.makedirs(directory)
    for name, write in CASES.items():
        tf.keras.backend.clear_session()
        arrays = write(os.path.join(directory, name))
        np.savez_compressed(os.path.join(directory, name + ".npz"), **arrays)


if __name__ == "__main__":
    main()
