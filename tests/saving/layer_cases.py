"""One row per layer in one option: what it is called with, how exact it must be."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
from keras import layers as L


@dataclasses.dataclass(frozen=True)
class LayerCase:
    """A layer.

    Attributes:
        name: Of the row.
        make: Makes the layer.
        shapes: Shape of each input without the batch; `None` is an unknown length.
        dtype: Of the inputs.
        high: Inputs are drawn from 0 to this if they are integers.
        ops: Ops that must be in its graph, in inference.
        most: How many nodes other than constants and reads it may have there.
        is_random: Whether training draws random numbers.
    """

    name: str
    make: Callable[[], Any]
    shapes: tuple[tuple[int | None, ...], ...]
    dtype: str = "float32"
    high: int = 5
    ops: tuple[str, ...] = ()
    most: int | None = None
    is_random: bool = False
    atol: float = 1e-5
    as_list: bool = False


CASES: list[LayerCase] = []


def case(name: str, make: Callable[[], Any], *shapes: Any, **rest: Any) -> None:
    CASES.append(LayerCase(name, make, shapes, **rest))


VECTOR, ROWS, LINE = (6,), (5, 6), (None, 6)
IMAGE, ANY_IMAGE, VOLUME = (8, 9, 3), (None, None, 3), (5, 6, 7, 3)

case("Dense", lambda: L.Dense(4), VECTOR, ops=("MatMul", "BiasAdd"), most=2)
case("Dense rows", lambda: L.Dense(4), ROWS, ops=("MatMul", "BiasAdd"), most=4)
case("Dense line", lambda: L.Dense(4), LINE)
for _name in [
    "elu",
    "exponential",
    "gelu",
    "hard_sigmoid",
    "leaky_relu",
    "linear",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "tanh",
    "log_softmax",
    "celu",
    "glu",
    "hard_tanh",
    "squareplus",
    "log_sigmoid",
    "soft_shrink",
    "hard_shrink",
    "sparse_plus",
    "sparsemax",
    "tanh_shrink",
]:
    case(f"Activation {_name}", lambda n=_name: L.Activation(n), VECTOR)
case(
    "EinsumDense",
    lambda: L.EinsumDense("abc,cd->abd", (5, 4), bias_axes="d"),
    ROWS,
    ops=("Einsum",),
)
case(
    "Embedding",
    lambda: L.Embedding(7, 4),
    (5,),
    dtype="int32",
    ops=("ResourceGather",),
    most=1,
)
case("Conv1D", lambda: L.Conv1D(4, 3, padding="same", strides=2), ROWS)
case("Conv1D causal", lambda: L.Conv1D(4, 3, padding="causal", dilation_rate=2), LINE)
case(
    "Conv2D",
    lambda: L.Conv2D(4, 3, padding="same", activation="relu"),
    IMAGE,
    ops=("Conv2D", "BiasAdd", "Relu"),
    most=3,
)
case(
    "Conv2D any size",
    lambda: L.Conv2D(4, 3, 2, padding="same"),
    ANY_IMAGE,
    ops=("Conv2D", "BiasAdd"),
    most=2,
)
case("Conv2D valid", lambda: L.Conv2D(4, (2, 3), (1, 2), use_bias=False), IMAGE, most=1)
case("Conv2D dilated", lambda: L.Conv2D(4, 3, dilation_rate=2), IMAGE, most=4)
case("Conv2D groups", lambda: L.Conv2D(6, 3, groups=3), IMAGE)
case(
    "Conv2D channels first",
    lambda: L.Conv2D(4, 3, data_format="channels_first"),
    (3, 8, 9),
)
case("Conv3D", lambda: L.Conv3D(4, 3, padding="same"), VOLUME, ops=("Conv3D",), most=2)
case("DepthwiseConv1D", lambda: L.DepthwiseConv1D(3, depth_multiplier=2), ROWS)
case(
    "DepthwiseConv2D",
    lambda: L.DepthwiseConv2D(3, padding="same"),
    IMAGE,
    ops=("DepthwiseConv2dNative", "BiasAdd"),
    most=2,
)
case(
    "DepthwiseConv2D multiplied",
    lambda: L.DepthwiseConv2D(3, 2, depth_multiplier=2),
    IMAGE,
    ops=("DepthwiseConv2dNative",),
    most=2,
)
case(
    "DepthwiseConv2D dilated",
    lambda: L.DepthwiseConv2D(3, dilation_rate=2, padding="same"),
    IMAGE,
)
case("SeparableConv1D", lambda: L.SeparableConv1D(4, 3), ROWS)
case(
    "SeparableConv2D",
    lambda: L.SeparableConv2D(4, 3, padding="same"),
    IMAGE,
    ops=("DepthwiseConv2dNative", "Conv2D"),
    most=3,
)
case(
    "Conv1DTranspose", lambda: L.Conv1DTranspose(4, 3, strides=2, padding="same"), ROWS
)
case(
    "Conv2DTranspose",
    lambda: L.Conv2DTranspose(4, 3, strides=2),
    IMAGE,
    ops=("Conv2DBackpropInput", "BiasAdd"),
)
case("Conv2DTranspose same", lambda: L.Conv2DTranspose(4, 3, 2, padding="same"), IMAGE)
case(
    "Conv2DTranspose any size",
    lambda: L.Conv2DTranspose(4, 3, 2, padding="same"),
    ANY_IMAGE,
)
case(
    "Conv2DTranspose output padding",
    lambda: L.Conv2DTranspose(4, 3, 2, output_padding=1),
    IMAGE,
)
case("Conv3DTranspose", lambda: L.Conv3DTranspose(4, 3, strides=2), VOLUME)
for _rank, _shape in ((1, ROWS), (2, IMAGE), (3, VOLUME)):
    for _kind in ("Max", "Average"):
        for _padding in ("valid", "same"):
            _layer = getattr(L, f"{_kind}Pooling{_rank}D")
            case(
                f"{_kind}Pooling{_rank}D {_padding}",
                lambda f=_layer, p=_padding: f(3, 2, padding=p),
                _shape,
                most=1 if _rank > 1 else 3,
            )
        case(
            f"Global{_kind}Pooling{_rank}D",
            getattr(L, f"Global{_kind}Pooling{_rank}D"),
            _shape,
            most=1,
        )
case(
    "MaxPooling2D any size",
    lambda: L.MaxPooling2D(padding="same"),
    ANY_IMAGE,
    ops=("MaxPool",),
    most=1,
)
case(
    "MaxPooling2D channels first",
    lambda: L.MaxPooling2D(data_format="channels_first"),
    (3, 8, 9),
)
case(
    "AveragePooling2D channels first",
    lambda: L.AveragePooling2D(2, data_format="channels_first"),
    (3, 8, 9),
)
case(
    "GlobalAveragePooling2D any size",
    lambda: L.GlobalAveragePooling2D(),
    ANY_IMAGE,
    most=1,
)
if hasattr(L, "AdaptiveAveragePooling2D"):  # Since Keras 3.13.
    case("AdaptiveAveragePooling2D", lambda: L.AdaptiveAveragePooling2D(3), IMAGE)
    case("AdaptiveMaxPooling2D", lambda: L.AdaptiveMaxPooling2D(3), IMAGE)
case("BatchNormalization", lambda: L.BatchNormalization(), VECTOR)
case(
    "BatchNormalization image",
    lambda: L.BatchNormalization(),
    IMAGE,
    ops=("FusedBatchNormV3",),
    most=1,
)
case(
    "BatchNormalization no scale",
    lambda: L.BatchNormalization(scale=False),
    IMAGE,
    ops=("FusedBatchNormV3",),
    most=1,
)
case("BatchNormalization first axis", lambda: L.BatchNormalization(axis=1), (3, 8, 9))
if hasattr(L.BatchNormalization(), "renorm"):  # Since Keras 3.14.
    case("BatchNormalization renorm", lambda: L.BatchNormalization(renorm=True), IMAGE)
case("LayerNormalization", lambda: L.LayerNormalization(), ROWS)
case("RMSNormalization", lambda: L.RMSNormalization(), ROWS)
case("GroupNormalization", lambda: L.GroupNormalization(3), (8, 9, 6))
case("UnitNormalization", lambda: L.UnitNormalization(), ROWS)
case("SpectralNormalization", lambda: L.SpectralNormalization(L.Dense(4)), VECTOR)
case("Dropout", lambda: L.Dropout(0.4), VECTOR, is_random=True)
case("SpatialDropout1D", lambda: L.SpatialDropout1D(0.4), ROWS, is_random=True)
case("SpatialDropout2D", lambda: L.SpatialDropout2D(0.4), IMAGE, is_random=True)
case("SpatialDropout3D", lambda: L.SpatialDropout3D(0.4), VOLUME, is_random=True)
case("AlphaDropout", lambda: L.AlphaDropout(0.4), VECTOR, is_random=True)
case("GaussianDropout", lambda: L.GaussianDropout(0.4), VECTOR, is_random=True)
case("GaussianNoise", lambda: L.GaussianNoise(0.4), VECTOR, is_random=True)
case("ActivityRegularization", lambda: L.ActivityRegularization(0.1), VECTOR)
for _name in ["Add", "Average", "Multiply", "Maximum", "Minimum", "Subtract"]:
    case(_name, getattr(L, _name), VECTOR, VECTOR, most=2)
case("Concatenate", L.Concatenate, VECTOR, (3,), ops=("ConcatV2",), most=1)
case("Dot", lambda: L.Dot(1), VECTOR, VECTOR)
case("Dot rows", lambda: L.Dot((2, 2)), ROWS, (4, 6))
case("Reshape", lambda: L.Reshape((3, -1)), VECTOR, ops=("Reshape",), most=1)
case("Flatten", L.Flatten, IMAGE, ops=("Reshape",), most=1)
case("Flatten any size", L.Flatten, ANY_IMAGE)
case("Permute", lambda: L.Permute((2, 1)), ROWS, ops=("Transpose",), most=1)
case("RepeatVector", lambda: L.RepeatVector(3), VECTOR)
case("ZeroPadding1D", lambda: L.ZeroPadding1D(2), ROWS, ops=("Pad",), most=1)
case(
    "ZeroPadding2D",
    lambda: L.ZeroPadding2D(((1, 2), (3, 4))),
    IMAGE,
    ops=("Pad",),
    most=1,
)
case("ZeroPadding3D", lambda: L.ZeroPadding3D(1), VOLUME, most=1)
case("Cropping1D", lambda: L.Cropping1D((1, 2)), ROWS, ops=("StridedSlice",), most=1)
case("Cropping2D", lambda: L.Cropping2D(((1, 2), (2, 1))), IMAGE, most=1)
case("Cropping3D", lambda: L.Cropping3D(1), VOLUME, most=1)
case("UpSampling1D", lambda: L.UpSampling1D(2), ROWS)
case("UpSampling2D", lambda: L.UpSampling2D(2), IMAGE)
case(
    "UpSampling2D bilinear",
    lambda: L.UpSampling2D(2, interpolation="bilinear"),
    IMAGE,
    ops=("ResizeBilinear",),
    most=1,
)
case("UpSampling2D any size", lambda: L.UpSampling2D(2), ANY_IMAGE)
case("UpSampling3D", lambda: L.UpSampling3D(2), VOLUME)
case("Resizing", lambda: L.Resizing(5, 6), IMAGE)
case("Resizing nearest", lambda: L.Resizing(5, 6, interpolation="nearest"), IMAGE)
case(
    "Resizing bicubic",
    lambda: L.Resizing(5, 6, interpolation="bicubic"),
    IMAGE,
    atol=1e-4,
)
case("CenterCrop", lambda: L.CenterCrop(5, 6), IMAGE)
case("Rescaling", lambda: L.Rescaling(1 / 255, 0.5), IMAGE, most=2)
case("Normalization", lambda: L.Normalization(mean=1.0, variance=4.0), VECTOR)
case(
    "CategoryEncoding",
    lambda: L.CategoryEncoding(6, output_mode="one_hot"),
    (1,),
    dtype="int32",
)
case("CategoryEncoding multi_hot", lambda: L.CategoryEncoding(6), (3,), dtype="int32")
case("Discretization", lambda: L.Discretization([0.0, 0.5, 1.0]), VECTOR)
case("PReLU", lambda: L.PReLU(), VECTOR)
case("LeakyReLU", lambda: L.LeakyReLU(0.1), VECTOR, ops=("LeakyRelu",), most=1)
case("ReLU", lambda: L.ReLU(6), VECTOR, ops=("Relu6",), most=1)
case("ReLU slope", lambda: L.ReLU(4, 0.1, 0.5), VECTOR)
case("ELU", lambda: L.ELU(), VECTOR, most=1)
case("Softmax", lambda: L.Softmax(), ROWS, ops=("Softmax",), most=1)
case("Softmax axis", lambda: L.Softmax(axis=1), ROWS)
case("Masking", lambda: L.Masking(), ROWS)
case("Identity", L.Identity, VECTOR, most=1)
for _name in ["SimpleRNN", "LSTM", "GRU"]:
    _layer = getattr(L, _name)
    case(_name, lambda f=_layer: f(4), ROWS, ops=("StatelessWhile",))
    case(f"{_name} sequences", lambda f=_layer: f(4, return_sequences=True), LINE)
    case(f"{_name} backwards", lambda f=_layer: f(4, go_backwards=True), ROWS)
    case(f"{_name} state", lambda f=_layer: f(4, return_state=True), ROWS)
    case(
        f"{_name} dropout",
        lambda f=_layer: f(4, dropout=0.3, recurrent_dropout=0.2),
        ROWS,
        is_random=True,
    )
    case(f"Bidirectional {_name}", lambda f=_layer: L.Bidirectional(f(4)), ROWS)
case("LSTM unrolled", lambda: L.LSTM(4, unroll=True), ROWS)
case("LSTM stateful", lambda: L.LSTM(4, stateful=True), (5, 6))
case("GRU reset before", lambda: L.GRU(4, reset_after=False), ROWS)
case("RNN stacked", lambda: L.RNN([L.LSTMCell(4), L.GRUCell(3)]), ROWS)
case("Masked LSTM", lambda: keras.Sequential([L.Masking(), L.LSTM(4)]), ROWS)
case("ConvLSTM1D", lambda: L.ConvLSTM1D(2, 3), (3, 6, 2))
case("ConvLSTM2D", lambda: L.ConvLSTM2D(2, 3), (3, 6, 7, 2))
case("TimeDistributed", lambda: L.TimeDistributed(L.Dense(4)), ROWS)
case("TimeDistributed conv", lambda: L.TimeDistributed(L.Conv2D(2, 3)), (3, 8, 9, 3))
case("MultiHeadAttention", lambda: L.MultiHeadAttention(2, 4), ROWS, ROWS)
case(
    "MultiHeadAttention dropout",
    lambda: L.MultiHeadAttention(2, 4, dropout=0.2),
    ROWS,
    ROWS,
    is_random=True,
)
case("MultiHeadAttention line", lambda: L.MultiHeadAttention(2, 4), LINE, LINE)
case("GroupQueryAttention", lambda: L.GroupQueryAttention(4, 4, 2), ROWS, ROWS)
case("Attention", lambda: L.Attention(use_scale=True), ROWS, ROWS, as_list=True)
case("AdditiveAttention", lambda: L.AdditiveAttention(), ROWS, ROWS, as_list=True)
case("RandomFlip", lambda: L.RandomFlip(), IMAGE, is_random=True)
case("RandomRotation", lambda: L.RandomRotation(0.2), IMAGE, is_random=True)
case("RandomZoom", lambda: L.RandomZoom(0.2), IMAGE, is_random=True)
case("RandomTranslation", lambda: L.RandomTranslation(0.2, 0.2), IMAGE, is_random=True)
case("RandomContrast", lambda: L.RandomContrast(0.2), IMAGE, is_random=True)
case("RandomBrightness", lambda: L.RandomBrightness(0.2), IMAGE, is_random=True)
case(
    "STFTSpectrogram", lambda: L.STFTSpectrogram("log", 32, 16, 32), (128, 1), atol=1e-3
)
case(
    "MelSpectrogram",
    lambda: L.MelSpectrogram(64, 16, 64, sampling_rate=800, num_mel_bins=8),
    (256,),
    atol=1e-3,
)


class Operation(L.Layer):
    """Calls one of Keras' operations on what it is called with."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, inputs):
        return self.function(inputs)


