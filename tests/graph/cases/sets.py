"""Rows of `kernels/sets.py`."""

from __future__ import annotations

from graph.cases.case import Case, i32, i64, texts

_ONE = i32([[1, 2, 2], [5, 4, 3]])
_OTHER = i32([[2, 9], [3, 3]])
_INDICES = i64([[0, 0], [0, 1], [1, 0], [1, 2]])
_SPARSE = {
    "set2_indices": _INDICES,
    "set2_values": i32(2, 7, 4, 4),
    "set2_shape": i64(2, 3),
}
_FIRST = {
    "set1_indices": i64([[0, 1], [1, 0], [1, 1]]),
    "set1_values": i32(7, 4, 8),
    "set1_shape": i64(2, 2),
}
_TEXTS = {
    "hypothesis_indices": i64([[0, 0], [0, 1], [1, 0], [2, 0]]),
    "hypothesis_values": texts("a", "b", "c", "d"),
    "hypothesis_shape": i64(4, 2),
    "truth_indices": i64([[0, 0], [0, 1], [0, 2], [1, 0]]),
    "truth_values": texts("b", "b", "x", "c"),
    "truth_shape": i64(4, 3),
}

ROWS = [
    *(
        Case(
            "DenseToDenseSetOperation",
            {"set1": _ONE, "set2": _OTHER},
            {"set_operation": how},
            how,
        )
        for how in ("a-b", "b-a", "intersection", "union")
    ),
    Case(
        "DenseToSparseSetOperation",
        {"set1": _ONE, **_SPARSE},
        {"set_operation": "union"},
    ),
    Case(
        "SparseToSparseSetOperation",
        {**_FIRST, **_SPARSE},
        {"set_operation": "intersection"},
    ),
    Case(
        "SetSize",
        {
            "set_indices": _INDICES,
            "set_values": i32(2, 7, 4, 4),
            "set_shape": i64(3, 3),
        },
    ),
    *(
        Case("EditDistance", _TEXTS, {"normalize": normalize}, str(normalize))
        for normalize in (False, True)
    ),
]
