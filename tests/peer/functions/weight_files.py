"""Models that are the same code in Keras 2 and 3, and files of their weights."""

import os

import numpy as np

NAMES = ("network", "parts", "counting", "functional")
INPUTS = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
TARGETS = np.random.default_rng(1).normal(size=(6, 2)).astype("float32")


def build(keras, name):
    """Returns a built model, compiled with Adam, with seeded random weights."""
    keras.backend.clear_session()
    makers = {
        "network": _network,
        "parts": _parts,
        "counting": _counting,
        "functional": _functional,
    }
    model = makers[name](keras)
    model(INPUTS)
    draw = np.random.default_rng(len(name))
    model.set_weights(
        [draw.uniform(0.1, 1.0, w.shape).astype("float32") for w in model.get_weights()]
    )
    model.compile(keras.optimizers.Adam(0.02), "mse")
    return model


def _network(keras):
    layers = keras.layers
    inner = keras.Sequential(
        [keras.Input((4,)), layers.BatchNormalization(), layers.Dense(4)], name="inner"
    )
    shared = layers.Dense(4, name="shared")
    given = keras.Input((4,))
    x = layers.Concatenate()([shared(inner(given)), shared(given)])
    x = layers.Reshape((2, 4))(x)
    x = layers.Bidirectional(layers.GRU(2), name="both_ways")(x)
    return keras.Model(given, layers.Dense(2, name="head")(x))


def _parts(keras):
    """A subclass some of whose networks are in others; with lists and dicts."""
    layers = keras.layers

    class Parts(keras.Model):
        def __init__(self):
            super().__init__(name="parts")
            x, y, z = (keras.Input((size,)) for size in (4, 3, 4))
            first = keras.Model(x, layers.Dense(3, name="in_first")(x), name="first")
            second = keras.Model(y, layers.Dense(1, name="in_second")(y), name="second")
            self.both = keras.Model(z, second(first(z)), name="both")
            self.table = {
                "b": layers.Dense(2, name="b"),
                "a": layers.Dense(3, name="a"),
            }
            self.first = first
            self.listed = [layers.Dense(2, name="l0"), [layers.Dense(2, name="l1")]]
            self.second = second
            self.again = self.listed[0]

        def build(self, shape):
            self.own = self.add_weight(name="own", shape=(2,))
            self.still = self.add_weight(name="still", shape=(2,), trainable=False)
            self.more = [self.add_weight(name=f"more{i}", shape=(2,)) for i in (0, 1)]
            self.built = True

        def call(self, inputs):
            x = self.both(inputs) + self.second(self.first(inputs))
            x = self.table["a"](self.table["b"](x))
            x = self.listed[1][0](self.listed[0](x))
            return x * self.own + self.still * self.more[0] + self.more[1]

    return Parts()


def _counting(keras):
    """A subclass with metrics of its own."""

    class Counting(keras.Model):
        def __init__(self):
            super().__init__(name="counting")
            # A bias before a normalization has no gradient but noise.
            self.first = keras.layers.Dense(3, use_bias=False, name="first")
            self.seen = keras.metrics.Mean(name="seen")
            self.normed = keras.layers.BatchNormalization(name="normed")
            self.last = keras.layers.Dense(2, name="last")

        def call(self, inputs, training=None):
            return self.last(self.normed(self.first(inputs), training=training))

    return Counting()


def _functional(keras):
    """A class that is a network, and has a layer besides."""

    class Functional(keras.Model):
        def __init__(self):
            given = keras.Input((4,))
            super().__init__(given, keras.layers.Dense(2, name="only")(given))
            self.besides = keras.layers.Dense(3, trainable=False, name="besides")
            self.besides.build((None, 4))

    return Functional()


