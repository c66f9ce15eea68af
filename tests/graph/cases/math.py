"""Rows of `kernels/math.py`."""

from __future__ import annotations

import numpy as np

from graph.cases.case import Case, Program, f32, i32, integers, normal, texts, uniform

_X = normal(3, 4)
_POSITIVE = uniform(0.1, 3, 3, 4)
_UNIT = uniform(-0.9, 0.9, 3, 4)
_COMPLEX = (normal(3, 4) + 1j * normal(3, 4, salt=1)).astype("complex64")
_ODD = f32(0.5, 1.5, -0.5, -2.5, np.inf, -np.inf, np.nan, 0.0)

_UNARY = {
    "Abs": _X,
    "Acos": _UNIT,
    "Acosh": _POSITIVE + 1,
    "Angle": _COMPLEX,
    "Asin": _UNIT,
    "Asinh": _X,
    "Atan": _X,
    "Atanh": _UNIT,
    "Ceil": _X,
    "ComplexAbs": _COMPLEX,
    "Conj": _COMPLEX,
    "Cos": _X,
    "Cosh": _X,
    "Erf": _X,
    "Exp": _X,
    "Expm1": _X,
    "Floor": _X,
    "Imag": _COMPLEX,
    "Inv": _POSITIVE,
    "Invert": integers(-9, 9, 3, 4),
    "IsFinite": _ODD,
    "IsInf": _ODD,
    "IsNan": _ODD,
    "Log": _POSITIVE,
    "Log1p": _POSITIVE,
    "LogicalNot": _X > 0,
    "Neg": _X,
    "Real": _COMPLEX,
    "Reciprocal": _POSITIVE,
    "Rint": _ODD[:4],
    "Round": _ODD[:4],
    "Rsqrt": _POSITIVE,
    "Sign": _X,
    "Sin": _X,
    "Sinh": _X,
    "Sqrt": _POSITIVE,
    "Square": _X,
    "Tan": _X,
    "Tanh": _X,
}
_UNARY_NAMES = {"Angle": "input", "Conj": "input", "Imag": "input", "Real": "input"}

_Y = normal(4, salt=3)
_FLOAT_PAIR = (_X, _Y)
_ZEROS = (f32(1, 0, -2, 0), f32(0, 0, 4, 3))
_INTEGERS = (integers(-9, 9, 3, 4), i32(2, -3, 5, -7))
_BITS = (integers(0, 99, 3, 4), i32(1, 2, 3, 4))
_BOOLS = (_X > 0, _Y > 0)

_BINARY = {
    "Add": [_FLOAT_PAIR],
    "AddV2": [_FLOAT_PAIR, _INTEGERS],
    "BitwiseAnd": [_BITS],
    "BitwiseOr": [_BITS],
    "BitwiseXor": [_BITS],
    "Div": [_FLOAT_PAIR, _INTEGERS],
    "DivNoNan": [_ZEROS],
    "FloorDiv": [_INTEGERS],
    "FloorMod": [_FLOAT_PAIR, _INTEGERS],
    "Greater": [_FLOAT_PAIR, _INTEGERS],
    "GreaterEqual": [_FLOAT_PAIR, _INTEGERS],
    "LeftShift": [_BITS],
    "Less": [_FLOAT_PAIR],
    "LessEqual": [_FLOAT_PAIR],
    "LogicalAnd": [_BOOLS],
    "LogicalOr": [_BOOLS],
    "Maximum": [_FLOAT_PAIR, _INTEGERS],
    "Minimum": [_FLOAT_PAIR],
    "Mod": [_INTEGERS],
    "Mul": [_FLOAT_PAIR, _INTEGERS],
    "MulNoNan": [_ZEROS],
    "Pow": [(_POSITIVE, _Y)],
    "RealDiv": [_FLOAT_PAIR],
    "RightShift": [_BITS],
    "SquaredDifference": [_FLOAT_PAIR],
    "Sub": [_FLOAT_PAIR],
    "TruncateDiv": [_INTEGERS],
    "TruncateMod": [_INTEGERS],
    "Xdivy": [_ZEROS],
    "Xlog1py": [(f32(0, 1, 2), f32(-1, 1, 2))],
    "Xlogy": [(f32(0, 1, 2), f32(0, 1, 2))],
}

_GRADS = (
    "TanhGrad",
    "SigmoidGrad",
    "SqrtGrad",
    "RsqrtGrad",
    "ReciprocalGrad",
    "InvGrad",
)

_AXES = {"one": i32([1]), "all": i32(0, 1), "scalar": i32(0), "none": i32([])}


