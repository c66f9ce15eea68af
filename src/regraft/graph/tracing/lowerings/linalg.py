"""Matrix decompositions and Fourier transforms."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from regraft.errors import UnsupportedError
from regraft.graph.tracing.function_graph import Graph
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


@lowering("eig", ignored=("implementation",))
def eig(
    g: Graph,
    x: Value,
    *,
    compute_left_eigenvectors: bool,
    compute_right_eigenvectors: bool,
) -> list[Value]:
    """Eigenvalues and vectors of any square matrices, in the order that Eig gives."""
    if compute_left_eigenvectors:
        raise UnsupportedError("TensorFlow computes right eigenvectors alone.")
    vectors = compute_right_eigenvectors
    kind = "complex128" if x.dtype in ("float64", "complex128") else "complex64"
    found = g.op("Eig", x, compute_v=vectors, Tout=kind)
    return list(found) if vectors else [found[0]]


@lowering("lu")
def lu(g: Graph, x: Value) -> list[Value]:
    """LU decomposition in one matrix, pivots, permutation."""
    packed, order = g.op("Lu", x)
    out = g.out
    order = order.shaped(tuple(out[2].shape))
    if not g.live[1]:
        return [packed, order, order]
    count = int(out[1].shape[-1])
    spec = jax.ShapeDtypeStruct(order.dims, "int32")
    jaxpr = jax.make_jaxpr(functools.partial(_pivots, count=count))(spec)
    (pivots,) = g.inline(jaxpr, [order])
    return [packed, pivots, order]


def _pivots(order: Any, count: int) -> Any:
    """Returns with which later row each row is exchanged, to come to an order."""
    places = jnp.arange(order.shape[-1], dtype=order.dtype)

    def step(i: Any, state: tuple[Any, Any]) -> tuple[Any, Any]:
        rows, pivots = state
        here = places == i
        wanted = jnp.sum(jnp.where(here, order, 0), axis=-1, keepdims=True)
        moved = jnp.sum(jnp.where(here, rows, 0), axis=-1, keepdims=True)
        there = rows == wanted
        place = jnp.sum(jnp.where(there, places, 0), axis=-1, keepdims=True)
        rows = jnp.where(here, wanted, jnp.where(there, moved, rows))
        return rows, jnp.where(places[:count] == i, place, pivots)

    rows = jnp.broadcast_to(places, order.shape)
    pivots = jnp.zeros((*order.shape[:-1], count), order.dtype)
    return jax.lax.fori_loop(0, count, step, (rows, pivots))[1]


@lowering("lu_pivots_to_permutation")
def lu_pivots(g: Graph, pivots: Value, *, permutation_size: int) -> Value:
    """Permutation from pivots."""
    function = functools.partial(_permutation, size=permutation_size)
    spec = jax.ShapeDtypeStruct(pivots.dims, pivots.dtype)
    (order,) = g.inline(jax.make_jaxpr(function)(spec), [pivots])
    return order


def _permutation(pivots: Any, size: int) -> Any:
    """Returns the order of rows after all exchanges."""
    places = jnp.arange(size, dtype=pivots.dtype)
    counted = places[: pivots.shape[-1]]

    def step(i: Any, rows: Any) -> Any:
        other = jnp.sum(jnp.where(counted == i, pivots, 0), axis=-1, keepdims=True)
        here, there = places == i, places == other
        first = jnp.sum(jnp.where(here, rows, 0), axis=-1, keepdims=True)
        second = jnp.sum(jnp.where(there, rows, 0), axis=-1, keepdims=True)
        return jnp.where(here, second, jnp.where(there, first, rows))

    rows = jnp.broadcast_to(places, (*pivots.shape[:-1], size))
    return jax.lax.fori_loop(0, pivots.shape[-1], step, rows)


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
