"""Networks that compute otherwise than their file's trace of the whole.

A network is made of its layers, and classes that nobody has come back from their own
traces. Two things are in no trace of a layer, and only in that of the whole: the masks
that such a layer makes or passes on, and a `call` that a subclass of a network has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import keras

from regraft import _compat
from regraft.graph.runtime.saved_functions import SavedFunction
from regraft.loading.functions import FunctionStore, takes_mask
from regraft.loading.places import below
from regraft.loading.restore import RestorePlan
from regraft.loading.revived_layer import Revived, RevivedModel
from regraft.loading.verify import check_whole, function_store
from regraft.model.description import ModelDescription, ObjectNode
from regraft.model.dialects.context import BuildContext
from regraft.model.dialects.names import original_name
from regraft.options import LoadOptions

_CALL = "call_and_return_conditional_losses"


def difference_of_whole(
    model: keras.Model,
    description: ModelDescription,
    plan: RestorePlan,
    context: BuildContext,
    options: LoadOptions,
) -> str | None:
    """Returns in what a model differs from its trace, where it may; else `None`.

    Where it may and there is no trace of it, a note says so.

    Args:
        model: As it was built, with its values.
        description: Of the file.
        plan: Where the values of `model` came from.
        context: Of the build.
        options: How much a trace may call.
    """
    revived = any(isinstance(layer, Revived) for layer in _compat.all_layers(model))
    if isinstance(model, RevivedModel) or not (revived or context.unknown_networks):
        return None
    store = function_store(description, plan, options)
    if not context.unknown_networks and (
        store is None or not _hands_on_masks(plan, store)
    ):
        return None
    check = None if store is None else check_whole(model, plan, store)
    compared = check is not None and check.difference is not None
    if not compared and context.unknown_networks:
        context.note(
            f"model {original_name(model)!r}",
            f"it predicts otherwise if {context.unknown_networks[0]!r} has a `call` of "
            "its own: the file has no function that would tell",
        )
    return None if check is None or check.passed else str(check)


def losers_of_masks(
    model: keras.Model,
    description: ModelDescription,
    plan: RestorePlan,
    options: LoadOptions,
) -> Iterator[keras.layers.Layer]:
    """Yields what runs from traces and may have given a mask with its results.

    Losses and metrics of Keras 2 heed a mask that comes with an output; which one a
    class gives, is in no function.

    Args:
        model: As it was built.
        description: Of the file.
        plan: Where the values of `model` came from.
        options: How much a trace may call.
    """
    nodes = {id(layer): node for layer, node in plan.layers}
    for layer in _compat.all_layers(model):
        if layer is model or not isinstance(layer, Revived):
            continue
        # A mask is of all dimensions but the last one, of at least examples and steps.
        node = nodes.get(id(layer))
        made = node is not None and layer.gives_more_than(2) and _makes_masks(node)
        if layer.loses_masks or made:
            yield layer
    if isinstance(model, RevivedModel) and model.gives_more_than(2):
        store = function_store(description, plan, options)
        if store is not None and _hands_on_masks(plan, store):
            yield model


def missers_of_masks(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yields what runs from traces and is given a mask that these don't take."""
    for layer in _compat.all_layers(model):
        if isinstance(layer, Revived) and layer.misses_mask:
            yield layer


def misses_masks(model: keras.Model, plan: RestorePlan) -> bool:
    """Whether a model runs from its functions, and a layer in it makes masks.

    TensorFlow 2.0 to 2.21 trace a model's `call` with layers whose results have no
    mask, so that layers after a `Masking` or an `Embedding` with `mask_zero` see none
    there. Signatures are traced before that, and have them.
    """
    if not isinstance(model, RevivedModel):
        return False
    nodes = [node for layer, node in plan.layers if layer is model]
    return any(map(_makes_masks, nodes))


def _makes_masks(node: ObjectNode) -> bool:
    """Whether a layer makes masks, or one that it holds; its class may hand them on."""
    for one in (node, *below(node).values()):
        metadata = (isinstance(one, ObjectNode) and one.metadata) or {}
        config = metadata.get("config")
        if metadata.get("class_name") == "Masking" or (
            isinstance(config, Mapping) and config.get("mask_zero") is True
        ):
            return True
    return False


def _hands_on_masks(plan: RestorePlan, store: FunctionStore) -> bool:
    """Whether a layer was called with a mask."""
    return any(takes_mask(_call(node, store)) for _, node in plan.layers)


def _call(node: ObjectNode, store: FunctionStore) -> SavedFunction | None:
    api = node.child("keras_api")
    found = store.function(node.child(_CALL))
    return store.function(api.child(_CALL)) if found is None and api else found
