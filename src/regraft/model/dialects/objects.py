"""Initializers, regularizers, constraints, activations and dtype policies."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import keras

from regraft import _compat
from regraft.errors import UnknownNameError, UnsupportedError
from regraft.model import metadata
from regraft.model.dialects.context import BuildContext
from regraft.model.dialects.registry import (
    builtin_objects,
    find_custom,
    make_custom,
)
from regraft.model.keras2.activations import ACTIVATIONS, linear_fifth_hard_sigmoid
from regraft.model.keras2.constraints import CONSTRAINTS
from regraft.model.keras2.initializers import INITIALIZERS, UnknownInitializer

# Words of Keras 1 and of TensorFlow 1 for objects that have another name now.
_ALIASES: Mapping[str, Mapping[str, str]] = {
    "initializers": {
        "zero": "zeros",
        "one": "ones",
        "uniform": "random_uniform",
        "normal": "random_normal",
        "Uniform": "random_uniform",
        "Normal": "random_normal",
        "Zero": "zeros",
        "One": "ones",
        "GlorotNormalV2": "GlorotNormal",
        "GlorotUniformV2": "GlorotUniform",
        "truncated_normal_v1": "truncated_normal",
    },
    "regularizers": {"l1l2": "l1_l2", "WeightRegularizer": "l1_l2"},
    "constraints": {
        "maxnorm": "max_norm",
        "nonneg": "non_neg",
        "unitnorm": "unit_norm",
    },
    "activations": {
        "softmax_v2": "softmax",
        "log_softmax_v2": "log_softmax",
        "relu_v2": "relu",
        "swish_v2": "swish",
    },
}

# Arguments that say nothing in Keras 3: an initializer's dtype is that of the
# variable; `partition` and `seed` types of TensorFlow 1 have no other meaning.
_MEANINGLESS: Mapping[str, frozenset[str]] = {
    "initializers": frozenset({"dtype", "partition_info"}),
    "regularizers": frozenset(),
    "constraints": frozenset(),
    "activations": frozenset(),
}

# Where Regraft has the class, by Keras 2's names.
_KERAS_2: Mapping[str, Mapping[str, Any]] = {
    "activations": ACTIVATIONS,
    "initializers": INITIALIZERS,
    "constraints": CONSTRAINTS,
}

KERAS_3_PREFIX = "Keras3>"
KERAS_3_HARD_SIGMOID = f"{KERAS_3_PREFIX}hard_sigmoid"

_POLICY_CLASSES = {"Policy", "PolicyV1", "DTypePolicy", "FloatDTypePolicy"}


def is_entry(value: Any) -> bool:
    """Whether a value has the form of a serialized object."""
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("class_name"), str)
        and "config" in value
    )


def function_name(spec: Mapping[str, Any]) -> str | None:
    """The name in Keras 3's form of a function, `None` for any other form."""
    if spec["class_name"] == "function" and isinstance(spec.get("config"), str):
        registered = spec.get("registered_name")
        # Keras 3 writes this word instead of a name for functions of user packages.
        return (
            registered if registered not in (None, "", "function") else spec["config"]
        )
    return None


def _find(kind: str, name: str, context: BuildContext) -> Any:
    if (custom := find_custom(name, context)) is not None:
        return custom
    if kind == "activations" and name == KERAS_3_HARD_SIGMOID:
        return keras.activations.hard_sigmoid
    linear = context.dialect.hard_sigmoid_is_linear_fifth
    if kind == "activations" and name == "hard_sigmoid" and linear:
        return linear_fifth_hard_sigmoid
    plain = _ALIASES[kind].get(name, name)
    if context.dialect.generation < 3 and plain in _KERAS_2.get(kind, {}):
        return _KERAS_2[kind][plain]
    return builtin_objects(kind).get(plain)


def _require(kind: str, name: str, where: str, context: BuildContext) -> Any:
    found = _find(kind, name, context)
    if found is None or not callable(found):
        what = f"{kind[:-1]} {name!r}"
        raise UnknownNameError(
            f"Unknown {what} of {where}. If it is your own, pass it in "
            f"`custom_objects={{{name!r}: …}}` or register it with "
            "`keras.saving.register_keras_serializable`.",
            what,
        )
    return found


def build_object(kind: str, spec: Any, context: BuildContext, where: str) -> Any:
    """Makes the object that a config names.

    Args:
        kind: One of `registry.KINDS`.
        spec: A name, `{"class_name": …, "config": …}`, or a live object.
        context: Of this build.
        where: Owner and key, for messages.

    Raises:
        ValueError: Nobody knows the name, and it is no initializer: variables have
            their values from the file.
        UnsupportedError: The object has an argument that Keras 3 lacks.
    """
    try:
        return _built(kind, spec, context, where)
    except UnknownNameError:
        if kind != "initializers":
            raise
        context.note(where, "is unknown; only variables made anew would need it")
        return UnknownInitializer(metadata.dump(spec))


