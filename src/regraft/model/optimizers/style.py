"""Which kind of optimizer a config speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from regraft.model.keras2.registration import ADDONS
from regraft.model.optimizers.slots import AVERAGED, SLOW, plain_name, slots_of

Entry = Mapping[str, Any]

LEGACY, NEW, KERAS_3 = "legacy", "new", "keras3"

# Classes that `OptimizerV2` never had.
_ONLY_NEW = frozenset({"AdamW", "Lion", "Adafactor"})
_ONLY_KERAS_3 = frozenset(
    {"loss_scale_factor", "gradient_accumulation_steps", "schedule_free"}
)
# Where an optimizer around another one keeps that.
_INNER = ("inner_optimizer", "optimizer")


def is_loss_scale(entry: Entry) -> bool:
    """Whether a config is of a `LossScaleOptimizer`, V1 to V3."""
    return plain_name(str(entry.get("class_name", ""))).startswith("LossScaleOptimizer")


def class_name_of(entry: Entry) -> str:
    """The class of a config, with the package where that is TensorFlow Addons."""
    registered = str(entry.get("registered_name") or "")
    if registered.startswith(ADDONS):
        return registered
    return str(entry.get("class_name", ""))


@dataclass(frozen=True)
class Around:
    """An optimizer of TensorFlow Addons that is around another one.

    Attributes:
        child: Where the object graph has the inner one.
        slot: What it keeps for each variable.
    """

    child: str
    slot: str


AROUND: Mapping[str, Around] = {
    "Lookahead": Around("lh_base_optimizer", SLOW),
    "SWA": Around("awg_optimizer", AVERAGED),
    "MovingAverage": Around("awg_optimizer", AVERAGED),
}
INNER_CHILDREN = frozenset(around.child for around in AROUND.values())


def around_of(entry: Entry) -> str | None:
    """Which optimizer of TensorFlow Addons a config puts around another one."""
    package, _, name = class_name_of(entry).rpartition(">")
    return name if f"{package}>" == ADDONS and name in AROUND else None


def inner_entry(entry: Entry) -> Entry:
    """The config of the optimizer that does the steps."""
    while is_loss_scale(entry) or around_of(entry) is not None:
        config = entry.get("config") or {}
        found = next((config[key] for key in _INNER if key in config), None)
        if not isinstance(found, Mapping):
            return entry
        entry = found
    return entry


def style_of(entry: Entry) -> str:
    """Whether a config is of `OptimizerV2`, of Keras 2.11 or of Keras 3.

    Since 2.11 a config says `is_legacy_optimizer`; without the word it is legacy, as
    `tf_keras` has it too.
    """
    if around_of(entry) is not None:
        return LEGACY
    entry = inner_entry(entry)
    config = entry.get("config") or {}
    class_name = class_name_of(entry)
    module = str(entry.get("module") or "")
    # All of TensorFlow Addons' are below `OptimizerV2`.
    if class_name.startswith(ADDONS):
        return LEGACY
    if "is_legacy_optimizer" in config:
        return LEGACY if config["is_legacy_optimizer"] else NEW
    if ".legacy" in module:
        return LEGACY
    if _ONLY_KERAS_3 & set(config) or module.startswith("keras."):
        return KERAS_3
    known = slots_of(class_name) is not None
    if not config or plain_name(class_name) in _ONLY_NEW:
        return NEW
    if known and class_name != plain_name(class_name):
        return NEW
    return LEGACY
