"""Writes HDF5 files of tf.keras, TensorFlow 1.15 to 2.21, and what it computed.

    python make.py OUT_DIR [NAME ...]

Runs in a Python of that TensorFlow's time; where `tf.keras` is Keras 3, tf_keras must
be installed. Files go to OUT_DIR/<TensorFlow's version>/: `<name>.h5`, a compiled model
saved after one training step, and `<name>.npz`: inputs `in_<k>`, `predict` of them
`out_<k>`, a training batch `tx_<k>`, `ty_<k>` (with weights `tw_0` where the model has
them), `test_on_batch` of that batch `test_0` and, after training on it, `predict` of the
inputs `next_<k>`. Each output of a model is one case, a branch from the same inputs;
`names_0` has their names. `REGRAFT_V2=1` turns TensorFlow 1.15 to its version 2.

`corpus.py` beside packs them.
"""

import os
import sys
import traceback

import numpy as np
import tensorflow as tf

TF = tuple(int(part) for part in tf.__version__.split(".")[:2])
V2 = TF >= (2, 0) or bool(os.environ.get("REGRAFT_V2"))
if V2 and TF < (2, 0):
    tf.compat.v1.enable_v2_behavior()
if TF >= (2, 16):
    import tf_keras as keras
else:
    keras = tf.keras
K, L = keras.backend, keras.layers
R = np.random.RandomState
MODELS = []


def model(since=(1, 15), until=(9, 0), v1=True):
    def add(function):
        if since <= TF < until and (V2 or v1):
            MODELS.append(function)
        return function

    return add


def f32(seed, *shape):
    return R(seed).uniform(-1, 1, shape).astype("float32")


def experimental(name):
    """A preprocessing layer, under the name that its TensorFlow has for it."""
    if hasattr(L, name):
        return getattr(L, name)
    return getattr(L.experimental.preprocessing, name)


class Branches:
    """One model, whose every output is a case of its own."""

    def __init__(self, *shapes, **batch):
        self.inputs = [keras.Input(s, name="in%d" % i, **batch) for i, s in enumerate(shapes)]
        self.shapes = shapes
        self.outputs = []
        self.names = []
        self.missing = []

    def add(self, name, make, head=True):
        try:
            x = make(*self.inputs)
        except Exception as error:  # Not every version can make every layer.
            self.missing.append((name, str(error)[:80]))
            return
        if head:
            if len(x.shape) > 2:
                x = L.Flatten(name=name + "_flat")(x)
            x = L.Dense(2, name=name + "_head")(x)
        self.outputs.append(x)
        self.names.append(name)

    def done(self, batch=4, loss="mse", optimizer=None, **kw):
        m = keras.Model(self.inputs, self.outputs)
        m.compile(optimizer or keras.optimizers.SGD(0.05), loss, **kw)
        given = [f32(i, 3, *s) for i, s in enumerate(self.shapes)]
        x = [f32(10 + i, batch, *s) for i, s in enumerate(self.shapes)]
        y = [f32(20 + i, batch, *o.shape[1:]) for i, o in enumerate(self.outputs)]
        if self.missing:
            print("  without", self.missing)
        return m, given, x, y, self.names


# ------------------------------------------------------------------ layers


@model()
def vectors():
    b = Branches((4,))
    for name in ("relu", "tanh", "sigmoid", "hard_sigmoid", "softplus", "softsign", "elu",
                 "selu", "exponential", "softmax", "swish", "gelu"):
        b.add(name, lambda x, a=name: L.Dense(3, activation=a, name=a + "_d")(x))
    b.add("leaky", lambda x: L.LeakyReLU(0.2, name="leaky")(x))
    b.add("prelu", lambda x: L.PReLU(name="prelu")(x))
    b.add("elu_layer", lambda x: L.ELU(0.7, name="elu_layer")(x))
    b.add("threshold", lambda x: L.ThresholdedReLU(0.1, name="threshold")(x))
    b.add("relu_layer", lambda x: L.ReLU(0.8, 0.1, 0.2, name="relu_layer")(x))
    b.add("softmax_layer", lambda x: L.Softmax(name="softmax_layer")(x))
    b.add("regularized", lambda x: L.Dense(
        3, kernel_regularizer=keras.regularizers.l1_l2(0.01, 0.02), bias_regularizer="l2",
        activity_regularizer="l1", kernel_constraint=keras.constraints.MaxNorm(0.8),
        bias_constraint="non_neg", name="regularized")(x))
    b.add("activity", lambda x: L.ActivityRegularization(0.1, 0.2, name="activity")(
        L.Dense(3, name="activity_d")(x)))
    b.add("unit_norm", lambda x: L.Dense(
        3, kernel_constraint=keras.constraints.UnitNorm(axis=0), name="unit_norm")(x))
    b.add("min_max", lambda x: L.Dense(
        3, kernel_constraint=keras.constraints.MinMaxNorm(0.3, 0.6, 0.5), name="min_max")(x))
    b.add("layer_norm", lambda x: L.LayerNormalization(name="layer_norm")(x))
    b.add("layer_norm_plain", lambda x: L.LayerNormalization(
        epsilon=0.1, center=False, scale=False, name="layer_norm_plain")(x))
    b.add("unit", lambda x: L.UnitNormalization(name="unit")(x))
    b.add("repeat", lambda x: L.Permute((2, 1), name="permute")(
        L.RepeatVector(3, name="repeat")(x)))
    b.add("rescaled", lambda x: experimental("Rescaling")(0.5, 0.1, name="rescaled")(x))
    b.add("einsum", lambda x: (
        L.EinsumDense if hasattr(L, "EinsumDense") else L.experimental.EinsumDense)(
            "ab,bc->ac", 3, bias_axes="c", activation="relu", name="einsum")(x))
    return b.done()


