"""Keras 1's words in Keras 2's: classes, arguments and values (2015 to early 2017).

Source: the documentation of Keras 1.2 and the migration notes of Keras 2.0, and files
that Keras 1.0, 1.1 and 1.2 wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regraft.errors import UnsafeFileError, UnsupportedError

Config = dict[str, Any]

CLASSES: Mapping[str, str] = {
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "AtrousConv1D": "Conv1D",
    "AtrousConv2D": "Conv2D",
    "Deconvolution2D": "Conv2DTranspose",
    "Deconv2D": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D",
    # On a sequence Dense computes the same, and hands the mask on as it did.
    "TimeDistributedDense": "Dense",
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
    "t_left_init": "t_left_initializer",
    "a_left_init": "a_left_initializer",
    "t_right_init": "t_right_initializer",
    "a_right_init": "a_right_initializer",
    "depthwise_init": "depthwise_initializer",
    "pointwise_init": "pointwise_initializer",
    "length": "size",
}

# Keys that mean something else, or stay as they are, in one class.
_RENAMED_IN: Mapping[str, Mapping[str, str]] = {
    "Embedding": {
        "init": "embeddings_initializer",
        "W_regularizer": "embeddings_regularizer",
        "W_constraint": "embeddings_constraint",
        "output_dim": "output_dim",
        "dropout": "dropout",
    },
    "SeparableConv2D": {"init": "depthwise_initializer"},
    "PReLU": {"init": "alpha_initializer"},
    "ParametricSoftplus": {"alpha_init": "alpha_init", "beta_init": "beta_init"},
}

# What no longer is an argument, and the values that changed nothing.
_DROPPED: Mapping[str, tuple[Any, ...]] = {
    "consume_less": ("cpu", "mem", "gpu"),
    "input_dim": (),
    "input_length": (),
    "weights": (None,),
}
_LAYOUT = {"th": "channels_first", "tf": "channels_last", "default": None}
_MERGES = {
    "sum": "Add",
    "mul": "Multiply",
    "concat": "Concatenate",
    "ave": "Average",
    "max": "Maximum",
    "dot": "Dot",
    "cos": "CosineMerge",
}
_REGULARIZERS = ("L1L2Regularizer", "WeightRegularizer", "ActivityRegularizer", "L1L2")


# Layers whose configs didn't say the layout of images, and that need it.
_WITHOUT_LAYOUT = tuple(
    f"{name}{rank}D"
    for name in ("ZeroPadding", "Cropping", "UpSampling")
    for rank in (2, 3)
)


def layout_of(config: Any) -> str | None:
    """The layout of images that the layers of a model of Keras 1 agree on."""
    found: set[str] = set()
    pending = [config]
    while pending:
        item = pending.pop()
        if isinstance(item, Mapping):
            found.add(str(item.get("dim_ordering", "default")))
            pending.extend(item.values())
        elif isinstance(item, list | tuple):
            pending.extend(item)
    found.discard("default")
    return _LAYOUT.get(found.pop()) if len(found) == 1 else None


def modernized(
    class_name: str, config: Config, layout: str | None = None
) -> tuple[str, Config]:
    """Returns Keras 2's class name and config of a layer of Keras 1.

    Args:
        class_name: Keras 1's.
        config: Keras 1's.
        layout: Of images, for a layer that doesn't say it.

    Raises:
        UnsupportedError: An argument of Keras 1 has no equal.
    """
    name = CLASSES.get(class_name, class_name)
    if name == "Merge":
        return _merge(config)
    found: Config = {}
    for key, value in config.items():
        key = _key(name, key)
        found[key] = _object(name, key, value)
    _kernel_size(found)
    if "dim_ordering" in found:
        found["data_format"] = _LAYOUT[found.pop("dim_ordering")]
    elif name in _WITHOUT_LAYOUT and layout is not None:
        found["data_format"] = layout
    if found.get("forget_bias_init") is not None:
        found["unit_forget_bias"] = found.pop("forget_bias_init") == "one"
    if name == "GRU":
        found.setdefault("reset_after", False)
    if name == "BatchNormalization":
        name = _batch_normalization(found)
    if name in ("Conv2DTranspose", "Reshape"):
        found.pop("output_shape", None)
    if name == "Reshape" and isinstance(found.get("target_shape"), list):
        found["target_shape"] = tuple(found["target_shape"])
    _drop(name, found)
    if name == "Embedding":
        if found.get("dropout"):
            name = "DroppedEmbedding"
        else:
            found.pop("dropout", None)
    return name, found


def _key(name: str, key: str) -> str:
    special = _RENAMED_IN.get(name, {}).get(key)
    if special is not None:
        return special
    if key == "output_dim":
        return "units"
    if key == "stride" and name.startswith("Conv"):
        return key
    return _RENAMED.get(key, key)


def _object(name: str, key: str, value: Any) -> Any:
    """Keras 1 wrote regularizers and constraints as `{"name": …, …}`."""
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        return value
    arguments = {inner: item for inner, item in value.items() if inner != "name"}
    if key.endswith("_regularizer"):
        if value["name"] not in _REGULARIZERS:
            raise UnsupportedError(
                f"Keras 1's regularizer {value['name']!r} of {name} has no equal."
            )
        return {"class_name": "L1L2", "config": arguments}
    if key.endswith("_constraint"):
        if "m" in arguments:
            arguments["max_value"] = arguments.pop("m")
        return {"class_name": value["name"], "config": arguments}
    return value


def _kernel_size(config: Config) -> None:
    sizes = [f"kernel_dim{axis}" for axis in (1, 2, 3)]
    for keys in (("nb_row", "nb_col"), tuple(sizes)):
        if all(key in config for key in keys):
            config["kernel_size"] = [config.pop(key) for key in keys]


def _batch_normalization(config: Config) -> str:
    mode = config.pop("mode", 0)
    if mode == 0:
        return "BatchNormalization"
    config["mode"] = mode
    return "ModalBatchNormalization"


def _drop(name: str, config: Config) -> None:
    for key, harmless in _DROPPED.items():
        if key not in config or (key == "input_dim" and "Embedding" in name):
            continue
        value = config.pop(key)
        if harmless and value not in harmless:
            raise UnsupportedError(
                f"Keras 1's {key}={value!r} of {name} {config.get('name')!r} has no "
                f"equal. Pass a class that has it in `custom_objects={{{name!r}: …}}`."
            )


def _merge(config: Config) -> tuple[str, Config]:
    mode = config.get("mode")
    if config.get("mode_type", "raw") != "raw":
        raise UnsafeFileError(
            f"Merge {config.get('name')!r} merges with Python code. Pass a layer for "
            "it in `custom_objects={'Merge': …}`."
        )
    if mode not in _MERGES:
        raise UnsupportedError(
            f"Keras 1's Merge with mode={mode!r} has no equal. Pass a layer for it in "
            "`custom_objects={'Merge': …}`."
        )
    found = {"name": config.get("name")}
    if mode == "concat":
        found["axis"] = config.get("concat_axis", -1)
    if mode in ("dot", "cos"):
        axes = config.get("dot_axes", -1)
        found["axes"] = tuple(axes) if isinstance(axes, list) else axes
    return _MERGES[mode], found
