"""A live layer to its entry in Keras 2's words.

What Keras 2 has no word for is left out where it changes nothing that is computed. A
layer that computes what Keras 2 can't say keeps Keras 3's words, and is noted.
"""

from __future__ import annotations

import inspect
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import keras

from regraft import _compat
from regraft.model.dialects.context import Note
from regraft.model.dialects.describe_rows import DESCRIPTIONS, INNER_LAYERS
from regraft.model.dialects.dialect import Dialect
from regraft.model.dialects.keras2_arguments import EVERY_LAYER, KERAS_2_ARGUMENTS
from regraft.model.dialects.late_arguments import without_late_arguments
from regraft.model.dialects.layers import is_regraft, row_of
from regraft.model.dialects.names import original_name
from regraft.model.dialects.objects import (
    KERAS_3_HARD_SIGMOID,
    KERAS_3_PREFIX,
    function_name,
    is_entry,
)
from regraft.model.dialects.registry import is_builtin
from regraft.model.dialects.rows import REGISTERED, dtype_name
from regraft.model.keras2 import layers_theano
from regraft.model.keras2.activations import ACTIVATIONS
from regraft.model.keras2.registration import PACKAGE
from regraft.model.metadata import decode

Entry = dict[str, Any]
DescribeLayer = Callable[[keras.layers.Layer, Dialect, list[Note]], Entry]

_INITIALIZER_DEFAULTS = {"input_axes": None, "output_axes": None, "seed": None}


def class_name(cls: type) -> str:
    """The name of a class in Keras 2's files."""
    if is_regraft(cls) or cls.__module__.startswith("keras."):
        return REGISTERED.get(cls.__name__, cls.__name__)
    return keras.saving.get_registered_name(cls)


def describe_plain_layer(
    layer: keras.layers.Layer,
    dialect: Dialect,
    notes: list[Note],
    describe: DescribeLayer,
) -> Entry:
    """Returns the entry of a layer that is not a network.

    Args:
        layer: A live layer.
        dialect: The Keras 2 to write for.
        notes: Filled with what Keras 2 cannot say.
        describe: For the layers inside this one.
    """
    cls = type(layer)
    name = original_name(layer)
    config = dict(layer.get_config())
    # A config of the user's own need not have it.
    entry_name = {} if "name" in config else {"name": name}
    if "name" in config:
        config["name"] = name
    if config.get("trainable") is False:
        # Keras 2 would freeze what the layer makes inside, and Keras 3 trains it.
        config["trainable"] = trains(layer)
    if is_builtin(cls):
        config = _builtin_config(layer, config, dialect, notes, describe)
    else:
        inside = _compat.all_layers(layer)[1:]
        config = {
            key: value
            # A layer over traces has its config of Keras 2.
            if isinstance(value, str) and hasattr(layer, "saved_class_name")
            else old_words(
                key,
                _described(_serialized(value), inside, dialect, notes, describe),
                name,
                notes,
            )
            for key, value in config.items()
        }
        config = _of_own_class(layer, config, notes)
    if layers_theano.CLASSES.get(cls.__name__) is cls:
        text = "Theano's padding is not that of TensorFlow; the words are the same"
        notes.append(Note(f"layer {name!r}", text))
    # A layer over traces goes on under the name of the class that was traced.
    found = getattr(layer, "saved_class_name", class_name(cls))
    trained_otherwise = [Note(f"layer {name!r}", text) for text in _in_steps(layer)]
    if trained_otherwise and dialect.runs_functions:
        found = f"{KERAS_3_PREFIX}{found}"  # Keras 2 runs the functions
    else:
        notes += trained_otherwise
    return {"class_name": found, "config": config, **entry_name}


def _serialized(value: Any) -> Any:
    """Serializes what a config of the user's own holds as it is, as Keras does."""
    if isinstance(value, list | tuple):
        return [_serialized(item) for item in value]
    if isinstance(value, dict):
        return {key: _serialized(item) for key, item in value.items()}
    if callable(value) or hasattr(value, "get_config"):
        return keras.saving.serialize_keras_object(value)
    return value


