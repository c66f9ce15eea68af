"""Layers whose code alone knows what they do: masks, metrics, shared parts, lists."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

from peer.functions import promises
from peer.functions.promises import Built, _batch, case

save = promises.save


def _built(model: Any, given: Any, *target: int) -> Built:
    model.compile(tf_keras.optimizers.Adam(0.1), "mse")
    batch = given, _batch(*target, seed=1)
    model.train_on_batch(*batch)
    return Built(model, given, batch)


class Weighted(layers.Layer):
    """Collects the steps of a sequence in an array that grows."""

    def __init__(self, size: int, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.size = size

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight("scale", shape=(shape[-1],))

    def call(self, inputs: Any) -> Any:
        found = tf.TensorArray(tf.float32, size=self.size, dynamic_size=True)

        def step(place: Any, found: Any) -> Any:
            value = inputs[:, place] * self.scale * tf.cast(place, tf.float32)
            return place + 1, found.write(place, value)

        _, found = tf.while_loop(
            lambda place, _: place < tf.shape(inputs)[1], step, (0, found)
        )
        return tf.transpose(found.stack(), (1, 0, 2))


@case
def array_that_grows(size: int = 0) -> Built:
    inputs = tf_keras.Input((4, 3))
    outputs = layers.Dense(2)(Weighted(size)(inputs))
    return _built(tf_keras.Model(inputs, outputs), _batch(5, 4, 3), 5, 4, 2)


class Pushing(layers.Layer):
    """Pushes each step to a list and takes the last two off again."""

    def call(self, inputs: Any) -> Any:
        found = tf.raw_ops.EmptyTensorList(
            element_shape=tf.constant([-1, 3]),
            max_num_elements=-1,
            element_dtype=tf.float32,
        )

        def step(place: Any, found: Any) -> Any:
            item = inputs[:, place] * 2.0
            pushed = tf.raw_ops.TensorListPushBack(input_handle=found, tensor=item)
            return place + 1, pushed

        _, found = tf.while_loop(lambda place, _: place < 3, step, (0, found))
        total = 0.0
        for _ in range(2):
            found, item = tf.raw_ops.TensorListPopBack(
                input_handle=found,
                element_shape=tf.constant([-1, 3]),
                element_dtype=tf.float32,
            )
            total += item
        return total


@case
def list_that_is_pushed_to() -> Built:
    inputs = tf_keras.Input((4, 3))
    outputs = layers.Dense(2)(Pushing()(inputs))
    return _built(tf_keras.Model(inputs, outputs), _batch(5, 4, 3), 5, 2)


class HoldsMetric(layers.Layer):
    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.seen = tf_keras.metrics.Mean(name="seen")
        self.inner = layers.Dense(4)

    def call(self, inputs: Any) -> Any:
        outputs = self.inner(inputs)
        self.seen.update_state(tf.reduce_sum(outputs))
        return outputs


class AddsMetric(layers.Layer):
    def call(self, inputs: Any) -> Any:
        self.add_metric(tf.reduce_mean(inputs), name="seen", aggregation="mean")
        return inputs * 2.0


@case
def metric_of_a_layer(added: bool) -> Built:
    inputs = tf_keras.Input((3,))
    outputs = layers.Dense(2)((AddsMetric() if added else HoldsMetric())(inputs))
    return _built(tf_keras.Model(inputs, outputs), _batch(5, 3), 5, 2)


class MakesMask(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return inputs * 1.5

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return tf.reduce_any(inputs > 0.5, axis=-1)


@case
def mask_for_a_recurrent_layer() -> Built:
    inputs = tf_keras.Input((5, 3))
    outputs = layers.LSTM(4, name="last")(MakesMask()(inputs))
    return _built(tf_keras.Model(inputs, outputs), _batch(6, 5, 3), 6, 4)


class PassesMask(layers.Layer):
    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        return tf.nn.relu(inputs)


@case
def mask_that_is_passed_on() -> Built:
    inputs = tf_keras.Input((5,), dtype="int32")
    table = layers.Embedding(1000, 4, mask_zero=True)
    outputs = layers.GRU(4, name="last")(PassesMask()(table(inputs)))
    tokens = np.random.default_rng(0).integers(1, 1000, (6, 5)).astype("int32")
    tokens[::2, 3:] = 0
    return _built(tf_keras.Model(inputs, outputs), tokens, 6, 4)


class UsesMask(layers.Layer):
    def call(self, inputs: Any, mask: Any = None) -> Any:
        kept = tf.cast(mask, inputs.dtype)[..., tf.newaxis]
        return tf.reduce_sum(inputs * kept, axis=1)


@case
def mask_that_a_layer_uses() -> Built:
    inputs = tf_keras.Input((5,), dtype="int32")
    table = layers.Embedding(10, 4, mask_zero=True)
    outputs = layers.Dense(2)(UsesMask(name="user")(table(inputs)))
    tokens = np.random.default_rng(0).integers(0, 10, (6, 5)).astype("int32")
    return _built(tf_keras.Model(inputs, outputs), tokens, 6, 2)


class Sampling(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return inputs + tf.random.normal(tf.shape(inputs), stddev=0.01)


@case
def random_numbers_in_inference() -> Built:
    inputs = tf_keras.Input((3,))
    model = tf_keras.Model(inputs, layers.Dense(2)(Sampling()(inputs)))
    model.compile(tf_keras.optimizers.SGD(0.1), "mse")
    return Built(model, _batch(5, 3), (_batch(5, 3), _batch(5, 2, seed=1)))


class Following(layers.Layer):
    """Goes through sequences, and rows, of lengths that nobody knows."""

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight("scale", shape=(3,))
        self.calls = self.add_weight(
            "calls", shape=(), initializer="zeros", trainable=False
        )

    def call(self, inputs: Any, training: Any = None) -> Any:
        if training:
            self.calls.assign_add(1.0)
        _, state = tf.while_loop(
            lambda place, _: place < tf.shape(inputs)[1],
            lambda place, state: (
                place + 1,
                tf.tanh(state * self.scale + inputs[:, place]),
            ),
            (0, tf.zeros_like(inputs[:, 0])),
        )
        self.add_loss(0.1 * tf.reduce_mean(state**2))
        return tf.map_fn(lambda row: row - tf.reduce_max(row), state)


@case
def loop_over_any_length() -> Built:
    inputs = tf_keras.Input((None, 3))
    outputs = layers.Dense(2)(Following(name="following")(inputs))
    return _built(tf_keras.Model(inputs, outputs), _batch(5, 4, 3), 5, 2)


class Kept(layers.Layer):
    """Sums what is positive, found by place."""

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight("scale", shape=(shape[-1],))

    def call(self, inputs: Any) -> Any:
        places = tf.where(inputs > 0)
        found = tf.gather_nd(inputs * self.scale, places)
        rows = tf.cast(places[:, 0], tf.int32)
        return tf.math.unsorted_segment_sum(found, rows, tf.shape(inputs)[0])[:, None]


@case
def places_that_values_choose() -> Built:
    inputs = tf_keras.Input((3,))
    model = tf_keras.Model(inputs, layers.Dense(2)(Kept()(inputs)))
    return _built(model, _batch(5, 3), 5, 2)


class Shifted(tf_keras.Sequential):
    """A Sequential that does more than its layers."""

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        return super().call(inputs, training=training) + 1.0


@case
def network_with_a_call_of_its_own() -> Built:
    model = Shifted([layers.Dense(4), layers.Dense(2, name="last")])
    model(_batch(5, 3))
    return _built(model, _batch(5, 3), 5, 2)


class Skipping(tf_keras.Sequential):
    """A Sequential that has layers and uses none."""

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        self.add_loss(tf.reduce_sum(inputs))
        return inputs


@case
def network_that_skips_its_layers() -> Built:
    model = Skipping([layers.Dense(2)])
    model.compile("sgd")
    x = _batch(5, 2)
    model.fit(x, x, verbose=0)
    return Built(model, x)


def save_untrained(path: str, optimizer: str) -> None:
    """Saves a compiled model that never took a step."""
    model = tf_keras.Sequential([tf_keras.Input((3,)), layers.Dense(2)])
    model.compile(optimizer, "mse")
    model.save(path)


class UpdatesMeanTensor(tf_keras.Model):
    """Means the entries of a kernel."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.dense = layers.Dense(2, name="dense")
        self.seen = tf_keras.metrics.MeanTensor()

    def call(self, inputs: Any) -> Any:
        found = self.dense(inputs)
        self.seen(self.dense.kernel)
        return found


