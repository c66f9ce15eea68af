"""The models of the matrix: whole architectures and one small model of each kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import keras
import numpy as np
from keras import layers as L
from keras import ops

from saving import traced_models

Made = tuple[keras.Model, dict[str, np.ndarray]]


@dataclass(frozen=True)
class Row:
    """A model of the matrix.

    Attributes:
        title: As the table shows it.
        make: Makes the model, and inputs by the names of its signature; also what the
            model is called with, where that is not a list of them or the one.
        tolerance: Of outputs, as a share of the largest number.
        is_application: Whether it is one of `keras.applications`.
    """

    title: str
    make: Callable[[], Any]
    tolerance: float = 1e-4
    is_application: bool = False


def _floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


def _ids(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, count, shape).astype("int32")


# Models of stock layers


def text() -> Made:
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = L.Embedding(30, 8, mask_zero=True)(tokens)
    x = L.SpatialDropout1D(0.2)(x)
    x = L.Bidirectional(L.LSTM(6, return_sequences=True))(x)
    x = L.Bidirectional(L.GRU(5))(x)
    return keras.Model(tokens, L.Dense(1, activation="sigmoid")(x)), {
        "tokens": _ids(30, 4, 9)
    }


def lstm_of_fixed_length() -> Made:
    return keras.Sequential(
        [
            keras.Input((7, 3), name="x"),
            L.LSTM(6, return_sequences=True),
            L.GRU(4),
            L.Dense(2),
        ]
    ), {"x": _floats(4, 7, 3)}


def encoder() -> Made:
    tokens = keras.Input((10,), dtype="int32", name="tokens")
    x = L.Embedding(30, 16)(tokens)
    x = x + L.Embedding(10, 16)(ops.arange(10))
    for _ in range(2):
        attended = L.MultiHeadAttention(4, 4, dropout=0.1)(x, x)
        x = L.LayerNormalization()(L.Add()([x, L.Dropout(0.1)(attended)]))
        hidden = L.Dense(16)(L.Dense(32, activation="gelu")(x))
        x = L.LayerNormalization()(L.Add()([x, L.Dropout(0.1)(hidden)]))
    return keras.Model(tokens, L.Dense(3)(L.GlobalAveragePooling1D()(x))), {
        "tokens": _ids(30, 4, 10)
    }


def _block(x: Any, filters: int) -> Any:
    for _ in range(2):
        x = L.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = L.ReLU()(L.BatchNormalization()(x))
    return x


def u_net() -> Made:
    image = keras.Input((32, 32, 3), name="image")
    kept, x = [], image
    for filters in (8, 16):
        x = _block(x, filters)
        kept.append(x)
        x = L.MaxPooling2D()(x)
    x = _block(x, 32)
    for filters, skip in ((16, kept[1]), (8, kept[0])):
        x = (
            L.UpSampling2D(interpolation="bilinear")(x)
            if filters == 8
            else L.Conv2DTranspose(filters, 2, strides=2)(x)
        )
        x = _block(L.Concatenate()([x, skip]), filters)
    return keras.Model(image, L.Conv2D(1, 1, activation="sigmoid")(x)), {
        "image": _floats(2, 32, 32, 3)
    }


def generator() -> Made:
    return keras.Sequential(
        [
            keras.Input((12,), name="noise"),
            L.Dense(4 * 4 * 16, use_bias=False),
            L.BatchNormalization(),
            L.LeakyReLU(0.2),
            L.Reshape((4, 4, 16)),
            L.Conv2DTranspose(8, 5, strides=2, padding="same", use_bias=False),
            L.BatchNormalization(),
            L.LeakyReLU(0.2),
            L.Conv2DTranspose(3, 5, strides=2, padding="same", activation="tanh"),
        ]
    ), {"noise": _floats(4, 12)}


def recommender() -> Made:
    user = keras.Input((1,), dtype="int32", name="user")
    item = keras.Input((1,), dtype="int32", name="item")
    genres = keras.Input((5,), name="genres")
    users = L.Flatten()(L.Embedding(50, 6, embeddings_regularizer="l2")(user))
    items = L.Flatten()(L.Embedding(40, 6, embeddings_regularizer="l2")(item))
    match = L.Dot(axes=1, normalize=True)([users, items])
    x = L.Concatenate()([users, items, match, L.Dense(4, activation="relu")(genres)])
    score = L.Dense(1, name="score")(L.Dense(8, activation="swish")(x))
    click = L.Dense(1, activation="sigmoid", name="click")(x)
    return keras.Model([user, item, genres], [score, click]), {
        "user": _ids(50, 4, 1),
        "item": _ids(40, 4, 1),
        "genres": _floats(4, 5),
    }


def _mixed(policy: str) -> Callable[[], Made]:
    def make() -> Made:
        return keras.Sequential(
            [
                keras.Input((12, 12, 3), name="x"),
                L.Conv2D(6, 3, activation="relu", dtype=policy),
                L.BatchNormalization(dtype=policy),
                L.MaxPooling2D(dtype=policy),
                L.Flatten(dtype=policy),
                L.Dense(5, activation="tanh", dtype=policy),
                L.Dense(2, dtype="float32"),
            ]
        ), {"x": _floats(4, 12, 12, 3)}

    return make


def channels_first() -> Made:
    first = {"data_format": "channels_first"}
    return keras.Sequential(
        [
            keras.Input((3, 16, 16), name="x"),
            L.Conv2D(6, 3, strides=2, padding="same", activation="relu", **first),
            L.BatchNormalization(axis=1),
            L.DepthwiseConv2D(3, **first),
            L.MaxPooling2D(2, **first),
            L.Conv2DTranspose(4, 3, strides=2, **first),
            L.AveragePooling2D(2, padding="same", **first),
            L.GlobalAveragePooling2D(**first),
            L.Dense(3),
        ]
    ), {"x": _floats(4, 3, 16, 16)}


def any_image_size() -> Made:
    image = keras.Input((None, None, 3), name="image")
    x = L.Conv2D(6, 3, strides=2, padding="same", activation="relu")(image)
    x = L.BatchNormalization()(x)
    skip = x
    x = L.SeparableConv2D(6, 3, strides=2, padding="same")(x)
    x = L.Conv2DTranspose(6, 3, strides=2, padding="same")(x)
    x = L.ZeroPadding2D(1)(L.Add()([x, skip]))
    x = L.UpSampling2D()(L.AveragePooling2D(3, 2, padding="same")(x))
    return keras.Model(image, L.Conv2D(2, 1)(x)), {"image": _floats(2, 20, 28, 3)}


# Layers that Keras 2 never had


def rms_normalization() -> Made:
    return keras.Sequential(
        [keras.Input((6,), name="x"), L.Dense(8), L.RMSNormalization(), L.Dense(2)]
    ), {"x": _floats(4, 6)}


def group_query_attention() -> Made:
    x = keras.Input((6, 8), name="x")
    y = L.GroupQueryAttention(4, 4, 2)(x, x)
    return keras.Model(x, L.Dense(2)(L.Add()([x, y]))), {"x": _floats(4, 6, 8)}


def spectral_normalization() -> Made:
    return keras.Sequential(
        [
            keras.Input((8, 8, 3), name="x"),
            L.SpectralNormalization(L.Conv2D(4, 3)),
            L.GlobalMaxPooling2D(),
            L.SpectralNormalization(L.Dense(2)),
        ]
    ), {"x": _floats(4, 8, 8, 3)}


class Mixture(L.Layer):
    """Keras operations alone."""

    def __init__(self, experts: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.experts = experts

    def build(self, shape: Any) -> None:
        self.gate = self.add_weight(shape=(shape[-1], self.experts), name="gate")
        self.kernels = self.add_weight(
            shape=(self.experts, shape[-1], shape[-1]), name="kernels"
        )

    def call(self, inputs: Any) -> Any:
        weights = ops.softmax(ops.matmul(inputs, self.gate))
        best, _ = ops.top_k(weights, 2)
        kept = ops.where(weights >= best[..., -1:], weights, 0.0)
        each = ops.einsum("bi,eij->bej", inputs, self.kernels)
        each = ops.where(each > 0, each, ops.expm1(each))
        mixed = ops.sum(each * kept[..., None], axis=1)
        total = ops.logsumexp(each, axis=(1, 2), keepdims=False)
        return ops.concatenate([mixed, ops.cumsum(mixed, axis=-1), total[:, None]], -1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "experts": self.experts}


class Waves(L.Layer):
    """Raw JAX."""

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), name="scale")

    def call(self, inputs: Any) -> Any:
        numpy = jax.numpy
        scale = numpy.asarray(self.scale)
        phase = numpy.cumsum(inputs * scale, axis=-1)
        steps = jax.lax.fori_loop(0, 3, lambda i, x: numpy.sin(x) + phase, inputs)
        norm = jax.lax.rsqrt(numpy.mean(steps**2, axis=-1, keepdims=True) + 1e-6)
        return jax.nn.silu(steps * norm) + numpy.clip(phase, -1, 1)


def custom_operations() -> Made:
    x = keras.Input((5,), name="x")
    return keras.Model(x, L.Dense(2)(Mixture()(x))), {"x": _floats(4, 5)}


def raw_jax() -> Made:
    x = keras.Input((5,), name="x")
    return keras.Model(x, L.Dense(2)(Waves()(L.Dense(4)(x)))), {"x": _floats(4, 5)}


# Whole architectures

_SMALLEST = {"InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}
CLASSES = 10


def _application(name: str) -> Callable[[], Made]:
    def make() -> Made:
        size = _SMALLEST.get(name, 32)
        model = getattr(keras.applications, name)(
            weights=None,
            input_shape=(size, size, 3),
            classes=CLASSES,
            classifier_activation=None,
        )
        images = np.random.default_rng(0).uniform(0, 255, (4, size, size, 3))
        images = images.astype("float32")
        return model, {str(_name(model.inputs[0])): images}

    return make


def _name(tensor: Any) -> str:
    return tensor._keras_history.operation.name


def calibrate(model: keras.Model, given: Any) -> None:
    """Gives a model statistics as if it had been trained.

    Without, numbers vanish on their way through a deep model, and its outputs don't
    depend on its inputs. Nor do residual branches of one that was trained outweigh what
    they are added to: where they do, rounding grows with each block.
    """
    for layer in _ends_of_branches(model):
        layer.gamma.assign(np.full(layer.gamma.shape, 0.05))
    for variable in model.weights:
        if variable.name == "gamma" and "layer_scale" in variable.path:
            variable.assign(np.full(variable.shape, 0.3, "float32"))
    kept = {}
    for layer in model._flatten_layers():
        if isinstance(layer, L.BatchNormalization):
            kept[layer], layer.momentum = layer.momentum, 0.0
    model(given, training=True)
    for layer, momentum in kept.items():
        layer.momentum = momentum
        # Not quite, so that a step in training changes them.
        mean, variance = layer.moving_mean, layer.moving_variance
        mean.assign(mean + 0.1 * ops.sqrt(variance))
        variance.assign(1.2 * variance)


def _ends_of_branches(model: keras.Model) -> Iterator[L.BatchNormalization]:
    """Yields the normalization that ends each residual branch."""
    for layer in model._flatten_layers(recursive=False):
        if not isinstance(layer, L.Add):
            continue
        ends = [_normalization_before(tensor) for tensor in layer.input]
        yield from [end for end in ends if end is not None][-1:]


def _normalization_before(tensor: Any) -> L.BatchNormalization | None:
    """Returns what made a tensor, if it is a normalization for this tensor alone."""
    made_by = tensor._keras_history.operation
    if isinstance(made_by, L.Dropout):
        made_by = made_by.input._keras_history.operation
    if not isinstance(made_by, L.BatchNormalization) or made_by.gamma is None:
        return None
    return made_by if len(made_by._outbound_nodes) == 1 else None


def _traced(name: str) -> Callable[[], Made]:
    return traced_models.MODELS[name]


APPLICATIONS = sorted(
    name
    for name, value in vars(keras.applications).items()
    if name[0].isupper() and callable(value)
)

KINDS: Mapping[str, Row] = {
    "dense": Row("Dense layers with regularizers", _traced("dense")),
    "convnet": Row("Convolutions and pools", _traced("convnet")),
    "text": Row("Text: Embedding, Bidirectional LSTM and GRU, masks", text),
    "lstm": Row("LSTM and GRU of fixed length", lstm_of_fixed_length),
    "encoder": Row("Transformer encoder", encoder),
    "u_net": Row("U-Net", u_net),
    "generator": Row("GAN generator", generator),
    "recommender": Row("Recommender: ids, embeddings, two outputs", recommender),
    "mixed_bfloat16": Row("Mixed precision, bfloat16", _mixed("mixed_bfloat16"), 0.05),
    "mixed_float16": Row("Mixed precision, float16", _mixed("mixed_float16"), 0.01),
    "custom": Row("Custom layer: training, losses, state", _traced("custom")),
    "subclassed": Row("Subclassed model with dict outputs", _traced("subclassed")),
    "several": Row("Nested and shared submodels", _traced("several")),
    "channels_first": Row("Channels-first convolutions", channels_first),
    "any_image_size": Row("Images of any size", any_image_size),
    "rms_normalization": Row("RMSNormalization", rms_normalization),
    "group_query_attention": Row("GroupQueryAttention", group_query_attention),
    "spectral_normalization": Row("SpectralNormalization", spectral_normalization),
    "custom_operations": Row("Custom layer of `keras.ops`", custom_operations),
    "raw_jax": Row("Custom layer of raw `jax.numpy`", raw_jax),
}

ROWS: Mapping[str, Row] = {
    **KINDS,
    **{
        name: Row(name, _application(name), is_application=True)
        for name in APPLICATIONS
    },
}
