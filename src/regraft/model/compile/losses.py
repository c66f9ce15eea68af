"""Losses to and from their entries in a training config."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras

from regraft import _compat
from regraft.errors import UnknownNameError
from regraft.model.compile.names import (
    FUNCTIONS,
    LOSS_CLASSES,
    ONLY_KERAS_3,
    REDUCTIONS,
    plain_name,
)
from regraft.model.dialects import objects
from regraft.model.dialects.context import BuildContext, Note
from regraft.model.dialects.dialect import Dialect
from regraft.model.dialects.late_arguments import loss_without_late_arguments
from regraft.model.dialects.registry import find_custom, make_custom
from regraft.model.keras2 import losses_addons
from regraft.model.keras2.losses import FUNCTIONS as KERAS_2_FUNCTIONS
from regraft.model.keras2.losses import (
    OLD_LOGITS,
    Keras2Loss,
    averaged_cosine_proximity,
)
from regraft.model.keras2.registration import ADDONS

_CLASSES = {
    name: value
    for name, value in vars(keras.losses).items()
    if isinstance(value, type) and issubclass(value, keras.losses.Loss)
}
_BUILT_IN = {
    name: value
    for name, value in vars(keras.losses).items()
    if inspect.isfunction(value) and name not in {"get", "serialize", "deserialize"}
}
# Function below each class of Keras 3 that Keras 2 computes otherwise.
_FUNCTION_OF_CLASS = {
    "BinaryCrossentropy": "binary_crossentropy",
    "BinaryFocalCrossentropy": "binary_focal_crossentropy",
    "CategoricalCrossentropy": "categorical_crossentropy",
    "CategoricalFocalCrossentropy": "categorical_focal_crossentropy",
    "CategoricalHinge": "categorical_hinge",
    "CosineSimilarity": "cosine_similarity",
    "Hinge": "hinge",
    "SparseCategoricalCrossentropy": "sparse_categorical_crossentropy",
    "KLDivergence": "kl_divergence",
    "MeanAbsoluteError": "mean_absolute_error",
    "MeanAbsolutePercentageError": "mean_absolute_percentage_error",
}
# Keys of a loss' config that are not arguments of its function.
_OF_THE_LOSS = frozenset({"reduction", "name", "fn", "dtype"})


@dataclass(frozen=True)
class LossRules:
    """What a dialect means by a loss.

    Attributes:
        keras2: Whether Keras 2's functions are meant.
        counts_masked_steps: Whether a mean is over the masked steps too.
        masks: Whether the model has masks, so that this matters.
        old_logits: Whether remembered logits are of the loss' own activation alone.
        positive_cosine: Whether a cosine similarity is maximal for equal vectors.
        old_smoothing: Whether labels are smoothed by the length of axis 1.
    """

    keras2: bool
    counts_masked_steps: bool = False
    masks: bool = False
    old_logits: bool = False
    positive_cosine: bool = False
    old_smoothing: bool = False

    def function(self, plain: str) -> str | None:
        """Name of the function of Keras 2 that computes otherwise than Keras 3's."""
        if plain == "cosine_similarity" and self.positive_cosine:
            return "positive_cosine_similarity"
        return plain if self.keras2 and plain in KERAS_2_FUNCTIONS else None

    def arguments(
        self, function: str, given: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """What the function is told of the era, besides what the file gives it."""
        told = {}
        if self.old_logits and function in OLD_LOGITS:
            told["old_logits"] = True
        smooths = bool((given or {}).get("label_smoothing"))
        if smooths and self.old_smoothing and function == "categorical_crossentropy":
            told["old_smoothing"] = True
        return told


def build_loss(entry: Any, context: BuildContext, rules: LossRules) -> Any:
    """Makes a compile argument of a loss' entry: a name, function or `Loss`.

    Raises:
        ValueError: Nobody knows the loss.
    """
    if entry is None or callable(entry):
        return entry
    if isinstance(entry, str):
        return _build_named(entry, entry, context, rules)
    if not isinstance(entry, Mapping) or "class_name" not in entry:
        raise ValueError(f"Invalid loss: {entry!r}.")
    if entry["class_name"] == "function" and isinstance(entry.get("config"), str):
        name = str(objects.function_name(entry))
        return _build_named(name, entry["config"], context, rules)
    return _build_class(entry, context, rules)


def _build_named(
    name: str, spelled: str, context: BuildContext, rules: LossRules
) -> Any:
    custom = find_custom(name, context)
    if isinstance(custom, type):
        return custom()
    if custom is not None:
        return _masked_steps(custom, spelled, rules) or custom
    addon = losses_addons.FUNCTIONS.get(name.removeprefix(ADDONS))
    if addon is not None and rules.keras2:
        return Keras2Loss(
            addon, {}, spelled, rules.counts_masked_steps, name=addon.__name__
        )
    plain = FUNCTIONS.get(plain_name(name), plain_name(name))
    if LOSS_CLASSES.get(plain, plain) in _CLASSES:
        return _build_class({"class_name": plain, "config": {}}, context, rules)
    if plain in ("crossentropy", "ce"):
        return plain
    if plain not in _BUILT_IN:
        raise UnknownNameError(
            f"Unknown loss {name!r}. If it is your own, pass it in "
            f"`custom_objects={{{plain_name(name)!r}: …}}`."
        )
    if context.dialect.cosine_is_averaged and plain == "cosine_similarity":
        return averaged_cosine_proximity
    function = rules.function(plain)
    if function is not None:
        return Keras2Loss(
            function,
            rules.arguments(function),
            spelled=spelled,
            counts_masked_steps=rules.counts_masked_steps,
            name=plain_name(name),
        )
    masked = _masked_steps(_BUILT_IN[plain], spelled, rules)
    if masked is not None:
        return masked
    # Keras 3 understands its own names, and shows what the user wrote.
    return (
        spelled if keras.losses.get(plain) and _is_known(spelled) else _BUILT_IN[plain]
    )


def _is_known(name: str) -> bool:
    try:
        keras.losses.get(name)
    except ValueError:
        return False
    return True


def _masked_steps(function: Any, spelled: Any, rules: LossRules) -> Keras2Loss | None:
    if not (rules.masks and rules.keras2):
        return None
    return Keras2Loss(
        function,
        spelled=spelled,
        counts_masked_steps=rules.counts_masked_steps,
        name=getattr(function, "__name__", None),
    )


def _build_class(
    entry: Mapping[str, Any], context: BuildContext, rules: LossRules
) -> Any:
    config = dict(entry.get("config") or {})
    name = str(entry.get("registered_name") or entry["class_name"])
    custom = find_custom(name, context)
    if custom is not None:
        if "reduction" in config:
            config["reduction"] = _reduction(config["reduction"])
        return from_config(custom, config, context)
    plain = plain_name(entry["class_name"])
    if name.startswith(ADDONS) and plain in losses_addons.CLASSES:
        return _build_addon(losses_addons.CLASSES[plain], entry, context, rules)
    plain = LOSS_CLASSES.get(plain, plain)
    if plain == "LossFunctionWrapper" or plain not in _CLASSES:
        if "fn" not in config:
            raise UnknownNameError(
                f"Unknown loss {name!r}. If it is your own, pass it in "
                f"`custom_objects={{{plain_name(name)!r}: …}}`."
            )
        return _build_wrapper(entry, config, context, rules)
    cls = _CLASSES[plain]
    arguments = {k: v for k, v in config.items() if k not in _OF_THE_LOSS}
    reduction = _reduction(config.get("reduction", "sum_over_batch_size"))
    given = {"reduction": reduction}
    if config.get("name"):
        given["name"] = config["name"]
    function = rules.function(_FUNCTION_OF_CLASS.get(plain, ""))
    if function is not None:
        own = _accepted(KERAS_2_FUNCTIONS[function], arguments, plain, context)
        return Keras2Loss(
            function,
            {**own, **rules.arguments(function, own)},
            _entry(entry),
            rules.counts_masked_steps,
            reduction,
            config.get("name") or function,
        )
    if not rules.keras2 and config.get("dtype") is not None:
        given["dtype"] = config["dtype"]
    loss = cls(**_accepted(cls, arguments, plain, context), **given)
    if not (rules.masks and rules.keras2):
        return loss
    # The function and its arguments: a bound method has no name to be saved by.
    return Keras2Loss(
        loss.fn,
        _compat.function_arguments(loss),
        _entry(entry),
        rules.counts_masked_steps,
        reduction,
        loss.name,
    )


def _build_addon(
    addon: losses_addons.Addon,
    entry: Mapping[str, Any],
    context: BuildContext,
    rules: LossRules,
) -> Keras2Loss:
    """A loss of TensorFlow Addons."""
    config = dict(entry.get("config") or {})
    given = {k: v for k, v in config.items() if k not in _OF_THE_LOSS}
    return Keras2Loss(
        addon.function,
        _accepted(addon.function, given, addon.name, context),
        _entry(entry),
        rules.counts_masked_steps,
        _reduction(config.get("reduction", addon.reduction)),
        config.get("name") or addon.name,
    )


def from_config(custom: Any, config: dict[str, Any], context: BuildContext) -> Any:
    """An object of a caller's class, or the caller's function itself."""
    known = hasattr(custom, "from_config")
    return make_custom(custom, config, context) if known else custom


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "class_name": entry["class_name"],
        "config": dict(entry.get("config") or {}),
    }


