"""Models whose layers are called in ways that configs and traces only just hold."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

from peer.functions import promises
from peer.functions.promises import Built, _batch, _compiled, case

save = promises.save


@case
def constant_among_inputs() -> Built:
    inputs = tf_keras.Input((3,))
    x = layers.Dense(3)(inputs)
    x = layers.Multiply()([np.array([[2.0, 0.0, -1.0]], "float32"), x])
    x = layers.Reshape((3,))(layers.Average()([tf.constant([[4.0]]), x]))
    outputs = layers.Add()([x, tf.constant([[1.0, -2.0, 3.0]])])
    batch = _batch(4, 3), _batch(4, 3, seed=1)
    return Built(_compiled(inputs, outputs), batch[0], batch)


@case
def ragged_constant() -> Built:
    inputs = tf_keras.Input(())
    outputs = layers.Add()([inputs, tf.ragged.constant([[1.0, 2.0], [3.0]])])
    return Built(tf_keras.Model(inputs, outputs), _batch(2), compare=False)


@case
def lookup_into_a_network() -> Built:
    """A network that is given numbers of a layer, and of a lookup."""
    number, index = tf_keras.Input((1,)), tf_keras.Input((1,), dtype="int64")
    x = layers.Flatten()(layers.Embedding(4, 2)(index))
    outputs = layers.Dense(2)(layers.Concatenate()([number, x]))
    inner = tf_keras.Model([number, index], outputs)
    number, index = tf_keras.Input((1,)), tf_keras.Input((1,), dtype="int64")
    found = layers.IntegerLookup(vocabulary=[3, 5, 7])(index)
    model = _compiled([number, index], inner([layers.Rescaling(0.5)(number), found]))
    given = [_batch(4, 1), np.array([[5], [2], [3], [7]])]
    return Built(model, (given,), (given, _batch(4, 2, seed=1)))


@case
def plain_wrapper() -> Built:
    inputs = tf_keras.Input((3,))
    x = layers.Dense(2)(inputs)
    outputs = layers.Wrapper(layers.Layer(name="inner"), name="outer")(x)
    batch = _batch(4, 3), _batch(4, 2, seed=1)
    return Built(_compiled(inputs, outputs), batch[0], batch)


@case
def moments_along_several_axes() -> Built:
    rows, images = tf_keras.Input((5, 4)), tf_keras.Input((4, 5, 3))
    x = layers.BatchNormalization(axis=[1, 2], momentum=0.8)(layers.Masking()(rows))
    x = layers.BatchNormalization(axis=[1, 2], scale=False)(layers.Dense(3)(x))
    y = layers.BatchNormalization(axis=[1, -1], center=False)(images)
    y = layers.BatchNormalization(axis=[1, 3], trainable=False)(y)
    x, y = layers.Flatten()(x), layers.Flatten()(y)
    outputs = layers.Dense(1)(layers.Concatenate()([x, y]))
    given = [_batch(6, 5, 4), _batch(6, 4, 5, 3, seed=1)]
    given[0][1, 2:] = 0.0
    batch = given, _batch(6, 1, seed=2)
    return Built(_compiled([rows, images], outputs), given, batch)


class FirstOf(layers.Layer):
    """Is called with a list, also of one."""

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight("scale", shape=(), initializer="ones")

    def call(self, inputs: Any) -> Any:
        return inputs[0] * self.scale


@case
def list_of_one() -> Built:
    inputs = tf_keras.Input((3,))
    outputs = layers.Dense(2)(FirstOf()([inputs]))
    batch = _batch(4, 3), _batch(4, 2, seed=1)
    return Built(_compiled(inputs, outputs), batch[0], batch)


class Shortened(layers.Layer):
    """Gives a ragged tensor."""

    def call(self, inputs: Any) -> Any:
        return tf.RaggedTensor.from_tensor(inputs, padding=0)


@case
def ragged_between_layers_of_a_chain() -> Built:
    chain = [Shortened(), layers.Embedding(10, 4), layers.LSTM(5), layers.Dense(2)]
    model = tf_keras.Sequential([tf_keras.Input((4,), dtype="int32"), *chain])
    model.compile(tf_keras.optimizers.SGD(0.1), "mse")
    given = np.array([[1, 2, 0, 0], [3, 4, 5, 6], [7, 0, 0, 0]], "int32")
    return Built(model, given, (given, _batch(3, 2)))


class CastTo(layers.Layer):
    """Takes a dtype as an argument."""

    def call(self, inputs: Any, dtype: Any = None) -> Any:
        return tf.cast(tf.cast(inputs, dtype), "float32")


@case
def dtype_as_argument() -> Built:
    inputs = tf_keras.Input((3,))
    outputs = CastTo()(layers.Dense(2)(inputs), dtype=tf.float16)
    batch = _batch(4, 3), _batch(4, 2, seed=1)
    return Built(_compiled(inputs, outputs), batch[0], batch)


class Blend(layers.Layer):
    """Takes numbers and tensors in one dict."""

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight("scale", shape=(), initializer="ones")

    def call(self, inputs: Any, parts: Any = None) -> Any:
        return inputs + self.scale * parts["other"] * parts["factor"]


@case
def numbers_beside_tensors() -> Built:
    one, other = tf_keras.Input((3,)), tf_keras.Input((3,))
    x = Blend()(layers.Dense(3)(one), parts={"other": other, "factor": 2.5})
    given = [_batch(4, 3), _batch(4, 3, seed=2)]
    batch = given, _batch(4, 3, seed=1)
    return Built(_compiled([one, other], x), given, batch)


class Tokens(layers.Layer):
    """Makes a mask by a rule of its own."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.table = layers.Embedding(10, 4)

    def call(self, inputs: Any) -> Any:
        return self.table(inputs)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return tf.not_equal(inputs, 3)


class Pool(layers.Layer):
    """Can't do without a mask."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        kept = tf.cast(mask, inputs.dtype)[:, :, tf.newaxis]
        return tf.reduce_sum(inputs * kept, axis=1)


class OwnSteps(tf_keras.Model):
    """Computes its loss in a step of its own, or adds one when it is called."""

    def __init__(self, adds: bool) -> None:
        super().__init__()
        self.adds = adds
        self.dense = layers.Dense(2)

    def call(self, inputs: Any) -> Any:
        found = self.dense(inputs)
        if self.adds:
            self.add_loss(tf.reduce_mean(found**2))
        return found

    def train_step(self, data: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(self(data, training=True) ** 2)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(
            zip(gradients, self.trainable_variables, strict=True)
        )
        return {"own_loss": loss}


@case
def steps_without_a_loss(adds: bool) -> Built:
    model = OwnSteps(adds)
    model.compile(tf_keras.optimizers.SGD(0.1))
    model.fit(_batch(4, 3), verbose=0)
    return Built(model, _batch(4, 3))


class Within(layers.Layer):
    """Hands on the mask of a table that it holds, or uses it up."""

    def __init__(self, pools: bool, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.pools = pools
        self.table = layers.Embedding(6, 3, mask_zero=True)

    def call(self, inputs: Any) -> Any:
        found = self.table(inputs)
        return tf.reduce_sum(found, 1) if self.pools else found

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return None if self.pools else self.table.compute_mask(inputs)


class Asks(layers.Layer):
    """Asks its input for a mask, so that no argument shows it."""

    def call(self, inputs: Any) -> Any:
        mask = getattr(inputs, "_keras_mask", None)
        if mask is None:
            return inputs
        return inputs * tf.cast(mask, inputs.dtype)[:, :, tf.newaxis]


@case
def mask_of_a_table_within(pools: bool) -> Built:
    inputs = tf_keras.Input((5,), dtype="int32")
    model = tf_keras.Model(inputs, Asks()(Within(pools, name="within")(inputs)))
    tokens = np.random.default_rng(0).integers(0, 6, (4, 5)).astype("int32")
    return Built(model, tokens)


@case
def mask_that_a_chain_needs() -> Built:
    """Of its own, in a chain whose next layer can't be called without."""
    stack = [tf_keras.Input((5,), dtype="int32"), Tokens(), Pool(), layers.Dense(2)]
    model = tf_keras.Sequential(stack)
    model.compile(tf_keras.optimizers.SGD(0.1), "mse")
    tokens = np.random.default_rng(0).integers(0, 6, (4, 5)).astype("int32")
    return Built(model, tokens, (tokens, _batch(4, 2, seed=1)))


