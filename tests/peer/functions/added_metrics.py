"""Models whose layers or tensors add metrics in a call, or that have them by key."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras
from tf_keras import layers

from peer.functions import promises
from peer.functions.promises import Built, _batch, case

save = promises.save


class Seen(layers.Layer):
    """Adds two metrics: one of a name, and one that it holds."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.counted = tf_keras.metrics.Sum(name="seen_sum")
        self.dense = layers.Dense(4)

    def call(self, inputs: Any) -> Any:
        self.add_metric(tf.reduce_sum(inputs, 1), name="seen_mean")
        self.add_metric(self.counted(inputs))
        return self.dense(inputs)


class Largest(tf_keras.metrics.Metric):
    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.largest = self.add_weight("largest", initializer="zeros")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        self.largest.assign(tf.maximum(self.largest, tf.reduce_max(values)))

    def result(self) -> Any:
        return self.largest + 0.0


class SeenByItsOwn(Seen):
    """And one of a class that nobody else has."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.largest = Largest(name="largest")

    def call(self, inputs: Any) -> Any:
        self.add_metric(self.largest(inputs))
        return super().call(inputs)


class Whole(tf_keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.seen = Seen(name="seen")
        self.dense = layers.Dense(2)

    def call(self, inputs: Any) -> Any:
        return self.dense(self.seen(inputs))


def _measured(model: Any) -> Built:
    x, y = _batch(12, 3), _batch(12, 2, seed=1)
    model.compile(tf_keras.optimizers.SGD(0.1), "mse", metrics=["mae"])
    model.fit(x, y, batch_size=4, verbose=0)
    logs = model.evaluate(x, y, batch_size=4, verbose=0, return_dict=True)
    return Built(model, x, (x, y), more={"logs": logs})


@case
def metrics_of_tensors() -> Built:
    inputs = tf_keras.Input((3,))
    x = layers.Dense(4)(inputs)
    model = tf_keras.Model(inputs, layers.Dense(2)(x))
    model.add_metric(tf.reduce_sum(x, 1), name="sum")
    model.add_metric(tf.reduce_max(x), name="largest", aggregation="mean")
    return _measured(model)


@case
def metrics_of_a_layer(its_own: bool = False) -> Built:
    inputs = tf_keras.Input((3,))
    seen = (SeenByItsOwn if its_own else Seen)(name="seen")
    return _measured(tf_keras.Model(inputs, layers.Dense(2)(seen(inputs))))


@case
def metrics_of_a_class() -> Built:
    return _measured(Whole())


class ByKey(tf_keras.Model):
    """Has two outputs, whose keys are not in the order in which they are made."""

    def __init__(self) -> None:
        super().__init__()
        self.first = layers.Dense(3)
        self.second = layers.Dense(2)

    def call(self, inputs: Any) -> Any:
        return {"zed": self.first(inputs), "alpha": self.second(inputs)}


@case
def metrics_by_key() -> Built:
    x = _batch(12, 3)
    y = {"zed": _batch(12, 3, seed=1), "alpha": _batch(12, 2, seed=2)}
    model = ByKey()
    metrics = {"zed": ["mae", "mse"], "alpha": "mae"}
    model.compile("sgd", {"zed": "mse", "alpha": "mae"}, metrics=metrics)
    model.fit(x, y, batch_size=4, verbose=0)
    logs = model.evaluate(x, y, batch_size=4, verbose=0, return_dict=True)
    return Built(model, x, (x, y), more={"logs": logs})


def evaluate(path: str, x: Any, y: Any) -> dict[str, Any]:
    """Evaluates a file in batches of four, and counts the weights."""
    model = tf_keras.models.load_model(path)
    logs = model.evaluate(x, y, batch_size=4, verbose=0, return_dict=True)
    return {"logs": logs, "weights": len(model.get_weights())}