def _reductions() -> list[Case]:
    rows = []
    for op in ("All", "Any"):
        rows.append(Case(op, {"input": _X > 0, "axis": i32([1])}, {"keep_dims": False}))
    for op in ("EuclideanNorm", "Max", "Mean", "Min", "Prod", "Sum"):
        for label, axes in _AXES.items():
            for keep in (False, True):
                rows.append(
                    Case(
                        op,
                        {"input": _X, "axis": axes},
                        {"keep_dims": keep},
                        f"{label}-{keep}",
                    )
                )
    ints = integers(-9, 9, 3, 4)
    rows += [
        Case(op, {"input": ints, "axis": i32([1])}, {}, "int32")
        for op in ("Max", "Mean", "Min", "Prod", "Sum")
    ]
    return rows


ROWS = [
    *(Case(op, {_UNARY_NAMES.get(op, "x"): x}) for op, x in _UNARY.items()),
    *(
        Case(op, {"x": x, "y": y}, {}, str(np.asarray(x).dtype))
        for op, pairs in _BINARY.items()
        for x, y in pairs
    ),
    Case("Atan2", {"y": _X, "x": _Y}),
    Case("Add", {"x": texts("a", "b"), "y": texts("c", "d")}, {}, "text"),
    *(Case(op, {"y": _POSITIVE, "dy": _X}) for op in _GRADS),
    Case("Cast", {"x": _X * 9}, {"DstT": "int32"}),
    Case("Cast", {"x": _ODD[:4]}, {"DstT": "bool"}, "bool"),
    Case("Cast", {"x": integers(0, 9, 3)}, {"DstT": "float32"}, "float"),
    Case("Cast", {"x": _X}, {"DstT": "float16"}, "half"),
    Case("Cast", {"x": _COMPLEX}, {"DstT": "float32"}, "complex"),
    Case("Equal", {"x": _BITS[0], "y": _BITS[0][0]}),
    Case("Equal", {"x": texts("a", "b"), "y": texts("a", "c")}, {}, "text"),
    Case("NotEqual", {"x": f32(1, 2), "y": f32(1, 3)}),
    Case(
        "NotEqual",
        {"x": f32(1, 2), "y": f32(1, 3, 4)},
        {"incompatible_shape_error": False},
        "shapes",
    ),
    Case("ApproximateEqual", {"x": f32(1, 2), "y": f32(1.05, 2.2)}, {"tolerance": 0.1}),
    Case(
        "Select",
        {
            "condition": np.array([True, False, True]),
            "x": _X,
            "y": normal(3, 4, salt=5),
        },
    ),
    Case("SelectV2", {"condition": _Y > 0, "t": _X, "e": f32(0)}),
    Case(
        "ClipByValue",
        {"t": _X, "clip_value_min": f32(-0.5), "clip_value_max": f32(0.5)},
    ),
    Case("AddN", {"inputs": [_X, _X * 2, _X * 3]}),
    Program(
        "AccumulateNV2",
        lambda tf, x: tf.raw_ops.AccumulateNV2(inputs=[x, x * 2.0], shape=[3, 4]),
        (_X,),
    ),
    Case("Complex", {"real": _X, "imag": _X * 2}, {"Tout": "complex64"}),
    Case("Cross", {"a": normal(4, 3), "b": normal(4, 3, salt=1)}),
    *_reductions(),
    Case("ArgMax", {"input": _X, "dimension": i32(1)}, {"output_type": "int64"}),
    Case("ArgMin", {"input": _X, "dimension": i32(0)}, {"output_type": "int32"}),
    *(
        Case(
            op,
            {"x": _POSITIVE, "axis": i32(axis)},
            {"exclusive": exclusive, "reverse": reverse},
            f"{axis}-{exclusive}-{reverse}",
        )
        for op in ("Cumsum", "Cumprod", "CumulativeLogsumexp")
        for axis, exclusive, reverse in (
            (0, False, False),
            (1, True, False),
            (-1, False, True),
            (1, True, True),
        )
    ),
    *(
        Case(
            "MatMul",
            {
                "a": normal(3, 4).T if ta else normal(3, 4),
                "b": normal(4, 5).T if tb else normal(4, 5),
            },
            {"transpose_a": ta, "transpose_b": tb},
            f"{ta}-{tb}",
        )
        for ta, tb in ((False, False), (True, False), (False, True), (True, True))
    ),
    Case("BatchMatMul", {"x": normal(2, 3, 4), "y": normal(2, 3, 5)}, {"adj_x": True}),
    Case(
        "BatchMatMulV2",
        {"x": normal(2, 1, 3, 4), "y": normal(3, 5, 4)},
        {"adj_y": True},
    ),
    Case(
        "BatchMatMulV3",
        {"x": normal(2, 3, 4), "y": normal(2, 4, 5)},
        {"Tout": "float32"},
    ),
    Case(
        "Einsum",
        {"inputs": [normal(2, 3, 4), normal(4, 5)]},
        {"equation": "abc,cd->abd"},
    ),
    Case(
        "Einsum",
        {"inputs": [normal(2, 3, 4), normal(2, 5, 4)]},
        {"equation": "...ac,...bc->...ab"},
        "ellipsis",
    ),
    Case("SparseMatMul", {"a": normal(3, 4), "b": normal(5, 4)}, {"transpose_b": True}),
]