class _Described(dict[str, Any]):
    """An entry that is in Keras 2's words."""


def _described(
    value: Any,
    inside: list[keras.layers.Layer],
    dialect: Dialect,
    notes: list[Note],
    describe: DescribeLayer,
) -> Any:
    """Describes the layers that a config of the user's own holds.

    Args:
        value: The config, or what is in it, as Keras serialized it.
        inside: Layers inside the layer whose config it is.
        dialect: The Keras 2 to write for.
        notes: Filled with what Keras 2 cannot say.
        describe: For the layers inside.
    """
    if isinstance(value, list | tuple):
        return [_described(item, inside, dialect, notes, describe) for item in value]
    if not isinstance(value, Mapping):
        return value
    if is_entry(value) and isinstance(value["config"], Mapping):
        said = value["class_name"], value["config"].get("name")
        live = [la for la in inside if (type(la).__name__, la.name) == said]
        if not live and said[0] == "Sequential":
            # Over a dict of inputs it has become another network.
            found = filter(_compat.is_network, inside)
            live = [la for la in found if original_name(la) == said[1]]
        if len(live) > 1:
            live = [la for la in live if _says_the_same(la, value)]
        if live:
            return _Described(describe(live[0], dialect, notes))
    return {
        key: _described(item, inside, dialect, notes, describe)
        for key, item in value.items()
    }


def _says_the_same(layer: keras.layers.Layer, entry: Mapping[str, Any]) -> bool:
    said: Entry = keras.saving.serialize_keras_object(layer)
    return bool(said["config"] == entry["config"])


def _of_own_class(layer: keras.layers.Layer, config: Entry, notes: list[Note]) -> Entry:
    """Puts what a class of the user's has of Keras' own into Keras 2's words."""
    classes: Any = type(layer).__mro__
    above = list(itertools.takewhile(lambda cls: not is_builtin(cls), classes))
    base = classes[len(above)]
    if base is keras.layers.Layer or base.__name__ not in KERAS_2_ARGUMENTS:
        return config
    makers = [cls.__init__ for cls in above if "__init__" in vars(cls)]
    signatures = [inspect.signature(maker).parameters for maker in makers]
    own = {name for parameters in signatures for name in parameters}
    known = KERAS_2_ARGUMENTS[base.__name__] | EVERY_LAYER
    known |= {*_ALWAYS.get(base.__name__, ())}
    found = dict(config)
    change = DESCRIPTIONS.get(base.__name__)
    if change is not None:
        change(found, layer, notes)
    if any(not _takes_more(parameters) for parameters in signatures):
        asked = {*config, *_ALWAYS.get(base.__name__, ())}
        found = {key: value for key, value in found.items() if key in asked}
    for old, new in row_of(base).renamed.items():
        if new in found and new not in own and old in known:
            found[old] = found.pop(new)
    defaults = default_arguments(base)
    lean = without_late_arguments(base.__name__, found)
    kept: Entry = {}
    for key, value in found.items():
        if key in known or key not in defaults:
            if key in lean or key in own:
                kept[key] = value
        elif key in own or not _says_nothing(key, value, defaults):
            kept[key] = value
            if key not in own:
                text = f"Keras 2 has no {key}={value!r} of {base.__name__}"
                notes.append(Note(f"layer {original_name(layer)!r}", text))
    return kept


def _takes_more(parameters: Mapping[str, inspect.Parameter]) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def trains(layer: keras.layers.Layer) -> bool:
    """Whether a layer, or one inside it, has a variable that a model trains."""
    return bool(layer.trainable) or any(v.trainable for v in layer.variables)


def _builtin_config(
    layer: keras.layers.Layer,
    config: Entry,
    dialect: Dialect,
    notes: list[Note],
    describe: DescribeLayer,
) -> Entry:
    name = original_name(layer)
    found: Entry = {}
    inner = INNER_LAYERS.get(type(layer).__name__, {})
    for key, value in config.items():
        live = getattr(layer, inner.get(key, key), None)
        if key in inner or _is_activation(key, live):
            found[key] = _inner(live, dialect, notes, describe)
        else:
            found[key] = old_words(key, value, name, notes)
    for old, new in row_of(type(layer)).renamed.items():
        if new in found and old in KERAS_2_ARGUMENTS.get(type(layer).__name__, ()):
            found[old] = found.pop(new)
    change = DESCRIPTIONS.get(type(layer).__name__)
    if change is not None:
        change(found, layer, notes)
    return _known_arguments(layer, found, notes)


