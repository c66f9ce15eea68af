"""Regularizers that Keras 2 computed otherwise."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable
from typing import Any, Self

import keras
from keras import ops

from regraft._compat import AVERAGES_ACTIVITY, all_layers, sublayers
from regraft.model.keras2.registration import registered

_REPEATS = "_regraft_repeats_regularizers"


class OverBatch(keras.regularizers.Regularizer):
    """What the two below have in common.

    Args:
        regularizer: What it does to each output.
    """

    def __init__(self, regularizer: Any) -> None:
        self.regularizer = keras.regularizers.get(regularizer)

    def get_config(self) -> dict[str, Any]:
        return {"regularizer": keras.regularizers.serialize(self.regularizer)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(keras.regularizers.deserialize(config["regularizer"]))


@registered
class SummedOverBatch(OverBatch):
    """An activity regularizer that sums over a batch, not averages.

    The multi-backend Keras did so before 2.3. Where Keras 3 divides what an activity
    regularizer gives by the number of samples, that is undone here.
    """

    def __call__(self, x: Any) -> Any:
        loss = self.regularizer(x)
        return loss * _samples(x, loss) if AVERAGES_ACTIVITY else loss


@registered
class AveragedOverBatch(OverBatch):
    """An activity regularizer that averages where Keras 3 itself does not."""

    def __call__(self, x: Any) -> Any:
        loss = self.regularizer(x)
        return loss if AVERAGES_ACTIVITY else ops.divide_no_nan(loss, _samples(x, loss))


def before_averaging(regularizer: Any) -> Any:
    """Returns what TensorFlow's Keras, which averages, makes the same loss of."""
    if AVERAGES_ACTIVITY:
        return regularizer
    return lambda x: (loss := regularizer(x)) * _samples(x, loss)


def _samples(x: Any, loss: Any) -> Any:
    return ops.cast(ops.shape(x)[0], loss.dtype) if len(x.shape) else 1


class FlatAtZero(keras.regularizers.Regularizer):
    """A regularizer of absolute values whose gradient at 0 is TensorFlow's, 0.

    JAX's is 1. It stands at a variable alone: the layer keeps the regularizer that is
    in its config.
    """

    def __init__(self, regularizer: Any) -> None:
        self.regularizer = regularizer

    def __call__(self, x: Any) -> Any:
        x = ops.convert_to_tensor(x)
        return self.regularizer(x * ops.stop_gradient(ops.sign(x)))

    def get_config(self) -> dict[str, Any]:
        return {"regularizer": keras.regularizers.serialize(self.regularizer)}


def flatten_at_zero(variables: Iterable[keras.Variable]) -> None:
    """Gives each variable under L1 the gradient at 0 that TensorFlow has there."""
    for variable in variables:
        regularizer = variable.regularizer
        if type(regularizer) in (keras.regularizers.L1, keras.regularizers.L1L2):
            variable.regularizer = FlatAtZero(regularizer)


class Repeated(keras.regularizers.Regularizer):
    """A regularizer that counts several times.

    It stands at a variable alone: the layer keeps the regularizer in its config.

    Args:
        regularizer: What counts.
        times: How many times.
    """

    def __init__(self, regularizer: Any, times: int) -> None:
        self.regularizer = regularizer
        self.times = times

    def __call__(self, x: Any) -> Any:
        return self.regularizer(x) * float(self.times)

    def get_config(self) -> dict[str, Any]:
        return {
            "regularizer": keras.regularizers.serialize(self.regularizer),
            "times": self.times,
        }


def repeat_regularizers(
    model: keras.Model, but: tuple[type[keras.regularizers.Regularizer], ...] = ()
) -> None:
    """Lets the regularizers of a layer count once for each way that leads to it.

    `tf.keras` before TensorFlow 2.2 adds up the losses of what a layer holds, layer by
    layer: two networks that share one count it twice.

    Args:
        model: The model, built.
        but: Regularizers that know already how often they count.
    """
    held = {id(layer): _held(layer) for layer in all_layers(model)}
    try:
        order = list(graphlib.TopologicalSorter(held).static_order())
    except graphlib.CycleError:
        return
    ways = dict.fromkeys(held, 0) | {id(model): 1}
    for holder in reversed(order):
        for place in held[holder]:
            ways[place] += ways[holder]
    for layer in all_layers(model):
        times = ways[id(layer)]
        inner = {id(v) for below in sublayers(layer) for v in below.variables}
        for variable in layer.variables if times > 1 else ():
            regularizer = variable.regularizer
            if id(variable) in inner or regularizer is None:
                continue
            if not isinstance(regularizer, (*but, Repeated)):
                variable.regularizer = Repeated(regularizer, times)
                setattr(model, _REPEATS, True)


def repeats_regularizers(model: keras.Model) -> bool:
    """Whether a regularizer of a model counts more than once."""
    return bool(getattr(model, _REPEATS, False))


def _held(layer: keras.layers.Layer) -> list[int]:
    return list(dict.fromkeys(id(below) for below in sublayers(layer)))


def take_regularizers(layers: Iterable[keras.layers.Layer]) -> None:
    """Takes the regularizers of weights off layers, and out of their configs."""
    for layer in layers:
        for variable in layer.variables:
            variable.regularizer = None
        for name, value in list(vars(layer).items()):
            of_weights = name != "activity_regularizer"
            if of_weights and isinstance(value, keras.regularizers.Regularizer):
                setattr(layer, name, None)
