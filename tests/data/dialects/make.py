"""Writes SavedModels and checkpoints of TensorFlow 2.1 to 2.11, and what it computed.

    python make.py OUT_DIR [NAME ...]

Runs in a Python of that TensorFlow's time. Per model a directory
OUT_DIR/<TensorFlow's version>/<name>/: `saved_model`, written after one training step;
for some the checkpoint `weights`, of `save_weights`; and `told.npz`: inputs `in_<key>`,
`predict` of them `out_<k>`, a training batch `tx_<key>`, `ty_<k>` (with sample weights
`tw_<k>`) and `tested`, `test_on_batch` of it, and, after training on it, `predict` of
the inputs `next_<k>`. With a checkpoint: `weight_<k>`, what `get_weights` gave. A key
is a number or a feature's name.

`corpus.py` beside packs them.
"""

import os
import sys
import tempfile
import traceback

import numpy as np
import tensorflow as tf

TF = tuple(int(part) for part in tf.__version__.split(".")[:2])
K, L, FC, keras = tf.keras.backend, tf.keras.layers, tf.feature_column, tf.keras
R = np.random.RandomState
MODELS = []
TEXT = np.array([["the cat sat"], ["on the mat, the dog!"], ["unknown words here"]])
LESSON = np.array([["the cat sat on the mat"], ["a dog sat"]])


def model(since=(2, 1), until=(2, 16), weights=False):
    def add(function):
        if since <= TF < until:
            MODELS.append((function, weights))
        return function

    return add


def f32(seed, *shape):
    return R(seed).uniform(-1, 1, shape).astype("float32")


def ints(seed, high, *shape):
    return R(seed).randint(0, high, shape)


def preprocessing(name):
    """A layer, under the name that its TensorFlow has for it."""
    return getattr(L, name, None) or getattr(L.experimental.preprocessing, name)


def features(seed, rows, *keys):
    words = np.array(["red", "green", "blue", "x"])
    found = {
        "age": np.abs(f32(seed, rows, 1)) * 60,
        "color": words[ints(seed + 1, 4, rows)][:, None],
        "vec": f32(seed + 2, rows, 3),
    }
    return {key: found[key] for key in keys}


# ------------------------------------------------------------------ text


@model(since=(2, 3))
def hashes():
    """A Hashing without a salt says one in its config, up to TensorFlow 2.7."""
    s = keras.Input((1,), dtype=tf.string, name="s")
    i = keras.Input((1,), dtype=tf.int64, name="i")
    hashing = preprocessing("Hashing")
    found = [
        L.Flatten()(L.Embedding(7, 2)(layer(x)))
        for layer, x in (
            (hashing(num_bins=7), s), (hashing(num_bins=7, salt=[1, 2]), s),
            (hashing(num_bins=7), i), (preprocessing("StringLookup")(
                vocabulary=["red", "green", "blue"]), s))
    ]
    m = keras.Model([s, i], L.Dense(1)(L.concatenate(found)))
    m.compile("sgd", "mse")
    x = [np.array([["red"], ["pink"], ["blue"], ["green"]]),
         np.array([[12], [7], [42], [1138]])]
    return m, x, x, f32(3, 4, 1)


@model(since=(2, 3))
def tf_idf():
    layer = preprocessing("TextVectorization")(
        max_tokens=12, output_mode="tf_idf" if TF >= (2, 6) else "tf-idf")
    layer.adapt(LESSON)
    x = keras.Input((1,), dtype=tf.string, name="text")
    m = keras.Model(x, L.Dense(1)(layer(x)))
    m.compile("sgd", "mse")
    return m, TEXT, TEXT, f32(3, 3, 1)


@model()
def text_sequence():
    layer = preprocessing("TextVectorization")(max_tokens=20, output_sequence_length=5)
    layer.adapt(LESSON)
    x = keras.Input((1,), dtype=tf.string, name="text")
    h = L.GlobalAveragePooling1D()(L.Embedding(22, 3)(layer(x)))
    m = keras.Model(x, L.Dense(1)(h))
    m.compile("sgd", "mse")
    return m, TEXT, TEXT, f32(3, 3, 1)


# ------------------------------------------------------------------ losses and layers


