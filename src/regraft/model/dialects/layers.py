"""One layer's config, in any dialect, to a live layer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import cache, partial
from typing import Any

import keras

from regraft._compat import AVERAGES_ACTIVITY, application_layer, asks_for_values
from regraft.errors import (
    RegraftError,
    UnknownNameError,
    UnsafeFileError,
    UnsupportedError,
)
from regraft.model.dialects import keras1
from regraft.model.dialects.context import IN_KERAS_2, NODE, BuildContext, Entry
from regraft.model.dialects.dialect import Dialect
from regraft.model.dialects.keras2_words import missing_words
from regraft.model.dialects.lambdas import translate_lambda
from regraft.model.dialects.objects import (
    array_value,
    build_dtype,
    build_object,
    build_quantization,
    is_entry,
    shared,
)
from regraft.model.dialects.own_classes import in_words_of_keras3
from regraft.model.dialects.registry import (
    NETWORKS,
    builtin_layers,
    find_custom,
    is_builtin,
    make_custom,
    scope_of,
)
from regraft.model.dialects.rows import ALIASES, EVERYWHERE, NO_ROW, ROWS, Row
from regraft.model.keras2 import layers_theano
from regraft.model.keras2.registration import PACKAGE
from regraft.model.keras2.regularizers import (
    AveragedOverBatch,
    OverBatch,
    SummedOverBatch,
)
from regraft.model.metadata import has_config

BuildLayer = Callable[[Entry, BuildContext], keras.layers.Layer]

_SUFFIXES = {
    "_initializer": "initializers",
    "_regularizer": "regularizers",
    "_constraint": "constraints",
}
_ACTIVATIONS = {"activation", "recurrent_activation", "inner_activation"}
# Keras 2's whole config of a layer that has none.
_NO_CONFIG = "layer was saved without config"
# Keys of Keras' own classes under which whole layers stand.
_LAYERS = {
    "layer",
    "backward_layer",
    "cell",
    "layers",
    "cells",
    "linear_model",
    "dnn_model",
}


@cache
def accepted_keywords(cls: type) -> frozenset[str]:
    """Keyword arguments that a class takes, over `**kwargs` to its bases."""
    names: set[str] = set()
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(base.__init__).parameters.values()  # type: ignore[misc]
        names.update(
            p.name
            for p in parameters
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        )
        if base is keras.layers.Layer or not any(
            p.kind is p.VAR_KEYWORD for p in parameters
        ):
            break
    if issubclass(cls, keras.Model):  # says so in keywords of no name
        names |= {"name", "trainable", "dtype"}
    return frozenset(names - {"self"})


def row_of(cls: type) -> Row:
    """The row of a class, or of the nearest of Keras' classes that it extends."""
    for base in cls.__mro__:
        if base is keras.layers.Layer:
            break
        if base.__name__ in ROWS and is_builtin(base):
            return ROWS[base.__name__]
    return NO_ROW


def find_layer_class(entry: Entry, context: BuildContext) -> type | None:
    """Returns the class that an entry names, `None` where nobody knows it."""
    name = entry["class_name"]
    for candidate in (entry.get("registered_name"), name):
        if candidate and (custom := find_custom(candidate, context)) is not None:
            return custom if isinstance(custom, type) else None
    module = entry.get("module")
    if module and module.split(".")[0] not in ("keras", "tf_keras", "tensorflow"):
        return None
    plain = ALIASES.get(name, name)
    if ">" in plain:
        return None  # Keras registers no other layer of its own: it is another one.
    row = ROWS.get(plain, NO_ROW)
    if context.dialect.generation < 3 or row.replaces:
        chosen = _keras2_class(plain, row, entry["config"], context.dialect)
        if chosen is not None:
            return chosen
    known = builtin_layers().get(plain)
    return known or application_layer(plain, entry["config"])


def _keras2_class(name: str, row: Row, config: Any, dialect: Dialect) -> type | None:
    same = isinstance(config, Mapping) and config.get("padding") == "same"
    # The states of a ConvLSTM2D are padded always.
    symmetric = dialect.same_padding_is_symmetric and (same or name == "ConvLSTM2D")
    if symmetric and name in layers_theano.CLASSES:
        return layers_theano.CLASSES[name]
    if row.choose is not None and isinstance(config, Mapping):
        return row.choose(config, dialect)
    return row.keras2_class


