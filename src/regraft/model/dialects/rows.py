"""The table: one row per layer class whose words differ between Keras 2 and 3.

A class without a row has the same words in both. Keys that one class does not know
are dropped only at values that change nothing; see `Row`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

from regraft.errors import UnsupportedError
from regraft.model.dialects.context import BuildContext
from regraft.model.dialects.dialect import DEFAULT_SALT, Dialect
from regraft.model.dialects.registry import find_custom
from regraft.model.keras2 import (
    added_metrics,
    host_layers,
    host_lookup,
    host_text,
    layers_cells,
    layers_features,
    layers_keras1,
    layers_local,
    layers_merging,
    layers_normalization,
    layers_preprocessing,
    layers_random_features,
    op_layers,
    premade_models,
)
from regraft.model.keras2 import layers as keras2
from regraft.model.keras2 import layers_addons as addons
from regraft.model.keras2 import layers_applications as applications
from regraft.model.keras2 import layers_recurrent as recurrent
from regraft.model.keras2.registration import ADDONS
from regraft.model.metadata import TypeSpec

Config = dict[str, Any]


Choose = Callable[[Mapping[str, Any], Dialect], type[keras.layers.Layer] | None]


class _Anything:
    """Equal to every value: a key that never changes what a layer computes."""

    def __contains__(self, value: object) -> bool:
        return True


ANYTHING = _Anything()
FALSY = (None, False)


@dataclass(frozen=True)
class Row:
    """What differs for one class.

    Attributes:
        renamed: Keras 2's key → Keras 3's.
        dropped: Keras 2's keys that Keras 3 lacks → the values that say nothing.
        absent: Values that Keras 2 meant where an older version wrote no such key.
        keras2_class: Regraft's class that computes as Keras 2's; `None` where
            Keras 3's does.
        replaces: Whether `keras2_class` stands for Keras 3's class too, which runs on
            TensorFlow alone.
        choose: Picks a class of Regraft's for some configs only.
        ends_masks: Whether Keras 2's layer gave its output no mask, where Keras 3's
            hands its input's on.
        translate: Changes a config of Keras 2 in place into one of Keras 3.
        edges: Keras 3's attribute → Keras 2's edge in the object graph.
    """

    renamed: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, Any] = field(default_factory=dict)
    absent: Mapping[str, Any] = field(default_factory=dict)
    keras2_class: type[keras.layers.Layer] | None = None
    replaces: bool = False
    choose: Choose | None = None
    ends_masks: bool = False
    translate: Callable[[Config, BuildContext], None] | None = None
    edges: Mapping[str, str] = field(default_factory=dict)


# Keys that any layer of Keras 2 may write and that say nothing about its result:
# shapes (the file's graph has them) and how eagerly it ran.
EVERYWHERE: Mapping[str, Any] = {
    "batch_input_shape": ANYTHING,
    "input_shape": ANYTHING,
    "input_dtype": ANYTHING,
    "batch_size": ANYTHING,
    "dynamic": ANYTHING,
    "weights": (None,),
    "autocast": ANYTHING,
    "rng_type": ANYTHING,
    "force_generator": ANYTHING,
    "trainable": ANYTHING,
    "activity_regularizer": (None,),
    "ragged": FALSY,
}


def _single_axis(config: Config, context: BuildContext) -> None:
    axis = config.get("axis")
    if isinstance(axis, (list, tuple)) and len(axis) == 1:
        config["axis"] = axis[0]


def _random_features(config: Config, context: BuildContext) -> None:
    # The names of its kernels are no initializers'.
    drawn = config.get("kernel_initializer")
    config["kernel_initializer"] = layers_random_features.random_kernel(drawn)


def _normalized_axes(one: type[keras.layers.Layer]) -> Choose:
    """A class for one axis, and that for several."""

    def choose(config: Mapping[str, Any], dialect: Dialect) -> type[keras.layers.Layer]:
        axis = config.get("axis")
        several = isinstance(axis, (list, tuple)) and len(axis) > 1
        return layers_normalization.BatchNormalization if several else one

    return choose


def _batch_normalization(config: Config, context: BuildContext) -> None:
    _single_axis(config, context)
    dialect = context.dialect
    config.setdefault("correction", dialect.batch_norm_corrects_variance or "never")
    if not dialect.batch_norm_sees_masks:
        config.setdefault("ignores_mask", True)
    if dialect.frozen_batch_norm != "infers":
        config.setdefault("when_frozen", dialect.frozen_batch_norm)
    if config.pop("fused", None) is False or config.get("synchronized"):
        config["correction"] = "never"
    # Keras 3 knows it for TensorFlow's replicas alone; one replica needs none.
    config.pop("synchronized", None)


def _bidirectional(config: Config, context: BuildContext) -> None:
    """Names the backward layer where the other one goes backwards.

    Keras 3 gives every layer a mirror that goes backwards, and refuses it then.
    """
    layer = config.get("layer")
    if not isinstance(layer, Mapping) or config.get("backward_layer") is not None:
        return
    inner = layer.get("config")
    if isinstance(inner, Mapping) and inner.get("go_backwards"):
        name = "backward_" + str(inner.get("name", "")).removeprefix("forward_")
        mirror = {**layer, "config": {**inner, "go_backwards": False, "name": name}}
        mirror.pop("shared_object_id", None)
        config["backward_layer"] = mirror


def _of_two_layers(
    config: Mapping[str, Any], dialect: Dialect
) -> type[keras.layers.Layer] | None:
    """A class for two layers that may be of other shapes."""
    return recurrent.Bidirectional if config.get("backward_layer") else None


def _time_distributed(config: Config, context: BuildContext) -> None:
    if context.dialect.generation < 3 and not context.dialect.tensorflow:
        config["asks_networks"] = False


def _synchronized(config: Config, context: BuildContext) -> None:
    config["synchronized"] = True
    _batch_normalization(config, context)


def _tensor_spec(config: Mapping[str, Any]) -> tuple[Any, str] | None:
    """The shape and dtype that an input says with a `tf.TensorSpec` alone."""
    spec = config.get("type_spec")
    if not isinstance(spec, TypeSpec) or spec.name != "tf.TensorSpec":
        return None
    shape, dtype = spec.shape, spec.dtype
    return None if shape is None or dtype is None else (shape, dtype)


def _input_layer(config: Config, context: BuildContext) -> None:
    if (spec := _tensor_spec(config)) is not None:
        del config["type_spec"]
        config["batch_input_shape"], config["dtype"] = spec
    shape = config.pop("batch_input_shape", None)
    if isinstance(shape, Mapping):  # a serialized tuple or TensorShape
        shape = shape.get("items")
    if shape is not None:
        config.setdefault("batch_shape", tuple(shape))
    if config.get("ragged"):
        raise UnsupportedError(
            f"Input {config.get('name')!r} is ragged, which Keras' "
            f"{keras.backend.backend()} backend has no tensors for."
        )
    config.pop("ragged", None)


def _text_input(config: Mapping[str, Any], dialect: Dialect) -> Any:
    _, dtype = _tensor_spec(config) or (None, config.get("dtype"))
    is_text = "string" in (dtype, config.get("input_dtype"))
    return host_layers.InputLayer if is_text else None


def _dense_only(config: Config, context: BuildContext) -> None:
    if config.get("sparse"):
        context.note(
            f"layer {config.get('name')!r}",
            "gives dense tensors of the same values: this backend has no sparse ones",
        )


def _hashing(config: Config, context: BuildContext) -> None:
    _dense_only(config, context)
    salt = config.get("salt")
    if context.dialect.hashing_writes_no_salt_as_a_key and isinstance(salt, list):
        config["salt"] = None if tuple(salt) == DEFAULT_SALT else salt


def _text_vectorization(config: Config, context: BuildContext) -> None:
    _dense_only(config, context)
    for key in ("standardize", "split"):
        value = config.get(key)
        name = value.get("config") if isinstance(value, Mapping) else value
        known = find_custom(name, context) if isinstance(name, str) else None
        if known is not None:
            config[key] = known


def _layer_normalization(config: Config, context: BuildContext) -> None:
    axis = config.get("axis")
    if isinstance(axis, (list, tuple)) and len(axis) == 1:
        config["axis"] = axis[0]


def _category_encoding(config: Config, context: BuildContext) -> None:
    if config.get("output_mode") == "binary":
        config["output_mode"] = "multi_hot"


def _average_pooling(config: Config, context: BuildContext) -> None:
    if context.dialect.average_counts_padding and config.get("padding") == "same":
        config.setdefault("counts_padding", True)


def _random_crop(config: Config, context: BuildContext) -> None:
    if context.dialect.random_crop_resizes_first:
        config.setdefault("resize_first", True)


def _resizing(config: Mapping[str, Any], dialect: Dialect) -> Any:
    way = config.get("interpolation")
    return (
        layers_preprocessing.Resizing
        if way in layers_preprocessing.ONLY_TENSORFLOW
        else None
    )


def dtype_name(dtype: Any) -> Any:
    """The name in a config of a dtype policy; what is none comes back."""
    config = dtype.get("config") if isinstance(dtype, Mapping) else None
    return config.get("name") if isinstance(config, Mapping) else dtype


def _rescaling(config: Mapping[str, Any], dialect: Dialect) -> Any:
    wide = dtype_name(config.get("dtype")) == "float64"
    return layers_preprocessing.Rescaling if wide else None


def _random_interval(config: Config, context: BuildContext) -> None:
    for key in ("factor", "height_factor", "width_factor"):
        if isinstance(config.get(key), list):
            config[key] = tuple(config[key])


def _time_major(name: str) -> Choose:
    def choose(config: Mapping[str, Any], dialect: Dialect) -> Any:
        return recurrent.TIME_MAJOR[name] if config.get("time_major") else None

    return choose


def _cell_without_others(config: Mapping[str, Any], dialect: Dialect) -> Any:
    alone = len(config.get("cells") or ()) == 1
    return layers_cells.StackedRNNCells if alone else None


def _causal(cls: type[keras.layers.Layer]) -> Choose:
    return lambda config, dialect: cls if config.get("causal") else None


def _causal_convolution(config: Mapping[str, Any], dialect: Dialect) -> Any:
    return keras2.SeparableConv1D if config.get("padding") == "causal" else None


def _softmax(config: Mapping[str, Any], dialect: Dialect) -> Any:
    masked = "robust_masking" in config or not dialect.softmax_sees_masks
    return keras2.Softmax if masked else None


def _softmax_masks(config: Config, context: BuildContext) -> None:
    config.setdefault("ignores_mask", not context.dialect.softmax_sees_masks)


def _multi_head_attention(config: Config, context: BuildContext) -> None:
    if not context.dialect.attention_sees_masks:
        config.setdefault("ignores_masks", True)


_RECURRENT = {"implementation": ANYTHING, "time_major": FALSY, "input_length": ANYTHING}
# Written for Keras 2 to refuse what it can't encode.
_CATEGORIES = {"output_rank": ANYTHING}
_CONVOLUTION = {"groups": (1, None)}
_DEPTHWISE = {
    "groups": (1, None),
    "filters": (None,),
    # Inherited from Conv's config; no such kernel exists.
    "kernel_initializer": ANYTHING,
    "kernel_regularizer": (None,),
    "kernel_constraint": (None,),
}
_SEPARABLE = {
    "groups": (1, None),
    "kernel_initializer": ANYTHING,
    "kernel_regularizer": ANYTHING,
    "kernel_constraint": ANYTHING,
}
_CONV_LSTM = Row(dropped=_RECURRENT, absent={"recurrent_activation": "hard_sigmoid"})
_SPATIAL = Row(dropped={"noise_shape": ANYTHING})

ROWS: Mapping[str, Row] = {
    "AdditiveAttention": Row(
        dropped={"causal": FALSY}, choose=_causal(keras2.AdditiveAttention)
    ),
    "Attention": Row(dropped={"causal": FALSY}, choose=_causal(keras2.Attention)),
    "AveragePooling1D": Row(translate=_average_pooling),
    "AveragePooling2D": Row(translate=_average_pooling),
    "BatchNormalization": Row(
        choose=_normalized_axes(keras2.BatchNormalization),
        dropped={"virtual_batch_size": (None,), "adjustment": (None,)},
        translate=_batch_normalization,
    ),
    "SyncBatchNormalization": Row(
        choose=_normalized_axes(keras2.SyncBatchNormalization),
        translate=_synchronized,
    ),
    "Bidirectional": Row(translate=_bidirectional, choose=_of_two_layers),
    "CategoryEncoding": Row(
        renamed={"max_tokens": "num_tokens"},
        dropped=_CATEGORIES,
        translate=_category_encoding,
    ),
    "Conv1DTranspose": Row(dropped=_CONVOLUTION),
    "Conv2DTranspose": Row(dropped=_CONVOLUTION),
    "Conv3DTranspose": Row(dropped=_CONVOLUTION),
    "ConvLSTM1D": _CONV_LSTM,
    "ConvLSTM2D": _CONV_LSTM,
    "ConvLSTM3D": _CONV_LSTM,
    "DepthwiseConv1D": Row(dropped=_DEPTHWISE, edges={"kernel": "depthwise_kernel"}),
    "DepthwiseConv2D": Row(dropped=_DEPTHWISE, edges={"kernel": "depthwise_kernel"}),
    "DenseFeatures": Row(keras2_class=layers_features.DenseFeatures, replaces=True),
    "SequenceFeatures": Row(keras2_class=layers_features.SequenceFeatures),
    "Discretization": Row(renamed={"bins": "bin_boundaries"}, dropped=_CATEGORIES),
    "Embedding": Row(dropped={"input_length": ANYTHING, "sparse": ANYTHING}),
    "Identity": Row(keras2_class=keras2.Identity),
    "InputLayer": Row(
        renamed={"input_dtype": "dtype"}, translate=_input_layer, choose=_text_input
    ),
    "TextVectorization": Row(
        keras2_class=host_text.TextVectorization,
        replaces=True,
        translate=_text_vectorization,
    ),
    "StringLookup": Row(
        keras2_class=host_lookup.StringLookup, replaces=True, translate=_dense_only
    ),
    "IntegerLookup": Row(
        keras2_class=host_lookup.IntegerLookup,
        replaces=True,
        renamed={
            "max_values": "max_tokens",
            "mask_value": "mask_token",
            "oov_value": "oov_token",
        },
        translate=_dense_only,
    ),
    "Hashing": Row(keras2_class=host_text.Hashing, replaces=True, translate=_hashing),
    "HashedCrossing": Row(
        keras2_class=host_text.HashedCrossing, replaces=True, translate=_dense_only
    ),
    "CategoryCrossing": Row(keras2_class=host_text.CategoryCrossing),
    "GRU": Row(
        dropped=_RECURRENT,
        absent={"reset_after": False},
        choose=_time_major("GRU"),
    ),
    "GRUCell": Row(dropped=_RECURRENT, absent={"reset_after": False}),
    "LSTM": Row(dropped=_RECURRENT, choose=_time_major("LSTM")),
    "LSTMCell": Row(dropped=_RECURRENT),
    "SimpleRNN": Row(dropped=_RECURRENT, choose=_time_major("SimpleRNN")),
    "SimpleRNNCell": Row(dropped=_RECURRENT),
    "RNN": Row(dropped=_RECURRENT, choose=_time_major("RNN")),
    "PeepholeLSTMCell": Row(
        keras2_class=layers_cells.PeepholeLSTMCell, dropped=_RECURRENT
    ),
    "DeviceWrapper": Row(keras2_class=layers_cells.DeviceWrapper),
    "DropoutWrapper": Row(
        keras2_class=layers_cells.DropoutWrapper, dropped={"input_size": ANYTHING}
    ),
    "ResidualWrapper": Row(keras2_class=layers_cells.ResidualWrapper),
    "StackedRNNCells": Row(
        dropped={"reverse_state_order": FALSY}, choose=_cell_without_others
    ),
    "LayerNormalization": Row(
        translate=_layer_normalization, dropped={"rms_scaling": FALSY}
    ),
    "Layer": Row(keras2_class=keras2.Layer),
    "ReLU": Row(keras2_class=keras2.ReLU),
    "LeakyReLU": Row(
        keras2_class=keras2.LeakyReLU, renamed={"alpha": "negative_slope"}
    ),
    "MultiHeadAttention": Row(
        keras2_class=keras2.MultiHeadAttention,
        translate=_multi_head_attention,
        dropped={
            "query_shape": ANYTHING,
            "key_shape": ANYTHING,
            "value_shape": ANYTHING,
        },
    ),
    "Normalization": Row(ends_masks=True),
    "Rescaling": Row(choose=_rescaling, ends_masks=True),
    "Resizing": Row(choose=_resizing),
    "SeparableConv1D": Row(dropped=_SEPARABLE, choose=_causal_convolution),
    "SeparableConv2D": Row(dropped=_SEPARABLE),
    "Softmax": Row(
        dropped={"ignores_mask": FALSY}, choose=_softmax, translate=_softmax_masks
    ),
    "SpectralNormalization": Row(),
    "SpatialDropout1D": _SPATIAL,
    "SpatialDropout2D": _SPATIAL,
    "SpatialDropout3D": _SPATIAL,
    "ThresholdedReLU": Row(keras2_class=keras2.ThresholdedReLU),
    "RandomFourierFeatures": Row(
        keras2_class=layers_random_features.RandomFourierFeatures,
        translate=_random_features,
    ),
    "UnitNormalization": Row(keras2_class=keras2.UnitNormalization),
    "Wrapper": Row(keras2_class=keras2.Wrapper),
    "TFOpLambda": Row(keras2_class=op_layers.TFOpLambda),
    "TensorFlowOpLayer": Row(keras2_class=op_layers.TensorFlowOpLayer),
    "SlicingOpLambda": Row(keras2_class=op_layers.SlicingOpLambda),
    "AddonsGroupNormalization": Row(keras2_class=addons.AddonsGroupNormalization),
    "AddonsInstanceNormalization": Row(keras2_class=addons.AddonsInstanceNormalization),
    "CustomScaleLayer": Row(keras2_class=applications.CustomScaleLayer),
    "LayerScale": Row(keras2_class=applications.LayerScale),
    "StochasticDepth": Row(keras2_class=applications.StochasticDepth),
    "LinearModel": Row(keras2_class=premade_models.LinearModel, replaces=True),
    "WideDeepModel": Row(keras2_class=premade_models.WideDeepModel, replaces=True),
    "LocallyConnected1D": Row(keras2_class=layers_local.LocallyConnected1D),
    "LocallyConnected2D": Row(keras2_class=layers_local.LocallyConnected2D),
    "RandomCrop": Row(
        keras2_class=layers_preprocessing.RandomCrop, translate=_random_crop
    ),
    "TimeDistributed": Row(
        keras2_class=recurrent.TimeDistributed, translate=_time_distributed
    ),
    **{
        name: Row(
            keras2_class=getattr(layers_preprocessing, name),
            translate=_random_interval,
        )
        for name in (
            "RandomBrightness",
            "RandomContrast",
            "RandomFlip",
            "RandomRotation",
            "RandomTranslation",
            "RandomZoom",
        )
    },
    "RandomHeight": Row(keras2_class=layers_preprocessing.RandomHeight),
    "RandomWidth": Row(keras2_class=layers_preprocessing.RandomWidth),
    "CuDNNLSTM": Row(
        keras2_class=recurrent.CuDNNLSTM,
        dropped={"time_major": FALSY},
    ),
    "CuDNNGRU": Row(
        keras2_class=recurrent.CuDNNGRU,
        dropped={"time_major": FALSY},
    ),
    **{
        name: Row(keras2_class=getattr(layers_keras1, name))
        for name in (
            "CosineMerge",
            "DroppedEmbedding",
            "MaxoutDense",
            "ModalBatchNormalization",
            "ParametricSoftplus",
            "SReLU",
        )
    },
    "Highway": Row(
        keras2_class=layers_keras1.Highway,
        dropped={"transform_bias": ANYTHING},  # What a bias began with.
    ),
    **{name: Row(keras2_class=cls) for name, cls in layers_merging.CLASSES.items()},
    "AddLoss": Row(keras2_class=keras2.AddLoss),
    "AddMetric": Row(keras2_class=added_metrics.AddMetric),
}

# Regraft's layers that files know by a registered name. The one that Keras 2 registers,
# as somebody's own, is InceptionResNetV2's.
REGISTERED: Mapping[str, str] = {
    "CustomScaleLayer": "Custom>CustomScaleLayer",
    "AddonsGroupNormalization": f"{ADDONS}GroupNormalization",
    "AddonsInstanceNormalization": f"{ADDONS}InstanceNormalization",
}

ALIASES: Mapping[str, str] = {
    # Names by which TensorFlow told implementations of one class apart.
    **{
        f"{name}{version}": name
        for name in ("BatchNormalization", "LSTM", "GRU", "LSTMCell", "GRUCell")
        for version in ("V1", "V2")
    },
    **{name: plain for plain, name in REGISTERED.items()},
}

_TEXT = "Keras 3's runs on TensorFlow alone; it comes back from its traced functions"
_METHODS = "calls methods of ragged and sparse tensors, which other backends lack"
_BASE = "a base class; files hold its subclasses"

# Classes of Keras 2 that have no row, and why.
WITHOUT_ROW: Mapping[str, str] = {
    "AbstractRNNCell": _BASE,
    "BaseRandomLayer": _BASE,
    "BatchNormalizationBase": _BASE,
    "PreprocessingLayer": _BASE,
    "ClassMethod": _METHODS,
    "InstanceMethod": _METHODS,
    "InstanceProperty": _METHODS,
    "DynamicEmbedding": _TEXT,
    "DynamicLookup": _TEXT,
    "_RNNCellWrapper": _BASE,
}

NO_ROW = Row()