@case
def mask_of_its_own(nested: bool = False) -> Built:
    inputs = tf_keras.Input((5,), dtype="int32")
    outputs = layers.Dense(2, name="last")(Pool()(Tokens()(inputs)))
    model = tf_keras.Model(inputs, outputs)
    if nested:
        outer = tf_keras.Input((5,), dtype="int32")
        model._name = "last"
        model = tf_keras.Model(outer, model(outer))
    model.compile(tf_keras.optimizers.SGD(0.1), {"last": "mse"})
    tokens = np.random.default_rng(0).integers(0, 6, (4, 5)).astype("int32")
    return Built(model, tokens, (tokens, _batch(4, 2, seed=1)))


def _positive_part(values: Any) -> Any:
    return 0.1 * tf.reduce_sum(tf.nn.relu(values))


@case
def activity_regularizer_of_its_own() -> Built:
    inputs = tf_keras.Input((3,))
    outputs = layers.Dense(2, activity_regularizer=_positive_part)(inputs)
    batch = _batch(4, 3), _batch(4, 2, seed=1)
    return Built(_compiled(inputs, outputs), batch[0], batch)


@case
def losses_of_layers_called_twice() -> Built:
    """A layer, and a model of one, that add to the loss at each call."""
    penalty = tf_keras.regularizers.L2(0.1)
    dense = layers.Dense(2, kernel_regularizer="l2", activity_regularizer=penalty)
    inner = tf_keras.Sequential([layers.Dense(2, activity_regularizer=penalty)])
    first, second = tf_keras.Input((3,)), tf_keras.Input((3,))
    x = layers.Add()([dense(first), dense(second)])
    outputs = layers.Add()([inner(x), inner(dense(first))])
    given = [_batch(4, 3), _batch(4, 3, seed=2)]
    target = _batch(4, 2, seed=1)
    return Built(_compiled([first, second], outputs), (given,), (given, target))


@case
def loss_per_example() -> Built:
    """`add_loss` of a crossentropy that is not reduced."""
    inputs, labels = tf_keras.Input((3,)), tf_keras.Input((2,))
    outputs = layers.Dense(2, activation="sigmoid")(inputs)
    model = tf_keras.Model([inputs, labels], outputs)
    model.add_loss(tf_keras.losses.binary_crossentropy(labels, outputs))
    model.compile(tf_keras.optimizers.SGD(0.1))
    target = (_batch(4, 2, seed=1) > 0).astype("float32")
    # Some are so far off that a clipped probability would have no gradient.
    given = [60.0 * _batch(4, 3), target]
    return Built(model, given, (given, target))


@case
def rows_that_a_config_leaves_open() -> Built:
    inputs = tf_keras.Input((4, 6))
    x = layers.EinsumDense("abc,cd->abd", output_shape=(None, 3))(inputs)
    model = _compiled(inputs, layers.Dense(2)(layers.Flatten()(x)))
    return Built(model, _batch(5, 4, 6), (_batch(5, 4, 6), _batch(5, 2, seed=1)))


@case
def layers_as_activations() -> Built:
    alpha = tf_keras.initializers.RandomUniform(0.1, 0.9, seed=1)

    def slope() -> Any:
        return layers.PReLU(alpha_initializer=alpha)

    inputs = tf_keras.Input((4, 3))
    x = layers.Conv1D(3, 2, activation=slope())(inputs)
    x = layers.TimeDistributed(layers.Dense(3, activation=slope()))(x)
    x = layers.LSTM(2, activation=slope(), recurrent_activation=slope())(x)
    model = _compiled(inputs, layers.Dense(2, activation=slope())(x))
    return Built(model, _batch(5, 4, 3), (_batch(5, 4, 3), _batch(5, 2, seed=1)))


@case
def identity_beside_its_initializer() -> Built:
    inputs = tf_keras.Input((3,))
    gain = tf_keras.initializers.Identity(2.0)
    x = layers.Identity()(layers.Dense(3, kernel_initializer=gain)(inputs))
    model = _compiled(inputs, x)
    return Built(model, _batch(5, 3), (_batch(5, 3), _batch(5, 3, seed=1)))


@case
def masks_of_softmaxes() -> Built:
    """One row of the masks has nothing that is kept."""
    inputs = tf_keras.Input((4,))
    masks = tf_keras.Input((4,), dtype="bool")
    parts = tf_keras.Input((4,))
    outputs = [
        layers.Softmax()(inputs, mask=masks),
        layers.Softmax()(inputs, mask=parts),
        layers.Softmax(robust_masking=True)(inputs, mask=parts),
        layers.Softmax(robust_masking=True)(inputs),
    ]
    x = layers.Concatenate()([layers.Reshape((4,))(output) for output in outputs])
    model = _compiled([inputs, masks, parts], x)
    kept = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1]])
    given = [_batch(3, 4), kept.astype(bool), (kept * _batch(3, 4)).astype("float32")]
    return Built(model, given, (given, _batch(3, 16, seed=1)))


@case
def indices_of_outputs_that_may_be_zero() -> Built:
    inputs = tf_keras.Input((3,))
    start = tf_keras.initializers.RandomNormal(seed=3)
    x = layers.Dense(4, "relu", kernel_initializer=start)(inputs)
    model = _compiled(inputs, x, "sparse_categorical_crossentropy")
    return Built(model, _batch(6, 3), (_batch(6, 3), np.arange(6) % 4))


@case
def base_that_stays_in_inference() -> Built:
    x = tf_keras.Input((4,))
    base = tf_keras.Model(x, layers.BatchNormalization()(layers.Dense(4)(x)))
    inputs = tf_keras.Input((4,))
    model = _compiled(inputs, layers.Dense(2)(base(inputs, training=False)))
    return Built(model, _batch(5, 4), (_batch(5, 4), _batch(5, 2, seed=1)))


@case
def rows_in_their_place_behind_a_mask() -> Built:
    inputs = tf_keras.Input((4, 3))
    x = layers.Permute((1, 2))(layers.Masking()(inputs))
    model = _compiled(inputs, layers.Dense(2)(layers.LSTM(3)(x)))
    given = _batch(5, 4, 3)
    given[:, 2:] = 0
    return Built(model, given, (given, _batch(5, 2, seed=1)))


