"""Writes what a TensorFlow's Keras says and computes of networks of many shapes.

    python make_topologies.py topologies-2.21.json.gz

The functions below build models: nested, shared, with several inputs and outputs,
called many times. Kept as `make_layers` keeps its models.
"""

import gzip
import json
import sys

import numpy as np
from make_layers import Layers, keras, packed, tf

L = Layers()
K = keras


def inner(name="inner", size=4):
    x = K.Input((size,), name=name + "_in")
    y = L.Dense(size, activation="tanh", name=name + "_d")(x)
    return K.Model(x, y, name=name)


def two_ends(name="ends"):
    a, b = K.Input((4,), name=name + "_a"), K.Input((4,), name=name + "_b")
    s = L.Add()([a, b])
    return K.Model([a, b], [L.Dense(3)(s), L.Dense(2)(s)], name=name)


def sequential(name="seq", shape=True):
    layers = [L.Dense(4, activation="tanh"), L.Dense(4)]
    if shape:
        layers = [L.Dense(4, activation="tanh", input_shape=(4,)), L.Dense(4)]
    return K.Sequential(layers, name=name)


def functional_in_functional():
    x = K.Input((4,))
    return K.Model(x, inner()(x))


def functional_called_three_times():
    x, y = K.Input((4,)), K.Input((4,))
    f = inner()
    return K.Model([x, y], [f(f(x)), f(y)])


def sequential_in_functional():
    x = K.Input((4,))
    return K.Model(x, sequential()(x))


def unbuilt_sequential_in_functional():
    x = K.Input((4,))
    return K.Model(x, sequential(shape=False)(x))


def unbuilt_sequential_called_twice():
    x = K.Input((4,))
    s = sequential(shape=False)
    return K.Model(x, s(s(x)))


def sequential_called_twice():
    x = K.Input((4,))
    s = sequential()
    return K.Model(x, L.Add()([s(s(x)), s(x)]))


def functional_in_sequential():
    return K.Sequential([inner("a"), L.Dense(3), L.Activation("relu")])


def functional_later_in_sequential():
    return K.Sequential([L.Dense(4, input_shape=(2,)), inner("a"), sequential("b")])


def sequential_in_sequential():
    return K.Sequential([sequential("a"), sequential("b", shape=False)])


def three_levels():
    x = K.Input((4,))
    f = inner("deep")
    y = f(L.Dense(4)(f(x)))
    middle = K.Model(x, y, name="middle")
    z = K.Input((4,))
    return K.Model(z, middle(middle(z)))


def shared_by_two_models():
    d = L.Dense(4, name="common")
    a, b = K.Input((4,)), K.Input((4,))
    one = K.Model(a, d(a), name="one")
    two = K.Model(b, L.Activation("tanh")(d(b)), name="two")
    x = K.Input((4,))
    return K.Model(x, L.Concatenate()([one(x), two(x)]))


def several_ends_inside():
    x, y = K.Input((4,)), K.Input((4,))
    f = two_ends()
    p, q = f([x, y])
    r, _ = f([y, x])
    return K.Model([x, y], [q, L.Add()([p, r])])


def dict_inputs():
    a, b = K.Input((4,), name="a"), K.Input((3,), name="b")
    return K.Model({"a": a, "b": b}, L.Dense(2)(L.Concatenate()([a, b])))


def dict_outputs():
    a = K.Input((4,), name="a")
    return K.Model(a, {"u": L.Dense(2, name="u")(a), "v": L.Dense(3, name="v")(a)})


def initial_states():
    x, h, c = K.Input((3, 4)), K.Input((2,)), K.Input((2,))
    return K.Model([x, h, c], L.LSTM(2)(x, initial_state=[h, c]))


def encoder_decoder():
    x, y = K.Input((3, 4)), K.Input((5, 4))
    _, h, c = L.LSTM(2, return_state=True)(x)
    out, _, _ = L.LSTM(2, return_sequences=True, return_state=True)(
        y, initial_state=[h, c]
    )
    return K.Model([x, y], L.Dense(2)(out))


def bidirectional_states():
    x = K.Input((3, 4))
    out, fh, fc, bh, bc = L.Bidirectional(L.LSTM(2, return_state=True))(x)
    return K.Model(x, [out, L.Concatenate()([fh, bh]), L.Add()([fc, bc])])


def masked_recurrent():
    x = K.Input((5,), dtype="int32")
    y = L.Embedding(7, 3, mask_zero=True)(x)
    y = L.Bidirectional(L.LSTM(2, return_sequences=True))(y)
    y = L.Dropout(0.2)(y)
    return K.Model(x, L.GRU(2)(y))


