"""tf_keras builds, trains and saves the models of which Keras 2 promised something."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

CASES: dict[str, Callable[..., Built]] = {}


@dataclasses.dataclass
class Built:
    """A model, what it is called with, and a batch to train on (if compiled)."""

    model: Any
    inputs: Any
    batch: tuple[Any, Any] | None = None
    call: dict[str, Any] = dataclasses.field(
        default_factory=lambda: {"training": False}
    )
    compare: bool = True
    more: dict[str, Any] = dataclasses.field(default_factory=dict)


def case(function: Callable[..., Built]) -> Callable[..., Built]:
    CASES[function.__name__] = function
    return function


def save(
    name: str,
    path: str,
    save_format: str = "tf",
    save_traces: bool = True,
    **keywords: Any,
) -> dict[str, Any]:
    """Saves a case; returns what its writer says of it.

    Returns:
        `inputs`, `outputs` of inference, sorted `losses`, `weights` as name, whether
        trainable, and value; of a compiled model also `batch`, and after a step on it
        `loss` and `after`.
    """
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(7)
    built = CASES[name](**keywords)
    model = built.model
    found: dict[str, Any] = {"inputs": _numpy(built.inputs), **built.more}
    found["traced"] = save_traces
    if built.compare:
        arguments = built.inputs if isinstance(built.inputs, tuple) else (built.inputs,)
        found["outputs"] = _numpy(model(*arguments, **built.call))
        found["losses"] = sorted(float(tf.reduce_sum(x)) for x in model.losses)
    found["weights"] = _weights(model)
    arguments = {} if save_format == "h5" else {"save_traces": save_traces}
    model.save(os.fspath(path), save_format=save_format, **arguments)
    if built.batch is not None:
        x, y = built.batch
        found["batch"] = (_numpy(x), _numpy(y))
        model.reset_metrics()
        found["loss"] = float(model.train_on_batch(x, y, return_dict=True)["loss"])
        found["after"] = [value for _, _, value in _weights(model)]
        found["metrics"] = [metric.name for metric in model.metrics]
    return found


def _weights(model: Any) -> list[tuple[str, bool, np.ndarray]]:
    trainable = {id(weight) for weight in model.trainable_weights}
    return [(w.name, id(w) in trainable, w.numpy()) for w in model.weights]


def _numpy(values: Any) -> Any:
    def one(value: Any) -> Any:
        if isinstance(value, tf.RaggedTensor):
            return value.to_list()
        if isinstance(value, tf.SparseTensor):
            parts = (value.indices, value.values, value.dense_shape)
            return tuple(part.numpy() for part in parts)
        return value.numpy() if hasattr(value, "numpy") else np.asarray(value)

    return tf.nest.map_structure(one, values)


def _compiled(inputs: Any, outputs: Any, loss: Any = "mse") -> Any:
    model = tf_keras.Model(inputs, outputs)
    model.compile(tf_keras.optimizers.SGD(0.1), loss)
    return model


def _batch(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def _of_kind(kind: str, stack: list[Any], shape: tuple[int | None, ...]) -> Any:
    """The layers one after another as a model of a kind."""
    if kind == "sequential":
        return tf_keras.Sequential([tf_keras.Input(shape), *stack])
    if kind == "functional":
        inputs = x = tf_keras.Input(shape)
        for layer in stack:
            x = layer(x)
        return tf_keras.Model(inputs, x)
    return Chain(stack)


class Chain(tf_keras.Model):
    """A subclassed model without a config."""

    def __init__(self, stack: list[Any], **keywords: Any) -> None:
        super().__init__(**keywords)
        self.stack = stack

    def call(self, inputs: Any) -> Any:
        for layer in self.stack:
            inputs = layer(inputs)
        return inputs


# ------------------------------------------------------------- weights and losses


@case
def regularized(kind: str = "sequential", dataset: bool = False) -> Built:
    model = _of_kind(
        kind,
        [
            layers.Dense(2, "relu"),
            layers.Dense(4, "sigmoid", activity_regularizer="l2"),
        ],
        (3,),
    )
    model.activity_regularizer = tf_keras.regularizers.get("l2")
    model.compile("rmsprop", "mse")
    x, y = _batch(5, 3), _batch(5, 4, seed=1)
    model.add_loss(lambda: tf.reduce_sum(tf.square(model.weights[0])))
    if dataset:
        model.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(2), verbose=0)
    else:
        model.train_on_batch(x, y)
    return Built(model, x, (x, y))


@case
def extra_weights() -> Built:
    layer = layers.Dense(4, name="with_more")
    layer.build((None, 3))
    constant = tf_keras.initializers.Constant
    layer.add_weight("more", shape=[], initializer=constant(11.0), trainable=True)
    layer.add_weight("fixed", shape=[], initializer=constant(12.0), trainable=False)
    return Built(tf_keras.Sequential([tf_keras.Input((3,)), layer]), _batch(2, 3))


@case
def frozen_layer(kind: str = "sequential") -> Built:
    model = _of_kind(kind, [layers.Dense(3), layers.Dense(4)], (3,))
    model.layers[-1].trainable = False
    model.compile("sgd", "mse")
    x, y = _batch(5, 3), _batch(5, 4, seed=1)
    model.train_on_batch(x, y)
    return Built(model, x, (x, y))


@case
def frozen_subclass() -> Built:
    model = Chain([layers.Dense(3), layers.Dense(4)], trainable=False)
    model(_batch(2, 3))
    return Built(model, _batch(2, 3))


class TrainingSwitch(layers.Layer):
    """Zeros in training, its inputs otherwise."""

    def call(self, inputs: Any, training: Any = None) -> Any:
        if training is None:
            training = tf_keras.backend.learning_phase()
        return inputs * (1.0 - tf.cast(training, tf.float32))


@case
def learning_phase() -> Built:
    inputs = tf_keras.Input((3,))
    return Built(
        tf_keras.Model(inputs, TrainingSwitch(name="switch")(inputs)), _batch(2, 3)
    )


class NestedSpec(layers.Layer):
    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.input_spec = {
            "a": layers.InputSpec(max_ndim=3, axes={-1: 2}),
            "b": layers.InputSpec(shape=(None, 2, 3), dtype="int32"),
        }

    def call(self, inputs: Any) -> Any:
        return inputs["a"] + 1.0


@case
def nested_input_spec() -> Built:
    model = Chain([NestedSpec(name="nested")])
    inputs = {"a": np.float32([[2, 4]]), "b": np.ones((1, 2, 3), "int32")}
    return Built(model, inputs)


class FromConfigOnly(layers.Layer):
    _must_restore_from_config = True

    def call(self, inputs: Any) -> Any:
        return inputs * 2.0


@case
def from_config_only() -> Built:
    inputs = tf_keras.Input((3,))
    return Built(tf_keras.Model(inputs, FromConfigOnly()(inputs)), _batch(2, 3))


@case
def identity_of_two() -> Built:
    first, second = tf_keras.Input((3,)), tf_keras.Input((5,))
    model = tf_keras.Model([first, second], [first, second])
    return Built(model, [_batch(2, 3), _batch(2, 5)])


@case
def two_regularized() -> Built:
    model = tf_keras.Sequential(
        [
            layers.Dense(5, input_shape=(3,), kernel_regularizer="l2"),
            layers.Dense(2, kernel_regularizer="l2"),
        ]
    )
    return Built(model, _batch(2, 3))


@case
def batch_normalization(trainable: bool = True) -> Built:
    model = tf_keras.Sequential([layers.BatchNormalization(input_shape=(1,))])
    model.trainable = trainable
    return Built(model, _batch(2, 1))


# ------------------------------------------------------------------- arguments


class TrainingByDefault(layers.Layer):
    def call(self, inputs: Any, training: bool = True) -> Any:
        return inputs * (1.0 - tf.cast(training, tf.float32))


class TrainingRequired(layers.Layer):
    def call(self, inputs: Any, training: Any) -> Any:
        return inputs * (1.0 - tf.cast(training, tf.float32))


class TrainingDefaults(tf_keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.unsaid = TrainingSwitch()
        self.always = TrainingByDefault()
        self.required = TrainingRequired()

    def call(self, inputs: Any) -> Any:
        x = self.unsaid(inputs) + self.always(inputs)
        return x + self.required(inputs, False)


@case
def training_defaults() -> Built:
    model = TrainingDefaults()
    model.predict(_batch(2, 3), verbose=0)
    return Built(model, _batch(2, 3), call={})


class WithKeyword(tf_keras.Model):
    def call(self, inputs: Any, keyword: Any = None) -> Any:
        return inputs * 3.0


@case
def extra_keyword() -> Built:
    model = WithKeyword()
    model.predict(_batch(2, 3), verbose=0)
    return Built(model, _batch(2, 3), call={})


class TimesTensor(layers.Layer):
    def call(self, inputs: Any, tensor: Any = None) -> Any:
        return inputs if tensor is None else inputs * tf.cast(tensor, tf.float32)


@case
def constant_keyword() -> Built:
    inputs = tf_keras.Input((3,))
    outputs = TimesTensor()(inputs, tensor=np.array([True, False, True]))
    return Built(tf_keras.Model(inputs, outputs), _batch(2, 3))


class FunctionCall(tf_keras.Model):
    @tf.function
    def call(self, inputs: Any, training: bool = False) -> Any:
        return inputs * tf.cast(training, tf.float32)


@case
def function_call() -> Built:
    model = FunctionCall()
    model.predict(_batch(1, 2), verbose=0)
    return Built(model, _batch(1, 2))


class ScaledAdd(layers.Add):
    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight("scale", shape=[], initializer="ones")
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        return super().call(inputs) * self.scale


@case
def shared_dense() -> Built:
    first = tf_keras.Input((None, 3), name="first")
    second = tf_keras.Input((None, 3), name="second")
    dense = layers.Dense(4, name="called_twice")
    outputs = ScaledAdd(name="custom")([dense(first), dense(second)])
    model = tf_keras.Model([first, second], outputs, name="named_model")
    return Built(model, [_batch(2, 4, 3), _batch(2, 4, 3, seed=1)])


class Counting(layers.Layer):
    def build(self, input_shape: Any) -> None:
        self.steps = self.add_weight(
            "steps", shape=[], initializer="zeros", trainable=False
        )

    def call(self, inputs: Any, training: bool = True) -> Any:
        if training:
            self.add_update(self.steps.assign_add(1.0))
        return inputs * 2.0


@case
def counting(kind: str = "sequential", mirrored: bool = False) -> Built:
    scope = (
        tf.distribute.MirroredStrategy(["cpu:0"]).scope()
        if mirrored
        else contextlib.nullcontext()
    )
    with scope:
        model = _of_kind(kind, [Counting(name="counting")], (3,))
        model.predict(np.ones((10, 3), "float32"), verbose=0)
    return Built(model, np.ones((10, 3), "float32"))


class SwitchWrapper(tf_keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.switch = TrainingSwitch()

    def call(self, inputs: Any) -> Any:
        return self.switch(inputs)


@case
def wrapped_switch() -> Built:
    return Built(SwitchWrapper(), _batch(2, 3), call={})


class Summed(layers.Layer):
    def call(self, *given: Any) -> Any:
        self.add_loss(tf.reduce_sum(given[-2]) * 2.0)
        return sum(given[:-1])


class Several(tf_keras.Model):
    def build(self, input_shape: Any) -> None:
        self.layer = Summed()

    def call(self, *inputs: Any) -> Any:
        return self.layer(*inputs, object())


@case
def several_inputs() -> Built:
    inputs = tuple(np.full((1, 1), i, "float32") for i in range(1, 5))
    return Built(Several(), inputs, call={})


class TrainingInTheMiddle(tf_keras.Model):
    def call(self, first: Any, training: Any, second: Any) -> Any:
        return first if training else second


@case
def training_in_the_middle() -> Built:
    model = TrainingInTheMiddle()
    first, second = np.float32([1.0]), np.float32([2.0])
    model(first, True, second)
    model(first, False, second)
    return Built(model, (first, True, second), call={})


class Plain(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return inputs


class PlainModel(tf_keras.Model):
    def call(self, inputs: Any) -> Any:
        return inputs


@case
def autocast(flag: bool = True) -> Built:
    inputs = tf_keras.Input((1,))
    x = Plain(autocast=flag, name="layer")(inputs)
    x = PlainModel(autocast=flag, name="model")(x)
    return Built(tf_keras.Model(inputs, x), np.float32([[3.0]]))


class Outer(tf_keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Plain()

    def call(self, inputs: Any) -> Any:
        return self.inner(inputs)


@case
def outer_known() -> Built:
    return Built(Outer(), np.float32([[1.0]]))


class Untraceable(layers.Layer):
    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.built = True

    def call(self, inputs: Any) -> Any:
        raise ValueError("not to be traced")

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}


@case
def attached_untraceable() -> Built:
    model = tf_keras.Sequential([tf_keras.Input((3,)), layers.Dense(2)])
    model.attached = Untraceable(name="attached")
    return Built(model, _batch(2, 3))


class OwnDropout(layers.Layer):
    def __init__(self, rng_type: str | None, **keywords: Any) -> None:
        super().__init__(**keywords)
        kind = {} if rng_type is None else {"rng_type": rng_type}
        self.dropout = layers.Dropout(0.5, **kind)

    def call(self, inputs: Any, training: Any = None) -> Any:
        return self.dropout(inputs, training=training) if training else inputs


@case
def own_dropout(rng_type: str | None = None) -> Built:
    model = tf_keras.Sequential([tf_keras.Input((3,)), OwnDropout(rng_type)])
    return Built(model, _batch(2, 3))


# ------------------------------------------------------------------- recurrent


@case
def stateful_cells(unroll: bool = False) -> Built:
    cells = [layers.LSTMCell(3), layers.LSTMCell(4)]
    inputs = tf_keras.Input(batch_shape=(2, 5 if unroll else None, 3))
    outputs = layers.RNN(cells, stateful=True, unroll=unroll, name="rnn")(inputs)
    model = tf_keras.Model(inputs, outputs)
    model.compile("rmsprop", "mse")
    model.train_on_batch(_batch(2, 5, 3), _batch(2, 4))
    # The call that is compared would move the states on.
    return Built(model, _batch(2, 5, 3, seed=3), compare=False)


def states_and_next(path: str, inputs: Any) -> tuple[list[Any], Any]:
    """States that tf_keras finds in a file, and the outputs that it then gives."""
    model = tf_keras.models.load_model(path)
    layer = model.get_layer("rnn")
    states = [value.numpy() for value in tf.nest.flatten(layer.states)]
    return states, model(inputs).numpy()


@case
def bidirectional_unrolled() -> Built:
    inputs = tf_keras.Input(batch_shape=(1, 5, 4))
    lstm = layers.LSTM(3, dropout=0.2, trainable=False, unroll=True)
    model = tf_keras.Model(inputs, layers.Bidirectional(lstm)(inputs))
    return Built(model, _batch(1, 5, 4))


@case
def conv_lstm(stateful: bool = False, data_format: str = "channels_last") -> Built:
    inputs = tf_keras.Input(batch_shape=(2, 3, 4, 4, 4))
    layer = layers.ConvLSTM2D(
        2, 1, data_format=data_format, stateful=stateful, name="rnn"
    )
    model = tf_keras.Model(inputs, layer(inputs))
    built = Built(model, _batch(2, 3, 4, 4, 4))
    return built


@case
def time_distributed() -> Built:
    dense = layers.Dense(1, kernel_regularizer="l2")
    model = tf_keras.Sequential(
        [tf_keras.Input((None, 2)), layers.TimeDistributed(dense)]
    )
    return Built(model, _batch(3, 4, 2))


# --------------------------------------------------------------------- metrics


def _metric(kind: str) -> tuple[Any, int, tuple[int, ...]]:
    metrics = tf_keras.metrics
    return {
        "mean": (metrics.Mean("average"), 1, (5,)),
        "false_positives": (metrics.FalsePositives(), 2, (1, 5)),
        "precision": (metrics.Precision(top_k=2, class_id=1), 2, (2, 3, 4)),
        "precision_at_recall": (metrics.PrecisionAtRecall(0.8), 2, (1, 5)),
        "auc": (metrics.AUC(multi_label=True), 2, (1, 5)),
        "cosine_similarity": (metrics.CosineSimilarity(), 2, (4, 3)),
        "mean_tensor": (metrics.MeanTensor(), 1, (4, 3)),
    }[kind]


def save_metric(kind: str, path: str) -> dict[str, Any]:
    """Saves a model with a metric as an attribute, and goes on with the metric."""
    tf_keras.backend.clear_session()
    metric, count, shape = _metric(kind)
    rng = np.random.default_rng(5)

    def arguments() -> list[np.ndarray]:
        return [rng.uniform(0, 1, shape).astype("float32") for _ in range(count)]

    model = tf_keras.Sequential([tf_keras.Input((3,)), layers.Dense(2)])
    model.saved_metric = metric
    first = arguments()
    metric.update_state(*first)
    model.save(path)
    found = {
        "name": metric.name,
        "dtype": metric.dtype,
        "class": type(metric).__name__,
        "saved": [v.numpy() for v in metric.variables],
        "steps": [],
    }
    weights = np.linspace(0.5, 1, shape[0]).astype("float32")
    weights = weights.reshape((-1, *[1] * (len(shape) - 1)))
    weights = weights if kind == "precision" else weights.ravel()
    for weight in (None, weights):
        given = arguments()
        metric.update_state(*given, sample_weight=weight)
        found["steps"].append((given, weight, np.asarray(metric.result())))
    found["variables"] = [v.numpy() for v in metric.variables]
    return found
