"""Keras 2's words for an HDF5 file, so that Keras 3's own loader reads them too.

What costs other readers nothing is always done: defaults that Keras 3 refuses are
left out, a dtype policy is its name, and the layer inside a wrapper says where it
is from. `dialect="both"` changes the topology besides: Keras 2 counts the making of
a nested model as its node 0 and Keras 3 doesn't, so that each call is listed twice
and call number j is referred to as node 2j - 1, which is one of the two copies in
either count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regraft.model.compile.names import FUNCTIONS

_NETWORKS = ("Sequential", "Functional", "Model")
# Keys that Keras 3 refuses, and the values at which Keras 2 needs no word of them.
_REFUSED: Mapping[str, tuple[Any, ...]] = {
    "time_major": (False,),
    "groups": (1,),
    "rng_type": (None,),
    "noise_shape": (None,),
    "implementation": (1, 2),
    # It would make tf_keras step exactly as Keras 3, which refuses the word.
    "fused": (False,),
    # Keras 3 takes the word for its function `keras.layers.dot`.
    "score_mode": ("dot",),
}
_ONLY_OF = {
    "groups": (
        "DepthwiseConv1D",
        "DepthwiseConv2D",
        "SeparableConv1D",
        "SeparableConv2D",
        "Conv1DTranspose",
        "Conv2DTranspose",
        "Conv3DTranspose",
    ),
    "noise_shape": ("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
}
# There it decides the form of the weights, and Keras 3 has no such layers anyway.
_NEEDED_BY = {"implementation": ("LocallyConnected1D", "LocallyConnected2D")}
_INSIDE = ("layer", "backward_layer", "cell", "cells", "layers")


def bilingual(entry: Mapping[str, Any], *, both: bool) -> dict[str, Any]:
    """Returns a model's entry in words of Keras 2 that Keras 3 reads too.

    Args:
        entry: `{"class_name", "config"}` of a model in Keras 2's dialect.
        both: Whether calls of nested models are listed twice.
    """
    return _entry(entry, both=both, wrapped=False)


def _entry(entry: Mapping[str, Any], *, both: bool, wrapped: bool) -> dict[str, Any]:
    found = dict(entry)
    config = entry.get("config")
    if not isinstance(config, Mapping):
        return found
    class_name = str(entry.get("class_name"))
    if isinstance(config.get("layers"), list) and class_name in _NETWORKS:
        found["config"] = _network(config, both=both)
        if wrapped and class_name != "Functional":
            found |= {"module": "keras", "registered_name": None}
    else:
        found["config"] = _layer(class_name, config, both=both)
        if wrapped or _axis_is_lost(config):
            found |= {"module": "keras.layers", "registered_name": None}
    return found


def _axis_is_lost(config: Mapping[str, Any]) -> bool:
    """Whether Keras 3 forgets the axis of a layer that doesn't say where it is from."""
    axis = config.get("axis", 0)
    return axis is None or (isinstance(axis, list) and len(axis) != 1)


def _layer(class_name: str, config: Mapping[str, Any], *, both: bool) -> dict[str, Any]:
    found = {}
    for key, value in config.items():
        applies = class_name in _ONLY_OF.get(key, (class_name,))
        applies = applies and class_name not in _NEEDED_BY.get(key, ())
        if applies and value in _REFUSED.get(key, ()):
            continue
        if key == "dtype":
            value = _policy_name(value)
        elif key in _INSIDE and isinstance(value, Mapping):
            value = _entry(value, both=both, wrapped=True)
        elif key in _INSIDE and isinstance(value, list):
            value = [_entry(item, both=both, wrapped=True) for item in value]
        found[key] = value
    return found


def _policy_name(dtype: Any) -> Any:
    """`"mixed_float16"` for a policy that is nothing but its name."""
    config = dtype.get("config") if isinstance(dtype, Mapping) else None
    if isinstance(config, Mapping) and set(config) == {"name"}:
        return config["name"]
    return dtype


# Optimizers whose `OptimizerV2` of tf_keras takes the same steps as Keras 3's, and
# what both have words for. A key that is not here must be at its default.
_SAME_STEPS: Mapping[str, tuple[str, ...]] = {
    "Adam": ("beta_1", "beta_2", "epsilon", "amsgrad"),
    "SGD": ("momentum", "nesterov"),
}
_OF_ALL = ("name", "learning_rate", "clipnorm", "clipvalue", "global_clipnorm")


def bilingual_optimizer(
    entry: Mapping[str, Any], *, sparse_gradients: bool, bfloat16: bool
) -> Mapping[str, Any]:
    """Returns an optimizer's entry in words that Keras 3's loader reads too.

    Keras 3 takes `Custom>Adam`, which is how Keras 2 names its newest optimizers,
    for a name alone and forgets the learning rate. The older optimizer of that name
    is spelled as Keras 3's own, and takes the same steps.

    Args:
        entry: `{"class_name", "config"}` in Keras 2's dialect.
        sparse_gradients: Whether the model embeds: the older SGD with momentum then
            moves only the rows that a batch looks up, and can't stand in.
        bfloat16: Whether it trains variables of bfloat16, whose state the older
            optimizers of tf_keras read from no HDF5 file.
    """
    name = str(entry.get("class_name")).rpartition(">")[2]
    config = entry.get("config")
    known = _SAME_STEPS.get(name)
    if known is None or not isinstance(config, Mapping):
        return entry
    if not isinstance(config.get("learning_rate"), int | float):
        return entry
    if any(config.get(key) for key in ("weight_decay", "use_ema", "decay")):
        return entry
    if bfloat16 or (sparse_gradients and config.get("momentum")):
        return entry
    kept = {
        key: config[key] for key in (*_OF_ALL, *known) if config.get(key) is not None
    }
    return {"class_name": name, "config": kept}


def bilingual_loss(loss: Any) -> Any:
    """Returns a `loss` of compile arguments with every short name in full.

    Keras 3's loader of HDF5 files knows a loss by its full name alone.
    """
    if isinstance(loss, str):
        return FUNCTIONS.get(loss, loss)
    if isinstance(loss, Mapping) and "class_name" not in loss:
        return {key: bilingual_loss(item) for key, item in loss.items()}
    if isinstance(loss, list | tuple):
        return [bilingual_loss(item) for item in loss]
    return loss


def _network(config: Mapping[str, Any], *, both: bool) -> dict[str, Any]:
    layers = [_entry(item, both=both, wrapped=False) for item in config["layers"]]
    found = {**config, "layers": layers}
    nested = {
        str(item.get("name"))
        for item in layers
        if item.get("class_name") in _NETWORKS and "inbound_nodes" in item
    }
    if not both or not nested:
        return found
    for item in layers:
        calls = [_references(call, nested) for call in item.get("inbound_nodes", ())]
        if item.get("name") in nested:
            calls = [call for call in calls for _ in (0, 1)]
        if "inbound_nodes" in item:
            item["inbound_nodes"] = calls
    for key in ("input_layers", "output_layers"):
        if key in found:
            found[key] = _references(found[key], nested)
    return found


def _references(value: Any, nested: set[str]) -> Any:
    """Moves every reference to call j of a nested model to node 2j - 1."""
    if isinstance(value, dict):
        return {key: _references(item, nested) for key, item in value.items()}
    if not isinstance(value, list | tuple):
        return value
    if (
        len(value) >= 3
        and isinstance(value[0], str)
        and value[0] in nested
        and isinstance(value[1], int)
    ):
        rest = [_references(item, nested) for item in value[2:]]
        return [value[0], 2 * value[1] - 1, *rest]
    return [_references(item, nested) for item in value]