def _is_activation(key: str, live: Any) -> bool:
    """Whether a layer stands where a function is usual."""
    return key in _ACTIVATION_KEYS and isinstance(live, keras.layers.Layer)


def _inner(
    value: Any, dialect: Dialect, notes: list[Note], describe: DescribeLayer
) -> Any:
    if isinstance(value, (list, tuple)):
        return [describe(item, dialect, notes) for item in value]
    return None if value is None else describe(value, dialect, notes)


def _known_arguments(
    layer: keras.layers.Layer, config: Entry, notes: list[Note]
) -> Entry:
    cls_name = type(layer).__name__
    if cls_name not in KERAS_2_ARGUMENTS and is_regraft(type(layer)):
        # Keras 2's own, though not among its layers.
        return without_late_arguments(cls_name, config)
    if cls_name not in KERAS_2_ARGUMENTS:
        text = f"Keras 2 has no layer class {cls_name}, so it is in Keras 3's words"
        notes.append(Note(f"layer {original_name(layer)!r}", text))
        return config
    not_heeded = [*_not_heeded(cls_name, config), *_otherwise(layer, config)]
    for text in not_heeded:
        notes.append(Note(f"layer {original_name(layer)!r}", text))
    known = KERAS_2_ARGUMENTS[cls_name] | EVERY_LAYER
    cls: Any = type(layer)
    defaults = default_arguments(cls)
    kept: Entry = {}
    for key, value in without_late_arguments(cls_name, config).items():
        if key in known or key in _ALWAYS.get(cls_name, ()):
            kept[key] = value
        elif _says_nothing(key, value, defaults):
            if not_heeded:  # So that Keras 2 refuses it, rather than compute otherwise.
                kept[key] = value
        elif key in _OF_TRAINING:
            text = f"Keras 2 has no {key} of {cls_name}; {value!r} is left out"
            notes.append(Note(f"layer {original_name(layer)!r}", text))
        else:
            kept[key] = value
            text = f"Keras 2 has no {key}={value!r} of {cls_name} and refuses it"
            notes.append(Note(f"layer {original_name(layer)!r}", text))
    return kept


def under_names_of_their_own(value: Any, traced: bool) -> Any:
    """An entry in which no layer that Keras 2 can't make has a name of Keras 2's.

    Keras 2 runs the traces of a class that it doesn't know, and refuses a file where
    a class of its own refuses the config.

    Args:
        value: An entry, or what is in one.
        traced: Whether layers have traces. Where they have, they are also all that
            Keras 2 can run of a `Lambda` over `keras.ops`.
    """
    if isinstance(value, list):
        return [under_names_of_their_own(item, traced) for item in value]
    if not isinstance(value, Mapping):
        return value
    found = {k: under_names_of_their_own(v, traced) for k, v in value.items()}
    name, config = found.get("class_name"), found.get("config")
    if name in KERAS_2_ARGUMENTS and isinstance(config, Mapping):
        known = KERAS_2_ARGUMENTS[name] | EVERY_LAYER | {*_ALWAYS.get(name, ())}
        beyond = any(True for _ in _not_heeded(name, config))
        beyond = beyond or (traced and name == "Lambda")
        if beyond or set(config) - known or _says_keras_3(config):
            found["class_name"] = f"{KERAS_3_PREFIX}{name}"
    return found


def _says_keras_3(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_says_keras_3, value.values()))
    if isinstance(value, list):
        return any(map(_says_keras_3, value))
    return isinstance(value, str) and value.startswith(KERAS_3_PREFIX)


