"""Optimizers to and from their configs, in every dialect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from regraft import _compat
from regraft.errors import UnknownNameError, UnsupportedError
from regraft.model.dialects.context import BuildContext, Note
from regraft.model.dialects.dialect import Dialect
from regraft.model.dialects.registry import find_custom, make_custom
from regraft.model.keras2 import (
    optimizers,
    optimizers_addons,
    optimizers_addons_steps,
    optimizers_legacy,
)
from regraft.model.keras2.registration import ADDONS
from regraft.model.optimizers.schedules import (
    build_learning_rate,
    describe_learning_rate,
    describe_schedule,
)
from regraft.model.optimizers.slots import SLOTS, plain_name
from regraft.model.optimizers.style import (
    KERAS_3,
    LEGACY,
    Entry,
    around_of,
    class_name_of,
    inner_entry,
    is_loss_scale,
    style_of,
)

_KERAS_3 = {
    name: value
    for name, value in vars(keras.optimizers).items()
    if isinstance(value, type) and issubclass(value, keras.optimizers.Optimizer)
}
_ADDONS = {**optimizers_addons.CLASSES, **optimizers_addons_steps.CLASSES}
# Files spell built-in classes in any case: `"adam"`, `"SGD"`, `"rmsprop"`.
_SPELLING = {name.lower(): name for name in _KERAS_3}
_CLIPS = ("clipnorm", "clipvalue", "global_clipnorm")
# What Keras 2.11 says of an optimizer and Keras 3 has no word for.
_ONLY_KERAS_2 = ("jit_compile", "is_legacy_optimizer", "gradient_aggregator")
# What Keras 3 says of an optimizer and Keras 2 has no word for, with its default.
_ONLY_KERAS_3: Mapping[str, Any] = {
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}
_SINCE_2_11: Mapping[str, Any] = {
    "weight_decay": None,
    "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
}
_NUMBERS = (
    "momentum",
    "rho",
    "beta_1",
    "beta_2",
    "epsilon",
    "initial_accumulator_value",
)


def build_optimizer(
    optimizer_config: Entry | str, context: BuildContext
) -> keras.Optimizer:
    """Makes the optimizer that a config names, which steps as the file's Keras did.

    Args:
        optimizer_config: `{"class_name": …, "config": …}` of any Keras, or a name.
        context: Of this build.

    Raises:
        ValueError: Nobody knows the class.
        UnsupportedError: Keras 3 has no such argument.
    """
    entry = _normalize(optimizer_config)
    if is_loss_scale(entry):
        return _build_loss_scale(entry, context)
    around = around_of(entry)
    if around is not None:
        return _build_around(around, entry, context)
    name = str(entry.get("registered_name") or entry["class_name"])
    cls = find_custom(name, context)
    if cls is not None:
        return _build_custom(cls, entry, context)
    package, _, plain = class_name_of(entry).rpartition(">")
    if package == "Addons" and plain in _ADDONS:
        return _build_addon(_ADDONS[plain], entry, context)
    name = _SPELLING.get(plain.lower(), "")
    # Of another package, such as TensorFlow Addons, it is another class.
    if not name or package not in ("", "Custom"):
        raise UnknownNameError(
            f"Unknown optimizer {entry['class_name']!r}. If it is your own, pass it in "
            f"`custom_objects={{{plain_name(entry['class_name'])!r}: …}}` or register "
            "it with `keras.saving.register_keras_serializable`."
        )
    style = KERAS_3 if context.dialect.generation == 3 else style_of(entry)
    config = dict(entry["config"])
    if style == LEGACY and name in optimizers_legacy.CLASSES:
        return _build_legacy(optimizers_legacy.CLASSES[name], config, context)
    config = _learning_rate_built(config, context)
    if style == KERAS_3:
        return _call(_KERAS_3[name], config)
    return _build_new(name, config)


def _normalize(entry: Entry | str) -> Entry:
    if isinstance(entry, str):
        return {"class_name": entry, "config": {}}
    if not isinstance(entry.get("class_name"), str):
        raise ValueError(f"Invalid optimizer config: {entry!r}.")
    return {**entry, "config": entry.get("config") or {}}


def _call(cls: Any, config: dict[str, Any]) -> keras.Optimizer:
    try:
        return cls(**config)
    except TypeError as error:
        raise UnsupportedError(
            f"Optimizer {cls.__name__} of Keras {keras.__version__}: {error}. Pass a "
            "class that has the argument in `custom_objects`."
        ) from error


def _learning_rate_built(
    config: dict[str, Any], context: BuildContext
) -> dict[str, Any]:
    if "lr" in config:
        config["learning_rate"] = config.pop("lr")
    if "learning_rate" in config:
        rate = build_learning_rate(config["learning_rate"], context)
        config["learning_rate"] = rate
    return config


def _build_new(name: str, config: dict[str, Any]) -> keras.Optimizer:
    """An optimizer of Keras 2.11 to 2.21."""
    for key in _ONLY_KERAS_2:
        config.pop(key, None)
    for key in _NUMBERS:
        if isinstance(config.get(key), int) and not isinstance(config[key], bool):
            config[key] = float(config[key])
    clips = [key for key in _CLIPS if config.get(key) is not None]
    differs = name == "Nadam" or config.get("use_ema") or len(clips) > 1
    if differs and name in optimizers.CLASSES:
        return _call(optimizers.CLASSES[name], config)
    return _call(_KERAS_3[name], config)


def _build_legacy(
    cls: Any, config: dict[str, Any], context: BuildContext
) -> keras.Optimizer:
    """An optimizer of Keras 2 up to 2.10, or of Keras 1."""
    config.pop("is_legacy_optimizer", None)
    first = "lr" in config and "learning_rate" not in config
    if first:
        # Keras 1 and `optimizer_v1`: gradients of tables are made dense.
        config["sparse_rows"] = False
    if cls is optimizers_legacy.Adagrad:
        config.setdefault("initial_accumulator_value", 0.0)
    if "schedule_decay" in config:
        config["decay"] = config.pop("schedule_decay")
    _leave_clips_out(config, context)
    if not context.dialect.tensorflow and config.get("clipnorm") is not None:
        # The multi-backend Keras takes the norm of all gradients together.
        config["global_clipnorm"] = config.pop("clipnorm")
    if context.dialect.version <= (2, 4, 0) and config.get("clipnorm") is not None:
        config["norm_first"] = True
    if not config.get("epsilon", 1.0):
        config["epsilon"] = 1e-7
    for key in _ONLY_KERAS_2:
        config.pop(key, None)
    return _call(cls, _learning_rate_built(config, context))


def _leave_clips_out(config: dict[str, Any], context: BuildContext) -> None:
    """Steps are as they were where Keras took no heed of what the optimizer says."""
    clips = [key for key in _CLIPS if config.get(key) is not None]
    if not clips:
        return
    told = "TensorFlow 2.0 and 2.1 take no heed of {} in `fit`: "
    if context.dialect.ignores_clips:
        told += "left out"
        for key in clips:
            config.pop(key)
    elif context.dialect.may_ignore_clips:
        told += "should one of them have written this file, steps differ here"
    else:
        return
    context.note("optimizer", told.format(" and ".join(map(repr, clips))))


def _build_addon(cls: Any, entry: Entry, context: BuildContext) -> keras.Optimizer:
    config = dict(entry["config"])
    if isinstance(config.get("weight_decay"), Mapping):
        config["weight_decay"] = build_learning_rate(config["weight_decay"], context)
    return _build_legacy(cls, config, context)


def _build_around(around: str, entry: Entry, context: BuildContext) -> keras.Optimizer:
    """The inner optimizer, with what is around it; only the outer one's clips count."""
    config, inner = entry["config"], inner_entry(entry)
    if inner is entry or inner is not config["optimizer"]:
        raise UnsupportedError(f"{around} around no plain optimizer: {config!r}.")
    arguments = dict(inner.get("config") or {})
    for key in _CLIPS:
        arguments.pop(key, None)
        if config.get(key) is not None:
            arguments[key] = config[key]
    name = plain_name(str(inner["class_name"]))
    if name in ("AdamW", "SGDW"):
        # They learn from `apply_gradients` what doesn't decay, which is never called.
        arguments.pop("exclude_from_weight_decay", None)
    if name in _ADDONS:
        name = ADDONS + name  # HDF5 files leave the package out.
    if around == "Lookahead":
        arguments["sync_period"] = int(config["sync_period"])
        arguments["slow_step_size"] = config["slow_step_size"]
    else:
        arguments["average"] = {"class_name": around, "config": config}
    arguments["is_legacy_optimizer"] = True
    found = {"class_name": name, "config": arguments}
    return build_optimizer(found, context)