@case
def resizing_as_only_tensorflow_does() -> Built:
    inputs = tf_keras.Input((6, 9, 2))
    found = [
        layers.Resizing(*size, interpolation=way, crop_to_aspect_ratio=crop)(inputs)
        for way in ("area", "bicubic", "gaussian", "mitchellcubic")
        for size, crop in (((4, 5), False), ((8, 12), False), ((3, 7), True))
    ]
    x = layers.Concatenate()([layers.Flatten()(each) for each in found])
    model = _compiled(inputs, layers.Dense(2)(x))
    return Built(model, _batch(5, 6, 9, 2), (_batch(5, 6, 9, 2), _batch(5, 2, seed=1)))


@case
def images_made_random_in_the_model() -> Built:
    """Images of one color, in which no flip or turn is seen."""
    inputs = tf_keras.Input((4, 4, 2))
    x = layers.RandomTranslation(0.3, 0.3)(layers.RandomFlip()(inputs))
    x = layers.RandomRotation(0.2)(layers.RandomZoom((-0.3, 0.0))(x))
    x = layers.BatchNormalization(momentum=0.5)(layers.RandomCrop(3, 3)(x))
    x = layers.Dropout(0.5)(layers.Flatten()(x))
    model = tf_keras.Model(inputs, layers.Dense(2)(x))
    given = np.ones((5, 4, 4, 2), "float32") * _batch(5, 1, 1, 2)
    return Built(model, given, call={})


@case
def layer_that_makes_two_outputs() -> Built:
    one, other = tf_keras.Input((3,)), tf_keras.Input((3,))
    head = layers.Dense(2, name="head")
    model = tf_keras.Model([one, other], [head(one), head(other)])
    losses = {"head_1": "mae", "head": "mse"}
    model.compile("sgd", losses, metrics={"head_1": "mse"}, loss_weights=[1.0, 0.5])
    x = [_batch(4, 3), _batch(4, 3, seed=1)]
    y = [_batch(4, 2, seed=2), _batch(4, 2, seed=3)]
    logs = model.test_on_batch(x, y, return_dict=True)
    return Built(model, (x,), (x, y), more={"logs": logs})


@case
def weights_for_some_outputs(named: bool = False) -> Built:
    inputs = tf_keras.Input((3,))
    outputs = [layers.Dense(2, name=name)(inputs) for name in ("one", "other")]
    if named:
        outputs = {"other": outputs[1], "one": outputs[0]}
    model = tf_keras.Model(inputs, outputs)
    model.compile("sgd", "mse", weighted_metrics=["mae"])
    x = _batch(4, 3)
    y = {"one": _batch(4, 2, seed=2), "other": _batch(4, 2, seed=3)}
    some = {"other": np.array([1.0, 0.5, 0.0, 2.0], "float32")}
    weights = [some, {**some, "one": some["other"][::-1].copy()}]
    logs = [model.test_on_batch(x, y, each, return_dict=True) for each in weights]
    return Built(model, x, more={"given": (x, y), "weighed": weights, "logs": logs})


@case
def chain_of_nothing() -> Built:
    return Built(tf_keras.Sequential([tf_keras.Input((3,))]), _batch(4, 3))


@case
def input_of_a_type_spec() -> Built:
    inputs = tf_keras.Input(type_spec=tf.TensorSpec((None, 5), tf.int32))
    x = layers.Flatten()(layers.Embedding(7, 3)(inputs))
    given = (10 * abs(_batch(4, 5)) % 7).astype("int32")
    model = _compiled(inputs, layers.Dense(2)(x))
    return Built(model, given, (given, _batch(4, 2, seed=1)))


@case
def statistics_over_replicas() -> Built:
    inputs = tf_keras.Input((4, 4, 3))
    x = layers.experimental.SyncBatchNormalization(momentum=0.5)(inputs)
    model = _compiled(inputs, layers.Dense(2)(layers.Flatten()(x)))
    return Built(model, _batch(5, 4, 4, 3), (_batch(5, 4, 4, 3), _batch(5, 2, seed=1)))


@case
def keys_that_are_no_names() -> Built:
    one = tf_keras.Input((3,), name="first_input")
    other = tf_keras.Input((2,), name="second_input")
    x = layers.Concatenate()([one, layers.Dense(3)(other)])
    given = {"a": _batch(4, 3), "b": _batch(4, 2, seed=2)}
    model = _compiled({"a": one, "b": other}, layers.Dense(2)(x))
    return Built(model, given, (given, _batch(4, 2, seed=1)))


class Penalized(layers.Layer):
    """Has a loss in training alone."""

    def call(self, inputs: Any, training: Any = None) -> Any:
        self.add_loss(0.1 * tf.reduce_sum(inputs) if training else 0.0)
        return inputs


@case
def loss_in_training() -> Built:
    inputs = tf_keras.Input((3,))
    outputs = Penalized()(layers.Dense(2)(inputs))
    batch = _batch(4, 3), _batch(4, 2, seed=1)
    return Built(_compiled(inputs, outputs), batch[0], batch)


@case
def slash_in_the_name_of_a_weight() -> Built:
    """As the weights of feature columns have it."""
    inputs = tf_keras.Input((3,))
    dense = layers.Dense(2)
    model = tf_keras.Model(inputs, dense(inputs))
    setattr(dense, "column/table", tf.Variable([1.0, 2.0]))
    return Built(model, _batch(4, 3))


class Counted(layers.Layer):
    """Counts in 64 bits."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.count = tf.Variable(3, dtype=tf.int64, trainable=False)

    def call(self, inputs: Any) -> Any:
        return inputs * tf.cast(self.count, inputs.dtype)


@case
def wide_counter() -> Built:
    inputs = tf_keras.Input((3,))
    return Built(tf_keras.Model(inputs, Counted()(inputs)), _batch(4, 3))


class Adding(layers.Layer):
    """A recurrent cell."""

    def __init__(self, units: int, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.units = self.state_size = units

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight("kernel", shape=(shape[-1], self.units))

    def call(self, inputs: Any, states: Any) -> Any:
        state = tf.tanh(inputs @ self.kernel) + 0.5 * states[0]
        return state, [state]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


@case
def cell_of_its_own(stacked: bool = False, both_ways: bool = False) -> Built:
    inputs = tf_keras.Input((5, 3))
    cell: Any = Adding(4)
    if stacked:
        cell = [layers.GRUCell(2), cell]
    rnn = layers.RNN(cell, name="rnn")
    outputs = layers.Dense(2)((layers.Bidirectional(rnn) if both_ways else rnn)(inputs))
    batch = _batch(4, 5, 3), _batch(4, 2, seed=1)
    return Built(_compiled(inputs, outputs), batch[0], batch)


@case
def mask_for_its_own_layer() -> Built:
    """The mask is Keras' own; the layer that takes it is not."""
    inputs = tf_keras.Input((5,), dtype="int32")
    x = layers.Embedding(10, 4, mask_zero=True)(inputs)
    outputs = layers.Dense(2)(Pool()(x))
    tokens = np.random.default_rng(0).integers(0, 3, (4, 5)).astype("int32")
    return Built(_compiled(inputs, outputs), tokens, (tokens, _batch(4, 2, seed=1)))


