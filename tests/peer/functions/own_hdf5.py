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


registered = tf_keras.utils.register_keras_serializable("Pkg")


@registered
def bent(values: Any) -> Any:
    return tf.tanh(values) * 0.5 + values * 0.1


@registered
class Doubled(tf_keras.regularizers.Regularizer):
    """Twice another one."""

    def __init__(self, inner: Any) -> None:
        self.inner = tf_keras.regularizers.get(inner)

    def __call__(self, weight: Any) -> Any:
        return 2.0 * self.inner(weight)

    def get_config(self) -> dict[str, Any]:
        return {"inner": tf_keras.regularizers.serialize(self.inner)}


@registered
class Gated(layers.Layer):
    """Has an activation, a regularizer and an initializer in its config."""

    def __init__(
        self,
        activation: Any = None,
        regularizer: Any = None,
        initializer: Any = "ones",
        legacy: bool = False,
        **keywords: Any,
    ) -> None:
        super().__init__(**keywords)
        self.activation = tf_keras.activations.get(activation)
        self.regularizer = tf_keras.regularizers.get(regularizer)
        self.initializer = tf_keras.initializers.get(initializer)
        self.legacy = legacy

    def build(self, shape: Any) -> None:
        self.gate = self.add_weight(
            "gate", (shape[-1],), None, self.initializer, self.regularizer
        )
        super().build(shape)

    def call(self, inputs: Any) -> Any:
        return self.activation(inputs * self.gate)

    def get_config(self) -> dict[str, Any]:
        legacy = {"use_legacy_format": self.legacy}
        return {
            **super().get_config(),
            "activation": tf_keras.activations.serialize(self.activation, **legacy),
            "regularizer": tf_keras.regularizers.serialize(self.regularizer, **legacy),
            "initializer": tf_keras.initializers.serialize(self.initializer, **legacy),
        }


@registered
class Scaled(layers.Wrapper):
    def __init__(self, layer: Any, factor: float = 2.0, **keywords: Any) -> None:
        super().__init__(layer, **keywords)
        self.factor = factor

    def call(self, inputs: Any) -> Any:
        return self.layer(inputs) * self.factor

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


@registered
class Summed(layers.Layer):
    """Adds up what layers make that its config has."""

    def __init__(self, parts: Any, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.parts = [
            tf_keras.layers.deserialize(p) if isinstance(p, dict) else p for p in parts
        ]

    def call(self, inputs: Any) -> Any:
        return tf.add_n([part(inputs) for part in self.parts])

    def get_config(self) -> dict[str, Any]:
        parts = [tf_keras.layers.serialize(part) for part in self.parts]
        return {**super().get_config(), "parts": parts}


@registered
class OwnLSTM(layers.LSTM):
    pass


@registered
class OwnGRU(layers.GRU):
    pass


@registered
class OwnNormalization(layers.BatchNormalization):
    pass


@registered
class OwnAttention(layers.MultiHeadAttention):
    pass


@registered
class OwnEmbedding(layers.Embedding):
    pass


def _composed(kind: str, found: Any) -> Any:
    if kind == "regularizer":
        inner = Doubled(tf_keras.regularizers.L1L2(0.01, 0.02))
        return layers.Dense(3, kernel_regularizer=Doubled(inner))(found)
    if kind in ("objects", "objects_of_old"):
        uniform = tf_keras.initializers.RandomUniform(0.5, 1.5)
        inner = Doubled(tf_keras.regularizers.L1L2(0.01, 0.02))
        found = Gated(bent, inner, uniform, kind == "objects_of_old")(found)
        return layers.Dense(3, bent)(found)
    if kind == "wrapper":
        return Scaled(layers.LSTM(3, return_sequences=True))(Scaled(Gated(bent))(found))
    if kind == "layers":
        parts = [OwnGRU(3, return_sequences=True), layers.Dense(3), Gated("tanh")]
        return Summed(parts)(found)
    if kind == "networks":
        given = tf_keras.Input((None, 3))
        network = tf_keras.Model(given, layers.LeakyReLU(0.2)(layers.Dense(3)(given)))
        chain = tf_keras.Sequential([layers.Dense(4, "relu"), layers.Dense(3)])
        return Summed([network, chain, Gated("tanh")])(found)
    if kind == "recurrent":
        found = layers.Bidirectional(OwnLSTM(3, return_sequences=True))(found)
        return OwnGRU(3, bent, return_sequences=True)(found)
    if kind == "hard_sigmoid":
        found = Gated("hard_sigmoid")(found)
        linear = {"recurrent_activation": "hard_sigmoid"}
        return OwnLSTM(3, return_sequences=True, **linear)(found)
    if kind == "attention":
        return OwnAttention(2, 3)(found, found)
    return OwnNormalization()(found)


@case
def composed(kind: str) -> Built:
    inputs = tf_keras.Input((4, 3))
    model = tf_keras.Model(inputs, layers.Dense(2)(_composed(kind, inputs)))
    return _compiled(model, _batch(5, 4, 3), 5, 4, 2)


def read(path: str, inputs: Any, targets: Any) -> dict[str, Any]:
    """Loads a file with the classes from here, and trains it one step."""
    own = {
        item.__name__: item
        for item in (
            *(Filled, FilledModel, Late, bent, Doubled, Gated, Scaled, Summed),
            *(OwnLSTM, OwnGRU, OwnNormalization, OwnAttention, OwnEmbedding),
        )
    }
    model = tf_keras.models.load_model(path, custom_objects=own)
    outputs = model(inputs).numpy()
    loss = float(np.ravel(model.train_on_batch(inputs, targets))[0])
    return {"outputs": outputs, "loss": loss, "after": model(inputs).numpy()}
