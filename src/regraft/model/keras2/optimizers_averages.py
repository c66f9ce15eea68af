"""What `SWA` and `MovingAverage` of TensorFlow Addons do after an optimizer's steps.

Both keep an average of each variable beside it, which no step reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from keras import ops


@dataclass(frozen=True)
class SWA:
    """The mean of what variables were every few steps.

    Attributes:
        average_period: Steps from one to the next.
        start_averaging: Steps before the first.
    """

    average_period: int = 10
    start_averaging: int = 0
    starts_at_value = False

    def __post_init__(self) -> None:
        if self.average_period < 1:
            raise ValueError(f"No average has a period of {self.average_period}.")

    def moved(self, average: Any, value: Any, iterations: Any) -> Any:
        """An average after a step.

        Args:
            average: Before it.
            value: Of the variable after it.
            iterations: Steps before it.
        """
        since = iterations - self.start_averaging
        taken = ops.maximum(since // self.average_period, 0)
        now = ops.equal(since, taken * self.average_period)
        count = ops.cast(taken, average.dtype)
        return ops.where(now, (average * count + value) / (count + 1.0), average)


@dataclass(frozen=True)
class MovingAverage:
    """The exponential moving average of a variable.

    Attributes:
        average_decay: How much of the average stays.
        num_updates: Steps done elsewhere, after which less may stay.
        start_step: Steps before the first.
        dynamic_decay: Whether less stays in the first steps.
    """

    average_decay: float = 0.99
    num_updates: int | None = None
    start_step: int = 0
    dynamic_decay: bool = False
    starts_at_value = True

    def moved(self, average: Any, value: Any, iterations: Any) -> Any:
        """An average after a step, see `SWA`."""
        decay = self.average_decay
        if self.num_updates is not None:
            decay = min(decay, (1.0 + self.num_updates) / (10.0 + self.num_updates))
        since = ops.cast(iterations - self.start_step, "float32")
        stays = ops.cast(decay, "float32")
        if self.dynamic_decay:
            # The denominator is 0 ten steps before the first, where it isn't used.
            long = ops.maximum(since, 0.0)
            stays = ops.minimum(stays, (1.0 + long) / (10.0 + long))
        stays = ops.cast(ops.where(since < 0.0, 0.0, stays), average.dtype)
        return average * stays + value * (1.0 - stays)


Average = SWA | MovingAverage
CLASSES: Mapping[str, type[Average]] = {"SWA": SWA, "MovingAverage": MovingAverage}


def make_average(entry: Mapping[str, Any]) -> Average:
    """Makes one of `{"class_name": …, "config": …}`."""
    cls = CLASSES[entry["class_name"]]
    known = cls.__dataclass_fields__
    return cls(**{k: v for k, v in entry["config"].items() if k in known})


def describe_average(average: Average) -> dict[str, Any]:
    """The entry that makes an average again."""
    return {"class_name": type(average).__name__, "config": asdict(average)}