def _steps_of(inner: Any, *shape: int, mask_value: float | None = None) -> Built:
    """A layer for each of some steps."""
    inputs = tf_keras.Input(shape)
    x: Any = inputs
    if mask_value is not None:
        x = layers.Masking(mask_value)(x)
    model = _compiled(inputs, layers.TimeDistributed(inner)(x))
    given = _batch(4, *shape)
    if mask_value is not None:
        given[1, -1] = given[2, 1:] = mask_value
    target = _batch(*model.compute_output_shape((4, *shape)), seed=1)
    return Built(model, given, (given, target))


@case
def steps_of_regularized_outputs() -> Built:
    return _steps_of(
        layers.Dense(2, kernel_regularizer="l1", activity_regularizer="l2"), 3, 4
    )


@case
def steps_of_a_normalized_batch() -> Built:
    return _steps_of(layers.BatchNormalization(momentum=0.8), 3, 4)


@case
def steps_of_masked_sequences() -> Built:
    return _steps_of(layers.LSTM(3), 3, 4, 2, mask_value=0.5)


@case
def steps_of_tokens() -> Built:
    """The inner layer makes the mask, for another of its kind."""
    model = tf_keras.Sequential(
        [
            layers.TimeDistributed(
                layers.Embedding(10, 4, mask_zero=True), input_shape=(None, None)
            ),
            layers.TimeDistributed(layers.GRU(3, return_sequences=True)),
            layers.TimeDistributed(layers.GRU(2)),
            layers.SimpleRNN(2),
        ]
    )
    model.compile(tf_keras.optimizers.SGD(0.1), "mse")
    tokens = np.random.default_rng(0).integers(0, 3, (4, 3, 5)).astype("int32")
    return Built(model, tokens, (tokens, _batch(4, 2, seed=1)))


@case
def steps_of_several_inputs() -> Built:
    query, value = tf_keras.Input((3, 1, 4)), tf_keras.Input((3, 5, 4))
    x = layers.TimeDistributed(layers.Attention(use_scale=True))([query, value])
    given = [_batch(4, 3, 1, 4), _batch(4, 3, 5, 4, seed=2)]
    batch = given, _batch(4, 3, 1, 4, seed=1)
    return Built(_compiled([query, value], x), given, batch)


@case
def steps_that_go_on() -> Built:
    """The inner layer keeps its state from step to step."""
    inputs = tf_keras.Input((3, 4, 2), batch_size=4)
    inner = layers.LSTM(3, return_sequences=True, stateful=True)
    x = layers.TimeDistributed(inner)(layers.Masking(0.5)(inputs))
    given = _batch(4, 3, 4, 2)
    given[1, -1] = given[2, 1:] = 0.5
    model = tf_keras.Model(inputs, x)
    outputs = model(given).numpy()
    inner.reset_states()
    return Built(model, given, compare=False, more={"outputs": outputs})


@case
def model_made_not_to_be_trained() -> Built:
    """The model is frozen, its layers are not: moving averages go on."""
    inputs = tf_keras.Input((3,))
    x = layers.BatchNormalization()(layers.Dense(4)(inputs))
    model = tf_keras.Model(inputs, layers.Dense(2)(x), trainable=False)
    model.compile("rmsprop", "mse")
    batch = _batch(4, 3), _batch(4, 2, seed=1)
    return Built(model, batch[0], batch)


@case
def linear_model() -> Built:
    model = tf_keras.experimental.LinearModel(
        2, kernel_initializer="ones", kernel_regularizer="l2", activation="tanh"
    )
    model.compile(tf_keras.optimizers.SGD(0.1), "mse")
    given = {"b": _batch(4, 3), "a": _batch(4, 2, seed=2)}
    batch = given, _batch(4, 2, seed=1)
    model.fit(*batch, verbose=0)
    return Built(model, given, batch)


def _wide_and_deep() -> Any:
    deep = tf_keras.Sequential([layers.Dense(4, activation="relu"), layers.Dense(1)])
    linear = tf_keras.experimental.LinearModel(1)
    return tf_keras.experimental.WideDeepModel(linear, deep, activation="sigmoid")


@case
def wide_and_deep() -> Built:
    model = _wide_and_deep()
    model.compile(tf_keras.optimizers.Adam(0.1), "mse")
    given = [_batch(4, 3), _batch(4, 2, seed=2)]
    batch = given, _batch(4, 1, seed=1)
    model.fit(*batch, verbose=0)
    return Built(model, given, batch)


@case
def wide_and_deep_inside() -> Built:
    inputs = [tf_keras.Input((3,)), tf_keras.Input((2,))]
    given = [_batch(4, 3), _batch(4, 2, seed=2)]
    batch = given, _batch(4, 1, seed=1)
    return Built(_compiled(inputs, _wide_and_deep()(inputs)), given, batch)


class Lengths(layers.Layer):
    """Reads text."""

    def call(self, inputs: Any) -> Any:
        return tf.cast(tf.strings.length(inputs), "float32")


@case
def text_for_its_own_layer(sequential: bool = False) -> Built:
    words = np.array([["a"], ["few"], ["words"]], object)
    if sequential:
        model = tf_keras.Sequential(
            [tf_keras.Input((1,), dtype="string"), Lengths(), layers.Dense(2)]
        )
    else:
        inputs = tf_keras.Input((1,), dtype="string")
        number = tf_keras.Input((1,))
        x = layers.Concatenate()([Lengths()(inputs), number])
        model = tf_keras.Model([inputs, number], layers.Dense(2)(x))
    model.compile(tf_keras.optimizers.SGD(0.01), "mse")
    given = words if sequential else [words, _batch(3, 1)]
    return Built(model, given, (given, _batch(3, 2, seed=1)))


