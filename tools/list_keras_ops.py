"""Lists the TensorFlow ops in the traces of tf_keras' layers and applications.

Run where TensorFlow and tf_keras are:

    python tools/list_keras_ops.py > ops.txt

Each layer is traced with several options, in training and inference, forward; so
is each application, with random weights. A row is an op and who uses it.
"""

from __future__ import annotations

import collections
import gc
import inspect
import sys
from collections.abc import Iterator
from typing import Any

import tensorflow as tf  # noqa: TID251
import tf_keras as keras  # noqa: TID251

L = keras.layers
IMAGE = (2, 8, 8, 4)
SEQUENCE = (2, 6, 4)
VOLUME = (2, 6, 6, 6, 3)


def layers() -> Iterator[tuple[str, Any, Any]]:
    """Yields a name, a layer, and the shape (or shapes, or dtype) of its input."""
    for activation in (
        *("elu", "exponential", "gelu", "hard_sigmoid", "linear", "mish", "relu"),
        *("selu", "sigmoid", "softmax", "softplus", "softsign", "swish", "tanh"),
    ):
        yield "Dense", L.Dense(3, activation=activation), SEQUENCE
    for rank, shape in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME)):
        yield from _convolutions(rank, shape)
        yield from _pools(rank, shape)
    for cell in (L.LSTM, L.GRU, L.SimpleRNN):
        for options in (
            {},
            {"return_sequences": True, "go_backwards": True},
            {"dropout": 0.2, "recurrent_dropout": 0.2},
            {"stateful": True},
            {"unroll": True},
            {"return_state": True, "time_major": True},
        ):
            yield cell.__name__, cell(3, **options), SEQUENCE
    yield "GRU", L.GRU(3, reset_after=False), SEQUENCE
    yield "Bidirectional", L.Bidirectional(L.LSTM(3)), SEQUENCE
    yield "StackedRNN", L.RNN([L.LSTMCell(3), L.GRUCell(2)]), SEQUENCE
    yield "TimeDistributed", L.TimeDistributed(L.Dense(2)), SEQUENCE
    for rank in (1, 2, 3):
        cell = getattr(L, f"ConvLSTM{rank}D", None)
        if cell is not None:
            shape = (2, 3, *(6,) * rank, 2)
            yield f"ConvLSTM{rank}D", cell(2, 3, return_sequences=True), shape
    for name, options in _SIMPLE:
        yield name, getattr(L, name)(**options), SEQUENCE
    for name, options in _IMAGES:
        yield name, getattr(L, name)(**options), IMAGE
    for name in ("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply"):
        yield name, getattr(L, name)(), [SEQUENCE, SEQUENCE]
    yield "Subtract", L.Subtract(), [SEQUENCE, SEQUENCE]
    yield "Dot", L.Dot(axes=2, normalize=True), [SEQUENCE, SEQUENCE]
    for causal in (False, True):
        yield (
            "Attention",
            _call(L.Attention(use_scale=True, dropout=0.1), causal),
            [
                SEQUENCE,
                SEQUENCE,
            ],
        )
        yield (
            "AdditiveAttention",
            _call(L.AdditiveAttention(), causal),
            [
                SEQUENCE,
                SEQUENCE,
            ],
        )
        layer = L.MultiHeadAttention(2, 3, dropout=0.1)
        yield "MultiHeadAttention", _pair(layer, causal), [SEQUENCE, SEQUENCE]


def _call(layer: Any, causal: bool) -> Any:
    return lambda x, training: layer(x, use_causal_mask=causal, training=training)


def _pair(layer: Any, causal: bool) -> Any:
    return lambda x, training: layer(
        x[0], x[1], use_causal_mask=causal, training=training
    )


