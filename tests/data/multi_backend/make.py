"""Writes HDF5 files of the multi-backend Keras, 1.0 to 2.3, and what it computed.

    python make_old.py OUT_DIR [NAME ...]

Needs that Keras and its backend (Theano or TensorFlow 1.x) in a Python of their time.
Files go to OUT_DIR/<Keras version>-<backend>/: `<name>.h5`, a compiled model saved
after one training step, and `<name>.npz`: inputs `in_<k>`, `predict` of them `out_<k>`,
one training batch `tx_<k>`, `ty_<k>`, and `predict` of the inputs after that batch
`next_<k>` (absent where training is random). With KERAS_BACKEND=tf.keras it is the
Keras inside TensorFlow 1.2 to 1.12; the folder's name then ends in TensorFlow's version. `pack_old.py` packs them.
"""

import os
import sys
import traceback

import numpy as np

WRITER = os.environ.get("KERAS_BACKEND")
if WRITER == "tf.keras":
    import importlib

    import tensorflow as tf

    for place in ("contrib.keras.python.keras", "python.keras._impl.keras", "python.keras"):
        try:
            version = importlib.import_module("tensorflow." + place).__version__
            break
        except (ImportError, AttributeError):
            pass
    inside = tf.keras if hasattr(tf, "keras") else tf.contrib.keras
    sys.modules["keras"] = inside
    for name in ("backend", "layers", "models", "regularizers"):
        sys.modules["keras." + name] = getattr(inside, name)
    inside.__version__ = version
    WRITER = "tf" + tf.__version__
elif WRITER == "tensorflow":
    # TensorFlow 1's other variables may be read after an update that the step makes
    # itself: what it computes then is an accident of its threads.
    import tensorflow as tf
    from tensorflow.python.ops import resource_variable_ops

    if hasattr(tf, "enable_resource_variables"):
        tf.enable_resource_variables()
    else:
        tf.Variable = resource_variable_ops.ResourceVariable

import keras
from keras import backend as K
from keras import layers as L
from keras.models import Model, Sequential

VERSION = tuple(int(part) for part in keras.__version__.split(".")[:2])
ONE = VERSION[0] == 1
THEANO = K.backend() == "theano"
if THEANO:
    import theano.ifelse  # noqa: F401  (Keras 1 forgot it)
R = np.random.RandomState
MODELS = []


def first(on):
    if ONE:
        K.set_image_dim_ordering("th" if on else "tf")
    else:
        K.set_image_data_format("channels_first" if on else "channels_last")


def model(one=True, two=True, train=True, since=(1, 0), theano=True, tensorflow=True):
    def add(function):
        wanted = (one if ONE else two) and VERSION >= since
        if wanted and (theano if THEANO else tensorflow):
            MODELS.append((function, train))
        return function

    return add


def f32(seed, *shape):
    return R(seed).uniform(-1, 1, shape).astype("float32")


def ids(seed, high, *shape):
    return R(seed).randint(1, high, shape).astype("int32")


def conv(n, size, **kw):
    """Conv1D and Conv2D in either generation's words."""
    size = size if isinstance(size, tuple) else (size,)
    if ONE:
        for new, old in (("padding", "border_mode"), ("use_bias", "bias")):
            if new in kw:
                kw[old] = kw.pop(new)
        strides = kw.pop("strides", None)
        if len(size) == 1:
            if strides:
                kw["subsample_length"] = strides
            return L.Convolution1D(n, size[0], **kw)
        if strides:
            kw["subsample"] = strides
        cls = L.Convolution2D if len(size) == 2 else L.Convolution3D
        return cls(n, *size, **kw)
    cls = {1: L.Conv1D, 2: L.Conv2D, 3: L.Conv3D}[len(size)]
    return cls(n, size if len(size) > 1 else size[0], **kw)


def spatial(channels_first, *shape):
    return (shape[-1],) + shape[:-1] if channels_first else shape


# ------------------------------------------------------------------ both generations


