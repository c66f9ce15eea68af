"""Which slots each optimizer has, and what they are called where.

A row names a slot as Keras 2.11 does in its variables (`Adam/m/dense/kernel`), the
attribute of Keras 3's optimizer, the list of the object graph since 2.11, and the
slot name of `OptimizerV2`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# The average of `use_ema=True`; part of any optimizer since 2.11.
AVERAGE = "average"
AVERAGES = "_model_variables_moving_average"
# Sums of `gradient_accumulation_steps`, only in Keras 3.
ACCUMULATED = "gradient_accumulator"
ACCUMULATED_ATTRIBUTE = "_accumulated_gradients"
# What any optimizer may keep, by its list there and in the object graph since 2.11.
COMMON_SLOTS = {AVERAGES: AVERAGE, ACCUMULATED_ATTRIBUTE: ACCUMULATED}
# The copy of each variable that `Lookahead` of TensorFlow Addons goes back to.
SLOW = "slow"
SLOW_ATTRIBUTE = "_slow"
# The average of each variable that its `SWA` and `MovingAverage` keep.
AVERAGED = "averaged"
AVERAGED_ATTRIBUTE = "_averages"
# What those around an optimizer keep, by their name here and in files.
AROUND_SLOTS = {SLOW: "slow", AVERAGED: "average"}
# The product of Nadam's momenta so far.
U_PRODUCT = "u_product"


@dataclass(frozen=True)
class Slot:
    """A kind of variable that an optimizer keeps for each trainable variable.

    Attributes:
        name: Prefix in variable names since Keras 2.11; our own name of it.
        attribute: List in Keras 3's optimizer.
        child: List in the object graph since Keras 2.11.
        legacy: Slot name of `OptimizerV2`; `None` for optimizers it lacks.
        needs: Hyperparameter that must be set for the slot to exist.
        group: Slots of one group alternate in `_variables`.
    """

    name: str
    attribute: str
    child: str
    legacy: str | None = None
    needs: str | None = None
    group: int = 0

    def exists(self, config: Mapping[str, Any]) -> bool:
        """Whether an optimizer of this config has the slot."""
        return self.needs is None or bool(config.get(self.needs))


# The second moments of NovoGrad, one number for each variable.
SPREAD = "spread"
# Slots whose shapes aren't their variables'.
OTHER_SHAPES = frozenset({"r", "c", SPREAD})

_M = Slot("m", "_momentums", "_momentums", "m")
_V = Slot("v", "_velocities", "_velocities", "v")
_ADAM = (_M, _V, Slot("vhat", "_velocity_hats", "_velocity_hats", "vhat", "amsgrad", 1))

SLOTS: Mapping[str, tuple[Slot, ...]] = {
    "SGD": (Slot("m", "momentums", "momentums", "momentum", "momentum"),),
    "Adam": _ADAM,
    "AdamW": _ADAM,
    # TensorFlow Addons'.
    "LazyAdam": _ADAM,
    "RectifiedAdam": _ADAM,
    "LAMB": (_M, _V),
    "AdaBelief": _ADAM,
    "Yogi": (_V, Slot("m", "_momentums", "_momentums", "m", "beta1")),
    "NovoGrad": (_M, Slot(SPREAD, "_spreads", "_spreads", "v")),
    "COCOB": (
        Slot("lr", "_largest", "_largest", "lr"),
        Slot("grad_norm_sum", "_norm_sums", "_norm_sums", "grad_norm_sum"),
        Slot("gradients_sum", "_gradient_sums", "_gradient_sums", "gradients_sum"),
        Slot("tilde_w", "_bets", "_bets", "tilde_w"),
        Slot("reward", "_rewards", "_rewards", "reward"),
    ),
    "ConditionalGradient": (
        Slot("unused", "_unused", "_unused", "conditional_gradient"),
    ),
    "ProximalAdagrad": (
        Slot("accumulator", "_accumulators", "_accumulators", "accumulator"),
    ),
    "SGDW": (Slot("m", "momentums", "momentums", "momentum", "momentum"),),
    "Adamax": (Slot("m", "_m", "_m", "m"), Slot("u", "_u", "_u", "v")),
    "Nadam": (_M, _V),
    "RMSprop": (
        Slot("velocity", "_velocities", "_velocities", "rms"),
        Slot("momentum", "_momentums", "_momentums", "momentum", "momentum", 1),
        Slot(
            "average_gradient",
            "_average_gradients",
            "_average_gradients",
            "mg",
            "centered",
            2,
        ),
    ),
    "Adagrad": (Slot("accumulator", "_accumulators", "_accumulators", "accumulator"),),
    "Adadelta": (
        Slot(
            "accumulated_grad", "_accumulated_grads", "_accumulated_grads", "accum_grad"
        ),
        Slot(
            "accumulated_delta_var",
            "_accumulated_delta_vars",
            "_accumulated_delta_vars",
            "accum_var",
        ),
    ),
    "Ftrl": (
        Slot("accumulator", "_accumulators", "_accumulators", "accumulator"),
        Slot("linear", "_linears", "_linears", "linear"),
    ),
    "Lion": (Slot("m", "_momentums", "momentums"),),
    "Adafactor": (
        Slot("r", "_r", "_r"),
        Slot("c", "_c", "_c"),
        Slot("v", "_v", "_v"),
    ),
}

# Legacy optimizers whose HDF5 order is one variable after the other; all others
# have one slot after the other.
LEGACY_BY_VARIABLE = frozenset({"Ftrl", "Yogi", "COCOB"})


def plain_name(class_name: str) -> str:
    """Class name without a package: `Custom>Adam` is `Adam`."""
    return class_name.rpartition(">")[2]


def slots_of(class_name: str) -> tuple[Slot, ...] | None:
    """Rows of an optimizer, `None` for a class that isn't in the table."""
    return SLOTS.get(plain_name(class_name))


def is_factored(shape: tuple[int, ...]) -> bool:
    """Whether Adafactor keeps `r` and `c` of a variable of this shape."""
    return len(shape) >= 2