def build_from_row(
    entry: Entry, context: BuildContext, build: BuildLayer
) -> keras.layers.Layer:
    """Makes a layer that is not a network.

    Args:
        entry: `{"class_name": …, "config": …}`.
        context: Of this build.
        build: Makes the layers inside this one.

    Raises:
        ValueError: Nobody knows the class.
        UnsupportedError: Keras 3 cannot do what the config asks for.
    """
    first = context.dialect.generation == 1
    if first and find_custom(entry["class_name"], context) is None:
        name, config = keras1.modernized(
            entry["class_name"], dict(entry["config"]), context.keras1_layout
        )
        entry = {**entry, "class_name": name, "config": config}
    in_keras2 = entry.get("module") == IN_KERAS_2
    with context.words_of_keras2() if in_keras2 else nullcontext():
        return shared(entry, context, lambda: _build_or_revive(entry, context, build))


def _build_or_revive(
    entry: Entry, context: BuildContext, build: BuildLayer
) -> keras.layers.Layer:
    cls = find_layer_class(entry, context)
    if cls is None or entry.get(NODE) in context.namesakes:
        return _revive(entry, context, _unknown(entry))
    try:
        if not is_builtin(cls):
            return _build_custom(cls, entry, context, build)
        layer = _build_builtin(cls, entry, context, build)
        if context.dialect.generation == 2 and _says_too_little(layer, entry, context):
            return _own_or(layer, entry, context)
        return layer
    except _OtherClassError as error:
        return _namesake(entry, context, UnsupportedError(str(error)))
    except (
        *(UnknownNameError, UnsafeFileError),
        *(ImportError, NotImplementedError),
    ) as error:
        return _revive(entry, context, error)
    except (TypeError, ValueError, KeyError) as error:
        # Keras' class asks for what the config hasn't.
        known = isinstance(error, RegraftError) or asks_for_values(error)
        if known or context.dialect.generation != 2:
            raise
        return _namesake(entry, context, error)


class _OtherClassError(UnsupportedError):
    """A config has words that no Keras had for the class of that name."""


# What `get_config` of every layer has, and what Keras adds to it.
_EVERY_LAYER = {"name", "trainable", "dtype", "batch_input_shape", "build_config"}
# Classes whose configs of Keras 2.0 say nothing.
_MAY_SAY_NOTHING = {
    *("Flatten", "InputLayer"),
    *("GlobalAveragePooling1D", "GlobalMaxPooling1D"),
}


def _says_too_little(
    layer: keras.layers.Layer, entry: Entry, context: BuildContext
) -> bool:
    """Whether a config lacks words that Keras writes for a class."""
    # TensorFlow before 1.15 wrote fewer; functions in the file are of 1.14 on.
    first = (2, 2, 4) if isinstance(entry.get(NODE), int) else (2, 2, 5)
    if (
        context.dialect.tensorflow
        and context.dialect.version >= first
        and missing_words(
            entry["class_name"],
            entry["config"],
            from_keras3=context.dialect.runs_functions,
        )
    ):
        return True
    return _says_nothing(layer, entry)


def _says_nothing(layer: keras.layers.Layer, entry: Entry) -> bool:
    """Whether a config has none of the words that Keras writes for a class."""
    name = entry["class_name"]
    if name in _MAY_SAY_NOTHING or name not in builtin_layers():
        return False
    if set(entry["config"]) - _EVERY_LAYER:
        return False
    # Last, since it describes all that the layer has: most configs say enough.
    return bool(set(layer.get_config()) - _EVERY_LAYER)


def _own_or(
    layer: keras.layers.Layer, entry: Entry, context: BuildContext
) -> keras.layers.Layer:
    """The layer as its traces have it, else Keras' of that name.

    Without traces the config may as well have been written by hand.
    """
    try:
        return _namesake(entry, context, _unknown(entry))
    except UnknownNameError:
        context.note(
            _name(entry),
            f"its config lacks words of Keras' {entry['class_name']!r}, which it was "
            "taken for; if it is your own class, pass it in `custom_objects`",
        )
        return layer


def _namesake(
    entry: Entry, context: BuildContext, error: Exception
) -> keras.layers.Layer:
    """Runs the traces of somebody's own class, of a name that Keras has."""
    place = entry.get(NODE)
    if not isinstance(place, int):
        raise error
    context.namesakes.add(place)
    try:
        return _revive(entry, context, error)
    except Exception:
        context.namesakes.discard(place)
        raise


def _unknown(entry: Entry) -> UnknownNameError:
    class_name = entry["class_name"]
    return UnknownNameError(
        f"Unknown layer class {class_name!r} of {_name(entry)}. If it is your own, "
        f"pass it in `custom_objects={{{class_name!r}: …}}` or register it with "
        "`keras.saving.register_keras_serializable`."
    )