@model()
def dense():
    if ONE:
        from keras.regularizers import l1l2, activity_l2

        m = Sequential([
            L.Dense(5, input_dim=3, init="he_normal", activation="tanh",
                    W_regularizer=l1l2(0.01, 0.02), b_constraint="nonneg"),
            L.Dense(4, bias=False, activation="hard_sigmoid",
                    activity_regularizer=activity_l2(0.1)),
            L.Dense(2, W_constraint="maxnorm", init="uniform"),
        ])
    else:
        from keras.regularizers import l1_l2

        m = Sequential([
            L.Dense(5, input_dim=3, kernel_initializer="he_normal", activation="tanh",
                    kernel_regularizer=l1_l2(0.01, 0.02), bias_constraint="nonneg"),
            L.Dense(4, use_bias=False, activation="hard_sigmoid"),
            L.Dense(2, kernel_constraint="maxnorm", kernel_initializer="uniform"),
        ])
    m.compile(keras.optimizers.SGD(lr=0.1, momentum=0.9, nesterov=True, decay=0.01),
              "mse", metrics=["accuracy"])
    return m, [f32(0, 4, 3)], [f32(1, 6, 3)], [f32(2, 6, 2)]


def image_model(channels_first, optimizer):
    first(channels_first)
    m = Sequential([
        conv(3, (3, 2), padding="same", activation="relu",
             input_shape=spatial(channels_first, 7, 6, 2)),
        L.MaxPooling2D((2, 2)),
        L.ZeroPadding2D((1, 1)),
        conv(4, (2, 3), strides=(1, 2), use_bias=False),
        L.Flatten(),
        L.Dense(3, activation="softmax"),
    ])
    m.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])
    x = spatial(channels_first, 7, 6, 2)
    return m, [f32(3, 2, *x)], [f32(4, 6, *x)], [np.eye(3)[R(5).randint(0, 3, 6)]]


@model(tensorflow=False)
def images_first():
    return image_model(True, keras.optimizers.Adam(lr=0.01))


@model()
def images_last():
    return image_model(False, keras.optimizers.SGD(lr=0.1, momentum=0.9))


def deconv_model(channels_first):
    first(channels_first)
    x = spatial(channels_first, 3, 4, 3)
    if ONE:
        out = (None,) + spatial(channels_first, 4, 6, 4)
        a = L.Deconvolution2D(4, 2, 3, out, activation="tanh", input_shape=x)
    else:
        a = L.Conv2DTranspose(4, (2, 3), activation="tanh", input_shape=x)
    m = Sequential([a, L.UpSampling2D((2, 1))])
    m.compile(keras.optimizers.Adagrad(lr=0.05), "mae")
    y = m.predict(f32(8, 4, *x)) * 0.5
    return m, [f32(6, 2, *x)], [f32(7, 4, *x)], [y]


@model(tensorflow=False, since=(1, 1))
def deconv_first():
    return deconv_model(True)


@model(since=(1, 1))
def deconv_last():
    return deconv_model(False)


# Theano without a compiler has no gradient of dilated convolutions.
@model(since=(1, 2), train=not THEANO)
def dilated():
    first(THEANO)
    x = spatial(THEANO, 5, 6, 2)
    if ONE:
        layers = [L.AtrousConvolution2D(3, 2, 2, atrous_rate=(2, 2), input_shape=x),
                  L.Reshape((9, 4)), L.AtrousConvolution1D(2, 2, atrous_rate=2)]
    else:
        layers = [L.Conv2D(3, (2, 2), dilation_rate=(2, 2), input_shape=x),
                  L.Reshape((9, 4)), L.Conv1D(2, 2, dilation_rate=2)]
    m = Sequential(layers + [L.Flatten(), L.Dense(1)])
    m.compile("sgd", "mse")
    return m, [f32(6, 2, *x)], [f32(7, 4, *x)], [f32(8, 4, 1)]


