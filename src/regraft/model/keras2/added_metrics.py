"""Metrics that a call updates: `add_metric` of Keras 2, in a layer or on a tensor.

Keras 3 shows a metric that a layer updates in its call in the logs, but on JAX a step
drops the update: of a call it takes along the variables that are not trained, and
those of metrics only of the loss. So the call counts in variables of the first kind,
and the metric takes their values over when the loss is computed.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from regraft import _compat
from regraft.model.keras2.registration import registered


@dataclass(frozen=True)
class AddedMetric:
    """A metric, and the variables in which a call counts for it.

    Attributes:
        metric: Shows what was counted.
        counted: In the order of the metric's variables.
    """

    metric: keras.Metric
    counted: Sequence[keras.Variable]

    def take_over(self) -> None:
        """Gives the metric what was counted."""
        for ours, counted in zip(self.metric.variables, self.counted, strict=True):
            ours.assign(counted)

    def reset_state(self) -> None:
        """Begins to count anew."""
        type(self.metric).reset_state(self.metric)
        for ours, counted in zip(self.metric.variables, self.counted, strict=True):
            counted.assign(ours)


def show_added_metrics(model: keras.Model) -> None:
    """Lets `fit` and `evaluate` of a model show the metrics that its layers added."""
    added: list[AddedMetric] = [
        one
        for layer in _compat.all_layers(model)
        for one in getattr(layer, "added_metrics", ())
    ]
    if not added:
        return
    compute = model.compute_loss

    @functools.wraps(compute)
    def compute_loss(*arguments: Any, **keywords: Any) -> Any:
        for one in added:
            one.take_over()
        return compute(*arguments, **keywords)

    model.compute_loss = compute_loss
    for one in added:
        one.metric.reset_state = one.reset_state
    _compat.add_metrics(model, [one.metric for one in added])


@registered
class AddMetric(keras.layers.Layer):
    """Counts the mean of its input, as `model.add_metric(tensor)`, and hands it on."""

    def __init__(
        self, aggregation: Any = None, metric_name: str | None = None, **kwargs: Any
    ) -> None:
        kwargs.setdefault("autocast", False)
        super().__init__(**kwargs)
        self.aggregation = aggregation
        self.metric_name = metric_name
        # As those of a recurrent layer: state that is no weight.
        self.states = [self._add_count("total"), self._add_count("count")]

    def _add_count(self, name: str) -> keras.Variable:
        return self.add_weight(
            name=name,
            shape=(),
            dtype="float32",
            initializer="zeros",
            trainable=False,
            autocast=False,
        )

    @property
    def weights(self) -> list[keras.Variable]:
        """None: what a metric counts is no weight. `variables` has it."""
        return []

    @functools.cached_property
    def added_metrics(self) -> list[AddedMetric]:
        """The metric that shows the mean."""
        mean = keras.metrics.Mean(name=self.metric_name or self.name)
        return [AddedMetric(mean, self.states)]

    def call(self, inputs: Any) -> Any:
        values = ops.cast(inputs, "float32")
        total, count = self.states
        total.assign_add(ops.sum(values))
        count.assign_add(ops.cast(ops.size(values), "float32"))
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["aggregation"] = self.aggregation
        config["metric_name"] = self.metric_name
        return config