def _build_custom(cls: Any, entry: Entry, context: BuildContext) -> keras.Optimizer:
    """An optimizer of the user's, written for Keras 3, with a config of any Keras."""
    if not (isinstance(cls, type) and issubclass(cls, keras.optimizers.Optimizer)):
        raise ValueError(
            f"Optimizer {entry['class_name']!r} must be a class below "
            f"`keras.optimizers.Optimizer`. Received: {cls!r}."
        )
    config = _learning_rate_built(dict(entry["config"]), context)
    for key in _ONLY_KERAS_2:
        config.pop(key, None)
    if issubclass(cls, optimizers_legacy.OptimizerV2):
        return cls(**config)
    decay = config.pop("decay", 0.0)
    if decay and isinstance(config.get("learning_rate"), float):
        config["learning_rate"] = keras.optimizers.schedules.InverseTimeDecay(
            config["learning_rate"], 1, decay
        )
    elif decay:
        context.note("optimizer", f"decay={decay} besides a schedule is lost")
    return make_custom(cls, config, context)


def _build_loss_scale(entry: Entry, context: BuildContext) -> keras.Optimizer:
    config = entry["config"]
    inner = inner_entry(entry)
    if inner is entry:
        raise ValueError(f"LossScaleOptimizer without an optimizer: {config!r}.")
    optimizer = build_optimizer(inner, context)
    arguments = _loss_scale_arguments(config)
    if arguments is None:
        # A fixed scale, which is an argument of the optimizer itself in Keras 3.
        optimizer.loss_scale_factor = float(_fixed_scale(config))
        return optimizer
    if style_of(entry) == KERAS_3 and context.dialect.generation == 3:
        return keras.optimizers.LossScaleOptimizer(optimizer, **arguments)
    return optimizers.LossScaleOptimizer(optimizer, **arguments)


