"""Host layers in a trace: what each one does, for the lowering that writes it down."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from jax import export

from regraft import _compat
from regraft.errors import UnsupportedError
from regraft.graph.tracing.function_graph import TOKENS, Graph
from regraft.graph.tracing.lowerings.elementwise import cast
from regraft.graph.tracing.tracer import Tracing
from regraft.graph.tracing.values import Value
from regraft.model.keras2.feature_columns import (
    Bucketized,
    Categorical,
    Crossed,
    Numeric,
    Weighted,
)
from regraft.model.keras2.host_layers import HostLayer
from regraft.model.keras2.host_lookup import IndexLookup
from regraft.model.keras2.host_text import (
    CategoryCrossing,
    HashedCrossing,
    Hashing,
    TextVectorization,
)
from regraft.model.keras2.layers_features import DenseFeatures


class HostLayerTracer:
    """Marks the calls of host layers.

    Args:
        tracing: Where the functions go.
    """

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    def __call__(self, layer: HostLayer, inputs: Any) -> Any:
        """Returns what stands for the output of a layer."""
        spec = _spec(layer)
        operands = keras.tree.flatten(inputs)
        if isinstance(inputs, Mapping):
            spec["keys"] = sorted(inputs)
        given = keras.tree.map_structure(lambda tensor: tuple(tensor.shape), inputs)
        shape = _named_lengths(layer.output_shape_of(given), operands)
        dtype = layer.device_dtype

        def stand_in(*arrays: Any) -> Any:
            # It can't be written down itself: only the mark can.
            return _compat.call_host(_never, shape, dtype, list(arrays))

        return self._tracing.composite(
            spec.pop("composite"), stand_in, *operands, spec=spec
        )


def _never(*arrays: Any) -> Any:
    raise UnsupportedError("A layer that is being traced was run.")


_numbers = itertools.count()


def _named_lengths(shape: Any, operands: list[Any]) -> tuple[Any, ...]:
    """Names the lengths of a shape that follow from text alone."""
    if None not in shape:
        return tuple(shape)
    dims = [dim for operand in operands for dim in operand.shape]
    scopes = [dim.scope for dim in dims if hasattr(dim, "scope")]
    scope = scopes[0] if scopes else export.SymbolicScope()
    return tuple(
        export.symbolic_shape(f"{TOKENS}{next(_numbers)}", scope=scope)[0]
        if dim is None
        else dim
        for dim in shape
    )


def _spec(layer: HostLayer) -> dict[str, Any]:
    """Returns what a layer does, as plain data."""
    if type(layer) is DenseFeatures:
        return {"composite": "feature_columns", "columns": _columns(layer)}
    for cls, describe in _DESCRIPTIONS.items():
        if isinstance(layer, cls):
            described = describe(layer)
            return {
                "composite": "host_layer",
                "dtype": layer.device_dtype,
                **described,
            }
    raise UnsupportedError(
        f"Layer '{layer.name}' of class {type(layer).__name__} can't be written as "
        "TensorFlow ops."
    )


def _lookup(layer: Any) -> dict[str, Any]:
    return {
        "kind": "lookup",
        "tokens": _tokens(layer),
        "is_text": layer.text_tokens,
        "first": layer.token_start,
        "oov_start": layer.oov_start,
        "oov": None if layer.oov_token is None else layer.key(layer.oov_token),
        "oov_count": layer.num_oov_indices,
        "mask": None if layer.mask_token is None else layer.key(layer.mask_token),
        "invert": layer.invert,
        **_encoding(layer, layer.depth),
        "idf": None if layer.idf is None else layer.idf.astype("float32"),
    }


def _tokens(layer: Any) -> Any:
    tokens = np.empty(len(layer.vocabulary or ()), object)
    tokens[:] = layer.vocabulary or ()
    return tokens if layer.text_tokens else tokens.astype("int64")


def _encoding(layer: Any, depth: int) -> dict[str, Any]:
    return {"mode": layer.output_mode, "depth": depth, "dtype": layer.device_dtype}


def _vectorization(layer: Any) -> dict[str, Any]:
    if callable(layer.standardize) or callable(layer.split):
        raise UnsupportedError(
            f"Layer '{layer.name}' standardizes or splits text with a Python function, "
            "which has no TensorFlow form."
        )
    lookup = _lookup(layer.lookup)
    return {
        **lookup,
        "kind": "vectorization",
        "standardize": layer.standardize or "",
        "split": layer.split,
        "widths": layer.widths,
        "joins": layer.ngrams is not None,
        "length": layer.output_sequence_length,
        "mode": layer.output_mode,
        "dtype": layer.device_dtype,
    }


def _hashing(layer: Any) -> dict[str, Any]:
    mask = layer.mask_value
    return {
        "kind": "hashing",
        "salt": layer.salt,
        "mask": mask.encode() if isinstance(mask, str) else mask,
        **_encoding(layer, layer.num_bins),
    }


def _crossing(layer: Any) -> dict[str, Any]:
    return {"kind": "crossing", **_encoding(layer, layer.num_bins)}


def _category_crossing(layer: Any) -> dict[str, Any]:
    return {"kind": "category_crossing", "separator": layer.separator}


def _columns(layer: DenseFeatures) -> list[dict[str, Any]]:
    """Feature columns, each with the features that it reads by name."""
    return [_column(column) for column in layer.columns]


def _column(column: Any) -> dict[str, Any]:
    match column:
        case Numeric():
            return {"kind": "numeric", "key": column.key, "width": column.width}
        case Bucketized():
            boundaries = list(map(float, column.boundaries))
            source = _column(column.source)
            return {"kind": "buckets", "source": source, "boundaries": boundaries}
        case Categorical():
            return {**column.rule, "key": column.key, "buckets": column.buckets}
        case Crossed():
            leaves = [
                {"kind": "feature", "key": leaf}
                if isinstance(leaf, str)
                else _column(leaf)
                for leaf in column.leaves()
            ]
            words = {"buckets": column.buckets, "hash_key": column.hash_key}
            return {"kind": "crossed", "leaves": leaves, **words}
        case Weighted():
            ids = _column(column.categorical)
            return {"kind": "weighted", "ids": ids, "key": column.weight_key}
        case _:  # An indicator or an embedding is finished with the codes.
            return {"kind": "ids", "ids": _column(column.categorical)}


_DESCRIPTIONS: dict[type, Callable[[Any], dict[str, Any]]] = {
    IndexLookup: _lookup,
    TextVectorization: _vectorization,
    Hashing: _hashing,
    HashedCrossing: _crossing,
    CategoryCrossing: _category_crossing,
}


def as_traced(graph: Graph, value: Value, dtype: str) -> Value:
    """Returns an input of a signature as the traced function takes it."""
    if value.dtype == "string":
        return value
    traced = cast(graph, value, dtype)
    if traced is not value:
        traced.wide = value
    return traced