@model()
def merges():
    b = Branches((4,), (4,), (3, 4), (2, 4))
    for name in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"):
        b.add(name, lambda x, y, s, t, n=name: getattr(L, n)(name=n)([x, y]))
    b.add("dot", lambda x, y, s, t: L.Dot(1, name="dot")([x, y]))
    b.add("cosine", lambda x, y, s, t: L.Dot(1, normalize=True, name="cosine")([x, y]))
    b.add("dot_axes", lambda x, y, s, t: L.Dot((2, 2), name="dot_axes")([s, t]))
    b.add("joined", lambda x, y, s, t: L.Concatenate(axis=1, name="joined")([s, t]))
    b.add("attention", lambda x, y, s, t: L.Attention(
        use_scale=True, name="attention")([s, t]))
    # Later ones took the word too, and left it out of their files.
    if TF < (2, 10):
        b.add("attention_causal", lambda x, y, s, t: L.Attention(
            causal=True, name="attention_causal")([s, t]))
    else:
        b.add("attention_causal", lambda x, y, s, t: L.Attention(
            name="attention_causal")([s, t], use_causal_mask=True))
    b.add("additive", lambda x, y, s, t: L.AdditiveAttention(name="additive")([s, t]))
    b.add("heads", lambda x, y, s, t: L.MultiHeadAttention(2, 3, name="heads")(s, t))
    b.add("heads_axes", lambda x, y, s, t: L.MultiHeadAttention(
        2, 3, value_dim=2, output_shape=5, use_bias=False, name="heads_axes")(s, t, s[:, :2]))
    return b.done()


@model()
def norms():
    """Batch normalization at every rank and axis; the moving averages keep the last batch."""
    b = Branches((4,), (5, 3), (3, 4, 2), (2, 3, 2, 2))
    for rank in range(4):
        for axis in range(1, rank + 2):
            if TF < (2, 0) and axis == 1 and rank > 1:
                continue  # TensorFlow 1 has no such kernel on a processor.
            n = "bn%d_%d" % (rank, axis)
            b.add(n, lambda *x, r=rank, a=axis, n=n: L.BatchNormalization(
                a, momentum=0.0, name=n)(x[r]))
    b.add("plain", lambda a, s, i, v: L.BatchNormalization(
        center=False, scale=False, epsilon=0.1, name="plain")(i))
    b.add("momentum", lambda a, s, i, v: L.BatchNormalization(momentum=0.7, name="momentum")(a))
    b.add("frozen", lambda a, s, i, v: L.BatchNormalization(trainable=False, name="frozen")(i))
    b.add("layer_axes", lambda a, s, i, v: L.LayerNormalization([1, 2], name="layer_axes")(s))
    b.add("layer_first", lambda a, s, i, v: L.LayerNormalization(1, name="layer_first")(i))
    b.add("groups", lambda a, s, i, v: L.GroupNormalization(2, name="groups")(v))
    return b.done()


@model()
def renorms():
    b = Branches((4,), (3, 4, 2))
    b.add("renorm", lambda a, i: L.BatchNormalization(renorm=True, name="renorm")(a))
    b.add("renorm_images", lambda a, i: L.BatchNormalization(
        renorm=True, renorm_momentum=0.5, name="renorm_images",
        renorm_clipping={"rmax": 1.5, "rmin": 0.5, "dmax": 0.5})(i))
    return b.done()


@model()
def virtual_batches():
    b = Branches((4,), (3, 4, 2))
    b.add("virtual", lambda a, i: L.BatchNormalization(virtual_batch_size=2, name="virtual")(a))
    b.add("virtual_images", lambda a, i: L.BatchNormalization(
        virtual_batch_size=2, name="virtual_images")(i))
    # `predict` of three has no whole number of virtual batches.
    m, given, x, y, names = b.done()
    return m, [v[:2] for v in given], x, y, names


@model()
def sequences():
    b = Branches((6, 3))
    same = {"padding": "same"}
    b.add("conv", lambda x: L.Conv1D(2, 3, strides=2, activation="relu", name="conv", **same)(x))
    b.add("causal", lambda x: L.Conv1D(2, 2, padding="causal", dilation_rate=2, name="causal")(x))
    b.add("even", lambda x: L.Conv1D(2, 4, name="even", **same)(x))
    b.add("grouped", lambda x: L.Conv1D(6, 2, groups=3, name="grouped")(x))
    b.add("separable", lambda x: L.SeparableConv1D(
        2, 3, depth_multiplier=2, name="separable", **same)(x))
    b.add("depthwise", lambda x: L.DepthwiseConv1D(3, name="depthwise", **same)(x))
    b.add("transposed", lambda x: L.Conv1DTranspose(
        2, 3, strides=2, name="transposed", **same)(x))
    for i in (1, 2, 3):
        n = "local_%d" % i
        b.add(n, lambda x, i=i, n=n: L.LocallyConnected1D(2, 2, implementation=i, name=n)(x))
    b.add("max", lambda x: L.MaxPooling1D(3, 2, name="max", **same)(x))
    b.add("average", lambda x: L.AveragePooling1D(4, 3, name="average", **same)(x))
    b.add("global_max", lambda x: L.GlobalMaxPooling1D(name="global_max")(x))
    b.add("global_average", lambda x: L.GlobalAveragePooling1D(name="global_average")(x))
    b.add("up", lambda x: L.UpSampling1D(2, name="up")(x))
    b.add("zeros", lambda x: L.ZeroPadding1D((1, 2), name="zeros")(x))
    b.add("cropped", lambda x: L.Cropping1D((1, 2), name="cropped")(x))
    b.add("each", lambda x: L.TimeDistributed(L.Dense(2, name="each_d"), name="each")(x))
    return b.done()


