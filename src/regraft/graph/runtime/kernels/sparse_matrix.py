"""Matrices in rows of entries (`tf.linalg.sparse`), one or a batch.

Here such a matrix is a list of places and one of values, as a sparse tensor is: where
its rows begin is counted when somebody asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from regraft.errors import MismatchError
from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.dual import xp
from regraft.graph.runtime.kernels.gather import scatter_nd
from regraft.graph.runtime.registry import kernel


@dataclass(frozen=True, eq=False)
class RowMatrix:
    """One matrix, or a batch of them.

    Attributes:
        indices: Places in order, of batch (if there is one), row and column.
        values: What stands there.
        shape: Of all.
        dtype: Of the values.
    """

    indices: Any
    values: Any
    shape: tuple[int, ...]
    dtype: str

    def __post_init__(self) -> None:
        shape = values.checked(self.shape)
        places = np.asarray(self.indices)
        fits = len(shape) in (2, 3) and places.shape[1:] == (len(shape),)
        if not fits or (places < 0).any() or (places >= np.array(shape)).any():
            raise MismatchError(f"Entries outside of a sparse matrix of shape {shape}.")

    @property
    def lines(self) -> Any:
        """The number of the row that each entry is in, over the whole batch."""
        if len(self.shape) == 2:
            return self.indices[:, 0]
        return self.indices[:, 0] * self.shape[1] + self.indices[:, 1]

    def transposed(self, conjugate: bool = False) -> RowMatrix:
        """Returns the matrix with rows for columns."""
        turned = self.indices.copy()
        turned[:, -2:] = self.indices[:, :-3:-1]
        order = np.lexsort(turned.T[::-1])
        shape = (*self.shape[:-2], self.shape[-1], self.shape[-2])
        taken = xp.take(self.values, order, axis=0)
        taken = _conjugate(taken) if conjugate else taken
        return RowMatrix(turned[order], taken, shape, self.dtype)

    def dense(self) -> Any:
        """Returns the matrix with all its zeros."""
        base = np.zeros(self.shape, values.numpy_dtype(self.dtype))
        return scatter_nd(base, self.indices, self.values, "add")


def _conjugate(value: Any) -> Any:
    return (
        xp.conjugate(value) if values.dtype_of(value).startswith("complex") else value
    )


@kernel("SparseTensorToCSRSparseMatrix", static=("indices", "dense_shape"))
def sparse_tensor_to_csr_sparse_matrix(
    indices: Any, values_in: Any, dense_shape: Any, *, T: str
) -> RowMatrix:
    """A sparse matrix of a sparse tensor."""
    return RowMatrix(indices, values_in, values.dims(dense_shape), T)


@kernel("DenseToCSRSparseMatrix", static=("indices",))
def dense_to_csr_sparse_matrix(dense_input: Any, indices: Any, *, T: str) -> RowMatrix:
    """A sparse matrix of some entries of a dense one."""
    shape = values.dims(np.array(values.shape_of(dense_input)))
    lengths = tuple(int(n) for n in shape)
    flat = np.ravel_multi_index(tuple(indices.T), lengths)
    taken = xp.take(xp.reshape(dense_input, (-1,)), flat, axis=0)
    return RowMatrix(indices, taken, lengths, T)


@kernel("CSRSparseMatrixToSparseTensor", ignored=("type",))
def csr_sparse_matrix_to_sparse_tensor(sparse_matrix: RowMatrix) -> tuple[Any, ...]:
    """The sparse tensor of a sparse matrix."""
    shape = np.array(sparse_matrix.shape, np.int64)
    return sparse_matrix.indices, sparse_matrix.values, shape


@kernel("CSRSparseMatrixToDense", ignored=("type",))
def csr_sparse_matrix_to_dense(sparse_input: RowMatrix) -> Any:
    """The dense matrix of a sparse one."""
    return sparse_input.dense()


@kernel("CSRSparseMatrixComponents", static=("index",), ignored=("type",))
def csr_sparse_matrix_components(
    csr_sparse_matrix: RowMatrix, index: Any
) -> tuple[Any, Any, Any]:
    """Where the rows of one matrix begin, the columns of its entries, and these."""
    one = csr_sparse_matrix
    chosen = np.arange(len(one.indices))
    if len(one.shape) == 3:
        chosen = np.flatnonzero(one.indices[:, 0] == int(index))
    counts = np.bincount(one.indices[chosen, -2], minlength=one.shape[-2])
    begins = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    columns = one.indices[chosen, -1].astype(np.int32)
    return begins, columns, xp.take(one.values, chosen, axis=0)


@kernel("SparseMatrixNNZ")
def sparse_matrix_nnz(sparse_matrix: RowMatrix) -> Any:
    """How many entries there are, per matrix of a batch."""
    shape = sparse_matrix.shape
    if len(shape) == 2:
        return np.int32(len(sparse_matrix.indices))
    counts = np.bincount(sparse_matrix.indices[:, 0], minlength=shape[0])
    return counts.astype(np.int32)


@kernel("SparseMatrixTranspose", ignored=("type",))
def sparse_matrix_transpose(input: RowMatrix, *, conjugate: bool) -> RowMatrix:
    """The matrix with rows for columns."""
    return input.transposed(conjugate)


@kernel("SparseMatrixMatMul", ignored=("T",))
def sparse_matrix_mat_mul(
    a: RowMatrix,
    b: Any,
    *,
    transpose_a: bool,
    transpose_b: bool,
    adjoint_a: bool,
    adjoint_b: bool,
    transpose_output: bool,
    conjugate_output: bool,
) -> Any:
    """The product of a sparse and a dense matrix."""
    a = a.transposed(adjoint_a) if transpose_a or adjoint_a else a
    if transpose_b or adjoint_b:
        b = xp.swapaxes(b, -1, -2)
        b = _conjugate(b) if adjoint_b else b
    height, width = a.shape[-2:]
    inner, columns = values.shape_of(b)[-2:]
    if inner != width:
        raise MismatchError(f"Can't multiply {width} columns by {inner} rows.")
    # The rows of the batch's matrices one below the other.
    flat = xp.reshape(b, (-1, columns))
    places = a.indices[:, -1]
    if len(a.shape) == 3:
        places = places + a.indices[:, 0] * width
    parts = xp.multiply(xp.expand_dims(a.values, 1), xp.take(flat, places, axis=0))
    lines = int(np.prod(a.shape[:-1]))
    base = np.zeros(values.checked((lines, columns)), values.numpy_dtype(a.dtype))
    found = scatter_nd(base, a.lines[:, None], parts, "add")
    found = xp.reshape(found, (*a.shape[:-2], height, columns))
    found = xp.swapaxes(found, -1, -2) if transpose_output else found
    return _conjugate(found) if conjugate_output else found


@kernel("SparseMatrixSparseMatMul", ignored=("type",))
def sparse_matrix_sparse_mat_mul(
    a: RowMatrix,
    b: RowMatrix,
    *,
    transpose_a: bool,
    transpose_b: bool,
    adjoint_a: bool,
    adjoint_b: bool,
) -> RowMatrix:
    """The product of two sparse matrices, sparse."""
    a = a.transposed(adjoint_a) if transpose_a or adjoint_a else a
    b = b.transposed(adjoint_b) if transpose_b or adjoint_b else b
    if a.shape[-1] != b.shape[-2] or a.shape[:-2] != b.shape[:-2]:
        raise MismatchError(f"Can't multiply matrices of {a.shape} and {b.shape}.")
    # Each entry of one meets all entries of a row of the other.
    lines = int(np.prod(b.shape[:-1]))
    counts = np.bincount(b.lines, minlength=lines)
    begins = np.cumsum(counts) - counts
    wanted = a.indices[:, -1]
    if len(a.shape) == 3:
        wanted = wanted + a.indices[:, 0] * b.shape[-2]
    times = counts[wanted]
    total = values.checked((int(times.sum()),))[0]
    first = np.repeat(np.arange(len(wanted)), times)
    within = np.arange(total) - np.repeat(np.cumsum(times) - times, times)
    second = begins[wanted][first] + within
    places = np.concatenate([a.indices[first, :-1], b.indices[second, -1:]], axis=1)
    shape = (*a.shape[:-1], b.shape[-1])
    products = xp.multiply(
        xp.take(a.values, first, axis=0), xp.take(b.values, second, axis=0)
    )
    flat = np.ravel_multi_index(tuple(places.T), shape) if total else places[:, 0]
    kept, numbers = np.unique(flat, return_inverse=True)
    base = np.zeros(len(kept), values.numpy_dtype(a.dtype))
    summed = scatter_nd(base, numbers.reshape(-1, 1), products, "add")
    indices = np.stack(np.unravel_index(kept, shape), axis=1) if total else places
    return RowMatrix(indices.astype(np.int64), summed, shape, a.dtype)