@model()
def same_padding():
    """Strides and even sizes: Theano pads otherwise than TensorFlow."""
    first(THEANO)
    x = spatial(THEANO, 6, 7, 2)
    pool = {"border_mode": "same"} if ONE else {"padding": "same"}
    m = Sequential([
        conv(3, (3, 3), padding="same", strides=(2, 2), input_shape=x),
        conv(2, (2, 4), padding="same"),
        L.MaxPooling2D((3, 2), strides=(2, 1), **pool),
        L.AveragePooling2D((2, 2), strides=(1, 1), **pool),
        L.Flatten(), L.Dense(1),
    ])
    m.compile("sgd", "mse")
    return m, [f32(6, 2, *x)], [f32(7, 4, *x)], [f32(8, 4, 1)]


@model(one=False)
def activity():
    m = Sequential([
        L.Dense(4, activation="tanh", activity_regularizer="l2", input_dim=3),
        L.ActivityRegularization(l1=0.1, l2=0.2), L.Dense(2)])
    m.compile("sgd", "mse")
    return m, [f32(6, 2, 3)], [f32(7, 4, 3)], [f32(8, 4, 2)]


@model()
def sequence_convs():
    layers = [conv(3, 3, padding="same", activation="relu", input_shape=(8, 2)),
              conv(2, 2, strides=2), L.Flatten(), L.Dense(2)]
    m = Sequential(layers)
    m.compile(keras.optimizers.SGD(lr=0.1, nesterov=True, momentum=0.5), "mse")
    return m, [f32(9, 3, 8, 2)], [f32(10, 5, 8, 2)], [f32(11, 5, 2)]


def volume_model(channels_first):
    first(channels_first)
    x = spatial(channels_first, 4, 4, 5, 2)
    m = Sequential([conv(2, (2, 2, 3), activation="tanh", input_shape=x),
                    L.AveragePooling3D((1, 2, 2)), L.Flatten(), L.Dense(1)])
    m.compile(keras.optimizers.SGD(lr=0.05), "mse")
    return m, [f32(12, 2, *x)], [f32(13, 4, *x)], [f32(14, 4, 1)]


@model(tensorflow=False)
def volumes_first():
    return volume_model(True)


@model(since=(1, 1))
def volumes_last():
    return volume_model(False)


def norm_model(channels_first, mode=0):
    first(channels_first)
    x = spatial(channels_first, 3, 4, 2)
    axis = 1 if channels_first else -1
    words = {"mode": mode} if ONE else {}
    m = Sequential([
        conv(3, (2, 2), use_bias=False, input_shape=x),
        L.BatchNormalization(axis=axis, momentum=0.8, **words),
        L.Activation("relu"),
        L.Flatten(),
        L.Dense(4),
        L.BatchNormalization(epsilon=0.01, **words),
        L.Dense(2),
    ])
    # A bias before the normalization has no gradient but noise, which Adam blows up.
    m.compile(keras.optimizers.SGD(lr=0.05, momentum=0.9), "mse")
    return m, [f32(15, 3, *x)], [f32(16, 8, *x)], [f32(17, 8, 2)]


@model(tensorflow=False)
def norms_first():
    return norm_model(True)


@model()
def norms_last():
    return norm_model(False)


@model(one=False)
def norms_forgetting():
    """Every rank and axis, moving averages of the last batch alone."""
    from keras.layers import Input

    first(False)
    shapes = [(4,), (5, 3), (2, 3, 4), (2, 2, 3, 4)]
    inputs = [Input(shape) for shape in shapes]
    outputs = []
    for i, x in enumerate(inputs):
        for axis in range(1, len(shapes[i]) + 1):
            y = L.BatchNormalization(axis=axis, momentum=0.0, epsilon=0.1)(x)
            outputs.append(L.Flatten()(y) if i else y)
    m = Model(inputs, outputs)
    m.compile("sgd", "mse")
    targets = [f32(30 + i, 6, int(o.shape[-1]) if not hasattr(o, "_keras_shape")
                   else o._keras_shape[-1]) for i, o in enumerate(outputs)]
    return (m, [f32(i, 3, *s) for i, s in enumerate(shapes)],
            [f32(10 + i, 6, *s) for i, s in enumerate(shapes)], targets)


