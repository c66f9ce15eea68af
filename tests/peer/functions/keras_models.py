"""tf_keras opens models from disk, predicts and trains on."""

from __future__ import annotations

import os

import numpy as np


def _arrays(outputs):
    if isinstance(outputs, dict):
        return {name: np.asarray(value, np.float32) for name, value in outputs.items()}
    if not isinstance(outputs, list | tuple):
        outputs = [outputs]
    return [np.asarray(value, np.float32) for value in outputs]


def _weights(model):
    return {
        "trainable": [v.numpy() for v in model.trainable_weights],
        "non_trainable": [v.numpy() for v in model.non_trainable_weights],
        "names": [v.name for v in model.trainable_weights],
    }


def load_predict_train(path, inputs, batches):
    """What becomes of a model that tf_keras loads.

    Args:
        path: A SavedModel directory or an HDF5 file.
        inputs: Arguments of `predict`.
        batches: Arguments of `train_on_batch`, one pair per step.

    Returns:
        `predictions` before the steps, `losses` of them, `iterations` before them,
        and after them `predictions_after` and `weights`.
    """
    import tf_keras

    tf_keras.backend.clear_session()
    model = tf_keras.models.load_model(path)
    optimizer = model.optimizer
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    result = {
        "class": type(model).__name__,
        "layers": [(type(layer).__name__, layer.name) for layer in model.layers],
        "predictions": _arrays(model.predict(inputs, verbose=0)),
        "optimizer": type(inner).__name__,
        "iterations": int(inner.iterations.numpy()),
    }
    result["losses"] = [
        np.ravel(model.train_on_batch(x, y))[0].item() for x, y in batches
    ]
    result["predictions_after"] = _arrays(model.predict(inputs, verbose=0))
    result["weights"] = _weights(model)
    return result


def _variables_below(root):
    """Variables that attributes of a loaded object lead to, each once."""
    import tensorflow as tf

    seen, waiting, found = set(), [root], []
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, tf.Variable):
            found.append(value)
        elif isinstance(value, list | tuple):
            waiting += value
        elif hasattr(value, "_self_unconditional_checkpoint_dependencies"):
            waiting += value._trackable_children().values()
            waiting += vars(value).values()
    return found


def open_as_saved_model(path, inputs=None):
    """What `tf.saved_model.load` finds.

    Args:
        path: A SavedModel directory.
        inputs: Arrays for `serving_default`, whose arguments go by the alphabet;
            `None` to leave it alone.

    Returns:
        Every variable, the signatures' keys, and what `serving_default` gives.
    """
    import tensorflow as tf

    loaded = tf.saved_model.load(os.fspath(path))
    outputs = None
    if inputs is not None:
        signature = loaded.signatures["serving_default"]
        names = sorted(signature.structured_input_signature[1])
        by_name = (
            inputs
            if isinstance(inputs, dict)
            else dict(zip(names, inputs, strict=True))
        )
        tensors = {name: tf.constant(value) for name, value in by_name.items()}
        outputs = {name: value.numpy() for name, value in signature(**tensors).items()}
    return {
        "variables": [v.numpy() for v in _variables_below(loaded)],
        "signatures": sorted(loaded.signatures),
        "outputs": outputs,
    }


def checkpoint_variables(prefix):
    """Name, shape and dtype of all that `tf.train.load_checkpoint` lists."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(os.fspath(prefix))
    shapes = reader.get_variable_to_shape_map()
    dtypes = reader.get_variable_to_dtype_map()
    return {name: (shapes[name], dtypes[name].name) for name in shapes}


def predict(path, inputs):
    """What a model that tf_keras loads, compiled or not, predicts."""
    import tf_keras

    tf_keras.backend.clear_session()
    model = tf_keras.models.load_model(path)
    return _arrays(model.predict(inputs, verbose=0))


def save_layers_without_config(path, inputs):
    """Saves a Sequential in a Sequential of layers that Keras can't describe.

    Returns:
        What the model predicts.
    """
    import tf_keras

    class Scale(tf_keras.layers.Layer):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def build(self, shape):
            start = tf_keras.initializers.Constant(self.factor)
            self.kernel = self.add_weight("kernel", shape[-1:], initializer=start)

        def call(self, inputs):
            return tf_keras.activations.tanh(inputs * self.kernel)

    tf_keras.utils.set_random_seed(0)
    inner = tf_keras.Sequential([Scale(2.0), tf_keras.layers.Dense(3), Scale(3.0)])
    model = tf_keras.Sequential([tf_keras.Input((3,)), Scale(4.0), inner, Scale(5.0)])
    model.save(path, save_format="tf")
    return model.predict(inputs, verbose=0)


def train_and_resave(path, target, save_format, batch):
    """Loads a model with tf_keras, takes a step and saves it again.

    tf_keras restores an optimizer's slots when it first needs them, and saves none
    that it has not needed.

    Args:
        path: What to load.
        target: Where to save.
        save_format: `"traces"`, `"plain"` (without traces) or `"h5"`.
        batch: Arguments of `train_on_batch`.
    """
    import tf_keras

    tf_keras.backend.clear_session()
    model = tf_keras.models.load_model(path)
    model.train_on_batch(*batch)
    if save_format == "h5":
        model.save(target, save_format="h5")
    else:
        model.save(target, save_format="tf", save_traces=save_format == "traces")


def save_checkpoint(prefix, hdf5, inputs):
    """Writes a trained model as a checkpoint of weights and as HDF5.

    Returns:
        What it predicts.
    """
    import tf_keras

    inner = tf_keras.Sequential(
        [
            tf_keras.layers.Dense(3, input_shape=(6,)),
            tf_keras.layers.BatchNormalization(),
        ],
        name="inner",
    )
    given = tf_keras.Input((6,))
    x = tf_keras.layers.Embedding(9, 4)(given)
    x = tf_keras.layers.Bidirectional(tf_keras.layers.LSTM(3))(x)
    model = tf_keras.Model(given, tf_keras.layers.Dense(2)(inner(x)))
    model.compile("adam", "mse")
    model.train_on_batch(inputs, np.ones((len(inputs), 2)))
    model.save_weights(prefix)
    model.save(hdf5)
    return model.predict(inputs, verbose=0)


def save_lost_operands(path, hdf5, inputs, batch):
    """Saves a functional model around `tf.einsum`, whose operands no config has.

    Returns:
        What it predicts, before and after one more step.
    """
    import tensorflow as tf
    import tf_keras

    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(0)
    layers = tf_keras.layers
    first, second = tf_keras.Input((3, 4)), tf_keras.Input((5, 4))
    queries = layers.Dense(2, name="queries")(first)
    scores = tf.einsum("bik,bjk->bij", queries, layers.Dense(2, name="keys")(second))
    outputs = layers.Dense(1)(layers.Flatten()(scores))
    model = tf_keras.Model([first, second], outputs)
    model.compile("adam", "mse")
    model.train_on_batch(inputs, batch)
    model.save(path, save_format="tf")
    model.save(hdf5, save_format="h5")
    before = model.predict(inputs, verbose=0)
    model.train_on_batch(inputs, batch)
    return before, model.predict(inputs, verbose=0)