def _revive(
    entry: Entry, context: BuildContext, error: Exception
) -> keras.layers.Layer:
    if context.revive is None:
        raise error
    try:
        return context.revive(entry, error)
    except Exception as reason:
        if isinstance(error, UnknownNameError) and isinstance(reason, ValueError):
            raise UnknownNameError(f"{error} {reason}") from reason
        raise error from reason


def _name(entry: Entry) -> str:
    config = entry.get("config")
    name = config.get("name") if isinstance(config, Mapping) else None
    return f"layer {name or entry.get('name')!r}"


def _build_builtin(
    cls: type, entry: Entry, context: BuildContext, build: BuildLayer
) -> keras.layers.Layer:
    where = _name(entry)
    config = modernize(cls, dict(entry["config"]), context)
    if cls is keras.layers.RandomShear:
        _as_given(config)
    if cls is keras.layers.Lambda:
        translate_lambda(config, context)
    config = _instantiate(config, context, build, where)
    config = _accepted(cls, config, where, row_of(cls))
    try:
        # Bidirectional copies the layer inside it by way of its config.
        with scope_of(entry["config"], context):
            layer = cls(**config)
    except (TypeError, ValueError) as error:
        if any(map(_is_revived, keras.tree.flatten(config))):
            raise UnsupportedError(
                f"{where} can't have a layer inside that is known by its traced "
                f"functions alone: {error}"
            ) from error
        error.add_note(f"While building {where} of class {entry['class_name']!r}.")
        raise
    if config.get("lora_alpha") is not None:
        # Keras 3.8 to 3.15 forget it when they build a layer that has a `lora_rank`.
        scale = {"lora_alpha": config["lora_alpha"]}
        layer.enable_lora = partial(layer.enable_lora, **scale)
    regularizer = getattr(layer, "activity_regularizer", None)
    given = config.get("activity_regularizer")
    if regularizer is None and given and not _knows_activity(layer):
        # Keras 3's SimpleRNN takes the argument and forgets it.
        layer.activity_regularizer = regularizer = keras.regularizers.get(given)
    known = regularizer is None or isinstance(regularizer, OverBatch)
    if not known and context.dialect.computes_as_keras2:
        if context.dialect.activity_is_summed:
            layer.activity_regularizer = SummedOverBatch(regularizer)
        elif not AVERAGES_ACTIVITY:
            layer.activity_regularizer = AveragedOverBatch(regularizer)
    if context.dialect.computes_as_keras2 and row_of(cls).ends_masks:
        layer.compute_mask = _no_mask
    if context.fill is not None:
        context.fill(layer, str(entry.get("name") or layer.name))
    return layer


def _as_given(config: dict[str, Any]) -> None:
    """Undoes what Keras 3's RandomShear made of its factors, and refuses itself.

    Its config has `(-f, f)` for the number `f`, and it takes no negative number.
    """
    for key in ("x_factor", "y_factor"):
        pair = config.get(key)
        if isinstance(pair, list | tuple) and len(pair) == 2 and pair[0] == -pair[1]:
            config[key] = pair[1]


def _knows_activity(layer: keras.layers.Layer) -> bool:
    """Whether an activity regularizer is in a layer's config: that of layers inside."""
    return layer.get_config().get("activity_regularizer") is not None


def _is_revived(value: Any) -> bool:
    return isinstance(value, keras.layers.Layer) and hasattr(value, "saved_class_name")


def _no_mask(inputs: Any, previous_mask: Any = None) -> None:
    return None


def _build_custom(
    cls: type, entry: Entry, context: BuildContext, build: BuildLayer
) -> keras.layers.Layer:
    config = dict(entry["config"])
    if not has_config(config):
        raise NotImplementedError(
            f"{_name(entry)} of class {entry['class_name']!r} was saved without its "
            "config, which its class could not give then."
        )
    row = row_of(cls)
    if row is not NO_ROW:
        config = modernize(cls, config, context)
        config = _without_words_of(row, cls, config, entry, context)

    def build_inside(inner: Entry) -> keras.layers.Layer | None:
        found = find_layer_class(inner, context)
        is_layer = found is not None and issubclass(found, keras.layers.Layer)
        known = is_layer or inner["class_name"] in NETWORKS
        return build(inner, context) if known else None

    config = in_words_of_keras3(config, context, build_inside)
    config["dtype"] = build_dtype(config.get("dtype"), context)
    if config["dtype"] is None:
        del config["dtype"]
    for key in ("batch_input_shape", "dynamic", _NO_CONFIG):
        if key not in accepted_keywords(cls):
            config.pop(key, None)
    layer: keras.layers.Layer = make_custom(cls, config, context)
    return layer