@model(one=False)
def norms_frozen():
    """Normalization that doesn't train."""
    m = Sequential([L.Dense(4, input_dim=3), L.BatchNormalization(trainable=False, momentum=0.0),
                    L.Dense(2)])
    m.compile("sgd", "mse")
    return m, [f32(15, 3, 3)], [f32(16, 8, 3)], [f32(17, 8, 2)]


@model(since=(1, 1))
def volumes_same():
    """Poolings of volumes: Theano pads otherwise than TensorFlow."""
    first(THEANO)
    x = spatial(THEANO, 5, 6, 4, 2)
    pool = {"border_mode": "same"} if ONE else {"padding": "same"}
    m = Sequential([L.MaxPooling3D((2, 3, 2), strides=(1, 2, 2), input_shape=x, **pool),
                    L.AveragePooling3D((3, 2, 2), strides=(2, 1, 1), **pool),
                    L.Flatten(), L.Dense(1)])
    m.compile("sgd", "mse")
    return m, [f32(6, 2, *x)], [f32(7, 4, *x)], [f32(8, 4, 1)]


@model(two=False)
def norms_per_sample():
    m = Sequential([L.Dense(4, input_dim=3), L.BatchNormalization(mode=1), L.Dense(2)])
    m.compile("sgd", "mse")
    return m, [f32(15, 3, 3)], [f32(16, 8, 3)], [f32(17, 8, 2)]


@model(two=False)
def norms_per_batch():
    m = Sequential([L.Dense(4, input_dim=3), L.BatchNormalization(mode=2), L.Dense(2)])
    m.compile("sgd", "mse")
    return m, [f32(15, 3, 3)], [f32(16, 8, 3)], [f32(17, 8, 2)]


def recurrent_model(cls, train=True, **kw):
    first(False)
    if ONE:
        layer = cls(4, return_sequences=True, **kw)
        last = cls(3, go_backwards=True, init="uniform", inner_init="glorot_uniform",
                   inner_activation="sigmoid", **kw) if cls is not L.SimpleRNN else cls(3, **kw)
    else:
        layer = cls(4, return_sequences=True, **kw)
        last = cls(3, go_backwards=True, recurrent_activation="sigmoid", **kw) \
            if cls is not L.SimpleRNN else cls(3, **kw)
    m = Sequential([L.Embedding(9, 5, input_length=6, mask_zero=True), layer, last, L.Dense(1)])
    m.compile(keras.optimizers.Adadelta(), "mse")
    x, t = ids(20, 9, 3, 6), ids(21, 9, 5, 6)
    x[0, 4:] = 0
    return m, [x], [t], [f32(22, 5, 1)]


@model()
def lstm():
    return recurrent_model(L.LSTM, **({"consume_less": "cpu"} if ONE else {}))


@model()
def gru():
    return recurrent_model(L.GRU, **({"consume_less": "mem"} if ONE else {}))


@model()
def simple_rnn():
    return recurrent_model(L.SimpleRNN)


@model(two=False, since=(1, 2))
def lstm_gpu():
    return recurrent_model(L.LSTM, consume_less="gpu")


@model(two=False, since=(1, 2))
def gru_gpu():
    return recurrent_model(L.GRU, consume_less="gpu")


@model(since=(2, 1), one=False, tensorflow=False)
def gru_after():
    return recurrent_model(L.GRU, reset_after=True)


@model()
def wrapped():
    first(False)
    D = L.Dense
    m = Sequential([
        L.TimeDistributed(conv(2, (2, 2), activation="relu"), input_shape=(4, 3, 3, 1)),
        L.TimeDistributed(L.Flatten()),
        L.Bidirectional(L.LSTM(3, return_sequences=True), merge_mode="concat"),
        L.Bidirectional(L.GRU(2, return_sequences=True), merge_mode="sum"),
        L.TimeDistributed(D(2)),
    ])
    m.compile(keras.optimizers.SGD(lr=0.1, momentum=0.5), "mse")
    return m, [f32(23, 2, 4, 3, 3, 1)], [f32(24, 4, 4, 3, 3, 1)], [f32(25, 4, 4, 2)]


