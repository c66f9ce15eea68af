"""Models with own classes and losses, and data that stand just at a kink."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

from peer.functions import promises
from peer.functions.promises import Built, _batch, _compiled, case

save = promises.save


def _half_zeros(*shape: int, seed: int = 0) -> np.ndarray:
    x = _batch(*shape, seed=seed)
    x[::2] = 0.0
    return x


class Kinks(layers.Layer):
    """Stands at a kink of each of its functions where its input is 0."""

    def build(self, shape: Any) -> None:
        self.offsets = [
            self.add_weight(f"offset_{i}", shape[-1:], initializer="zeros")
            for i in range(9)
        ]

    def call(self, inputs: Any) -> Any:
        zero = tf.zeros_like(inputs)
        x = [inputs + offset for offset in self.offsets]
        return tf.concat(
            [
                tf.abs(x[0]),
                tf.maximum(x[1], zero),
                tf.maximum(0.0, x[2]),
                tf.minimum(x[3], zero),
                tf.clip_by_value(x[4], 0.0, 1.0),
                tf.nn.relu(x[5]),
                tf.nn.relu6(x[6]),
                tf.nn.leaky_relu(x[7], 0.2),
                tf.nn.selu(x[8]),
            ],
            axis=-1,
        )


@case
def kinks_in_a_layer() -> Built:
    inputs = tf_keras.Input((3,))
    model = _compiled(inputs, Kinks()(inputs))
    batch = _half_zeros(6, 3), _batch(6, 27, seed=1)
    return Built(model, batch[0], batch)


@case
def kinks_in_operations() -> Built:
    inputs = tf_keras.Input((3,))
    x = [
        layers.Dense(3, kernel_initializer="ones", name=f"dense_{i}")(inputs)
        for i in range(6)
    ]
    outputs = [
        tf.abs(x[0]),
        tf.maximum(x[1], 0.0),
        tf.minimum(x[2], 0.0),
        tf.clip_by_value(x[3], 0.0, 1.0),
        tf.nn.leaky_relu(x[4], 0.2),
        tf.nn.selu(x[5]),
    ]
    model = _compiled(inputs, layers.Concatenate()(outputs))
    batch = _half_zeros(6, 3), _batch(6, 18, seed=1)
    return Built(model, batch[0], batch)


class Rounded(layers.Layer):
    """Rounds its kernel between its own bounds, its output between learned ones."""

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight("kernel", (shape[-1], 4))
        self.low = self.add_weight("low", (), initializer=lambda *_, **__: -0.7)
        self.high = self.add_weight("high", (), initializer=lambda *_, **__: 0.4)

    def call(self, inputs: Any) -> Any:
        bounds = tf.stop_gradient(tf.reduce_max(tf.abs(self.kernel), 0))
        kernel = tf.quantization.fake_quant_with_min_max_vars_per_channel(
            self.kernel, -bounds, bounds, narrow_range=True
        )
        x = tf.matmul(inputs, kernel)
        return tf.quantization.fake_quant_with_min_max_vars(x, self.low, self.high)


@case
def rounding_to_a_grid() -> Built:
    inputs = tf_keras.Input((3,))
    model = _compiled(inputs, Rounded()(inputs))
    batch = _batch(6, 3), _batch(6, 4, seed=1)
    return Built(model, batch[0], batch)


@case
def kink_of_leaky_units() -> Built:
    inputs = tf_keras.Input((3,))
    outputs = layers.LeakyReLU(0.2)(layers.Dense(4)(inputs))
    batch = _half_zeros(6, 3), _batch(6, 4, seed=1)
    return Built(_compiled(inputs, outputs), batch[0], batch)


@case
def kinks_of_stock_layers() -> Built:
    """Each stands at a kink, for its bias is its first 0 or 1 and inputs are zeros."""
    inputs = tf_keras.Input((3,))

    def units(bias: str = "zeros", **keywords: Any) -> Any:
        return layers.Dense(3, bias_initializer=bias, **keywords)(inputs)

    outputs = [
        units(activation="selu"),
        layers.Activation("leaky_relu")(units()),
        layers.ReLU(negative_slope=0.2)(units()),
        layers.ReLU(max_value=1.0)(units("ones")),
        layers.ReLU(max_value=1.0, negative_slope=0.3, threshold=0.5)(units("ones")),
        layers.ReLU(max_value=6.0)(units()),
        layers.Maximum()([units(), units()]),
        layers.Minimum()([units("ones"), units("ones"), units("ones")]),
    ]
    model = _compiled(inputs, layers.Concatenate()(outputs))
    batch = _half_zeros(6, 3), _batch(6, 24, seed=1)
    return Built(model, batch[0], batch)


@case
def outputs_that_are_right(loss: str) -> Built:
    inputs = tf_keras.Input((3,))
    model = _compiled(inputs, layers.Dense(2)(inputs), loss)
    batch = _half_zeros(6, 3), _half_zeros(6, 2, seed=1)
    return Built(model, batch[0], batch)


@case
def losses_per_example(loss: str) -> Built:
    """Compiled with a loss that nothing reduces."""
    inputs = tf_keras.Input((3,))
    chosen = getattr(tf_keras.losses, loss)(reduction="none")
    outputs = layers.Dense(2, activation="sigmoid")(inputs)
    batch = _batch(6, 3), np.eye(2, dtype="float32")[[0, 1, 1, 0, 1, 0]]
    model = _compiled(inputs, outputs, chosen)
    return Built(model, batch[0], batch)


@case
def margins_that_are_just_kept(loss: str) -> Built:
    """Where a hinge has its kink."""
    inputs = tf_keras.Input((2,))
    outputs = layers.Dense(2, kernel_initializer="identity")(inputs)
    given = np.array([[1, 0], [-1, 1], [0.5, -1], [0, 0]], "float32")
    batch = given, np.array([[1, 0], [0, 1], [1, 0], [0, 1]], "float32")
    chosen = getattr(tf_keras.losses, loss)() if loss[0].isupper() else loss
    return Built(_compiled(inputs, outputs, chosen), batch[0], batch)


@case
def network_of_steps_in_a_time_distributed() -> Built:
    """The network is built for steps, and called with the rows of all steps."""
    rows = tf_keras.Sequential([layers.Dense(3, input_shape=(None, 3))])
    inputs = tf_keras.Input((None, 3))
    outputs = layers.TimeDistributed(rows)(inputs)
    batch = _batch(2, 4, 3), _batch(2, 4, 3, seed=1)
    return Built(_compiled(inputs, outputs, "mse"), batch[0], batch)


@case
def inputs_of_another_rank() -> Built:
    inputs = tf_keras.Input((5, 5))
    batch = _batch(5, 5), _batch(5, 2, seed=1)
    return Built(_compiled(inputs, layers.Dense(2)(inputs), "mse"), batch[0], batch)


@case
def network_of_rows_called_with_steps() -> Built:
    chain = tf_keras.Sequential([layers.Dense(4, activation="tanh"), layers.Dense(4)])
    inputs = tf_keras.Input((3, 4))
    outputs = layers.Add()([layers.TimeDistributed(chain)(inputs), chain(inputs)])
    batch = _batch(6, 3, 4), _batch(6, 3, 4, seed=1)
    return Built(_compiled(inputs, outputs, "mse"), batch[0], batch)


class Inner(tf_keras.Model):
    """A model that is code."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(2)
        self.norm = layers.BatchNormalization()

    def call(self, inputs: Any) -> Any:
        return self.norm(self.dense(inputs))


