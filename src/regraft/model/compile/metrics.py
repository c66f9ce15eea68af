"""Metrics to and from their entries in a training config."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from regraft import _compat
from regraft.errors import LimitError, UnknownNameError
from regraft.model.compile.losses import from_config, function_name
from regraft.model.compile.names import (
    FUNCTIONS,
    METRIC_CLASSES,
    METRIC_OF_FUNCTION,
    ONLY_KERAS_3,
    plain_name,
)
from regraft.model.dialects import objects
from regraft.model.dialects.context import BuildContext, Note
from regraft.model.dialects.dialect import Dialect
from regraft.model.dialects.late_arguments import metric_without_late_arguments
from regraft.model.dialects.objects import array_value
from regraft.model.dialects.registry import find_custom
from regraft.model.keras2 import metrics as keras2_metrics
from regraft.model.keras2 import metrics_addons
from regraft.model.keras2.registration import ADDONS

_CLASSES = {
    name: value
    for name, value in vars(keras.metrics).items()
    if isinstance(value, type) and issubclass(value, keras.metrics.Metric)
}
# Where Keras 2's gives another value.
_KERAS_2 = keras2_metrics.CLASSES
# These are resolved by the shapes of target and output, in both generations.
_BY_SHAPE = ("accuracy", "acc", "Accuracy", "crossentropy", "ce")
# What they are beside binary crossentropy in Keras before TensorFlow 2.2.
_BINARY_BY_LOSS = {
    "accuracy": "BinaryAccuracy",
    "acc": "BinaryAccuracy",
    "crossentropy": "BinaryCrossentropy",
    "ce": "BinaryCrossentropy",
}
# Names of classes alone in tf_keras' `metrics`.
_NO_FUNCTIONS = frozenset({"kl_divergence"})
_IGNORED = frozenset({"fn", "dtype", "name"})
# The most that the state of a metric may hold.
MAX_ENTRIES = 2**26
# What Keras 3 says of a metric and Keras 2 has no word for, with its default.
_ONLY_KERAS_3_ARGUMENTS: Mapping[str, Any] = {"from_sorted_ids": False}
# Words of an argument for which Keras 3 has another: metric, argument, word.
_VALUES: Mapping[tuple[str, str], Mapping[Any, Any]] = {
    ("AUC", "curve"): {"PR_GAIN": "PRGAIN"}
}


def _class(name: str, context: BuildContext) -> Any | None:
    if context.dialect.generation < 3 and name in _KERAS_2:
        return _KERAS_2[name]
    return _CLASSES.get(name)


def _addon(
    entry: Mapping[str, Any], plain: str, context: BuildContext
) -> type[keras.metrics.Metric] | None:
    """The class of TensorFlow Addons that a file names."""
    name = str(entry.get("registered_name") or entry["class_name"])
    known = name.startswith(ADDONS)
    if context.dialect.generation < 3 and name in metrics_addons.UNREGISTERED:
        known = True
    return metrics_addons.CLASSES.get(plain) if known else None


def build_metric(entry: Any, context: BuildContext, loss: Any = None) -> Any:
    """Makes a compile argument of a metric's entry: a name or `Metric`.

    Args:
        entry: Of a training config.
        context: Of this build.
        loss: The entry of the loss of the same output.

    Raises:
        ValueError: Nobody knows the metric.
    """
    if isinstance(entry, str):
        binary = _BINARY_BY_LOSS.get(plain_name(entry))
        if (
            binary
            and context.dialect.accuracy_is_binary_by_loss
            and _is_binary_crossentropy(loss)
            and find_custom(entry, context) is None
        ):
            named = {"class_name": binary, "config": {"name": plain_name(entry)}}
            return _build_class(named, context)
        return _build_named(entry, context)
    if callable(entry):
        return entry
    if not isinstance(entry, Mapping) or "class_name" not in entry:
        raise ValueError(f"Invalid metric: {entry!r}.")
    if entry["class_name"] == "function" and isinstance(entry.get("config"), str):
        return _build_named(str(objects.function_name(entry)), context)
    return _build_class(entry, context)


def _is_binary_crossentropy(loss: Any) -> bool:
    name = loss.get("class_name") if isinstance(loss, Mapping) else loss
    return name in ("binary_crossentropy", "BinaryCrossentropy")


def _build_named(name: str, context: BuildContext) -> Any:
    custom = find_custom(name, context)
    if custom is not None:
        return custom() if isinstance(custom, type) else custom
    plain = plain_name(name)
    if plain in _BY_SHAPE[:2] or plain in _BY_SHAPE[3:]:
        return plain
    if context.dialect.generation > 2 and _keras_knows(plain):
        return plain  # also in small letters: `precision`
    function = FUNCTIONS.get(plain, plain)
    class_name = METRIC_OF_FUNCTION.get(function, METRIC_CLASSES.get(plain, plain))
    cls = _class(class_name, context)
    if cls is not None:
        # Keras 2 calls the result what the user called the metric.
        return cls() if plain == class_name else cls(name=plain)
    return keras.metrics.MeanMetricWrapper(_function(plain, context), name=plain)


def _keras_knows(name: str) -> bool:
    """Whether Keras 3 knows a name, which it says again when it saves."""
    try:
        return keras.metrics.get(name) is not None
    except ValueError:
        return False


def _function(name: str, context: BuildContext) -> Any:
    custom = find_custom(name, context)
    if custom is not None:
        return custom
    plain = FUNCTIONS.get(plain_name(name), plain_name(name))
    for module in (keras.metrics, keras.losses):
        found = vars(module).get(plain)
        if inspect.isfunction(found):
            return found
    raise UnknownNameError(
        f"Unknown metric {name!r}. If it is your own, pass it in "
        f"`custom_objects={{{plain_name(name)!r}: …}}`."
    )


def _build_class(entry: Mapping[str, Any], context: BuildContext) -> Any:
    config = dict(entry.get("config") or {})
    name = str(entry.get("registered_name") or entry["class_name"])
    custom = find_custom(name, context)
    if custom is not None:
        return from_config(custom, config, context)
    plain = plain_name(entry["class_name"])
    plain = METRIC_CLASSES.get(plain, plain)
    given = {
        key: config[key] for key in ("name", "dtype") if config.get(key) is not None
    }
    arguments = {
        key: array_value(value) for key, value in config.items() if key not in _IGNORED
    }
    function = config.get("fn")
    if plain in ("MeanMetricWrapper", "SumOverBatchSizeMetricWrapper"):
        return _build_wrapper(function, arguments, given, context)
    cls = _addon(entry, plain, context) or _class(plain, context)
    if cls is None:
        if function is not None:
            return _build_wrapper(function, arguments, given, context)
        raise UnknownNameError(
            f"Unknown metric {name!r}. If it is your own, pass it in "
            f"`custom_objects={{{plain_name(name)!r}: …}}`."
        )
    if (
        "thresholds" in arguments
        and arguments["thresholds"] is not None
        and plain == "AUC"
    ):
        arguments.pop("num_thresholds", None)
    _check_size(plain, arguments)
    return cls(**_accepted(cls, arguments, plain, context), **given)


def _check_size(name: str, arguments: Mapping[str, Any]) -> None:
    """Refuses a metric whose state no memory holds: a few bytes can ask for that.

    Raises:
        LimitError: Its state has more entries than `MAX_ENTRIES`.
    """

    def number(key: str) -> float:
        value = arguments.get(key)
        return float(value) if isinstance(value, int | float) else 1.0

    shape = arguments.get("shape")
    lengths = np.ravel(() if shape is None else shape)
    entries = max(
        number("num_classes") ** 2,
        number("num_thresholds") * number("num_labels"),
        math.prod(float(length) for length in lengths),
    )
    if not entries <= MAX_ENTRIES:
        raise LimitError(
            f"Metric {name} keeps more than {MAX_ENTRIES} numbers", received=entries
        )


def _build_wrapper(
    function: Any,
    arguments: Mapping[str, Any],
    given: Mapping[str, Any],
    context: BuildContext,
) -> Any:
    if isinstance(function, Mapping):
        function = objects.function_name({"class_name": "", **function})
    if not isinstance(function, str):
        raise ValueError(f"Invalid function of a metric: {function!r}.")
    plain = FUNCTIONS.get(plain_name(function), plain_name(function))
    custom = find_custom(function, context)
    class_name = METRIC_OF_FUNCTION.get(plain, "")
    cls = _class(class_name, context)
    if custom is None and cls is not None:
        return cls(**_accepted(cls, arguments, class_name, context), **given)
    found = custom if custom is not None else _function(function, context)
    return keras.metrics.MeanMetricWrapper(found, **given, **arguments)


def _accepted(
    cls: Any, arguments: Mapping[str, Any], name: str, context: BuildContext
) -> dict[str, Any]:
    told = cls if cls in metrics_addons.CLASSES.values() else _CLASSES.get(name, cls)
    known = inspect.signature(told).parameters
    for key in set(arguments) - set(known):
        if arguments[key] is not None:
            context.note("compile", f"metric {name}: argument '{key}' is left out")
    return {
        key: _keras_3_word(name, key, value)
        for key, value in arguments.items()
        if key in known
    }


def _keras_3_word(metric: str, argument: str, value: Any) -> Any:
    words = _VALUES.get((metric, argument))
    return words.get(value, value) if words is not None else value


def _keras_2_word(metric: str, argument: str, value: Any) -> Any:
    words = _VALUES.get((metric, argument), {})
    return next((word for word, other in words.items() if other == value), value)


# ---------------------------------------------------------------- Keras 3 → Keras 2


def describe_metric(metric: Any, dialect: Dialect, notes: list[Note]) -> Any:
    """The entry with which Keras 2 makes a metric: a name or a dict."""
    if isinstance(metric, str):
        return _describe_named(metric, dialect, notes)
    if not isinstance(metric, keras.metrics.Metric):
        return function_name(metric, notes)
    name = type(metric).__name__
    if name == "MeanMetricWrapper":
        function = function_name(metric._fn, notes)
        config = {"name": metric.name, "dtype": str(metric.dtype), "fn": function}
        return {"class_name": name, "config": {**config, **metric._fn_kwargs}}
    config = _compat.function_config(metric)
    config["dtype"] = str(metric.dtype)
    for key, default in _ONLY_KERAS_3_ARGUMENTS.items():
        if config.get(key, default) != default:
            text = f"Keras 2 has no {key} of {name}; {config[key]!r} is left out"
            notes.append(Note("compile", text))
        config.pop(key, None)
    config = {key: _plain(value) for key, value in config.items()}
    if metrics_addons.CLASSES.get(name) is type(metric):
        package = "" if name in metrics_addons.UNREGISTERED else ADDONS
        return {"class_name": f"{package}{name}", "config": config}
    if type(metric) not in (_CLASSES.get(name), _KERAS_2.get(name)):
        registered = keras.saving.get_registered_name(type(metric))
        return {"class_name": registered, "config": config}
    if _is_foreign(name, notes):
        return None
    config = {key: _keras_2_word(name, key, value) for key, value in config.items()}
    config = metric_without_late_arguments(name, config)
    return {"class_name": name, "config": config}


def _describe_named(name: str, dialect: Dialect, notes: list[Note]) -> Any:
    """The entry of a metric's name, under which both generations then show it.

    Keras 3 knows all of its classes by such names, and shows what it makes of a short
    one, such as "mse", under that; Keras 2 knows functions, and shows those.
    """
    if _is_foreign(name, notes):
        return None
    if name.lower() in _BY_SHAPE:
        return name.lower()
    if name in METRIC_OF_FUNCTION and name not in _NO_FUNCTIONS:
        return name
    try:
        config = {"name": name, "dtype": "float32"}
        made = keras.metrics.get({"class_name": name, "config": config})
    except (ValueError, TypeError):  # Of the user, or one that needs arguments.
        return name
    if not isinstance(made, keras.metrics.Metric):
        return name
    return describe_metric(made, dialect, notes)


def _plain(value: Any) -> Any:
    """Spells a tensor or array as lists, as JSON has it."""
    if keras.ops.is_tensor(value):
        value = keras.ops.convert_to_numpy(value)
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _is_foreign(name: str, notes: list[Note]) -> bool:
    if name not in ONLY_KERAS_3:
        return False
    notes.append(Note("compile", f"Keras 2 has no metric '{name}'; it is left out"))
    return True