def _recurrent(x, s=""):
    """Branches over sequences, masked or not."""
    found = {}
    for cls in ("LSTM", "GRU", "SimpleRNN"):
        new = lambda n, c=cls, **kw: getattr(L, c)(3, name=n + s, **kw)  # noqa: E731
        found[cls + "_"] = new(cls + "_")(x)
        found[cls + "_all"] = new(cls + "_all", return_sequences=True, go_backwards=True)(x)
        if cls != "SimpleRNN":
            found[cls + "_hard"] = new(
                cls + "_hard", recurrent_activation="hard_sigmoid", activation="relu",
                implementation=1)(x)
    found["LSTM_forget"] = L.LSTM(3, unit_forget_bias=False, name="LSTM_forget" + s)(x)
    found["GRU_before"] = L.GRU(3, reset_after=False, name="GRU_before" + s)(x)
    found["GRU_after"] = L.GRU(3, reset_after=True, name="GRU_after" + s)(x)
    n = "both" + s
    found["both"] = L.Bidirectional(
        L.LSTM(2, return_sequences=True, name=n + "_l"), merge_mode="sum", name=n)(x)
    n = "both_other" + s
    found["both_other"] = L.Bidirectional(
        L.LSTM(2, name=n + "_f"), backward_layer=L.GRU(2, go_backwards=True, name=n + "_b"),
        name=n)(x)
    found["cells"] = L.RNN([L.LSTMCell(2), L.GRUCell(3)], name="cells" + s)(x)
    return found


def _add_all(b, found):
    for name in sorted(found):
        b.add(name, lambda *x, n=name: found[n])


@model()
def recurrent():
    b = Branches((4, 3))
    _add_all(b, _recurrent(b.inputs[0]))
    return b.done()


@model()
def recurrent_masked():
    b = Branches((4, 3))
    _add_all(b, _recurrent(L.Masking(0.0, name="masking")(b.inputs[0]), "_m"))
    m, given, x, y, names = b.done()
    # cuDNN's way takes only masks on the right; others take any.
    given[0][0, 2:] = 0
    given[0][1, 3:] = 0
    x[0][2, 1:] = 0
    return m, given, x, y, names


@model()
def masked():
    """What layers other than recurrent ones make of a mask."""
    b = Branches((4, 3), (4, 3))
    masking, other = L.Masking(0.0, name="masking"), L.Masking(0.0, name="other")
    try:
        x, y = masking(b.inputs[0]), other(b.inputs[1])
    except Exception:
        raise
    lstm = lambda n, v: L.LSTM(2, name=n + "_l")(v)  # noqa: E731
    b.add("average", lambda *_: L.GlobalAveragePooling1D(name="average")(x))
    b.add("maximum", lambda *_: L.GlobalMaxPooling1D(name="maximum")(x))
    b.add("norm", lambda *_: lstm("norm", L.BatchNormalization(momentum=0.0, name="norm")(x)))
    b.add("layer_norm", lambda *_: lstm("layer_norm", L.LayerNormalization(name="layer_norm")(x)))
    b.add("softmax", lambda *_: lstm("softmax", L.Softmax(name="softmax")(x)))
    b.add("dense", lambda *_: lstm("dense", L.Dense(2, activation="tanh", name="dense")(x)))
    b.add("each", lambda *_: lstm("each", L.TimeDistributed(
        L.Dense(2, name="each_d"), name="each")(x)))
    b.add("added", lambda *_: lstm("added", L.Add(name="added")([x, y])))
    b.add("joined", lambda *_: lstm("joined", L.Concatenate(name="joined")([x, y])))
    b.add("joined_time", lambda *_: lstm("joined_time", L.Concatenate(
        axis=1, name="joined_time")([x, y])))
    b.add("half", lambda *_: lstm("half", L.Concatenate(name="half")([x, b.inputs[1]])))
    b.add("conv", lambda *_: lstm("conv", L.Conv1D(
        2, 2, padding="same", name="conv")(x)))
    b.add("activation", lambda *_: lstm("activation", L.Activation("tanh", name="activation")(x)))
    b.add("reshaped", lambda *_: lstm("reshaped", L.Reshape((2, 6), name="reshaped")(x)))
    b.add("padded", lambda *_: lstm("padded", L.ZeroPadding1D(1, name="padded")(x)))
    b.add("permuted", lambda *_: lstm("permuted", L.Permute((2, 1), name="permuted")(x)))
    b.add("attention", lambda *_: lstm("attention", L.Attention(name="attention")([x, y])))
    b.add("additive", lambda *_: lstm("additive", L.AdditiveAttention(name="additive")([x, y])))
    b.add("heads", lambda *_: lstm("heads", L.MultiHeadAttention(2, 3, name="heads")(x, y)))
    b.add("heads_causal", lambda *_: lstm("heads_causal", L.MultiHeadAttention(
        2, 3, name="heads_causal")(x, y, use_causal_mask=True)))
    b.add("flat", lambda *_: L.Flatten(name="flat")(x))
    b.add("scaled", lambda *_: lstm("scaled", experimental("Rescaling")(0.5, name="scaled")(x)))
    m, given, tx, ty, names = b.done()
    given[0][0, 2:] = 0
    given[0][1, 3:] = 0
    given[1][2, 1:] = 0
    tx[0][2, 1:] = 0
    tx[1][1, 3:] = 0
    return m, given, tx, ty, names


