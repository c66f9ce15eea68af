"""Rows of `kernels/array.py`."""

from __future__ import annotations

import numpy as np

from graph.cases.case import Case, f32, i32, i64, integers, normal, texts

_MASKS = {
    name: 0
    for name in (
        "begin_mask",
        "end_mask",
        "ellipsis_mask",
        "new_axis_mask",
        "shrink_axis_mask",
    )
}


def _slice(
    label: str, begin: list[int], end: list[int], strides: list[int], **masks: int
) -> Case:
    return Case(
        "StridedSlice",
        {
            "input": normal(4, 5, 6),
            "begin": i32(begin),
            "end": i32(end),
            "strides": i32(strides),
        },
        {**_MASKS, **masks},
        label,
        fixed=() if label == "shrink" else ("begin", "end"),
    )


ROWS = [
    Case("Identity", {"input": normal(2, 3)}),
    Case("Snapshot", {"input": normal(2, 3)}),
    Case("DeepCopy", {"x": normal(2, 3)}),
    Case("GuaranteeConst", {"input": normal(2, 3)}),
    Case("PreventGradient", {"input": normal(2, 3)}, {"message": "no"}),
    Case("DebugIdentity", {"input": normal(2, 3)}, {"tensor_name": "x:0"}),
    Case("CheckNumerics", {"tensor": normal(2, 3)}, {"message": "bad"}),
    Case("CheckNumericsV2", {"tensor": normal(2, 3)}, {"message": "bad"}),
    Case("IdentityN", {"input": [normal(2), integers(0, 9, 3)]}),
    Case("PlaceholderWithDefault", {"input": normal(2, 3)}, {"shape": [2, 3]}),
    Case("StopGradient", {"input": normal(2, 3)}),
    Case("EnsureShape", {"input": normal(2, 3)}, {"shape": [-1, 3]}),
    Case("Shape", {"input": normal(2, 3)}, {"out_type": "int32"}),
    Case("Shape", {"input": normal(2, 3)}, {"out_type": "int64"}, "int64"),
    Case("Shape", {"input": texts("a", "b")}, {"out_type": "int32"}, "text"),
    Case("ShapeN", {"input": [normal(2, 3), normal(4)]}, {"out_type": "int32"}),
    Case("Size", {"input": normal(2, 3)}, {"out_type": "int64"}),
    Case("Rank", {"input": normal(2, 3)}),
    Case("Reshape", {"tensor": normal(2, 6), "shape": i32(3, -1)}),
    Case(
        "Reshape", {"tensor": normal(1), "shape": np.zeros(0, np.int32)}, {}, "scalar"
    ),
    Case("ExpandDims", {"input": normal(2, 3), "axis": i32(-1)}),
    Case("ExpandDims", {"input": normal(2, 3), "axis": i32(1)}, {}, "middle"),
    Case("Squeeze", {"input": normal(1, 3, 1)}),
    Case("Squeeze", {"input": normal(1, 3, 1)}, {"axis": [-1]}, "one"),
    Case("BroadcastTo", {"input": normal(3, 1), "shape": i32(2, 3, 4)}),
    Case("BroadcastArgs", {"s0": i32(3, 1), "s1": i32(2, 1, 5)}),
    Case("BroadcastGradientArgs", {"s0": i32(3, 1), "s1": i32(2, 1, 5)}),
    Case("Fill", {"dims": i32(2, 3), "value": f32(1.5)}),
    Case("ZerosLike", {"x": normal(2, 3)}),
    Case("OnesLike", {"x": integers(0, 9, 2, 3)}),
    Case("Range", {"start": i32(1), "limit": i32(9), "delta": i32(3)}),
    Case("Range", {"start": f32(1), "limit": f32(0), "delta": f32(-0.25)}, {}, "down"),
    Case("LinSpace", {"start": f32(1), "stop": f32(2), "num": i32(5)}),
    _slice("plain", [1, 0, 2], [3, 5, 6], [1, 2, 3]),
    _slice("back", [3, -1, 5], [0, -6, 0], [-1, -2, -1], end_mask=2),
    _slice("masks", [1, 1, 1], [2, 2, 2], [1, 1, 1], begin_mask=1, end_mask=4),
    _slice("shrink", [1, -1], [2, 0], [1, 1], shrink_axis_mask=3),
    _slice(
        "ellipsis", [0, 0, 1], [0, 0, 3], [1, 1, 1], ellipsis_mask=2, shrink_axis_mask=1
    ),
    _slice("new", [0, 1, 0], [0, 3, 0], [1, 1, 1], new_axis_mask=5),
    _slice("beyond", [-9, 2, 0], [99, 99, 0], [1, 1, 1]),
    Case(
        "StridedSliceGrad",
        {
            "shape": i32(4, 5),
            "begin": i32(1, 0),
            "end": i32(3, 5),
            "strides": i32(1, 2),
            "dy": normal(2, 3),
        },
        _MASKS,
    ),
    Case(
        "TensorStridedSliceUpdate",
        {
            "input": normal(4, 5),
            "begin": i32(1, 0),
            "end": i32(3, 5),
            "strides": i32(1, 2),
            "value": normal(2, 3),
        },
        _MASKS,
    ),
    Case(
        "Slice",
        {"input": normal(4, 5), "begin": i32(1, 2), "size": i32(2, -1)},
        fixed=("begin",),
    ),
    Case(
        "Slice",
        {"input": normal(4, 5), "begin": i32(1, 2), "size": i32(2, 2)},
        {},
        "moving",
    ),
    Case("Split", {"axis": i32(1), "value": normal(2, 6)}, {"num_split": 3}),
    Case(
        "SplitV",
        {"value": normal(2, 6), "size_splits": i32(1, -1, 2), "axis": i32(1)},
        {"num_split": 3},
    ),
    Case("Unpack", {"value": normal(2, 3)}, {"num": 3, "axis": -1}),
    Case("Unpack", {"value": normal(2, 3)}, {"num": 2, "axis": 0}, "rows"),
    Case("ConcatV2", {"values": [normal(2, 3), normal(2, 1)], "axis": i32(-1)}),
    Case("Concat", {"concat_dim": i32(1), "values": [normal(2, 3), normal(2, 1)]}),
    Case(
        "ParallelConcat",
        {"values": [normal(1, 3), normal(1, 3, salt=1)]},
        {"shape": [2, 3]},
    ),
    Case("ConcatOffset", {"concat_dim": i32(1), "shape": [i32(2, 3), i32(2, 5)]}),
    Case("Pack", {"values": [normal(2, 3), normal(2, 3, salt=1)]}, {"axis": 1}),
    Case("Pack", {"values": [i32(3), i32(4)]}, {"axis": 0}, "scalars"),
    Case("Transpose", {"x": normal(2, 3, 4), "perm": i32(2, 0, 1)}),
    Case(
        "ConjugateTranspose",
        {
            "x": (normal(2, 3) + 1j * normal(2, 3, salt=1)).astype("complex64"),
            "perm": i32(1, 0),
        },
    ),
    Case("InvertPermutation", {"x": i32(2, 0, 1)}),
    Case("ReverseV2", {"tensor": normal(2, 3), "axis": i32([1])}),
    Case(
        "ReverseV2", {"tensor": normal(2, 3), "axis": np.zeros(0, np.int32)}, {}, "no"
    ),
    Case("Reverse", {"tensor": normal(2, 3), "dims": np.array([True, False])}),
    Case(
        "ReverseSequence",
        {"input": normal(3, 4, 2), "seq_lengths": i32(2, 4, 1)},
        {"seq_dim": 1, "batch_dim": 0},
    ),
    Case(
        "ReverseSequence",
        {"input": normal(4, 3), "seq_lengths": i32(2, 4, 1)},
        {"seq_dim": 0, "batch_dim": 1},
        "time_major",
    ),
    Case("Roll", {"input": normal(3, 4), "shift": i32(1, -2), "axis": i32(0, 1)}),
    Case("Tile", {"input": normal(2, 3), "multiples": i32(2, 1)}),
    Case("Pad", {"input": normal(2, 3), "paddings": i32([[1, 0], [0, 2]])}),
    Case(
        "PadV2",
        {
            "input": normal(2, 3),
            "paddings": i32([[1, 0], [0, 2]]),
            "constant_values": f32(7),
        },
    ),
    Case(
        "MirrorPad",
        {"input": normal(3, 3), "paddings": i32([[1, 0], [0, 2]])},
        {"mode": "REFLECT"},
    ),
    Case(
        "MirrorPad",
        {"input": normal(3, 3), "paddings": i32([[1, 0], [0, 2]])},
        {"mode": "SYMMETRIC"},
        "symmetric",
    ),
    Case(
        "OneHot",
        {
            "indices": i32(0, 2, -1, 5),
            "depth": i32(3),
            "on_value": f32(2),
            "off_value": f32(-1),
        },
        {"axis": -1},
    ),
    Case(
        "OneHot",
        {
            "indices": i32([[0, 2], [1, 1]]),
            "depth": i32(3),
            "on_value": f32(1),
            "off_value": f32(0),
        },
        {"axis": 0},
        "first",
    ),
    Case("Bitcast", {"input": normal(2, 3)}, {"type": "int32"}),
    Case("Bitcast", {"input": i64(3, 5)}, {"type": "uint64"}, "signed"),
    Case(
        "Bitcast",
        {"input": integers(0, 255, 2, 4, dtype="uint8")},
        {"type": "int32"},
        "widen",
    ),
]