@case
def mean_of_tensors_in_a_model() -> Built:
    model = UpdatesMeanTensor()
    model(_batch(5, 3))
    return _built(model, _batch(5, 3), 5, 2)


class Tied(layers.Layer):
    """Uses the kernel of another layer."""

    def __init__(self, dense: Any, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.dense = dense

    def call(self, inputs: Any) -> Any:
        return tf.matmul(inputs, self.dense.kernel, transpose_b=True)


@case
def layer_inside_another() -> Built:
    inputs = tf_keras.Input((3,))
    dense = layers.Dense(2, name="shared")
    outputs = Tied(dense, name="tied")(dense(inputs))
    return _built(tf_keras.Model(inputs, outputs), _batch(5, 3), 5, 3)


class Scaled(layers.Layer):
    """Is called by another layer of its kind alone."""

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight("scale", shape=shape[-1:], initializer="ones")

    def call(self, inputs: Any, training: Any = None) -> Any:
        return inputs * self.scale * (1.5 if training else 1.0)


class Block(layers.Layer):
    """Holds a chain with such a layer."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.chain = tf_keras.Sequential([layers.Dense(3), Scaled(), layers.ReLU()])

    def call(self, inputs: Any) -> Any:
        return inputs + self.chain(inputs)


@case
def chain_inside_a_layer() -> Built:
    inputs = tf_keras.Input((3,))
    outputs = layers.Dense(2)(Block(name="block")(inputs))
    return _built(tf_keras.Model(inputs, outputs), _batch(5, 3), 5, 2)


class Clipped(tf_keras.constraints.Constraint):
    def __call__(self, value: Any) -> Any:
        return tf.clip_by_value(value, -0.1, 0.1)

    def get_config(self) -> dict[str, Any]:
        return {}


class Constrained(layers.Layer):
    """Has a config that says its constraint."""

    def __init__(self, kernel_constraint: Any, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.kernel_constraint = tf_keras.constraints.get(kernel_constraint)

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(
            "kernel", shape=(shape[-1], 2), constraint=self.kernel_constraint
        )

    def call(self, inputs: Any) -> Any:
        return inputs @ self.kernel

    def get_config(self) -> dict[str, Any]:
        constraint = tf_keras.constraints.serialize(self.kernel_constraint)
        return {**super().get_config(), "kernel_constraint": constraint}


@case
def constraint_of_a_layer(known: bool) -> Built:
    inputs = tf_keras.Input((3,))
    constraint = tf_keras.constraints.MaxNorm(0.3) if known else Clipped()
    outputs = Constrained(constraint, name="own")(inputs)
    return _built(tf_keras.Model(inputs, outputs), _batch(5, 3), 5, 2)


class Sparse(layers.Layer):
    """Multiplies by a matrix where the inputs are not 0."""

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight("kernel", shape=(shape[-1], 3))

    def call(self, inputs: Any) -> Any:
        sparse = tf.sparse.from_dense(tf.nn.relu(inputs))
        return tf.sparse.sparse_dense_matmul(sparse, self.kernel)


class Masked(layers.Layer):
    """Takes the mean of what is large, and adds the number of different classes."""

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight("scale", shape=(shape[-1],), initializer="ones")

    def call(self, inputs: Any) -> Any:
        large = tf.boolean_mask(inputs, inputs[:, 0] > 0.2)
        classes, _ = tf.unique(tf.argmax(inputs, 1))
        count = tf.cast(tf.size(classes), tf.float32)
        return inputs * self.scale - tf.reduce_mean(large, 0) + count


class Ragged(layers.Layer):
    """Sums rows of unequal lengths."""

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight("scale", shape=(shape[-1],), initializer="ones")

    def call(self, inputs: Any) -> Any:
        lengths = tf.cast(tf.reduce_sum(tf.nn.relu(inputs), 1), tf.int32)
        rows = tf.RaggedTensor.from_tensor(
            inputs * self.scale, tf.minimum(lengths + 1, tf.shape(inputs)[1])
        )
        sums = tf.reduce_sum(rows * 2.0, 1)[:, None]
        return tf.concat([rows.to_tensor(shape=(None, 4)), sums], 1)


@case
def shapes_of_values(kind: str, subclassed: bool) -> Built:
    own = {"sparse": Sparse, "masked": Masked, "ragged": Ragged}[kind]
    parts = [layers.Dense(4), own(name="own"), layers.Dense(2)]
    if subclassed:

        class Chain(tf_keras.Model):
            def __init__(self) -> None:
                super().__init__()
                self.parts = parts

            def call(self, inputs: Any) -> Any:
                for part in self.parts:
                    inputs = part(inputs)
                return inputs

        return _built(Chain(), _batch(5, 3), 5, 2)
    model = tf_keras.Sequential([tf_keras.Input((3,)), *parts])
    return _built(model, _batch(5, 3), 5, 2)


def _attention() -> Any:
    class Attention(layers.Layer):
        """Weighs the steps of one sequence, which Keras' class doesn't take."""

        def build(self, shape: Any) -> None:
            self.weight = self.add_weight("weight", shape=(shape[-1], 1))

        def call(self, inputs: Any) -> Any:
            scores = tf.nn.softmax(inputs @ self.weight, 1)
            return tf.reduce_sum(inputs * scores, 1, keepdims=True) + inputs

    return Attention()


def _softmax() -> Any:
    class Softmax(layers.Layer):
        """Has none of the words of Keras' config."""

        def call(self, inputs: Any) -> Any:
            return tf.nn.softmax(3.0 * inputs)

    return Softmax()


def _prelu() -> Any:
    class PReLU(layers.Layer):
        """Has the words of Keras' config, and a variable of another shape."""

        def __init__(self, alpha_initializer: Any = None, **keywords: Any) -> None:
            super().__init__(**keywords)

        def build(self, shape: Any) -> None:
            self.alpha = self.add_weight("alpha", shape=(shape[-1],))

        def call(self, inputs: Any) -> Any:
            return tf.maximum(inputs, 0.0) + self.alpha * tf.minimum(inputs, 0.0)

        def get_config(self) -> Any:
            return {**super().get_config(), "alpha_initializer": "zeros"}

    return PReLU()


def _normalization() -> Any:
    class LayerNormalization(layers.Layer):
        """Has a word that no Keras has."""

        def __init__(self, eps: float = 0.1, **keywords: Any) -> None:
            super().__init__(**keywords)
            self.eps = eps

        def build(self, shape: Any) -> None:
            self.gamma = self.add_weight("gamma", shape=(shape[-1],))

        def call(self, inputs: Any) -> Any:
            return (
                self.gamma * inputs / (self.eps + tf.norm(inputs, axis=-1)[..., None])
            )

        def get_config(self) -> Any:
            return {**super().get_config(), "eps": self.eps}

    return LayerNormalization()


def _packaged() -> Any:
    class Identity(layers.Layer):
        """Is told from Keras' by its package alone."""

        def call(self, inputs: Any) -> Any:
            return inputs * 1.5

    return tf_keras.utils.register_keras_serializable("Mine")(Identity)()


def _bare(name: str, **words: Any) -> Any:
    """A class that multiplies by 1.5 whose config says no more than `words`."""

    def call(self: Any, inputs: Any) -> Any:
        return inputs * 1.5

    def get_config(self: Any) -> Any:
        return {**layers.Layer.get_config(self), **words}

    members = {"call": call, "get_config": get_config}
    return type(name, (layers.Layer,), members)()


_BARE: dict[str, dict[str, Any]] = {
    # What Keras' class asks for is not there.
    "Reshape": {},
    "Lambda": {},
    "Discretization": {},
    # Some of the words that Keras writes are.
    "Flatten": {},
    "Dropout": {"rate": 0.5},
    # All of them are.
    "Identity": {},
    "Layer": {},
    "Softmax": {"axis": -1},
    "Rescaling": {"scale": 2.0, "offset": 0.0},
    "UnitNormalization": {"axis": -1},
}
_NAMESAKES = {
    **{name: partial(_bare, name, **words) for name, words in _BARE.items()},
    "Attention": _attention,
    "SayingNothing": _softmax,
    "PReLU": _prelu,
    "LayerNormalization": _normalization,
    "Mine>Identity": _packaged,
}


@case
def namesake(kind: str, functional: bool) -> Built:
    parts = [layers.Dense(4), _NAMESAKES[kind](), layers.Flatten(), layers.Dense(2)]
    if functional:
        inputs = outputs = tf_keras.Input((3, 4))
        for part in parts:
            outputs = part(outputs)
        model = tf_keras.Model(inputs, outputs)
    else:
        model = tf_keras.Sequential([tf_keras.Input((3, 4)), *parts])
    return _built(model, _batch(5, 3, 4), 5, 2)


@case
def classes_that_say_little() -> Built:
    parts = [layers.Rescaling(0.5, 0.1), layers.Layer(), layers.Identity()]
    parts += [layers.UnitNormalization(), layers.Dense(2), layers.Softmax()]
    model = tf_keras.Sequential([tf_keras.Input((3,)), *parts])
    return _built(model, _batch(5, 3), 5, 2)


class Pruned(layers.Wrapper):
    """Lists weights of the layer inside it beside that layer."""

    def build(self, shape: Any) -> None:
        super().build(shape)
        kernel = self.layer.kernel
        self.gate = self.add_weight(
            "gate", shape=kernel.shape, initializer="ones", trainable=False
        )
        self.a_gated = [(kernel, self.gate)]

    def call(self, inputs: Any) -> Any:
        ((kernel, gate),) = self.a_gated
        return inputs @ (kernel * gate * 0.5) + self.layer.bias


@case
def weights_listed_beside_their_layer() -> Built:
    parts = [Pruned(layers.Dense(4)), Pruned(layers.Dense(2))]
    model = tf_keras.Sequential([tf_keras.Input((3,)), *parts])
    return _built(model, _batch(5, 3), 5, 2)


def config_words(needs: dict[str, dict[str, str]]) -> dict[str, list[str]]:
    """The keys of the config of each of tf_keras' classes, made with what it needs."""
    names = {"L": layers, "keras": tf_keras}
    return {
        name: sorted(
            getattr(layers, name)(
                **{key: eval(text, dict(names)) for key, text in arguments.items()}
            ).get_config()
        )
        for name, arguments in needs.items()
        if hasattr(layers, name)
    }


class Factors(tf.Module):
    """Holds weights, and is no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.factors = tf.Variable([1.0, 2.0, 3.0])


class OfModule(layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.module = Factors()
        self.scale = self.add_weight("scale", (3,), initializer="ones")

    def call(self, inputs: Any) -> Any:
        return inputs * self.module.factors * self.scale


@case
def weights_of_a_module() -> Built:
    stack = [layers.Dense(3), OfModule(), layers.Dense(2)]
    return _built(
        tf_keras.Sequential([tf_keras.Input((3,)), *stack]), _batch(5, 3), 5, 2
    )


class Downhill(layers.Layer):
    """Takes a step along a gradient, which nobody can say of what is not there yet."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = layers.Dense(4, "tanh")

    def call(self, inputs: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            height = tf.reduce_sum(self.inner(inputs) ** 2)
        return inputs - 0.1 * tape.gradient(height, inputs)


@case
def chain_without_a_graph() -> Built:
    model = tf_keras.Sequential([layers.Dense(3), Downhill(), layers.Dense(2)])
    given = _batch(5, 3)
    model(given)
    return _built(model, given, 5, 2)


class Sharing(layers.Layer):
    """Scales by what it was given: it, or who gave it, may be frozen."""

    def __init__(self, dense: Any, scale: Any, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.dense = dense
        self.scale = scale

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs) * self.scale


class Twice(layers.Layer):
    """Two layers with a variable in common, one of which is frozen."""

    def __init__(self) -> None:
        super().__init__()
        scale = tf.Variable([0.5, -1.0, 2.0], name="scale")
        self.frozen = Sharing(layers.Dense(3), scale, trainable=False)
        self.other = Sharing(layers.Dense(3), scale)

    def call(self, inputs: Any) -> Any:
        return self.other(self.frozen(inputs))


@case
def frozen_layer_that_shares_a_variable() -> Built:
    stack = [layers.Dense(3), Twice(), layers.Dense(2)]
    return _built(
        tf_keras.Sequential([tf_keras.Input((3,)), *stack]), _batch(5, 3), 5, 2
    )


class Diary(layers.Layer):
    """Writes down each step of training."""

    def __init__(self) -> None:
        super().__init__()
        self.text = tf.Variable("", trainable=False)
        self.scale = self.add_weight("scale", (3,), initializer="ones")

    def call(self, inputs: Any, training: bool = False) -> Any:
        if training:
            self.text.assign(tf.strings.join([self.text, "d"]))
        days = tf.cast(tf.strings.length(self.text), tf.float32)
        return inputs * self.scale + days


@case
def text_that_training_writes() -> Built:
    stack = [layers.Dense(3), Diary(), layers.Dense(2)]
    return _built(
        tf_keras.Sequential([tf_keras.Input((3,)), *stack]), _batch(5, 3), 5, 2
    )


def squares(x: Any) -> Any:
    """A regularizer and an activation."""
    return tf.square(x)


def summed_squares(x: Any) -> Any:
    """A regularizer."""
    return 0.1 * tf.reduce_sum(tf.square(x))


@case
def stock_layer_of_own_functions(key: str, summed: bool) -> Built:
    """A layer of Keras' whose config names a function that it hasn't."""
    function = summed_squares if summed else squares
    given = tf_keras.Input((3,))
    found = layers.Dense(2, name="dense", **{key: function})(given)
    return _built(
        tf_keras.Model(given, layers.LeakyReLU(0.1)(found)), _batch(4, 3), 4, 2
    )


def evaluate_with_functions(path: str, batch: Any) -> float:
    """The loss of a file of such a layer, whose functions are given."""
    given = {"squares": squares, "summed_squares": summed_squares}
    model = tf_keras.models.load_model(path, custom_objects=given)
    return float(model.evaluate(*batch, verbose=0))


class Scored(layers.Layer):
    """Keeps metrics, of which three make their variables of the first values."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.dense = layers.Dense(3, activation="sigmoid")
        self.level = tf_keras.metrics.Mean(name="level")
        self.means = [tf_keras.metrics.Mean(name="first"), self.level]
        self.others = {"b": [tf_keras.metrics.Sum(name="sum")]}
        self.f1 = tf_keras.metrics.F1Score(threshold=0.5, name="f1")
        self.r2 = tf_keras.metrics.R2Score(name="r2")
        self.area = tf_keras.metrics.AUC(5, multi_label=True, name="area")
        for metric in (self.f1, self.r2, self.area):
            metric.update_state(tf.eye(3), tf.eye(3))

    def call(self, inputs: Any) -> Any:
        found = self.dense(inputs)
        for metric in (*self.means, *self.others["b"]):
            metric.update_state(found)
        for metric in (self.f1, self.r2, self.area):
            metric.update_state(tf.cast(found > 0.4, tf.float32), found)
        return found


def save_scored(paths: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Saves a model of such a layer between two batches; its metrics' variables."""
    inputs = tf_keras.Input((4,))
    model = tf_keras.Model(inputs, Scored(name="scored")(inputs))
    model.compile(tf_keras.optimizers.Adam(0.1), "mse")
    batch = _batch(8, 4), _batch(8, 3, seed=1)
    model.evaluate(*batch, verbose=0)
    for path, keywords in paths.items():
        model.save(path, **keywords)
    saved = _counted(model)
    logs = model.test_on_batch(*batch, return_dict=True)
    return {"batch": batch, "saved": saved, "logs": logs}


def counted_by_scored(path: str) -> dict[str, dict[str, np.ndarray]]:
    """The variables of the metrics of such a file."""
    return _counted(tf_keras.models.load_model(path, custom_objects={"Scored": Scored}))


def _counted(model: Any) -> dict[str, dict[str, np.ndarray]]:
    return {
        metric.name: {
            v.name.split("/")[-1].split(":")[0]: v.numpy() for v in metric.variables
        }
        for metric in _metrics_of(model.get_layer("scored"))
    }


def _metrics_of(layer: Scored) -> list[Any]:
    metrics = [layer.level, layer.f1, layer.r2, layer.area]
    return [*metrics, layer.means[0], *layer.others["b"]]


def save_metric_of_a_network(path: str) -> list[np.ndarray]:
    """A network that has a metric of `eye(3)`; its variables."""
    model = tf_keras.Sequential([tf_keras.Input((3,)), layers.Dense(3)])
    model.score = tf_keras.metrics.F1Score(average="micro")
    model.score.update_state(tf.eye(3), tf.eye(3)[::-1])
    model.save(path)
    return [variable.numpy() for variable in model.score.variables]
