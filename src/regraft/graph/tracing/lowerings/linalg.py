"""Matrix decompositions and Fourier transforms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from regraft.errors import UnsupportedError
from regraft.graph.tracing.function_graph import Graph
from regraft.graph.tracing.lowerings.elementwise import cast
from regraft.graph.tracing.registry import NOT_LOWERED, lowering
from regraft.graph.tracing.values import Dim, Value

NOT_LOWERED["geqrf"] = "TensorFlow has no op for the compact form"
NOT_LOWERED["householder_product"] = "TensorFlow has no op for the compact form"
NOT_LOWERED["tridiagonal_solve"] = "no layer needs it"


@lowering("cholesky", ignored=("symmetrize_input",))
def cholesky(g: Graph, x: Value) -> Value:
    """Lower triangular square root."""
    return g.op("Cholesky", x, shape=x.shape)


@lowering("eigh", ignored=("lower", "sort_eigenvalues", "algorithm", "implementation"))
def eigh(g: Graph, x: Value, *, subset_by_index: Any) -> list[Value]:
    """Eigenvectors and eigenvalues of symmetric matrices."""
    if subset_by_index is not None and tuple(subset_by_index) != (0, x.dims[-1]):
        raise UnsupportedError("TensorFlow computes all eigenvectors or none.")
    values, vectors = g.op("SelfAdjointEigV2", x, compute_v=True)
    return [vectors, values]


@lowering("svd", ignored=("algorithm", "subset_by_index"))
def svd(g: Graph, x: Value, *, full_matrices: bool, compute_uv: bool) -> list[Value]:
    """Singular values, and left and right vectors."""
    s, u, v = g.op("Svd", x, full_matrices=full_matrices, compute_uv=compute_uv)
    if not compute_uv:
        return [s]
    return [s, u, adjoint(g, v, x.rank)]


@lowering("qr", ignored=("pivoting", "use_magma"))
def qr(g: Graph, x: Value, *, full_matrices: bool) -> list[Value]:
    """Orthogonal times upper triangular matrix."""
    return list(g.op("Qr", x, full_matrices=full_matrices))


@lowering("lu")
def lu(g: Graph, x: Value) -> list[Value]:
    """LU decomposition in one matrix, pivots, permutation."""
    if g.live[1]:
        raise UnsupportedError("TensorFlow's Lu gives a permutation, not pivots.")
    packed, order = g.op("Lu", x)
    return [packed, cast(g, order, "int32"), order]


@lowering("lu_pivots_to_permutation")
def lu_pivots(g: Graph, pivots: Value, *, permutation_size: int) -> Value:
    """Permutation from pivots."""
    raise UnsupportedError("TensorFlow's Lu gives a permutation, not pivots.")


@lowering("triangular_solve", ignored=("unit_diagonal",))
def triangular_solve(
    g: Graph,
    a: Value,
    b: Value,
    *,
    left_side: bool,
    lower: bool,
    transpose_a: bool,
    conjugate_a: bool,
    unit_diagonal: bool,
) -> Value:
    """Solves equations whose matrix is triangular."""
    if unit_diagonal:
        ones = g.op("OnesLike", g.op("MatrixDiagPartV3", a, np.int32(0), _zero(a)))
        a = g.op("MatrixSetDiag", a, ones, shape=a.shape)
    if left_side:
        return g.op(
            "MatrixTriangularSolve",
            a,
            b,
            lower=lower,
            adjoint=transpose_a,
            shape=b.shape,
        )
    turned = adjoint(g, b, b.rank)
    solved = g.op(
        "MatrixTriangularSolve", a, turned, lower=lower, adjoint=not transpose_a
    )
    return adjoint(g, solved, b.rank).shaped(b.dims)


def _zero(x: Value) -> Any:
    return np.asarray(0, np.dtype(x.dtype))


def adjoint(g: Graph, x: Value, rank: int) -> Value:
    """Returns matrices with rows and columns exchanged."""
    order = [*range(rank - 2), rank - 1, rank - 2]
    return g.op(
        "ConjugateTranspose" if "complex" in x.dtype else "Transpose",
        x,
        np.array(order, np.int32),
    )


@lowering("fft")
def fft(g: Graph, x: Value, *, fft_type: Any, fft_lengths: Sequence[Dim]) -> Value:
    """Fourier transforms along the last dimensions."""
    rank = len(fft_lengths)
    suffix = "" if rank == 1 else f"{rank}D"
    kind = int(fft_type)
    if kind in (0, 1):
        op = ("FFT", "IFFT")[kind] + suffix
        return g.op(op, x, shape=g.shape_of())
    op = ("RFFT", "IRFFT")[kind - 2] + suffix
    length = g.shape_tensor(tuple(fft_lengths))
    name = "Tcomplex" if kind == 2 else "Treal"
    return g.op(op, x, length, shape=g.shape_of(), **{name: g.dtype_of()})