def _regular(x):
    return keras.ops.matmul(x, keras.ops.swapaxes(x, -1, -2)) + 3 * keras.ops.eye(4)


for _name, _function in {
    "det": lambda x: keras.ops.det(_regular(x)),
    "inv": lambda x: keras.ops.inv(_regular(x)),
    "solve": lambda x: keras.ops.solve(_regular(x), x),
    "qr": lambda x: keras.ops.abs(keras.ops.qr(_regular(x))[1]),
    "cholesky": lambda x: keras.ops.cholesky(_regular(x)),
    "segment_sum": lambda x: keras.ops.segment_sum(x[0], keras.ops.arange(4) // 2, 2),
    "top_k": lambda x: keras.ops.top_k(x, 2)[0],
    "logsumexp": lambda x: keras.ops.logsumexp(x, axis=-1),
    "cumsum": lambda x: keras.ops.cumsum(x, axis=1),
    "scatter_update": lambda x: keras.ops.slice_update(
        x, [0, 1, 0], keras.ops.zeros_like(x[:, :2])
    ),
    "while_loop": lambda x: keras.ops.while_loop(
        lambda i, v: i < 3, lambda i, v: (i + 1, v * 2), (0, x)
    )[1],
    "cond": lambda x: keras.ops.cond(
        keras.ops.sum(x) > 0, lambda: x * 2, lambda: x - 1
    ),
    "vectorized_map": lambda x: keras.ops.vectorized_map(lambda r: r / 2, x),
    "scan": lambda x: keras.ops.scan(
        lambda c, v: (c + v, c * v), keras.ops.zeros(4), x[0]
    )[1],
    "fft": lambda x: keras.ops.fft((x, keras.ops.zeros_like(x)))[0],
    "erfinv": lambda x: keras.ops.erfinv(keras.ops.tanh(x)),
    "image resize": lambda x: keras.ops.image.resize(x[..., None], (3, 6)),
    "one_hot": lambda x: keras.ops.one_hot(keras.ops.argmax(x, -1), 4),
    "norm": lambda x: keras.ops.norm(x, axis=-1),
    "einsum": lambda x: keras.ops.einsum("bij,bkj->bik", x, x),
}.items():
    case(f"ops {_name}", lambda f=_function: Operation(f), (4, 4), atol=1e-3)
