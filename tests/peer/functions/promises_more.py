"""More cases of `promises.py`: revived models, compile arguments, names."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

from peer.functions import promises
from peer.functions.promises import Built, Chain, _batch, case

save = promises.save


# -------------------------------------------------------------------- revived


class Bias(layers.Layer):
    """Adds a bias; a loss per variable and one per call."""

    def __init__(self, start: float, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.start = start
        self.scale = self.add_weight(
            "scale", shape=(), initializer=tf_keras.initializers.Constant(start)
        )
        self.add_loss(lambda: self.scale * 2.0)
        self.seen = tf_keras.metrics.Sum(name="seen")

    def build(self, shape: Any) -> None:
        self.bias = self.add_weight("bias", shape=shape[1:], initializer="ones")

    def call(self, inputs: Any) -> Any:
        self.add_loss(tf.reduce_sum(inputs))
        self.add_metric(self.seen(inputs))
        return inputs + self.bias

    def get_config(self) -> Any:
        raise NotImplementedError


class BiasWithConfig(Bias):
    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": self.dtype,
            "start": self.start,
        }


class Stack(tf_keras.Model):
    """Without a config; a list of layers made in `build`, and one that is shared."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.start = start
        self.shared = Bias(start)
        self.all_layers: list[Any] = []

    def build(self, shape: Any) -> None:
        self.all_layers.extend(
            [
                self.shared,
                BiasWithConfig(self.start + 1.0),
                tf_keras.Sequential([Bias(self.start + 2.0)]),
            ]
        )
        super().build(shape)

    def call(self, inputs: Any) -> Any:
        for layer in self.all_layers:
            inputs = layer(inputs)
        return inputs


@case
def mixed(kind: str = "functional") -> Built:
    inputs = x = tf_keras.Input((2, 3))
    for layer in (BiasWithConfig(1.0), Bias(3.0), Stack(7.0)):
        x = layer(x)
    stack = [
        BiasWithConfig(1.5),
        Bias(2.5),
        Stack(3.5),
        tf_keras.Model(inputs, x),
        tf_keras.Sequential([BiasWithConfig(4.5), Bias(5.5), Stack(6.5)]),
        Chain([BiasWithConfig(7.5), Bias(8.5)]),
    ]
    if kind == "sequential":
        model = tf_keras.Sequential(stack)
    else:
        model = promises._of_kind(kind, stack, (2, 3))
    model.predict(np.ones((4, 2, 3), "float32"), verbose=0)
    rng = np.random.default_rng(3)
    for weight in model.weights:
        weight.assign(rng.normal(size=weight.shape))
    built = Built(model, _batch(2, 2, 3))
    built.more = {
        "layers": [layer.name for layer in model.layers],
        "classes": [
            (layer.name, type(layer).__name__, layer.trainable) for layer in stack
        ],
    }
    return built