def _convolutions(rank: int, shape: Any) -> Iterator[tuple[str, Any, Any]]:
    for padding in ("valid", "same"):
        plain = getattr(L, f"Conv{rank}D")(4, 2, padding=padding)
        yield f"Conv{rank}D", plain, shape
        transpose = getattr(L, f"Conv{rank}DTranspose")
        wide = transpose(4, 2, strides=2, padding=padding)
        yield f"Conv{rank}DTranspose", wide, shape
        if rank < 3:
            for name in ("DepthwiseConv", "SeparableConv"):
                layer = getattr(L, f"{name}{rank}D")
                arguments = (4, 2) if name == "SeparableConv" else (2,)
                yield f"{name}{rank}D", layer(*arguments, padding=padding), shape
    dilated = getattr(L, f"Conv{rank}D")(4, 2, dilation_rate=2, padding="same")
    yield f"Conv{rank}D", dilated, shape
    if rank < 3:
        groups = getattr(L, f"Conv{rank}D")(4, 2, groups=2)
        yield f"Conv{rank}D", groups, shape
        local = getattr(L, f"LocallyConnected{rank}D")
        for implementation in (1, 2, 3):
            layer = local(2, 2, implementation=implementation)
            yield f"LocallyConnected{rank}D", layer, shape
    if rank == 1:
        yield "Conv1D", L.Conv1D(4, 2, padding="causal"), shape


def _pools(rank: int, shape: Any) -> Iterator[tuple[str, Any, Any]]:
    for how in ("Max", "Average"):
        for padding in ("valid", "same"):
            pool = getattr(L, f"{how}Pooling{rank}D")(2, padding=padding)
            yield f"{how}Pooling{rank}D", pool, shape
        for keep in (False, True):
            layer = getattr(L, f"Global{how}Pooling{rank}D")(keepdims=keep)
            yield f"Global{how}Pooling{rank}D", layer, shape
    yield f"UpSampling{rank}D", getattr(L, f"UpSampling{rank}D")(2), shape
    yield f"ZeroPadding{rank}D", getattr(L, f"ZeroPadding{rank}D")(1), shape
    yield f"Cropping{rank}D", getattr(L, f"Cropping{rank}D")(1), shape


_SIMPLE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("Activation", {"activation": "relu"}),
    ("ActivityRegularization", {"l1": 0.1, "l2": 0.1}),
    ("AlphaDropout", {"rate": 0.2}),
    ("BatchNormalization", {}),
    ("Dropout", {"rate": 0.2}),
    ("Dropout", {"rate": 0.2, "noise_shape": (2, 1, 4)}),
    ("ELU", {}),
    ("EinsumDense", {"equation": "abc,cd->abd", "output_shape": (None, 3)}),
    ("Flatten", {}),
    ("GaussianDropout", {"rate": 0.2}),
    ("GaussianNoise", {"stddev": 0.2}),
    ("GroupNormalization", {"groups": 2}),
    ("LayerNormalization", {}),
    ("LeakyReLU", {}),
    ("Masking", {}),
    ("PReLU", {}),
    ("Permute", {"dims": (2, 1)}),
    ("ReLU", {"max_value": 3.0, "negative_slope": 0.1, "threshold": 0.2}),
    ("Reshape", {"target_shape": (-1, 2)}),
    ("Softmax", {"axis": (1, 2)}),
    ("SpatialDropout1D", {"rate": 0.2}),
    ("ThresholdedReLU", {}),
    ("UnitNormalization", {}),
    ("Normalization", {"mean": 1.0, "variance": 2.0}),
    ("Discretization", {"bin_boundaries": [0.0, 1.0]}),
)
_IMAGES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("BatchNormalization", {}),
    ("BatchNormalization", {"renorm": True}),
    ("BatchNormalization", {"axis": 1}),
    ("CenterCrop", {"height": 4, "width": 4}),
    ("CenterCrop", {"height": 12, "width": 12}),
    ("GroupNormalization", {"groups": 2}),
    ("LayerNormalization", {"axis": (1, 2, 3)}),
    ("RandomBrightness", {"factor": 0.2}),
    ("RandomContrast", {"factor": 0.2}),
    ("RandomCrop", {"height": 4, "width": 4}),
    ("RandomFlip", {}),
    ("RandomHeight", {"factor": 0.2}),
    ("RandomRotation", {"factor": 0.2}),
    ("RandomTranslation", {"height_factor": 0.2, "width_factor": 0.2}),
    ("RandomWidth", {"factor": 0.2}),
    ("RandomZoom", {"height_factor": 0.2}),
    ("Rescaling", {"scale": 2.0}),
    ("Resizing", {"height": 4, "width": 5}),
    ("Resizing", {"height": 4, "width": 5, "interpolation": "bicubic"}),
    ("Resizing", {"height": 4, "width": 5, "interpolation": "area"}),
    ("Resizing", {"height": 4, "width": 5, "interpolation": "lanczos3"}),
    ("Resizing", {"height": 4, "width": 5, "crop_to_aspect_ratio": True}),
    ("SpatialDropout2D", {"rate": 0.2}),
    ("UpSampling2D", {"size": 2, "interpolation": "bilinear"}),
)