class Mixed(tf_keras.Model):
    """Has layers in a mapping, which sorts their weights, and a weight of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = tf.Variable(2.0)
        self.parts = {"last": layers.Dense(2), "first": [layers.Dense(4)]}
        self.parts["norms"] = [layers.BatchNormalization()]

    def call(self, inputs: Any) -> Any:
        (dense,), (norm,) = self.parts["first"], self.parts["norms"]
        return self.parts["last"](dense(norm(inputs))) * self.scale


@case
def weights_in_an_order_of_their_own() -> Built:
    model = Mixed()
    batch = _batch(6, 3), _batch(6, 2, seed=1)
    model(batch[0])
    model.compile(tf_keras.optimizers.Adam(0.1), "mse")
    model.train_on_batch(*batch)
    return Built(model, batch[0], batch)


@case
def own_model_at_the_end() -> Built:
    inner = Inner()
    model = tf_keras.Sequential([tf_keras.Input((3,)), layers.Dense(4), inner])
    model.compile(tf_keras.optimizers.SGD(0.1), "mse", ["mae"])
    batch = _batch(4, 3), _batch(4, 2, seed=1)
    return Built(model, batch[0], batch)


class Normed(layers.Layer):
    """Hands no `training` on, as Keras 2 asks of nobody."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.dense = layers.Dense(4)
        self.norm = layers.BatchNormalization()

    def call(self, inputs: Any) -> Any:
        return self.norm(self.dense(inputs))