@model(weights=True)
def added_losses():
    """Layers of losses, that lead to no output and come first where two branch off."""
    x = keras.Input((6,), name="x")
    h = L.Dense(5, activation="tanh")(x)
    mean, log = L.Dense(2, name="mean")(h), L.Dense(2, name="log")(h)
    m = keras.Model(x, L.Dense(6, activation="sigmoid")(mean + tf.exp(0.5 * log)))
    divergence = 1 + log - tf.square(mean) - tf.exp(log)
    m.add_loss(-0.05 * tf.reduce_mean(tf.reduce_sum(divergence, axis=-1)))
    m.add_metric(divergence, name="divergence", aggregation="mean")
    m.compile("sgd", "mse")
    return m, f32(1, 3, 6), f32(2, 4, 6), np.abs(f32(2, 4, 6))


class Masked(L.Layer):
    """Leaves out what is masked, computes otherwise in training, adds a loss."""

    def __init__(self, units=3, **keywords):
        super(Masked, self).__init__(**keywords)
        self.units = units
        self.supports_masking = True

    def build(self, shape):
        self.kernel = self.add_weight(
            name="kernel", shape=(int(shape[-1]), self.units),
            initializer="glorot_uniform", regularizer="l2")
        self.norm = L.BatchNormalization()
        super(Masked, self).build(shape)

    def call(self, x, training=None, mask=None):
        h = self.norm(tf.tensordot(x, self.kernel, 1), training=training)
        if mask is not None:
            h = h * tf.cast(mask, tf.float32)[..., tf.newaxis]
        self.add_loss(0.01 * tf.reduce_mean(tf.square(h)))
        return h

    def get_config(self):
        return dict(super(Masked, self).get_config(), units=self.units)


@model(since=(2, 3))  # Files of TensorFlow 2.1 lack the loss.
def masks_of_own_layers():
    x = keras.Input((6,), dtype="int32")
    h = Masked(3)(L.Embedding(9, 4, mask_zero=True)(x))
    m = keras.Model(x, L.Dense(1)(L.GlobalAveragePooling1D()(Masked(2)(h))))
    m.compile("adam", "mse")
    a, b = ints(1, 9, 3, 6), ints(2, 9, 4, 6)
    a[0, 3:] = 0
    b[1, 4:] = 0
    return m, a, b, f32(3, 4, 1)


@model(weights=True)
def weighted_outputs():
    x = keras.Input((4,))
    h = L.Dense(4, activation="relu")(x)
    m = keras.Model(x, [L.Dense(2, activation="softmax", name="a")(h),
                        L.Dense(1, name="b")(h)])
    m.compile("adam", {"a": "sparse_categorical_crossentropy", "b": "mae"},
              loss_weights={"a": 1.0, "b": 0.3}, metrics={"a": ["accuracy"]})
    weights = [np.array([1, 2, 0.5, 0], "float32"), np.array([0, 2, 0.5, 1], "float32")]
    return m, f32(1, 3, 4), f32(2, 4, 4), [ints(3, 2, 4, 1), f32(4, 4, 1)], weights


class Measured(L.Layer):
    """Counts what it has seen, in a metric of its own."""

    def __init__(self, **keywords):
        super(Measured, self).__init__(**keywords)
        self.dense, self.seen = L.Dense(3), keras.metrics.Mean(name="seen")

    def call(self, x):
        h = self.dense(x)
        self.add_metric(tf.reduce_sum(h), name="sum", aggregation="mean")
        self.add_metric(self.seen(h))
        return h


@model()
def measured():
    x = keras.Input((3,))
    m = keras.Model(x, L.Dense(1)(Measured()(x)))
    m.compile("sgd", "mse")
    return m, f32(1, 3, 3), f32(2, 4, 3), f32(3, 4, 1)


class Pairs(keras.Model):
    def __init__(self):
        super(Pairs, self).__init__()
        self.users, self.bias = L.Embedding(9, 4), L.Embedding(9, 1)
        self.items = L.Embedding(9, 4, embeddings_regularizer="l2")

    def call(self, x):
        dot = tf.tensordot(self.users(x[:, 0]), self.items(x[:, 1]), 2)
        return tf.nn.sigmoid(dot + self.bias(x[:, 0]))


@model()
def pairs():
    m = Pairs()
    m.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy")
    m.predict(ints(1, 9, 4, 2))
    return m, ints(1, 9, 4, 2), ints(2, 9, 5, 2), ints(3, 2, 5, 1).astype("float32")