def masked_mean():
    x = K.Input((5,), dtype="int32")
    y = L.Embedding(7, 3, mask_zero=True)(x)
    return K.Model(x, L.GlobalAveragePooling1D()(y))


def masked_time_distributed():
    x = K.Input((4, 3))
    y = L.Masking(0.0)(x)
    y = L.TimeDistributed(L.Dense(2))(y)
    return K.Model(x, L.SimpleRNN(2, return_sequences=True)(y))


def masked_concatenate():
    x = K.Input((5,), dtype="int32")
    y = L.Embedding(7, 3, mask_zero=True)(x)
    z = L.Embedding(7, 3, mask_zero=True)(x)
    return K.Model(x, L.LSTM(2)(L.Concatenate()([y, z])))


def masked_operations():
    x = K.Input((5,), dtype="int32")
    y = L.Embedding(7, 3, mask_zero=True)(x)
    return K.Model(x, L.LSTM(2)(y * 2.0))


def multi_head_attention():
    x, y = K.Input((3, 4)), K.Input((5, 4))
    out = L.MultiHeadAttention(2, 3)(x, y)
    return K.Model([x, y], out)


def multi_head_attention_all():
    x, m = K.Input((3, 4)), K.Input((3, 3))
    out, scores = L.MultiHeadAttention(2, 3, value_dim=2, output_shape=5)(
        x, x, x, attention_mask=m, return_attention_scores=True
    )
    return K.Model([x, m], [out, scores])


def multi_head_attention_masked():
    x = K.Input((5,), dtype="int32")
    y = L.Embedding(7, 4, mask_zero=True)(x)
    return K.Model(x, L.MultiHeadAttention(2, 3)(y, y))


def multi_head_attention_2d():
    x = K.Input((2, 3, 4))
    layer = L.MultiHeadAttention(2, 3, attention_axes=(2,), use_bias=False)
    return K.Model(x, layer(x, x))


def attention_masked():
    x, y = K.Input((5,), dtype="int32"), K.Input((5,), dtype="int32")
    e = L.Embedding(7, 4, mask_zero=True)
    return K.Model([x, y], L.Attention()([e(x), e(y)]))


def causal_attention():
    x = K.Input((3, 4))
    try:
        layer = L.Attention(causal=True)
    except TypeError:
        return K.Model(x, L.Attention()([x, x], use_causal_mask=True))
    return K.Model(x, layer([x, x]))


def fixed_training():
    x = K.Input((4,))
    base = K.Sequential([L.Dense(4, input_shape=(4,)), L.BatchNormalization()])
    return K.Model(x, L.Dense(2)(base(x, training=False)))


def frozen_base():
    x = K.Input((4,))
    base = inner()
    base.trainable = False
    return K.Model(x, L.Dense(2)(base(x)))


def partly_frozen():
    x = K.Input((4,))
    d = L.Dense(4, trainable=False)
    return K.Model(x, L.BatchNormalization(trainable=False)(L.Dense(3)(d(x))))


def slashes_and_spaces():
    x = K.Input((4,), name="in/put")
    y = L.Dense(3, name="block/dense")(x)
    return K.Model(x, L.Dense(2, name="block__dense")(y), name="a/model")


def operations():
    x = K.Input((4, 6))
    y = x * 2.0 + 1.0
    y = tf.reshape(y, [-1, 24])
    y = tf.nn.relu(y) - tf.reduce_mean(y, axis=1, keepdims=True)
    y = L.Dense(6)(y)
    return K.Model(x, tf.concat([y[:, 1:4], y[:, ::2]], axis=-1))


def operations_of_shapes():
    x = K.Input((4, 6))
    n = tf.shape(x)[0]
    y = tf.reshape(x, tf.stack([n * 2, 12]))
    return K.Model(x, tf.reshape(L.Dense(2)(y), (n, 4)))


def operation_in_nested():
    x = K.Input((4,))
    m = K.Model(x, L.Dense(4)(x) * 3.0, name="scaled")
    z = K.Input((4,))
    return K.Model(z, m(m(z)) + z)


def mixed_precision():
    x = K.Input((4,))
    y = L.Dense(3, dtype=policy("mixed_float16"), name="m")(x)
    return K.Model(x, L.Activation("softmax", dtype="float32")(y))


def policy(name):
    try:
        return K.mixed_precision.Policy(name)
    except AttributeError:
        return K.mixed_precision.experimental.Policy(name)