@model()
def embedded():
    """Masks of an Embedding, from which the loss of a sequence comes too."""
    x = keras.Input((5,), dtype="int32", name="ids")
    e = L.Embedding(9, 3, mask_zero=True, name="embedding")(x)
    y = L.Dense(2, name="head")(L.LSTM(3, return_sequences=True, name="lstm")(e))
    z = L.Dense(1, name="last")(L.GRU(3, name="gru")(e))
    m = keras.Model(x, [y, z])
    m.compile("sgd", ["mse", "mae"], loss_weights=[0.5, 2.0])
    given, batch = R(1).randint(1, 9, (3, 5)), R(2).randint(1, 9, (4, 5))
    given[0, 3:] = 0
    batch[1, 2:] = 0
    batch[3, 4:] = 0
    return m, [given], [batch], [f32(3, 4, 5, 2), f32(4, 4, 1)], ["head", "last"]


@model()
def images():
    b = Branches((5, 6, 2))
    same = {"padding": "same"}
    b.add("conv", lambda x: L.Conv2D(
        3, (3, 2), strides=(2, 1), activation="relu", name="conv", **same)(x))
    b.add("dilated", lambda x: L.Conv2D(2, 2, dilation_rate=(2, 1), name="dilated")(x))
    b.add("transposed", lambda x: L.Conv2DTranspose(
        2, 3, strides=2, output_padding=1, name="transposed")(x))
    b.add("transposed_same", lambda x: L.Conv2DTranspose(
        2, (2, 3), strides=(2, 1), name="transposed_same", **same)(x))
    b.add("separable", lambda x: L.SeparableConv2D(
        3, 2, depth_multiplier=2, name="separable", **same)(x))
    b.add("depthwise", lambda x: L.DepthwiseConv2D(
        3, strides=2, depth_multiplier=2, name="depthwise", **same)(x))
    b.add("depthwise_dilated", lambda x: L.DepthwiseConv2D(
        2, dilation_rate=2, name="depthwise_dilated")(x))
    for i in (1, 2, 3):
        n = "local_%d" % i
        b.add(n, lambda x, i=i, n=n: L.LocallyConnected2D(2, 2, implementation=i, name=n)(x))
    b.add("max", lambda x: L.MaxPooling2D((3, 2), 2, name="max", **same)(x))
    b.add("average", lambda x: L.AveragePooling2D((2, 3), 2, name="average", **same)(x))
    b.add("global_max", lambda x: L.GlobalMaxPooling2D(name="global_max")(x))
    b.add("global_average", lambda x: L.GlobalAveragePooling2D(name="global_average")(x))
    b.add("up", lambda x: L.UpSampling2D((2, 1), name="up")(x))
    b.add("up_bilinear", lambda x: L.UpSampling2D(
        2, interpolation="bilinear", name="up_bilinear")(x))
    b.add("zeros", lambda x: L.ZeroPadding2D(((1, 0), (0, 2)), name="zeros")(x))
    b.add("cropped", lambda x: L.Cropping2D(((1, 0), (1, 2)), name="cropped")(x))
    for way in ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5"):
        n = "resized_" + way
        b.add(n, lambda x, w=way, n=n: experimental("Resizing")(
            3, 9, interpolation=w, name=n)(x))
    b.add("resized_crop", lambda x: experimental("Resizing")(
        3, 4, crop_to_aspect_ratio=True, name="resized_crop")(x))
    b.add("center", lambda x: experimental("CenterCrop")(3, 4, name="center")(x))
    b.add("center_resized", lambda x: experimental("CenterCrop")(
        7, 4, name="center_resized")(x))
    return b.done()


@model(since=(2, 0))
def resizings():
    """Ways that TensorFlow alone has."""
    b = Branches((5, 6, 2))
    for way in ("area", "gaussian", "mitchellcubic"):
        n = "resized_" + way
        b.add(n, lambda x, w=way, n=n: experimental("Resizing")(
            3, 9, interpolation=w, name=n)(x))
    return b.done()