def network_of_holders(keras):
    """A network of own layers and models that hold metrics, and their classes."""
    layers, metrics = keras.layers, keras.metrics

    class Holder(keras.Model):
        def __init__(self, **keywords):
            super().__init__(**keywords)
            self.first = layers.Dense(3, use_bias=False, name="first")
            self.seen = metrics.Mean(name="seen")
            self.normed = layers.BatchNormalization(name="normed")
            self.listed = [metrics.Precision(name="precision")]

        def call(self, inputs, training=None):
            return self.normed(self.first(inputs), training=training)

        def get_config(self):
            return {"name": self.name}

    class Around(layers.Layer):
        def __init__(self, **keywords):
            super().__init__(**keywords)
            self.model = Holder(name="inside")
            self.uncounted = metrics.Mean(name="uncounted")
            self.last = layers.Dense(3, use_bias=False, name="last")

        def call(self, inputs, training=None):
            return self.last(self.model(inputs, training=training))

        def get_config(self):
            return {"name": self.name}

    given = keras.Input((4,))
    x = Holder(name="holder")(Around(name="around")(given))
    model = keras.Model(given, layers.Dense(2, name="head")(x))
    for seed, variable in enumerate([*model.weights, *_metric_variables(model)]):
        value = np.random.default_rng(seed).uniform(0.1, 1.0, variable.shape)
        variable.assign(value.astype("float32"))
    # What has no gradient but noise, before a normalization, takes no steps of Adam.
    model.compile(keras.optimizers.SGD(0.02, momentum=0.9), "mse")
    return model, {"Holder": Holder, "Around": Around}


def _metric_variables(model):
    holder, around = model.get_layer("holder"), model.get_layer("around")
    found = [holder.seen, *holder.listed, around.model.seen, *around.model.listed]
    return [variable for metric in found for variable in metric.variables]


def counted(model):
    """Returns what the metrics have counted that Keras 2 lists among the weights."""
    return [np.asarray(variable) for variable in _metric_variables(model)]


def save_holders(path):
    """Saves such a network; returns its metrics' values and what it predicts."""
    import tf_keras

    model, _ = network_of_holders(tf_keras)
    model.train_on_batch(INPUTS, TARGETS)
    model.save(path)
    return counted(model), _now_and_next(model)


def load_holders(path):
    """Loads such a network; returns its metrics' values and what it predicts."""
    import tf_keras

    _, classes = network_of_holders(tf_keras)
    model = tf_keras.models.load_model(path, custom_objects=classes)
    return counted(model), _now_and_next(model)


def save(name, folder):
    """Trains a model, saves its weights as `w.h5` and as the checkpoint `w`.

    Returns:
        What it predicts, and after one more step.
    """
    import tf_keras

    model = build(tf_keras, name)
    for _ in range(3):
        model.train_on_batch(INPUTS, TARGETS)
    model.save_weights(os.path.join(folder, "w.h5"))
    model.save_weights(os.path.join(folder, "w"))
    return _now_and_next(model)


def save_with_step(name, folder, **more):
    """Trains a model and saves it as `tf.train.Checkpoint` does.

    Args:
        name: Of the model.
        folder: Where to.
        more: Names of further models like it.

    Returns:
        The prefix; what the model predicts, and after one more step.
    """
    import tensorflow as tf
    import tf_keras

    model = build(tf_keras, name)
    for _ in range(3):
        model.train_on_batch(INPUTS, TARGETS)
    others = {key: build(tf_keras, value) for key, value in more.items()}
    step = tf.Variable(3)
    checkpoint = tf.train.Checkpoint(
        net=model, optimizer=model.optimizer, step=step, **others
    )
    return checkpoint.save(os.path.join(folder, "ckpt")), _now_and_next(model)


def load(name, path):
    """Loads the weights of a file into a new model.

    Returns:
        What it predicts, and after one more step.
    """
    import tf_keras

    model = build(tf_keras, name)
    status = model.load_weights(path)
    if status is not None:
        # The optimizer makes its slots in its first step.
        status.assert_nontrivial_match()
    return _now_and_next(model)


def _now_and_next(model):
    now = model.predict(INPUTS, verbose=0)
    model.train_on_batch(INPUTS, TARGETS)
    return [now, model.predict(INPUTS, verbose=0)]
