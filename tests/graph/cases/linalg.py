"""Rows of `kernels/linalg.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from graph.cases.case import Case, f32, normal

_SQUARE = normal(2, 3, 3) + 3 * np.eye(3, dtype=np.float32)
_POSITIVE = np.matmul(_SQUARE, np.swapaxes(_SQUARE, -1, -2))
_RIGHT = normal(2, 3, 2)
_TOLERANCE = 2e-5


def _abs(results: list[Any]) -> list[Any]:
    """Vectors that are right with either sign."""
    return [np.abs(r) for r in results]


def _case(
    op: str,
    attrs: dict[str, Any] | None = None,
    label: str = "",
    compare: Any = None,
    **inputs: Any,
) -> Case:
    return Case(op, inputs, attrs or {}, label, _TOLERANCE, compare=compare)


def _in_order(results: list[Any]) -> list[Any]:
    """Eigenvalues in order, and their vectors, which any phase may have turned."""
    numbers, vectors = results
    order = np.argsort(numbers.real, axis=-1)
    moved = np.take_along_axis(np.abs(vectors), order[..., None, :], axis=-1)
    return [np.take_along_axis(numbers, order, axis=-1), moved]


ROWS = [
    _case("Cholesky", input=_POSITIVE),
    _case("MatrixInverse", {"adjoint": False}, input=_SQUARE),
    _case("MatrixInverse", {"adjoint": True}, "adjoint", input=_SQUARE),
    _case("MatrixDeterminant", input=_SQUARE),
    _case("LogMatrixDeterminant", input=_SQUARE),
    _case("MatrixSolve", {"adjoint": False}, matrix=_SQUARE, rhs=_RIGHT),
    _case("MatrixSolve", {"adjoint": True}, "adjoint", matrix=_SQUARE, rhs=_RIGHT),
    *(
        _case(
            "MatrixTriangularSolve",
            {"lower": lower, "adjoint": adjoint},
            f"{lower}-{adjoint}",
            matrix=_SQUARE,
            rhs=_RIGHT,
        )
        for lower in (False, True)
        for adjoint in (False, True)
    ),
    _case(
        "MatrixSolveLs",
        {"fast": True},
        matrix=normal(2, 4, 3),
        rhs=normal(2, 4, 2),
        l2_regularizer=np.float64(0.1),
    ),
    _case(
        "Svd",
        {"compute_uv": True, "full_matrices": False},
        compare=_abs,
        input=normal(2, 4, 3),
    ),
    Case(
        "Svd",
        {"input": normal(2, 4, 3)},
        {"compute_uv": False},
        "values",
        _TOLERANCE,
        compare=lambda results: results[:1],
    ),
    _case("Qr", {"full_matrices": False}, compare=_abs, input=normal(2, 4, 3)),
    _case("Qr", {"full_matrices": True}, "full", compare=_abs, input=normal(2, 3, 4)),
    _case("SelfAdjointEigV2", {"compute_v": True}, compare=_abs, input=_POSITIVE),
    Case(
        "SelfAdjointEigV2",
        {"input": _POSITIVE},
        {"compute_v": False},
        "values",
        _TOLERANCE,
        compare=lambda results: results[:1],
    ),
    _case("Lu", {"output_idx_type": "int32"}, input=normal(2, 3, 3)),
    _case(
        "TridiagonalMatMul",
        superdiag=normal(2, 1, 4),
        maindiag=normal(2, 1, 4, salt=1),
        subdiag=normal(2, 1, 4, salt=2),
        rhs=normal(2, 4, 3),
    ),
    _case(
        "TridiagonalSolve",
        diagonals=normal(2, 3, 4) + f32([[0], [4], [0]]),
        rhs=normal(2, 4, 2),
    ),
    _case("MatrixSquareRoot", input=_POSITIVE),
    _case("MatrixLogarithm", input=_POSITIVE.astype("complex64")),
    Case(
        "Eig",
        {"input": normal(2, 3, 3)},
        {"compute_v": False, "Tout": "complex64"},
        "values",
        _TOLERANCE,
        compare=lambda results: [np.sort_complex(results[0])],
    ),
    Case(
        "Eig",
        {"input": _POSITIVE},
        {"compute_v": True, "Tout": "complex64"},
        tolerance=_TOLERANCE,
        compare=_in_order,
    ),
    *(
        _case(
            "BandedTriangularSolve",
            {"lower": lower, "adjoint": adjoint},
            f"{lower}-{adjoint}",
            matrix=normal(2, 3, 4) + f32(3),
            rhs=normal(2, 4, 2),
        )
        for lower in (True, False)
        for adjoint in (True, False)
    ),
]