class Untold(tf_keras.Model):
    """Says `training` of one of its layers alone."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.frozen = layers.BatchNormalization()
        self.normed = Normed()
        self.last = layers.BatchNormalization()

    def call(self, inputs: Any) -> Any:
        return self.last(self.normed(self.frozen(inputs, training=False)))

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}


@case
def own_model_that_hands_no_training_on() -> Built:
    model = Untold()
    batch = _batch(6, 3), _batch(6, 4, seed=1)
    model(batch[0])
    model.compile(tf_keras.optimizers.SGD(0.1), "mse", ["mae"])
    return Built(model, batch[0], batch)


@case
def locally_connected(implementation: int) -> Built:
    inputs = tf_keras.Input((6, 3))
    outputs = layers.LocallyConnected1D(2, 3, implementation=implementation)(inputs)
    batch = _batch(4, 6, 3), _batch(4, 4, 2, seed=1)
    return Built(_compiled(inputs, outputs), batch[0], batch)


@case
def more_losses_than_outputs() -> Built:
    inputs = tf_keras.Input((3,))
    model = _compiled(inputs, layers.Dense(2)(inputs), ["mse", "mae"])
    batch = _batch(4, 3), _batch(4, 2, seed=1)
    return Built(model, batch[0], batch)


@case
def vocabulary_files(kind: str, folder: str) -> Built:
    path = os.path.join(folder, "vocabulary.txt")
    words = ["earth", "wind", "and", "fire"]
    numbers = [10, 20, 40, 80]
    tokens = map(str, numbers if kind == "integers" else words)
    with open(path, "w", encoding="utf-8") as file:
        file.write("".join(f"{token}\n" for token in tokens))
    if kind == "integers":
        layer = layers.IntegerLookup(vocabulary=path, num_oov_indices=2)
        inputs = tf_keras.Input((3,), dtype="int64")
        x = np.array([[10, 20, 7], [80, 40, 3]])
    elif kind == "inverse":
        layer = layers.StringLookup(vocabulary=path, invert=True)
        inputs = tf_keras.Input((3,), dtype="int64")
        x = np.array([[1, 2, 3], [4, 0, 1]])
    elif kind == "text":
        layer = layers.TextVectorization(vocabulary=path)
        inputs = tf_keras.Input((1,), dtype="string")
        x = np.array([["earth fire water"], ["and wind and"]])
    else:
        layer = layers.StringLookup(vocabulary=path, mask_token="")
        inputs = tf_keras.Input((3,), dtype="string")
        x = np.array([["earth", "", "fire"], ["wind", "and", "water"]])
    return Built(tf_keras.Model(inputs, layer(inputs)), tf.constant(x))


class Namesakes(layers.Layer):
    """Two weights of one name."""

    def build(self, shape: Any) -> None:
        size = shape[-1]
        self.w = self.add_weight(name="w", shape=(size, size), regularizer="l2")
        self.b = self.add_weight(name="w", shape=(size,))

    def call(self, inputs: Any) -> Any:
        return tf.matmul(inputs, self.w) + self.b


class Idle(layers.Layer):
    """Is never called, but has a weight."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.w = self.add_weight(name="w", shape=(2,), regularizer="l2")


