"""Layers that read text, as TensorFlow's ops: tables, hashes, splits, joins.

A table is made and filled in the function that reads it, under a name that follows
from what it holds; TensorFlow fills a table of a name once and then keeps it. So a
function needs no object besides its variables, and any reader runs it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from regraft.errors import UnsupportedError
from regraft.graph.tracing.function_graph import Graph
from regraft.graph.tracing.lowerings.elementwise import cast
from regraft.graph.tracing.registry import composite
from regraft.graph.tracing.values import Value

Spec = Mapping[str, Any]
_NEVER = np.iinfo(np.int64).max  # beyond every row: not counted
_HASH_KEY = 0xDECAFCAFFE
_PUNCTUATION = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"""


@composite("host_layer")
def host_layer(g: Graph, *operands: Value, spec: Spec) -> Value:
    """One layer."""
    wide = [operand.wide or operand for operand in operands]
    result = _KINDS[spec["kind"]](g, wide, spec).shaped(tuple(g.out[0].shape))
    g.show_own_lengths(result)
    return result


def _lookup_layer(g: Graph, operands: list[Value], spec: Spec) -> Value:
    (keys,) = operands
    if spec["invert"]:
        found = _found_tokens(g, keys, spec)
        return found if spec["is_text"] else cast(g, found, spec["dtype"])
    return _encoded(g, _indices(g, keys, spec), spec, keys.dims)


def _vectorization(g: Graph, operands: list[Value], spec: Spec) -> Value:
    (texts,) = operands
    dims = texts.dims
    if spec["standardize"] in ("lower", "lower_and_strip_punctuation"):
        texts = g.op("StringLower", texts, shape=dims)
    if spec["standardize"] in ("strip_punctuation", "lower_and_strip_punctuation"):
        texts = g.op(
            "StaticRegexReplace", texts, pattern=_PUNCTUATION, rewrite="", shape=dims
        )
    if spec["split"] is None:
        return _unsplit(g, texts, spec)
    if len(dims) > 2:
        raise UnsupportedError("Text that is split has at most two dimensions.")
    rows = g.reshape(texts, dims[:1]) if len(dims) == 2 else texts
    tokens, splits = _SPLITS[spec["split"]](g, rows)
    if spec["joins"]:
        tokens, splits = _joined(g, tokens, splits, spec)
    found = _indices(g, tokens.shaped((None,)), spec)
    if spec["mode"] != "int":
        return _counted(g, found, spec, splits)
    length = -1 if spec["length"] is None else spec["length"]
    dense = g.op(
        "RaggedTensorToTensor",
        np.array([-1, length], np.int64),
        found,
        np.zeros((), np.int64),
        [splits],
        row_partition_types=["ROW_SPLITS"],
        shape=tuple(g.out[0].shape),
    )
    return cast(g, dense, spec["dtype"])


def _by_white_space(g: Graph, rows: Value) -> tuple[Value, Value]:
    places, tokens, shape = g.op("StringSplitV2", rows, np.array(b"", object))
    column = g.op(
        *("StridedSlice", places),
        *(np.array(part, np.int32) for part in ([0, 0], [0, 1], [1, 1])),
        begin_mask=1,
        end_mask=1,
        shrink_axis_mask=2,
        shape=(None,),
    )
    count = _at(g, shape, 0)
    ones = g.op("OnesLike", column, shape=(None,))
    counts = g.op("UnsortedSegmentSum", ones, column, count, shape=(None,))
    return tokens, _splits(g, counts)


def _by_sign(g: Graph, rows: Value) -> tuple[Value, Value]:
    splits, codes = g.op(
        "UnicodeDecode", rows, input_encoding="UTF-8", errors="replace", Tsplits="int64"
    )
    count = g.op("Size", codes, out_type="int64", shape=())
    limit = g.op("AddV2", count, np.int64(1), shape=())
    each = g.op("Range", np.int64(0), limit, np.int64(1), shape=(None,))
    signs = g.op(
        "UnicodeEncode", codes, each, output_encoding="UTF-8", errors="replace"
    )
    return signs, splits


_SPLITS: Mapping[str, Callable[[Graph, Value], tuple[Value, Value]]] = {
    "whitespace": _by_white_space,
    "character": _by_sign,
}


def _at(g: Graph, vector: Value, index: int) -> Value:
    begin, end = (np.array([i], np.int32) for i in (index, index + 1))
    one = np.array([1], np.int32)
    sliced: Value = g.op(
        "StridedSlice", vector, begin, end, one, shrink_axis_mask=1, shape=()
    )
    return sliced


def _splits(g: Graph, counts: Value) -> Value:
    """Returns where rows begin and end, for the numbers of their entries."""
    ends = g.op("Cumsum", counts, np.int32(0), shape=(None,))
    zero = Value.of(np.zeros(1, np.int64), "int64")
    joined: Value = g.op("ConcatV2", [zero, ends], np.int32(0), shape=(None,))
    return joined


