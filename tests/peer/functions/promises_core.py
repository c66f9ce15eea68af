"""TensorFlow's own loader and saver, and signatures of the user's, for the promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers


def core_view(path: str, inputs: Any) -> dict[str, Any]:
    """What `tf.saved_model.load` shows of a Keras model, and its call's outputs."""
    loaded = tf.saved_model.load(path)
    api = loaded.keras_api
    found: dict[str, Any] = {
        name: [v.numpy() for v in getattr(api, name)]
        for name in ("variables", "trainable_variables", "non_trainable_variables")
    }
    found["regularization_losses"] = len(loaded.regularization_losses)
    found["layers"] = len(api.layers)
    found["outputs"] = loaded(tf.constant(inputs), training=False).numpy()
    return found


def save_by_core(path: str, inputs: np.ndarray) -> np.ndarray:
    """Saves a Keras model with `tf.saved_model.save`; returns its outputs."""
    model = tf_keras.Sequential([tf_keras.Input(inputs.shape[1:]), layers.Dense(2)])
    tf.saved_model.save(model, path)
    return model(inputs).numpy()


def save_with_signatures(path: str) -> dict[str, Any]:
    """A trained model with two signatures, one of which parses `tf.Example`."""
    tf_keras.backend.clear_session()
    model = tf_keras.Sequential(
        [
            layers.Dense(5, input_shape=(3,), kernel_regularizer="l2"),
            layers.Dropout(0.5),
            layers.Dense(4, kernel_regularizer="l2"),
        ]
    )
    x = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")
    model.compile("rmsprop", "mse")
    model.train_on_batch(x, np.ones((2, 4)))
    features = {"inputs": tf.io.FixedLenFeature([2, 3], tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec((None, 3))])
    def predict(inputs: Any) -> Any:
        return {"predictions": model(inputs)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def parse_and_predict(examples: Any) -> Any:
        parsed = tf.io.parse_single_example(examples[0], features)["inputs"]
        return {"predictions": model(parsed), "first_layer": model.layers[0](parsed)}

    signatures = {"predict": predict, "parse_and_predict": parse_and_predict}
    model.save(path, signatures=signatures)
    values = tf.train.FloatList(value=x.ravel())
    feature = {"inputs": tf.train.Feature(float_list=values)}
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    return {
        "inputs": x,
        "examples": np.array([example.SerializeToString()], object),
        "outputs": model(x).numpy(),
        "first": model.layers[0](x).numpy(),
    }


def traces(path: str, name: str) -> dict[str, list[Any]]:
    """Shapes and `training` of each trace of each function of the only layer."""
    loaded = tf.saved_model.load(path)
    layer = loaded.keras_api.layers[-1]
    found = {}
    for key in ("__call__", "call_and_return_conditional_losses"):
        function = getattr(layer, key, None)
        if function is not None:
            found[key] = [
                tf.nest.map_structure(
                    lambda value: (
                        tuple(value.shape.as_list())
                        if isinstance(value, tf.TensorSpec)
                        else value
                    ),
                    concrete.structured_input_signature,
                )
                for concrete in function.concrete_functions
            ]
    return found