@model(since=(1, 2))
def conv_lstm():
    first(False)
    kw = {"nb_row": 2, "nb_col": 2} if ONE else {"kernel_size": (2, 2)}
    key = {"nb_filter": 2} if ONE else {"filters": 2}
    pad = {"border_mode": "same"} if ONE else {"padding": "same"}
    kw.update(key)
    kw.update(pad)
    m = Sequential([L.ConvLSTM2D(input_shape=(3, 4, 4, 1), **kw), L.Flatten(), L.Dense(1)])
    m.compile("sgd", "mse")
    return m, [f32(26, 2, 3, 4, 4, 1)], [f32(27, 4, 3, 4, 4, 1)], [f32(28, 4, 1)]


@model(since=(1, 2), tensorflow=False)
def conv_lstm_first():
    first(True)
    kw = {"nb_row": 2, "nb_col": 3} if ONE else {"kernel_size": (2, 3)}
    kw.update({"nb_filter": 2} if ONE else {"filters": 2})
    m = Sequential([L.ConvLSTM2D(input_shape=(3, 1, 4, 4), **kw), L.Flatten(), L.Dense(1)])
    m.compile("sgd", "mse")
    return m, [f32(26, 2, 3, 1, 4, 4)], [f32(27, 4, 3, 1, 4, 4)], [f32(28, 4, 1)]


@model()
def local():
    first(False)
    if ONE:
        layers = [L.LocallyConnected2D(2, 2, 2, input_shape=(4, 4, 2)), L.Flatten(),
                  L.Reshape((6, 3)), L.LocallyConnected1D(2, 2, activation="tanh")]
    else:
        layers = [L.LocallyConnected2D(2, (2, 2), input_shape=(4, 4, 2)), L.Flatten(),
                  L.Reshape((6, 3)), L.LocallyConnected1D(2, 2, activation="tanh")]
    m = Sequential(layers + [L.Flatten(), L.Dense(1)])
    m.compile("sgd", "mse")
    return m, [f32(29, 2, 4, 4, 2)], [f32(30, 4, 4, 4, 2)], [f32(31, 4, 1)]


@model(tensorflow=False)
def local_first():
    first(True)
    k = (2, 2) if ONE else ((2, 2),)
    m = Sequential([L.LocallyConnected2D(3, *k, input_shape=(2, 4, 3)), L.Flatten(), L.Dense(1)])
    m.compile("sgd", "mse")
    return m, [f32(29, 2, 2, 4, 3)], [f32(30, 4, 2, 4, 3)], [f32(31, 4, 1)]


def _separable(channels_first):
    first(channels_first)
    x = spatial(channels_first, 5, 5, 2)
    if ONE:
        a = L.SeparableConvolution2D(3, 2, 2, depth_multiplier=2, activation="relu", input_shape=x)
    else:
        a = L.SeparableConv2D(3, (2, 2), depth_multiplier=2, activation="relu", input_shape=x)
    m = Sequential([a, L.Flatten(), L.Dense(1)])
    m.compile("adam", "mse")
    return m, [f32(32, 2, *x)], [f32(33, 4, *x)], [f32(34, 4, 1)]


@model(theano=False)
def separable_last():
    return _separable(False)


@model(one=False, since=(2, 2), theano=False)
def depthwise():
    first(False)
    m = Sequential([L.DepthwiseConv2D((2, 2), depth_multiplier=2, input_shape=(4, 4, 3)),
                    L.Flatten(), L.Dense(1)])
    m.compile("adam", "mse")
    return m, [f32(32, 2, 4, 4, 3)], [f32(33, 4, 4, 4, 3)], [f32(34, 4, 1)]