def _build_wrapper(
    entry: Mapping[str, Any],
    config: Mapping[str, Any],
    context: BuildContext,
    rules: LossRules,
) -> Any:
    """A function with arguments and a reduction, without a class of its own."""
    function = build_loss(config["fn"], context, replace(rules, masks=False))
    if isinstance(function, str):
        function = _BUILT_IN[FUNCTIONS.get(function, function)]
    if isinstance(function, Keras2Loss):
        function = function.fn
    arguments = {k: v for k, v in config.items() if k not in _OF_THE_LOSS}
    reduction = _reduction(config.get("reduction", "sum_over_batch_size"))
    return Keras2Loss(
        function,
        arguments,
        _entry(entry),
        rules.counts_masked_steps,
        reduction,
        config.get("name"),
    )


def _reduction(value: Any) -> str:
    return REDUCTIONS.get(value, str(value))


def _accepted(
    target: Any, arguments: Mapping[str, Any], name: str, context: BuildContext
) -> dict[str, Any]:
    """The arguments that a function takes; the others are noted."""
    known = inspect.signature(target).parameters
    for key in set(arguments) - set(known):
        if arguments[key] is not None:
            context.note("compile", f"loss {name}: argument '{key}' is left out")
    return {key: value for key, value in arguments.items() if key in known}


