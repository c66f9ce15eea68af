"""Linear algebra."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from regraft.graph.runtime.kernels import values
from regraft.graph.runtime.kernels.native import native
from regraft.graph.runtime.registry import kernel


def _adjoint(x: Any) -> Any:
    x = ops.swapaxes(x, -1, -2)
    return ops.conj(x) if "complex" in values.dtype_of(x) else x


@kernel("Cholesky", "BatchCholesky")
def cholesky(input: Any) -> Any:
    """The lower triangle whose square the matrices are."""
    return ops.cholesky(values.to_tensor(input))


@kernel("MatrixInverse", "BatchMatrixInverse")
def matrix_inverse(input: Any, *, adjoint: bool) -> Any:
    """Inverses of the matrices, or of their adjoints."""
    x = values.to_tensor(input)
    return ops.inv(_adjoint(x) if adjoint else x)


@kernel("MatrixDeterminant", "BatchMatrixDeterminant")
def matrix_determinant(input: Any) -> Any:
    """Determinants."""
    return ops.det(values.to_tensor(input))


@kernel("LogMatrixDeterminant")
def log_matrix_determinant(input: Any) -> tuple[Any, Any]:
    """Signs of the determinants, and logarithms of their magnitudes."""
    sign, logarithm = ops.slogdet(values.to_tensor(input))
    return sign, logarithm


@kernel("MatrixSolve", "BatchMatrixSolve")
def matrix_solve(matrix: Any, rhs: Any, *, adjoint: bool) -> Any:
    """Solutions of linear equations."""
    x = values.to_tensor(matrix)
    return ops.solve(_adjoint(x) if adjoint else x, values.to_tensor(rhs))


@kernel("MatrixTriangularSolve", "BatchMatrixTriangularSolve")
def matrix_triangular_solve(
    matrix: Any, rhs: Any, *, lower: bool, adjoint: bool
) -> Any:
    """Solutions of linear equations with triangles."""
    x, b = values.to_tensor(matrix), values.to_tensor(rhs)
    lead = np.broadcast_shapes(values.shape_of(x)[:-2], values.shape_of(b)[:-2])
    x = ops.tril(x) if lower else ops.triu(x)
    x = ops.broadcast_to(x, (*lead, *values.shape_of(x)[-2:]))
    b = ops.broadcast_to(b, (*lead, *values.shape_of(b)[-2:]))
    if adjoint:
        return ops.solve_triangular(_adjoint(x), b, lower=not lower)
    return ops.solve_triangular(x, b, lower=lower)


@kernel(
    "MatrixSolveLs", "BatchMatrixSolveLs", static=("l2_regularizer",), ignored=("fast",)
)
def matrix_solve_ls(matrix: Any, rhs: Any, l2_regularizer: Any) -> Any:
    """Least squares solutions, with a penalty on their size."""
    x, b = values.to_tensor(matrix), values.to_tensor(rhs)
    rows, columns = values.shape_of(x)[-2:]
    penalty = float(l2_regularizer)
    turned = _adjoint(x)
    if rows >= columns:
        square = ops.matmul(turned, x) + penalty * ops.eye(columns, dtype=x.dtype)
        return ops.solve(square, ops.matmul(turned, b))
    square = ops.matmul(x, turned) + penalty * ops.eye(rows, dtype=x.dtype)
    return ops.matmul(turned, ops.solve(square, b))


@kernel("Svd", "BatchSvd")
def svd(input: Any, *, compute_uv: bool, full_matrices: bool) -> tuple[Any, Any, Any]:
    """Singular values, and the vectors to both sides."""
    x = values.to_tensor(input)
    if not compute_uv:
        empty = np.zeros(0, values.numpy_dtype(values.dtype_of(x)))
        return ops.svd(x, compute_uv=False), empty, empty
    u, s, adjoint_v = ops.svd(x, full_matrices=full_matrices)
    return s, u, _adjoint(adjoint_v)


@kernel("Qr")
def qr(input: Any, *, full_matrices: bool) -> tuple[Any, Any]:
    """A rotation and an upper triangle whose product the matrices are."""
    mode = "complete" if full_matrices else "reduced"
    q, r = ops.qr(values.to_tensor(input), mode=mode)
    return q, r


@kernel("SelfAdjointEigV2", "BatchSelfAdjointEigV2")
def self_adjoint_eig_v2(input: Any, *, compute_v: bool) -> tuple[Any, Any]:
    """Eigenvalues, from small to large, and eigenvectors."""
    x = values.to_tensor(input)
    lower = ops.tril(x)
    whole = lower + _adjoint(ops.tril(x, -1))
    numbers, vectors = ops.eigh(whole)
    if not compute_v:
        return numbers, np.zeros(0, values.numpy_dtype(values.dtype_of(x)))
    return numbers, vectors


@kernel("SelfAdjointEig", "BatchSelfAdjointEig")
def self_adjoint_eig(input: Any) -> Any:
    """Eigenvalues in a first row, and eigenvectors below."""
    numbers, vectors = self_adjoint_eig_v2(input, compute_v=True)
    return ops.concatenate([ops.expand_dims(numbers, -2), vectors], axis=-2)


@kernel("Lu")
def lu(input: Any, *, output_idx_type: str) -> tuple[Any, Any]:
    """Both triangles in one matrix, and the order of the rows."""
    factors, pivots = native("lu")(input)
    count = values.shape_of(factors)[-1]
    pivots = ops.cast(pivots, "int32")
    lead = values.shape_of(pivots)[:-1]
    order = ops.broadcast_to(ops.arange(count, dtype="int32"), (*lead, count))
    for i in range(count):
        # Row i changes places with the row that its pivot names.
        other = pivots[..., i : i + 1]
        here = order[..., i : i + 1]
        there = ops.take_along_axis(order, other, axis=-1)
        places = ops.arange(count, dtype="int32")
        order = ops.where(places == other, here, order)
        order = ops.where(places == i, there, order)
    return factors, values.cast(order, output_idx_type)


@kernel("TridiagonalMatMul")
def tridiagonal_mat_mul(superdiag: Any, maindiag: Any, subdiag: Any, rhs: Any) -> Any:
    """Product of matrices of three diagonals with others."""
    above, middle, below, x = (
        values.to_tensor(v) for v in (superdiag, maindiag, subdiag, rhs)
    )
    above, middle, below = (ops.swapaxes(v, -1, -2) for v in (above, middle, below))
    down = ops.concatenate([ops.zeros_like(x[..., :1, :]), x[..., :-1, :]], axis=-2)
    up = ops.concatenate([x[..., 1:, :], ops.zeros_like(x[..., :1, :])], axis=-2)
    return above * up + middle * x + below * down


@kernel("TridiagonalSolve", ignored=("partial_pivoting", "perturb_singular"))
def tridiagonal_solve(diagonals: Any, rhs: Any) -> Any:
    """Solutions of equations with matrices of three diagonals."""
    parts = values.to_tensor(diagonals)
    count = values.shape_of(parts)[-1]
    row = np.arange(count)
    near = row[:, None] - row[None, :]
    above, middle, below = (parts[..., i, :] for i in range(3))
    whole = (
        ops.expand_dims(above, -1) * (near == -1)
        + ops.expand_dims(middle, -1) * (near == 0)
        + ops.expand_dims(below, -1) * (near == 1)
    )
    return ops.solve(ops.cast(whole, parts.dtype), values.to_tensor(rhs))


def _on_matrices(function: Any, x: Any, dtype: Any) -> Any:
    """Returns a function of each matrix, computed on the host."""
    flat = x.reshape(-1, *x.shape[-2:])
    found = [np.asarray(function(one)) for one in flat]
    shape = found[0].shape if found else x.shape[-2:]
    out = np.stack(found) if found else np.zeros((0, *shape))
    return out.reshape(*x.shape[:-2], *shape).astype(dtype)


def _by_eigenvalues(function: Any) -> Any:
    def of_matrix(x: Any) -> Any:
        numbers, vectors = np.linalg.eig(x.astype(np.complex128))
        whole = (vectors * function(numbers)) @ np.linalg.inv(vectors)
        return whole if x.dtype.kind == "c" else whole.real

    return of_matrix


@kernel("MatrixSquareRoot", host=True, limits="matrices that have eigenvectors")
def matrix_square_root(input: Any) -> Any:
    """The matrices whose squares these are."""
    return _on_matrices(_by_eigenvalues(np.sqrt), input, input.dtype)


@kernel("MatrixLogarithm", host=True, limits="matrices that have eigenvectors")
def matrix_logarithm(input: Any) -> Any:
    """The matrices whose exponentials these are."""
    return _on_matrices(_by_eigenvalues(np.log), input, input.dtype)


@kernel("MatrixExponential")
def matrix_exponential(input: Any) -> Any:
    """Exponentials of matrices."""
    return native("expm")(input)


@kernel("Eig", host=True)
def eig(input: Any, *, compute_v: bool, Tout: str) -> tuple[Any, Any]:
    """Eigenvalues and eigenvectors of any square matrices."""
    dtype = values.numpy_dtype(Tout)
    numbers, vectors = np.linalg.eig(input.astype(dtype))
    if not compute_v:
        return numbers.astype(dtype), np.zeros(0, dtype)
    return numbers.astype(dtype), vectors.astype(dtype)


@kernel("BandedTriangularSolve")
def banded_triangular_solve(
    matrix: Any, rhs: Any, *, lower: bool, adjoint: bool
) -> Any:
    """Solutions of linear equations with triangles that are kept as their diagonals."""
    bands = values.to_tensor(matrix)
    count, size = values.shape_of(bands)[-2:]
    row, column = np.arange(size)[:, None], np.arange(size)[None, :]
    whole: Any = None
    for i in range(count):
        # The main diagonal comes first below, last above.
        shift = i if lower else count - 1 - i
        at = (row - column == shift) if lower else (column - row == shift)
        diagonal = bands[..., i, :]
        part = ops.expand_dims(diagonal, -1) * ops.cast(at, bands.dtype)
        whole = part if whole is None else whole + part
    return matrix_triangular_solve(whole, rhs, lower=lower, adjoint=adjoint)