@model()
def preprocessing():
    """Layers that stand still when they don't train."""
    b = Branches((5, 6, 2), (3,))
    b.add("crop", lambda x, v: experimental("RandomCrop")(3, 4, name="crop")(x))
    b.add("crop_resized", lambda x, v: experimental("RandomCrop")(
        3, 9, name="crop_resized")(x))
    b.add("flip", lambda x, v: experimental("RandomFlip")(name="flip")(x))
    b.add("rotation", lambda x, v: experimental("RandomRotation")(0.2, name="rotation")(x))
    b.add("zoom", lambda x, v: experimental("RandomZoom")(0.2, name="zoom")(x))
    b.add("shift", lambda x, v: experimental("RandomTranslation")(0.1, 0.2, name="shift")(x))
    b.add("contrast", lambda x, v: experimental("RandomContrast")(0.2, name="contrast")(x))
    b.add("height", lambda x, v: L.GlobalMaxPooling2D(name="height_pool")(
        experimental("RandomHeight")(0.3, name="height")(x)))
    b.add("width", lambda x, v: L.GlobalMaxPooling2D(name="width_pool")(
        experimental("RandomWidth")(0.3, name="width")(x)))
    b.add("normal", lambda x, v: experimental("Normalization")(name="normal")(v))
    b.add("normal_all", lambda x, v: experimental("Normalization")(
        axis=None, name="normal_all")(v))
    m, given, x, y, names = b.done()
    return m, given, [], [], names


@model()
def volumes():
    b = Branches((4, 3, 4, 2))
    same = {"padding": "same"}
    b.add("conv", lambda x: L.Conv3D(2, (2, 1, 3), strides=(1, 2, 2), name="conv", **same)(x))
    b.add("transposed", lambda x: L.Conv3DTranspose(2, 2, strides=2, name="transposed")(x))
    b.add("max", lambda x: L.MaxPooling3D(2, name="max", **same)(x))
    b.add("average", lambda x: L.AveragePooling3D((3, 2, 2), 2, name="average", **same)(x))
    b.add("global_max", lambda x: L.GlobalMaxPooling3D(name="global_max")(x))
    b.add("global_average", lambda x: L.GlobalAveragePooling3D(name="global_average")(x))
    b.add("up", lambda x: L.UpSampling3D((1, 2, 1), name="up")(x))
    b.add("zeros", lambda x: L.ZeroPadding3D((1, 0, 2), name="zeros")(x))
    b.add("cropped", lambda x: L.Cropping3D((1, 1, 1), name="cropped")(x))
    return b.done()


@model()
def conv_lstms():
    b = Branches((3, 4, 4, 1), (3, 5, 2), (2, 3, 3, 3, 1))
    b.add("plain", lambda x, y, z: L.ConvLSTM2D(2, 2, name="plain")(x))
    b.add("same", lambda x, y, z: L.ConvLSTM2D(
        2, (2, 3), padding="same", strides=(2, 1), return_sequences=True, go_backwards=True,
        recurrent_activation="sigmoid", use_bias=False, name="same")(x))
    b.add("dilated", lambda x, y, z: L.ConvLSTM2D(
        2, 2, dilation_rate=2, unit_forget_bias=False, name="dilated")(x))
    b.add("both", lambda x, y, z: L.Bidirectional(
        L.ConvLSTM2D(2, 2, name="both_l"), name="both")(x))
    b.add("one", lambda x, y, z: L.ConvLSTM1D(2, 2, name="one")(y))
    b.add("three", lambda x, y, z: L.ConvLSTM3D(2, 2, name="three")(z))
    return b.done()


@model()
def stateful():
    x = keras.Input(batch_shape=(3, 4, 3), name="in0")
    y = L.LSTM(3, stateful=True, return_sequences=True, name="lstm")(x)
    y = L.GRU(2, stateful=True, name="gru")(y)
    m = keras.Model(x, L.Dense(1, name="head")(y))
    m.compile("sgd", "mse")
    return m, [f32(1, 3, 4, 3)], [f32(2, 3, 4, 3)], [f32(3, 3, 1)], ["head"]


@model(since=(2, 1), v1=False)
def shared_layers():
    """A layer in two networks, in wrappers and alone, and a cell in two recurrences."""
    kept, cell = L.Dense(3, name="kept"), L.LSTMCell(3, name="cell")
    both = L.Bidirectional(L.GRU(2), name="both")
    x = keras.Input((4, 3), name="in0")
    found = []
    for name in ("left", "right"):
        i = keras.Input((4, 3))
        y = L.Concatenate()([kept(L.RNN(cell)(i)), both(i)])
        found.append(keras.Model(i, y, name=name))
    wrapped = L.TimeDistributed(kept, name="wrapped")(x)
    last = L.RNN(L.StackedRNNCells([cell, L.GRUCell(2, name="other")]), name="last")(wrapped)
    y = L.Concatenate(name="all")([*(each(x) for each in found), last])
    m = keras.Model(x, L.Dense(1, name="head")(y))
    m.compile(keras.optimizers.Adam(0.1), "mse")
    return m, [f32(1, 3, 4, 3)], [f32(2, 6, 4, 3)], [f32(3, 6, 1)], ["head"]


class Counting:
    """Metrics among layers and weights; names of one group must differ."""

    def __init__(self, units=3, **kw):
        super(Counting, self).__init__(**kw)
        self.units = units
        self.seen = keras.metrics.Mean(name="seen")
        self.inner = L.BatchNormalization(name="inner")
        self.listed = [keras.metrics.Precision()]
        self.last = L.Dense(units, name="last")

    def build(self, shape):
        self.scale = self.add_weight("scale", (), initializer="ones", trainable=False)
        self.made = keras.metrics.TruePositives()
        super(Counting, self).build(shape)

    def call(self, x, training=None):
        y = self.last(self.inner(x, training=training)) * self.scale
        self.seen.update_state(y)
        return y

    def get_config(self):
        return {"name": self.name, "units": self.units}