# ---------------------------------------------------------------- Keras 3 → Keras 2


def describe_loss(loss: Any, dialect: Dialect, notes: list[Note]) -> Any:
    """The entry with which Keras 2 makes a loss: a name or a dict."""
    del dialect
    if loss is None:
        return None
    if isinstance(loss, str):
        name = "binary_crossentropy" if loss.lower() == "bce" else loss
        return _known_to_keras_2(name, name, notes)
    if isinstance(loss, Keras2Loss) and loss.spelled is not None:
        return loss.spelled
    if not isinstance(loss, keras.losses.Loss):
        return function_name(loss, notes)
    config = _plain_config(_compat.function_config(loss), notes)
    name = type(loss).__name__
    if _CLASSES.get(name) is not type(loss):
        if name == "LossFunctionWrapper":
            return function_name(loss.fn, notes)
        return {
            "class_name": keras.saving.get_registered_name(type(loss)),
            "config": config,
        }
    config = loss_without_late_arguments(name, config)
    if name == "SparseCategoricalCrossentropy" and "axis" in config:
        text = f"Keras 2 has no axis of {name}; {config.pop('axis')!r} is left out"
        notes.append(Note("compile", text))
    return _known_to_keras_2(name, {"class_name": name, "config": config}, notes)


def resolved_losses(
    argument: Any,
    built: Mapping[tuple[Any, ...], Any],
    place: Callable[[str], int | None],
    notes: list[Note],
) -> Any:
    """Replaces `"crossentropy"`, which Keras 3 resolves by targets and Keras 2 doesn't.

    Args:
        argument: The loss that `compile` was given.
        built: What Keras 3 made of it, by paths; nothing before it saw targets.
        place: Gives the index of an output that a key means.
        notes: Told of what can't be resolved.
    """

    def resolved(item: Any, path: tuple[Any, ...]) -> Any:
        if isinstance(item, Mapping):
            return {key: resolved(each, (*path, key)) for key, each in item.items()}
        if isinstance(item, list | tuple):
            return [resolved(each, (*path, i)) for i, each in enumerate(item)]
        if not isinstance(item, str) or item.lower() not in ("crossentropy", "ce"):
            return item
        if path and path not in built and isinstance(path[0], str):
            path = (place(path[0]), *path[1:])
        below = {key: each for key, each in built.items() if key[: len(path)] == path}
        names = [_resolved_name(each) for each in below.values()]
        if not names and len(built) == 1:  # A list or dict of one is its item there.
            names = [_resolved_name(each) for each in built.values()]
        if not names:
            text = f"no target has said yet which loss {item!r} is; it is left out"
            notes.append(Note("compile", text))
            return None
        if len(set(names)) == 1:
            return names[0]
        keys = [key[-1] for key in below]
        named = dict(zip(keys, names, strict=True))
        return named if isinstance(keys[0], str) else names

    return resolved(argument, ())


def _resolved_name(loss: Any) -> str | None:
    return getattr(getattr(loss, "fn", None), "__name__", None)


def _known_to_keras_2(name: str, entry: Any, notes: list[Note]) -> Any:
    if name not in ONLY_KERAS_3:
        return entry
    notes.append(Note("compile", f"Keras 2 has no '{name}'; it is left out"))
    return None


def _plain_config(config: Mapping[str, Any], notes: list[Note]) -> dict[str, Any]:
    config = {key: value for key, value in config.items() if key != "dtype"}
    reduction = config.get("reduction", "sum_over_batch_size")
    if reduction == "mean_with_sample_weight":
        notes.append(Note("compile", f"Keras 2 has no reduction '{reduction}'"))
    if "reduction" in config:
        config["reduction"] = REDUCTIONS.get(reduction, "sum_over_batch_size")
    return config


def function_name(function: Any, notes: list[Note]) -> Any:
    """The name by which Keras 2 finds a function."""
    name = getattr(function, "__name__", None) or type(function).__name__
    if _BUILT_IN.get(name) is function:
        return _known_to_keras_2(name, name, notes)
    return keras.saving.get_registered_name(function)
