"""Every optimizer with every option that it has, as expressions for either Keras.

`O` is where the optimizer is from, `S` the learning rate schedules. Models are the same
in both environments, so this imports neither Keras.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

STEPS = 2

# With what learning rate a class is tried, and arguments of its own.
_OWN: dict[str, tuple[str, tuple[str, ...]]] = {
    "SGD": ("0.1", ("momentum=0.9", "momentum=0.8, nesterov=True")),
    "RMSprop": (
        "0.05",
        ("rho=0.7", "momentum=0.5", "centered=True", "momentum=0.5, centered=True"),
    ),
    "Adam": ("0.05", ("beta_1=0.7, beta_2=0.9", "amsgrad=True", "epsilon=0.1")),
    "AdamW": ("0.05", ("amsgrad=True", "weight_decay=0.2, beta_1=0.8")),
    "Adamax": ("0.05", ("beta_1=0.7, beta_2=0.9", "epsilon=0.1")),
    "Nadam": ("0.05", ("beta_1=0.7, beta_2=0.9",)),
    "Adagrad": ("0.05", ("initial_accumulator_value=0.4, epsilon=0.01",)),
    "Adadelta": ("0.5", ("rho=0.8, epsilon=0.01",)),
    "Ftrl": (
        "0.05",
        (
            "learning_rate_power=-0.4, initial_accumulator_value=0.2",
            "l1_regularization_strength=0.01, l2_regularization_strength=0.02",
            "l2_shrinkage_regularization_strength=0.03",
            "beta=0.1",
        ),
    ),
    "Lion": ("0.01", ("beta_1=0.8, beta_2=0.95",)),
    "Adafactor": (
        "0.05",
        (
            "beta_2_decay=-0.6, clip_threshold=0.5",
            "relative_step=False",
            "epsilon_1=1e-20, epsilon_2=0.01",
        ),
    ),
}
_CLIPS = ("clipnorm=0.2", "clipvalue=0.05", "global_clipnorm=0.3")
_SINCE_2_11 = (
    *_CLIPS,
    "weight_decay=0.1",
    "use_ema=True, ema_momentum=0.8",
    "use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=3",
    "use_ema=True, ema_momentum=0.9, clipnorm=0.2, weight_decay=0.05",
)
_SCHEDULES = (
    "S.ExponentialDecay(0.1, 2, 0.5)",
    "S.ExponentialDecay(0.1, 2, 0.5, staircase=True)",
    "S.PiecewiseConstantDecay([1, 3], [0.1, 0.05, 0.01])",
    "S.PolynomialDecay(0.1, 5, 0.01, power=2.0, cycle=True)",
    "S.InverseTimeDecay(0.1, 2, 0.5)",
    "S.CosineDecay(0.1, 6, alpha=0.1, warmup_target=0.2, warmup_steps=3)",
    "S.CosineDecayRestarts(0.1, 2, t_mul=1.5, m_mul=0.8, alpha=0.1)",
)
LEGACY = ("SGD", "RMSprop", "Adam", "Adamax", "Nadam", "Adagrad", "Adadelta", "Ftrl")
_SCALES = (
    "initial_scale=16.0",
    "initial_scale=16.0, dynamic_growth_steps=3",
    "dynamic=False, initial_scale=16.0",  # of Keras 2 alone
)


@dataclasses.dataclass(frozen=True)
class Case:
    """One optimizer.

    Attributes:
        kind: `"keras3"`, or `"new"` and `"legacy"` of tf_keras.
        class_name: Its class.
        expression: Makes it.
        scale: Arguments of a loss scale around it.
    """

    kind: str
    class_name: str
    expression: str
    scale: str | None = None

    @property
    def name(self) -> str:
        scaled = "" if self.scale is None else f" scaled({self.scale})"
        return f"{self.kind} {self.expression.removeprefix('O.')}{scaled}"

    @property
    def clips(self) -> bool:
        """Whether ids must not repeat: TensorFlow clips before it adds their rows."""
        return "clip" in self.expression

    @property
    def eager(self) -> bool:
        """Whether tf_keras may take its steps eagerly.

        Keras 2.11's Nadam counts otherwise in the traces that `fit` runs.
        """
        return (self.kind, self.class_name) != ("new", "Nadam")


def cases(kind: str) -> list[Case]:
    """All of one kind."""
    schedules = itertools.cycle(_SCHEDULES)
    found = []
    for name in LEGACY if kind == "legacy" else _OWN:
        rate, own = _OWN[name]
        options = ["", *own]
        options += [*_CLIPS, "decay=0.3"] if kind == "legacy" else _SINCE_2_11
        found += [_case(kind, name, rate, option) for option in options]
        every = _SCHEDULES if name in ("SGD", "Adam") else (next(schedules),)
        if (kind, name) == ("legacy", "Nadam"):  # It refuses schedules.
            every = ()
        found += [_case(kind, name, schedule, "") for schedule in every]
    for scale in _SCALES[:2] if kind == "keras3" else _SCALES:
        plain = _case(kind, "SGD", "0.1", "momentum=0.9")
        found.append(dataclasses.replace(plain, scale=scale))
        found.append(dataclasses.replace(_case(kind, "Adam", "0.05", ""), scale=scale))
    return found


def _case(kind: str, name: str, rate: str, option: str) -> Case:
    words = f"learning_rate={rate}" + (f", {option}" if option else "")
    return Case(kind, name, f"O.{name}({words})")


def data(distinct: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ids and targets; the ids may repeat, and some never come."""
    random = np.random.RandomState(5)
    ids = random.permutation(20)[:18] if distinct else random.randint(0, 8, size=18)
    return ids.reshape(6, 3), random.normal(size=(6, 2)).astype("float32")


def build(keras: Any, optimizer: Any, eager: bool = True) -> Any:
    """A table and two dense layers, with the same weights in either Keras."""
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((3,)),
            layers.Embedding(20, 4, name="table"),
            layers.Flatten(name="flat"),
            layers.Dense(5, "tanh", name="hidden"),
            layers.Dense(2, name="out"),
        ]
    )
    random = np.random.RandomState(1)
    model.set_weights([random.normal(0, 0.4, w.shape) for w in model.get_weights()])
    model.compile(optimizer, "mse", run_eagerly=eager)
    return model


def make(case: Case, modules: Mapping[str, Any], scaled: Any) -> Any:
    """The optimizer of a case.

    Args:
        case: The case.
        modules: `O` and `S`.
        scaled: The class of loss scales.
    """
    optimizer = eval(case.expression, dict(modules))
    if case.scale is None:
        return optimizer
    return eval(f"scaled(inner, {case.scale})", {"scaled": scaled, "inner": optimizer})


def train(model: Any, distinct: bool) -> list[list[np.ndarray]]:
    """Takes steps and returns the weights after each."""
    ids, targets = data(distinct)
    found = []
    for _ in range(STEPS):
        model.train_on_batch(ids, targets)
        found.append([np.array(weight) for weight in model.get_weights()])
    return found


def worst(found: Any, expected: Any) -> float:
    return max(
        float(np.max(np.abs(a - b)))
        for ours, theirs in zip(found, expected, strict=True)
        for a, b in zip(ours, theirs, strict=True)
    )