def stateful_rnn():
    x = K.Input(batch_shape=(2, 3, 4))
    return K.Model(x, L.LSTM(2, stateful=True, return_sequences=True)(x))


def fixed_batch():
    x = K.Input(batch_shape=(2, 4))
    return K.Model(x, L.Dense(2)(x))


def open_sizes():
    x = K.Input((None, None, 3))
    y = L.Conv2D(2, 3, padding="same")(x)
    return K.Model(x, L.GlobalMaxPooling2D()(y))


def residual_blocks():
    x = K.Input((6, 6, 3))
    y = L.Conv2D(4, 3, padding="same")(x)
    for _ in range(3):
        z = L.Conv2D(4, 3, padding="same", use_bias=False)(y)
        z = L.BatchNormalization()(z)
        y = L.Add()([y, L.ReLU()(z)])
    return K.Model(x, L.Flatten()(y))


def early_output():
    x = K.Input((4,))
    y = L.Dense(3)(x)
    return K.Model(x, [x, y, L.Dense(2)(y)])


def many_layers():
    x = y = K.Input((2,))
    for _ in range(60):
        y = L.Activation("linear")(y)
    return K.Model(x, y)


CASES = [
    functional_in_functional,
    functional_called_three_times,
    sequential_in_functional,
    unbuilt_sequential_in_functional,
    unbuilt_sequential_called_twice,
    sequential_called_twice,
    functional_in_sequential,
    functional_later_in_sequential,
    sequential_in_sequential,
    three_levels,
    shared_by_two_models,
    several_ends_inside,
    dict_inputs,
    dict_outputs,
    initial_states,
    encoder_decoder,
    bidirectional_states,
    masked_recurrent,
    masked_mean,
    masked_time_distributed,
    masked_concatenate,
    masked_operations,
    multi_head_attention,
    multi_head_attention_all,
    multi_head_attention_masked,
    multi_head_attention_2d,
    attention_masked,
    causal_attention,
    fixed_training,
    frozen_base,
    partly_frozen,
    slashes_and_spaces,
    operations,
    operations_of_shapes,
    operation_in_nested,
    mixed_precision,
    stateful_rnn,
    fixed_batch,
    open_sizes,
    residual_blocks,
    early_output,
    many_layers,
]


def run(case):
    K.backend.clear_session()
    rng = np.random.RandomState(len(case.__name__))
    model = case()
    config = json.loads(model.to_json())
    K.backend.clear_session()
    try:
        model = K.models.model_from_json(json.dumps(config))
    except Exception as error:
        print("does not read its own:", case.__name__, str(error)[:80])
    values = []
    for tensor in model.inputs:
        shape = [2] + [n or 6 for n in tensor.shape[1:]]
        if "int" in tensor.dtype.name:
            values.append(rng.randint(0, 7, shape).astype("int32"))
        else:
            values.append(np.round(rng.normal(size=shape), 2).astype("float32"))
    if "attention_all" in case.__name__:
        values[1] = (values[1] > -0.5).astype("float32")
    if "masked_time" in case.__name__:
        values[0][:, 2] = 0
    weights = []
    for weight in model.get_weights():
        new = np.round(rng.uniform(0.1, 0.9, weight.shape), 3)
        weights.append(np.asarray(new, weight.dtype))
    model.set_weights(weights)
    given = [tf.constant(v) for v in values]
    if isinstance(model.input, dict):
        given = dict(zip(sorted(model.input), given))
    outputs = model(given if len(values) > 1 else given[0], training=False)
    training = model(given if len(values) > 1 else given[0], training=True)
    return {
        "expression": case.__name__,
        "keras_version": config["keras_version"],
        "config": {"class_name": config["class_name"], "config": config["config"]},
        "weight_names": [w.name for w in model.weights],
        "trainable": [w.name for w in model.trainable_weights],
        "layers": [layer.name for layer in model.layers],
        "inputs": [packed(v) for v in values],
        "weights": [packed(w) for w in weights],
        "outputs": [packed(v) for v in tf.nest.flatten(outputs)],
        "training": [packed(v) for v in tf.nest.flatten(training)],
    }


def main(path):
    found, failed = [], []
    for case in CASES:
        try:
            found.append(run(case))
        except Exception as error:
            failed.append((case.__name__, (str(error).splitlines() or [""])[0][:150]))
    with open(path, "wb") as file:
        with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed_:
            packed_.write(json.dumps({"cases": found}).encode())
    for name, error in failed:
        print("not made:", name, "|", error)
    print(len(found), "cases")


if __name__ == "__main__":
    main(sys.argv[1])
