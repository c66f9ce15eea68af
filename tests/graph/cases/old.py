"""Rows of `kernels/old.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from graph.cases.case import Case, Program, f32, i32, i64, normal, uniform

_IMAGE = normal(1, 6, 5, 3)
_BOXES = f32(
    [
        [[0.1, 0.2, 0.9, 0.7], [-0.3, 0.1, 0.4, 1.4], [0.8, 0.1, 0.2, 0.3]],
        [[0.0, 0.0, 1.0, 1.0], [1.2, 1.2, 1.5, 1.5], [0.5, 0.5, 0.5, 0.5]],
    ]
)


def _once(op: str, version: int, types: tuple[str, ...], **attrs: Any) -> Any:
    """A program of an op that newer graphs may not hold: its graph is as old."""

    def build(tf: Any, *inputs: Any) -> Any:
        graph = tf.compat.v1.GraphDef()
        graph.versions.producer = version - 1
        for i, value in enumerate(inputs):
            node = graph.node.add(name=f"x{i}", op="Placeholder")
            node.attr["dtype"].type = value.dtype.as_datatype_enum
        node = graph.node.add(name="found", op=op)
        node.input.extend(f"x{i}" for i in range(len(inputs)))
        for name in types:
            node.attr[name].type = inputs[0].dtype.as_datatype_enum
        for name, value in attrs.items():
            field = {bool: "b", int: "i", float: "f"}[type(value)]
            setattr(node.attr[name], field, value)
        count = {"BatchSvd": 3, "BatchSelfAdjointEigV2": 2}.get(op, 1)
        names = [f"found:{i}" for i in range(count)]
        given = {f"x{i}:0": value for i, value in enumerate(inputs)}
        found = tf.import_graph_def(graph, given, names)
        # Vectors may point either way.
        return [tf.abs(out) for out in found] if "Eig" in op or "Svd" in op else found

    return build


_SQUARE = normal(2, 3, 3) + 3 * np.eye(3, dtype="float32")
_EVEN = _SQUARE @ _SQUARE.transpose(0, 2, 1)
_LOWER = i64(1), i64(0)
_GAMMA = f32(1, 2, 3, 4)

ROWS = [
    *(
        Program(
            f"{op}-{scaled}",
            _once(
                op, 9, ("T",), variance_epsilon=0.01, scale_after_normalization=scaled
            ),
            (
                normal(2, 3, 3, 4),
                normal(4),
                uniform(0.5, 2, 4),
                normal(4),
                normal(4, 1)[:, 0],
            ),
        )
        for op in ("BatchNormWithGlobalNormalization",)
        for scaled in (False, True)
    ),
    Program(
        "QuantizeAndDequantize",
        _once(
            "QuantizeAndDequantize",
            22,
            ("T",),
            **{"signed_input": True, "num_bits": 6, "range_given": True},
            **{"input_min": -3.0, "input_max": 5.0},
        ),
        (normal(4, 3) * 4,),
        tolerance=1e-5,
    ),
    *(
        Program(
            op,
            _once(op, version, ("T",), **attrs),
            inputs,
            eager_only="The bounds are inputs." if "Band" in op else "",
            tolerance=2e-5,
        )
        for op, version, attrs, inputs in (
            ("BatchCholesky", 13, {}, (_EVEN,)),
            ("BatchMatrixBandPart", 14, {}, (_SQUARE, *_LOWER)),
            ("BatchMatrixDeterminant", 13, {}, (_SQUARE,)),
            ("BatchMatrixDiag", 14, {}, (normal(2, 3),)),
            ("BatchMatrixDiagPart", 14, {}, (_SQUARE,)),
            ("BatchMatrixInverse", 13, {"adjoint": True}, (_SQUARE,)),
            ("BatchMatrixSetDiag", 14, {}, (_SQUARE, normal(2, 3))),
            ("BatchMatrixSolve", 13, {"adjoint": False}, (_SQUARE, normal(2, 3, 2))),
            (
                "BatchMatrixTriangularSolve",
                13,
                {"lower": True, "adjoint": False},
                (_SQUARE, normal(2, 3, 2)),
            ),
            ("BatchSelfAdjointEig", 11, {}, (_EVEN,)),
            ("SelfAdjointEig", 11, {}, (_EVEN[0],)),
            ("BatchSelfAdjointEigV2", 13, {"compute_v": True}, (_EVEN,)),
            ("BatchSvd", 13, {"compute_uv": True, "full_matrices": False}, (_SQUARE,)),
        )
    ),
    Program(
        "BatchMatrixSolveLs",
        _once("BatchMatrixSolveLs", 13, ("T",), fast=True),
        (_SQUARE, normal(2, 3, 2), np.array(0.1)),
        eager_only="The penalty is an input.",
        tolerance=2e-5,
    ),
    *(
        Case(
            op,
            {
                "input": normal(3, 6, 8, 2),
                "size": i32(3, 4),
                "offsets": f32([[0.3, -0.4], [1, 1], [-0.5, -1]]),
            },
            {"centered": centered, "normalized": normalized}
            | {"uniform_noise": False, "noise": "zero"},
            f"{centered}-{normalized}",
        )
        for op in ("ExtractGlimpse", "ExtractGlimpseV2")
        for centered in (False, True)
        for normalized in (False, True)
    ),
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