@case
def text_columns_without_inputs() -> Built:
    """A Sequential that never says what it is called with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        column = tf.feature_column.indicator_column(
            tf.feature_column.categorical_column_with_vocabulary_list(
                "word", ["a", "few", "words"]
            )
        )
    model = tf_keras.Sequential([layers.DenseFeatures([column]), layers.Dense(2)])
    given = {"word": np.array(["a", "few", "others"], object)}
    model.compile(tf_keras.optimizers.SGD(0.1), "mse")
    target = _batch(3, 2, seed=1)
    model.fit(given, target, verbose=0)
    return Built(model, given, (given, target))


@case
def adapted_first() -> Built:
    """A Sequential whose input shape is what `adapt` notes of its data: the rank."""
    normalization = layers.Normalization()
    given = 3 * _batch(5, 3) + 5
    normalization.adapt(given)
    model = tf_keras.Sequential([normalization, layers.Dense(2)])
    model.compile(tf_keras.optimizers.Adam(0.1), "mse")
    target = _batch(5, 2, seed=1)
    model.fit(given, target, verbose=0)
    return Built(model, given, (given, target))


@case
def adapted_first_on_images() -> Built:
    normalization = layers.Normalization(axis=[1, -1])
    given = 3 * _batch(4, 5, 6, 2) + 5
    normalization.adapt(given)
    model = tf_keras.Sequential(
        [normalization, layers.Conv2D(3, 3), layers.GlobalMaxPool2D()]
    )
    model.compile(tf_keras.optimizers.SGD(0.1), "mse")
    target = _batch(4, 3, seed=1)
    model.fit(given, target, verbose=0)
    return Built(model, given, (given, target))


@case
def elementwise_metrics_of_classes(examples: int = 5) -> Built:
    """Targets of one dimension beside an output of three classes."""
    model = tf_keras.Sequential(
        [layers.Dense(3, activation="softmax", input_shape=(4,))]
    )
    metrics = ["accuracy", "binary_accuracy", "mse", "mae"]
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=metrics)
    given = _batch(examples, 4)
    target = np.arange(examples) % 3
    logs = model.evaluate(given, target, verbose=0, return_dict=True)
    return Built(model, given, (given, target), more={"logs": logs})


@case
def elementwise_losses_of_classes(loss: str, examples: int = 5) -> Built:
    """As above; the targets stand beside each of the outputs."""
    model = tf_keras.Sequential([layers.Dense(3, input_shape=(4,))])
    model.compile(tf_keras.optimizers.SGD(0.1), loss)
    given = _batch(examples, 4)
    return Built(model, given, (given, np.arange(examples, dtype="float32")))


@case
def losses_of_named_targets(examples: int = 5) -> Built:
    """Targets by the names of the outputs, which are a list."""
    inputs = tf_keras.Input((4,))
    a, b = layers.Dense(3, name="a")(inputs), layers.Dense(1, name="b")(inputs)
    model = tf_keras.Model(inputs, [a, b])
    model.compile(tf_keras.optimizers.SGD(0.1), {"a": "huber", "b": "log_cosh"})
    given, target = _batch(examples, 4), np.arange(examples, dtype="float32")
    return Built(model, given, (given, {"b": 2 * target, "a": target}))


class OfFloats(layers.Layer):
    """Says the dtype of what it is given, which it casts to its own."""

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight("scale", shape=shape[1:], initializer="ones")
        axes = {-1: shape[-1]}
        self.input_spec = layers.InputSpec(dtype="float32", ndim=2, axes=axes)

    def call(self, inputs: Any) -> Any:
        return inputs * self.scale


@case
def dtype_before_a_cast() -> Built:
    inputs = tf_keras.Input((3,))
    x = OfFloats(dtype="mixed_float16")(inputs)
    outputs = layers.Dense(2)(layers.Activation("linear", dtype="float32")(x))
    batch = _batch(4, 3), _batch(4, 2, seed=1)
    return Built(_compiled(inputs, outputs), batch[0], batch)


@case
def sharpness_aware() -> Built:
    """Its class steps twice; it computes as the model in it."""
    inner = tf_keras.Sequential([layers.Dense(2, input_shape=(3,))])
    model = tf_keras.models.experimental.SharpnessAwareMinimization(inner)
    model.compile(tf_keras.optimizers.SGD(0.1), "mse")
    model.fit(_batch(4, 3), _batch(4, 2, seed=1), verbose=0)
    return Built(model, _batch(4, 3))


@case
def clipped_rows(
    legacy: bool = False, regularizer: str | None = None, **clip: float
) -> Built:
    """Rows of embeddings that a batch uses more than once, one in two calls."""
    inputs = tf_keras.Input((6,), dtype="int32")
    table = layers.Embedding(3, 4, embeddings_regularizer=regularizer)
    constraint = None if legacy else "max_norm"
    other = layers.Embedding(5, 4, embeddings_constraint=constraint)
    joined = layers.Concatenate()([table(inputs), table(2 - inputs), other(inputs)])
    outputs = layers.Dense(2)(layers.Flatten()(joined))
    model = tf_keras.Model(inputs, outputs)
    optimizers = tf_keras.optimizers.legacy if legacy else tf_keras.optimizers
    model.compile(optimizers.SGD(0.1, momentum=0.9, **clip), "mse")
    given = np.arange(30).reshape(5, 6) % 3
    batch = given, 10 * _batch(5, 2, seed=1)
    model.train_on_batch(*batch)
    return Built(model, given, batch)


@case
def clipped_rows_elsewhere() -> Built:
    """Rows of an embedding that a loop looks up."""
    table = layers.TimeDistributed(layers.Embedding(3, 4, input_length=3))
    model = tf_keras.Sequential(
        [layers.Input((2, 3)), table, layers.Flatten(), layers.Dense(2)]
    )
    model.compile(tf_keras.optimizers.SGD(0.1, clipnorm=0.1), "mse")
    given = np.arange(30).reshape(5, 2, 3) % 3
    return Built(model, given, (given, 10 * _batch(5, 2, seed=1)))


@case
def kernel_that_training_divides(
    policy: str = "float32", scaled: bool = False
) -> Built:
    """Each weight has another shape."""
    divided = layers.SpectralNormalization(layers.Dense(4, dtype=policy), dtype=policy)
    model = tf_keras.Sequential([layers.Input((3,)), divided, layers.Dense(2)])
    optimizer = tf_keras.optimizers.SGD(0.5, momentum=0.9)
    if scaled:
        optimizer = tf_keras.mixed_precision.LossScaleOptimizer(optimizer)
    model.compile(optimizer, "mse")
    batch = _batch(5, 3), _batch(5, 2, seed=1)
    model.train_on_batch(*batch)
    return Built(model, batch[0], batch)


@case
def frozen_directions() -> Built:
    """What is frozen inside, of which no config tells."""
    first = layers.Bidirectional(layers.LSTM(3, return_sequences=True))
    second = layers.Bidirectional(layers.GRU(2), name="second")
    inner = tf_keras.Sequential([first, second])
    model = tf_keras.Sequential([layers.Input((4, 3)), inner, layers.Dense(1)])
    first.forward_layer.trainable = False
    second.forward_layer.trainable = False
    model.compile(tf_keras.optimizers.SGD(0.5, momentum=0.9), "mse")
    batch = _batch(5, 4, 3), _batch(5, 1, seed=1)
    model.train_on_batch(*batch)
    return Built(model, batch[0], batch)


@case
def frozen_backward_layer() -> Built:
    bidirectional = layers.Bidirectional(layers.LSTM(3))
    model = tf_keras.Sequential([layers.Input((4, 3)), bidirectional])
    bidirectional.backward_layer.trainable = False
    model.compile(tf_keras.optimizers.SGD(0.5, momentum=0.9), "mse")
    batch = _batch(5, 4, 3), _batch(5, 6, seed=1)
    model.train_on_batch(*batch)
    return Built(model, batch[0], batch)


@case
def steps_of_a_network() -> Built:
    """tf_keras calls it twice: statistics move twice, and losses count twice."""
    inner = tf_keras.Sequential(
        [layers.Dense(3, activity_regularizer="l2"), layers.BatchNormalization()]
    )
    x = layers.Input((5, 3))
    y = layers.Flatten()(layers.TimeDistributed(inner)(x))
    model = tf_keras.Model(x, layers.Dense(1)(y))
    model.compile(tf_keras.optimizers.SGD(0.1), "mse")
    batch = _batch(4, 5, 3), _batch(4, 1, seed=1)
    model.train_on_batch(*batch)
    return Built(model, batch[0], batch)


class Scaling(tf.Module):
    """No layer: `Sequential` wraps it into one that takes any argument."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = tf.Variable(2.0)

    def __call__(self, inputs: Any) -> Any:
        return inputs * self.scale


@case
def module_among_layers() -> Built:
    model = tf_keras.Sequential([Scaling()])
    model.compile(tf_keras.optimizers.SGD(0.1), "mse")
    batch = _batch(4, 3), _batch(4, 3, seed=1)
    model.train_on_batch(*batch)
    return Built(model, batch[0], batch)