def _joined(g: Graph, tokens: Value, splits: Value, spec: Spec) -> tuple[Value, Value]:
    made: tuple[Value, Value] = g.op(
        "StringNGrams",
        tokens,
        splits,
        separator=" ",
        ngram_widths=spec["widths"],
        left_pad="",
        right_pad="",
        pad_width=0,
        preserve_short_sequences=False,
    )
    return made


def _unsplit(g: Graph, texts: Value, spec: Spec) -> Value:
    if spec["joins"]:
        raise UnsupportedError("Joins of tokens that weren't split.")
    if spec["mode"] is None:
        return texts
    found = _indices(g, texts, spec)
    if spec["mode"] != "int" or spec["length"] is None:
        return _encoded(g, found, spec, texts.dims)
    width = texts.dims[-1]
    if not isinstance(width, int):
        raise UnsupportedError("Cutting text of unknown length that isn't split.")
    length = spec["length"]
    kept = min(width, length)
    rank = texts.rank
    cut = g.op(
        "Slice",
        found,
        np.zeros(rank, np.int32),
        np.array([-1] * (rank - 1) + [kept], np.int32),
        shape=(*texts.dims[:-1], kept),
    )
    pads = np.zeros((rank, 2), np.int32)
    pads[-1, 1] = length - kept
    padded = g.op("PadV2", cut, pads, np.int64(0), shape=tuple(g.out[0].shape))
    return cast(g, padded, spec["dtype"])


# Tables


def table_of(g: Graph, keys: Value, values: Value) -> Any:
    """Returns a table that holds these entries."""
    kind = f"{keys.dtype}>{values.dtype}"
    return g.table(_name_of(kind, keys.constant, values.constant), keys, values)


def variable_of(g: Graph, value: Value) -> tuple[str, str]:
    """Returns a variable that has this value."""
    return g.kept_variable(
        _name_of(f"{value.dtype}{value.shape}", value.constant), value
    )


def _name_of(kind: str, *arrays: Any) -> str:
    """A name that only what holds the same has."""
    content = hashlib.sha256(kind.encode())
    for array in arrays:
        for item in np.asarray(array, object).reshape(-1).tolist():
            raw = item if isinstance(item, bytes) else b"%d" % item
            content.update(b"%d:%s" % (len(raw), raw))
    return f"regraft_{content.hexdigest()[:32]}"


def _constants(spec: Spec) -> tuple[Value, Value]:
    tokens = spec["tokens"]
    numbers = np.arange(len(tokens), dtype=np.int64) + spec["first"]
    dtype = "string" if spec["is_text"] else "int64"
    return Value.of(tokens, dtype), Value.of(numbers, "int64")


def text_scalar(item: bytes) -> Any:
    """An array of one text."""
    scalar = np.empty((), object)
    scalar[()] = item
    return scalar


def _key(item: Any, spec: Spec) -> Any:
    return text_scalar(item) if spec["is_text"] else np.int64(item)


def _found(g: Graph, keys: Value, columns: tuple[Value, Value], default: Any) -> Value:
    if not len(columns[0].constant):  # type: ignore[arg-type]
        zeros = g.op("ZerosLike", keys, shape=keys.shape)
        everywhere = g.op("Equal", zeros, zeros, shape=keys.shape)
        value = Value.of(default, columns[1].dtype)
        same: Value = g.op("SelectV2", everywhere, value, value, shape=keys.shape)
        return same
    table = table_of(g, *columns)
    found: Value = g.find(table, keys, Value.of(default, columns[1].dtype))
    return found.shaped(keys.dims)


def _found_tokens(g: Graph, keys: Value, spec: Spec) -> Value:
    tokens, numbers = _constants(spec)
    keys = cast(g, keys, "int64")
    found = _found(g, keys, (numbers, tokens), _key(spec["oov"], spec))
    if spec["mask"] is None:
        return found
    is_mask = g.op("Equal", keys, np.int64(0), shape=keys.shape)
    mask = Value.of(_key(spec["mask"], spec), found.dtype)
    chosen: Value = g.op("SelectV2", is_mask, mask, found, shape=keys.shape)
    return chosen


def _indices(g: Graph, keys: Value, spec: Spec) -> Value:
    """Returns the index of each token."""
    tokens, numbers = _constants(spec)
    if not spec["is_text"]:
        keys = cast(g, keys, "int64")
    count = spec["oov_count"]
    default = np.int64(spec["oov_start"] if count == 1 else -1)
    found = _found(g, keys, (tokens, numbers), default)
    if count > 1:
        found = _hashed_unknown(g, keys, found, spec)
    if spec["mask"] is None:
        return found
    mask = Value.of(_key(spec["mask"], spec), keys.dtype)
    is_mask = g.op("Equal", keys, mask, shape=keys.shape)
    masked = np.int64(0 if spec["mode"] == "int" else _NEVER)
    chosen: Value = g.op("SelectV2", is_mask, masked, found, shape=keys.shape)
    return chosen