class CountingLayer(Counting, L.Layer):
    pass


class CountingModel(Counting, keras.Model):
    pass


class OnlyCounts(L.Layer):
    def __init__(self, **kw):
        super(OnlyCounts, self).__init__(**kw)
        self.seen = keras.metrics.Mean(name="seen")

    def call(self, x):
        self.seen.update_state(x)
        return x * 2.0


@model(since=(2, 1), v1=False)
def held_metrics():
    """Metrics that own layers and models hold as attributes."""
    x = keras.Input((3,), name="in0")
    y = L.Dense(3, name="first")(OnlyCounts(name="only")(x))
    y = CountingModel(4, name="model")(CountingLayer(3, name="layer")(y))
    m = keras.Model(x, L.Dense(2, name="head")(y))
    m.compile(keras.optimizers.SGD(0.05, 0.9), "mse")
    return m, [f32(1, 3, 3)], [f32(2, 6, 3)], [f32(3, 6, 2)], ["head"]


# ------------------------------------------------------------------ losses and metrics

LOSSES = (
    "mse", "mae", "mape", "msle", "hinge", "squared_hinge", "categorical_hinge",
    "binary_crossentropy", "categorical_crossentropy", "kld", "poisson",
    "cosine_similarity", "logcosh", "cosine_proximity", "kullback_leibler_divergence",
)
CLASSES = (
    "MeanSquaredError", "Huber", "LogCosh", "CosineSimilarity", "Poisson",
    "KLDivergence", "Hinge", "SquaredHinge", "CategoricalHinge",
)


def _losses(losses, masks=False, weights=None, time=None, **kw):
    shape = (4,) if time is None else (time, 4)
    x = keras.Input(shape, name="in0")
    h = L.Masking(0.0, name="masking")(x) if masks else x
    outputs = [L.Dense(3, activation="sigmoid", name="o%02d" % i)(h)
               for i in range(len(losses))]
    m = keras.Model(x, outputs)
    m.compile(keras.optimizers.SGD(0.1), losses, **kw)
    given, batch = f32(1, 3, *shape), f32(2, 6, *shape)
    if masks:
        given[0, 1:] = 0
        batch[1, 1:] = 0
        batch[4, 3:] = 0
    y = [R(5 + i).uniform(0.1, 0.9, (6,) + shape[:-1] + (3,)).astype("float32")
         for i in range(len(losses))]
    names = [loss if isinstance(loss, str) else "%s_%d" % (type(loss).__name__, i)
             for i, loss in enumerate(losses)]
    found = (m, [given], [batch], y, names)
    return found if weights is None else found + (weights,)


def _known(names):
    found = []
    for name in names:
        try:
            keras.losses.get(name)
        except Exception:
            continue
        found.append(name)
    return found


def _objects():
    found = []
    for name in CLASSES:
        if hasattr(keras.losses, name):
            found.append(getattr(keras.losses, name)())
    sums = ("sum", "none") if TF < (1, 13) else ("sum",)
    for way in sums:
        found.append(keras.losses.MeanSquaredError(reduction=way))
    found.append(keras.losses.BinaryCrossentropy(label_smoothing=0.1))
    found.append(keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2))
    found.append(keras.losses.Huber(0.3))
    if hasattr(keras.losses, "BinaryFocalCrossentropy"):
        found.append(keras.losses.BinaryFocalCrossentropy(gamma=1.5))
    if hasattr(keras.losses, "CategoricalFocalCrossentropy"):
        found.append(keras.losses.CategoricalFocalCrossentropy(alpha=0.4))
    return found


@model()
def losses():
    return _losses(_known(LOSSES), weights=R(1).uniform(0.2, 2, 6).astype("float32"))


@model()
def loss_objects():
    return _losses(_objects())


@model()
def losses_of_sequences():
    return _losses(_known(LOSSES[:4]), time=4)


@model()
def losses_masked():
    return _losses(_known(LOSSES[:8]), masks=True, time=4)


@model()
def loss_objects_masked():
    return _losses(_objects()[:9], masks=True, time=4,
                   weights=R(1).uniform(0.2, 2, 6).astype("float32"))


@model()
def losses_weighted_by_step():
    """A weight for each step of each sequence."""
    words = {"sample_weight_mode": "temporal"} if TF < (2, 2) else {}
    return _losses(_known(LOSSES[:3]), time=4, masks=True,
                   weights=R(1).uniform(0.2, 2, (6, 4)).astype("float32"), **words)


@model()
def sparse_classes():
    x = keras.Input((4,), name="in0")
    m = keras.Model(x, [L.Dense(3, activation="softmax", name="a")(x), L.Dense(3, name="b")(x)])
    m.compile("sgd", ["sparse_categorical_crossentropy",
                      keras.losses.SparseCategoricalCrossentropy(from_logits=True)],
              metrics=["accuracy", "sparse_categorical_accuracy"])
    y = R(3).randint(0, 3, (6, 1)).astype("float32")
    return m, [f32(1, 3, 4)], [f32(2, 6, 4)], [y, y], ["a", "b"]


