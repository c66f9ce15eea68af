"""Models as the examples of Keras' documentation build them."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

from peer.functions import promises
from peer.functions.promises import Built, _batch, _compiled, case

save = promises.save


@case
def masked_sequences(loss: str, **arguments: Any) -> Built:
    """Of several lengths, with a loss that is an object."""
    model = tf_keras.Sequential(
        [layers.Masking(0.5), layers.SimpleRNN(3, return_sequences=True)]
    )
    model.compile(
        tf_keras.optimizers.SGD(0.1, momentum=0.9),
        getattr(tf_keras.losses, loss)(**arguments),
    )
    sequences = _batch(4, 5, 2)
    sequences[:2, 3:] = 0.5
    targets = np.abs(_batch(4, 5, 3, seed=1))
    model.train_on_batch(sequences, targets)
    return Built(model, sequences, (sequences, targets))


@case
def metrics_of_masked_sequences(outputs: str) -> Built:
    """With what a step of training shows, for outputs in a list, a dict or alone."""
    inputs = tf_keras.Input((6,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True)(inputs)
    first = layers.GRU(3, return_sequences=True, name="first")(x)
    second = layers.Dense(5, "softmax", name="second")(first)
    pooled = layers.GlobalAveragePooling1D(name="pooled")(first)
    made = {
        "alone": second,
        "list": [second, pooled],
        "dict": {"second": second, "pooled": pooled},
    }[outputs]
    sequences = np.random.default_rng(1).integers(1, 9, (4, 6)).astype("int32")
    sequences[:2, 3:] = 0
    classes = np.random.default_rng(2).integers(0, 5, (4, 6))
    targets = {"second": classes, "pooled": _batch(4, 3)}
    more = {}
    # A copy takes the step beforehand.
    model = tf_keras.Model(inputs, made)
    copy = tf_keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for one in (copy, model):
        one.compile(
            tf_keras.optimizers.SGD(0.1),
            {"second": "sparse_categorical_crossentropy", "pooled": "mse"}
            if outputs != "alone"
            else "sparse_categorical_crossentropy",
            metrics={"second": ["accuracy", "sparse_categorical_crossentropy"]},
            weighted_metrics={"second": ["accuracy"]},
        )
    y = classes if outputs == "alone" else targets
    if outputs == "list":
        y = list(targets.values())
    more["logs"] = copy.train_on_batch(sequences, y, return_dict=True)
    model.evaluate(sequences, y, verbose=0)
    return Built(model, sequences, (sequences, y), more=more)


@case
def metrics_that_are_no_mean_of_a_function(weighted: bool) -> Built:
    """Of masked sequences: each is given the mask as the weights of the samples."""
    inputs = tf_keras.Input((6,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True)(inputs)
    x = layers.GRU(3, return_sequences=True)(x)
    model = tf_keras.Model(inputs, layers.Dense(1, "sigmoid")(x))
    kinds = tf_keras.metrics
    found = [
        kinds.RootMeanSquaredError(name="root"),
        kinds.Precision(name="precision"),
        kinds.AUC(num_thresholds=9, name="auc"),
        kinds.FalsePositives(name="false"),
        kinds.MeanRelativeError(3.0, name="relative"),
        kinds.BinaryAccuracy(name="mean_of_a_function"),
    ]
    key = "weighted_metrics" if weighted else "metrics"
    sequences = np.random.default_rng(1).integers(1, 9, (4, 6)).astype("int32")
    sequences[:2, 3:] = 0
    targets = np.random.default_rng(2).integers(0, 2, (4, 6, 1)).astype("float32")
    model.compile(tf_keras.optimizers.SGD(0.1), "mse", **{key: found})
    results = {}
    for name in (None, "examples", "steps"):
        shape = {None: None, "examples": (4,), "steps": (4, 6)}[name]
        weights = None if shape is None else _batch(*shape, seed=3) ** 2
        results[name] = (
            weights,
            model.evaluate(
                sequences, targets, sample_weight=weights, verbose=0, return_dict=True
            ),
        )
    return Built(model, sequences, (sequences, targets), more={"results": results})


@case
def results_of_several_outputs() -> Built:
    """Whose names, and those of their metrics, are in no alphabetical order."""
    inputs = tf_keras.Input((3,))
    made = [layers.Dense(2, name=name)(inputs) for name in ("price", "area")]
    model = tf_keras.Model(inputs, made)
    model.compile(
        tf_keras.optimizers.SGD(0.1),
        ["mse", "mae"],
        metrics=[["mse", "mae"], ["mae", "cosine_similarity"]],
        weighted_metrics=[["mape"], ["mae"]],
    )
    x, y = _batch(4, 3), [_batch(4, 2, seed=1), _batch(4, 2, seed=2)]
    results = model.evaluate(x, y, verbose=0)
    return Built(model, x, (x, y), more={"results": results})


class Spectral(layers.Wrapper):
    """Divides the kernel of its layer by its norm, at each call in training."""

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.vector = self.add_weight(
            "vector", (1, self.layer.kernel.shape[-1]), trainable=False
        )

    def call(self, inputs: Any, training: Any = None) -> Any:
        if training:
            kernel = tf.reshape(self.layer.kernel, [-1, self.vector.shape[-1]])
            left = tf.math.l2_normalize(
                tf.matmul(self.vector, kernel, transpose_b=True)
            )
            right = tf.math.l2_normalize(tf.matmul(left, kernel))
            norm = tf.matmul(tf.matmul(left, kernel), right, transpose_b=True)
            self.vector.assign(right)
            self.layer.kernel.assign(self.layer.kernel / norm)
        return self.layer(inputs)


@case
def kernels_that_training_divides(shared: bool = False) -> Built:
    inputs = x = tf_keras.Input((3,))
    first = Spectral(layers.Dense(3, activation="tanh"))
    for _ in range(2 if shared else 1):
        x = first(x)
    model = tf_keras.Model(inputs, Spectral(layers.Dense(2))(x))
    model.compile(tf_keras.optimizers.SGD(0.5, momentum=0.9), "mse")
    batch = _batch(5, 3), _batch(5, 2, seed=1)
    model.train_on_batch(*batch)
    return Built(model, batch[0], batch)


class Centred(layers.Layer):
    """Takes away a mean that it keeps, behind what is trained."""

    def build(self, input_shape: Any) -> None:
        self.mean = self.add_weight("mean", input_shape[-1:], trainable=False)
        self.count = tf.Variable(0, trainable=False, name="count")

    def call(self, inputs: Any, training: Any = None) -> Any:
        if training:
            self.count.assign_add(1)
            self.mean.assign(0.5 * self.mean + 0.5 * tf.reduce_mean(inputs, axis=0))
        return (inputs - self.mean) ** 2


@case
def mean_that_training_moves() -> Built:
    inputs = tf_keras.Input((3,))
    outputs = layers.Dense(2)(Centred()(layers.Dense(4)(inputs)))
    model = _compiled(inputs, outputs)
    batch = _batch(5, 3), _batch(5, 2, seed=1)
    model.train_on_batch(*batch)
    return Built(model, batch[0], batch)


class Reversed(layers.Layer):
    """Has gradients that no rule gives: `kind` says which."""

    def __init__(self, kind: str, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.kind = kind

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight("scale", input_shape[-1:], initializer="ones")

    def call(self, inputs: Any) -> Any:
        return getattr(self, self.kind)(inputs)

    def reversal(self, inputs: Any) -> Any:
        @tf.custom_gradient
        def function(x: Any) -> Any:
            return tf.identity(x), lambda gradient: -0.5 * gradient

        return function(inputs * self.scale)

    def straight_through(self, inputs: Any) -> Any:
        @tf.custom_gradient
        def function(x: Any) -> Any:
            passed = tf.cast(tf.abs(x) < 0.5, x.dtype)
            return tf.sign(x), lambda gradient: gradient * passed

        return function(inputs) * self.scale

    def captured(self, inputs: Any) -> Any:
        @tf.custom_gradient
        def function(x: Any, scale: Any) -> Any:
            halves, gate = tf.split(x, 2, axis=-1), tf.sigmoid(x)
            result = tf.concat([halves[1], halves[0]], axis=-1) * scale

            def gradient(upstream: Any) -> Any:
                return upstream * gate, tf.reduce_sum(2.0 * upstream * result, axis=0)

            return result, gradient

        return tf.nn.swish(function(inputs, self.scale))


@case
def gradient_of_its_own(kind: str) -> Built:
    inputs = tf_keras.Input((3,))
    x = Reversed(kind)(layers.Dense(4, activation="tanh")(inputs))
    model = _compiled(inputs, layers.Dense(2)(x))
    batch = _batch(5, 3), _batch(5, 2, seed=1)
    model.train_on_batch(*batch)
    return Built(model, batch[0], batch)


class Positions(layers.Layer):
    """Makes a mask, as `Embedding` does, in code alone."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.tokens = layers.Embedding(9, 4)
        self.places = layers.Embedding(6, 4)

    def call(self, inputs: Any) -> Any:
        return self.tokens(inputs) + self.places(tf.range(tf.shape(inputs)[-1]))

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return tf.not_equal(inputs, 0)