# ------------------------------------------------------------------ feature columns


def scaled(x):
    return (x - 30.0) / 10.0


@model()
def normalized_features():
    """A Python function in a config, so that the layer runs from its traces."""
    m = keras.Sequential([
        L.DenseFeatures([FC.numeric_column("age", normalizer_fn=scaled),
                         FC.numeric_column("vec", shape=(3,))]),
        L.Dense(3, activation="relu"), L.Dense(1)])
    m.compile("sgd", "mse")
    m.fit(features(9, 5, "age", "vec"), f32(3, 5, 1), verbose=0)
    return m, features(1, 4, "age", "vec"), features(9, 5, "age", "vec"), f32(3, 5, 1)


@model(since=(2, 2))
def listed_features():
    """Text in a chain without inputs; the words are in a file of the writer's."""
    words = os.path.join(tempfile.mkdtemp(), "words.txt")
    with open(words, "w") as file:
        file.write("red\ngreen\n")
    color = FC.categorical_column_with_vocabulary_file("color", words, 2)
    m = keras.Sequential([
        L.DenseFeatures([FC.numeric_column("age"), FC.embedding_column(color, 2)]),
        L.Dense(1)])
    m.compile("sgd", "mse")
    m.fit(features(9, 5, "age", "color"), f32(3, 5, 1), verbose=0)
    return m, features(1, 4, "age", "color"), features(9, 5, "age", "color"), f32(3, 5, 1)


@model(weights=True)
def numeric_features():
    m = keras.Sequential([
        L.DenseFeatures([FC.numeric_column("age"), FC.numeric_column("vec", shape=(3,))]),
        L.Dense(3, activation="relu"), L.Dense(1)])
    m.compile("sgd", "mse")
    m.fit(features(9, 5, "age", "vec"), f32(3, 5, 1), verbose=0)
    return m, features(1, 4, "age", "vec"), features(9, 5, "age", "vec"), f32(3, 5, 1)


@model(since=(2, 2), until=(2, 12))
def cells():
    x = keras.Input((5, 3))
    h = L.RNN(tf.nn.RNNCellResidualWrapper(L.LSTMCell(3)), return_sequences=True)(x)
    h = L.RNN(keras.experimental.PeepholeLSTMCell(4), return_sequences=True)(h)
    h = L.RNN(tf.nn.RNNCellDropoutWrapper(L.GRUCell(2), input_keep_prob=1.0))(h)
    m = keras.Model(x, L.Dense(1)(h))
    m.compile("sgd", "mse")
    return m, f32(1, 3, 5, 3), f32(2, 4, 5, 3), f32(3, 4, 1)


@model(until=(2, 4))
def smoothed_labels():
    """Of sequences, masked ones, where the axis of classes is another than the second."""
    x = keras.Input((4, 3))
    h = L.SimpleRNN(4, return_sequences=True)(L.Masking(0.0)(x))
    m = keras.Model(x, L.Dense(3, activation="softmax")(h))
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.4)
    m.compile(keras.optimizers.SGD(0.5), loss)
    batch = f32(2, 4, 4, 3)
    batch[1, 2:] = 0.0
    return m, f32(1, 3, 4, 3), batch, np.eye(3, dtype="float32")[ints(3, 3, 4, 4)]


@model(until=(2, 4))
def clipped_values():
    x = keras.Input((3,))
    m = keras.Model(x, L.Dense(2, activation="sigmoid")(L.Dense(4, activation="tanh")(x)))
    optimizer = keras.optimizers.Adam(0.1, epsilon=0.1, clipvalue=0.001)
    m.compile(optimizer, "binary_crossentropy", metrics=["accuracy"])
    return m, f32(1, 3, 3), f32(2, 6, 3), np.float32([[1, 0], [0, 0], [1, 1]] * 2)


@model(until=(2, 4))
def clipped_norms():
    x = keras.Input((3,))
    m = keras.Model(x, L.Dense(2)(L.Dense(4, activation="tanh")(x)))
    m.compile(keras.optimizers.SGD(0.1, momentum=0.9, clipnorm=0.01), "mse")
    return m, f32(1, 3, 3), f32(2, 6, 3), f32(3, 6, 2)