@model()
def metrics():
    """Metrics with and without the weights of samples."""
    x = keras.Input((4,), name="in0")
    m = keras.Model(x, L.Dense(1, activation="sigmoid", name="head")(x))
    M = keras.metrics
    found = [M.BinaryAccuracy(name="acc"), M.AUC(name="auc", num_thresholds=20),
             M.Precision(name="precision"), M.Recall(name="recall"),
             M.MeanSquaredError(name="mean_squared"), M.RootMeanSquaredError(name="root"),
             M.MeanAbsolutePercentageError(name="percentage"), M.Hinge(name="hinge"),
             M.CosineSimilarity(name="cosine"), M.LogCoshError(name="logcosh"),
             M.BinaryCrossentropy(name="entropy"), M.Poisson(name="poisson"),
             M.KLDivergence(name="divergence"), M.TruePositives(name="positives"),
             M.SensitivityAtSpecificity(0.5, num_thresholds=10, name="sensitivity")]
    m.compile("sgd", "binary_crossentropy", metrics=["mae"] + found,
              weighted_metrics=[M.BinaryAccuracy(name="weighted"), M.AUC(name="weighted_auc"),
                                M.MeanSquaredError(name="weighted_squared")])
    y = R(3).randint(0, 2, (6, 1)).astype("float32")
    weights = R(1).uniform(0.2, 2, 6).astype("float32")
    return m, [f32(1, 3, 4)], [f32(2, 6, 4)], [y], ["head"], weights


@model()
def metrics_masked():
    """Metrics of masked steps."""
    x = keras.Input((4, 3), name="in0")
    h = L.Masking(0.0, name="masking")(x)
    m = keras.Model(x, L.Dense(1, activation="sigmoid", name="head")(h))
    m.compile("sgd", "mse", metrics=["mae", "accuracy", keras.metrics.MeanSquaredError("error")],
              weighted_metrics=["mse"])
    batch = f32(2, 6, 4, 3)
    batch[1, 1:] = 0
    batch[4, 3:] = 0
    y = R(3).randint(0, 2, (6, 4, 1)).astype("float32")
    return m, [f32(1, 3, 4, 3)], [batch], [y], ["head"]


# ------------------------------------------------------------------ optimizers


def _optimized(optimizer, **kw):
    m = keras.Sequential([L.Dense(4, input_shape=(3,), activation="tanh", name="a"),
                          L.Dense(2, name="b")])
    m.compile(optimizer, "mse", **kw)
    return m, [f32(1, 3, 3)], [f32(2, 6, 3)], [f32(3, 6, 2)], ["b"]


OPTIMIZERS = {
    "sgd": ("SGD", dict(learning_rate=0.1)),
    "sgd_momentum": ("SGD", dict(learning_rate=0.1, momentum=0.9)),
    "sgd_nesterov": ("SGD", dict(learning_rate=0.1, momentum=0.9, nesterov=True, decay=0.1)),
    "adam": ("Adam", dict(learning_rate=0.1)),
    "adam_amsgrad": ("Adam", dict(learning_rate=0.1, amsgrad=True, decay=0.2, epsilon=1e-3)),
    "adamax": ("Adamax", dict(learning_rate=0.1)),
    "nadam": ("Nadam", dict(learning_rate=0.1)),
    "adagrad": ("Adagrad", dict(learning_rate=0.1)),
    "adadelta": ("Adadelta", dict(learning_rate=1.0, rho=0.9)),
    "rmsprop": ("RMSprop", dict(learning_rate=0.1, rho=0.8)),
    "rmsprop_all": ("RMSprop", dict(learning_rate=0.1, momentum=0.5, centered=True)),
    "ftrl": ("Ftrl", dict(learning_rate=0.1)),
    "ftrl_all": ("Ftrl", dict(
        learning_rate=0.1, l1_regularization_strength=0.01, l2_regularization_strength=0.02,
        l2_shrinkage_regularization_strength=0.03, learning_rate_power=-0.4,
        initial_accumulator_value=0.2)),
    "clipnorm": ("SGD", dict(learning_rate=0.1, clipnorm=0.05)),
    "clipvalue": ("Adam", dict(learning_rate=0.1, clipvalue=0.01)),
    "global_clipnorm": ("SGD", dict(learning_rate=0.1, global_clipnorm=0.05)),
    "adam_decay": ("Adam", dict(learning_rate=0.1, weight_decay=0.05)),
    "adam_average": ("Adam", dict(
        learning_rate=0.1, use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=2)),
    "adamw": ("AdamW", dict(learning_rate=0.1, weight_decay=0.05)),
    "adafactor": ("Adafactor", dict(learning_rate=0.1)),
    "lion": ("Lion", dict(learning_rate=0.01)),
}


def _optimizer_models():
    generations = [("", keras.optimizers)]
    if hasattr(keras.optimizers, "legacy") and TF >= (2, 11):
        generations.append(("legacy_", keras.optimizers.legacy))
    elif hasattr(keras.optimizers, "experimental"):
        generations.append(("new_", keras.optimizers.experimental))
    for prefix, package in generations:
        for name, (cls, arguments) in OPTIMIZERS.items():
            new = prefix == "new_" or (prefix == "" and TF >= (2, 11))
            if new and "decay" in arguments:
                arguments = {k: v for k, v in arguments.items() if k != "decay"}

            def function(cls=cls, arguments=arguments, package=package):
                return _optimized(getattr(package, cls)(**arguments))

            function.__name__ = "opt_" + prefix + name
            if hasattr(package, cls):
                model()(function)


