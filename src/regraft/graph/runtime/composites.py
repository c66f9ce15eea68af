"""Sparse and ragged tensors: the tensors that they are made of."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from regraft.graph import ir
from regraft.graph.runtime.kernels import values


class SparseTensor(NamedTuple):
    """A sparse tensor, as functions and signatures give it and take it.

    Attributes:
        indices: Where the values stand, a row each.
        values: In the order of the rows.
        dense_shape: Of the whole.
    """

    indices: Any
    values: Any
    dense_shape: Any


class RaggedTensor(NamedTuple):
    """A ragged tensor, as functions and signatures give it and take it.

    Attributes:
        flat_values: Of all rows, one behind the other.
        nested_row_splits: Where the rows of each ragged axis begin and end, the
            outermost first.
    """

    flat_values: Any
    nested_row_splits: tuple[Any, ...]


_INT64 = ir.DataType(9)


def is_sparse(spec: ir.TypeSpec) -> bool:
    """Whether it is the spec of a sparse tensor of three parts."""
    kind = ir.TypeSpecClass.SPARSE_TENSOR_SPEC
    return spec.kind is kind and spec.component_count == 3


def sparse_spec(shape: ir.TensorShape | None, dtype: ir.DataType) -> ir.TypeSpec:
    """Returns the spec of a sparse tensor."""
    state = (shape or ir.TensorShape(None), dtype)
    kind = ir.TypeSpecClass.SPARSE_TENSOR_SPEC
    return ir.TypeSpec(kind, state, "SparseTensorSpec", 3)


def ragged_spec(
    shape: ir.TensorShape, dtype: ir.DataType, rank: int, splits: ir.DataType
) -> ir.TypeSpec:
    """Returns the spec of a ragged tensor with so many ragged axes."""
    kind = ir.TypeSpecClass.RAGGED_TENSOR_SPEC
    return ir.TypeSpec(kind, (shape, dtype, rank, splits), "RaggedTensorSpec", rank + 1)


def spec_of(value: SparseTensor | RaggedTensor) -> ir.TypeSpec:
    """Returns the spec of a sparse or ragged tensor of `TensorSpec`s."""
    if isinstance(value, SparseTensor):
        dims = value.dense_shape.shape.dims
        rank = None if dims is None else dims[0]
        shape = ir.TensorShape(None if rank is None else (None,) * rank)
        return sparse_spec(shape, value.values.dtype)
    flat, splits = value
    if flat.shape.dims is None:
        shape = ir.TensorShape(None)
    else:
        shape = ir.TensorShape((*[None] * (len(splits) + 1), *flat.shape.dims[1:]))
    return ragged_spec(shape, flat.dtype, len(splits), splits[0].dtype)


def _shape_and_dtype(spec: ir.TypeSpec) -> tuple[ir.TensorShape, ir.DataType]:
    """What the state of a sparse or ragged spec says first, as far as it does."""
    state = spec.state if isinstance(spec.state, tuple) else ()
    shape, dtype = (*state, None, None)[:2]
    return (
        shape if isinstance(shape, ir.TensorShape) else ir.TensorShape(None),
        dtype if isinstance(dtype, ir.DataType) else ir.NO_TYPE,
    )


def shape_of(spec: ir.TypeSpec) -> ir.TensorShape:
    """Returns the shape of the whole."""
    return _shape_and_dtype(spec)[0]


def described(spec: ir.TypeSpec) -> str:
    """Returns a short text for a spec."""
    shape, dtype = _shape_and_dtype(spec)
    if is_sparse(spec):
        return f"sparse {dtype.name}{shape}"
    if spec.kind is ir.TypeSpecClass.RAGGED_TENSOR_SPEC:
        return f"ragged {dtype.name}{shape}"
    return spec.label


def component_specs(spec: ir.TypeSpec) -> tuple[ir.TensorSpec, ...]:
    """Returns the specs of the parts; none where they are not known."""
    shape, dtype = _shape_and_dtype(spec)
    if is_sparse(spec):
        rank = None if shape.dims is None else len(shape.dims)
        return (
            ir.TensorSpec(ir.TensorShape((None, rank)), _INT64, "indices"),
            ir.TensorSpec(ir.TensorShape((None,)), dtype, "values"),
            ir.TensorSpec(ir.TensorShape((rank,)), _INT64, "dense_shape"),
        )
    if spec.kind is ir.TypeSpecClass.RAGGED_TENSOR_SPEC:
        return _ragged_specs(spec, shape, dtype)
    return ()


def _ragged_specs(
    spec: ir.TypeSpec, shape: ir.TensorShape, dtype: ir.DataType
) -> tuple[ir.TensorSpec, ...]:
    state = spec.state if isinstance(spec.state, tuple) else ()
    rank = state[2] if len(state) > 2 and isinstance(state[2], int) else 0
    if rank < 1 or spec.component_count != rank + 1:
        return ()
    last = state[3] if len(state) > 3 and isinstance(state[3], ir.DataType) else _INT64
    inner = None if shape.dims is None else (None, *shape.dims[rank + 1 :])
    rows = shape.dims[0] if shape.dims else None
    counts = [None if rows is None else rows + 1, *[None] * (rank - 1)]
    return (
        ir.TensorSpec(ir.TensorShape(inner), dtype, "flat_values"),
        *(
            ir.TensorSpec(ir.TensorShape((count,)), last, f"row_splits_{i}")
            for i, count in enumerate(counts)
        ),
    )


def components(spec: ir.TypeSpec, value: Any) -> tuple[Any, ...] | None:
    """Returns the parts of a value; `None` if it can't be what the spec says.

    A sparse tensor may be a tuple of indices, values and dense shape, an object
    that has them as attributes, a matrix or array of `scipy.sparse`, or JAX's
    `BCOO`; a ragged one a tuple of flat values and row splits, or an object with
    `flat_values` and `nested_row_splits`.
    """
    if is_sparse(spec):
        value = _sparse_parts(value)
    elif hasattr(value, "flat_values") and hasattr(value, "nested_row_splits"):
        value = (value.flat_values, *value.nested_row_splits)
    if not isinstance(value, (list, tuple)) or len(value) != spec.component_count:
        return None
    specs = component_specs(spec)
    if not specs:
        return tuple(value)
    return tuple(_part(one, item) for one, item in zip(specs, value, strict=True))


def _part(spec: ir.TensorSpec, value: Any) -> Any:
    """Lists as arrays, and whole numbers of any width as those that are wanted."""
    if hasattr(value, "numpy") and not values.is_backend(value):
        value = value.numpy()
    if not isinstance(value, (list, tuple, np.ndarray)):
        return value
    dtype = spec.dtype.name
    array = np.asarray(value)
    if not array.size and array.ndim < 2 and spec.name == "indices":
        array = array.reshape(0, *((spec.shape.dims or (None, None))[1:]) or (0,))
    if dtype in ("int32", "int64") and (array.dtype.kind in "iu" or not array.size):
        return array.astype(dtype)
    return array


def _sparse_parts(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return value
    if hasattr(value, "tocoo") and hasattr(value, "shape"):
        return _from_scipy(value)
    names = ("indices", "data", "shape", "n_batch", "n_dense")
    if all(hasattr(value, name) for name in names):
        return _from_bcoo(value)
    if all(hasattr(value, name) for name in SparseTensor._fields):
        return tuple(getattr(value, name) for name in SparseTensor._fields)
    return None


def _from_scipy(value: Any) -> Any:
    coo = value.tocoo()
    places = getattr(coo, "coords", None) or (coo.row, coo.col)
    indices = np.stack([np.asarray(p, np.int64) for p in places], axis=-1)
    return _in_order(indices, np.asarray(coo.data), tuple(coo.shape))


def _from_bcoo(value: Any) -> Any:
    if value.n_batch or value.n_dense:
        return None
    if values.is_traced(value.indices) or values.is_traced(value.data):
        return value.indices, value.data, np.array(value.shape, np.int64)
    indices = np.asarray(value.indices).astype(np.int64)
    return _in_order(indices, np.asarray(value.data), tuple(value.shape))


def _in_order(indices: Any, found: Any, shape: tuple[int, ...]) -> Any:
    """Rows in the order of the dense tensor, each once, as TensorFlow wants them.

    The other libraries let rows repeat, which means their sum, and pad with rows
    that lie outside.
    """
    inside = (indices < np.array(shape, np.int64)).all(axis=1)
    indices, found = indices[inside], found[inside]
    order = np.lexsort(indices.T[::-1]) if len(shape) else np.arange(len(indices))
    indices, found = indices[order], found[order]
    first = np.ones(len(indices), bool)
    first[1:] = (indices[1:] != indices[:-1]).any(axis=1)
    if not first.all():
        summed = np.zeros(int(first.sum()), found.dtype)
        np.add.at(summed, np.cumsum(first) - 1, found)
        indices, found = indices[first], summed
    return indices, found, np.array(shape, np.int64)


def difference(spec: ir.TypeSpec, parts: tuple[Any, ...]) -> str | None:
    """Returns how the parts of a sparse tensor contradict one another or its spec."""
    if not is_sparse(spec):
        return None
    indices, found, shape = parts
    counts = [np.shape(part)[0] for part in (indices, found)]
    if counts[0] != counts[1]:
        return f"{counts[0]} indices for {counts[1]} values"
    if np.shape(indices)[1] != np.shape(shape)[0]:
        return f"indices of rank {np.shape(indices)[1]} for {np.shape(shape)[0]} axes"
    if values.is_traced(shape):
        return None
    lengths = tuple(int(n) for n in np.asarray(shape))
    if not shape_of(spec).is_compatible_with(lengths):
        return f"a dense shape of {lengths}"
    return None


def rebuilt(spec: ir.TypeSpec, parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """Returns the value that parts make up."""
    if is_sparse(spec):
        return SparseTensor(*parts)
    if spec.kind is ir.TypeSpecClass.RAGGED_TENSOR_SPEC and len(parts) > 1:
        return RaggedTensor(parts[0], tuple(parts[1:]))
    return parts
