"""Networks of own classes in HDF5, whose code in Keras 3 is the reader's."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

from peer.functions import promises
from peer.functions.promises import Built, _batch, case

save = promises.save


def _compiled(model: Any, given: Any, *target: int) -> Built:
    model.compile(tf_keras.optimizers.Adam(0.1), "mse")
    batch = given, _batch(*target, seed=1)
    model.train_on_batch(*batch)
    return Built(model, given, batch)


def _dense() -> Any:
    return layers.Dense(3, "tanh", bias_initializer="random_normal")


def _variable(owner: Any, seed: int, trainable: bool = True) -> tf.Variable:
    value, name = _batch(3, 3, seed=seed), f"{owner.name}_{seed}"
    return tf.Variable(value, trainable=trainable, name=name)


def _fill(target: Any) -> None:
    """Gives a layer or model weights and layers of one shape in all kinds of places."""
    target.late = None
    target.weights_by_name = {"w": _variable(target, 1), "u": _variable(target, 2)}
    target.first = _variable(target, 3)
    target.by_name = {
        "z": _dense(),
        "b": [_dense(), _variable(target, 4)],
        "a": {"y": layers.BatchNormalization(), "x": _dense()},
        "c": _variable(target, 5),
    }
    target.listed = [
        _variable(target, 6),
        (_variable(target, 7, trainable=False), _variable(target, 8)),
    ]
    target.mixed = (_dense(), _variable(target, 9), {"q": _dense(), "p": _dense()})
    target.grown = [_dense()]
    target.late = _dense()
    target.grown.append(_dense())
    target.last = _variable(target, 10)
    target.kept = target.add_weight("kept", (3, 3), trainable=False)


def _run(target: Any, inputs: Any, training: Any) -> Any:
    by_name, mixed = target.by_name, target.mixed
    found = by_name["a"]["x"](by_name["b"][0](by_name["z"](inputs)))
    found = by_name["a"]["y"](found, training=training)
    for layer in (target.late, mixed[0], mixed[2]["q"], mixed[2]["p"], *target.grown):
        found = layer(found)
    weights = [
        *(target.weights_by_name["w"], target.weights_by_name["u"], target.first),
        *(by_name["b"][1], by_name["c"], target.listed[0], *target.listed[1]),
        *(mixed[1], target.last, target.kept),
    ]
    for place, weight in enumerate(weights):
        found = found + tf.tanh(tf.matmul(inputs, weight)) * (place + 1) / 10
    return found


class Filled(layers.Layer):
    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        _fill(self)

    def call(self, inputs: Any, training: Any = None) -> Any:
        return _run(self, inputs, training)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "trainable": self.trainable}


class FilledModel(tf_keras.Model):
    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        _fill(self)

    def call(self, inputs: Any, training: Any = None) -> Any:
        return _run(self, inputs, training)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}


class Late(layers.Layer):
    """Names what `build` makes in its constructor, in another order."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.bias = self.kernel = self.second = self.first = None

    def build(self, shape: Any) -> None:
        normal = "random_normal"
        self.kernel = self.add_weight("kernel", (3, 3), initializer=normal)
        self.first = _dense()
        self.scale = self.add_weight("scale", (3, 3), initializer=normal)
        self.bias = self.add_weight("bias", (3, 3), initializer=normal)
        self.second = _dense()
        super().build(shape)

    def call(self, inputs: Any) -> Any:
        found = self.second(self.first(inputs @ self.kernel) * 2.0)
        return found @ self.scale + tf.tanh(inputs @ self.bias)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "trainable": self.trainable}


@case
def weights_in_order(frozen: bool = False) -> Built:
    inputs = tf_keras.Input((3,))
    found = Filled(name="filled", trainable=not frozen)(inputs)
    found = Late(name="late", trainable=not frozen)(found)
    found = FilledModel(name="model")(found)
    model = tf_keras.Model(inputs, layers.Dense(2)(found))
    return _compiled(model, _batch(5, 3), 5, 2)


def read(path: str, inputs: Any, targets: Any) -> dict[str, Any]:
    """Loads a file with the classes from here, and trains it one step."""
    own = {cls.__name__: cls for cls in (Filled, FilledModel, Late)}
    model = tf_keras.models.load_model(path, custom_objects=own)
    outputs = model(inputs).numpy()
    loss = float(np.ravel(model.train_on_batch(inputs, targets))[0])
    return {"outputs": outputs, "loss": loss, "after": model(inputs).numpy()}
