"""Rows of `kernels/space.py`."""

from __future__ import annotations

from graph.cases.case import Case, f32, i32, normal

_ALIGNS = ("LEFT_LEFT", "LEFT_RIGHT", "RIGHT_LEFT", "RIGHT_RIGHT")
_K = i32(-2, 1)
_PACKED = normal(2, 4, 3)

ROWS = [
    Case(
        "SpaceToBatchND",
        {
            "input": normal(2, 4, 6, 3),
            "block_shape": i32(2, 3),
            "paddings": i32([[0, 0], [3, 0]]),
        },
    ),
    Case(
        "BatchToSpaceND",
        {
            "input": normal(12, 2, 3, 1),
            "block_shape": i32(2, 3),
            "crops": i32([[1, 0], [0, 2]]),
        },
    ),
    Case(
        "SpaceToBatch",
        {"input": normal(2, 3, 4, 1), "paddings": i32([[1, 0], [0, 0]])},
        {"block_size": 2},
    ),
    Case(
        "BatchToSpace",
        {"input": normal(4, 2, 3, 1), "crops": i32([[1, 0], [0, 1]])},
        {"block_size": 2},
    ),
    *(
        Case(
            op, {"input": x}, {"block_size": 2, "data_format": data_format}, data_format
        )
        for op, shape in (
            ("DepthToSpace", (2, 3, 5, 8)),
            ("SpaceToDepth", (2, 4, 6, 3)),
        )
        for data_format, x in (("NHWC", normal(*shape)),)
    ),
    Case(
        "ExtractImagePatches",
        {"images": normal(2, 6, 7, 3)},
        {
            "ksizes": [1, 2, 3, 1],
            "strides": [1, 2, 2, 1],
            "rates": [1, 1, 2, 1],
            "padding": "VALID",
        },
    ),
    Case(
        "ExtractImagePatches",
        {"images": normal(2, 6, 7, 3)},
        {
            "ksizes": [1, 2, 3, 1],
            "strides": [1, 2, 2, 1],
            "rates": [1, 1, 1, 1],
            "padding": "SAME",
        },
        "same",
    ),
    Case("Diag", {"diagonal": normal(2, 3)}),
    Case("DiagPart", {"input": normal(2, 3, 2, 3)}),
    Case("MatrixDiag", {"diagonal": normal(2, 3)}),
    Case("MatrixDiagPart", {"input": normal(2, 3, 4)}),
    Case("MatrixSetDiag", {"input": normal(2, 3, 4), "diagonal": normal(2, 3)}),
    Case(
        "MatrixDiagV2",
        {
            "diagonal": _PACKED,
            "k": _K,
            "num_rows": i32(-1),
            "num_cols": i32(-1),
            "padding_value": f32(9),
        },
    ),
    Case(
        "MatrixDiagPartV2", {"input": normal(2, 3, 4), "k": _K, "padding_value": f32(9)}
    ),
    Case("MatrixSetDiagV2", {"input": normal(2, 3, 4), "diagonal": _PACKED, "k": _K}),
    *(
        row
        for align in _ALIGNS
        for row in (
            Case(
                "MatrixDiagV3",
                {
                    "diagonal": _PACKED,
                    "k": _K,
                    "num_rows": i32(3),
                    "num_cols": i32(4),
                    "padding_value": f32(0),
                },
                {"align": align},
                align,
            ),
            Case(
                "MatrixDiagPartV3",
                {"input": normal(2, 3, 4), "k": _K, "padding_value": f32(0)},
                {"align": align},
                align,
            ),
            Case(
                "MatrixSetDiagV3",
                {"input": normal(2, 3, 4), "diagonal": _PACKED, "k": _K},
                {"align": align},
                align,
            ),
        )
    ),
    Case(
        "MatrixBandPart",
        {"input": normal(2, 4, 5), "num_lower": i32(1), "num_upper": i32(-1)},
    ),
    *(
        Case(
            "ExtractVolumePatches",
            {"input": normal(2, 5, 4, 6, 2)},
            {
                "ksizes": [1, 2, 3, 2, 1],
                "strides": [1, 2, 1, 2, 1],
                "padding": padding,
            },
            padding,
        )
        for padding in ("SAME", "VALID")
    ),
    *(
        Case(
            "Dilation2D",
            {"input": normal(2, 6, 7, 3), "filter": normal(3, 2, 3)},
            {
                "strides": [1, 2, 1, 1],
                "rates": [1, 1, 2, 1],
                "padding": padding,
            },
            padding,
        )
        for padding in ("SAME", "VALID")
    ),
]
