"""Ragged and sparse tensors packed into one value, as loops and pipelines hand them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regraft.errors import MismatchError
from regraft.graph import ir
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.dual import xp
from regraft.graph.runtime.kernels.example import parse_tensor
from regraft.graph.runtime.registry import kernel
from regraft.graph.tensor_serde import tensor_to_proto
from regraft.storage.proto import wire


@dataclass(frozen=True, eq=False, slots=True)
class RaggedVariant:
    """A ragged tensor as one value.

    Attributes:
        splits: Where rows end, outermost first.
        values: What stands in the rows.
    """

    splits: tuple[Any, ...]
    values: Any

    def __len__(self) -> int:
        if self.splits:
            return len(self.splits[0]) - 1
        return int(values.shape_of(self.values)[0])

    def row(self, number: int) -> RaggedVariant:
        """Returns one row, without the outermost dimension."""
        if not self.splits:
            return RaggedVariant((), self.values[number])
        first, last = self.splits[0][number : number + 2]
        inner = []
        for splits in self.splits[1:]:
            inner.append(splits[first : last + 1] - splits[first])
            first, last = splits[first], splits[last]
        return RaggedVariant(tuple(inner), self.values[first:last])


def _packed(items: Sequence[Any]) -> Any:
    out = np.empty(len(items), object)
    out[:] = items
    return out


@kernel(
    "RaggedTensorToVariant",
    static=("rt_nested_splits",),
    ignored=("RAGGED_RANK", "Tvalues", "Tsplits"),
)
def ragged_tensor_to_variant(
    rt_nested_splits: list[Any], rt_dense_values: Any, *, batched_input: bool
) -> Any:
    """A ragged tensor as one value, or as one for each of its rows."""
    whole = RaggedVariant(tuple(rt_nested_splits), rt_dense_values)
    if batched_input:
        return _packed([whole.row(number) for number in range(len(whole))])
    return _packed([whole]).reshape(())


@kernel("RaggedTensorFromVariant", ignored=("input_ragged_rank",))
def ragged_tensor_from_variant(
    encoded_ragged: Any, *, output_ragged_rank: int, Tvalues: str, Tsplits: str
) -> tuple[list[Any], Any]:
    """The ragged tensor of one value, or with a dimension more of several."""
    if isinstance(encoded_ragged, RaggedVariant):
        encoded_ragged = _packed([encoded_ragged]).reshape(())
    shape = encoded_ragged.shape
    items = encoded_ragged.reshape(-1).tolist()
    if not all(isinstance(item, RaggedVariant) for item in items):
        raise MismatchError("What is taken for ragged tensors is something else.")
    kind = values.numpy_dtype(Tsplits)
    if not shape:
        (one,) = items
        return [splits.astype(kind) for splits in one.splits], one.values
    splits = [
        np.arange(int(np.prod(shape[:axis])) + 1) * shape[axis]
        for axis in range(1, len(shape))
    ]
    rest = output_ragged_rank - len(splits)
    if rest:
        splits.append(np.cumsum([0, *map(len, items)]))
    for place in range(rest - 1):
        lengths = [np.diff(item.splits[place]) for item in items]
        splits.append(np.cumsum(np.concatenate([[0], *lengths])))
    parts = [item.values for item in items]
    if not parts:
        joined: Any = np.zeros(0, values.numpy_dtype(Tvalues))
    else:
        joined = xp.concatenate(parts, axis=0) if rest else xp.stack(parts)
    return [each.astype(kind) for each in splits], joined


@kernel("RaggedTensorToVariantGradient", static=("row_splits", "dense_values_shape"))
def ragged_tensor_to_variant_gradient(
    encoded_ragged_grad: Any,
    row_splits: Any,
    dense_values_shape: Any,
    *,
    Tvalues: str,
    Tsplits: str,
) -> Any:
    """The gradients of packed rows, one after the other."""
    del row_splits, Tsplits
    items = encoded_ragged_grad.reshape(-1).tolist()
    lengths = tuple(int(n) for n in dense_values_shape)
    if not items:
        return np.zeros(lengths, values.numpy_dtype(Tvalues))
    parts = [xp.reshape(item.values, (-1, *lengths[1:])) for item in items]
    return xp.concatenate(parts, axis=0)


# Sparse tensors: three tensors, as text or as they are

_SPARSE = ("sparse_indices", "sparse_values", "sparse_shape")
_Packer = Callable[[Any], Any]


def _packer(out_type: str) -> _Packer:
    return _serialized if out_type == "string" else lambda part: _Held(part)


def _serialized(tensor: Any) -> Any:
    """A `TensorProto` whose text is in one piece: all lengths, then all bytes."""
    message = tensor_to_proto(ir.TensorValue.from_numpy(tensor))
    if tensor.dtype == object:
        texts = tensor.reshape(-1).tolist()
        del message.string_val[:]
        lengths = b"".join(wire.write_varint(len(text)) for text in texts)
        message.tensor_content = lengths + b"".join(texts)
    return message.SerializeToString(deterministic=True)


@dataclass(frozen=True, eq=False, slots=True)
class _Held:
    """A tensor as one value."""

    tensor: Any


@kernel("SerializeSparse", static=_SPARSE, ignored=("T",))
def serialize_sparse(
    sparse_indices: Any, sparse_values: Any, sparse_shape: Any, *, out_type: str
) -> Any:
    """A sparse tensor as a vector of three."""
    pack = _packer(out_type)
    return _packed([pack(p) for p in (sparse_indices, sparse_values, sparse_shape)])


@kernel("SerializeManySparse", static=_SPARSE, ignored=("T",))
def serialize_many_sparse(
    sparse_indices: Any, sparse_values: Any, sparse_shape: Any, *, out_type: str
) -> Any:
    """The rows of a sparse tensor, each as a vector of three."""
    pack = _packer(out_type)
    shape = pack(sparse_shape[1:])
    out = np.empty((int(sparse_shape[0]), 3), object)
    for number in range(len(out)):
        mine = sparse_indices[:, 0] == number
        indices, found = sparse_indices[mine, 1:], sparse_values[mine]
        out[number, 0], out[number, 1], out[number, 2] = (
            pack(np.ascontiguousarray(indices)),
            pack(found),
            shape,
        )
    return out


def _parts(row: Any, dtype: str) -> list[Any]:
    kinds = ("int64", dtype, "int64")
    return [
        item.tensor
        if isinstance(item, _Held)
        else parse_tensor(_packed([item]).reshape(()), out_type=kind)
        for item, kind in zip(row, kinds, strict=True)
    ]


def _deserialized(serialized: Any, dtype: str) -> tuple[Any, Any, Any]:
    rows = [_parts(row, dtype) for row in serialized.reshape(-1, 3)]
    if serialized.ndim == 1:
        indices, found, shape = rows[0]
        return indices, found, shape
    outer = serialized.shape[:-1]
    rank = rows[0][2].size if rows else 0
    indices = [np.zeros((0, len(outer) + rank), np.int64)]
    for place, (its, _, _) in zip(np.ndindex(outer), rows, strict=True):
        front = np.broadcast_to(np.array(place, np.int64), (len(its), len(outer)))
        indices.append(np.concatenate([front, its], axis=1))
    longest = np.max([row[2] for row in rows], axis=0) if rows else []
    shape = np.array([*outer, *longest], np.int64)
    found = [np.zeros(0, values.numpy_dtype(dtype)), *(row[1] for row in rows)]
    return np.concatenate(indices), np.concatenate(found), shape


@kernel("DeserializeSparse", static=("serialized_sparse",), ignored=("Tserialized",))
def deserialize_sparse(serialized_sparse: Any, *, dtype: str) -> tuple[Any, Any, Any]:
    """The sparse tensor of vectors of three, joined along new dimensions."""
    return _deserialized(serialized_sparse, dtype)


@kernel("DeserializeManySparse", static=("serialized_sparse",))
def deserialize_many_sparse(
    serialized_sparse: Any, *, dtype: str
) -> tuple[Any, Any, Any]:
    """The sparse tensor whose rows are vectors of three."""
    return _deserialized(serialized_sparse, dtype)