@model(until=(2, 4))
def chain_without_inputs():
    """Built by a call, begun by a layer without weights."""
    chain = [L.Reshape((-1, 1)), L.SimpleRNN(3), L.BatchNormalization(), L.Dense(2)]
    m = keras.Sequential(chain)
    m(f32(2, 5, 4))
    m.compile("sgd", "mse")
    return m, f32(1, 3, 4), f32(2, 5, 4), f32(3, 5, 2)


def _around(layer, name):
    x = keras.Input((3,))
    return keras.Model(x, layer(x), name=name)


@model(until=(2, 4))
def shared_regularizers():
    """A layer that networks share counts once for each of them before 2.2."""
    l2 = keras.regularizers.l2(0.2)
    kept = L.Dense(3, kernel_regularizer=l2, bias_regularizer="l1", name="kept")
    a, x = _around(kept, "a"), keras.Input((3,))
    b = keras.Sequential([a, keras.Sequential([kept])], name="b")
    m = keras.Model(x, L.Dense(2)(L.Add()([a(x), b(x), kept(x)])))
    m.compile(keras.optimizers.SGD(0.1), "mse")
    return m, f32(1, 3, 3), f32(2, 6, 3), f32(3, 6, 2)


@model(until=(2, 4))
def shared_with_a_wrapper():
    kept, x = L.Dense(3, kernel_regularizer="l2", name="kept"), keras.Input((4, 3))
    y = L.TimeDistributed(_around(kept, "a"))(L.TimeDistributed(kept)(x))
    m = keras.Model(x, L.Dense(2)(y))
    m.compile(keras.optimizers.SGD(0.1), "mse")
    return m, f32(1, 3, 4, 3), f32(2, 6, 4, 3), f32(3, 6, 4, 2)


@model(until=(2, 5))
def shared_cells():
    cell, x = L.LSTMCell(3), keras.Input((4, 3))
    both = L.Add()([L.RNN(cell)(x), L.RNN(cell, go_backwards=True)(x)])
    if TF > (2, 2):  # 2.2 and before can't save cells without an initial state.
        both = L.Add()([both, L.RNN([L.GRUCell(3), cell])(x)])
    m = keras.Model(x, L.Dense(2)(both))
    m.compile(keras.optimizers.Adam(0.01), "mse")
    return m, f32(1, 3, 4, 3), f32(2, 6, 4, 3), f32(3, 6, 2)


# ------------------------------------------------------------------ writing


def many(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


def keyed(prefix, value):
    if isinstance(value, dict):
        return {prefix + "_" + key: item for key, item in value.items()}
    return {"%s_%d" % (prefix, i): item for i, item in enumerate(many(value))}


def write(function, weights, folder):
    K.clear_session()
    np.random.seed(1)
    tf.random.set_seed(1)
    found = function()
    m, given, batch, targets = found[:4]
    words = {"sample_weight": found[4]} if len(found) > 4 else {}
    m.train_on_batch(batch, targets, **words)
    path = os.path.join(folder, function.__name__)
    m.save(os.path.join(path, "saved_model"), save_format="tf")
    if weights:
        m.save_weights(os.path.join(path, "weights"), save_format="tf")
    arrays = dict(keyed("in", given), **keyed("tx", batch))
    arrays.update(keyed("ty", targets))
    arrays.update(keyed("out", m.predict(given)))
    if weights:
        arrays.update(keyed("weight", m.get_weights()))
    if words:
        arrays.update(keyed("tw", words["sample_weight"]))
    m.reset_metrics()
    arrays["tested"] = np.ravel(m.test_on_batch(batch, targets, **words))
    m.train_on_batch(batch, targets, **words)
    arrays.update(keyed("next", m.predict(given)))
    np.savez(os.path.join(path, "told.npz"), **arrays)


def main(out, names):
    folder = os.path.join(out, tf.__version__)
    os.makedirs(folder, exist_ok=True)
    for function, weights in MODELS:
        if names and function.__name__ not in names:
            continue
        try:
            write(function, weights, folder)
        except Exception as error:  # Not every version can make every model.
            lines = traceback.format_exc().splitlines()
            print("not made:", function.__name__, "|", str(error)[:160], "|", lines[-3][:120])
    print(folder, len(os.listdir(folder)), "models")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