_optimizer_models()

SCHEDULES = {
    "exponential": ("ExponentialDecay", (0.1, 2, 0.5), dict(staircase=True)),
    "piecewise": ("PiecewiseConstantDecay", ([1, 3], [0.1, 0.05, 0.01]), {}),
    "polynomial": ("PolynomialDecay", (0.1, 4, 0.01, 2.0, True), {}),
    "inverse": ("InverseTimeDecay", (0.1, 2, 0.5), {}),
    "cosine": ("CosineDecay", (0.1, 5, 0.1), {}),
    "restarts": ("CosineDecayRestarts", (0.1, 3, 1.5, 0.8, 0.1), {}),
}


def _schedule_models():
    package = keras.optimizers.schedules
    for name, (cls, arguments, words) in SCHEDULES.items():

        def function(cls=cls, arguments=arguments, words=words):
            schedule = getattr(package, cls)(*arguments, **words)
            return _optimized(keras.optimizers.SGD(schedule, momentum=0.5))

        function.__name__ = "schedule_" + name
        if hasattr(package, cls):
            model(v1=False)(function)


_schedule_models()


@model(since=(2, 1), v1=False)
def mixed_precision():
    package = keras.mixed_precision
    old = getattr(package, "experimental", None)
    if hasattr(package, "set_global_policy"):
        package.set_global_policy("mixed_float16")
    else:
        old.set_policy("mixed_float16")
    try:
        m = keras.Sequential([
            L.Dense(4, input_shape=(3,), activation="tanh", name="a"),
            L.Dense(2, dtype="float32", name="b")])
        m.compile(keras.optimizers.Adam(0.1), "mse")
    finally:
        if hasattr(package, "set_global_policy"):
            package.set_global_policy("float32")
        else:
            old.set_policy("float32")
    return m, [f32(1, 3, 3)], [f32(2, 6, 3)], [f32(3, 6, 2)], ["b"]


@model(since=(2, 1), until=(2, 11), v1=False)
def experimental_policy():
    """The policies and loss scales of `mixed_precision.experimental`."""
    package = keras.mixed_precision.experimental
    policy = package.Policy("mixed_float16", loss_scale=64)
    m = keras.Sequential([L.Dense(4, input_shape=(3,), dtype=policy, activation="tanh", name="a"),
                          L.Dense(2, dtype="float32", name="b")])
    m.compile(package.LossScaleOptimizer(keras.optimizers.SGD(0.1, 0.9), 64), "mse")
    return m, [f32(1, 3, 3)], [f32(2, 6, 3)], [f32(3, 6, 2)], ["b"]


# ------------------------------------------------------------------ writing


def many(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


def one(values):
    return values[0] if len(values) == 1 else values


def write(function, folder):
    keras.backend.clear_session()
    np.random.seed(1)
    found = function()
    m, given, batch, targets, names = found[:5]
    weights = found[5] if len(found) > 5 else None
    rng = R(7)
    m.set_weights([rng.uniform(0.1 if w.ndim < 2 else -0.7, 0.7, w.shape).astype(w.dtype)
                   for w in m.get_weights()])
    words = {}
    if weights is not None:
        words["sample_weight"] = one([weights] * len(targets))
    train = lambda: m.train_on_batch(one(batch), one(targets), **words)  # noqa: E731
    if batch:
        train()
    path = os.path.join(folder, function.__name__)
    m.save(path + ".h5")
    if function.__name__ == "stateful":
        m.reset_states()
    arrays = {"in_%d" % i: v for i, v in enumerate(given)}
    arrays["names_0"] = np.array(names)
    arrays.update({"out_%d" % i: v for i, v in enumerate(many(m.predict(one(given))))})
    if batch:
        arrays.update({"tx_%d" % i: v for i, v in enumerate(batch)})
        arrays.update({"ty_%d" % i: v for i, v in enumerate(targets)})
        if weights is not None:
            arrays["tw_0"] = weights
        if function.__name__ == "stateful":
            m.reset_states()
        if hasattr(m, "reset_metrics"):
            m.reset_metrics()
        tested = many(m.test_on_batch(one(batch), one(targets), **words))
        arrays["test_0"] = np.array(tested, "float32")
        arrays["tested_0"] = np.array(m.metrics_names)
        if function.__name__ == "stateful":
            m.reset_states()
        train()
        if function.__name__ == "stateful":
            m.reset_states()
        arrays.update({"next_%d" % i: v for i, v in enumerate(many(m.predict(one(given))))})
    np.savez(path + ".npz", **arrays)


def main(out, names):
    folder = os.path.join(out, tf.__version__ + ("-v2" if V2 and TF < (2, 0) else ""))
    if not os.path.isdir(folder):
        os.makedirs(folder)
    for function in MODELS:
        if names and function.__name__ not in names:
            continue
        try:
            write(function, folder)
        except Exception as error:  # Not every version can make every model.
            lines = traceback.format_exc().splitlines()
            print("not made:", function.__name__, "|", str(error)[:160], "|", lines[-3][:120])
    print(folder, len(os.listdir(folder)) // 2, "models")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
