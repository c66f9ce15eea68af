"""Feature columns over dense features, as TensorFlow's ops: their codes, side by side.

A code is a number, the number of a bucket, or an id, -1 where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from regraft.errors import UnsupportedError
from regraft.graph.tracing.function_graph import Graph
from regraft.graph.tracing.lowerings.elementwise import cast
from regraft.graph.tracing.lowerings.text import table_of, text_scalar
from regraft.graph.tracing.registry import composite
from regraft.graph.tracing.values import Value

Spec = Mapping[str, Any]
Features = Mapping[str, Value]
_NONE = np.int64(-1)


@composite("feature_columns")
def feature_columns(g: Graph, *operands: Value, spec: Spec) -> Value:
    """All columns of one layer."""
    features = {
        key: operand.wide or operand
        for key, operand in zip(spec["keys"], operands, strict=True)
    }
    codes = [cast(g, _codes(g, features, one), "float32") for one in spec["columns"]]
    result = codes[0]
    if len(codes) > 1:
        result = g.op("ConcatV2", codes, np.int32(1), shape=tuple(g.out[0].shape))
    result = result.shaped(tuple(g.out[0].shape))
    g.show_own_lengths(result)
    return result


def _codes(g: Graph, features: Features, spec: Spec) -> Value:
    return _KINDS[spec["kind"]](g, features, spec)


def _feature(features: Features, key: str) -> Value:
    found = features.get(key)
    if found is None:
        raise UnsupportedError(f"A feature column reads {key!r}, which is no input.")
    return found


def _rows(g: Graph, features: Features, key: str) -> Value:
    """A feature with two axes; whole numbers in 64 bits."""
    found = _feature(features, key)
    if found.dtype != "string":
        if not found.dtype.startswith(("int", "uint")):
            raise UnsupportedError(f"Ids of {found.dtype} in the feature {key!r}.")
        found = cast(g, found, "int64")
    return found if found.rank == 2 else g.reshape(found, (*found.dims, 1))


def _numeric(g: Graph, features: Features, spec: Spec) -> Value:
    found = cast(g, _feature(features, spec["key"]), "float32")
    return g.reshape(found, (found.dims[0], spec["width"]))


def _buckets(g: Graph, features: Features, spec: Spec) -> Value:
    values = _numeric(g, features, spec["source"])
    found: Value = g.op(
        "Bucketize", values, boundaries=spec["boundaries"], shape=values.dims
    )
    return found


# ------------------------------------------------------------------------ ids


def _present(g: Graph, values: Value) -> Value:
    missing = text_scalar(b"") if values.dtype == "string" else _NONE
    found: Value = g.op(
        "NotEqual",
        values,
        Value.of(missing, values.dtype),
        incompatible_shape_error=True,
        shape=values.dims,
    )
    return found


def _chosen(g: Graph, where: Value, one: Any, other: Any) -> Value:
    found: Value = g.op("SelectV2", where, one, other, shape=where.dims)
    return found


def _of_bucket_ids(g: Graph, features: Features, spec: Spec) -> tuple[Value, Value]:
    """Ids of all buckets of all numbers of a row, and that they are there."""
    codes = cast(g, _buckets(g, features, spec), "int64")
    first = np.arange(spec["source"]["width"]) * (len(spec["boundaries"]) + 1)
    ids = g.op("AddV2", codes, first.astype("int64"), shape=codes.dims)
    everywhere = g.op("Equal", ids, ids, incompatible_shape_error=True, shape=ids.dims)
    return ids, everywhere


def _of_values(g: Graph, features: Features, spec: Spec) -> tuple[Value, Value]:
    """Ids, -1 where there is no value or none with an id, and where values are."""
    values = _rows(g, features, spec["key"])
    present = _present(g, values)
    return _chosen(g, present, _PLACES[spec["kind"]](g, values, spec), _NONE), present


def _identity(g: Graph, values: Value, spec: Spec) -> Value:
    least = g.op("GreaterEqual", values, np.int64(0), shape=values.dims)
    below = g.op("Less", values, np.int64(spec["buckets"]), shape=values.dims)
    inside = g.op("LogicalAnd", least, below, shape=values.dims)
    return _chosen(g, inside, values, np.int64(spec["default"]))


def _hash_bucket(g: Graph, values: Value, count: int) -> Value:
    texts = values
    if values.dtype != "string":
        texts = g.op("AsString", values, shape=values.dims)
    found: Value = g.op(
        "StringToHashBucketFast", texts, num_buckets=count, shape=values.dims
    )
    return found


def _hashed(g: Graph, values: Value, spec: Spec) -> Value:
    return _hash_bucket(g, values, spec["buckets"])


def _vocabulary(g: Graph, values: Value, spec: Spec) -> Value:
    tokens = np.empty(len(spec["tokens"]), object)
    tokens[:] = spec["tokens"]
    keys = (
        Value.of(tokens, "string")
        if spec["is_text"]
        else Value.of(tokens.astype("int64"), "int64")
    )
    numbers = Value.of(np.arange(len(tokens), dtype="int64"), "int64")
    others = spec["others"]
    default = np.int64(-1 if others else spec["default"])
    found = g.find(table_of(g, keys, numbers), values, Value.of(default, "int64"))
    found = found.shaped(values.dims)
    if not others:
        return found
    bucket = _hash_bucket(g, values, others)
    place = g.op("AddV2", bucket, np.int64(len(tokens)), shape=values.dims)
    unknown = g.op(
        "Equal", found, _NONE, incompatible_shape_error=True, shape=values.dims
    )
    return _chosen(g, unknown, place, found)


_PLACES: Mapping[str, Callable[[Graph, Value, Spec], Value]] = {
    "identity": _identity,
    "hashed": _hashed,
    "vocabulary": _vocabulary,
}


def _crossed(g: Graph, features: Features, spec: Spec) -> Value:
    # TensorFlow takes the columns first, then the features.
    indices, values, shapes, dense = [], [], [], []
    widest: Any = 1
    for leaf in spec["leaves"]:
        if leaf["kind"] == "feature":
            found = _rows(g, features, leaf["key"])
            dense.append(found)
        else:
            is_bucket = leaf["kind"] == "buckets"
            found, present = (_of_bucket_ids if is_bucket else _of_values)(
                g, features, leaf
            )
            places = g.op("Where", present, shape=(None, 2))
            indices.append(places)
            values.append(g.op("GatherNd", found, places, shape=(None,)))
            shapes.append(g.op("Shape", found, out_type="int64", shape=(2,)))
        widest = widest * found.dims[1]
    places, crossed, _ = g.op(
        *("SparseCross", indices, values, shapes, dense),
        hashed_output=True,
        num_buckets=spec["buckets"],
        hash_key=spec["hash_key"],
        out_type="int64",
        internal_type="int64",
    )
    rows = g.op("Shape", found, out_type="int64", shape=(2,))
    rows = g.op(
        *("StridedSlice", rows),
        *(np.array([n], np.int32) for n in (0, 1, 1)),
        shape=(1,),
    )
    shape = g.op(
        "ConcatV2", [rows, Value.of(np.array([widest], "int64"), "int64")], np.int32(0)
    )
    out: Value = g.op(
        *("SparseToDense", places, shape, crossed, _NONE), shape=(found.dims[0], widest)
    )
    return out


def _ids(g: Graph, features: Features, spec: Spec) -> Value:
    of = spec["ids"]
    if of["kind"] in ("crossed", "weighted"):
        return _codes(g, features, of)
    if of["kind"] == "buckets":
        return _of_bucket_ids(g, features, of)[0]
    return _of_values(g, features, of)[0]


def _weighted(g: Graph, features: Features, spec: Spec) -> Value:
    """Ids, and beside them their weights."""
    ids = cast(g, _ids(g, features, spec), "float32")
    weights = cast(g, _feature(features, spec["key"]), "float32")
    weights = weights if weights.rank == 2 else g.reshape(weights, ids.dims)
    shape = (ids.dims[0], 2 * ids.dims[1])
    out: Value = g.op("ConcatV2", [ids, weights], np.int32(1), shape=shape)
    return out


_KINDS: Mapping[str, Callable[[Graph, Features, Spec], Value]] = {
    "numeric": _numeric,
    "buckets": _buckets,
    "crossed": _crossed,
    "weighted": _weighted,
    "ids": _ids,
}