# Keys of Keras 2's configs that are no arguments of the constructor.
_ALWAYS = {
    "MultiHeadAttention": ("query_shape", "key_shape", "value_shape"),
    "InputLayer": ("batch_input_shape",),
    "LSTM": ("zero_output_for_mask",),
    "GRU": ("zero_output_for_mask",),
    "SimpleRNN": ("zero_output_for_mask",),
    "RNN": ("zero_output_for_mask",),
    "Lambda": (
        "function_type",
        "module",
        "output_shape_type",
        "output_shape_module",
    ),
}


# Keys without a meaning for a file's predictions: Keras 2 does without.
_OF_TRAINING = ("seed", "flash_attention", "use_cudnn", "autocast")


def _not_none(value: Any, config: Mapping[str, Any]) -> bool:
    return value is not None


def _holds_none(value: Any, config: Mapping[str, Any]) -> bool:
    return isinstance(value, list) and None in value


def _dilates(value: Any, config: Mapping[str, Any]) -> bool:
    return any(rate != 1 for rate in (value if isinstance(value, list) else [value]))


def _cell_of_another_dtype(value: Any, config: Mapping[str, Any]) -> bool:
    entries = value if isinstance(value, list) else [value]
    found = {dtype_name(entry["config"].get("dtype")) for entry in entries}
    return bool(found - {dtype_name(config.get("dtype"))})


# What a class of Keras 2 takes and doesn't heed, or fails at: by class and key, whether
# it is so for a value, and what it does.
_NOT_HEEDED: Mapping[tuple[str, str], tuple[Callable[[Any, Any], bool], str]] = {
    ("AlphaDropout", "noise_shape"): (_holds_none, "takes no None in"),
    ("Conv3DTranspose", "dilation_rate"): (_dilates, "ignores"),
    ("EinsumDense", "activity_regularizer"): (_not_none, "ignores"),
    ("RNN", "cell"): (_cell_of_another_dtype, "casts no states to the dtype of"),
}


def _otherwise(layer: keras.layers.Layer, config: Mapping[str, Any]) -> Iterator[str]:
    """Yields where Keras 2's class of a name computes otherwise.

    Regraft's classes of these names are Keras 2's.
    """
    if type(layer) is keras.layers.MultiHeadAttention:
        if config.get("activity_regularizer") is not None:
            yield (
                "Keras 2's MultiHeadAttention regularizes its output, not its "
                "projections"
            )
    elif type(layer) is keras.layers.RandomCrop:
        yield "Keras 2's RandomCrop fits images to its size in inference"


def _in_steps(layer: keras.layers.Layer) -> Iterator[str]:
    """Yields where a layer trains otherwise in Keras 2, of the same config.

    It predicts the same, so that Keras 2 may open it without its functions.
    """
    if type(layer) is not keras.layers.TimeDistributed:
        return
    inside = _compat.all_layers(layer.layer)
    if any(item.activity_regularizer for item in inside):
        yield "Keras 2's TimeDistributed counts its layer's activity regularizer"
    if any(isinstance(item, keras.layers.BatchNormalization) for item in inside):
        yield "Keras 2's TimeDistributed normalizes all steps as one batch"


def _not_heeded(name: str, config: Mapping[str, Any]) -> Iterator[str]:
    """Yields what Keras 2's class of a name makes of a config, where that differs."""
    for (class_name, key), (differs, text) in _NOT_HEEDED.items():
        if class_name == name and key in config and differs(config[key], config):
            yield f"Keras 2's {name} {text} its {key}"


def _says_nothing(key: str, value: Any, defaults: Mapping[str, Any]) -> bool:
    default = defaults.get(key)
    default = list(default) if isinstance(default, tuple) else default
    if value is None or (key in defaults and default == value):
        return True
    if value is False and key not in defaults:
        return True
    # Layout of images is channels_last unless the user's config says otherwise.
    return key == "data_format" and value == "channels_last"


@cache
def default_arguments(cls: Any) -> Mapping[str, Any]:
    """The defaults of a class' constructor, over `**kwargs` to its bases."""
    defaults: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters
            for name, parameter in parameters.items():
                if parameter.default is not parameter.empty:
                    defaults[name] = parameter.default
    return defaults