class HoldsNamesakes(tf_keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.idle, self.first, self.last = Idle(), Namesakes(), layers.Dense(2)
        self.nested = (Idle(), [Idle()])

    def call(self, inputs: Any) -> Any:
        return self.last(self.first(inputs))


@case
def own_weights_of_one_name() -> Built:
    model = HoldsNamesakes()
    batch = _batch(4, 3), _batch(4, 2, seed=1)
    model(batch[0])
    model.compile(tf_keras.optimizers.Adam(0.1), "mse")
    model.train_on_batch(*batch)
    return Built(model, batch[0], batch)


class Special(layers.Layer):
    """Functions that TensorFlow knows some derivatives of."""

    def build(self, shape: Any) -> None:
        ones = {"shape": shape[-1:], "initializer": "ones"}
        self.a, self.b = (self.add_weight(name=name, **ones) for name in "ab")

    def call(self, inputs: Any) -> Any:
        x, nothing = tf.abs(inputs) + 1.5, tf.zeros_like(inputs)
        a, b = self.a + 0.5 + nothing, self.b + 0.5 + nothing
        y = tf.math.betainc(a, b, tf.sigmoid(inputs)) + tf.math.zeta(x * a, b)
        return y + tf.math.nextafter(a, x) + tf.math.special.spence(x * b)


@case
def special_functions() -> Built:
    inputs = tf_keras.Input((3,))
    outputs = Special()(layers.Dense(3)(inputs))
    batch = _batch(4, 3), _batch(4, 3, seed=1)
    return Built(_compiled(inputs, outputs), batch[0], batch)


class Sum(layers.Layer):
    def build(self, shape: Any) -> None:
        self.w = self.add_weight(name="w", shape=shape[-1:], initializer="ones")

    def call(self, one: Any, other: Any) -> Any:
        if one.dtype == other.dtype:
            raise TypeError("Keras 2 casts the first argument alone.")
        return one * tf.cast(self.w, one.dtype) + tf.cast(other, one.dtype)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.variable_dtype}


@case
def arguments_of_two_dtypes(policy: str) -> Built:
    """A layer of one policy that is called with what others give."""
    inputs = tf_keras.Input((3,))
    mixed = {"dtype": "mixed_float16"}
    x, y = (layers.Dense(3, **mixed)(inputs) for _ in range(2))
    other = layers.Activation("linear", dtype="float32")(y)
    x = Sum(dtype=policy)(x, y if policy == "float32" else other)
    outputs = layers.Dense(2, dtype="float32")(x)
    batch = _batch(4, 3), _batch(4, 2, seed=1)
    return Built(_compiled(inputs, outputs), batch[0], batch)


class Counting(layers.Layer):
    """Reads words that it makes of numbers."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.dense = layers.Dense(3, **keywords)
        self.norm = layers.BatchNormalization(**keywords)

    def call(self, inputs: Any, training: bool = False) -> Any:
        words = tf.strings.as_string(tf.cast(inputs, "int32"))
        length = tf.cast(tf.strings.length(words), inputs.dtype)
        return self.norm(self.dense(inputs), training=training) + length

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}


@case
def mixed_precision_of_words() -> Built:
    inputs = tf_keras.Input((3,))
    x = Counting(dtype="mixed_float16")(layers.Dense(3, dtype="mixed_float16")(inputs))
    model = _compiled(inputs, layers.Dense(2, dtype="float32")(x))
    batch = _batch(4, 3), _batch(4, 2, seed=1)
    model.train_on_batch(*batch)
    return Built(model, batch[0], batch)


class Coder(tf_keras.Model):
    """Has functions beside its call."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = layers.Dense(3)
        self.outer = layers.Dense(2)
        self.calls = tf.Variable(0.0, trainable=False)

    def call(self, inputs: Any) -> Any:
        return self.outer(self.inner(inputs))

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32)])
    def encode(self, inputs: Any) -> Any:
        self.calls.assign_add(1.0)
        return {"code": self.inner(inputs), "calls": self.calls + 0.0}

    @tf.function(input_signature=[])
    def finalize_state(self) -> Any:
        """Has a name that Keras gives a method of layers of its own."""
        self.calls.assign(-100.0)
        return self.calls + 0.0

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def lengths(self, words: Any) -> Any:
        return tf.strings.length(words)


@case
def functions_beside_call() -> Built:
    model = Coder()
    batch = _batch(4, 3), _batch(4, 2, seed=1)
    model.compile("sgd", "mse")
    model.train_on_batch(*batch)
    model.encode(batch[0])
    return Built(model, batch[0], batch)


class Branching(tf_keras.Model):
    """Gives a tensor and a dict of them."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, inputs: Any) -> Any:
        found = self.dense(inputs)
        return found, {"twice": found * 2.0, "mean": tf.reduce_mean(found, 1)}


@case
def outputs_within_outputs() -> Built:
    model = Branching()
    inputs = _batch(4, 3)
    targets = (_batch(4, 2), {"twice": _batch(4, 2, seed=1), "mean": _batch(4, seed=2)})
    model.compile(tf_keras.optimizers.Adam(0.1), "mse")
    model.train_on_batch(inputs, targets)
    return Built(model, inputs, (inputs, targets))