def _built(kind: str, spec: Any, context: BuildContext, where: str) -> Any:
    if spec is None or callable(spec):
        return spec
    if isinstance(spec, str):
        found = _require(kind, spec, where, context)
        return found() if isinstance(found, type) else found
    if not is_entry(spec):
        raise ValueError(f"Invalid {kind[:-1]} of {where}: {spec!r}.")
    if (name := function_name(spec)) is not None:
        return _require(kind, name, where, context)
    return shared(spec, context, lambda: _build_entry(kind, spec, context, where))


def shared(spec: Any, context: BuildContext, make: Callable[[], Any]) -> Any:
    """Makes an object, or returns the one made before of the same identity."""
    identity = spec.get("shared_object_id")
    if not isinstance(identity, int):
        return make()
    key = (spec["class_name"], identity)
    if key not in context.shared_objects:
        # Keras' own code, in a class of the caller's, may have made it before.
        found = _compat.shared_object(identity)
        context.shared_objects[key] = make() if found is None else found
        _compat.record_shared(context.shared_objects[key], identity)
    return context.shared_objects[key]


def _build_entry(
    kind: str, spec: Mapping[str, Any], context: BuildContext, where: str
) -> Any:
    name = spec.get("registered_name") or spec["class_name"]
    found: Any = _require(kind, name, where, context)
    config = spec["config"]
    if not isinstance(found, type):
        return found(**config) if config else found
    own = found in _KERAS_2.get(kind, {}).values()
    if not own and builtin_objects(kind).get(found.__name__) is not found:
        return make_custom(found, config, context)
    config = {k: v for k, v in config.items() if k not in _MEANINGLESS[kind]}
    config = {k: array_value(v) for k, v in config.items()}
    if kind == "initializers":
        _modernize_variance_scaling(config)
    make: Any = found
    try:
        return make(**config)
    except TypeError as error:
        raise UnsupportedError(
            f"Keras {keras.__version__} has no such argument of {spec['class_name']} "
            f"({error}), of {where}. Pass a class that has it in `custom_objects`."
        ) from error


def _modernize_variance_scaling(config: dict[str, Any]) -> None:
    # "normal" meant the truncated one in every Keras that had the word.
    if config.get("distribution") == "normal":
        config["distribution"] = "truncated_normal"


def array_value(value: Any) -> Any:
    """Unwraps the JSON forms of arrays that configs hold; other values stay."""
    if isinstance(value, Mapping) and value.get("class_name") == "__numpy__":
        return value["config"]["value"]
    if isinstance(value, Mapping) and value.get("type") == "ndarray":
        return value["value"]
    return value


def build_dtype(spec: Any, context: BuildContext) -> Any:
    """Makes a dtype policy; `None` where the file leaves the dtype open.

    Accepts a dtype's or policy's name, and Keras' `Policy`, `PolicyV1` and
    `DTypePolicy` in serialized form.
    """
    if spec is None or isinstance(spec, str):
        return None if spec in (None, "_infer", "infer") else spec
    if not is_entry(spec):
        raise ValueError(f"Invalid dtype: {spec!r}.")
    class_name, config = spec["class_name"], spec["config"]
    if class_name in _POLICY_CLASSES:
        # The loss scale of `PolicyV1` belongs to the optimizer, which has its own.
        return build_dtype(config.get("name"), context)
    known: Any = vars(keras.dtype_policies).get(class_name)
    if isinstance(known, type) and issubclass(known, keras.DTypePolicy):
        policy: Any = known
        return policy.from_config(dict(config))
    if (custom := find_custom(class_name, context)) is not None:
        return make_custom(custom, config, context)
    raise ValueError(f"Unknown dtype policy {class_name!r}.")


def build_quantization(spec: Any, where: str) -> Any:
    """Makes what says how a layer is quantized, and the quantizers in it.

    Raises:
        UnsupportedError: This Keras has no such class or argument.
    """
    if not is_entry(spec):
        return spec
    quantizers: Any = getattr(keras, "quantizers", None)
    found = getattr(quantizers, str(spec["class_name"]), None)
    config = {k: build_quantization(v, where) for k, v in spec["config"].items()}
    if isinstance(found, type):
        with contextlib.suppress(TypeError):
            return found(**config)
    raise UnsupportedError(
        f"Keras {keras.__version__} has no {spec['class_name']!r} with "
        f"{sorted(config)}, of {where}."
    )
