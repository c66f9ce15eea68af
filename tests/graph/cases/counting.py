"""Rows of `kernels/counting.py`."""

from __future__ import annotations

import numpy as np

from graph.cases.case import Case, f32, i32, i64, integers, normal, texts, uniform

_NONE = np.zeros(0, np.float32)

ROWS = [
    Case("Where", {"condition": normal(3, 4) > 0}),
    Case("Unique", {"x": i32(3, 1, 3, 2, 1)}, {"out_idx": "int32"}),
    Case("Unique", {"x": texts("b", "a", "b")}, {"out_idx": "int64"}, "text"),
    Case("UniqueWithCounts", {"x": i32(3, 1, 3, 2, 1)}, {"out_idx": "int32"}),
    Case("UniqueV2", {"x": i32([[1, 2, 1], [3, 4, 3]]), "axis": i32([1])}),
    Case("UniqueWithCountsV2", {"x": i32([[1, 2], [3, 4], [1, 2]]), "axis": i32([0])}),
    Case("ListDiff", {"x": i32(1, 2, 3, 4, 2), "y": i32(2, 9)}, {"out_idx": "int32"}),
    Case("Bincount", {"arr": i32(1, 2, 2, 7), "size": i32(5), "weights": _NONE}),
    Case(
        "Bincount",
        {"arr": i32(1, 2, 2, 7), "size": i32(5), "weights": f32(1, 0.5, 2, 3)},
        {},
        "weights",
    ),
    Case(
        "DenseBincount",
        {"input": i32([[1, 2, 2], [0, 9, 1]]), "size": i32(4), "weights": _NONE},
        {"binary_output": False},
    ),
    Case(
        "DenseBincount",
        {"input": i32([[1, 2, 2], [0, 9, 1]]), "size": i32(4), "weights": _NONE},
        {"binary_output": True},
        "binary",
    ),
    Case(
        "DenseBincount",
        {"input": i32([[1, 2, 2], [0, 9, 1]]), "size": i32(4), "weights": normal(2, 3)},
        {"binary_output": False},
        "weights",
    ),
    *(
        Case(
            op,
            {"sorted_inputs": f32([[1, 2, 2, 5]]), "values": f32([[0, 2, 3, 9]])},
            {"out_type": "int32"},
        )
        for op in ("LowerBound", "UpperBound")
    ),
    Case(
        "Bucketize",
        {"input": f32([[0, 1, 1.5], [2, 9, -1]])},
        {"boundaries": [0.0, 1.0, 2.0]},
    ),
    Case(
        "HistogramFixedWidth",
        {"values": uniform(-1, 6, 20), "value_range": f32(0, 5), "nbins": i32(5)},
        {"dtype": "int32"},
    ),
    Case("TopKV2", {"input": normal(3, 6), "k": i32(2)}),
    Case("NthElement", {"input": normal(3, 6), "n": i32(2)}, {"reverse": False}),
    Case("NthElement", {"input": normal(3, 6), "n": i32(2)}, {"reverse": True}, "back"),
    Case("InTopK", {"predictions": normal(4, 5), "targets": i32(0, 1, 2, 3)}, {"k": 2}),
    Case(
        "InTopKV2",
        {"predictions": normal(4, 5), "targets": i32(0, 1, 2, 3), "k": i32(2)},
    ),
    Case("UnravelIndex", {"indices": i32(22, 41, 37), "dims": i32(7, 6)}),
    Case(
        "UniqueWithCounts", {"x": i64(integers(0, 4, 9))}, {"out_idx": "int64"}, "int64"
    ),
]