class Doubled(layers.Layer):
    """Hands on a mask, or uses it up."""

    def __init__(self, pools: bool, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.pools = pools
        self.supports_masking = not pools

    def call(self, inputs: Any, mask: Any = None) -> Any:
        if mask is not None and self.pools:
            return tf.reduce_sum(inputs * tf.cast(mask, inputs.dtype)[..., None], 1)
        return 2.0 * inputs


@case
def masks_of_own_layers(made: bool, pools: bool) -> Built:
    inputs = tf_keras.Input((6,), dtype="int32")
    first = Positions() if made else layers.Embedding(9, 4, mask_zero=True)
    outputs = layers.Dense(3)(Doubled(pools)(first(inputs)))
    model = _compiled(inputs, outputs)
    tokens = np.random.default_rng(0).integers(0, 9, (4, 6)).astype("int32")
    targets = _batch(4, 3, seed=1) if pools else _batch(4, 6, 3, seed=1)
    return Built(model, tokens, (tokens, targets))


class Settling(layers.Layer):
    """Goes on until its values hardly move."""

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight("kernel", (input_shape[-1],) * 2)

    def call(self, inputs: Any) -> Any:
        def moves(values: Any, before: Any) -> Any:
            return tf.reduce_max(tf.abs(values - before)) > 1e-3

        def move(values: Any, before: Any) -> Any:
            del before
            return tf.tanh(inputs + 0.3 * values @ self.kernel), values

        return tf.while_loop(moves, move, (inputs, tf.zeros_like(inputs)))[0]


@case
def loop_until_values_settle() -> Built:
    inputs = tf_keras.Input((3,))
    outputs = layers.Dense(2)(Settling()(layers.Dense(3)(inputs)))
    model = _compiled(inputs, outputs)
    batch = _batch(5, 3), _batch(5, 2, seed=1)
    return Built(model, batch[0], batch)


@tf_keras.utils.register_keras_serializable(package="Mine")
class Scaled(tf_keras.initializers.Initializer):
    """An initializer that its file names, and nobody else has."""

    def __init__(self, scale: float, shape: Any = None) -> None:
        self.scale, self.shape = scale, shape

    def __call__(self, shape: Any, dtype: Any = None, **keywords: Any) -> Any:
        return self.scale * tf.ones(shape)

    def get_config(self) -> dict[str, Any]:
        # Keras' JSON has a form of its own for the shape.
        return {"scale": self.scale, "shape": tf.TensorShape(self.shape)}


def _halves(shape: Any, dtype: Any = None) -> Any:
    return 0.5 * tf.ones(shape)


@case
def initializers_of_its_own() -> Built:
    inputs = tf_keras.Input((3,))
    x = layers.Dense(4, "relu", kernel_initializer=Scaled(0.1, (None, 4)))(inputs)
    model = tf_keras.Model(inputs, layers.Dense(2, bias_initializer=_halves)(x))
    model.compile("adam", "mse")
    batch = _batch(5, 3), _batch(5, 2, seed=1)
    model.train_on_batch(*batch)
    return Built(model, batch[0], batch)


def scale_of_initializer(path: str) -> float:
    """What tf_keras reads of the first layer's initializer."""
    known = {"_halves": _halves}
    model = tf_keras.models.load_model(path, custom_objects=known)
    return model.layers[1].kernel_initializer.scale


class Adversaries(tf_keras.Model):
    """Each half is trained by an optimizer of its own."""

    def __init__(self, legacy: bool) -> None:
        super().__init__()
        optimizers = tf_keras.optimizers.legacy if legacy else tf_keras.optimizers
        self.generator = layers.Dense(3)
        self.critic = layers.Dense(1)
        self.generator_optimizer = optimizers.Adam(0.1)
        self.critic_optimizer = optimizers.Adam(0.1)

    def call(self, inputs: Any) -> Any:
        return self.critic(self.generator(inputs))

    def train_step(self, data: Any) -> Any:
        with tf.GradientTape(persistent=True) as tape:
            loss = tf.reduce_mean((self(data[0]) - data[1]) ** 2)
        for layer, optimizer in (
            (self.generator, self.generator_optimizer),
            (self.critic, self.critic_optimizer),
        ):
            trained = layer.trainable_variables
            optimizer.apply_gradients(
                zip(tape.gradient(loss, trained), trained, strict=True)
            )
        return {"loss": loss}


@case
def optimizers_of_its_own(legacy: bool) -> Built:
    model = Adversaries(legacy)
    model.compile()
    x = _batch(4, 3)
    model.fit(x, _batch(4, 1, seed=1), verbose=0)
    weights = [value.numpy() for value in model.weights]
    return Built(model, x, more={"kept": weights})