def old_words(key: str, value: Any, owner: str, notes: list[Note]) -> Any:
    """Puts one value of a config of Keras 3 into Keras 2's form."""
    if isinstance(value, _Described):
        return dict(value)
    if key == "dtype":
        return old_dtype(value, owner, notes)
    if isinstance(value, tuple):
        return [old_words(key, item, owner, notes) for item in value]
    if isinstance(value, list):
        return [old_words(key, item, owner, notes) for item in value]
    if is_entry(value):
        return _old_object(key, value, owner, notes)
    if key not in _ACTIVATION_KEYS or not isinstance(value, str):
        return value
    if value == "hard_sigmoid":
        text = "Keras 2 computes another function under the name hard_sigmoid"
        notes.append(Note(f"layer {owner!r}", text))
        return KERAS_3_HARD_SIGMOID
    return _ACTIVATIONS.get(value, value)


_ACTIVATION_KEYS = ("activation", "recurrent_activation")
# Names that every Keras 2 and Keras 3 know, for those that Keras 2 learned late.
_ACTIVATIONS = {"silu": "swish"}
_FUNCTIONS = {
    "Regraft>linear_fifth_hard_sigmoid": "hard_sigmoid",
    "linear_fifth_hard_sigmoid": "hard_sigmoid",
    **{f"{PACKAGE}>{name}": name for name in ACTIVATIONS},
}


def _old_object(key: str, value: Mapping[str, Any], owner: str, notes: Any) -> Any:
    name, config = value["class_name"], value["config"]
    if name == "function":
        found = value.get("registered_name") or config
        if found == "function":  # a function that nobody registered
            found = config
        return _FUNCTIONS.get(found, _ACTIVATIONS.get(found, found))
    if name in ("__tuple__", "__list__"):
        return [old_words(key, item, owner, notes) for item in config]
    if name in ("__numpy__", "__tensor__"):
        return config["value"]
    if name == "DTypePolicy":
        return old_dtype(value, owner, notes)
    if not isinstance(config, Mapping):
        return value
    if name == "UnknownInitializer":
        return _unknown(decode(json.loads(config["entry"])))
    if name == "AveragedOverBatch":
        return old_words(key, config["regularizer"], owner, notes)
    if name == "SummedOverBatch":
        text = "tf.keras averages an activity regularizer's loss over the batch"
        notes.append(Note(f"layer {owner!r}", text))
        return old_words(key, config["regularizer"], owner, notes)
    registered = value.get("registered_name")
    found = {
        inner: old_words(inner, item, owner, notes)
        for inner, item in config.items()
        if inner not in _INITIALIZER_DEFAULTS
        or inner == "seed"
        or item != _INITIALIZER_DEFAULTS[inner]
    }
    builtin = str(value.get("module", "keras")).split(".")[0] == "keras"
    own = str(registered or "").startswith(f"{PACKAGE}>")
    if not builtin and not own:
        # Regraft's own stand for classes of Keras 2, and have their names.
        name = registered or name
    return {"class_name": name, "config": found}


def _unknown(entry: Any) -> Any:
    """Puts an entry that nobody understood into the form that every Keras 2 reads."""
    if not is_entry(entry):
        return entry
    name = entry.get("registered_name") or entry["class_name"]
    return function_name(entry) or {"class_name": name, "config": entry["config"]}


def old_dtype(value: Any, owner: str, notes: list[Note]) -> Any:
    """Puts a dtype policy into Keras 2's form: a name, or a `Policy`."""
    if not is_entry(value):
        return value
    config = value["config"]
    name = config.get("name")
    source = config.get("source_name")
    if source is not None:
        notes.append(Note(f"layer {owner!r}", "Keras 2 has no quantized dtype policy"))
        name = source
    if value["class_name"] == "DTypePolicyMap":
        notes.append(Note(f"layer {owner!r}", "Keras 2 has no DTypePolicyMap"))
        default = config.get("default_policy")
        return old_dtype(default, owner, notes) or "float32"
    if isinstance(name, str) and name.startswith("mixed_"):
        return {"class_name": "Policy", "config": {"name": name}}
    return name