@model(since=(1, 2))
def shapes():
    first(False)
    m = Sequential([
        L.Cropping2D(((1, 0), (0, 1)), input_shape=(5, 5, 2)),
        L.Permute((2, 1, 3)), L.Reshape((8, 4)), L.ZeroPadding1D(1), L.Cropping1D((1, 0)),
        L.UpSampling1D(2), L.MaxPooling1D(2), L.GlobalAveragePooling1D(),
        L.RepeatVector(3), L.GlobalMaxPooling1D(), L.Dense(2),
    ])
    m.compile("sgd", "mse")
    return m, [f32(35, 2, 5, 5, 2)], [f32(36, 4, 5, 5, 2)], [f32(37, 4, 2)]


@model()
def activations():
    layers = [L.Dense(6, input_dim=4), L.LeakyReLU(0.2), L.Dense(5), L.PReLU(), L.Dense(4),
              L.ELU(0.7), L.Dense(6), L.ThresholdedReLU(0.1), L.Dense(3, activation="softplus")]
    if ONE:
        layers += [L.ParametricSoftplus(0.3, 4.0), L.Dense(3), L.SReLU()]
    m = Sequential(layers + [L.Dense(2, activation="sigmoid")])
    m.compile("rmsprop", "binary_crossentropy")
    return m, [f32(38, 3, 4)], [f32(39, 6, 4)], [R(40).randint(0, 2, (6, 2)).astype("float32")]


@model(train=False)
def noise():
    words = [L.Dropout(0.3, input_shape=(4, 3)), L.GaussianNoise(0.2), L.GaussianDropout(0.3)]
    if VERSION >= (1, 2):
        words.append(L.SpatialDropout1D(0.2))
    m = Sequential(words + [L.Flatten(), L.Dense(1)])
    m.compile("sgd", "mse")
    return m, [f32(41, 3, 4, 3)], [], []


@model(two=False)
def lost_layers():
    m = Sequential([L.MaxoutDense(4, nb_feature=3, input_dim=3), L.Highway(activation="tanh"),
                    L.Dense(2)])
    m.compile("adam", "mse")
    return m, [f32(42, 3, 3)], [f32(43, 5, 3)], [f32(44, 5, 2)]


@model(two=False)
def time_dense():
    m = Sequential([L.TimeDistributedDense(3, input_shape=(4, 2)),
                    L.ActivityRegularization(l1=0.01, l2=0.02), L.Flatten(),
                    L.Dense(1)])
    m.compile("sgd", "mse")
    return m, [f32(45, 3, 4, 2)], [f32(46, 5, 4, 2)], [f32(47, 5, 1)]


@model(two=False, train=False)
def embedding_dropout():
    m = Sequential([L.Embedding(9, 5, input_length=6, dropout=0.2), L.Flatten(), L.Dense(1)])
    m.compile("sgd", "mse")
    return m, [ids(20, 9, 3, 6)], [], []


def branch(dim, out):
    return Sequential([L.Dense(out, input_dim=dim, activation="tanh"), L.Dense(out)])


def merged_sequential(mode, **kw):
    left, right = branch(3, 4), branch(2, 4)
    m = Sequential([L.Merge([left, right], mode=mode, **kw), L.Dense(2)])
    m.compile("adam", "mse")
    return m, [f32(50, 3, 3), f32(51, 3, 2)], [f32(52, 5, 3), f32(53, 5, 2)], [f32(54, 5, 2)]


@model(two=False)
def merge_sum():
    return merged_sequential("sum")


@model(two=False)
def merge_mul():
    return merged_sequential("mul")


@model(two=False)
def merge_concat():
    return merged_sequential("concat")


@model(two=False)
def merge_ave():
    return merged_sequential("ave")


@model(two=False)
def merge_max():
    return merged_sequential("max")


@model(two=False)
def merge_dot():
    return merged_sequential("dot", dot_axes=1)


@model(two=False)
def merge_cos():
    return merged_sequential("cos", dot_axes=1)