class Store(tf.Module):
    """Keeps a layer that is regularized, by a name that Keras 3 uses otherwise."""

    def __init__(self) -> None:
        super().__init__()
        dense = layers.Dense(3, kernel_regularizer=tf_keras.regularizers.L2(0.1))
        self._layers = {"scope/dense": dense}


class Stored(layers.Layer):
    """Calls a layer that it finds in a module."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.store = Store()

    def call(self, inputs: Any) -> Any:
        return self.store._layers["scope/dense"](inputs)


@case
def layer_in_a_module() -> Built:
    inputs = tf_keras.Input((3,))
    model = _compiled(inputs, layers.Dense(2)(Stored()(inputs)))
    batch = _batch(4, 3), _batch(4, 2, seed=1)
    return Built(model, batch[0], batch)


@case
def ragged_numbers() -> Built:
    inputs = tf_keras.Input((None,), ragged=True)
    model = tf_keras.Model(inputs, layers.Add()([inputs, inputs]))
    return Built(model, tf.ragged.constant([[1, 2], [3]]), compare=False)


class FeaturesAndDense(tf_keras.Model):
    """A class that reads features by name."""

    def __init__(self) -> None:
        super().__init__(name="features_and_dense")
        columns = [tf.feature_column.numeric_column(name) for name in "ab"]
        self.features = layers.DenseFeatures(columns)
        self.dense = layers.Dense(1)

    def call(self, features: Any) -> Any:
        return self.dense(self.features(features))


@case
def features_of_a_class() -> Built:
    features = {"a": _batch(4, 1), "b": _batch(4, 1, seed=2)}
    model = FeaturesAndDense()
    model.compile(tf_keras.optimizers.SGD(0.1), "mse")
    batch = features, _batch(4, 1, seed=1)
    model.train_on_batch(*batch)
    return Built(model, features, batch)


@case
def element_at_an_input() -> Built:
    place = tf_keras.Input((), dtype="int32")
    return Built(
        tf_keras.Model(place, tf.range(10.0)[place[0]]), np.array([6, 1], "int32")
    )


@case
def slice_that_an_input_bounds() -> Built:
    stop = tf_keras.Input((), dtype="int32")
    model = tf_keras.Model(stop, tf.range(10.0)[: stop[0]])
    return Built(model, np.array([6, 1], "int32"))


@case
def classes_out_of_a_loop() -> Built:
    inputs = tf_keras.Input((4, 3))
    outputs = layers.GRU(2, activation="softmax")(inputs)
    model = _compiled(inputs, outputs, "categorical_crossentropy")
    x, y = _batch(4, 4, 3), np.eye(2, dtype="float32")[[0, 1, 1, 0]]
    return Built(model, x, (x, y))


def _frozen(layer: Any) -> Built:
    """A model whose first layers are frozen, each in its own way."""
    inputs = tf_keras.Input((4, 3))
    base = tf_keras.Sequential([layers.Dense(3, kernel_regularizer="l2"), layer])
    x = base(inputs)
    lstm = layers.LSTM(2, recurrent_regularizer="l1")
    x = layers.Bidirectional(lstm, trainable=False)(x)
    x = layers.Dense(3, kernel_regularizer="l2", trainable=False)(x)
    outputs = layers.Dense(2, kernel_regularizer="l2")(x)
    base.trainable = False
    batch = _batch(4, 4, 3), _batch(4, 2, seed=1)
    return Built(_compiled(inputs, outputs), batch[0], batch)


@case
def regularizers_of_frozen_weights() -> Built:
    return _frozen(layers.Conv1D(2, 2, bias_regularizer="l1", bias_initializer="ones"))


@case
def regularizers_of_frozen_weights_of_ones_own() -> Built:
    class Scale(layers.Layer):
        def build(self, shape: Any) -> None:
            self.scale = self.add_weight("scale", (3,), regularizer="l2")

        def call(self, inputs: Any) -> Any:
            return inputs * self.scale

    return _frozen(Scale())


@case
def masked_queries() -> Built:
    """Attention of steps that are masked, which a maximum over all steps sees."""
    inputs = tf_keras.Input((5, 3))
    x = layers.Masking()(inputs)
    value = layers.Dense(3)(x)
    narrow = layers.MultiHeadAttention(2, 3, value_dim=2)(x, value)
    even = layers.MultiHeadAttention(2, 3)(x, value)
    _, scores = layers.MultiHeadAttention(1, 2)(x, x, return_attention_scores=True)
    found = [layers.GlobalMaxPooling1D()(each) for each in (narrow, even)]
    outputs = layers.Dense(2)(layers.Concatenate()([*found, layers.Flatten()(scores)]))
    x = _batch(4, 5, 3)
    x[:, -2:] = 0
    batch = x, _batch(4, 2, seed=1)
    return Built(_compiled(inputs, outputs), x, batch)


@case
def masks_within_a_model() -> Built:
    class Net(tf_keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.mask, self.pool = layers.Masking(), layers.GlobalAveragePooling1D()

        def call(self, inputs: Any) -> Any:
            return self.pool(self.mask(inputs))

    x = _batch(4, 5, 3)
    x[:2, -2:] = 0
    model = Net()
    model.predict(x, verbose=0)
    return Built(model, x)


@case
def masked_steps_of_a_cell_of_ones_own() -> Built:
    class Cell(layers.Layer):
        state_size = output_size = 4

        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight("kernel", (shape[-1], 4))

        def call(self, inputs: Any, states: Any) -> Any:
            found = tf.tanh(inputs @ self.kernel + states[0])
            return found, [found]

    inputs = tf_keras.Input((5, 3))
    outputs = layers.Dense(2)(layers.RNN(Cell())(layers.Masking()(inputs)))
    batch = _batch(4, 5, 3), _batch(4, 2, seed=1)
    return Built(_compiled(inputs, outputs), batch[0], batch)


@case
def masked_steps_of_cells_of_ones_own(stacked: bool, sequences: bool) -> Built:
    """Whose output is none of their states, alone and among others."""

    class Doubling(layers.Layer):
        state_size = output_size = 4

        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight("kernel", (shape[-1], 4))

        def call(self, inputs: Any, states: Any) -> Any:
            found = tf.tanh(inputs @ self.kernel + states[0])
            return 2.0 * found, [found]

    def cell() -> Any:
        return [layers.GRUCell(3), Doubling()] if stacked else Doubling()

    inputs = tf_keras.Input((5, 3))
    x = layers.Masking()(inputs)
    x = layers.Bidirectional(layers.RNN(cell(), return_sequences=sequences))(x)
    outputs = layers.Dense(2)(x)
    batch = _batch(4, 5, 3), _batch(4, *outputs.shape[1:], seed=1)
    batch[0][:2, 3:] = 0
    batch[0][1:3, :2] = 0
    return Built(_compiled(inputs, outputs), batch[0], batch)


@case
def directions_of_two_layers() -> Built:
    inputs = tf_keras.Input((4, 3))
    lstm = layers.LSTM(3, go_backwards=True, return_sequences=True)
    gru = layers.GRU(2, return_sequences=True)
    x = layers.Bidirectional(gru, backward_layer=lstm)(inputs)
    lstm = layers.LSTM(3, go_backwards=True, return_state=True)
    gru = layers.GRU(2, return_state=True)
    outputs = layers.Bidirectional(gru, merge_mode=None, backward_layer=lstm)(x)
    outputs = layers.Dense(2)(layers.Concatenate()(outputs))
    batch = _batch(4, 4, 3), _batch(4, 2, seed=1)
    return Built(_compiled(inputs, outputs), batch[0], batch)


@case
def forward_layer_that_goes_backwards() -> Built:
    inputs = tf_keras.Input((4, 3))
    lstm = layers.LSTM(2, go_backwards=True, return_sequences=True)
    x = layers.Bidirectional(lstm)(inputs)
    outputs = layers.Bidirectional(layers.GRU(1, go_backwards=True))(x)
    batch = _batch(4, 4, 3), _batch(4, 2, seed=1)
    return Built(_compiled(inputs, outputs), batch[0], batch)


@case
def where_ragged_rows_start() -> Built:
    inputs = tf_keras.Input((None,), ragged=True)
    model = tf_keras.Model(inputs, [inputs.row_starts(), inputs.row_lengths()])
    return Built(model, tf.ragged.constant([[1.0, 2.0], [3.0, 4.0, 5.0], [6.0]]))


@case
def lists_of_one_cell() -> Built:
    inputs = tf_keras.Input((4, 3))
    lstm = layers.RNN([layers.LSTMCell(3)], return_sequences=True)
    x = layers.Bidirectional(lstm)(inputs)
    outputs = layers.RNN([layers.GRUCell(2)])(x)
    batch = _batch(4, 4, 3), _batch(4, 2, seed=1)
    return Built(_compiled(inputs, outputs), batch[0], batch)


class Scaled(layers.experimental.preprocessing.PreprocessingLayer):
    """Keras saves no function of such a layer: it wants the class."""

    def __init__(self, factor: float = 2.0, **options: Any) -> None:
        super().__init__(**options)
        self.factor = factor

    def call(self, inputs: Any) -> Any:
        return tf.cast(inputs, "float32") * self.factor

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


@case
def layer_without_functions() -> Built:
    inputs = tf_keras.Input((3,))
    x = layers.Dense(4, "relu", kernel_regularizer="l2")(Scaled()(inputs))
    outputs = layers.Dense(2)(layers.BatchNormalization()(x))
    batch = _batch(8, 3), _batch(8, 2, seed=1)
    return Built(_compiled(inputs, outputs), batch[0], batch)


class WhatIsNotZero(layers.Layer):
    """Gives a sparse tensor."""

    def call(self, inputs: Any) -> Any:
        return tf.sparse.from_dense(inputs)


@case
def sparse_output() -> Built:
    inputs = tf_keras.Input((3,))
    model = tf_keras.Model(inputs, WhatIsNotZero()(inputs))
    x = np.array([[1, 0, 2], [0, 3, 0]], "float32")
    parts = [part.numpy() for part in tf.nest.flatten(model(x), expand_composites=True)]
    return Built(model, x, compare=False, more={"parts": parts})


def _network(*chain: Any) -> Any:
    """A network that makes masks, or is given some."""
    x = inputs = tf_keras.Input((4, 4))
    for layer in chain:
        x = layer(x)
    return tf_keras.Model(inputs, x)


def _steps_and_states() -> Any:
    inputs = tf_keras.Input((4, 4))
    states = [layers.Dense(2)(layers.Flatten()(inputs)) for _ in range(2)]
    return tf_keras.Model(inputs, layers.LSTM(2)(inputs, initial_state=states))


@case
def masks_out_of_networks_and_into_them() -> Built:
    """Layers that end masks, and recurrent ones that are given states."""
    inputs = tf_keras.Input((4, 4))
    x = _network(layers.Masking(), layers.Dense(4))(inputs)
    states = [layers.Dense(2)(layers.Flatten()(inputs)) for _ in range(2)]
    chain = [layers.Masking(), layers.Dense(4)]
    inner = tf_keras.Sequential([tf_keras.Sequential(chain), layers.Reshape((4, 4))])
    found = [
        layers.Bidirectional(layers.GRU(2))(x, initial_state=states),
        layers.LSTM(2)(layers.Reshape((4, 4))(x)),
        layers.SimpleRNN(2)(layers.Permute((1, 2))(layers.Dense(4)(x))),
        _network(layers.Reshape((4, 4)), layers.GRU(2))(x),
        _network(layers.Reshape((4, 4)), layers.GRU(2))(layers.Masking()(inputs)),
        _steps_and_states()(x),
        _steps_and_states()(layers.Masking()(inputs)),
        layers.GRU(2)(inner(inputs)),
    ]
    model = _compiled(inputs, layers.Dense(2)(layers.Concatenate()(found)))
    given = _batch(5, 4, 4)
    given[0, 2:] = given[1, :1] = given[2, 1:3] = 0.0
    return Built(model, given, (given, _batch(5, 2, seed=1)))


@case
def slots_of_some_weights() -> Built:
    """The optimizer has none for what a loss doesn't depend on."""
    inputs = tf_keras.Input((3,))
    x = tf.stop_gradient(layers.Dense(3)(inputs)) + inputs
    x = tf_keras.Sequential([layers.Dense(4), layers.Dense(3)], name="inner")(x)
    model = tf_keras.Model(inputs, layers.Dense(2)(x))
    model.compile(tf_keras.optimizers.legacy.Adagrad(0.1), "mse")
    batch = _batch(4, 3), _batch(4, 2, seed=1)
    model.train_on_batch(*batch)
    return Built(model, batch[0], batch)


