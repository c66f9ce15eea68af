"""Rows of `kernels/sparse_counts.py`."""

from __future__ import annotations

import numpy as np

from graph.cases.case import Case, f32, i32, i64

_NONE = np.zeros(0, np.float32)
_DENSE = i32([[1, 2, 2], [0, 9, 1]])
_SPARSE = {
    "indices": i64([[0, 0], [0, 2], [3, 1], [3, 2]]),
    "values": i64(5, 5, 1, 0),
    "dense_shape": i64(4, 3),
}
_RAGGED = {"splits": i64(0, 2, 2, 5), "values": i32(1, 1, 0, 3, 9)}
_WAYS = {
    "counts": ({"binary_output": False}, False),
    "binary": ({"binary_output": True}, False),
    "weights": ({"binary_output": False}, True),
    "wider": ({"binary_output": False, "minlength": 12}, False),
    "cut": ({"binary_output": False, "maxlength": 5}, True),
    "both": ({"binary_output": True, "minlength": 3, "maxlength": 6}, False),
}

ROWS = [
    Case(op, {**inputs, "weights": weights if weighted else _NONE}, attrs, label)
    for op, inputs, weights in (
        ("DenseCountSparseOutput", {"values": _DENSE}, f32([[1, 2, 3], [4, 5, 6]])),
        ("SparseCountSparseOutput", _SPARSE, f32(1, 2, 3, 4)),
        ("RaggedCountSparseOutput", _RAGGED, f32(1, 2, 3, 4, 5)),
    )
    for label, (attrs, weighted) in _WAYS.items()
] + [
    Case(
        "DenseCountSparseOutput",
        {"values": i64(3, 1, 3), "weights": np.zeros(0, np.int64)},
        {"binary_output": False},
        "vector",
    ),
    Case(
        "SparseCountSparseOutput",
        {
            "indices": i64([[0], [4]]),
            "values": i32(2, 2),
            "dense_shape": i64([5]),
            "weights": np.zeros(0, np.float64),
        },
        {"binary_output": False},
        "vector",
    ),
]