@model()
def functional():
    first(False)
    from keras.layers import Input

    a, b = Input((5,), name="a"), Input((5,), name="b")
    shared = L.Dense(4, activation="tanh", name="shared")
    inner_in = Input((4,), name="inner_in")
    inner = Model(inner_in, L.Dense(3, name="inner_d")(inner_in), name="inner")
    u, v = shared(a), shared(b)
    seq = Sequential([L.Dense(3, input_dim=4, activation="tanh"), L.BatchNormalization()])
    if ONE:
        from keras.layers import merge

        c = merge([inner(u), inner(v), seq(u)], mode="concat", concat_axis=-1)
        d = merge([u, v], mode="dot", dot_axes=1)
        e = merge([u, v], mode="cos", dot_axes=1)
        c = merge([c, L.Reshape((1,))(d), L.Reshape((1,))(e)], mode="concat")
    else:
        c = L.concatenate([inner(u), inner(v), seq(u)])
        d, e = L.dot([u, v], axes=1), L.dot([u, v], axes=1, normalize=True)
        c = L.concatenate([c, d, e])
    o1, o2 = L.Dense(2, name="o1")(c), L.Dense(1, activation="sigmoid", name="o2")(u)
    m = Model([a, b], [o1, o2])
    m.compile("adam", {"o1": "mse", "o2": "binary_crossentropy"},
              loss_weights={"o1": 1.0, "o2": 0.5})
    return (m, [f32(55, 3, 5), f32(56, 3, 5)], [f32(57, 6, 5), f32(58, 6, 5)],
            [f32(59, 6, 2), R(60).randint(0, 2, (6, 1)).astype("float32")])


@model()
def nested_images():
    """Convolutions and recurrences inside networks inside networks."""
    first(THEANO)
    from keras.layers import Input

    x = spatial(THEANO, 5, 5, 2)
    inner = Sequential([conv(2, (2, 2), use_bias=False, input_shape=x),
                        L.BatchNormalization(axis=1 if THEANO else -1), L.Flatten()])
    image, words = Input(x), Input((4, 3))
    again = Input((4, 3))
    reader = Model(again, L.LSTM(3)(again))
    both = [inner(image), reader(words)]
    if ONE:
        from keras.layers import merge

        c = merge(both, mode="concat")
    else:
        c = L.concatenate(both)
    m = Model([image, words], L.Dense(2)(c))
    m.compile("adam", "mse")
    return (m, [f32(61, 2, *x), f32(62, 2, 4, 3)], [f32(63, 5, *x), f32(64, 5, 4, 3)],
            [f32(65, 5, 2)])


@model()
def frozen():
    """Weights that don't train, and their places among the optimizer's."""
    m = Sequential([L.Dense(4, input_dim=3, trainable=False), L.BatchNormalization(),
                    L.Dense(3, activation="relu"), L.Dense(1)])
    m.compile("adam", "mse")
    return m, [f32(66, 3, 3)], [f32(67, 6, 3)], [f32(68, 6, 1)]


def losses_of(loss, classes=False, optimizer="sgd", last="sigmoid"):
    m = Sequential([L.Dense(4, input_dim=3, activation="tanh"), L.Dense(3, activation=last)])
    m.compile(optimizer, loss)
    y = R(71).randint(0, 3, (6, 1)).astype("float32") if classes \
        else R(71).uniform(0.1, 0.9, (6, 3)).astype("float32")
    return m, [f32(69, 3, 3)], [f32(70, 6, 3)], [y]


LOSSES = ["mse", "mae", "mape", "msle", "squared_hinge", "hinge", "binary_crossentropy",
          "kld", "poisson", "cosine_proximity"]
if not ONE:
    LOSSES += ["categorical_hinge", "logcosh"]


def _loss_model(name):
    def function():
        return losses_of(name)

    function.__name__ = "loss_" + name
    return function


for _name in LOSSES:
    model()(_loss_model(_name))


@model(since=(1, 0))
def loss_sparse():
    return losses_of("sparse_categorical_crossentropy", True, last="softmax")


@model()
def clipped():
    return losses_of("mse", optimizer=keras.optimizers.SGD(lr=0.5, clipnorm=0.01))


@model()
def clipped_value():
    return losses_of("mse", optimizer=keras.optimizers.Adam(lr=0.1, clipvalue=0.001))