def texts() -> Iterator[tuple[str, Any, Any]]:
    """Yields layers that take text or whole numbers."""
    words, numbers = tf.string, tf.int64
    for mode in ("int", "multi_hot", "count", "tf_idf"):
        options = {"idf_weights": [1.0, 2.0]} if mode == "tf_idf" else {}
        yield (
            "StringLookup",
            L.StringLookup(vocabulary=["a", "b"], output_mode=mode, **options),
            words,
        )
        vector = L.TextVectorization(vocabulary=["a", "b"], output_mode=mode, **options)
        yield "TextVectorization", vector, words
    yield (
        "TextVectorization",
        L.TextVectorization(vocabulary=["a", "b"], ngrams=2, split="character"),
        words,
    )
    yield "StringLookup", L.StringLookup(vocabulary=["a", "b"], invert=True), numbers
    yield "IntegerLookup", L.IntegerLookup(vocabulary=[1, 2]), numbers
    yield "Hashing", L.Hashing(7), words
    yield "Hashing", L.Hashing(7, salt=[1, 2]), words
    yield "Hashing", L.Hashing(7), numbers
    yield "Hashing", L.Hashing(7, output_mode="one_hot"), words
    cross = L.HashedCrossing(7)
    yield "HashedCrossing", lambda x, training: cross((x, x)), words
    for mode in ("one_hot", "multi_hot", "count"):
        yield "CategoryEncoding", L.CategoryEncoding(9, output_mode=mode), numbers
    yield "Embedding", L.Embedding(9, 3, mask_zero=True), numbers


def applications() -> Iterator[tuple[str, Any, Any]]:
    """Yields every application with random weights, one at a time in memory."""
    for _, module in inspect.getmembers(keras.applications, inspect.ismodule):
        for name, build in inspect.getmembers(module, inspect.isfunction):
            if not name[0].isupper():
                continue
            side = 96 if name.startswith(("Inception", "Xception")) else 64
            # NASNet pads by its input's size, and wrongly where that is open.
            fixed = {"input_shape": (64, 64, 3)} if name.startswith("NASNet") else {}
            try:
                model = build(weights=None, include_top=False, **fixed)
            except Exception as error:
                print(f"# {name}: {str(error)[:100]!r}", file=sys.stderr)
                continue
            yield (
                name,
                model,
                (1, *(length or side for length in model.input_shape[1:])),
            )
            print(f"{name} is traced", file=sys.stderr)
            del model
            keras.backend.clear_session()
            gc.collect()


def _spec(shape: Any) -> Any:
    if isinstance(shape, tf.DType):
        return tf.TensorSpec([2, 1], shape)
    if isinstance(shape, list):
        return [_spec(s) for s in shape]
    return tf.TensorSpec(shape, tf.float32)


def ops_of(layer: Any, shape: Any, training: bool) -> set[str]:
    """Returns the ops of one trace, with those of its functions."""

    def run(x: Any) -> Any:
        try:
            return layer(x, training=training)
        except TypeError:
            return layer(x)

    concrete = tf.function(run).get_concrete_function(_spec(shape))
    graph = concrete.graph.as_graph_def()
    nodes = [*graph.node]
    for function in graph.library.function:
        name = function.signature.name
        # Gradient pairs and code for other devices are never called from here.
        if "backward" not in name and "forward" not in name and "gpu" not in name:
            nodes += function.node_def
    return {node.op for node in nodes}


def main() -> None:
    """Prints ops and their users, and what could not be traced."""
    users: dict[str, set[str]] = collections.defaultdict(set)
    sources = [layers(), texts()]
    if "--applications" in sys.argv:
        sources.append(applications())
    for source in sources:
        for name, layer, shape in source:
            for training in (False, True):
                try:
                    for op in ops_of(layer, shape, training):
                        users[op].add(name)
                except Exception as error:
                    print(f"# {name}: {str(error)[:100]!r}", file=sys.stderr)
            del layer
    for op in sorted(users):
        print(op, *sorted(users[op]))


if __name__ == "__main__":
    main()
