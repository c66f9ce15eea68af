"""Keras 1's words in Keras 2's: classes, arguments and values (2015 to early 2017).

Source: the documentation of Keras 1.2 and the migration notes of Keras 2.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regraft.errors import UnsupportedError

Config = dict[str, Any]

CLASSES: Mapping[str, str] = {
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "Deconvolution2D": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D",
    "TimeDistributedDense": "TimeDistributedDense",
}

_RENAMED: Mapping[str, str] = {
    "W_regularizer": "kernel_regularizer",
    "b_regularizer": "bias_regularizer",
    "U_regularizer": "recurrent_regularizer",
    "W_constraint": "kernel_constraint",
    "b_constraint": "bias_constraint",
    "U_constraint": "recurrent_constraint",
    "init": "kernel_initializer",
    "inner_init": "recurrent_initializer",
    "inner_activation": "recurrent_activation",
    "bias": "use_bias",
    "nb_filter": "filters",
    "filter_length": "kernel_size",
    "subsample": "strides",
    "subsample_length": "strides",
    "stride": "strides",
    "border_mode": "padding",
    "pool_length": "pool_size",
    "atrous_rate": "dilation_rate",
    "p": "rate",
    "sigma": "stddev",
    "dropout_W": "dropout",
    "dropout_U": "recurrent_dropout",
    "gamma_init": "gamma_initializer",
    "beta_init": "beta_initializer",
    "input_dtype": "dtype",
}

# What no longer is an argument, and the values that changed nothing.
_DROPPED: Mapping[str, tuple[Any, ...]] = {
    "consume_less": ("cpu", "mem", "gpu"),
    "input_dim": (),
    "mode": (0,),
    "weights": (None,),
    "output_shape": (),
}
_RECURRENT = ("SimpleRNN", "GRU", "LSTM")
_LAYOUT = {"th": "channels_first", "tf": "channels_last", "default": None}
_MERGES = {
    "sum": "Add",
    "mul": "Multiply",
    "concat": "Concatenate",
    "ave": "Average",
    "max": "Maximum",
    "dot": "Dot",
}


def modernized(class_name: str, config: Config) -> tuple[str, Config]:
    """Returns Keras 2's class name and config of a layer of Keras 1.

    Raises:
        UnsupportedError: An argument of Keras 1 has no equal.
    """
    name = CLASSES.get(class_name, class_name)
    if name == "Merge":
        return _merge(config)
    found: Config = {}
    for key, value in config.items():
        found[_key(name, key)] = value
    _kernel_size(found)
    if "dim_ordering" in found:
        found["data_format"] = _LAYOUT[found.pop("dim_ordering")]
    if found.get("forget_bias_init") is not None:
        found["unit_forget_bias"] = found.pop("forget_bias_init") == "one"
    if name == "GRU":
        found.setdefault("reset_after", False)
    if name == "BatchNormalization":
        found.pop("momentum_", None)
    if name == "Conv2DTranspose":
        found.pop("output_shape", None)
    _drop(name, found)
    return name, found


def _key(name: str, key: str) -> str:
    if key == "output_dim" and name != "Embedding":
        return "units"
    if name == "Embedding":
        words = {"init": "embeddings_initializer"}
        words["W_regularizer"] = "embeddings_regularizer"
        words["W_constraint"] = "embeddings_constraint"
        return words.get(key, key)
    if key == "stride" and name.startswith("Conv"):
        return key
    if name == "SeparableConv2D" and key == "init":
        return "depthwise_initializer"
    return _RENAMED.get(key, key)


def _kernel_size(config: Config) -> None:
    sizes = [f"kernel_dim{axis}" for axis in (1, 2, 3)]
    for keys in (("nb_row", "nb_col"), tuple(sizes)):
        if all(key in config for key in keys):
            config["kernel_size"] = [config.pop(key) for key in keys]


def _drop(name: str, config: Config) -> None:
    for key, harmless in _DROPPED.items():
        if key not in config or (key == "input_dim" and name == "Embedding"):
            continue
        if key in ("mode", "output_shape") and name != "BatchNormalization":
            continue
        value = config.pop(key)
        if harmless and value not in harmless:
            raise UnsupportedError(
                f"Keras 1's {key}={value!r} of {name} {config.get('name')!r} has no "
                f"equal. Pass a class that has it in `custom_objects={{{name!r}: …}}`."
            )
    if name == "Embedding" and not config.get("dropout"):
        config.pop("dropout", None)


def _merge(config: Config) -> tuple[str, Config]:
    mode = config.get("mode")
    if mode not in _MERGES:
        raise UnsupportedError(
            f"Keras 1's Merge with mode={mode!r} has no equal. Pass a layer for it in "
            "`custom_objects={'Merge': …}`."
        )
    found = {"name": config.get("name")}
    if mode == "concat":
        found["axis"] = config.get("concat_axis", -1)
    if mode == "dot":
        found["axes"] = config.get("dot_axes", -1)
    return _MERGES[mode], found
