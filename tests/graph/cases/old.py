"""Rows of `kernels/old.py`."""

from __future__ import annotations

from graph.cases.case import Case, f32, i32, normal, uniform

_IMAGE = normal(1, 6, 5, 3)
_BOXES = f32(
    [
        [[0.1, 0.2, 0.9, 0.7], [-0.3, 0.1, 0.4, 1.4], [0.8, 0.1, 0.2, 0.3]],
        [[0.0, 0.0, 1.0, 1.0], [1.2, 1.2, 1.5, 1.5], [0.5, 0.5, 0.5, 0.5]],
    ]
)

ROWS = [
    *(
        Case(
            "FusedPadConv2D",
            {
                "input": _IMAGE,
                "paddings": i32([[0, 0], [2, 1], [1, 2], [0, 0]]),
                "filter": normal(3, 3, 3, 2),
            },
            {"mode": mode, "strides": [1, 2, 2, 1], "padding": padding},
            f"{mode}-{padding}",
            5e-6,
        )
        for mode in ("REFLECT", "SYMMETRIC")
        for padding in ("VALID", "SAME")
    ),
    *(
        Case(
            "FusedResizeAndPadConv2D",
            {
                "input": _IMAGE,
                "size": i32(9, 7),
                "paddings": i32([[0, 0], [2, 1], [1, 2], [0, 0]]),
                "filter": normal(3, 3, 3, 2),
            },
            {
                "mode": "REFLECT",
                "strides": [1, 1, 1, 1],
                "padding": "SAME",
                "resize_align_corners": align,
            },
            f"{align}",
            5e-6,
        )
        for align in (False, True)
    ),
    *(
        Case(op, {"x": normal(5, 3), "i": i32(3, 1), "v": normal(2, 3)})
        for op in ("InplaceUpdate", "InplaceAdd", "InplaceSub")
    ),
    *(
        Case(
            "DrawBoundingBoxes",
            {"images": uniform(0, 1, 2, 9, 8, depth), "boxes": _BOXES},
            {},
            f"{depth}",
        )
        for depth in (1, 3, 4)
    ),
    *(
        Case(
            "DrawBoundingBoxesV2",
            {
                "images": uniform(0, 1, 2, 9, 8, 3),
                "boxes": _BOXES,
                "colors": f32(colors).reshape(-1, 3),
            },
            {},
            f"{len(colors)}",
        )
        for colors in ([], [[1, 0, 0], [0.25, 0.5, 1]])
    ),
]
