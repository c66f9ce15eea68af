"""Writes what TensorFlow 1 exported besides Keras' own SavedModels.

    python make.py DIRECTORY [CASE …]    # in an environment with TensorFlow 1.15
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


def composites(path):
    """Sparse and ragged placeholders, alone, of known shape, of text; and results."""
    v1 = tf.compat.v1
    random = np.random.RandomState(1)
    with tf.Graph().as_default(), v1.Session() as session:
        fixed = v1.sparse_placeholder(tf.float32, [4, 5], name="fixed")
        rows = v1.sparse_placeholder(tf.float32, [None, 5], name="rows")
        free = v1.sparse_placeholder(tf.string, name="free")
        ragged = tf.RaggedTensor.from_row_splits(
            v1.placeholder(tf.float32, [None], name="flat"),
            v1.placeholder(tf.int64, [None], name="splits"),
        )
        w = v1.get_variable("w", [5, 3], use_resource=False)
        table = v1.get_variable("table", [11, 2])
        ids = tf.SparseTensor(
            free.indices,
            tf.strings.to_hash_bucket_fast(free.values, 11),
            free.dense_shape,
        )
        total = tf.sparse.add(fixed, rows)
        results = {
            "product": tf.sparse.sparse_dense_matmul(rows, w),
            "dense": tf.sparse.to_dense(fixed),
            "total": total,
            "turned": tf.sparse.transpose(rows),
            "ids": ids,
            "found": tf.nn.safe_embedding_lookup_sparse(table, ids),
            "sums": tf.reduce_sum(ragged, axis=1),
            "doubled": ragged * 2.0,
        }
        session.run(v1.global_variables_initializer())
        inputs = {"fixed": fixed, "rows": rows, "free": free, "ragged": ragged}
        v1.saved_model.simple_save(session, path, inputs, results)
        places = np.array([[0, 1], [0, 4], [2, 0], [3, 3]], np.int64)
        words = np.array([b"a", b"bc", b"d", b"a"], object)
        given = {
            "fixed": (places, random.normal(size=4).astype("float32"), [4, 5]),
            "rows": (places[1:], random.normal(size=3).astype("float32"), [4, 5]),
            "free": (places, words, [4, 7]),
        }
        feeds = {
            # A shape that is known is a constant, which no session can be given.
            fixed.indices: places,
            fixed.values: given["fixed"][1],
            rows: given["rows"],
            free: given["free"],
            ragged.flat_values: X[0],
            ragged.row_splits: np.array([0, 2, 2, 5]),
        }
        arrays = {"flat": X[0], "splits": np.array([0, 2, 2, 5])}
        for name, value in given.items():
            for part, one in zip(("indices", "values", "shape"), value):
                one = np.asarray(one)
                arrays["in/%s/%s" % (name, part)] = (
                    one.astype("S") if one.dtype == object else one
                )
        for name, value in session.run(results, feeds).items():
            parts = value if isinstance(value, tuple) else (value,)
            if hasattr(value, "row_splits"):
                parts = (value.values, value.row_splits)
            for i, one in enumerate(parts):
                arrays["out/%s/%d" % (name, i)] = one
        return arrays


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


RAW = {
    "num": X[:, 0],
    "cat": (np.array([[0, 0], [1, 0], [1, 1], [4, 0]], np.int64),
            np.array([b"a", b"b", b"zz", b"c"], object), np.array([8, 2], np.int64)),
    "ids": np.arange(8) % 4,
}


def raw_receiver():
    """An Estimator that takes features themselves, of which one is sparse."""
    v1 = tf.compat.v1
    features = {
        "num": v1.placeholder(tf.float32, [None], name="num"),
        "cat": v1.sparse_placeholder(tf.string, [None, None], name="cat"),
        "ids": v1.placeholder(tf.int64, [None], name="ids"),
    }
    return tf.estimator.export.ServingInputReceiver(features, features)


def raw_estimator(path):
    with tempfile.TemporaryDirectory() as work:
        made, _, label = wide_deep(os.path.join(work, "model"))
        data = (FEATURES, label)
        made.train(lambda: tf.data.Dataset.from_tensor_slices(data).batch(4), steps=9)
        exported = made.export_saved_model(os.path.join(work, "out"), raw_receiver)
        shutil.move(exported, path)
    found = {}
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        loaded = v1.saved_model.load(session, ["serve"], path)
        for key, signature in loaded.signature_def.items():
            feeds = {}
            for name, info in signature.inputs.items():
                if info.WhichOneof("encoding") == "coo_sparse":
                    parts = (
                        info.coo_sparse.indices_tensor_name,
                        info.coo_sparse.values_tensor_name,
                        info.coo_sparse.dense_shape_tensor_name,
                    )
                    feeds.update(zip(parts, RAW[name]))
                else:
                    feeds[info.name] = RAW[name]
            names = {name: info.name for name, info in signature.outputs.items()}
            for name, value in session.run(names, feeds).items():
                found["%s/%s" % (key, name)] = (
                    value.astype("S") if value.dtype == object else value
                )
    places, words, shape = RAW["cat"]
    cat = {"in/cat/indices": places, "in/cat/values": words.astype("S"),
           "in/cat/shape": shape}
    return dict(found, **cat, **{"in/num": RAW["num"], "in/ids": RAW["ids"]})


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
    "composites": composites,
    "raw_estimator": raw_estimator,
}


def main():
    directory = os.path.abspath(sys.argv[1])
    os.makedirs(directory)
    for name in sys.argv[2:] or CASES:
        write = CASES[name]
        tf.keras.backend.clear_session()
        arrays = write(os.path.join(directory, name))
        np.savez_compressed(os.path.join(directory, name + ".npz"), **arrays)


if __name__ == "__main__":
    main()