class NestedSubclass(tf_keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.outer = layers.Dense(4)
        self.inner = Chain([layers.Dense(3, "tanh"), layers.Dense(2)])

    def call(self, inputs: Any) -> Any:
        return self.inner(self.outer(inputs))


@case
def nested_subclass() -> Built:
    model = NestedSubclass()
    model.compile("adam", "mse")
    x, y = _batch(4, 3), _batch(4, 2, seed=1)
    model.train_on_batch(x, y)
    return Built(model, x, (x, y))


class OwnSequential(tf_keras.Sequential):
    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.add(layers.InputLayer(input_shape=(2, 3)))


@case
def sequential_subclass() -> Built:
    model = OwnSequential()
    model.add(layers.Dense(2))
    return Built(model, _batch(2, 2, 3))


class OwnNetwork(tf_keras.Model):
    def __init__(self, classes: int, name: str | None = None) -> None:
        inputs = tf_keras.Input((2, 3), name="inputs")
        x = layers.Flatten(name="flatten")(inputs)
        super().__init__(inputs, layers.Dense(classes, name="outputs")(x), name=name)
        self.own_config = {"classes": classes}


class OwnNetworkWithConfig(OwnNetwork):
    def get_config(self) -> Any:
        return self.own_config

    @classmethod
    def from_config(cls, config: Any, custom_objects: Any = None) -> Any:
        return cls(config["classes"], name=config.get("name"))


class OwnNetworkWithName(OwnNetworkWithConfig):
    def get_config(self) -> Any:
        return {**self.own_config, "name": self.name}


@case
def own_network(class_name: str = "OwnNetwork") -> Built:
    model = globals()[class_name](3, name="a_network")
    return Built(model, _batch(2, 2, 3))


class DictNetwork(tf_keras.Model):
    def __init__(self, units: int) -> None:
        inputs = tf_keras.Input((2, 3), name="inputs")
        outputs = {"output": layers.Dense(units, "relu", name="dense")(inputs)}
        super().__init__(inputs=[inputs], outputs=outputs)
        self.units = units

    def get_config(self) -> Any:
        return {"units": self.units}

    @classmethod
    def from_config(cls, config: Any, custom_objects: Any = None) -> Any:
        return cls(**config)


class WrongConfig(DictNetwork):
    def get_config(self) -> Any:
        return {}


@case
def dict_network() -> Built:
    return Built(DictNetwork(4), _batch(2, 2, 3))


@case
def wrong_config() -> Built:
    return Built(WrongConfig(4), _batch(2, 2, 3))


@case
def short_accuracy(sparse: bool = False) -> Built:
    model = tf_keras.Sequential([layers.Dense(4, "softmax", input_shape=(3,))])
    loss = "sparse_categorical_crossentropy" if sparse else "categorical_crossentropy"
    model.compile("rmsprop", loss, metrics=["acc"])
    x = _batch(8, 3)
    classes = np.random.default_rng(1).integers(0, 4, 8)
    y = classes.reshape(8, 1) if sparse else np.eye(4, dtype="float32")[classes]
    model.train_on_batch(x, y)
    built = Built(model, x, (x, y))
    built.more = {"evaluated": model.evaluate(x, y, verbose=0)}
    return built


class Dense(layers.Layer):
    """Of the user's, with the name of one of Keras'."""

    def __init__(self, units: int, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.units = units

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight("kernel", shape=(shape[-1], self.units))

    def call(self, inputs: Any) -> Any:
        return tf.matmul(inputs, self.kernel) * 7.0

    def get_config(self) -> Any:
        return {**super().get_config(), "units": self.units}


@case
def own_dense() -> Built:
    inputs = tf_keras.Input((3,))
    return Built(tf_keras.Model(inputs, Dense(2)(inputs)), _batch(2, 3))


# --------------------------------------------------------------- compile, names


@case
def version_1_optimizer() -> Built:
    inputs = tf_keras.Input((3,))
    model = tf_keras.Model(inputs, layers.Dense(2)(inputs))
    model.compile(tf.compat.v1.train.AdamOptimizer(), "mse")
    x = _batch(4, 3)
    model.train_on_batch(x, _batch(4, 2))
    return Built(model, x)


def scaled(x: Any, factor: Any) -> Any:
    return x * factor


@case
def lambda_arguments() -> Built:
    model = tf_keras.Sequential(
        [
            tf_keras.Input((3,)),
            layers.Lambda(scaled, arguments={"factor": np.float32([1, 2, 3])}),
            layers.Dense(2),
        ]
    )
    return Built(model, _batch(2, 3))


@case
def slashed_names() -> Built:
    inputs = tf_keras.Input((2, 2, 3), name="in/put")
    x = layers.Conv2D(4, 1, name="conv1/conv")(inputs)
    x = layers.Conv2D(5, 1, name="conv1")(x)
    outputs = [
        layers.Dense(2, name="head/a")(x),
        layers.Dense(3, name="head_a")(x),
    ]
    model = tf_keras.Model(inputs, outputs)
    model.compile("sgd", {"head/a": "mse", "head_a": "mae"})
    x = _batch(2, 2, 2, 3)
    y = {"head/a": _batch(2, 2, 2, 2), "head_a": _batch(2, 2, 2, 3)}
    model.train_on_batch(x, y)
    return Built(model, x, (x, [y["head/a"], y["head_a"]]))


@case
def added_loss_and_metric() -> Built:
    inputs = tf_keras.Input((3,))
    x = layers.Dense(4)(inputs)
    outputs = layers.Dense(2)(x)
    model = tf_keras.Model(inputs, outputs)
    model.add_loss(0.5 * tf.reduce_sum(tf.square(x)))
    model.add_metric(tf.reduce_sum(x), name="sum_of_x", aggregation="mean")
    model.compile("adam", "mse")
    x, y = _batch(4, 3), _batch(4, 2)
    model.train_on_batch(x, y)
    built = Built(model, x, (x, y))
    evaluated = model.evaluate(x, y, verbose=0)
    built.more = {"evaluated": evaluated, "metric_names": model.metrics_names}
    return built


@case
def getitem() -> Built:
    inputs = tf_keras.Input((4, 3))
    x = inputs[:, 1:, ::2]
    x = layers.Dense(2)(x) + x[:, 0:1]
    return Built(tf_keras.Model(inputs, x), _batch(2, 4, 3))


@case
def mixed_precision(policy: str) -> Built:
    model = tf_keras.Sequential(
        [
            tf_keras.Input((3,)),
            layers.Dense(4, dtype=policy),
            layers.Dense(2, dtype=policy),
        ]
    )
    optimizer: Any = tf_keras.optimizers.SGD(0.1)
    if policy == "mixed_float16":
        optimizer = tf_keras.mixed_precision.LossScaleOptimizer(
            optimizer, initial_scale=128.0
        )
    model.compile(optimizer, "mse")
    x, y = _batch(4, 3), _batch(4, 2)
    model.train_on_batch(x, y)
    built = Built(model, x)
    if policy == "mixed_float16":
        built.more = {"scale": float(optimizer.loss_scale)}
    return built
