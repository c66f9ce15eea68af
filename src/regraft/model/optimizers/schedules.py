"""Learning rate schedules, to and from their configs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from regraft.errors import UnknownNameError
from regraft.model.dialects.context import BuildContext, Note
from regraft.model.dialects.dialect import Dialect
from regraft.model.dialects.registry import find_custom, make_custom
from regraft.model.keras2.optimizers_schedules import ADDONS, LinearCosineDecay

Schedule = keras.optimizers.schedules.LearningRateSchedule

_BUILT_IN = {
    **{
        name: value
        for name, value in vars(keras.optimizers.schedules).items()
        if isinstance(value, type) and issubclass(value, Schedule)
    },
    "LinearCosineDecay": LinearCosineDecay,
}
_SINCE_2_13 = {"warmup_target": None, "warmup_steps": 0}


def build_learning_rate(value: Any, context: BuildContext) -> Any:
    """Makes what an optimizer takes as its learning rate: a float or a schedule.

    Raises:
        ValueError: Nobody knows the schedule.
    """
    if not isinstance(value, Mapping):
        return float(value)
    config = dict(value.get("config") or {})
    name = str(value.get("registered_name") or value.get("class_name"))
    found = find_custom(name, context)
    if found is None:
        found = ADDONS.get(name, _BUILT_IN.get(str(value.get("class_name"))))
    if found is None:
        raise UnknownNameError(
            f"Unknown learning rate schedule {name!r}. If it is your own, pass it in "
            f"`custom_objects={{{name!r}: …}}`."
        )
    if found in (*_BUILT_IN.values(), *ADDONS.values()):
        if config.get("name", "") is None:
            del config["name"]
        return found(**config)
    return make_custom(found, config, context)


def describe_learning_rate(
    optimizer: keras.Optimizer, dialect: Dialect, notes: list[Note]
) -> Any:
    """The `learning_rate` of an optimizer's config in Keras 2: a float or a dict."""
    rate = optimizer._learning_rate
    if isinstance(rate, keras.Variable):
        return float(keras.ops.convert_to_numpy(rate))
    if not isinstance(rate, Schedule):
        notes.append(
            Note("optimizer", "its learning rate is a function; its value now is kept")
        )
        return float(keras.ops.convert_to_numpy(optimizer.learning_rate))
    return describe_schedule(rate, dialect, notes)


def describe_schedule(rate: Any, dialect: Dialect, notes: list[Note]) -> dict[str, Any]:
    """The config of a schedule in Keras 2."""
    name = type(rate).__name__
    config = dict(rate.get_config())
    if _BUILT_IN.get(name) is not type(rate):
        addon = f"Addons>{name}"
        known = ADDONS.get(addon) is type(rate)
        return {
            "module": None,
            "class_name": name,
            "config": config,
            "registered_name": addon
            if known
            else keras.saving.get_registered_name(type(rate)),
        }
    if name == "CosineDecay" and dialect.version < (2, 13):
        for key, default in _SINCE_2_13.items():
            if config.pop(key, default) != default:
                notes.append(
                    Note("optimizer", f"Keras {dialect.keras_version} lacks '{key}'")
                )
    return {
        "module": "keras.optimizers.schedules",
        "class_name": name,
        "config": config,
        "registered_name": None,
    }