@model()
def adamax():
    return losses_of("mse", optimizer=keras.optimizers.Adamax(lr=0.01))


@model()
def nadam():
    return losses_of("mse", optimizer=keras.optimizers.Nadam(lr=0.01))


@model(one=False, since=(2, 2), theano=False)
def amsgrad():
    return losses_of("mse", optimizer=keras.optimizers.Adam(lr=0.1, amsgrad=True))


@model(one=False)
def masked_loss():
    m = Sequential([L.Masking(0.0, input_shape=(4, 3)), L.LSTM(3, return_sequences=True),
                    L.TimeDistributed(L.Dense(1))])
    m.compile("sgd", "mse")
    x, t = f32(72, 3, 4, 3), f32(73, 5, 4, 3)
    x[0, 2:] = 0
    t[1, 1:] = 0
    t[3, 3:] = 0
    return m, [x], [t], [f32(74, 5, 4, 1)]


@model(two=False)
def masked_loss_1():
    m = Sequential([L.Masking(0.0, input_shape=(4, 3)), L.LSTM(3, return_sequences=True),
                    L.TimeDistributedDense(1)])
    m.compile("sgd", "mse")
    x, t = f32(72, 3, 4, 3), f32(73, 5, 4, 3)
    x[0, 2:] = 0
    t[1, 1:] = 0
    t[3, 3:] = 0
    return m, [x], [t], [f32(74, 5, 4, 1)]


@model(one=False)
def stateful_and_states():
    from keras.layers import Input

    x = Input((4, 3))
    y, h, c = L.LSTM(3, return_state=True, return_sequences=True)(x)
    z = L.LSTM(3)(y, initial_state=[h, c])
    m = Model(x, L.Dense(1)(z))
    m.compile("adam", "mse")
    return m, [f32(75, 3, 4, 3)], [f32(76, 5, 4, 3)], [f32(77, 5, 1)]


@model(one=False, since=(2, 1))
def cells():
    m = Sequential([L.RNN([L.LSTMCell(3), L.GRUCell(2)], input_shape=(4, 3)), L.Dense(1)])
    m.compile("adam", "mse")
    return m, [f32(75, 3, 4, 3)], [f32(76, 5, 4, 3)], [f32(77, 5, 1)]


# ------------------------------------------------------------------ writing


def one(values):
    return values[0] if len(values) == 1 else values


def many(value):
    return value if isinstance(value, list) else [value]


def write(function, train, folder):
    np.random.seed(1)
    first(False)
    m, given, batch, targets = function()
    rng = R(7)
    m.set_weights([rng.uniform(0.1 if w.ndim == 1 else -0.7, 0.7, w.shape).astype(w.dtype)
                   for w in m.get_weights()])
    if train:
        m.train_on_batch(one(batch), one(targets))
    name = function.__name__
    m.save(os.path.join(folder, name + ".h5"))
    arrays = {"in_%d" % i: v for i, v in enumerate(given)}
    arrays.update({"out_%d" % i: v for i, v in enumerate(many(m.predict(one(given))))})
    if train:
        arrays.update({"tx_%d" % i: v for i, v in enumerate(batch)})
        arrays.update({"ty_%d" % i: v for i, v in enumerate(targets)})
        m.train_on_batch(one(batch), one(targets))
        arrays.update({"next_%d" % i: v for i, v in enumerate(many(m.predict(one(given))))})
    np.savez(os.path.join(folder, name + ".npz"), **arrays)


def main(out, names):
    folder = os.path.join(out, "%s-%s" % (keras.__version__, WRITER or K.backend()))
    if not os.path.isdir(folder):
        os.makedirs(folder)
    for function, train in MODELS:
        if names and function.__name__ not in names:
            continue
        try:
            write(function, train, folder)
        except Exception as error:  # Not every version can make every model.
            lines = traceback.format_exc().splitlines()
            print("not made:", function.__name__, "|", str(error)[:160], "|", lines[-3][:120])
    print(folder, len(os.listdir(folder)) // 2, "models")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
