"""What layers keep outside of variables: vocabularies, weights of tokens, bins.

In a SavedModel a vocabulary is a table that a function of the file fills; the
functions run on the host and open nothing but the SavedModel's own assets.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import keras
import numpy as np

from regraft import _compat
from regraft.errors import UnsupportedError
from regraft.graph.runtime.context import Table
from regraft.loading.functions import FunctionStore
from regraft.loading.restore import RestorePlan
from regraft.model.description import ObjectNode
from regraft.model.dialects.names import original_name
from regraft.model.keras2.host_lookup import IndexLookup
from regraft.model.keras2.host_text import TextVectorization

_TABLES = ("lookup_table", "_table", "table")
_LOOKUPS = ("_lookup_layer", "_index_lookup_layer")
# TensorFlow 2.1 to 2.4 had the weights of tokens in a layer of their own.
_ENCODER = "_vectorize_layer"
_WEIGHTS = ("idf_weights", "tf_idf_weights")


class HostState:
    """Gives layers the state that a SavedModel keeps for their objects.

    Args:
        store: The file's functions and objects.
    """

    def __init__(self, store: FunctionStore) -> None:
        self._store = store
        self._by_name: dict[str, list[ObjectNode]] = defaultdict(list)
        for node in store.objects.nodes:
            name = getattr(node, "metadata", None) and node.metadata.get("name")  # type: ignore[union-attr]
            if isinstance(node, ObjectNode) and isinstance(name, str):
                self._by_name[name].append(node)

    def fill_new(self, layer: keras.Layer, name: str) -> None:
        """Fills a layer that was just made, so that its output has the right shape.

        Where several objects have its name, `fill_all` corrects the choice.
        """
        for node in self._by_name.get(name, ()):
            if self.fill(layer, node):
                return

    def fill_all(self, plan: RestorePlan) -> None:
        """Fills all layers from the objects that they were matched with."""
        for layer, node in plan.layers:
            self.fill(layer, node)

    def fill(self, layer: keras.Layer, node: ObjectNode) -> bool:
        """Fills a layer from an object; returns whether it held anything."""
        if isinstance(layer, TextVectorization):
            inner = next((c for n in _LOOKUPS if (c := node.child(n))), None)
            encoder = node.child(_ENCODER)
            if encoder is not None:
                _fill_idf(layer.lookup, encoder)
            return inner is not None and self.fill(layer.lookup, inner)
        if isinstance(layer, IndexLookup):
            return self._fill_lookup(layer, node)
        if isinstance(layer, keras.layers.Discretization):
            return _fill_bins(layer, node)
        return False

    def _fill_lookup(self, layer: IndexLookup, node: ObjectNode) -> bool:
        _fill_idf(layer, node)
        if layer.from_config:
            return True
        child = next((c for n in _TABLES if (c := node.child(n))), None)
        table = None if child is None else self._store.capture(child.node_id)
        if not isinstance(table, Table):
            return False
        layer.set_table(table.entries)
        return True


def _fill_idf(layer: IndexLookup, node: ObjectNode) -> None:
    weights = next((v for n in _WEIGHTS if (v := node.variable(n))), None)
    if weights is not None and weights.value is not None:
        layer.set_idf(weights.value.read())


def fill_stored(plan: RestorePlan) -> None:
    """Fills layers from the weights that an HDF5 file lists for them."""
    for layer, weights in plan.stored:
        values = [tensor.read() for _, tensor in weights]
        if isinstance(layer, TextVectorization):
            layer = layer.lookup
        if isinstance(layer, IndexLookup) and len(values) == 1:
            layer.set_idf(values[0])
        elif isinstance(layer, keras.layers.Discretization) and len(values) == 1:
            _set_bins(layer, values[0])


def check_vocabularies(model: keras.Model) -> None:
    """Refuses a model with a layer whose vocabulary is nowhere in the file.

    Raises:
        UnsupportedError: There is one.
    """
    for layer in _compat.all_layers(model):
        if isinstance(layer, IndexLookup) and layer.vocabulary is None:
            raise UnsupportedError(
                f"The file holds no vocabulary for layer '{original_name(layer)}' of "
                f"class {type(layer).__name__}. If its config names a file, Regraft "
                "doesn't open it: save the model as a SavedModel, or with the tokens "
                "in the config, as a list."
            )


def _fill_bins(layer: Any, node: ObjectNode) -> bool:
    summary = node.variable("summary")
    if summary is None or summary.value is None:
        return False
    _set_bins(layer, summary.value.read())
    return True


def _set_bins(layer: Any, summary: np.ndarray[Any, Any]) -> None:
    """Lets a layer without boundaries of its own take them from what it had seen."""
    if layer.num_bins and summary.size:
        layer.summary = summary
        layer.finalize_state()
        layer.num_bins = None  # from now on the boundaries say all