def _hashed_unknown(g: Graph, keys: Value, found: Value, spec: Spec) -> Value:
    count = spec["oov_count"]
    if spec["is_text"]:
        bucket = g.op(
            "StringToHashBucketFast", keys, num_buckets=count, shape=keys.shape
        )
    else:
        bucket = g.op("FloorMod", keys, np.int64(count), shape=keys.shape)
    place = g.op("AddV2", bucket, np.int64(spec["oov_start"]), shape=keys.shape)
    unknown = g.op("Equal", found, np.int64(-1), shape=keys.shape)
    chosen: Value = g.op("SelectV2", unknown, place, found, shape=keys.shape)
    return chosen


# Encodings


def _encoded(g: Graph, indices: Value, spec: Spec, dims: tuple[Any, ...]) -> Value:
    if spec["mode"] == "int":
        return cast(g, indices.shaped(dims), spec["dtype"])
    if spec["mode"] == "one_hot" and len(dims) < 2:
        indices = g.reshape(indices.shaped(dims), (*dims, 1))
    elif len(dims) > 2 or (spec["mode"] == "one_hot" and dims[-1] != 1):
        raise UnsupportedError("Keras 2 encodes rows of at most two dimensions.")
    return _counted(g, indices, spec)


def _counted(
    g: Graph, indices: Value, spec: Spec, splits: Value | None = None
) -> Value:
    dtype = "float64" if spec["dtype"] == "float64" else "float32"
    size = np.int64(spec["depth"])
    none = Value.of(np.zeros(0, dtype), dtype)
    once = spec["mode"] in ("one_hot", "multi_hot")
    shape = tuple(g.out[0].shape)
    if splits is None:
        out = g.op(
            "DenseBincount", indices, size, none, binary_output=once, shape=shape
        )
    else:
        out = g.op(
            *("RaggedBincount", splits, indices, size, none),
            binary_output=once,
            shape=shape,
        )
    if spec["mode"] == "tf_idf":
        out = g.op("Mul", out, spec["idf"].astype(dtype), shape=shape)
    return cast(g, out, spec["dtype"])


# Hashes


def _hashing(g: Graph, operands: list[Value], spec: Spec) -> Value:
    (keys,) = operands
    dims = keys.dims
    masked = spec["mask"] is not None and spec["depth"] > 1
    bins = spec["depth"] - int(masked)
    texts = keys if keys.dtype == "string" else g.op("AsString", keys, shape=dims)
    if spec["salt"] is None:
        found = g.op("StringToHashBucketFast", texts, num_buckets=bins, shape=dims)
    else:
        found = g.op(
            "StringToHashBucketStrong",
            texts,
            num_buckets=bins,
            key=list(spec["salt"]),
            shape=dims,
        )
    if masked:
        is_text = keys.dtype == "string"
        item = text_scalar(spec["mask"]) if is_text else np.asarray(spec["mask"])
        mask = Value.of(item, keys.dtype)
        is_mask = g.op("Equal", keys, mask, shape=dims)
        later = g.op("AddV2", found, np.int64(1), shape=dims)
        found = g.op("SelectV2", is_mask, np.int64(0), later, shape=dims)
    return _encoded(g, found, spec, dims)


def _crossing(g: Graph, operands: list[Value], spec: Spec) -> Value:
    dims = operands[0].dims
    columns = [_column(g, operand) for operand in operands]
    all_text = all(column.dtype == "string" for column in columns)
    _, found, _ = g.op(
        *("SparseCross", [], [], [], columns),
        hashed_output=True,
        num_buckets=spec["depth"],
        hash_key=_HASH_KEY,
        out_type="int64",
        internal_type="string" if all_text else "int64",
    )
    return _encoded(g, g.reshape(found.shaped((None,)), dims), spec, dims)


def _column(g: Graph, value: Value) -> Value:
    if value.dtype != "string":
        value = cast(g, value, "int64")
    return value if value.rank == 2 else g.reshape(value, (*value.dims, 1))


def _category_crossing(g: Graph, operands: list[Value], spec: Spec) -> Value:
    columns = [_column(g, operand) for operand in operands]
    _, found, _ = g.op(
        "SparseCrossV2", [], [], [], columns, text_scalar(spec["separator"].encode())
    )
    return g.reshape(found.shaped((None,)), tuple(g.out[0].shape))


_KINDS: Mapping[str, Callable[[Graph, list[Value], Spec], Value]] = {
    "lookup": _lookup_layer,
    "vectorization": _vectorization,
    "hashing": _hashing,
    "crossing": _crossing,
    "category_crossing": _category_crossing,
}
