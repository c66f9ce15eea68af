"""Rows of `kernels/gather.py`."""

from __future__ import annotations

from graph.cases.case import Case, f32, i32, integers, normal

_INDICES = i32([[0, 1], [2, 3], [0, 1]])
_IDS = i32(0, 0, 1, 3)
_UNSORTED = i32(2, 0, -1, 2)

ROWS = [
    Case(
        "GatherV2",
        {"params": normal(4, 5), "indices": i32([[3, 0], [1, 1]]), "axis": i32(0)},
        {"batch_dims": 0},
    ),
    Case(
        "GatherV2",
        {"params": normal(4, 5), "indices": i32(3, 0), "axis": i32(-1)},
        {"batch_dims": 0},
        "last",
    ),
    Case(
        "GatherV2",
        {"params": normal(2, 3, 4, 5), "indices": integers(0, 4, 2, 6), "axis": i32(2)},
        {"batch_dims": 1},
        "batch",
    ),
    Case(
        "GatherV2",
        {"params": normal(2, 3, 4), "indices": integers(0, 4, 2, 3), "axis": i32(2)},
        {"batch_dims": 2},
        "batch2",
    ),
    Case("Gather", {"params": normal(4, 5), "indices": i32(3, 0, 3)}),
    Case("GatherNd", {"params": normal(4, 5), "indices": _INDICES}),
    Case("GatherNd", {"params": normal(4, 5), "indices": i32([[1], [3]])}, {}, "rows"),
    Case(
        "ScatterNd", {"indices": _INDICES, "updates": f32(1, 2, 3), "shape": i32(4, 5)}
    ),
    Case(
        "ScatterNd",
        {"indices": i32([[1], [3], [1]]), "updates": normal(3, 2), "shape": i32(4, 2)},
        {},
        "rows",
    ),
    *(
        Case(
            op,
            {
                "tensor" if op != "ScatterNdNonAliasingAdd" else "input": normal(4, 5),
                "indices": _INDICES,
                "updates": f32(1, 2, 3),
            },
        )
        for op in (
            "ScatterNdNonAliasingAdd",
            "TensorScatterAdd",
            "TensorScatterMax",
            "TensorScatterMin",
            "TensorScatterSub",
        )
    ),
    Case(
        "TensorScatterUpdate",
        {"tensor": normal(4, 5), "indices": _INDICES[:2], "updates": f32(1, 2)},
    ),
    *(
        Case(
            f"UnsortedSegment{op}",
            {"data": normal(4, 3), "segment_ids": _UNSORTED, "num_segments": i32(4)},
        )
        for op in ("Sum", "Prod", "Max", "Min")
    ),
    Case(
        "UnsortedSegmentMax",
        {"data": integers(0, 9, 4), "segment_ids": _UNSORTED, "num_segments": i32(3)},
        {},
        "int32",
    ),
    *(
        Case(f"Segment{op}", {"data": normal(4, 3), "segment_ids": _IDS})
        for op in ("Sum", "Prod", "Max", "Min", "Mean")
    ),
    *(
        Case(
            f"SparseSegment{op}",
            {"data": normal(6, 3), "indices": i32(5, 0, 2, 2), "segment_ids": _IDS},
        )
        for op in ("Sum", "Mean", "SqrtN")
    ),
]