def _without_words_of(
    row: Row, cls: type, config: Mapping[str, Any], entry: Entry, context: BuildContext
) -> dict[str, Any]:
    """Leaves out words of Keras 2's class that the caller's, of Keras 3, lacks.

    That is where they say nothing, and where Regraft's class alone has them.
    """
    if context.dialect.generation > 2:
        return dict(config)
    known = accepted_keywords(cls)
    ours: Any = row.keras2_class
    if row.choose is not None:
        ours = row.choose(config, context.dialect)
    lost = accepted_keywords(ours) - known if ours is not None else frozenset()
    if issubclass(cls, keras.layers.BatchNormalization) and config.get("axis") in (
        3,
        4,
    ):
        correction = config.get("correction", "never")
        if correction.startswith("fused") and "correction" in lost:
            context.note(
                _name(entry),
                "the class given for it moves its variance as Keras 3 does; Keras 2 "
                "takes it times N / (N - 1), for N values of a channel in a batch",
            )
    return {
        key: value
        for key, value in config.items()
        if key in known
        or (
            key in entry["config"]
            and key not in lost
            and value not in row.dropped.get(key, ())
        )
    }


def _forget_whole_dtype(config: dict[str, Any]) -> None:
    """Leaves out a `dtype` of whole numbers, which weights never had."""
    dtype = config.get("dtype")
    if isinstance(dtype, str) and dtype.startswith(("int", "uint", "bool")):
        del config["dtype"]


def modernize(cls: type, config: dict[str, Any], context: BuildContext) -> Any:
    """Puts a config of Keras 1 or 2 into Keras 3's words; others stay."""
    if context.dialect.generation > 2:
        return config
    for key, value in config.items():
        config[key] = array_value(value)
    if context.dialect.dtype_is_of_inputs and not issubclass(
        cls, keras.layers.InputLayer
    ):
        _forget_whole_dtype(config)
    row = row_of(cls)
    for key, value in row.absent.items():
        config.setdefault(key, value)
    for old, new in row.renamed.items():
        if old in config:
            config.setdefault(new, config.pop(old))
    if row.translate is not None:
        row.translate(config, context)
    return config


def _instantiate(
    config: dict[str, Any], context: BuildContext, build: BuildLayer, where: str
) -> dict[str, Any]:
    """Makes the objects inside a config, innermost first."""
    made: dict[str, Any] = {}
    for key, value in config.items():
        place = f"`{key}` of {where}"
        kind = next((k for s, k in _SUFFIXES.items() if key.endswith(s)), None)
        if key == "dtype":
            value = build_dtype(value, context)
            if value is None:
                continue
        elif kind is not None:
            value = build_object(kind, value, context, place)
        elif key in _ACTIVATIONS:
            value = _activation(value, context, build, place)
        elif key in _LAYERS:
            value = _layers(value, context, build)
        elif key == "quantization_config":
            value = build_quantization(value, place)
        made[key] = value
    return made


def _activation(spec: Any, context: BuildContext, build: BuildLayer, where: str) -> Any:
    if is_entry(spec) and find_layer_class(spec, context) is not None:
        return build(spec, context)
    return build_object("activations", spec, context, where)


def _layers(value: Any, context: BuildContext, build: BuildLayer) -> Any:
    if isinstance(value, (list, tuple)):
        return [build(item, context) if is_entry(item) else item for item in value]
    return build(value, context) if is_entry(value) else value


def _accepted(
    cls: type, config: dict[str, Any], where: str, row: Row
) -> dict[str, Any]:
    """Drops what the class doesn't know at values that say nothing."""
    known = accepted_keywords(cls)
    kept: dict[str, Any] = {}
    for key, value in config.items():
        if key in row.dropped or key not in known:
            allowed = row.dropped.get(key, EVERYWHERE.get(key, ()))
            if value in allowed:
                continue
            if key in known:
                kept[key] = value
            else:
                other = key not in row.dropped and key not in EVERYWHERE
                raise (_OtherClassError if other else UnsupportedError)(
                    f"Keras 3 has no {key}={value!r} in {cls.__name__}, which {where} "
                    "needs. Pass a class that has it in "
                    f"`custom_objects={{{cls.__name__!r}: …}}`."
                )
        else:
            kept[key] = value
    return kept


def is_regraft(cls: type) -> bool:
    """Whether a class is one of Regraft's own."""
    return keras.saving.get_registered_name(cls).startswith(PACKAGE + ">")
