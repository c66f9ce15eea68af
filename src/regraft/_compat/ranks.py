"""Inputs of other ranks than a network was built for; see `regraft._compat`."""

from __future__ import annotations

import functools
from typing import Any

import keras

from regraft._compat import all_layers, functional_of, is_network


def take_inputs_of_other_ranks(model: keras.Model) -> None:
    """Leaves it to the layers of a network which ranks they take.

    Keras 2 logs that an input has another rank and goes on: a `TimeDistributed` calls
    a network for steps of `(None, 32)` with rows of 32. Keras 3.12 to 3.15:
    `_adjust_input_rank` of Functional models refuses it, and so does what they know of
    their inputs where they are called symbolically.
    """
    for layer in all_layers(model):
        if not is_network(layer):
            continue
        network: Any = layer
        if isinstance(layer, keras.Sequential):
            network = functional_of(layer)
        if hasattr(network, "_adjust_input_rank"):
            adjust = functools.partial(_adjusted, network)
            vars(network)["_adjust_input_rank"] = adjust
            check = functools.partial(_check, network)
            vars(network)["_assert_input_compatibility"] = check


def _check(network: Any, inputs: Any, *rest: Any) -> None:
    """Checks inputs as Keras 3 does, but of those that it refuses for their rank."""
    given = keras.tree.flatten(inputs)
    if len(given) == len(network._inputs) and any(_refused(network, given)):
        return
    type(network)._assert_input_compatibility(network, inputs, *rest)


def _refused(network: Any, inputs: list[Any]) -> list[bool]:
    built_for = [tensor.shape for tensor in network._inputs]
    return [
        x is not None and _is_refused(tuple(x.shape), tuple(shape))
        for x, shape in zip(inputs, built_for, strict=True)
    ]


def _adjusted(network: Any, inputs: list[Any]) -> list[Any]:
    """Inputs as Keras 3 gives them to the layers; those that it refuses as they are."""
    refused = _refused(network, inputs)
    # Optional inputs are None, which Keras lets pass.
    known = [None if odd else x for x, odd in zip(inputs, refused, strict=True)]
    adjusted = type(network)._adjust_input_rank(network, known)
    return [
        x if odd else other
        for x, other, odd in zip(inputs, adjusted, refused, strict=True)
    ]


def _is_refused(shape: tuple[Any, ...], built_for: tuple[Any, ...]) -> bool:
    more = len(shape) - len(built_for)
    if more == 1:
        return bool(shape[-1] != 1)
    return bool(more) and not (more == -1 and built_for[-1] == 1)