def _loss_scale_arguments(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Arguments of a dynamic loss scale, `None` for a fixed one."""
    scale = config.get("loss_scale")  # V1: an object of its own, or a word
    arguments: dict[str, Any] = {}
    if isinstance(scale, Mapping):
        if scale.get("class_name") == "FixedLossScale":
            return None
        inner = scale.get("config") or {}
        arguments["initial_scale"] = inner.get("initial_loss_scale")
        arguments["dynamic_growth_steps"] = inner.get("increment_period")
    elif isinstance(scale, int | float) or not config.get("dynamic", True):
        return None
    else:
        arguments["initial_scale"] = config.get("initial_scale")
        arguments["dynamic_growth_steps"] = config.get("dynamic_growth_steps")
    if isinstance(config.get("name"), str):
        arguments["name"] = config["name"]
    return {key: value for key, value in arguments.items() if value is not None}


def _fixed_scale(config: Mapping[str, Any]) -> float:
    scale = config.get("loss_scale")
    if isinstance(scale, Mapping):
        return float(scale["config"]["loss_scale_value"])
    return float(scale if scale is not None else config["initial_scale"])


# ---------------------------------------------------------------- Keras 3 → Keras 2


def describe_optimizer(
    optimizer: keras.Optimizer,
    dialect: Dialect,
    notes: list[Note],
    *,
    prefer_legacy: bool = False,
) -> dict[str, Any]:
    """The config with which Keras 2 makes an optimizer that steps as this one does.

    Args:
        optimizer: Any optimizer of Keras.
        dialect: Of the file to write.
        notes: Told what Keras 2 has no words for.
        prefer_legacy: Write `OptimizerV2`'s config where it steps the same, as Keras
            3's own loader understands that one only.
    """
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        inner = describe_optimizer(
            optimizer.inner_optimizer, dialect, notes, prefer_legacy=prefer_legacy
        )
        return _loss_scale_entry(
            inner, True, optimizer.initial_scale, optimizer.dynamic_growth_steps
        )
    if optimizer.loss_scale_factor is not None:
        factor, optimizer.loss_scale_factor = optimizer.loss_scale_factor, None
        try:
            inner = describe_optimizer(
                optimizer, dialect, notes, prefer_legacy=prefer_legacy
            )
        finally:
            optimizer.loss_scale_factor = factor
        return _loss_scale_entry(inner, False, factor, None)
    config = _compat.config_of(optimizer)
    config["learning_rate"] = describe_learning_rate(optimizer, dialect, notes)
    for key, default in _ONLY_KERAS_3.items():
        if config.pop(key, default) != default:
            notes.append(Note("optimizer", f"Keras 2 has no '{key}'; it is left out"))
    cls = type(optimizer)
    if isinstance(optimizer, optimizers_legacy.OptimizerV2):
        rate = getattr(optimizer, "weight_decay", None)
        if callable(rate):
            config["weight_decay"] = describe_schedule(rate, dialect, notes)
        found = _own_legacy_entry(cls, config, notes)
        if found is not None:
            return found
    known = cls in (_KERAS_3.get(cls.__name__), optimizers.CLASSES.get(cls.__name__))
    if not known or cls.__name__ not in SLOTS:
        return _foreign_entry(optimizer, config, notes)
    nadam = cls is keras.optimizers.Nadam
    wants_legacy = prefer_legacy or nadam or dialect.version < (2, 11)
    if wants_legacy and _has_legacy_twin(optimizer, config):
        if nadam:
            # The schedule of Keras 3's Nadam; 2.11's multiplies once per variable.
            config["decay"] = 1.0
        return _legacy_entry(cls.__name__, config, notes)
    if nadam:
        notes.append(
            Note(
                "optimizer",
                "Keras 2's Nadam corrects its bias otherwise in the first steps",
            )
        )
    config |= {"jit_compile": False, "is_legacy_optimizer": False}
    return {"class_name": f"Custom>{cls.__name__}", "config": config}


def _loss_scale_entry(
    inner: dict[str, Any], dynamic: bool, scale: float, growth: int | None
) -> dict[str, Any]:
    legacy = style_of(inner) == LEGACY
    return {
        "class_name": "LossScaleOptimizer" if legacy else "LossScaleOptimizerV3",
        "config": {
            "inner_optimizer": inner,
            "dynamic": dynamic,
            "initial_scale": scale,
            "dynamic_growth_steps": growth,
        },
    }


def _legacy_entry(
    name: str, config: dict[str, Any], notes: list[Note]
) -> dict[str, Any]:
    config = dict(config)
    config.pop("sparse_rows", None)
    config.pop("norm_first", None)
    for key, default in _SINCE_2_11.items():
        if config.pop(key, default) != default:
            notes.append(Note("optimizer", f"OptimizerV2 has no '{key}'"))
    for key in _CLIPS:
        if config.get(key, 0) is None:
            del config[key]
    config.setdefault("decay", 0.0)
    return {"class_name": name, "config": config}


def _own_legacy_entry(
    cls: type[keras.Optimizer], config: dict[str, Any], notes: list[Note]
) -> dict[str, Any] | None:
    """The config of an `OptimizerV2` of Keras 2 or of TensorFlow Addons."""
    period = config.pop("sync_period", None)
    step_size = config.pop("slow_step_size", None)
    average = config.pop("average", None)
    if optimizers_legacy.CLASSES.get(cls.__name__) is cls:
        entry = _legacy_entry(cls.__name__, config, notes)
    elif _ADDONS.get(cls.__name__) is cls:
        if not cls.has_rate:
            config.pop("learning_rate")
        entry = {
            "class_name": f"{ADDONS}{cls.__name__}",
            "config": {k: v for k, v in config.items() if k != "sparse_rows"},
        }
    else:
        return None
    if period is not None:
        outer = {"sync_period": period, "slow_step_size": step_size}
        return _entry_around("Lookahead", outer, entry)
    if average is not None:
        return _entry_around(average["class_name"], average["config"], entry)
    return entry


def _entry_around(
    around: str, config: Mapping[str, Any], entry: dict[str, Any]
) -> dict[str, Any]:
    config = {"name": around, **config, "optimizer": entry}
    for key in _CLIPS:
        if key in entry["config"]:
            config[key] = entry["config"].pop(key)
    return {"class_name": f"{ADDONS}{around}", "config": config}


def _has_legacy_twin(optimizer: keras.Optimizer, config: Mapping[str, Any]) -> bool:
    """Whether `OptimizerV2` has a class that steps as this Keras 3 optimizer does."""
    cls = optimizers_legacy.CLASSES.get(type(optimizer).__name__)
    later = any(
        config.get(key, default) != default
        for key, default in _SINCE_2_11.items()
        if key not in ("ema_momentum", "ema_overwrite_frequency")
    )
    if cls is None or later or type(optimizer) in optimizers.CLASSES.values():
        return False
    name = cls.__name__
    if name == "Adagrad" or (name == "RMSprop" and not config.get("momentum")):
        return False  # Epsilon is elsewhere.
    tables = [
        v
        for v in getattr(optimizer, "_trainable_variables", ())
        if v.name == "embeddings"
    ]
    lazy = name not in ("Adam",) and not (name == "SGD" and not config.get("momentum"))
    return not (tables and lazy)


def _foreign_entry(
    optimizer: keras.Optimizer, config: dict[str, Any], notes: list[Note]
) -> dict[str, Any]:
    """The config of a class that Keras 2 doesn't have."""
    cls = type(optimizer)
    if _KERAS_3.get(cls.__name__) is cls:
        text = (
            f"Keras 2 has no optimizer '{cls.__name__}'; tf_keras opens the file with "
            "`compile=False`"
        )
        notes.append(Note("optimizer", text))
        return {
            "class_name": cls.__name__,
            "config": {**config, "loss_scale_factor": None},
        }
    name = keras.saving.get_registered_name(cls)
    config |= {"jit_compile": False, "is_legacy_optimizer": False}
    return {"class_name": name if ">" in name else f"Custom>{name}", "config": config}