class SumOfSteps(layers.Layer):
    """Heeds a mask, and uses it up."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        if mask is not None:
            inputs *= tf.cast(mask, inputs.dtype)[..., None]
        return tf.reduce_sum(inputs, 1)


@case
def mask_in_no_function(kind: str = "chain") -> Built:
    """Behind `Masking`, TensorFlow traces layers without its mask."""
    first, second = layers.Masking(), layers.Dense(4, bias_initializer="ones")
    inputs = tf_keras.Input((4, 4))
    if kind == "chain":
        model = tf_keras.Sequential([inputs, first, second, SumOfSteps(name="sum")])
    elif kind == "network":
        found = SumOfSteps(name="sum")(_network(first, second)(inputs))
        model = tf_keras.Model(inputs, found)
    else:
        model = tf_keras.Sequential(
            [inputs, first, layers.LSTM(4), layers.Reshape((1, 4)), SumOfSteps()]
        )
    given = _batch(5, 4, 4)
    given[0, 2:] = given[1, :1] = 0.0
    return Built(model, given)


class Regularized(tf_keras.Model):
    """Holds layers whose weights are regularized."""

    def __init__(self) -> None:
        super().__init__()
        self.first = layers.Dense(3, kernel_regularizer="l2")
        self.rest = [layers.BatchNormalization(beta_regularizer="l1"), layers.Dense(2)]

    def call(self, inputs: Any) -> Any:
        x = self.first(inputs)
        for layer in self.rest:
            x = layer(x)
        return x


@case
def regularizers_in_a_class() -> Built:
    model = Regularized()
    batch = _batch(4, 3), _batch(4, 2, seed=1)
    model(batch[0])
    model.compile("sgd", "mse")
    model.fit(*batch, epochs=2, verbose=0)
    return Built(model, batch[0], batch)


class Mixed(layers.Layer):
    """Takes two tensors and what is none."""

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight("kernel", (input_shape[-1],))

    def call(
        self, first: Any, second: Any, scale: float = 1.0, flip: bool = False
    ) -> Any:
        mixed = first * self.kernel + scale * second
        return -mixed if flip else mixed


@case
def settings_beside_tensors() -> Built:
    inputs = tf_keras.Input((3,))
    x = Mixed(name="mixed")(
        layers.Dense(3)(inputs), second=inputs, scale=3.0, flip=True
    )
    model = tf_keras.Model(inputs, x)
    batch = _batch(4, 3), _batch(4, 3, seed=1)
    model.compile("sgd", "mse")
    model.fit(*batch, epochs=2, verbose=0)
    return Built(model, batch[0], batch)


class Shaped(layers.Layer):
    """Its config has the shape that it was built with, as keras-nlp's decoder's has."""

    def __init__(self, shape: Any = None, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.known = shape

    def build(self, shape: Any) -> None:
        self.known = {"query": [shape]}
        self.dense = layers.Dense(2)

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "shape": self.known}


@case
def shape_in_a_config() -> Built:
    model = tf_keras.Sequential([tf_keras.Input((3,)), Shaped(name="shaped")])
    batch = _batch(4, 3), _batch(4, 2, seed=1)
    model.compile("sgd", "mse")
    model.fit(*batch, epochs=2, verbose=0)
    return Built(model, batch[0], batch)


@case
def windows_and_heads() -> Built:
    """Cuts among windows, of which the graph knows no number."""
    inputs = tf_keras.Input((4, 2, 2, 3))
    x = tf.reshape(tf.reshape(inputs, [-1, 2, 2, 3]), [-1, 2, 4, 3])
    x = tf.matmul(layers.Dense(3)(x), x, transpose_b=True)
    model = tf_keras.Model(inputs, tf.reshape(x, [-1, 64]))
    batch = _batch(3, 4, 2, 2, 3), _batch(3, 64, seed=1)
    model.compile("sgd", "mse")
    model.fit(*batch, epochs=2, verbose=0)
    return Built(model, batch[0], batch)


@case
def windows_of_any_image() -> Built:
    """Cuts that only some heights and widths have."""
    inputs = tf_keras.Input((None, None, 4))
    height, width = (tf.shape(inputs)[axis] for axis in (1, 2))
    x = tf.reshape(inputs, [-1, height // 7, 7, width // 8, 8, 4])
    x = tf.reshape(tf.transpose(x, [0, 1, 3, 2, 4, 5]), [-1, 7, 8, 4])
    x = tf.reshape(layers.Dense(4)(x), [-1, 14, 8, 4])
    model = tf_keras.Model(inputs, tf.reshape(x, [-1, height * width * 4]))
    batch = _batch(2, 14, 16, 4), _batch(2, 14 * 16 * 4, seed=1)
    model.compile("sgd", "mse")
    model.fit(*batch, epochs=2, verbose=0)
    return Built(model, batch[0], batch)


class Places(layers.Layer):
    """Rows of a table of few, as many as there are steps."""

    def build(self, shape: Any) -> None:
        self.table = self.add_weight("table", shape=(6, int(shape[-1])))

    def call(self, inputs: Any) -> Any:
        shape = tf.shape(inputs)
        return tf.broadcast_to(tf.slice(self.table, [0, 0], [shape[1], 4]), shape)


@case
def few_places() -> Built:
    inputs = tf_keras.Input((None,), dtype="int32")
    x = layers.Embedding(9, 4)(inputs)
    outputs = layers.Dense(2)(layers.Add()([x, Places()(x)]))
    given = np.random.default_rng(1).integers(0, 9, (3, 5)).astype("int32")
    return Built(_compiled(inputs, outputs), given, (given, _batch(3, 5, 2)))


@case
def steps_counted() -> Built:
    """Operations whose sizes and places are made of the number of steps."""
    inputs = tf_keras.Input((None, 4))
    steps = tf.shape(inputs)[1]
    x = inputs + layers.Embedding(20, 4)(tf.range(steps))
    x += tf.reduce_sum(tf.pad(x, [[0, 0], [0, steps], [0, 0]]), 1, keepdims=True)
    lengths = tf.cast(tf.reduce_sum(inputs, [1, 2]), "int32") % 5
    seen = tf.sequence_mask(lengths, steps, dtype="float32")
    x = x * seen[:, :, None] + x[:, steps - 1][:, None]
    first = tf.one_hot(lengths, steps)[:, :, None]
    return _sized(inputs, layers.Dense(2)(tf.concat([x, first], -1)), (3, 7, 4))


@case
def sizes_counted() -> Built:
    """Operations whose sizes are those of images."""
    inputs = tf_keras.Input((None, None, 3))
    count, rows, columns = (tf.shape(inputs)[axis] for axis in range(3))
    places = tf.cast(tf.range(rows), "float32")[None, :, None, None]
    places = tf.tile(places, [count, 1, columns, 1])
    x = layers.Conv2D(2, 3, strides=2, padding="same")(inputs)
    x = tf.image.resize(x, tf.shape(inputs)[1:3])
    x = tf.concat([x, places, tf.ones((count, rows, columns, 1))], -1)
    x = layers.Conv2D(2, 1)(tf.image.resize(x, (rows * 2, columns * 2), "nearest"))
    return _sized(inputs, x, (2, 5, 8, 3))


def _sized(inputs: Any, outputs: Any, shape: tuple[int, ...]) -> Built:
    model = tf_keras.Model(inputs, outputs)
    model.compile("sgd", "mse")
    given = _batch(*shape)
    batch = given, np.ones_like(model.predict(given, verbose=0))
    model.fit(*batch, verbose=0)
    longer = _batch(shape[0] + 1, *(n + 4 for n in shape[1:-1]), shape[-1], seed=5)
    more = {"longer": longer, "their": model.predict(longer, verbose=0)}
    return Built(model, given, batch, more=more)


class LooksBack(tf_keras.Model):
    """Attends to what was before."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = layers.MultiHeadAttention(2, 3)
        self.mixed = Mixed()

    def call(self, inputs: Any) -> Any:
        x = self.attention(inputs, inputs, use_causal_mask=True)
        return self.mixed(x, second=inputs, scale=0.5)


@case
def settings_in_a_class() -> Built:
    model = LooksBack()
    batch = _batch(4, 5, 3), _batch(4, 5, 3, seed=1)
    model(batch[0])
    model.compile("sgd", "mse")
    model.fit(*batch, epochs=2, verbose=0)
    return Built(model, batch[0], batch)


def step_of(path: str, x: Any, y: Any) -> float:
    """The loss of the next step of a model that tf_keras opens."""
    tf_keras.backend.clear_session()
    model = tf_keras.models.load_model(path)
    return float(np.ravel(model.train_on_batch(x, y))[0])


def steps_of(path: str, x: Any, y: Any, count: int) -> list[float]:
    """The losses of the next steps of a model that tf_keras opens."""
    tf_keras.backend.clear_session()
    model = tf_keras.models.load_model(path)
    return [float(np.ravel(model.train_on_batch(x, y))[0]) for _ in range(count)]
